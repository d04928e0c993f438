"""Slides of a lesson: the cells of the lecturer's path in one file that needs no network.

Outputs are the stored ones and explorers stay alive, as both are in the notebook already. Notes and
minutes are those of `coursekit.course.lecture`; they show beside the slides and in print.
"""

import ast
import re
from dataclasses import dataclass, replace
from html import escape
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from coursekit.course import lecture, notebook
from coursekit.results.files import replace_file

if TYPE_CHECKING:
    from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
FORMULA = re.compile(r"(?<![\\$])\$\$?[^$\s]")


@dataclass(frozen=True)
class Slide:
    """One stop of the path: its section, what is shown (HTML), and what only the lecturer reads."""

    section: str
    body: str
    minutes: float
    note: str
    cell: int


def write(file: str | Path, out: str | Path) -> Path:
    """Write the slides of a lesson; return where they are.

    Raises
    ------
    ValueError
        If the lesson has no lecturer's path.
    """
    out = Path(out)
    replace_file(out, deck(file).encode())
    return out


def deck(file: str | Path) -> str:
    """Slides of a lesson as one HTML file.

    Parameters
    ----------
    file : path of a notebook

    Raises
    ------
    ValueError
        If the file is no notebook, or has no lecturer's path.

    Examples
    --------
    >>> from coursekit.course import lessons, slides
    >>> "The dance of the intervals" in slides.deck(lessons.select(["00"])[0])
    True
    """
    shown = slides(file)
    if not shown:
        raise ValueError(
            f"expected cells with the tag {lecture.TAG!r} in {file}, got none; "
            "try a lesson, such as `coursekit lecture 00`"
        )
    title = notebook.title(notebook.read(file))
    total = len(shown) + 1
    opening = _OPENING.format(
        title=escape(title), minutes=f"{sum(one.minutes for one in shown):g}", total=total
    )
    pages, passed = [opening], 0.0
    for number, one in enumerate(shown, 2):
        pages.append(_page(one, number, total, passed))
        passed += one.minutes
    body = "\n".join(pages)
    template = Template((HERE / "slides.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), slides=body, formulas=_formulas(body))


def slides(file: str | Path) -> list[Slide]:
    """The stops of a lesson's path, each with what its cell shows.

    An explorer that stands right behind a stop, and is none itself, belongs to it: it is what the
    stop talks about. Above a covered answer its question stands once more.
    """
    cells = notebook.read(file).cells
    shown = []
    for section in lecture.path(file):
        for stop in section.stops:
            cell = cells[stop.cell - 1]
            body = _question(cells[: stop.cell - 1]) if _is_covered(cell) else ""
            body += _cell(cell, opening=stop.cell == 1)
            following = cells[stop.cell] if stop.cell < len(cells) else None
            if following is not None and _is_explorer(following):
                body += _cell(following)
            one = Slide(section.title, body, stop.minutes, stop.note, stop.cell)
            asked = shown[-1] if shown else None
            if asked and _is_question(asked.body) and one.body.startswith(asked.body):
                minutes, note = asked.minutes + one.minutes, f"{asked.note} {one.note}".strip()
                shown[-1] = replace(one, minutes=minutes, note=note)  # asked and answered
            else:
                shown.append(one)
    return shown


def _is_question(body: str) -> bool:
    return body.startswith(_ASK) and body.count("<div") == 1


def _is_covered(cell: "NotebookNode") -> bool:
    return "hide-output" in cell.metadata.get("tags", [])


def _question(before: "list[NotebookNode]") -> str:
    """The prediction that was asked for last, unless another answer came since."""
    for cell in reversed(before):
        if _is_covered(cell):
            return ""
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/markdown", "")
            if text.startswith(_PREDICT):
                return _output(output)
    return ""


def _is_explorer(cell: "NotebookNode") -> bool:
    return lecture.TAG not in cell.metadata.get("tags", []) and any(
        output.get("data", {}).get("text/plain", "").startswith("explorers.show(")
        for output in cell.get("outputs", [])
    )


def _page(one: Slide, number: int, total: int, passed: float) -> str:
    return _SLIDE.format(
        label=escape(f"{number} of {total}: {_words(one.section)}", quote=True),
        section=_inline(one.section),
        body=one.body,
        minutes=f"{one.minutes:g}",
        note=escape(one.note) or "No note.",
        passed=f"{passed:g}",
        cell=one.cell,
    )


def _cell(cell: "NotebookNode", *, opening: bool = False) -> str:
    tags = set(cell.metadata.get("tags", []))
    if cell.cell_type == "markdown":
        text = re.sub(r"^##? .*$", "", cell.source, flags=re.M)  # stands above the slide already
        if opening:  # what a reader is told of minutes and of what comes before
            text = re.sub(r"^\*.*\bminutes?\b.*$", "", text, flags=re.M)
        return f'<div class="text">{markdown(text)}</div>'
    source = "" if lecture.FOLDED & tags else _without_question(cell.source)
    parts = [_code(source)] if source else []
    answer = "".join(map(_output, cell.get("outputs", [])))
    if answer and _is_covered(cell):
        answer = f'<details class="answer"><summary>Show the answer</summary>{answer}</details>'
    return "".join([*parts, answer])


def _without_question(source: str) -> str:
    """The code of a cell but for the lines that only ask for a guess: the question is shown."""
    asks = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and "predict" in ast.unparse(node.value).partition("(")[0]
    ]
    gone = {line for node in asks for line in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(source.splitlines(), 1)
    return "\n".join(line for number, line in lines if number not in gone).strip()


def _code(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    source = re.sub(r"^# NBVAL_\w+\n", "", source)
    lines = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="code" tabindex="0" aria-label="Code">{lines}</pre>'


def _output(output: "NotebookNode") -> str:
    data = output.get("data", {})
    if "text" in output:
        return f'<pre class="printed" tabindex="0" aria-label="Printed">{escape(output.text)}</pre>'
    if "text/html" in data:
        return f'<div class="shown">{data["text/html"]}</div>'
    for kind in ("image/svg+xml", "image/png"):
        if kind in data:
            alt = escape(output.metadata.get(kind, {}).get("alt", ""), quote=True)
            return f'<div class="shown"><img alt="{alt}" src="{_address(kind, data[kind])}"></div>'
    if "text/markdown" in data:
        text = data["text/markdown"]
        opening = '<div class="text said">'
        if text.startswith((_PREDICT, "Measured: ")):  # what the back row must read
            opening = _ASK
        return f"{opening}{markdown(text)}</div>"
    return f"<pre>{escape(data.get('text/plain', ''))}</pre>"


def _address(kind: str, content: str) -> str:
    import base64

    if kind == "image/png":
        return f"data:{kind};base64,{''.join(content.split())}"
    return f"data:{kind};base64,{base64.b64encode(content.encode()).decode()}"


def markdown(text: str) -> str:
    """HTML of Markdown; of a link into the repository the words stay, as slides travel alone.

    Examples
    --------
    >>> from coursekit.course import slides
    >>> slides.markdown("See [04](04_dropout.ipynb), **please**.")
    '<p>See 04, <strong>please</strong>.</p>'
    """
    from nbconvert.filters import markdown2html

    text = re.sub(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:)[^)\s]*\)", r"\1", text)
    made = markdown2html(text).strip()
    return re.sub(r'<a class="anchor-link".*?</a>', "", made)


def _inline(title: str) -> str:
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escape(title))


