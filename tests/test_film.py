"""A film of an explorer: what stands still is drawn once, what moves slides, the rest fades."""

import re
from xml.etree import ElementTree as ET

import pytest
from browsing import needs_chromium, visit

from coursekit import explorers
from coursekit.commands.cli import main
from coursekit.commands.explorers import FILMS, picture
from coursekit.commands.film import SECONDS, film

PATH = explorers.folder() / "dance.film.svg"


def frame(x, word, own):
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 100" width="400" height="100">'
        f"<title>At {word}.</title><style>svg{{--bg:#fff}}</style><rect/>"
        f'<clipPath id="{own}"><rect width="9"/></clipPath><text>always</text>'
        f'<g clip-path="url(#{own})"><path d="M0 0" style="transform: translate({x}px, 1px)"/></g>'
        f"<text>{word}</text></svg>"
    )


def made():
    frames = [frame(1, "one", "x7"), frame(5, "two", "k9"), frame(9, "two", "aa")]
    return film(frames, ["1", "2", "3"], "Size", still=1)


def test_what_stands_still_is_drawn_once_and_what_moves_is_one_thing():
    drawn = made()
    assert drawn.count("always") == drawn.count("<clipPath") == drawn.count("<path") == 1
    assert all(f"translate({x}px, 1px)" in drawn for x in (1, 5, 9))


def test_what_cannot_slide_fades():
    shown = {
        t.text: t.get("opacity")
        for t in ET.fromstring(made()).iter("{http://www.w3.org/2000/svg}text")
    }
    assert (shown["always"], shown["one"], shown["two"]) == (None, "0", "1")
    [name] = re.findall(r'class="(m\d+)">one', made())
    [rule] = re.findall(rf"@keyframes {name}{{(.*?)}}\.", made())
    assert rule.startswith("0%,25%{opacity:1}33.3%,58.3%{opacity:0}66.7%,91.7%{opacity:0}")


def test_it_says_what_it_shows():
    assert ET.fromstring(made()).get("aria-label") == "A film over size 1, 2, 3. At 2: At two."


def test_who_asks_for_another_film_hears_which_there_are(capsys):
    assert main(["explorers", "film", "masks"]) == 1
    assert "expected an explorer with a film (dance), got 'masks'" in capsys.readouterr().err


PLACES = """t => {
  for (const a of document.getAnimations()) { a.pause(); a.currentTime = t; }
  const across = e => new DOMMatrix(getComputedStyle(e).transform).e;
  return [...document.querySelectorAll(".row")].map(across);
}"""


@needs_chromium
def test_the_film_of_the_readme_shows_what_the_explorer_shows(browser):
    setting, _, values, still = FILMS["dance"]
    with visit(browser, PATH) as (page, heard):
        for value in (values[0], still):
            then = 1000 * (SECONDS * values.index(value) + 0.1)
            now = picture(browser, "dance", **{setting: value})
            expected = re.findall(r'class="row" style="transform: translate\(([-\d.]+)px', now)
            assert page.evaluate(PLACES, then) == pytest.approx(
                [float(x) for x in expected], abs=0.1
            )
            assert len(expected) == 50
        assert heard == []


@needs_chromium
def test_nothing_moves_for_whom_motion_is_a_nuisance(browser):
    with visit(browser, PATH, reduced_motion="reduce") as (page, _):
        assert page.evaluate("document.getAnimations().length") == 0
        shown = page.evaluate(
            "[...document.querySelectorAll('text')].filter(t => t.getAttribute('font-size') == 26 "
            "&& getComputedStyle(t).opacity == 1).map(t => t.textContent)"
        )
    assert shown == ["16"]
