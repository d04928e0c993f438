"""Studies: a sound protocol passes in every world, and each slip gets its own sentence."""

import doctest
import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from coursekit import intervals, plots
from coursekit.exercises import driving, laboratories, study
from coursekit.exercises.exercise import OPEN, RIGHT, WRONG, Code, Exercise, Slip
from coursekit.exercises.mutants import mutants

SEEDS = range(3)  # of questions, per answer


def right(exercise):
    """Put a sound study into an exercise, as the text that a learner would have written."""

    def add(function):
        lines = inspect.getsource(function).split("\n", 1)[1]  # without the decorator
        text = lines.replace(f"def {function.__name__}", f"def {exercise.name}").rstrip()
        exercise.rights.append(Code(exercise.name, function.__name__, text, globals()))
        return function

    return add


# --- an exercise without tuning: lesson 00 ---------------------------------------------------

width_study = Exercise(
    name="width_study",
    lesson="00",
    points=5,
    signature="(lab)",
    task="""
Now measure something yourself. Is a network of 128 hidden units better than one of 16, on the
digits that your class was dealt? You write the **protocol**, what is done in which order; the
laboratory trains the networks. `lab.sides` holds the names of the two sides, the control first.

1. `lab.declare(question="...", margin=..., seeds=...)` writes down what you are about to do: the
   question in a sentence, the smallest difference in points that would matter to you, and the
   seeds, eight or more, on which both sides are compared. It comes before the first score.
2. `lab.score(side, seed, "test")` trains one network and returns how many percent of the test
   examples it reads rightly. A seed deals the same examples to both sides.
3. Return `low, high, word`: the ends of Student's 95 % interval of the differences, treated minus
   control, and the word that follows from it and from your margin by the rule of the lesson, such
   as `"helps"` or `"not yet known"`.

The check runs your function on simulated networks, whose truth it knows: some gain, some lose, some
do neither. It does not judge which word you find but how you find it. `intervals.paired_interval`
and `plots.word` from `coursekit` are at your service, or write both yourself. Afterwards
`sheet.measure(width_study)` conducts your study on real networks, and you write what follows.
""",
    probes=study.probes("00"),
    reference=study.conduct,
    driver=study.drive,
    hints=(
        "Which of your decisions could still be changed by a score that you have seen?",
        "Keep the seeds in a variable: you declare them, and loop over them once.",
        "`d = [lab.score(treated, s, 'test') - lab.score(control, s, 'test') for s in seeds]`; the "
        "interval of `d` and the margin give the word.",
    ),
    why="""\
All that could be fitted to the scores was fixed before there was one. Both sides share their
seeds, so the luck of the seeds cancels. The word follows from the whole interval, whatever you had
hoped for.""",
)


@right(width_study)
def in_columns(lab):
    seeds, margin = range(12), 1.0
    lab.declare(question="Do 128 units read more digits than 16?", margin=margin, seeds=seeds)
    control, treated = lab.sides
    a = np.array([lab.score(control, seed, "test") for seed in seeds])
    b = np.array([lab.score(treated, seed, "test") for seed in seeds])
    _, low, high = intervals.paired_interval(a, b)
    return low, high, plots.word(low, high, margin)


@right(width_study)
def by_hand(lab):
    margin, seeds = 0.5, [4, 5, 8, 9, 12, 13, 20, 21, 30, 31]
    lab.declare(question="Is the wide network better?", margin=margin, seeds=seeds)
    narrow, wide = lab.sides
    d = np.array([lab.score(wide, s, "test") - lab.score(narrow, s, "test") for s in seeds])
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    low, high = d.mean() - half, d.mean() + half
    if low > margin or high < -margin:
        word = "helps" if low > 0 else "hurts"
    elif -margin < low and high < margin:
        word = "too small to matter"
    elif low > 0 or high < 0:
        word = "helps, size open" if low > 0 else "hurts, size open"
    else:
        word = "not yet known"
    return low, high, word


