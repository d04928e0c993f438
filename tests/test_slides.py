"""Slides of a lesson: what stands on them, and how one gets through them in Chromium."""

import re
from html.parser import HTMLParser

import pytest
from browsing import NARROW, needs_chromium, serving, too_wide, violations, visit
from nbformat import v4

from coursekit import explorers
from coursekit.commands.cli import main
from coursekit.course import lecture, lessons, notebook, slides

HALL = {"width": 1280, "height": 720}


def stop(make, source, minutes=3, note="", tags=(), **more):
    own = {"tags": ["lecture", *tags], "coursekit": {"minutes": minutes, "note": note}}
    return make(source, metadata=own, **more)


def said(text):
    return v4.new_output("display_data", {"text/markdown": text, "text/plain": text})


def cells():
    explorer, metadata = explorers.show("dance")._repr_mimebundle_()
    shown = v4.new_output("display_data", explorer, metadata=metadata)
    drawn = {"text/html": '<img alt="A line" src="data:image/svg+xml;base64,PHN2Zy8+">'}
    hook = "# 99 · Trial\n\n**5 minutes to read**\n\nA hook."
    folded = {"tags": ["hide-input"]}
    ask = "x = 1\nguess = widgets.predict_number(\n    'How many?',\n)"
    bare = ask.partition("\n")[2]
    return [
        stop(v4.new_markdown_cell, hook, note="Wait."),
        v4.new_code_cell("explorers.show('dance')", metadata=folded, outputs=[shown]),
        v4.new_markdown_cell("## 1. Ask\n\nNot on the path."),
        stop(v4.new_code_cell, ask, outputs=[said("**Predict first:** How many?")]),
        v4.new_markdown_cell("## 2. Look"),
        stop(v4.new_code_cell, bare, 1, "Vote.", outputs=[said("**Predict first:** Two?")]),
        stop(v4.new_code_cell, "hidden()", 2, "Uncover.", ("hide-input", "hide-output"),
             outputs=[v4.new_output("display_data", drawn), said("Measured: 7.")]),
        stop(v4.new_markdown_cell, "Mean $\\frac{a}{b}$ as in [04](04_dropout.ipynb)."),
        stop(v4.new_code_cell, "print('</script>')",
             outputs=[v4.new_output("stream", name="stdout", text="<b>7</b>")]),
    ]  # fmt: skip


@pytest.fixture
def lesson(tmp_path):
    path = tmp_path / "99_trial.ipynb"
    notebook.write(v4.new_notebook(cells=cells()), path)
    return path


def test_minutes_and_notes_are_those_of_the_path(lesson):
    shown, sections = slides.slides(lesson), lecture.path(lesson)
    assert sum(one.minutes for one in shown) == sum(section.minutes for section in sections)
    assert [one.section for one in shown] == ["99 · Trial", "1. Ask", *["2. Look"] * 3]
    assert shown[2].note == "Vote. Uncover."  # a bare question and its answer are one slide


def test_a_slide_shows_what_a_hall_needs(lesson):
    hook, ask, answer, text, code = (one.body for one in slides.slides(lesson))
    assert "A hook." in hook
    assert "minutes to read" not in hook
    assert hook.count("<script>") == 1  # the explorer behind it
    assert "Not on the path" not in ask
    assert "How many?" in ask
    assert "predict_number" not in ask
    assert "hidden" not in answer
    before, fold, covered = answer.partition('<details class="answer">')
    assert "Two?" in before
    assert fold
    assert "Measured: 7." in covered
    assert 'alt="A line"' in covered
    assert "04_dropout.ipynb" not in text
    assert "&lt;b&gt;7&lt;/b&gt;" in code


@pytest.mark.parametrize("path", lessons.lessons(), ids=lambda path: path.stem)
def test_every_lesson_has_slides_of_all_its_minutes(path):
    shown = slides.slides(path)
    minutes = sum(section.minutes for section in lecture.path(path))
    assert sum(one.minutes for one in shown) == minutes
    for one in shown:
        assert re.sub(r"<[^>]*>|\s", "", one.body) or "<img" in one.body, one.cell


