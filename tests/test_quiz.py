"""Quizzes: what can be written, what the ledger confirms, and what a reader meets in a browser."""

import re

import pytest
from browsing import (
    NARROW,
    WIDE,
    counted,
    eventually,
    needs_chromium,
    serving,
    spoiled,
    too_wide,
    violations,
    visit,
)

from coursekit.exercises import lessons, quiz

LESSONS = sorted(path.stem for path in quiz.FOLDER.glob("*.md"))
QUESTION = """\
# A quiz

## A coin

claim: C44 | noisy digits, last epoch | difference

A coin is tossed.

What comes next?

- [x] Much more. {5 to 40}

  It is {C44 | noisy digits, last epoch | difference} points.

- [ ] About the same. {-1 to 1}

  No.
"""


def written(folder, text=QUESTION):
    path = folder / "own.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_question_is_read(tmp_path):
    [one] = quiz.read(written(tmp_path)).questions
    assert (one.title, one.asked, one.where) == ("A coin", "What comes next?", "own.md, line 3")
    assert [o.text for o in one.options] == ["Much more.", "About the same."]
    assert [o.marked for o in one.options] == [True, False]
    assert one.right == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("## A coin", "A coin", "own.md: expected questions"),
        ("A coin is tossed.\n\nWhat comes next?\n", "", "line 3: expected a paragraph that asks"),
        ("What comes next?\n", "```\ncode\n```\n", "line 3: expected a paragraph that asks"),
        ("- [x]", "## Another\n\n- [x]", "line 3: expected a paragraph .* got paragraph, paragr"),
        ("- [ ]", "- [x]", "line 3: expected one option marked .* got 2"),
        ("- [x]", "- [ ]", "line 3: expected one option marked .* got 0"),
        ("- [ ]", "-", "line 15: expected an option after"),
        ("\n  No.\n", "", "line 15: expected an explanation below 'About the same. {-1 to 1}'"),
        (" {-1 to 1}", "", "line 15: expected an option that ends in what it claims"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path, old, new, told):
    path = spoiled(written(tmp_path), old, new)
    with pytest.raises(ValueError, match=told):
        quiz.read(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{-1 to 1}", "{none}", "line 3: expected a range as in"),
        ("{-1 to 1}", "{-1 to 40}", "line 3: expected one option that agrees .* got 2"),
        ("{5 to 40}", "{30 to 40}", r"line 3: expected one option that agrees .* got 0"),
        ("claim: C44 |", "claim: C9999 |", "line 3: .*C9999"),
        ("claim: C44 | noisy digits, last", "claim: C44 | no", "line 3: expected a condition of"),
        ("epoch | difference\n", "epoch | size of it\n", "line 3: expected one of control, trea"),
        ("is {C44 | noisy digits, last", "is {C44 | no", "line 3: expected a condition of C44"),
    ],
)
def test_what_the_ledger_does_not_know_says_where(tmp_path, old, new, told):
    own = quiz.read(spoiled(written(tmp_path), old, new))
    with pytest.raises(ValueError, match=told):
        own._repr_html_()


def test_a_lesson_without_a_quiz_is_named():
    with pytest.raises(ValueError, match=r"expected one of 00, 01, .*got '05'"):
        quiz.show("05")


def test_each_lesson_with_exercises_has_a_quiz():
    assert set(lessons()) == set(LESSONS)


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_quiz_is_whole_and_agrees_with_the_ledger(lesson):
    own = quiz.show(lesson)
    assert len(own.questions) == 5
    assert any(one.claim for one in own.questions)
    assert quiz.contradictions(own) == []
    assert len({one.right for one in own.questions}) > 2  # whoever guesses one place gets few
    for one in own.questions:
        assert len({o.text for o in one.options}) == len(one.options) > 2
        assert all(re.search(r"\w", re.sub("<.*?>", "", o.why)) for o in one.options)
    for text in (own._repr_html_().partition("<script>")[0], repr(own)):
        assert not re.search(r"\{[^}]*\|", text)  # a reference that is misspelled stays


def test_the_ledger_decides_and_a_wrong_mark_is_noticed(tmp_path):
    text = QUESTION.replace("[x]", "[?]").replace("[ ]", "[x]").replace("[?]", "[ ]")
    own = quiz.read(written(tmp_path, text))
    assert own.questions[0].right == 0
    [told] = quiz.contradictions(own)
    assert told.startswith("own.md, line 3: 'Much more.' is right by the ledger")
    page = own._repr_html_()
    assert page.index("Right.") < page.index("Not this one.")


