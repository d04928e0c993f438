"""What readers see of a claim: a line, a card for the terminal, a page, the board of all."""

import inspect
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import floor, log10
from operator import attrgetter
from pathlib import Path

from coursekit import __version__
from coursekit.ledger import agreement, record, results, worlds
from coursekit.ledger.experiments import experiments
from coursekit.ledger.record import Condition, Record
from coursekit.ledger.results import Result
from coursekit.ledger.rule import Comparison

# Shape, color and word say the same, for those who see only one of them.
ANSWER_SIGNS = {
    "yes": "●",
    "depends": "◐",
    "too small to matter": "▬",
    "the opposite": "✖",
    "not yet known": "?",
    "not tested": "○",
}
WORD_SIGNS = {
    "helps": "▲",
    "hurts": "▼",
    "too small to matter": "▬",
    "helps, size open": "△",
    "hurts, size open": "▽",
    "not yet known": "?",
    "not worse": "▲",
    "worse": "▼",
    "holds": "●",
    "fails": "✖",
    "not tested": "○",
}
WIDTH = 96


def told(c: Comparison) -> str:
    """One line on a comparison: both means, the difference with its interval, the word."""
    if not results.measured(c):
        return f"{c.found} ({c.note})" if c.note else c.found
    before, after, effect, low, high = numbers(c)
    return f"{before} → {after}, {effect} {c.condition.unit} [{low}, {high}], {c.found}"


def numbers(c: Comparison) -> list[str]:
    """Both means, the difference and its interval: so many decimals as the smallest effect asks."""
    smallest = c.condition.smallest
    digits = max(0, 1 - floor(log10(smallest))) if smallest < 10 else 0
    means = [f"{mean:.{digits}f}" for mean in c.means]
    return means + [f"{v:+.{digits}f}" for v in (c.difference, c.low, c.high)]


# How a comparison stands to its claim, in the order in which they are counted.
STANDINGS = (
    "for it",
    "for it with the size open",
    "too small to matter",
    "against it",
    "against it with the size open",
    "open",
)


def stands(c: Comparison) -> str:
    """How a comparison stands to its claim, one of `STANDINGS`."""
    if c.standing == "small":
        return "too small to matter"
    if c.standing != "open":
        return f"{c.standing} it"
    signs = {"helps, size open": "for it", "hurts, size open": "against it"}
    # Of a claim that two sides are equal, either sign is as open as the other.
    if c.condition.wants == "helps" and c.word in signs:
        return f"{signs[c.word]} with the size open"
    return "open"


def headline(result: Result) -> str:
    """The answer with its counts and, of "depends", when it holds.

    A count over the conditions of several questions would say nothing: see `parts_told`.
    """
    answer = result.said
    if answer == "not yet known" and _only_size_open(result.comparisons):
        answer = "not yet known whether by enough to matter"
    elif answer == "not yet known" and len(_standings(result.comparisons)) > 1:
        answer = "not yet known as a whole"
    count = counted(result.comparisons) if len(result.parts) == 1 else ""
    when = record.conditions_of_yes().get(result.id, "") if result.answer == "depends" else ""
    return f"{answer}{count}" + (f": {when}" if when else "")


def counted(comparisons: Iterable[Comparison]) -> str:
    """How many conditions stand how to their claim; nothing of a single one."""
    told = Counter(stands(c) for c in comparisons if c.standing != "untested")
    if (of := told.total()) < 2:
        return ""
    counts = [f"{told[name]} {name}" for name in STANDINGS if told[name]]
    if len(counts) == 1:
        return f" ({of} of {of} conditions {next(iter(told))})"
    return f" (of {of} conditions {', '.join(counts)})"


def _only_size_open(comparisons: Iterable[Comparison]) -> bool:
    return _standings(comparisons) <= {*STANDINGS[:2]}


def _standings(comparisons: Iterable[Comparison]) -> set[str]:
    return {stands(c) for c in comparisons if c.standing != "untested"}


