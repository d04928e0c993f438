"""A lecturer's path through a lesson: which cells carry an hour, what to say, how long it takes.

Cells of the path carry the tag `lecture`, and in their metadata the minutes and a note on what
students get wrong: `{"coursekit": {"minutes": 4, "note": "..."}}`. Neither shows in a lesson.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coursekit.course import notebook

TAG = "lecture"
# Unhurried reading of what explains (Brysbaert, 2019, finds 238 words a minute for plain texts),
# and what it takes to look at a line of code or at a figure.
WORDS, LINES, FIGURE = 180, 12, 0.5  # a minute, a minute, minutes
FOLDED = {"hide-input", "hide-cell"}


@dataclass(frozen=True)
class Stop:
    """A cell of the path. `cell` counts from 1."""

    cell: int
    title: str
    minutes: float
    note: str


@dataclass(frozen=True)
class Section:
    """A section of a lesson, with the minutes that its reading and the lecture take."""

    title: str
    reading: float
    stops: tuple[Stop, ...]

    @property
    def minutes(self) -> float:
        return sum(stop.minutes for stop in self.stops)


def path(file: str | Path) -> list[Section]:
    """Sections of a lesson with their stops.

    Parameters
    ----------
    file : path of a notebook

    Raises
    ------
    ValueError
        If the file is no notebook, or a stop has no minutes.
    """
    sections: list[tuple[str, list[float], list[Stop]]] = []
    for number, cell in enumerate(notebook.read(file).cells, 1):
        heading = re.search(r"^##? +(.+)$", cell.source, re.M) if _is_text(cell) else None
        if heading or not sections:
            sections.append((heading[1] if heading else Path(file).stem, [], []))
        _, reading, stops = sections[-1]
        reading.append(_minutes(cell))
        if TAG in cell.metadata.get("tags", []):
            own = cell.metadata.get("coursekit", {})
            if not isinstance(own.get("minutes"), int | float) or own["minutes"] <= 0:
                raise ValueError(
                    f"expected minutes above 0 in the metadata of cell {number} of {file}, "
                    f'got {own.get("minutes")!r}; try {{"coursekit": {{"minutes": 4}}}}'
                )
            stops.append(Stop(number, _title(cell), own["minutes"], own.get("note", "")))
    return [Section(title, sum(reading), tuple(stops)) for title, reading, stops in sections]


def told(file: str | Path) -> str:
    """The path as text: sections with minutes, then the stops with their notes."""
    return "\n".join(_lines(path(file)))


def _lines(sections: list[Section]) -> Iterator[str]:
    import textwrap

    yield f"{'section':56} {'read':>6} {'lecture':>8}"
    for section in sections:
        spoken = f"{section.minutes:g} min" if section.stops else ""
        yield f"{section.title[:56]:56} {section.reading:3.0f} min {spoken:>8}"
    reading, minutes = (sum(getattr(s, k) for s in sections) for k in ("reading", "minutes"))
    yield f"{'':56} {reading:3.0f} min {f'{minutes:g} min':>8}"
    for section in sections:
        for stop in section.stops:
            yield ""
            yield f"cell {stop.cell}, {stop.minutes:g} min: {stop.title}"
            yield from textwrap.wrap(stop.note, 92, initial_indent="    ", subsequent_indent="    ")


def _is_text(cell) -> bool:
    return cell.cell_type == "markdown"


def _title(cell) -> str:
    """What a cell shows: its heading, its figure in words, or its first line."""
    heading = re.search(r"^#+ +(.+)$", cell.source, re.M) if _is_text(cell) else None
    if heading:
        return heading[1]
    for output in cell.get("outputs", []):
        words = output.get("data", {}).get("text/plain", "").strip()
        if words and len(output["data"]) > 1:  # a figure, a prompt or a claim
            return _short(words.splitlines()[0])
        for kind in ("image/svg+xml", "image/png"):
            alt = output.get("metadata", {}).get(kind, {}).get("alt")
            if alt:
                return _short(alt)
    first = next((line for line in cell.source.splitlines() if line.strip()), "")
    return _short(first.strip("# *"))


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 1].rsplit(" ", 1)[0] + " …"


def _minutes(cell) -> float:
    if _is_text(cell):
        return len(cell.source.split()) / WORDS
    seen = not FOLDED & set(cell.metadata.get("tags", []))
    lines = [line for line in cell.source.splitlines() if line.strip()] if seen else []
    kinds = ("image/svg+xml", "image/png", "text/html")
    figures = [o for o in cell.outputs if any(kind in o.get("data", {}) for kind in kinds)]
    return len(lines) / LINES + FIGURE * len(figures)