def test_text_is_escaped_and_filled(tmp_path):
    text = QUESTION.replace("A coin", "A < B & C", 1).replace("Much more", "`a < b` & *more*")
    page = quiz.read(written(tmp_path, text))._repr_html_().partition("<script>")[0]
    assert "A &lt; B &amp; C" in page
    assert "<code>a &lt; b</code> &amp; <em>more</em>" in page
    assert re.search(r"It is \+\d+\.\d points", page)


def test_a_terminal_shows_questions_and_no_answers(tmp_path):
    told = repr(quiz.read(written(tmp_path)))
    assert "1. A coin\nA coin is tossed.\nWhat comes next?\n- Much more." in told
    assert told.endswith("- Much more.\n- About the same.")


# In a browser

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Quiz</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<style>:root{{color-scheme:light dark}}body{{margin:12px}}
@media (prefers-color-scheme:dark){{body{{background:#161616;color:#ededed}}}}</style></head>
<body><main><h1>Quiz</h1>{}</main></body></html>"""


def page_of(folder, lesson):
    path = folder / f"{lesson}.html"
    path.write_text(PAGE.format(quiz.html(lesson)), encoding="utf-8")
    return path


def answer(page, number, option):
    """Choose an option and check it, by keyboard alone; what is then said."""
    page.locator("fieldset").nth(number).locator("input").first.focus()
    page.keyboard.press("Space")
    for _ in range(option):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    return page.locator(".say").nth(number).inner_text()


@needs_chromium
def test_a_quiz_is_taken_by_keyboard(browser, tmp_path):
    for lesson in LESSONS:
        own = quiz.show(lesson)
        with visit(browser, page_of(tmp_path, lesson), WIDE) as (page, heard):
            counted(page, "fieldset > legend", 5)
            assert not re.search("Right|Not this one", page.inner_text("main"))
            wrong = 0
            for number, one in enumerate(own.questions):
                first = (one.right + number) % len(one.options)
                wrong += first != one.right
                assert page.inner_text(".tally") == ""
                said = answer(page, number, first)
                assert said.startswith("Right." if first == one.right else "Not this one.")
                assert len(said) > 30
            assert page.inner_text(".tally") == f"{5 - wrong} of 5 at first try."
            assert answer(page, 1, own.questions[1].right).startswith("Right.")
            assert page.inner_text(".tally") == f"{5 - wrong} of 5 at first try."
            assert heard == []


@needs_chromium
def test_what_was_said_is_heard_and_belongs_to_the_choice(browser, tmp_path):
    with visit(browser, page_of(tmp_path, "04"), WIDE) as (page, heard):
        counted(page, ".say[aria-live=polite]", 5)
        counted(page, ".tally[role=status]", 1)
        page.locator("button").first.click()
        eventually(page, "document.querySelector('.say').textContent", "Choose an answer first.")
        page.locator("label").nth(0).click()
        page.locator("button").first.click()
        assert page.locator(".say").first.inner_text().startswith("Not this one.")
        page.locator("label").nth(1).click()
        assert page.locator(".say").first.inner_text() == ""
        assert heard == []


@needs_chromium
def test_a_quiz_can_be_read_by_everybody(browser, tmp_path):
    with serving(tmp_path) as address:
        for lesson in LESSONS:
            page_of(tmp_path, lesson)
            for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
                context = browser.new_context(viewport=size, color_scheme=scheme)
                page = context.new_page()
                page.goto(f"{address}/{lesson}.html")
                for number in range(5):
                    answer(page, number, number % 3)
                assert too_wide(page) == []
                assert violations(page) == []
                ink = page.evaluate("getComputedStyle(document.querySelector('.say p')).color")
                assert ink == {"light": "rgb(28, 28, 28)", "dark": "rgb(237, 237, 237)"}[scheme]
                context.close()


@needs_chromium
def test_without_scripts_each_option_is_a_fold(browser, tmp_path):
    own = quiz.show("04")
    path = page_of(tmp_path, "04")
    with visit(browser, path, WIDE, java_script_enabled=False) as (page, heard):
        counted(page, "summary", sum(len(one.options) for one in own.questions))
        told = page.locator("details").nth(own.questions[0].right)
        assert not told.locator("p").first.is_visible()
        told.locator("summary").click()
        assert told.inner_text().replace("\n", " ").count("Right.") == 1
        assert told.locator("p").nth(1).is_visible()
        assert heard == []


@needs_chromium
def test_two_quizzes_on_a_page_do_not_meet(browser, tmp_path):
    path = tmp_path / "two.html"
    path.write_text(PAGE.format(quiz.html("04") * 2), encoding="utf-8")
    with visit(browser, path, WIDE) as (page, heard):
        page.locator("label").nth(0).click()
        page.locator(".quiz").nth(1).locator("label").nth(1).click()
        counted(page, ":checked", 2)
        assert heard == []
