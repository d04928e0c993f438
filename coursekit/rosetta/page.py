"""The rows as markup: a table in which each row unfolds into its code and its numbers."""

import re
from collections.abc import Iterable
from html import escape
from inspect import getsource

from coursekit.rosetta import shared, stopping
from coursekit.rosetta.measure import GROUPS, HOW_TO_GET_KERAS, Outcome, names, versions
from coursekit.rosetta.row import LIBRARIES, Row

# Colors as in the explorers; one rule of a theme for tables has to be outdone here and there.
LIGHT = """--bg:#fff;--ink:#1c1c1c;--muted:#595959;--grid:#dedede;--band:#f1f1f1;
--strong:#00704f;--against:#a84400;"""
DARK = """--bg:#161616;--ink:#ededed;--muted:#b4b4b4;--grid:#393939;--band:#262626;
--strong:#4fd9ac;--against:#ffa468;"""
# Words in the lines of the table that nobody looks up.
COMMON = re.compile(
    "abs|best|best_epoch|break|column|continue|copy|dims|epoch|evaluate|fit|flip|float|for|group|if"
    "|kept|layer|len|loss|mean|model|mul_|net|normalize|old|pad|parameters|params|predict"
    "|randn_like|rot90|square|state|sum|update|where"
)
HELPERS = (  # what the snippets call and do not show
    shared.linear,
    shared.fit_keras,
    shared.fit_sklearn,
    stopping.drive,
    stopping.Epoch,
)
STYLE = f"""
.rosetta{{{LIGHT}container-type:inline-size;max-width:1080px;text-align:left;color:var(--ink);
 font:15px/1.45 system-ui,"Segoe UI",Helvetica,Arial,sans-serif}}
@media (prefers-color-scheme:dark){{html:not([data-theme=light]) body:not([data-jp-theme-light]) .rosetta{{{DARK}}}}}
html[data-theme=dark] body .rosetta,body[data-jp-theme-light=false] .rosetta{{{DARK}}}
@media print{{html body .rosetta.rosetta.rosetta{{{LIGHT}}}}}
.rosetta *{{box-sizing:border-box}}
.rosetta p{{margin:.35em 0;max-width:46em;color:inherit}}
.rosetta summary{{cursor:pointer}}
.rosetta summary:focus-visible{{outline:3px solid var(--strong);outline-offset:2px}}
.rosetta .group{{border:0;border-top:2px solid var(--ink);margin:0;padding:.5em 0;background:none;box-shadow:none}}
.rosetta .group>summary{{font-size:1.08em;font-weight:650;color:var(--ink);background:none;padding:0}}
.rosetta .count{{font-weight:400;color:var(--muted);font-size:.88em}}
.rosetta table{{display:table;border-collapse:collapse;width:100%;margin:.4em 0 .2em;table-layout:fixed!important;font-size:1em;color:var(--ink);border:0}}
.rosetta caption{{text-align:left;color:var(--muted);caption-side:top;padding:.2em 0}}
.rosetta tr,.rosetta th,.rosetta td{{background:none!important;color:var(--ink);border:0;font-weight:400;
 text-align:left!important;vertical-align:top;white-space:normal;max-width:none;border:0!important;padding:.4em .8em .1em 0!important}}
.rosetta thead th{{color:var(--muted);font-size:.88em;border-bottom:1px solid var(--grid)!important}}
.rosetta tbody th{{font-weight:650}}
.rosetta td.more{{border-bottom:1px solid var(--grid)!important;padding:.05em 0 .5em!important}}
.rosetta td.more summary{{color:var(--muted);font-size:.92em;width:max-content;max-width:100%}}
.rosetta col.name{{width:18%}}.rosetta col.off{{width:13%}}
.rosetta.rosetta code{{font:.83em/1.4 ui-monospace,Menlo,Consolas,monospace!important;background:none!important;border:0!important;color:var(--ink)!important;padding:0!important;margin:0;overflow-wrap:anywhere;display:inline;white-space:normal}}
.rosetta .none,.rosetta .unit{{color:var(--muted)}}
.rosetta dl{{columns:21em;column-gap:2em;margin:.5em 0}}
.rosetta dl div{{break-inside:avoid;margin:.2em 0;padding-left:1.4em;text-indent:-1.4em}}
.rosetta dt,.rosetta dd{{display:inline;margin:0;font-weight:400}}
.rosetta dl a,.rosetta dl a:visited{{color:var(--ink);text-decoration:underline;text-decoration-color:var(--muted)}}
.rosetta .equal{{color:var(--strong);font-weight:650}}
.rosetta .wrong{{color:var(--against);font-weight:650}}
.rosetta .boxes{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25em),1fr));gap:.7em;margin:.5em 0}}
.rosetta .box{{min-width:0;border-left:4px solid var(--grid);padding:0 0 0 .7em}}
.rosetta .box.trap{{border-color:var(--against)}}
.rosetta .box>b{{font-weight:650}}
.rosetta.rosetta pre{{background:var(--band);color:var(--ink);border:0;box-shadow:none;border-radius:5px;margin:.25em 0;padding:.55em .7em;line-height:1.4;white-space:pre-wrap;word-break:normal}}
.rosetta.rosetta pre code{{white-space:pre-wrap;word-break:normal}}.rosetta pre span{{display:block;padding-left:2ch;text-indent:-2ch}}
@container (max-width:640px){{
 .rosetta table,.rosetta tbody,.rosetta tr,.rosetta td,.rosetta th{{display:block;width:100%}}
 .rosetta thead{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
 .rosetta tbody td[data-of]::before{{content:attr(data-of) ": ";color:var(--muted);font-size:.88em}}
 .rosetta tr,.rosetta td,.rosetta th{{padding:.1em 0!important}}.rosetta td.more{{padding-bottom:.6em!important}}
}}"""  # noqa: E501