def parts_told(result: Result) -> list[str]:
    """The questions of which a claim is made, with their answers; none if it is a single one."""
    if len(result.parts) == 1:
        return []
    told = []
    for part, answer in result.parts.items():
        own = [c for c in result.comparisons if c.condition.part == part]
        said = results.plainly(answer, own) + counted(own)
        told.append(f"{ANSWER_SIGNS[answer]} {result.record.parts[part]} {said}")
    return told


def line(result: Result) -> str:
    """One line for the board."""
    sign = ANSWER_SIGNS[result.answer]
    n, of = result.counts
    count = f"{n} of {of}" if of else ""
    question = result.record.question
    return f"{result.id:<4} {sign} {result.said:<20}{count:>9}  {question}"


def evidence_margin(c: Comparison) -> float:
    """Standard errors from the difference to the nearest edge beyond which the word would change.

    Edges are plus and minus the smallest effect, and zero where the word is about the sign.
    """
    m, effect = c.condition.smallest, c.condition.direction * c.difference
    half = (c.high - c.low) / 2
    error = (c.s_seeds**2 + c.s_examples**2) ** 0.5
    bounds = {
        "helps": effect - half - m,
        "hurts": -m - effect - half,
        "too small to matter": min(effect - half + m, m - effect - half),
        "helps, size open": effect - half,
        "hurts, size open": -effect - half,
        "not worse": effect - half + m,
        "worse": -m - effect - half,
    }
    return max(bounds.get(c.word, 0.0), 0.0) / error if error else float("inf")


def card(result: Result) -> str:
    """Everything that is known about a claim, for the terminal."""
    return "\n".join(_card(result))


def _card(result: Result) -> Iterator[str]:
    own, origin = result.record, result.origin
    yield f"{own.id}  {own.question}"
    yield from _wrapped(f"{ANSWER_SIGNS[result.answer]} {headline(result)}", "     ")
    for told_part in parts_told(result):
        yield from _wrapped(told_part, "       ")
    yield ""
    width = max(len(c.condition.name) for c in result.comparisons)
    for c in result.comparisons:
        sign = WORD_SIGNS[c.word]
        yield from _wrapped(f"{told(c)}", f"  {sign} {c.condition.name:<{width}}  ")
        if results.measured(c):
            yield " " * (width + 6) + f"{_evidence(c)}; expected: {c.condition.expect}"
    yield ""
    for name, text in _facts(result):
        yield from _wrapped(text, f"  {name:<12} ")
    yield from _wrapped(f"coursekit claims run {own.id}", f"  {'again':<12} ")
    yield from _wrapped(cite(result), f"  {'cite':<12} ")
    seconds, lines = origin["seconds"], lines_of_code(own.id)
    yield f"  {'cost':<12} {seconds:,.0f} seconds, {lines} lines"


def _evidence(c: Comparison) -> str:
    parts = f"errors {c.s_seeds:.2g} ({c.n_seeds} seeds)"
    if n := results.n_examples(c):
        parts += f" and {c.s_examples:.2g} ({n} examples)"
    margin = evidence_margin(c)
    return f"{parts}; {margin:.1f} standard errors to spare" if margin else parts


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    own, origin = result.record, result.origin
    smallest = {sized(c.smallest, c.unit) for c in own.conditions if c.smallest}
    if smallest:
        yield "matters", f"{' or '.join(sorted(smallest))}: {own.because}"
    yield "compares", own.compares
    yield "tuned", own.tuned
    yield "held still", own.fixed
    yield "setting", own.setting
    chosen = experiments().get(own.id)
    if chosen and "world" in chosen.takes:
        yield "scope", worlds.find(origin["world"]).note
    else:
        yield "scope", "what the setting says; no other data were tried"
    if told := agreement.elsewhere(result):
        yield "elsewhere", told
    yield "said by", "; ".join(_sources(own)) + (f": {own.said}" if own.said else "")
    if own.would_change:
        yield "would change", own.would_change
    if own.deviation:
        yield "deviation", own.deviation
    yield "registered", _registered(own)
    if origin["looks"]:
        looks = ", ".join(f"{look['seeds']} ({look['widest']:.2g})" for look in origin["looks"])
        width = "the widest half width over seeds alone, for one question, in smallest effects"
        yield "looks", f"{looks}: seeds, and {width}"
    yield "seeds", str(origin["seeds"])
    machine = f"coursekit {origin['coursekit']}, torch {origin['torch']}, {origin['system']}"
    yield "made", f"{origin['date']}, commit {origin['commit'] or 'unknown'}, {machine}"


