"""Exercises as files: what an author writes, and what is said when it is not in the form."""

import re
from pathlib import Path

import pytest

from coursekit.course import lessons, notebook
from coursekit.exercises import author, bank, text
from coursekit.exercises.exercise import OPEN, RIGHT, WRONG, Exercise

ROOT = Path(__file__).resolve().parent.parent
[EXAMPLE] = re.findall(
    r"^````markdown\n(.*?)^````$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL | re.M
)
READING = """# two_curves

```toml
kind = "read"
points = 2
options = ["rises", "falls"]
```

## Task

Which way does each curve go?

## Readings

```toml
[A]
answer = "rises"
falls = "Look at where it ends."
[B]
answer = "falls"
rises = "Its last point is the lowest."
```

## Hints

1. Look at the ends.

## Why

A rises and B falls.
"""


def written(tmp_path, content=EXAMPLE, name="6_label_smoothing.md"):
    path = tmp_path / "07_augmentation" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_the_exercise_in_the_guide_has_nothing_to_mend(tmp_path):
    page, faults = author.review(written(tmp_path))
    assert faults == []
    assert "The right class must give its share away" in page


FAULTS = {
    "a right answer that is wrong": ("share / n_classes)\n", "share)\n", "by_filling fails"),
    "a wrong answer that is right": ("becomes `share`", "becomes `share / (n_classes)`", "passes"),
    "the sentence of another": (
        "becomes `return (1 - share) * hard + share / (n_classes - 1) * (1 - hard)`",
        "becomes `return (1 - share) * hard + share`",
        "2 is not recognized",
    ),
    "probes too few": (
        "[probe(5, 3, 0.3), probe(1, 7, 0.9), probe(4, 2, 0.0), probe(3, 4, 1.0)]",
        "[probe(4, 2, 0.0)]",
        "goes unnoticed",
    ),
    "an example that is not true": ("tensor([[0.8500", "tensor([[0.9500", "example is not true"),
}


@pytest.mark.parametrize(("old", "new", "said"), FAULTS.values(), ids=FAULTS)
def test_what_is_to_be_mended_is_said(old, new, said, tmp_path):
    assert EXAMPLE.count(old) == 1
    _, faults = author.review(written(tmp_path, EXAMPLE.replace(old, new)))
    assert any(said in fault for fault in faults), faults


WRONG_FORMS = {
    "no head": ("```toml", "```text", "line 1: expected a block ```toml"),
    "a kind that is none": ("points = 2", 'points = 2\nkind = "essay"', "expected a kind of write"),
    "a key that is none": ("points = 2", "points = 2\nstars = 3", "keys that an exercise has"),
    "a section that is none": ("## Why", "## Reason", "expected a section of .*got reason"),
    "a section twice": ("## Variants", "## Why", "expected each section once, got why twice"),
    "no checks": ("def probes(rng):", "def asks(rng):", "defines probes and reference"),
    "an edit of nothing": ("`share / n_classes` becomes", "`share // 2` becomes", "got it 0 times"),
    "an edit in two places": ("`share / n_classes` becomes", "`share` becomes", "got it 3 times"),
    "an answer that is none": ("diff by_filling", "diff by_hand", "lines of - that stand once"),
    "a diff of no answer": (
        "```diff by_filling\n  -    soft[torch.arange(len(labels)), labels] += 1 - share\n"
        "  +    soft[torch.arange(len(labels)), labels] = 1 - share",
        "```diff by_hand\n  -    hard = F.one_hot(labels, n_classes).float()\n  +    hard = labels",
        "expected one of the answers by_mixing, by_filling, got by_hand",
    ),
    "another name": (
        "def label_smoothing(labels, n_classes, share):\n    soft",
        "def smooth():\n    soft",
        "an answer that defines label_smoothing",
    ),
    "a variant without code": ("`plain(labels, n_classes, 1 - share)`", "see above", "expression"),
}


@pytest.mark.parametrize(("old", "new", "said"), WRONG_FORMS.values(), ids=WRONG_FORMS)
def test_a_file_that_is_not_in_the_form_is_refused_with_its_line(old, new, said, tmp_path):
    assert old in EXAMPLE
    path = written(tmp_path, EXAMPLE.replace(old, new, 1))
    with pytest.raises(
        ValueError, match=rf"6_label_smoothing.md, line \d+: expected .*{said}|{said}"
    ):
        text.read(path)


def test_a_reading_is_judged_part_by_part_and_keeps_the_answer_to_itself(tmp_path):
    one = text.read(written(tmp_path, READING, "1_two_curves.md"))
    space = {}
    exec(one.given, space)
    assert one.check(space["two_curves"]).status == OPEN
    assert one.check(one.rights[0].function).status == RIGHT
    result = one.check(lambda: {"A": "rises", "B": "rises"})
    assert result.status == WRONG
    assert "B: Its last point is the lowest." in result.sentence
    assert "falls" not in result.sentence
    assert result.sentence.count("lowest") == 1
    result = one.check(lambda: {"A": "rises", "B": "stands"})
    assert result.status == WRONG
    assert "'B']: expected one of the options" in result.sentence
    assert "falls" not in result.sentence


def test_a_reading_without_a_sentence_for_an_option_is_refused(tmp_path):
    path = written(tmp_path, READING.replace('falls = "Look at where it ends."', ""))
    with pytest.raises(ValueError, match="a sentence for each other one"):
        text.read(path)


SHEETS = [one for lesson in bank.lessons() for one in bank.sheet(lesson)]


@pytest.mark.parametrize("one", SHEETS, ids=[one.name for one in SHEETS])
def test_an_example_is_true_and_the_section_is_one_of_the_lesson(one):
    if isinstance(one, Exercise):
        assert author.untrue(one) == []
    [path] = lessons.select([one.lesson])
    headings = {
        line.lstrip("# ").strip()
        for cell in notebook.read(path).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    }
    assert one.section in headings | {""}
