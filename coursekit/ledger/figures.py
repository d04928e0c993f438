"""Figures of the ledger: all conditions of a claim on one axis, beside what matters."""

import html
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from matplotlib.ticker import MaxNLocator

from coursekit import plots
from coursekit.ledger import cards, record, results
from coursekit.ledger.results import Result
from coursekit.ledger.rule import Comparison

# Of what is for a claim, against it, too small, or open: the course's roles, as `plots` has them.
ROLES = {"for": "treated", "against": "other", "small": "train", "open": "control"}
# Filled where the size is known; hollow where only the sign is, or nothing.
MARKERS = {
    "helps": ("up", True),
    "not worse": ("up", True),
    "hurts": ("down", True),
    "worse": ("down", True),
    "too small to matter": ("square", True),
    "helps, size open": ("up", False),
    "hurts, size open": ("down", False),
    "not yet known": ("circle", False),
}
SHAPES = {
    "up": "M0-6 6 5-6 5Z",
    "down": "M0 6 6-5-6-5Z",
    "square": "M-5-5H5V5H-5Z",
    "circle": "M-5 0A5 5 0 0 0 5 0A5 5 0 0 0-5 0Z",
    "cross": "M-5-5 5 5M-5 5 5-5",
}
ROOM = 48  # smallest effects that an axis holds to scale, with a band that one still sees
LINEAR = 2.0  # where they are more, so many around zero are; beyond, by their logarithm
WIDTH, EDGE = 540, 8  # narrow enough for a column of text, and legible when a telephone halves it
RULE = 'fill="#8886"'
LETTERS = 66  # of a condition's name that fit into one line
HALF = 5.5  # of a letter's width: no number of the axis sticks out


def measured(result: Result) -> list[Comparison]:
    """Comparisons that have an interval."""
    return [c for c in result.comparisons if results.measured(c)]


def _steps(rows: list[Comparison]) -> list[float]:
    """What one step of the axis is for each row, signed: to the right is what the claim asks.

    All rows of one unit have the same, by the greatest smallest effect; else each has its own.
    """
    shared = cards.shared_unit(rows)
    own = [shared or c.condition for c in rows]
    return [condition.direction * condition.smallest for condition in own]


def _reach(rows: list[Comparison]) -> tuple[float, float]:
    """Least and greatest of what is drawn, in steps, and a little more."""
    at = [
        v / step
        for c, step in zip(rows, _steps(rows), strict=True)
        for v in (c.low, c.high, c.condition.published or 0)
    ]
    low, high = min(-1.5, *at), max(1.5, *at)
    space = 0.03 * (high - low)
    return low - space, high + space


def to_scale(rows: list[Comparison]) -> bool:
    """Whether all of these effects find room on an axis without a logarithm."""
    low, high = _reach(rows)
    return high - low <= ROOM


class Axis:
    """Places along a figure: to scale from end to end, or around zero only.

    Parameters
    ----------
    rows : list of Comparison
        What is drawn. Places are in steps, and positive is what the claim asks about. A step is
        the greatest smallest effect of all rows if they share a unit, else each row's own.
    """

    def __init__(self, rows: list[Comparison]):
        self.low, self.high = _reach(rows)
        self.linear = to_scale(rows)
        if not self.linear:
            self.high = max(self.high, -self.low)
            self.low = -self.high

    def at(self, value: float) -> float:
        """Place of an effect."""
        low, high, value = map(self._length, (self.low, self.high, value))
        return round(EDGE + (value - low) / (high - low) * (WIDTH - 2 * EDGE), 1)

    def _length(self, value: float) -> float:
        far = abs(value) / LINEAR
        if self.linear or far <= 1:
            return value
        return float(np.sign(value) * LINEAR * (1 + np.log10(far)))

    def ticks(self, unit: float) -> Iterator[tuple[float, float]]:
        """Places of round numbers, and the numbers; `unit` is the size of a step, signed."""
        if self.linear:
            ends = sorted((unit * self.low, unit * self.high))
            round_numbers = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(*ends)
        else:  # more would overlap
            steps = (1, 2, 5, 10) if self.high <= 15 else (1, 2, 10, 100, 1000)
            round_numbers = [unit * s * t for t in (0, *steps) for s in ((-1, 1) if t else (1,))]
        for number in round_numbers:
            if self.low <= number / unit <= self.high:
                yield self.at(number / unit), float(number)


def _ink(role: str) -> str:
    return f"var(--ink-{role},{plots.INK[role]})"


def _style() -> str:
    """Letters take the color of their page; colors get lighter where the page is dark."""
    light = f"color:{plots.BLACK}"
    dark = ";".join(f"--ink-{role}:{plots.DARK[plots.INK[role]]}" for role in ROLES.values())
    return (
        ".forest text{fill:currentColor;font:15px system-ui,sans-serif}"
        f"body[data-jp-theme-light=false] .forest{{{dark}}}"
        f":root.forest{{{light}}}"
        "@media screen and (prefers-color-scheme:dark)"
        f"{{:root.forest{{color:{plots.DARK[plots.BLACK]};{dark}}}}}"
    )