def sized(value: float, unit: str) -> str:
    """A size with its unit, as in "1 point"."""
    return f"{value:g} {unit.removesuffix('s') if value == 1 else unit}".strip()


def _registered(own: Record) -> str:
    entries = results.registry().get(own.id, [])
    if not entries:
        return "not yet"
    first, last = entries[0], entries[-1]
    again = f"; again {last['date'][:10]} as version {last['version']}" if len(entries) > 1 else ""
    return f"{first['date'][:10]}, record {last['record']}, rule {last['rule']}{again}"


def _sources(own: Record) -> list[str]:
    known = record.articles()
    return [f"{known[s]['title']} ({known[s]['author']})" if s in known else s for s in own.said_by]


def cite(result: Result) -> str:
    """How to cite this answer."""
    return (
        f'The coursekit contributors, "{result.id}: {result.record.question}", ledger of '
        f"coursekit {__version__}, record {result.record.hash}, {str(result.origin['date'])[:10]}"
    )


def lines_of_code(id: str) -> int:
    """Number of lines of the experiment that measures a claim."""
    chosen = experiments().get(id)
    return len(inspect.getsource(chosen.function).splitlines()) if chosen else 0


def _wrapped(text: str, indent: str) -> Iterator[str]:
    rest = " " * len(indent)
    yield from textwrap.wrap(
        text, WIDTH + len(indent), initial_indent=indent, subsequent_indent=rest
    ) or [indent.rstrip()]


def declared(own: Record) -> str:
    """The card of a claim that has not been run."""
    lines = [f"{own.id}  {own.question}", "     ○ not run yet", ""]
    for c in own.conditions:
        lines += _wrapped(c.untested or f"expected: {c.expect}", f"  ○ {c.name}  ")
    lines.append("")
    for name, text in (
        ("compares", own.compares),
        ("tuned", own.tuned),
        ("held still", own.fixed),
        ("setting", own.setting),
        ("registered", _registered(own)),
    ):
        lines += _wrapped(text, f"  {name:<12} ")
    return "\n".join(lines)


def shown(id: str, world: str = "digits") -> str:
    """The card of a claim, settled or only declared."""
    own = record.find(id)
    result = results.known(id, world)
    return declared(own) if result is None else card(result)


def board(ids: Iterable[str] = (), world: str = "digits") -> str:
    """A line per claim, and the tally.

    Parameters
    ----------
    ids : iterable of str
        All claims by default.
    world : str
    """
    lines, tally = [], Counter()
    for id in ids or record.records():
        own = record.find(id)
        result = results.known(id, world)
        tally["not run yet" if result is None else result.said] += 1
        not_run = f"{id:<4} ○ {'not run yet':<20}{'':>9}  {own.question}"
        lines.append(not_run if result is None else line(result))
    words = ", ".join(f"{n} {word}" for word, n in tally.most_common())
    lines.append(f"{len(lines)} claims: {words}")
    return "\n".join(lines)


# Pages


def page(result: Result) -> str:
    """A Markdown page on a claim; its figure lies beside it as `ID.svg`."""
    own = result.record
    n_seeds = max((c.n_seeds for c in result.comparisons), default=0)
    out = [
        f"# {own.id}: {own.question}",
        "",
        f"**{ANSWER_SIGNS[result.answer]} {headline(result)}**",
        "",
    ]
    if told := parts_told(result):
        out += [*(f"- {part}" for part in told), ""]
    if n_seeds:
        out += [f"![{alt(result)}]({own.id}.svg)", "", caption(result), ""]
    control, treated = "without", "with"
    out += [
        f"| | condition | {control} | {treated} | difference | interval | found | expected |",
        "|---|---|---:|---:|---:|---|---|---|",
    ]
    for c in result.comparisons:
        out.append(_row(c))
    out.append("")
    sides = {(c.condition.control, c.condition.treated) for c in result.comparisons if c.n_seeds}
    for control, treated in sorted(sides):
        out.append(f"*Without* is {control}; *with* is {treated}.")
    out += ["", "## How it was measured", ""]
    out += [f"**{name.capitalize()}.** {_sentence(text)}\n" for name, text in _facts(result)]
    out += [
        f"**Cost.** {result.origin['seconds']:,.0f} seconds, {lines_of_code(own.id)} lines.",
        "",
        "## Run it again, cite it",
        "",
        "```",
        f"coursekit claims run {own.id}",
        "```",
        "",
        cite(result),
        "",
    ]
    return "\n".join(out)