# Wrong answers: a right one with one slip, as (name, the sentence it deserves, what is exchanged).
DECLARE = """\
    lab.declare(question="Do 128 units read more digits than 16?", margin=margin, seeds=seeds)
"""
INTERVAL = "_, low, high = intervals.paired_interval(a, b)"
RETURN = "return low, high, plots.word(low, high, margin)"
HALF = """\
d = b - a
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    low, high = d.mean() - half, d.mean() + half"""
WIDTH_SLIPS = [
    ("declares_nothing", "you declared nothing", {DECLARE: ""}),
    (
        "declares_late",
        "whoever has seen scores can pick",
        {DECLARE: "", f"    {RETURN}": f"{DECLARE}    {RETURN}"},
    ),
    (
        "other_seeds_on_the_other_side",
        "its luck only cancels in pairs",
        {"treated, seed,": "treated, 100 + seed,"},
    ),
    (
        "adds_seeds_until_it_is_known",
        "stops when the word pleases",
        {
            INTERVAL: """\
for seed in range(12, 32):
        if plots.word(*intervals.paired_interval(a, b)[1:], margin) != "not yet known":
            break
        a = np.append(a, lab.score(control, seed, "test"))
        b = np.append(b, lab.score(treated, seed, "test"))
    _, low, high = intervals.paired_interval(a, b)"""
        },
    ),
    (
        "declares_more_seeds_afterwards",
        "is pleased too often",
        {
            RETURN: """\
if plots.word(low, high, margin) == "not yet known":
        seeds = range(24)
        lab.declare(question="Again, with more seeds?", margin=margin, seeds=seeds)
        a = [lab.score(control, seed, "test") for seed in seeds]
        b = [lab.score(treated, seed, "test") for seed in seeds]
        _, low, high = intervals.paired_interval(a, b)
    return low, high, plots.word(low, high, margin)"""
        },
    ),
    (
        "leaves_seeds_out",
        "the rest may be those that happened to agree",
        {INTERVAL: f"a, b = a[b > a.min()], b[b > a.min()]\n    {INTERVAL}"}
        | {"for seed in seeds": "for seed in seeds if seed != 3"},
    ),
    ("a_single_seed", "A single seed has no spread", {"range(12)": "range(1)"}),
    ("a_margin_of_zero", "Which difference would nobody notice?", {"1.0": "0.0"}),
    (
        "changes_the_margin",
        "a margin that can still move decides nothing",
        {
            RETURN: """\
if 0 < low < margin:
        margin = low / 2
        lab.declare(question="By a little?", margin=margin, seeds=seeds)
    return low, high, plots.word(low, high, margin)"""
        },
    ),
    (
        "another_margin_for_the_word",
        "the word follows from the whole interval and the margin",
        {RETURN: RETURN.replace("margin)", "margin / 10)")},
    ),
    (
        "ignores_the_margin",
        "the word follows from the whole interval and the margin",
        {RETURN: 'return low, high, "helps" if low > 0 else "hurts" if high < 0 else "open"'},
    ),
    (
        "takes_zero_for_no_difference",
        "is called 'not yet known'",
        {RETURN: 'return low, high, "too small to matter" if low < 0 < high else "helps"'}
        | {'else "helps"': "else plots.word(low, high, margin)"},
    ),
    (
        "forgets_the_pairs",
        "two unrelated samples",
        {INTERVAL: "low, high = stats.ttest_ind(b, a).confidence_interval(0.95)"},
    ),
    (
        "spread_of_one",
        "the spread of single differences",
        {INTERVAL: HALF.replace(" / np.sqrt(len(d))", "")},
    ),
    (
        "normal_quantile",
        "the quantile of a normal distribution",
        {INTERVAL: HALF.replace("stats.t.ppf(0.975, len(d) - 1)", "1.96")},
    ),
    ("divides_by_all", "takes S - 1", {INTERVAL: HALF.replace("ddof=1", "")}),
    ("control_minus_treated", "with the sides exchanged", {"(a, b)": "(b, a)"}),
    (
        "returns_the_word_alone",
        "end with `return low, high, word`",
        {"return low, high, ": "return "},
    ),
    ("stays_on_validation", "you opened the test part of no network", {', "test"': ""}),
]


# --- an exercise with tuning: lesson 04 ------------------------------------------------------

