"""`coursekit room`: a workshop's room as one study. Each laptop trains seeds of its own.

The question is lesson 00's: what does dropout change after 40 epochs, on 200 digits with four in
ten labels replaced? A seat answers it for eight seeds that no other seat has, in one line of text
that survives a chat or a mail. Joined, the lines are a study that no single laptop has made.
"""

import argparse
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from coursekit import __version__

VERSION = 1  # of the question; lines of another one answer something else
SEEDS, SEATS = 8, 999
FIRST = 100_000  # no lesson, claim or explorer has trained on these seeds
DIGITS = 900  # test digits, the same ones for everybody
SMALLEST = 1.0  # points of accuracy that matter, as in lesson 00
PARTS = re.compile(
    r"(?P<seat>\d{1,4})v=(?P<v>\d+)engine=(?P<engine>\d+)course=(?P<course>.+?)torch=(?P<torch>.+?)"
    r"right=(?P<right>[\d/,]+)sum=(?P<sum>[0-9a-f]{8})"
)


@dataclass(frozen=True)
class Line:
    """What one seat found: for each seed the right test digits without and with dropout."""

    seat: int
    right: tuple[tuple[int, int], ...]
    course: str
    torch: str
    engine: int
    v: int = VERSION

    @property
    def differences(self) -> list[float]:
        """Points of accuracy that dropout adds, one for each seed."""
        return [100 * (treated - control) / DIGITS for control, treated in self.right]


@dataclass(frozen=True)
class Room:
    """The seats that count, by number, and in sentences what was left out or is worth knowing."""

    seats: tuple[Line, ...]
    notes: tuple[str, ...]


def act(args: argparse.Namespace) -> int:
    """Do what `coursekit room ACTION` says; return the exit status."""
    if args.action == "train":
        if args.seat is None:
            raise ValueError("expected the number of your seat, got none; try --seat 7")
        line = written(train(args.seat))
        print(f"Seat {args.seat} has trained. Paste this line:", file=sys.stderr, flush=True)
        print(line)
        return 0
    texts = [_read(name) for name in args.files or ["-"]]
    joined = join("\n".join(texts))
    for note in joined.notes:
        print(f"note: {note}", file=sys.stderr)
    if not joined.seats:
        raise ValueError(
            "expected at least one whole line of `coursekit room train`, got none; "
            "try pasting a line again, all of it"
        )
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    drawing, alt = figure(joined)
    content = drawing if out.suffix == ".svg" else page(joined, drawing, alt)
    out.write_text(content, encoding="utf-8")
    print(finding(joined))
    print(out)
    return 0


def train(seat: int) -> Line:
    """Train the seeds of one seat, without dropout and with it; about a second.

    Raises
    ------
    ValueError
        If there is no such seat.
    """
    from importlib import metadata

    from coursekit.train import ENGINE

    if not 1 <= seat <= SEATS:
        raise ValueError(f"expected a seat from 1 to {SEATS}, got {seat}; try --seat 7")
    first = FIRST + SEEDS * (seat - 1)
    return Line(seat, right(first), __version__, metadata.version("torch"), ENGINE)


def right(first_seed: int) -> tuple[tuple[int, int], ...]:
    """For eight seeds, how many test digits are read rightly without dropout and with it."""
    from coursekit.explorers.dance import right_answers

    seeds = range(first_seed, first_seed + SEEDS)
    counts = right_answers(epochs=40, seeds=seeds).sum(2)  # (2, S)
    return tuple(zip(*counts.tolist(), strict=True))


def written(line: Line) -> str:
    """A line as text, with a sum by which a damaged one is noticed.

    Examples
    --------
    >>> from coursekit.commands.room import Line, written
    >>> written(Line(7, ((702, 713),), "0.1.0", "2.13.0", engine=3))
    'coursekit-room seat=7 v=1 engine=3 course=0.1.0 torch=2.13.0 right=702/713 sum=42b0d192'
    """
    pairs = ",".join(f"{control}/{treated}" for control, treated in line.right)
    text = (
        f"seat={line.seat} v={line.v} engine={line.engine} course={line.course} "
        f"torch={line.torch} right={pairs} "
    )
    return f"coursekit-room {text}sum={_sum(text)}"