def _words(title: str) -> str:
    return title.replace("`", "")


def _formulas(body: str) -> str:
    """MathJax, where a slide has formulas and MathJax is installed; else they stay as written."""
    text = "".join(re.findall(r'<div class="text[^>]*>(.*?)</div>', body, re.S))
    if not FORMULA.search(text):
        return ""
    spec = find_spec("sphinx-mathjax-offline")
    script = spec and Path(spec.origin).parent / "static/mathjax/tex-svg.js"
    if not script or not script.is_file():
        return ""
    # A script ends at the first "</script", whatever quotes stand around it.
    code = script.read_text(encoding="utf-8").replace("</script", "<\\/script")
    return f"<script>{_MATHJAX}</script>\n<script>{code}</script>"


_MATHJAX = """window.MathJax = {
  tex: { inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]] },
  svg: { fontCache: "local" },
  options: { enableMenu: false, ignoreHtmlClass: "deck", processHtmlClass: "text" },
};"""
_ASK = '<div class="text ask">'
_PREDICT = "**Predict first:**"  # as `coursekit.widgets` begins a prediction
_OPENING = """<section class="slide opening" tabindex="0" aria-roledescription="slide"
 aria-label="1 of {total}: {title}" data-note="" data-minutes="0" data-passed="0">
<h1>{title}</h1>
<p>Regularization, measured</p>
<p class="keys"><kbd>→</kbd> <kbd>←</kbd> turn, <kbd>A</kbd> the answer, <kbd>N</kbd> notes,
<kbd>S</kbd> a window for the speaker, <kbd>D</kbd> dark or light. {minutes} minutes.</p>
</section>"""
_SLIDE = """<section class="slide" tabindex="0" aria-roledescription="slide" aria-label="{label}"
 data-minutes="{minutes}" data-passed="{passed}">
<h2>{section}</h2>
<div class="body">{body}</div>
<aside class="note" aria-label="Note">{note} <span>{minutes} min, cell {cell}</span></aside>
</section>"""