dropout_study = Exercise(
    name="dropout_study",
    lesson="04",
    points=6,
    signature="(lab)",
    task="""
Much of what is said in praise of dropout was measured against networks that had been trained for
too long. Be fairer: compare the two sides when **each has been stopped at its own best epoch**.

The laboratory is that of lesson 00, with one thing more. `lab.grid[side]` is a list of the settings
that a side may be trained with, `{"epochs": 5}` and so on; pass one of them on as
`lab.score(side, seed, part, **settings)`. Choose on the validation part, `"val"`: for each side the
settings with the highest mean over the seeds (or, if you prefer, each seed's own best). Try the
whole grid on both sides, on the same seeds. When both sides have chosen, and not before, open the
test part with what was chosen, once per side and seed.

Declare first; return `low, high, word` as before. Then `sheet.measure(dropout_study)` conducts your
study on real networks, and you write what follows.
""",
    probes=study.probes("04"),
    reference=study.conduct,
    driver=study.drive,
    hints=(
        "How many networks has each side trained before its settings were chosen?",
        'Write a helper that returns the mean of `lab.score(side, seed, "val", **settings)`.',
        "`best[side] = max(lab.grid[side], key=...)` for both sides in one loop; a second loop "
        "opens the test part.",
    ),
    why="""\
Choosing is a competition, and its winner is always a little lucky. So both sides compete equally
long, and the prize is given on examples that took no part in it.""",
)


@right(dropout_study)
def by_the_mean(lab):
    seeds, margin = range(10), 1.0
    lab.declare(question="Does dropout help when both stop?", margin=margin, seeds=seeds)
    best, scores = {}, {}
    for side in lab.sides:
        means = []
        for settings in lab.grid[side]:
            means.append(np.mean([lab.score(side, s, "val", **settings) for s in seeds]))
        best[side] = lab.grid[side][int(np.argmax(means))]
    for side in lab.sides:
        scores[side] = [lab.score(side, s, "test", **best[side]) for s in seeds]
    _, low, high = intervals.paired_interval(*scores.values())
    return low, high, plots.word(low, high, margin)


@right(dropout_study)
def on_other_seeds(lab):
    lab.declare(question="Does dropout help when both stop?", margin=2.0, seeds=range(8))

    def promise(side, settings):
        return sum(lab.score(side, s, "val", **settings) for s in range(100, 104))

    control, treated = (
        max(lab.grid[side], key=lambda settings, side=side: promise(side, settings))
        for side in lab.sides
    )
    d = np.array(
        [
            lab.score(lab.sides[1], s, "test", **treated)
            - lab.score(lab.sides[0], s, "test", **control)
            for s in range(8)
        ]
    )
    low, high = stats.t.interval(0.95, len(d) - 1, d.mean(), stats.sem(d))
    return low, high, plots.word(low, high, 2.0)


@right(dropout_study)
def for_each_seed_its_own(lab):
    seeds = [*range(12)]
    lab.declare(question="Does dropout help when both stop?", margin=1.0, seeds=seeds)
    chosen = {
        (side, s): max(lab.grid[side], key=lambda e, side=side, s=s: lab.score(side, s, "val", **e))
        for side in lab.sides
        for s in seeds
    }
    gains = np.array(
        [
            np.diff([lab.score(side, s, "test", **chosen[side, s]) for side in lab.sides])[0]
            for s in seeds
        ]
    )
    _, low, high = intervals.t_interval(gains, 0.95)
    return low, high, plots.word(low, high, 1.0)


TRY = """\
        means = []
        for settings in lab.grid[side]:
            means.append(np.mean([lab.score(side, s, "val", **settings) for s in seeds]))
        best[side] = lab.grid[side][int(np.argmax(means))]
"""
LAST = "        best[side] = lab.grid[side][-1]\n"
DROPOUT_SLIPS = [
    (
        "tunes_dropout_alone",
        "a side that is tuned less loses for that reason alone",
        {TRY: f"{TRY}    best[lab.sides[0]] = lab.grid[lab.sides[0]][-1]\n"}
        | {"lab.sides:\n        means": "lab.sides[1:]:\n        means"},
    ),
    ("tunes_nothing", "so give each its whole grid", {TRY: LAST}),
    ("tries_less", "so give each its whole grid", {"in lab.grid[side]:": "in lab.grid[side][:3]:"}),
    (
        "chooses_on_the_test_part",
        "choose on the validation part and open the test part once",
        {'"val"': '"test"'},
    ),
    (
        "tests_one_side_before_the_other_chose",
        "when the test part was already open",
        {"    for side in lab.sides:\n        scores": "        scores"},
    ),
    ("takes_the_worst", "take what validation prefers", {"argmax": "argmin"}),
    (
        "takes_for_both_what_suits_one",
        "take what validation prefers",
        {"**best[side]": "**best[lab.sides[1]]"},
    ),
    (
        "tries_each_setting_on_seeds_of_its_own",
        "a setting can then win by an easy seed",
        {'(side, s, "val"': '(side, s + 100 * settings["epochs"], "val"'},
    ),
    (
        "takes_the_last_network",
        "take what validation prefers",
        {"int(np.argmax(means))": "-1"},
    ),
    (
        "sets_what_is_not_offered",
        "Only what `lab.grid` lists can be trained.",
        {TRY: '        best[side] = {"epochs": 60}\n'},
    ),
    (
        "declares_late",
        "you declared when you had seen",
        {"    lab.declare": "    lab.score(lab.sides[0], 0, epochs=5)\n    lab.declare"},
    ),
    (
        "declares_nothing",
        "you declared nothing",
        {"    lab.declare(": "    dict("},
    ),
]


