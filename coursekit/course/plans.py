"""Plans for a workshop: which sections of which lessons, in which order, and how long each takes.

A lecture takes as long as the lesson's own cells say (`coursekit.course.lecture`), so a plan cannot
promise other minutes than the lesson; only breaks and work in pairs have minutes of their own.
"""

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from coursekit.course import lecture, lessons, notebook


@dataclass(frozen=True)
class Part:
    """One entry of a plan.

    Attributes
    ----------
    title : str
        What a participant does; empty for a lecture, which has its lesson's title.
    minutes : float
        Of what is no lecture; 0 for a lecture.
    lesson : str
        Number of the lesson that a lecture is about, such as "04".
    sections : tuple of int
        Which of its sections: 0 is the opening, others are numbered in the lesson. Empty: all.
    """

    title: str = ""
    minutes: float = 0
    lesson: str = ""
    sections: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A workshop. `days` hold the parts in their order; `remember` is for the handout."""

    name: str
    title: str
    days: tuple[tuple[Part, ...], ...]
    remember: tuple[str, ...]


ARRIVE = "Arrive, open the start page, settle the last machines"
ROOM = "The room as one study: `coursekit room train` on every laptop, one figure for all"
CLOSE = "What will you do on Monday morning?"

_MEASURE = (
    "One training is a draw. Give both sides the same seeds, and subtract within the pair.",
    "Say before the run which difference would matter, and read the interval, not the mean.",
    "“Does it help?” is half a question: after how many epochs, with which labels, tuned how?",
)
PLANS = {
    "90-minutes": Plan(
        "90-minutes",
        "90 minutes: does dropout help?",
        (
            (
                Part(ARRIVE, 5),
                Part(lesson="00", sections=(0, 1, 2, 4, 9)),
                Part(ROOM, 15),
                Part(lesson="04", sections=(0, 8)),
                Part("Exercise sheet 00, in pairs: the first two tasks", 20),
                Part(CLOSE, 10),
            ),
        ),
        _MEASURE,
    ),
    "half-day": Plan(
        "half-day",
        "Half a day: measure, drop, stop",
        (
            (
                Part(ARRIVE, 10),
                Part(lesson="00", sections=(0, 1, 2, 3, 4, 9)),
                Part(ROOM, 15),
                Part("Break", 15),
                Part(lesson="04", sections=(0, 1, 2, 4, 8)),
                Part("Exercise sheet 04, in pairs", 30),
                Part("Break", 10),
                Part(lesson="09", sections=(0, 1, 2, 4)),
                Part("The playground: choose a strength, say what you expect, train", 20),
                Part(CLOSE, 10),
            ),
        ),
        (
            *_MEASURE,
            "A wrong factor in dropout hardly moves the accuracy. The loss shows it.",
            "What repeats in the data is learned first, and what is wrong comes last.",
        ),
    ),
    "two-days": Plan(
        "two-days",
        "Two days: from one seed to your own data",
        (
            (
                Part(ARRIVE, 15),
                Part(lesson="00"),
                Part("Break", 15),
                Part(ROOM, 15),
                Part("Exercise sheet 00, in pairs", 40),
                Part("Lunch", 60),
                Part(lesson="01"),
                Part("Break", 15),
                Part(lesson="04"),
                Part("Exercise sheet 04, in pairs", 40),
                Part("What was open today, and the guesses that went furthest wrong", 10),
            ),
            (
                Part("Open questions of the first day", 10),
                Part(lesson="03"),
                Part("Exercise sheet 03, in pairs", 40),
                Part("Break", 15),
                Part(lesson="09"),
                Part("Lunch", 60),
                Part(lesson="07"),
                Part("Break", 15),
                Part("Your own data: the first program of the guide, with your table", 60),
                Part("Two minutes each: what did the interval say?", 20),
                Part(CLOSE, 10),
            ),
        ),
        (
            *_MEASURE,
            "A wrong factor in dropout hardly moves the accuracy. The loss shows it.",
            "`weight_decay` is another thing in another optimizer: look where the pull acts.",
            "What repeats in the data is learned first, and what is wrong comes last.",
        ),
    ),
}


def find(name: str) -> Plan:
    """The plan of that name.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> from coursekit.course import plans
    >>> plans.find("half-day").title
    'Half a day: measure, drop, stop'
    """
    if name not in PLANS:
        raise ValueError(f"expected one of {', '.join(PLANS)}, got {name!r}; try half-day")
    return PLANS[name]


def of_plan(plan: Plan) -> list[str]:
    """Numbers of the lessons whose notebooks a plan opens, in its order.

    Examples
    --------
    >>> from coursekit.course import plans
    >>> plans.of_plan(plans.find("half-day"))
    ['00', '04', '09']
    """
    return list(dict.fromkeys(part.lesson for day in plan.days for part in day if part.lesson))


def minutes(part: Part) -> float:
    """How long a part takes.

    Raises
    ------
    ValueError
        If the lesson has no such section, or a section has nothing to lecture on.

    Examples
    --------
    >>> from coursekit.course import plans
    >>> plans.minutes(plans.Part("Break", 15))
    15
    """
    return sum(one.minutes for one in _sections(part)) if part.lesson else part.minutes


@cache
def _lesson(number: str) -> tuple[str, tuple[lecture.Section, ...]]:
    [path] = lessons.select([number])
    return notebook.title(notebook.read(path)), tuple(lecture.path(path))


def _sections(part: Part) -> list[lecture.Section]:
    title, all_of_them = _lesson(part.lesson)
    known = {0: all_of_them[0]}
    for section in all_of_them[1:]:
        if number := re.match(r"(\d+)\.", section.title):
            known[int(number[1])] = section
    wanted = part.sections or [number for number, one in known.items() if one.stops]
    for number in wanted:
        if number not in known or not known[number].stops:
            spoken = ", ".join(str(n) for n, one in known.items() if one.stops)
            raise ValueError(
                f"expected sections of {title} that are part of the lecture ({spoken}), "
                f"got {number}; try `coursekit lecture {part.lesson}`"
            )
    return [known[number] for number in wanted]


def name(part: Part) -> str:
    """What a part is called: its title, or its lesson with the sections."""
    if not part.lesson:
        return part.title
    title, _ = _lesson(part.lesson)
    if not part.sections:
        return f"Lesson {title}, the whole lecture"
    numbered = [str(number) for number in part.sections if number]
    ending = f"section{'s' if len(numbered) > 1 else ''} {_listed(numbered)}"
    return f"Lesson {title}: {'opening, ' if 0 in part.sections else ''}{ending}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def table(plan: Plan) -> str:
    """A plan as tables in Markdown, one for each day: from when, how long, what.

    Examples
    --------
    >>> from coursekit.course import plans
    >>> plans.table(plans.find("90-minutes")).splitlines()[0]
    '| from | minutes | what |'
    """
    tables = []
    for number, day in enumerate(plan.days, 1):
        rows, passed = ["| from | minutes | what |", "|---:|---:|---|"], 0.0
        for part in day:
            rows.append(f"| {_clock(passed)} | {minutes(part):g} | {name(part)} |")
            passed += minutes(part)
        rows.append(f"| {_clock(passed)} | **{passed:g}** | |")
        heading = f"**Day {number}**\n\n" if len(plan.days) > 1 else ""
        tables.append(heading + "\n".join(rows))
    return "\n\n".join(tables)


def _clock(passed: float) -> str:
    return f"{int(passed) // 60}:{int(passed) % 60:02d}"


def handout(plan: Plan) -> str:
    """One page for each participant, ready to be printed: an HTML file that needs no other."""
    days = []
    for number, day in enumerate(plan.days, 1):
        rows, passed = [], 0.0
        for part in day:
            rows.append(f"<li><b>{_clock(passed)}</b><span>{_inline(name(part))}</span></li>")
            passed += minutes(part)
        heading = f"<h3>Day {number}</h3>" if len(plan.days) > 1 else ""
        days.append(f"{heading}<ol>{''.join(rows)}</ol>")
    remember = "".join(f"<li>{_inline(line)}</li>" for line in plan.remember)
    page = Template(Path(__file__).with_name("handout.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(plan.title),
        days="".join(f"<div>{day}</div>" for day in days),
        remember=remember,
        columns=len(plan.days),
    )


def _inline(text: str) -> str:
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escape(text))
