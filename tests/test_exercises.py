"""The bank of exercises: right answers pass, wrong ones fail with the sentence meant for them."""

import os

import pytest

from coursekit import exercises
from coursekit.exercises import bank, pages
from coursekit.exercises.exercise import OPEN, OTHER_CLASS, RIGHT, WRONG

RUNS = int(os.environ.get("COURSEKIT_EXERCISE_RUNS", "200"))  # per exercise and convention
SEEDS = min(3, -(-RUNS // 10))  # per wrong answer
NAMES = tuple(bank.exercises())
# Every exercise in its usual convention and, unless time is short, in each of its variants.
CASES = [
    pytest.param(name, variant, id=name if variant is None else f"{name}-variant{i}")
    for name in NAMES
    for i, variant in enumerate((None, *bank.exercises()[name].variants[: RUNS // 20]))
]


def exercise_of(name, variant):
    exercise = exercises.find(name)
    exercise.variant = variant
    return exercise


def test_exercises_tell_what_to_do_and_why_and_slips_have_sentences_of_their_own():
    lacking = [
        name
        for name, e in bank.exercises().items()
        if not all((e.rights, e.hints, e.task.strip(), e.why.strip(), e.slips))
        or len({slip.sentence for slip in e.slips}) < len(e.slips)
    ]
    assert lacking == []


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_right_answers_pass_on_many_seeds(name, variant):
    exercise = exercise_of(name, variant)
    for number, right in enumerate(exercise.rights):
        answer = exercise.adapted(right)
        for seed in range(number, RUNS, len(exercise.rights)):
            assert str(exercise.check(answer, seed)) == str(exercise._result(RIGHT, "")), seed


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_wrong_answers_get_the_sentence_meant_for_them(name, variant):
    exercise = exercise_of(name, variant)
    for slip in exercise.known_slips():
        for seed in range(SEEDS):
            result = exercise.check(slip.function, seed)
            assert result.status == WRONG, (slip.function.__name__, seed)
            assert result.points == 0
            # Swapping two conventions is a slip in one class and the other class's convention.
            meant = slip.sentence in result.sentence or (variant and OTHER_CLASS in result.sentence)
            assert meant, (slip.function.__name__, result.sentence)


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_is_not_attempted_or_shows_its_bug(name):
    exercise = exercises.find(name)
    made = _run(pages.stub(exercise), name)
    result = exercise.check(made)
    assert result.status == (WRONG if exercise.bug else OPEN)
    assert result.points == 0


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_solutions_shown_are_right_as_text(name, variant):
    exercise = exercise_of(name, variant)
    for right in exercise.rights:
        made = _run(pages.solution(exercise, right), name)
        assert exercise.check(made).status == RIGHT


def _run(source, name):
    space = {}
    exec(pages.SETUP.partition("from coursekit")[0], space)
    exec(source, space)
    return space[name]