def _sum(text: str) -> str:
    squeezed = "".join(text.split())
    return f"{zlib.crc32(squeezed.encode()):08x}"


def join(text: str) -> Room:
    """Read the lines in a text that may hold anything else: a chat, a mail, several files.

    A line may be wrapped or quoted. Each seat counts once; what is damaged, or answers another
    question, is left out, and a note says so.
    """
    from coursekit.train import ENGINE

    seats: dict[int, Line] = {}
    notes: list[str] = []
    again: Counter[int] = Counter()
    _, *parts = re.split(r"seat\s*=", text)
    for part in parts:
        # Chats wrap lines, mails quote them: neither is part of a line.
        squeezed = re.sub(r"[\s>\u200b\ufeff]", "", part)
        line = _line(squeezed)
        if isinstance(line, str):
            notes.append(line)
        elif line.seat in seats:
            again[line.seat] += 1
            if line.right != seats[line.seat].right:
                notes.append(
                    f"seat {line.seat} came with other numbers too; its first line counts. "
                    "The same seeds were trained, so this is rounding, or another version"
                )
        elif (line.v, line.engine) != (VERSION, ENGINE):
            notes.append(
                f"seat {line.seat} has another version of the course ({line.course}), which trains "
                "a seed to other numbers; left out. Try the same version on all laptops"
            )
        else:
            seats[line.seat] = line
    free = (number for number in range(1, SEATS + 1) if number not in seats)
    for seat, times in sorted(again.items()):
        notes.append(
            f"seat {seat} came {times + 1} times and counts once; if two laptops have this number, "
            f"let one of them train with --seat {next(free)}"
        )
    for name in ("course", "torch"):
        versions = Counter(getattr(line, name) for line in seats.values())
        if len(versions) > 1:
            told = ", ".join(f"{v} ({n} seats)" for v, n in sorted(versions.items()))
            notes.append(f"versions of {name} differ: {told}; they may round differently")
    return Room(tuple(seats[number] for number in sorted(seats)), tuple(notes))


def _line(text: str) -> Line | str:
    """A squeezed line, or a sentence about what is wrong with it."""
    match = PARTS.match(text)
    begins = re.match(r"\d+", text)
    who = f"seat {begins[0]}" if begins else "a line without a seat"
    damaged = f"{who} is damaged and left out; paste that line again, all of it"
    if match is None or _sum("seat=" + text[: match.start("sum") - 4]) != match["sum"]:
        return damaged
    pairs = [tuple(map(int, pair.split("/"))) for pair in match["right"].split(",")]
    whole = len(pairs) == SEEDS and all(len(p) == 2 and max(p) <= DIGITS for p in pairs)
    if not whole or not 1 <= int(match["seat"]) <= SEATS:
        return damaged
    numbers = {name: int(match[name]) for name in ("seat", "engine", "v")}
    return Line(**numbers, right=tuple(pairs), course=match["course"], torch=match["torch"])


def _read(name: str) -> str:
    if name == "-":
        if sys.stdin.isatty():
            print("Paste the lines, then Ctrl-D (Windows: Ctrl-Z, Enter).", file=sys.stderr)
        return sys.stdin.read()
    return Path(name).read_text(encoding="utf-8", errors="replace")


# The figure


def _interval(differences: Iterable[float]):
    import numpy as np

    from coursekit.intervals import t_interval

    return t_interval(np.array([*differences], float), 0.95)


def _all(room: Room) -> list[float]:
    return [d for line in room.seats for d in line.differences]


def _told(value: float) -> str:
    return f"{value + 0.0:+.1f}".replace("-", "−")


def _size(room: Room) -> str:
    n = len(room.seats)
    return f"{n} seat{'s' if n > 1 else ''}, {n * SEEDS} seeds"