class Page:
    """Markup that a notebook shows, and the words that stand for it elsewhere."""

    def __init__(self, markup: str, words: str):
        self.markup, self.words = markup, words

    def __repr__(self) -> str:
        return self.words

    def _repr_html_(self) -> str:
        return f"<style>{STYLE}</style>\n{self.markup}"


def table(found: Iterable[Outcome]) -> Page:
    """The index and all rows in groups, the first group open."""
    found = list(found)
    parts = []
    for group in GROUPS:
        own = [one for one in found if one.row.group == group]
        opened = "" if parts else " open"
        parts.append(
            f'<details class="group"{opened}><summary>{escape(group)} '
            f'<span class="count">{count(own)}</span></summary>{_rows(group, own)}</details>'
        )
    by_name = _index([one.row for one in found])
    markup = f'<div class="rosetta"><p>{_ran()}</p>{by_name}{"".join(parts)}</div>'
    return Page(markup, "\n".join([_plain(_ran()), *map(line, found)]))


def index(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Arguments and classes, in the order of the alphabet, and the rows in whose lines they stand.

    Taken are the names that are called, set or asked for in a line of the table, and what a row
    lists in `also`.
    """
    found = {}
    for row in rows:
        lines = [line.partition("  # ")[0] for line in row.short.values() if line]
        words = re.findall(r"[A-Za-z_]\w+(?= ?[(=]|\"\])|(?<=\.)[A-Za-z_]\w+", "\n".join(lines))
        for word in dict.fromkeys([*words, *row.also]):
            if not COMMON.fullmatch(word):
                found.setdefault(word, []).append(row)
    return dict(sorted(found.items(), key=lambda item: item[0].lower().lstrip("_")))


def helpers() -> Page:
    """The loop of PyTorch, and folded what else the snippets call and do not show."""
    curve = f"CURVE = {stopping.CURVE}  # validation losses"
    more = "".join(f'<div class="box">{_code(getsource(one))}</div>' for one in HELPERS)
    markup = (
        f'<div class="rosetta">{_code(getsource(shared.fit_torch))}<details><summary>The same for '
        "Keras and scikit-learn, the first layer, and what drives the rows on stopping</summary>"
        f'<div class="boxes"><div class="box">{_code(curve)}</div>{more}</div></details></div>'
    )
    return Page(markup, "\n\n".join(getsource(one) for one in (shared.fit_torch, *HELPERS)))


def single(one: Outcome) -> Page:
    """One row, unfolded."""
    head = f"<p><b>{escape(one.row.topic)}</b>: {_verdict(one)}</p>"
    return Page(f'<div class="rosetta">{head}{_inside(one)}</div>', line(one))


def count(found: list[Outcome]) -> str:
    """How many rows there are and whether they hold, in words."""
    n, good = len(found), sum(one.holds for one in found)
    rows = "1 row" if n == 1 else f"{n} rows"
    return f"{rows}, all equal" if n == good else f"{rows}, {n - good} broken"


def line(one: Outcome) -> str:
    """A row in one line of text."""
    return f"{one.row.topic}: {_plain(_verdict(one))}"


def number(value: float) -> str:
    """A difference: 0, 3e-8, or two digits."""
    if value == 0:
        return "0"
    if value < 1e-3:
        head, _, power = f"{value:.0e}".partition("e")
        return f"{head}e−{-int(power)}"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _ran() -> str:
    own = versions()
    with_version = [f"{LIBRARIES[k]} {v}" for k, v in own.items() if v]
    text = f"Run with {', '.join(with_version)}."
    if own["keras"] is None:
        text += " <b>Keras is not installed here</b>, so its column was not run: "
        text += f"<code>{escape(HOW_TO_GET_KERAS)}</code>."
    return text


def _verdict(one: Outcome) -> str:
    if one.error:
        return f'<span class="wrong">broken</span>: {escape(one.error)}'
    if not one.lacking:
        return '<span class="wrong">broken</span>: what was lacking is there now'
    if one.largest is None:
        return '<span class="unit">not compared</span>'
    unit = f' <span class="unit">{one.row.unit}</span>' if one.row.unit else ""
    if one.largest > one.row.tolerance:
        return f'<span class="wrong">differs by {number(one.largest)}</span>{unit}'
    said = "equal" if one.largest == 0 else f"equal to {number(one.largest)}"
    return f'<span class="equal">{said}</span>{unit}'


def _index(rows: list[Row]) -> str:
    lines = index(rows)
    entries = "".join(
        f"<div><dt><code>{escape(word)}</code></dt> <dd>"
        + ", ".join(f'<a href="#{_id(row)}">{escape(row.topic)}</a>' for row in own)
        + "</dd></div>"
        for word, own in lines.items()
    )
    return (
        '<details class="group"><summary>Look up an argument or a class '
        f'<span class="count">{len(lines)} names; what is not here has no row</span></summary>'
        f"<dl>{entries}</dl></details>"
    )


def _id(row: Row) -> str:
    return f"rosetta-{row.name}"


def _rows(group: str, found: list[Outcome]) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in LIBRARIES.values())
    body = "".join(_row(one) for one in found)
    return (
        f'<table aria-label="{escape(group)}"><colgroup><col class="name"><col><col><col>'
        '<col class="off"></colgroup><thead><tr><th scope="col">what</th>'
        f'{heads}<th scope="col">largest difference</th></tr></thead><tbody>{body}</tbody></table>'
    )


def _row(one: Outcome) -> str:
    cells = "".join(_cell(one, library) for library in LIBRARIES)
    topic = escape(one.row.topic)
    return (
        f'<tr id="{_id(one.row)}"><th scope="row">{topic}</th>{cells}<td>{_verdict(one)}</td></tr>'
        '<tr><td class="more" colspan="5"><details><summary>code and trap'
        f'<span style="position:absolute;clip-path:inset(50%)"> of {topic}</span></summary>'
        f"{_inside(one)}</details></td></tr>"
    )


def _cell(one: Outcome, library: str) -> str:
    short = one.row.short[library]
    inner = '<span class="none">none</span>' if short is None else _short(short)
    return f'<td data-of="{LIBRARIES[library]}">{inner}</td>'


def _short(code: str) -> str:
    """One line of code that may break where a reader would break it, and its comment in words."""
    code, _, comment = code.partition("  # ")
    broken = re.sub(r"(, ?|\((?=[^)]{12}))", r"\1<wbr>", code)
    broken = "<wbr>".join(escape(part) for part in broken.split("<wbr>"))
    words = f' <span class="none">{escape(comment)}</span>' if comment else ""
    return f"<code>{broken}</code>{words}"


def _inside(one: Outcome) -> str:
    row, own = one.row, versions()
    boxes = []
    for library, name in LIBRARIES.items():
        if library in row.code:
            absent = "" if own[library] else " <span class='none'>(not installed here)</span>"
            boxes.append(
                f'<div class="box"><b>{name}</b>{absent}{_code(row.source(library))}</div>'
            )
        else:
            boxes.append(f'<div class="box"><b>{name}</b><p>{_rich(row.lacks[library])}</p></div>')
    off = "" if one.wrong is None else f' <span class="wrong">off by {number(one.wrong)}</span>'
    off += f' <span class="unit">{row.unit}</span>' if off and row.unit else ""
    boxes.append(f'<div class="box trap"><b>Wrong:</b>{off}{_code(row.source("wrong"))}</div>')
    pairs = "; ".join(f"{names(pair)}: {number(off)}" for pair, off in one.off.items())
    when = " after 1 and 50 steps" if row.trains else ""
    pairs = f'<p class="unit">Largest difference{when}. {pairs}.</p>' if pairs else ""
    return (
        f"<p>{_rich(row.same)}</p><p><b>Trap.</b> {_rich(row.trap)}</p>"
        f'<div class="boxes">{"".join(boxes)}</div>{pairs}'
    )


def _code(source: str) -> str:
    lines = "".join(f"<span>{escape(line)}\n</span>" for line in source.rstrip().split("\n"))
    return f"<pre><code>{lines}</code></pre>"


def _rich(text: str) -> str:
    parts = re.split(r"`([^`]+)`", escape(text, quote=False))  # every second one is code
    parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
    parts[::2] = [re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", part) for part in parts[::2]]
    return "".join(parts)


def _plain(markup: str) -> str:
    return re.sub(r"<[^>]+>", "", markup)
