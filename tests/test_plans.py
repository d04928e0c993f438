"""Plans of a workshop: minutes from the lessons, a guide that says the same, one page to print."""

import re
from pathlib import Path

import pytest
from browsing import NARROW, needs_chromium, serving, too_wide, violations

from coursekit.commands.cli import main
from coursekit.course import lecture, lessons, plans
from coursekit.course.plans import Part, Plan

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "workshop.md"
each = pytest.mark.parametrize("plan", plans.PLANS.values(), ids=plans.PLANS)


@each
def test_the_guide_says_what_the_lessons_say(plan):
    assert plans.table(plan) in GUIDE.read_text(encoding="utf-8")


def test_a_whole_lecture_is_the_path_of_its_lesson():
    for path in lessons.lessons():
        spoken = sum(section.minutes for section in lecture.path(path))
        assert plans.minutes(Part(lesson=path.stem[:2])) == spoken


def test_minutes_are_those_of_the_sections():
    sections = {one.title: one.minutes for one in lecture.path(lessons.select(["04"])[0])}
    opening, bugs = sections["04 · Dropout"], sections["8. Bug hunt"]
    assert plans.minutes(Part(lesson="04", sections=(0, 8))) == opening + bugs
    assert plans.name(Part(lesson="04", sections=(0, 8))).endswith("opening, section 8")


@pytest.mark.parametrize("section", [5, 77])  # one without a stop, one that is none
def test_a_plan_cannot_ask_for_what_no_lecture_has(section):
    with pytest.raises(ValueError, match=r"part of the lecture \(0, 1, 2, .*\), got"):
        plans.minutes(Part(lesson="04", sections=(0, section)))


def test_the_clock_of_a_table_adds_up():
    plan = Plan("x", "X", ((Part("a", 50), Part("b", 15), Part("c", 5)),), ())
    rows = plans.table(plan).splitlines()[2:]
    assert rows == [
        "| 0:00 | 50 | a |",
        "| 0:50 | 15 | b |",
        "| 1:05 | 5 | c |",
        "| 1:10 | **70** | |",
    ]


@pytest.mark.parametrize(
    ("name", "most"), [("90-minutes", 90), ("half-day", 240), ("two-days", 400)]
)
def test_a_plan_fits_into_its_time(name, most):
    for day in plans.find(name).days:
        assert 0.8 * most <= sum(map(plans.minutes, day)) <= most


def test_commands_of_the_guide_exist(capsys):
    text = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"coursekit (\w+)", text))
    with pytest.raises(SystemExit):
        main(["--help"])
    assert named <= set(re.findall(r"^    (\w+)", capsys.readouterr().out, re.M))
    for name in re.findall(r"--workshop ([\w-]+)|coursekit workshop ([\w-]+)", text):
        assert plans.find("".join(name))


def test_the_command_lists_shows_and_writes(tmp_path, capsys):
    assert main(["workshop"]) == 0
    assert set(plans.PLANS) <= set(capsys.readouterr().out.split())
    assert main(["workshop", "half-day"]) == 0
    assert plans.table(plans.find("half-day")) in capsys.readouterr().out
    out = tmp_path / "deep" / "handout.html"
    assert main(["workshop", "half-day", "--handout", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == plans.handout(plans.find("half-day"))
    assert main(["workshop", "a-week"]) == 1


@needs_chromium
@each
def test_a_handout_is_one_page_of_a4_and_can_be_read(browser, tmp_path, plan):
    (tmp_path / "handout.html").write_text(plans.handout(plan), encoding="utf-8")
    with serving(tmp_path) as base:
        for size, scheme in (({"width": 1100, "height": 900}, "light"), (NARROW, "dark")):
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.goto(f"{base}/handout.html")
            assert violations(page) == []
            assert too_wide(page) == []
            pdf = page.pdf(prefer_css_page_size=True, print_background=True)
            assert len(re.findall(rb"/Type /Page\b(?!s)", pdf)) == 1
            page.close()