def put_slips(exercise, table):
    """Put wrong answers into an exercise."""
    for name, sentence, exchanged in table:
        text = exercise.rights[0].text
        for old, new in exchanged.items():
            assert old in text, (name, old)
            text = text.replace(old, new)
        exercise.slips.append(Slip(Code(exercise.name, name, text, globals()), sentence))


put_slips(width_study, WIDTH_SLIPS)
put_slips(dropout_study, DROPOUT_SLIPS)
EXERCISES = {e.name: e for e in (width_study, dropout_study)}
RIGHTS = [pytest.param(e, f, id=f.title) for e in EXERCISES.values() for f in e.rights]
SLIPS = [
    pytest.param(e, slip, id=f"{e.name}-{slip.code.title}")
    for e in EXERCISES.values()
    for slip in e.slips
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHTS)
def test_a_sound_study_passes_in_every_world(exercise, answer):
    for seed in range(6):
        result = exercise.check(answer.function, seed)
        assert result.status == RIGHT, result.sentence


@pytest.mark.parametrize(("exercise", "slip"), SLIPS)
def test_a_slip_is_found_and_gets_its_own_sentence(exercise, slip):
    for seed in SEEDS:
        result = exercise.check(slip.code.function, seed)
        assert result.status == WRONG
        assert slip.sentence in result.sentence
        assert study.FINDING not in result.sentence  # it stands for itself, without "expected ''"


# Changes that leave a study sound.
FREE = re.compile(
    r"seeds, margin = |margin, seeds = |seeds = |declare\("  # the learner's own choices
    r"|in range\(\d+, \d+\)\)\)"  # which seeds to tune on
    r"|score\(side, s, \*\*"  # "val" is the default
    r"|[<>]= |if low > -?1 |< -1:"  # no end of an interval lies on an edge
    r"|for side in lab.sides\]\)\[-1\]"  # the last of one
)


@pytest.mark.parametrize(("exercise", "answer"), RIGHTS)
def test_a_small_change_to_a_sound_study_is_noticed(exercise, answer):
    asked = [probe for seed in SEEDS for probe in exercise.ask(seed)]
    every, alive = mutants(answer), set()
    for name, source in every.items():
        space = dict(globals())
        exec(source, space)
        replies = (exercise.drive(space[exercise.name], probe) for probe in asked)
        if not any(reply.error or reply.values[study.FINDING].array.size for reply in replies):
            alive.add(name)
    assert {name for name in alive if not FREE.search(name)} == set()


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_each_word_is_right_in_some_world(margin):
    words = set()
    for probe in [probe for seed in SEEDS for probe in width_study.ask(seed)]:
        gain, noise, number = (probe.inputs[name] for name in ("gain", "noise", "world_seed"))
        lab = study.simulated("00", gain=gain, noise=noise, world_seed=number)
        lab.declare(question="Is wide better?", margin=margin, seeds=range(12))
        for side in lab.sides:
            for seed in range(12):
                lab.score(side, seed, "test")
        words.add(study.paired(lab).word)
    sizes = {f"{side}{open}" for side in ("helps", "hurts") for open in ("", ", size open")}
    assert words == {*sizes, "too small to matter", "not yet known"}


@pytest.mark.parametrize("lesson", study.PLANS)
def test_the_reference_is_sound_in_every_lesson(lesson):
    for seed in SEEDS:
        for probe in study.probes(lesson)(np.random.default_rng(seed)):
            assert study.drive(study.conduct, **probe.inputs) == {study.FINDING: ""}