def test_the_command_writes_one_file(lesson, tmp_path, capsys):
    out = tmp_path / "deep" / "slides.html"
    assert main(["lecture", str(lesson), "--slides", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert "A hook." in out.read_text(encoding="utf-8")
    assert main(["lecture", "--slides", str(out)]) == 1
    assert "expected one lesson for --slides, got all" in capsys.readouterr().err


def test_a_notebook_without_a_path_is_an_error(tmp_path):
    path = tmp_path / "plain.ipynb"
    notebook.write(v4.new_notebook(cells=[v4.new_markdown_cell("# Plain")]), path)
    with pytest.raises(ValueError, match="expected cells with the tag 'lecture'"):
        slides.deck(path)


def test_the_file_asks_for_nothing_from_elsewhere(lesson):
    class Sources(HTMLParser):
        found = ()

        def handle_starttag(self, tag, attrs):
            own = [v for k, v in attrs if k in ("src", "href") and not v.startswith("data:")]
            self.found = (*self.found, *own)

    sources = Sources()
    sources.feed(slides.deck(lesson))
    assert sources.found == ()


# In Chromium


@pytest.fixture
def written(lesson, tmp_path):
    return slides.write(lesson, tmp_path / "slides.html")


def at(page):
    """Number of the slide that fills the window, when it has come to rest."""
    page.wait_for_function(
        """() => { const d = document.querySelector(".deck"), n = d.scrollLeft / d.clientWidth;
        return Math.abs(n - Math.round(n)) < .01
            && document.querySelector("nav output").value.startsWith(Math.round(n) + 1 + " "); }"""
    )
    return page.evaluate("parseInt(document.querySelector('nav output').value)")


@needs_chromium
def test_keys_turn_and_uncover_and_leave_an_explorer_its_own(browser, written):
    with visit(browser, written, HALL) as (page, heard):
        assert at(page) == 1
        for key, wanted in (
            ("ArrowRight", 2),
            ("PageDown", 3),
            ("End", 6),
            ("ArrowLeft", 5),
            ("Home", 1),
        ):
            page.keyboard.press(key)
            page.wait_for_timeout(400)
            assert at(page) == wanted, key
        page.keyboard.press("ArrowRight")
        assert at(page) == 2
        slider = page.locator(".ex input[type=range]").first
        before = slider.input_value()
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert slider.input_value() != before
        assert at(page) == 2
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(400)
        assert at(page) == 4
        fold = page.locator(".slide:nth-child(4) details.answer")
        assert fold.get_attribute("open") is None
        page.locator(".slide:nth-child(4) summary").focus()
        page.keyboard.press("Space")  # of a fold, not of the slides
        assert fold.get_attribute("open") is not None
        assert at(page) == 4
        page.keyboard.press("Escape")
        page.keyboard.press("a")
        assert fold.get_attribute("open") is None
        page.keyboard.press("a")
        assert fold.get_attribute("open") is not None
        page.keyboard.press("n")
        assert page.locator(".slide:nth-child(4) .note").is_visible()
        assert page.locator("[data-do=notes]").get_attribute("aria-pressed") == "true"
        assert page.locator(".heard").text_content() == "Answer shown"
        assert [line for line in heard if not line.startswith("about:")] == []


@needs_chromium
def test_the_speaker_has_a_window_that_follows(browser, written):
    with visit(browser, written, HALL) as (page, _):
        with page.context.expect_page() as opened:
            page.keyboard.press("s")
        window = opened.value
        page.bring_to_front()
        page.keyboard.press("ArrowRight")
        window.wait_for_function("document.body.textContent.includes('Wait.')")
        window.keyboard.press("ArrowRight")
        window.wait_for_function("document.body.textContent.includes('3 planned until here')")
        assert at(page) == 3


@needs_chromium
def test_formulas_are_set_without_a_network(browser, written):
    pytest.importorskip("sphinx-mathjax-offline")
    with visit(browser, written, HALL) as (page, _):
        page.wait_for_selector("mjx-container svg", state="attached")


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [HALL, NARROW], ids=["hall", "narrow"])
def test_nothing_stands_in_the_way(browser, written, size, scheme):
    with serving(written.parent) as base:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        page = context.new_page()
        for number in (1, 2, 4, 6):
            page.goto(f"{base}/slides.html?{number}#{number}")
            assert at(page) == number
            page.keyboard.press("a")
            assert violations(page) == []
            assert too_wide(page) == []
        context.close()


@needs_chromium
def test_in_print_answers_are_open_and_notes_stand_below(browser, written, tmp_path):
    with visit(browser, written, HALL) as (page, _):
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.locator("details.answer:not([open])").count() == 0
        assert page.locator(".note").first.is_visible()
        assert not page.locator("nav").is_visible()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details.answer[open]").count() == 0