def shared_unit(rows: Sequence[Comparison]) -> Condition | None:
    """The condition of greatest smallest effect if all have its unit and direction, or None."""
    alike = {(c.condition.unit, c.condition.direction) for c in rows}
    return max((c.condition for c in rows), key=attrgetter("smallest")) if len(alike) == 1 else None


def caption(result: Result) -> str:
    """What the figure's axis, colors and lines are."""
    from coursekit.ledger import figures

    rows = figures.measured(result)
    crossed = {bool(results.n_examples(c)) for c in result.comparisons if results.measured(c)}
    over = {(True,): "seeds and test examples", (False,): "seeds alone"}
    mixed = "seeds and, where they were counted, test examples"
    words = {c.word for c in result.comparisons}
    notes = []
    if words & {"helps, size open", "hurts, size open"}:
        notes.append("Where the size is open, the sign is sure, and not whether it is enough.")
    if "not yet known" in result.parts.values() and words - {"not yet known", "not tested"}:
        notes.append(
            "An answer stays not yet known while one condition is still open, however sure the "
            "others are."
        )
    if not figures.to_scale(rows):
        notes.append("Far from zero the axis is logarithmic.")
    if (shared := shared_unit(rows)) is None:
        small = "the smallest effect that matters"
    else:
        sizes = sorted({c.condition.smallest for c in rows})
        small = " or ".join(sized(size, shared.unit) for size in sizes)
    return (
        f"Within the gray band, less than {small} either way, an effect is too small to matter. "
        "To the right is what the question asks about; green speaks for it, orange against it. "
        "Lines are intervals that hold for all conditions together, over "
        f"{over.get(tuple(crossed), mixed)}." + "".join(f" {note}" for note in notes)
    )


def _row(c: Comparison) -> str:
    sign, name = WORD_SIGNS[c.word], c.condition.name
    if not results.measured(c):
        return f"| {sign} | {name} | | | | {c.note} | {c.found} | {c.condition.expect} |"
    before, after, effect, low, high = numbers(c)
    unit = f" {c.condition.unit}" if c.condition.unit else ""
    return (
        f"| {sign} | {name} | {before} | {after} | {effect}{unit} | {low} to {high} | {c.found} "
        f"| {c.condition.expect} |"
    )


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def alt(result: Result) -> str:
    """What the figure shows, for those who cannot see it."""
    told = "; ".join(f"{c.condition.name}: {c.found}" for c in result.comparisons if c.n_seeds)
    return f"{result.answer}. {told}"


def write_pages(ids: Iterable[str], folder: Path, world: str = "digits") -> list[Path]:
    """Write pages, figures and the board of settled claims as Markdown and SVG; return the pages.

    Claims that were not run are passed over.
    """
    from coursekit.ledger import figures
    from coursekit.results.files import replace_file

    written = []
    rows = ["| | answer | claim | question |", "|---|---|---|---|"]
    for id in ids:
        result = results.known(id, world)
        if result is None:
            continue
        target = folder / f"{id}.md"
        replace_file(target, page(result).encode())
        svg = figures.forest_svg(result)
        if svg:
            replace_file(folder / f"{id}.svg", svg.encode())
        n, of = result.counts
        answer = f"{result.answer} ({n} of {of})"
        rows.append(
            f"| {ANSWER_SIGNS[result.answer]} | {answer} | [{id}]({id}.md) "
            f"| {result.record.question} |"
        )
        written.append(target)
    if written:
        index = "# The ledger\n\n" + "\n".join(rows) + "\n"
        replace_file(folder / "index.md", index.encode())
    return written