def test_only_pairs_see_a_difference():
    lab = study.simulated("00", gain=2, noise=0.5)
    lab.declare(question="Is wide better?", margin=1, seeds=range(16))
    a, b = (np.array([lab.score(side, s, "test") for s in range(16)]) for side in lab.sides)
    unpaired = stats.ttest_ind(b, a).confidence_interval(0.95)
    assert intervals.paired_interval(a, b).low > 1
    assert unpaired.low < 0 < unpaired.high


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda lab: lab.score("lasso", 0),
            "unknown side 'lasso'; expected one of without dropout",
        ),
        (lambda lab: lab.score(lab.sides[0], 0, "train", epochs=5), "unknown part 'train'"),
        (lambda lab: lab.score(lab.sides[0], 0), "expected settings of 'without dropout' among"),
        (lambda lab: lab.score(lab.sides[0], 0.5, epochs=5), "a seed that is a whole number"),
        (lambda lab: lab.declare(question="", margin=1, seeds=range(8)), "a question in words"),
        (lambda lab: lab.declare(question="Q?", margin=-1, seeds=range(8)), "margin > 0, got -1"),
        (lambda lab: lab.declare(question="Q?", margin=1, seeds=8), "a list of seeds, got 8"),
        (lambda lab: lab.declare(question="Q?", margin=1, seeds=[0] * 8), "different seeds"),
        (
            lambda lab: lab.declare(question="Q?", margin=1, seeds=range(7)),
            "at least 8 seeds, got 7",
        ),
        (
            lambda lab: [lab.score(lab.sides[0], s, epochs=5) for s in range(1000)],
            "expected at most 160 networks, got one more; try fewer seeds",
        ),
    ],
)
def test_what_a_laboratory_cannot_do_is_told(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call(study.simulated("04"))


def test_a_stub_is_not_attempted_and_an_error_is_told():
    def stub(lab):
        raise NotImplementedError

    def fails(lab):
        return lab.score("narrow", 0)

    assert width_study.check(stub).status == OPEN
    assert "it raised ValueError" in width_study.check(fails).sentence


def test_what_runs_in_the_sandbox_needs_no_module_of_the_exercises():
    code = """
import pickle, sys
sys.modules["coursekit.exercises"] = None  # as in the sandbox, whose folder is empty
ask = pickle.load(sys.stdin.buffer)
def study(lab):
    lab.declare(question="?", margin=1, seeds=range(8))
    return [lab.score(side, s, "test") for side in lab.sides for s in range(8)][:2]
print(bytes(ask("width_study", study, INPUTS).values["the finding"].array).decode("utf-32-le"))
"""
    [probe, *_] = width_study.ask(0)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("INPUTS", repr(vars(probe)))],
        input=driving.kit(EXERCISES),
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode().startswith("expected two numbers and a word"), done.stderr.decode()


@pytest.mark.parametrize("module", [study, laboratories])
def test_examples_run_as_they_stand(module):
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.attempted
    assert not outcome.failed


# --- real networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", study.PLANS)
def test_every_lesson_has_networks_that_learn(lesson):
    lab = laboratories.real(lesson)
    scores = [
        lab.score(side, 0, "test", **lab.grid[side][1 % len(lab.grid[side])]) for side in lab.sides
    ]
    assert all(20 < score < 100 for score in scores)
    assert scores[0] != scores[1]


def test_networks_trained_beside_others_are_those_trained_alone():
    alone, beside = laboratories.real("00"), laboratories.real("00")
    beside.declare(question="Are these the same?", margin=1, seeds=[5, 0, 1, 2, 3, 9, 11, 12])
    scores = [[lab.score("16 units", s, "test") for s in (0, 9)] for lab in (alone, beside)]
    assert scores[0] == pytest.approx(scores[1], abs=0.3)  # one digit of 900 may round differently


def test_a_key_draws_the_data_and_draws_the_same_again():
    names = [laboratories._laboratory("00", key)[1].name for key in "abcdefgh"]
    assert len(set(names)) > 3
    assert names[3] == laboratories._laboratory("00", "d")[1].name


def test_a_study_on_real_networks_is_told_and_drawn(capsys):
    laboratories.measure(dropout_study.rights[0].function, "04")
    told = capsys.readouterr().out
    assert "1. declared: Does dropout help when both stop? (margin 1, seeds 0 to 9)" in told
    assert re.search(r"3. validation, 'with dropout': 10 seeds, mean \d+.\d \(epochs=5\), ", told)
    assert "The protocol is sound." in told
    assert "with dropout minus without dropout: " in told


def test_a_slip_on_real_networks_is_told(capsys):
    laboratories.measure(width_study.slips[0].code.function, "00")
    told = capsys.readouterr().out
    assert "✖ You declared nothing" in told
    assert "128 units minus 16 units" not in told  # no figure: there is no finding yet
