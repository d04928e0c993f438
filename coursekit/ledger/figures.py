"""Figures of the ledger: all conditions of a claim on one axis, in units of what matters."""

import html
import io

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from coursekit import plots
from coursekit.ledger import cards, record, results
from coursekit.ledger.results import Result
from coursekit.ledger.rule import Comparison

# The course's colors, as `plots` gives them to verdicts; gray for what is open.
COLORS = {
    "for": plots.COLORS["treated"],
    "against": plots.COLORS["other"],
    "small": plots.COLORS["train"],
    "open": "#777777",
}
PROMISED = plots.COLORS["test"]
# Filled where the size is known; hollow where only the sign is, or nothing.
MARKERS = {
    "helps": ("^", True),
    "not worse": ("^", True),
    "hurts": ("v", True),
    "worse": ("v", True),
    "too small to matter": ("s", True),
    "helps, size open": ("^", False),
    "hurts, size open": ("v", False),
    "not yet known": ("o", False),
}
LINEAR = 2.0  # smallest effects around zero that are drawn to scale; beyond, by their logarithm


def measured(result: Result) -> list[Comparison]:
    """Comparisons that have an interval."""
    return [c for c in result.comparisons if results.measured(c)]


def forest(ax: Axes, result: Result) -> None:
    """Draw the difference of each condition in units of the smallest effect that matters.

    Positive is what the claim calls better. The band is "too small to matter"; a cross marks what
    a source promises, where it gives a number.
    """
    rows = measured(result)
    ax.axvspan(-1, 1, color="#888888", alpha=0.18, lw=0)
    ax.axvline(0, color="#888888", lw=1)
    for y, c in enumerate(rows):
        unit = c.condition.direction / c.condition.smallest
        low, high = sorted((unit * c.low, unit * c.high))
        color = COLORS[c.standing]
        ax.plot([low, high], [y, y], color=color, lw=2.5, solid_capstyle="round")
        marker, filled = MARKERS[c.word]
        face = color if filled else "none"
        ax.plot(unit * c.difference, y, marker, color=color, mfc=face, mew=1.8, ms=8)
        if c.condition.published is not None:
            ax.plot(unit * c.condition.published, y, "x", color=PROMISED, ms=9, mew=2.5)
        ax.annotate(
            f" {c.found}", (1.0, y), xycoords=("axes fraction", "data"), va="center", color=color
        )
    ax.set_yticks(range(len(rows)), [c.condition.name for c in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=1.0)
    reach = max(
        [1.5, *(abs(v) / c.condition.smallest for c in rows for v in (c.low, c.high))],
    )
    steps = (1, 2, 5, 10) if reach <= 12 else (1, 2, 10, 100, 1000)  # more would overlap
    ticks = [sign * t for t in (0, *steps) if t <= 1.2 * reach for sign in ((-1, 1) if t else (1,))]
    ax.set_xticks(ticks, [f"{t:+g}" if t else "0" for t in ticks])
    ax.minorticks_off()
    ax.set_xlim(-1.25 * reach, 1.25 * reach)
    ax.set_xlabel("in units of the smallest effect that matters")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def forest_svg(result: Result) -> str:
    """The figure of a claim as SVG on a transparent ground, "" if nothing has an interval."""
    rows = measured(result)
    if not rows:
        return ""
    with plt.rc_context({"font.size": 11, "svg.fonttype": "none", "svg.hashsalt": result.id}):
        fig, ax = plt.subplots(figsize=(8.5, 0.9 + 0.38 * len(rows)), layout="constrained")
        forest(ax, result)
        if any(c.condition.published is not None for c in rows):
            ax.set_title("cross: what a source promises", loc="left", fontsize=10, color=PROMISED)
        told = io.StringIO()
        fig.savefig(told, format="svg", transparent=True, metadata={"Date": None})
        plt.close(fig)
    svg = told.getvalue()
    # Text and axes take the color of the page, dark or light.
    svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
    # Matplotlib's style is for all that a file holds; on a page it must not reach other drawings.
    svg = svg.replace("*{stroke", ".forest *{stroke")
    return svg.replace("<svg ", '<svg class="forest" fill="currentColor" ', 1)


class Shown:
    """A claim as a notebook shows it: answer, figure, a line per condition, all else folded.

    Parameters
    ----------
    id : str
    world : str
    """

    def __init__(self, id: str, world: str = "digits"):
        self.id, self.world = id, world
        self.record, self.result = record.find(id), results.known(id, world)

    def __repr__(self) -> str:
        return cards.shown(self.id, self.world)

    def _repr_html_(self) -> str:
        own, result = self.record, self.result
        question = html.escape(own.question)
        if result is None:
            return f"<p><strong>{own.id} {question}</strong><br>○ not run yet</p>"
        sign = cards.ANSWER_SIGNS[result.answer]
        answer = html.escape(cards.headline(result))
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
                f"<p><small>{html.escape(cards.CAPTION)}</small></p>"
            )
        return (
            f"<p><strong>{own.id} {question}</strong><br>{sign} {answer}</p>{figure}"
            f"<details><summary>{len(result.comparisons)} conditions in numbers</summary>"
            f"<ul style='list-style:none'>{lines}</ul></details>"
            f"<details><summary>How it was measured</summary><pre>"
            f"{html.escape(cards.card(result))}</pre></details>"
        )


def show(id: str, world: str = "digits") -> Shown:
    """Show what became of a claim.

    Parameters
    ----------
    id : str
        As in "C44".
    world : {"digits", "other writers", "mnist", "mnist1d"}

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
    return Shown(id, world)


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
                answer = f"{cards.ANSWER_SIGNS[result.answer]} {cards.headline(result)}"
            cells = (id, own.question, answer)
            rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
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