def _marker(shape: str, x: float, y: float, ink: str, *, filled: bool) -> str:
    face = ink if filled else "none"
    return (
        f'<path d="{SHAPES[shape]}" transform="translate({x} {y})" stroke-width="2" '
        f'style="fill:{face};stroke:{ink}"/>'
    )


def _condition(c: Comparison, y: float, axis: Axis, step: float) -> str:
    """The interval of a condition on its band; to the right is what the claim asks."""
    width = c.condition.smallest / abs(step)
    low, zero, high = (axis.at(v) for v in (-width, 0, width))
    lane = f'<rect x="{low}" y="{y - 9}" width="{high - low:.1f}" height="18" fill="#8883"/>'
    lane += f'<path d="M{zero} {y - 9}v18" stroke="#888"/>'
    ink = _ink(ROLES[c.standing])
    low, high = sorted(axis.at(v / step) for v in (c.low, c.high))
    shape, filled = MARKERS[c.word]
    line = f'<path d="M{low} {y}H{high}" stroke-width="3" style="stroke:{ink}"/>'
    drawn = lane + line + _marker(shape, axis.at(c.difference / step), y, ink, filled=filled)
    if c.condition.published is not None:
        x = axis.at(c.condition.published / step)
        drawn += _marker("cross", x, y, _ink("test"), filled=False)
    return drawn


def _measured(c: Comparison) -> str:
    """The difference in its own unit, for people."""
    effect = cards.numbers(c)[2]
    return " ".join(filter(None, (effect.replace("-", "\u2212"), c.condition.unit)))


def _rows(rows: list[Comparison], axis: Axis) -> Iterator[tuple[str, int]]:
    """Drawings of all conditions, and where each ends."""
    y, first = 22, True
    if any(c.condition.published is not None for c in rows):
        told = "\u00d7 what a source promises"
        yield f'<text x="{EDGE}" y="15" style="fill:{_ink("test")}">{told}</text>', y
        y += 22
    shared = cards.shared_unit(rows)
    for c, step in zip(rows, _steps(rows), strict=True):
        # The word stands at the right of the name's last line, or below it. With it, where the axis
        # has no unit, what was measured.
        told = c.found if shared else f"{c.found}, {_measured(c)}"
        lines = textwrap.wrap(c.condition.name, LETTERS)
        if len(lines[-1]) + len(told) > LETTERS:
            lines.append("")
        if not first:  # or a marker might be taken for that of the name below it
            yield f'<rect x="{EDGE}" y="{y - 21}" width="{WIDTH - 2 * EDGE}" height="1" {RULE}/>', y
        first = False
        for line in lines:
            drawn = f'<text x="{EDGE}" y="{y - 4}">{html.escape(line)}</text>'
            y += 20
            yield drawn, y
        word = f'x="{WIDTH - EDGE}" y="{y - 24}" text-anchor="end" font-weight="bold"'
        ink = _ink(ROLES[c.standing])
        drawn = f'<text {word} style="fill:{ink}">{html.escape(told)}</text>'
        drawn += _condition(c, y - 9, axis, step)
        y += 28
        yield drawn, y


def forest_svg(result: Result) -> str:
    """The difference of each condition, with the band that is too small to matter, as SVG.

    To the right is what the claim calls better. The axis is in the claim's unit if all conditions
    share it, else in smallest effects that matter; to scale where there is room. A cross marks
    what a source promises, where it gives a number. The ground is transparent. Empty if nothing
    has an interval.
    """
    rows = measured(result)
    if not rows:
        return ""
    axis = Axis(rows)
    drawn, bottoms = zip(*_rows(rows, axis), strict=True)
    bottom = bottoms[-1] - 14
    told = f'<path d="M{EDGE} {bottom}H{WIDTH - EDGE}" stroke="#888"/>'
    shared = cards.shared_unit(rows)
    for x, number in axis.ticks(shared.direction * shared.smallest if shared else 1.0):
        name = f"{number:+.6g}".replace("-", "\u2212") if abs(number) > 1e-9 else "0"
        told += f'<path d="M{x} {bottom}v5" stroke="#888"/>'
        within = min(max(x, HALF * len(name)), WIDTH - HALF * len(name))
        told += f'<text x="{within:.1f}" y="{bottom + 20}" text-anchor="middle">{name}</text>'
    unit = shared.unit or "difference" if shared else "in smallest effects that matter"
    for x, anchor, role, words in (
        (EDGE, "start", "against", "\u2190 against it"),
        (WIDTH / 2, "middle", None, unit),
        (WIDTH - EDGE, "end", "for", "for it \u2192"),
    ):
        ink = f' style="fill:{_ink(ROLES[role])}"' if role else ""
        told += f'<text x="{x}" y="{bottom + 42}" text-anchor="{anchor}"{ink}>{words}</text>'
    size = f'width="{WIDTH}" height="{bottom + 50}" viewBox="0 0 {WIDTH} {bottom + 50}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="forest" {size} '
        f'style="max-width:100%;height:auto" fill="none"><style>{_style()}</style>'
        f"{''.join(drawn)}{told}</svg>"
    )