def finding(room: Room) -> str:
    """What the room found, in one sentence."""
    from coursekit import plots

    mean, low, high = _interval(_all(room))
    return (
        f"{_size(room)}: {_told(mean)} points of accuracy with "
        f"dropout, 95 % interval {_told(low)} to {_told(high)}: {plots.word(low, high, SMALLEST)}."
    )


def alone(room: Room) -> str:
    """What the seats would have said, each for itself, in one sentence."""
    from coursekit import plots

    words = Counter(
        plots.word(*_interval(line.differences)[1:], SMALLEST).removesuffix(plots.SIZE_OPEN)
        for line in room.seats
    )
    told = ", ".join(f"{n} “{word}”" for word, n in words.most_common())
    return f"Alone, with {SEEDS} seeds each, the seats would have said: {told}."


def figure(room: Room) -> tuple[str, str]:
    """All paired differences, seat by seat, with the room's interval on top: SVG, and its words."""
    import matplotlib.pyplot as plt

    from coursekit import plots

    rows = [("the room", _all(room)), *((f"seat {o.seat}", o.differences) for o in room.seats)]
    with plt.rc_context(plots.STYLE):
        fig, ax = plt.subplots(figsize=(8.6, 1.6 + 0.3 * len(rows)))
        ax.axvspan(-SMALLEST, SMALLEST, color=plots.GRAY, alpha=0.2, linewidth=0)
        ax.axvline(0, color=plots.GRAY, linewidth=1)
        for y, (_, differences) in enumerate(rows):
            mean, low, high = _interval(differences)
            word = plots.word(low, high, SMALLEST)
            color, ink = plots.WORD_COLORS[word.removesuffix(plots.SIZE_OPEN)]
            if y:
                ax.plot(differences, [y] * len(differences), "o", color=color, alpha=0.45, ms=4)
            ax.plot([low, high], [y, y], color=color, lw=2.5 if y else 6, solid_capstyle="round")
            ax.plot(mean, y, "D", color=color, markerfacecolor=plots.WHITE, ms=6 if y else 10)
            words = word if y else f"{word}: {_told(mean)} ({_told(low)} to {_told(high)})"
            weight = "normal" if y else "bold"
            ax.annotate(words, (1, y), xytext=(8, 0), va="center", color=ink, fontweight=weight,
                        xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
        ax.set_yticks(range(len(rows)), [name for name, _ in rows])
        ax.set_ylim(len(rows) - 0.4, -0.8)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("gain by dropout in points of accuracy (gray: too small to matter)")
        ax.set_title(f"{_size(room)}: {plots.word(*_interval(_all(room))[1:], SMALLEST)}")
        drawing = plots.svg(fig)
        plt.close(fig)
    return drawing, f"{finding(room)} {alone(room)}"


def page(room: Room, drawing: str, alt: str) -> str:
    """The figure with its sentences, the notes and a table, as a page that needs no other file."""
    from coursekit import plots

    rows = "".join(
        f"<tr><th scope='row'>{line.seat}</th>"
        + "".join(f"<td>{_told(value)}</td>" for value in _interval(line.differences))
        + f"<td>{', '.join(map(_told, line.differences))}</td></tr>"
        for line in room.seats
    )
    counts = [count for line in room.seats for count in line.right]
    without, with_it = (
        100 * sum(side) / len(counts) / DIGITS for side in zip(*counts, strict=True)
    )
    notes = "".join(f"<li>{escape(note)}.</li>" for note in room.notes)
    template = Template(Path(__file__).with_name("room.html").read_text(encoding="utf-8"))
    return template.substitute(
        picture=plots.image(drawing, alt),
        finding=escape(finding(room)),
        alone=escape(alone(room)),
        means=f"{without:.1f} % of the test digits are read rightly without, {with_it:.1f} % with.",
        notes=f"<h2>What was noticed</h2><ul>{notes}</ul>" if notes else "",
        rows=rows,
        seeds=SEEDS,
        digits=DIGITS,
    )
