"""The start page: a map of the lessons that knows what a learner has done."""

import pytest

from coursekit import start
from coursekit.course import learner, lessons
from coursekit.exercises import bank
from coursekit.exercises.sheet import progress_file


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path))
    monkeypatch.delenv("COURSEKIT_STATIC", raising=False)


def test_the_map_has_every_lesson_with_what_one_sees(nobody):
    rows = start.course_map().rows
    assert [row.path for row in rows] == lessons.lessons()
    assert [row.title for row in rows if not row.seen or not 5 < row.reading < 120] == []
    assert set(start.SEEN) == {row.path.name[:2] for row in rows}
    assert sum(row.tasks for row in rows) == len(bank.exercises())
    assert sum(row.done for row in rows) == 0


def test_what_is_solved_counts_and_what_was_tried_does_not(nobody):
    first, second, *_ = bank.of_lesson("04")
    learner.remember(progress_file(), first.name, status="right")
    learner.remember(progress_file(), second.name, status="wrong")
    with pytest.MonkeyPatch.context() as stored:
        stored.setenv("COURSEKIT_STATIC", "1")
        assert sum(row.done for row in start.course_map().rows) == 0
    shown = start.course_map()
    assert {row.path.name[:2]: row.done for row in shown.rows if row.done} == {"04": 1}
    assert "1 of " in repr(shown)
    page = shown._repr_html_()
    assert "<a href='exercises/04_dropout.ipynb'>1 of " in page
    assert page.count("<a href=") == len(shown.rows) + sum(row.tasks > 0 for row in shown.rows)


def test_links_lead_to_notebooks(nobody):
    for row in start.course_map().rows:
        assert not row.tasks or (lessons.folder() / "exercises" / row.path.name).is_file()


def test_the_readme_says_the_same():
    readme = (lessons.checkout() / "README.md").read_text()
    assert [seen for seen in start.SEEN.values() if seen.rstrip(".") not in readme] == []