def _answer(result: Result) -> str:
    """The answer as HTML, and those to its parts unless a sentence or "yes" covers them."""
    headline = f"{cards.ANSWER_SIGNS[result.answer]} {cards.headline(result)}"
    covered = result.answer == "yes" or (
        result.answer == "depends" and result.id in record.conditions_of_yes()
    )
    return "<br>".join(map(html.escape, [headline, *([] if covered else cards.parts_told(result))]))


def _renamed(result: Result, words: Mapping[str, str]) -> Result:
    """The same with other words in the names of its conditions."""
    said = []
    for c in result.comparisons:
        name = c.condition.name
        for word, plain in words.items():
            name = name.replace(word, plain)
        said.append(replace(c, condition=replace(c.condition, name=name)))
    return replace(result, comparisons=tuple(said))


class Shown:
    """A claim as a notebook shows it: answer, figure, a line per condition, all else folded.

    Parameters
    ----------
    id : str
    world : str
    words : mapping of str to str, optional
        As in `show`.
    """

    def __init__(self, id: str, world: str = "digits", words: Mapping[str, str] | None = None):
        self.id, self.world, self.words = id, world, words or {}
        self.record, self.result = record.find(id), results.known(id, world)

    def __repr__(self) -> str:
        return cards.shown(self.id, self.world)

    def _repr_html_(self) -> str:
        own, result = self.record, self.result
        question = html.escape(own.question)
        if result is None:
            return f"<p><strong>{own.id} {question}</strong><br>○ not run yet</p>"
        card = cards.card(result)
        result = _renamed(result, self.words)
        lines = "".join(
            f"<li>{cards.WORD_SIGNS[c.word]} {html.escape(c.condition.name)}: "
            f"{html.escape(cards.told(c))}</li>"
            for c in result.comparisons
        )
        figure = forest_svg(result)
        if figure:
            alt = html.escape(cards.alt(result), quote=True)
            figure = (
                f'<div role="img" aria-label="{alt}">{figure}</div>'
                f"<p><small>{html.escape(cards.caption(result))}</small></p>"
            )
        return (
            f"<p><strong>{own.id} {question}</strong><br>{_answer(result)}</p>{figure}"
            f"<details><summary>{len(result.comparisons)} conditions in numbers</summary>"
            f"<ul style='list-style:none'>{lines}</ul></details>"
            f"<details><summary>How it was measured</summary><pre>"
            f"{html.escape(card)}</pre></details>"
        )


def show(id: str, world: str = "digits", words: Mapping[str, str] | None = None) -> Shown:
    """Show what became of a claim.

    Parameters
    ----------
    id : str
        As in "C44".
    world : {"digits", "other writers", "mnist", "mnist1d"}
    words : mapping of str to str, optional
        What a lesson says instead of words in the names of conditions, where these mean something
        else on its page; the fold "How it was measured" keeps the registered names.

    Raises
    ------
    ValueError
        If there is no such claim.

    Examples
    --------
    >>> from coursekit import claims
    >>> print(str(claims.show("C42")).splitlines()[0])
    C42  In training, are the units that survive divided by 1 - rate?
    """
    return Shown(id, world, words)


class Listed:
    """All claims of a lesson as a notebook shows them: a table behind a fold.

    Parameters
    ----------
    number : str
    world : str
    """

    def __init__(self, number: str, world: str = "digits"):
        self.world = world
        self.ids = record.of_lesson(number)

    def __repr__(self) -> str:
        return cards.board(self.ids, self.world)

    def _repr_html_(self) -> str:
        rows = []
        for id in self.ids:
            own, result = record.find(id), results.known(id, self.world)
            answer = f"{cards.ANSWER_SIGNS['not tested']} not run yet"
            if result is not None:
                answer = _answer(result)
            cells = (id, html.escape(own.question), answer)
            rows.append("".join(f"<td>{cell}</td>" for cell in cells))
        body = "".join(f"<tr style='text-align:left'>{row}</tr>" for row in rows)
        head = "".join(f"<th scope='col'>{name}</th>" for name in ("claim", "question", "answer"))
        return (
            f"<details><summary>{len(rows)} claims, each with what was measured</summary>"
            f"<table><thead><tr style='text-align:left'>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></details>"
        )


def lesson(number: str, world: str = "digits") -> Listed:
    """Show what became of all claims of a lesson, one line each.

    Parameters
    ----------
    number : str
        As in "04".
    world : {"digits", "other writers", "mnist", "mnist1d"}

    Raises
    ------
    ValueError
        If no claim belongs to the lesson.

    Examples
    --------
    >>> from coursekit import claims
    >>> print(str(claims.lesson("03")).splitlines()[-1][:9])
    5 claims:
    """
    return Listed(number, world)
