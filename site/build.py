"""Build the web edition from what the repository holds: `python site/build.py`.

Pages are gathered in one folder, each at its path in the repository, and then given to Sphinx:
lessons and sheets with their stored outputs, guides, and a page for each claim of the ledger.
"""

import argparse
import html
import inspect
import json
import os
import re
import shutil
import sys
import tomllib
from base64 import b64decode
from collections import Counter
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import coursekit
from coursekit import explorers, plots
from coursekit.course import notebook, plans
from coursekit.ledger import cards, figures, record, results

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# What each lesson asks, for the front page.
QUESTIONS = {
    "00": "Two people try the same method and disagree. How many trainings does it take?",
    "01": "When do more parameters hurt, and when do they stop hurting?",
    "02": "Why does one penalty set weights to zero, and the other never?",
    "03": "One number, `weight_decay`, in three optimizers: what does it do in each?",
    "04": "A network that loses half of its units in each step: what does it gain?",
    "06": "Your prediction depends on the other images of the batch. When does that help?",
    "07": "Tell a network what does not matter. It believes you, but who pays?",
    "09": "First what repeats, then what does not: when should you stop?",
    "10": "Which blocks of a deep network can be skipped, and what is left of it?",
    "16": "Keras, PyTorch, scikit-learn: is the line that looks the same the same?",
}
# What lies behind a fold.
FOLDS = {"hide-output": "the answer", "hide-cell": "code and result", "hide-input": "the code"}
WIDE = 560  # pixels; a wider picture is not shrunk to a telephone, but moves below the finger
NOT_RUN = "not run yet"


# Pages


def gather(folder: Path) -> None:
    """Write the sources of all pages into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "extra").mkdir(parents=True)
    shutil.copytree(HERE / "_static", folder / "_static")
    shutil.copy(HERE / "conf.py", folder)
    write(folder / "_static/roles.css", roles())
    for path in notebooks():
        own = json.loads((ROOT / path).read_text(encoding="utf-8"))
        write(folder / path, json.dumps(readable(own, path, folder)))
    for path in guides():
        text = links((ROOT / path).read_text(encoding="utf-8"), path)
        write(folder / path, text.replace("<!-- workshop -->", handouts(folder / "extra/workshop")))
    claims(folder / "ledger")
    write(folder / "rosetta.md", rosetta())
    write(folder / "lessons.md", f"# Lessons\n\n{course_map()}\n\n{tree(lessons())}")
    *sheets, project = (path for path in notebooks() if path.parent.name == "exercises")
    intro = (
        "Each lesson has a sheet: functions to write, a published bug to find, a question to "
        "predict and explain. Open it in JupyterLab, where a check says at once what is wrong "
        "first, and hints and solutions are a call away."
    )
    listed = "\n".join(f"- [{title(path)[13:]}]({path})" for path in sheets)
    listed += f"\n\nAnd when you have done some of them:\n\n- [{title(project)}]({project})"
    write(
        folder / "exercises.md", f"# Exercises\n\n{intro}\n\n{listed}\n\n{tree([*sheets, project])}"
    )
    write(folder / "reading.md", reading())
    reference = api(folder / "api")
    more = "- [Reading](reading.md). Papers that the lessons name, and the five articles.\n"
    more += f"- [Reference]({reference}). What a notebook may import, from the docstrings."
    listed = "\n".join(f"- [{title(path)}]({path}). {first_sentence(path)}" for path in guides())
    own = [*guides(), Path("reading.md")]
    write(folder / "guides.md", f"# Guides\n\n{listed}\n{more}\n\n{tree(own)}")
    front = (HERE / "index.md").read_text(encoding="utf-8")
    front = front.replace("FIRST", lessons()[0].stem)
    dance = explorers.show("dance").html(linked=True)
    for mark, text in (("dance", raw(dance)), ("map", course_map()), ("tally", tally("front"))):
        front = front.replace(f"<!-- {mark} -->", text)
    write(folder / "index.md", front)


PAPER = re.compile(r"([^·;]+?), \*([^*]+)\* \(([^)]*\d{4}[^)]*)\)")


def reading() -> str:
    """Papers that the lessons name at their ends, by lesson, and the articles of the ledger."""
    out = ["# Reading", "", "Papers that the lessons name, each with the lesson that needs it.", ""]
    for path in lessons():
        cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        found = re.search(r"\*\*(?:To read|Read on)\.?\*\*[:.]?(.*)", text)
        papers = PAPER.findall(found[1]) if found else []
        if papers:
            out += [f"## [{title(path)}]({path})", ""]
            out += [f"- {who.strip(' .')}. *{name}*. {where}." for who, name, where in papers]
            out.append("")
    out += ["## The five articles", "", "Popular texts whose claims the ledger examines.", ""]
    for own in record.articles().values():
        out.append(f"- {source(own)}.")
    return "\n".join(out) + "\n"


def api(folder: Path) -> Path:
    """Pages of the reference, one for each module that a notebook imports; return their list."""
    rows, pages = [], []
    for name in public_modules():
        module = import_module(f"coursekit.{name}")
        about = inspect.getdoc(module).partition("\n\n")[0].replace("\n", " ")
        members = ["   :members:", "   :member-order: bysource"]
        members += ["   :imported-members:"] if hasattr(module, "__all__") else []
        body = ["```{eval-rst}", f".. automodule:: coursekit.{name}", *members, "```"]
        write(folder / f"{name}.md", "\n".join([f"# coursekit.{name}", "", *body, ""]))
        rows.append(f"- [`coursekit.{name}`]({name}.md): {about}")
        pages.append(f"{name.removeprefix('regularizers.')} <{name}>")  # narrow, for the side
    intro = "What a notebook may import. Letters such as (S, B, C) are [axes](../docs/axes.md)."
    text = "\n".join(["# Reference", "", intro, "", *rows, "", tree(pages)])
    write(folder / "index.md", text)
    return Path("api/index.md")


def public_modules() -> list[str]:
    """Modules that a notebook imports; of a folder that is a shelf of modules, each of these."""
    found = []
    for name in coursekit.PUBLIC:
        module = import_module(f"coursekit.{name}")
        if name == "regularizers":
            found += [f"{name}.{one.name}" for one in iter_modules(module.__path__)]
        elif name not in ("ledger", "exercises"):  # shown on the board, and on sheets
            found.append(name)
    return sorted(found)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def lessons() -> list[Path]:
    return [path.relative_to(ROOT) for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]


def notebooks() -> list[Path]:
    """Lessons, sheets and the project, which comes last, as paths in the repository."""
    sheets = sorted((ROOT / "notebooks/exercises").glob("*.ipynb"))
    return lessons() + [path.relative_to(ROOT) for path in sheets]


def guides() -> list[Path]:
    return [path.relative_to(ROOT) for path in sorted((ROOT / "docs").glob("*.md"))]


def handouts(folder: Path) -> str:
    """Write a page to print for each plan of a workshop; return links to them."""
    items = []
    for name, plan in plans.PLANS.items():
        write(folder / f"{name}.html", plans.handout(plan))
        words = html.escape(plan.title)
        items.append(f'<li><a href="../{folder.name}/{name}.html">{words}</a></li>')
    listed = f"<ul>{''.join(items)}</ul>"
    return f"Handouts, one page each, to be printed:\n\n{raw(listed)}"


def first_cell(path: Path) -> str:
    if path.suffix == ".md":
        return (ROOT / path).read_text(encoding="utf-8")
    return "".join(json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"][0]["source"])


def title(path: Path) -> str:
    """The heading of a page, without links."""
    heading = re.search(r"^# (.+)$", first_cell(path), re.M)[1]
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)


def first_sentence(path: Path) -> str:
    found = re.search(r"^# [^\n]+\n\n(.*?[.?!])(?=\s)", first_cell(path), re.S)[1]
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found)


def tree(pages: list[Path | str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", "", *map(str, pages), "```", ""])


def raw(markup: str) -> str:
    """Markup for a page in Markdown; the fence is longer than any that may stand inside."""
    return f"``````{{raw}} html\n{markup}\n``````"


def course_map() -> str:
    """All lessons: number, title, question, minutes."""
    items = []
    for path in lessons():
        number, _, name = title(path).partition(" · ")
        minutes = re.search(r"(\d+) minutes", first_cell(path))
        asked = html.escape(QUESTIONS.get(number, ""))
        asked = re.sub(r"`(.+?)`", r"<code>\1</code>", asked)
        time = f'<span class="time">{minutes[1]} minutes</span>' if minutes else ""
        items.append(
            f'<li><a href="notebooks/{path.stem}.html"><span class="number">{number}</span>'
            f'<span class="name">{html.escape(name)}</span></a>'
            f'<span class="asked">{asked}</span>{time}</li>'
        )
    return raw('<ul class="course">\n' + "\n".join(items) + "\n</ul>")


def rosetta() -> str:
    """The table of three libraries, as the lesson stores it, on a page of its own."""
    [path] = (ROOT / path for path in lessons() if path.name.startswith("16"))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    shown = (o.get("data", {}).get("text/html", "") for c in cells for o in c.get("outputs", []))
    table = next(markup for one in shown if 'class="rosetta"' in (markup := "".join(one)))
    return "\n\n".join(
        [
            "# One regularizer, three libraries",
            "Find the line that you know, and read what the others write for it. Each row was run: "
            "the same data, the same first weights, and the numbers that came out. A row unfolds "
            "into its code, and into a translation that looks right and is wrong. How to read it, "
            f"and five traps in full: [lesson 16](notebooks/{path.name}).",
            raw(table),
        ]
    )


# Links


def pages() -> set[Path]:
    return {*notebooks(), *guides()}


def links(text: str, path: Path) -> str:
    """Make links of a file of the repository right for the web edition.

    What is a page is linked; of other files only the name is left, as a reader of the web edition
    has no checkout.
    """

    def one(match: re.Match) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        if re.match(r"[a-z]+:", target):
            return match[0]
        found = Path(os.path.normpath(path.parent / target))
        if found not in pages():
            return words
        if found.suffix == ".ipynb":  # JupyterLab names a heading otherwise than Sphinx
            anchor = anchor[:1] + re.sub(r"[^\w-]", "", anchor.lower())
        return f"[{words}]({os.path.relpath(found, path.parent)}{anchor})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)", one, text)


# Notebooks


def readable(own: dict, path: Path, folder: Path) -> dict:
    """A notebook for readers: lecturers' cells removed, outputs as markup, folds named.

    Parameters
    ----------
    own : dict
        The notebook; its cells are changed.
    path : Path
        Its place in the repository.
    folder : Path
        Of the sources; pictures are written there.
    """
    kept = [c for c in own["cells"] if "lecturer" not in c["metadata"].get("tags", [])]
    kept = with_answers([part for cell in kept for part in answer_first(cell)])
    if run := elsewhere(path, repository()):
        heading, _, rest = "".join(kept[0]["source"]).partition("\n")
        kept[0]["source"] = f"{heading}\n\n{run}\n{rest}"
    for i, cell in enumerate(kept):
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "markdown":
            cell["source"] = links(source, path)
            continue
        cell["source"] = re.sub(r"^# NBVAL_\w+\n", "", source)
        fold = next((words for tag, words in FOLDS.items() if tag in tags), None)
        if fold:
            prompts = {"code_prompt_show": f"Show {fold}", "code_prompt_hide": f"Hide {fold}"}
            cell["metadata"]["mystnb"] = prompts
        if fold == "the code" and sentence(cell):
            cell["metadata"]["tags"] = [*cell["metadata"]["tags"], "sentence"]
        for j, output in enumerate(cell.get("outputs", [])):
            if "data" in output:
                key = f"f{path.stem[:2]}-{i}-{j}"
                output["data"] = markup(output, key, folder, path)
                output["metadata"] = {}
    return own | {"cells": kept}


def repository() -> str:
    """Public address of the repository, from pyproject.toml; empty while it has none."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"].get("urls", {}).get("Repository", "").rstrip("/")


def elsewhere(path: Path, address: str) -> str:
    """Where a notebook of a repository on GitHub runs without being installed, as markup."""
    if not address.startswith("https://github.com/"):
        return ""
    name = address.removeprefix("https://github.com/")
    binder = f"https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab/tree/{path.as_posix()}"
    colab = f"https://colab.research.google.com/github/{name}/blob/HEAD/{path.as_posix()}"
    line = f"%pip install -q --no-deps mnist1d anywidget psygnal git+{address}"
    return raw(
        f'<p class="elsewhere">Run it without installing anything: <a href="{binder}">open it in '
        f'Binder</a>, or <a href="{colab}">in Colab</a>, where a first cell brings the course: '
        f"<code>{line}</code></p>"
    )


# A cell that does nothing but ask.
QUESTION = re.compile(notebook.ASKS.pattern + r".*(\n[ )].*)*\n?\Z")


def with_answers(cells: list[dict]) -> list[dict]:
    """Mark what belongs to an answer, which is shown once that is open, or all answers are.

    That is its code, and what `notebook.parts_of_answers` finds. The code of a question is folded:
    its words say the same.
    """
    parts = notebook.parts_of_answers(cells)
    for cell, part in zip(cells, parts, strict=True):
        tags, source = cell["metadata"].setdefault("tags", []), "".join(cell["source"])
        if cell["cell_type"] == "code" and "hide-input" not in tags and QUESTION.match(source):
            tags.append("hide-input")  # the page asks it in words, right below
        if part == "of-the-answer":
            cell["metadata"]["tags"] = [*tags, part]
    if parts.count("answer") > 1:
        top = next(cell for cell in cells if cell["cell_type"] == "markdown")
        told = (
            "You are asked to guess before you see what was found, and nobody else sees your "
            "guesses. To read straight through: "
        )
        button = (
            f'<p class="answers" hidden>{told}<button type="button">Show all answers</button></p>'
        )
        top["source"] = f"{''.join(top['source'])}\n\n{raw(button)}"
    return cells


def sentence(cell: dict) -> bool:
    """Whether a cell prints nothing but sentences: its code can stand in the margin."""
    found = cell.get("outputs", [])
    return bool(found) and all("text/markdown" in output.get("data", {}) for output in found)


def answer_first(cell: dict) -> list[dict]:
    """A cell whose code and answer are folded, as two: the answer, and below it the code."""
    tags = set(cell["metadata"].get("tags", []))
    if not {"hide-input", "hide-output"} <= tags:
        return [cell]
    names = (["remove-input", "hide-output"], ["hide-input"])
    answer, code = (cell | {"metadata": cell["metadata"] | {"tags": own}} for own in names)
    return [answer, code | {"outputs": [], "id": f"{cell['id']}-code"}]


def markup(output: dict, key: str, folder: Path, path: Path) -> dict:
    """What an output shows on a page: markup where there is any, else text."""
    data = {
        kind: text if isinstance(text, str) else "".join(text)
        for kind, text in output["data"].items()
        if "json" not in kind
    }
    alt = {
        kind: own.get("alt", "")
        for kind, own in output["metadata"].items()
        if isinstance(own, dict)
    }
    if "text/html" in data:
        text = data["text/html"]
        return {"text/html": text if "<script" in text else drawings(text, key, folder, path)}
    if "image/svg+xml" in data:
        return {"text/html": drawing(data["image/svg+xml"], alt.get("image/svg+xml", ""), key)}
    if "image/png" in data:
        content = b64decode(data["image/png"])
        size = [int.from_bytes(content[k : k + 4]) for k in (16, 20)]
        src = stored(content, "png", folder, path)
        picture = image(src, html.escape(alt.get("image/png", ""), quote=True), size)
        return {"text/html": f'<div class="figure paper">{picture}</div>'}
    return {
        kind: data[kind] for kind in ("text/markdown", "text/latex", "text/plain") if kind in data
    }


def stored(content: bytes, kind: str, folder: Path, path: Path) -> str:
    """Address, seen from a page, of a picture that is written beside the pages."""
    name = f"figures/{sha256(content).hexdigest()[:16]}.{kind}"
    (folder / "extra/figures").mkdir(exist_ok=True)
    (folder / "extra" / name).write_bytes(content)
    return "../" * (len(path.parts) - 1) + name


def image(src: str, alt: str, size: list[int], theme: str = "") -> str:
    shown = f' class="{theme}"' if theme else ""
    width, height = size
    return f'<img{shown} src="{src}" width="{width}" height="{height}" alt="{alt}" loading="lazy">'


def drawing(svg: str, alt: str, key: str) -> str:
    """A vector picture inside the page, so that it takes the page's color.

    One that does not ask for the page's color gets white paper.
    """
    svg = svg[svg.index("<svg") :]
    paper = "" if "currentColor" in svg else " paper"
    svg = re.sub(r"<(title|metadata)\b.*?</\1>", "", svg, flags=re.S)
    named = f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" '
    svg = apart(svg.replace("<svg ", named, 1), key)
    width = re.search(r";width:(\d+)px", svg)
    wide = " wide" if width and int(width[1]) > WIDE else ""
    return f'<div class="figure{paper}{wide}">{svg}</div>'


def drawings(text: str, key: str, folder: Path, path: Path) -> str:
    """Markup whose vector pictures follow the page, light or dark.

    One that stands in the markup gets names of its own. One in an image becomes two files, of
    which a browser loads the one that it shows, when it shows it.
    """
    count = iter(range(1000))
    text = re.sub(  # what is inside a picture cannot be reached by keyboard, so the drawing is it
        r'<div role="img" (aria-label="[^"]*")>(?=<svg )(.*?</svg>)</div>',
        lambda m: f'<div class="figure wide"><svg role="img" {m[1]} {m[2][5:]}</div>',
        text,
        flags=re.S,
    )
    text = re.sub(
        r"<svg\b.*?</svg>", lambda m: apart(m[0], f"{key}-{next(count)}"), text, flags=re.S
    )
    return re.sub(
        r"<img\b[^>]*data:image/svg\+xml;base64,[^>]*>",
        lambda m: two_themes(m[0], folder, path),
        text,
    )


def two_themes(tag: str, folder: Path, path: Path) -> str:
    """An image with a vector picture inside, as a file for light pages and one for dark pages."""
    svg = b64decode(re.search(r"base64,([\w+/=]*)", tag)[1]).decode()
    found = re.search(r'\balt="([^"]*)"', tag)
    alt = found[1] if found else ""
    sizes = re.findall(r'\b(?:width|height)="([\d.]+)(pt)?"', svg[: svg.index(">")])
    size = [round(float(n) * (4 / 3 if unit else 1)) for n, unit in sizes] or [640, 360]
    dark = re.search(
        r"@media[^{]*prefers-color-scheme: ?dark\)\s*\{((?:[^{}]*\{[^{}]*\})*)\s*\}", svg
    )
    if dark is None:
        picture = image(stored(svg.encode(), "svg", folder, path), alt, size)
        return f'<span class="figure paper">{picture}</span>'
    both = ""
    for theme, rules in (("only-light", ""), ("only-dark", dark[1])):
        src = stored(svg.replace(dark[0], rules).encode(), "svg", folder, path)
        both += image(src, alt, size, theme)
    return f'<span class="figure{" wide" if size[0] > WIDE else ""}">{both}</span>'


def apart(svg: str, key: str) -> str:
    """A vector picture whose names and style cannot meet those of another one on the page."""
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", svg)
    own = "stroke-linejoin:round;stroke-linecap:butt" if "stroke-linejoin" in svg else ""
    svg = re.sub(
        r"<style[^>]*>(.*?)</style>",
        lambda sheet: f"<style>{scoped(sheet[1], key)}</style>",
        svg,
        count=1,
        flags=re.S,
    ).replace("<style></style>", "")
    width = re.search(r'<svg[^>]*\bwidth="([\d.]+)(pt|px)?"', svg)
    if width:
        own += f";width:{float(width[1]) * (4 / 3 if width[2] == 'pt' else 1):.0f}px"
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    return recolored(svg.replace("<svg ", f'<svg id="{key}" style="{own}" ', 1))


def scoped(sheet: str, key: str) -> str:
    """Rules for one picture alone; what is said of all its parts stands on the picture.

    A class may be the picture's own. Rules for other hosts (a notebook's theme, a file of its
    own) are left out: the page has its colors.
    """
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", sheet.partition("@media")[0])
    kept = []
    for one, style in rules:
        name = one.strip()
        if name != "*" and not name.startswith((":root", "body")):
            own = f",#{key}{name}" if name.startswith(".") else ""
            kept.append(f"#{key} {name}{own}{{{style}}}")
    return "".join(kept)


def recolored(svg: str) -> str:
    """Let the page say how a role's color looks on it; words get a darker or lighter shade."""
    for role, color in plots.COLORS.items():
        ink = rf"(<text\b[^>]*?fill: ?){color}"
        svg = re.sub(ink, rf"\1var(--ink-{role}, {color})", svg, flags=re.I)
        for name in ("fill", "stroke"):
            svg = re.sub(rf"({name}: ?){color}", rf"\1var(--role-{role}, {color})", svg, flags=re.I)
    return svg


def roles() -> str:
    """Style that names the colors of roles and of their words, on light pages and on dark ones."""
    light = "".join(f"--ink-{role}:{ink};" for role, ink in plots.INK.items())
    dark = "".join(
        f"--{kind}-{role}:{plots.DARK[color]};"
        for kind, colors in (("role", plots.COLORS), ("ink", plots.INK))
        for role, color in colors.items()
    )
    return f"html[data-theme=light]{{{light}}}\nhtml[data-theme=dark]{{{dark}}}\n"


# The ledger


def answer(id: str) -> str:
    found = results.known(id)
    return NOT_RUN if found is None else found.answer


def sign(word: str) -> str:
    return cards.ANSWER_SIGNS.get(word, "○")


def tally(place: str) -> str:
    """How many claims got which answer, as a bar and in words."""
    counts = Counter(map(answer, record.records()))
    words = [word for word in [*cards.ANSWER_SIGNS, NOT_RUN] if counts[word]]
    bar = "".join(
        f'<span class="part {slug(word)}" style="flex-grow:{counts[word]}"></span>'
        for word in words
    )
    listed = "".join(
        f'<li><span class="sign {slug(word)}" aria-hidden="true">{sign(word)}</span> '
        f"<b>{counts[word]}</b> {word}</li>"
        for word in words
    )
    return raw(
        f'<div class="tally {place}"><div class="bar" aria-hidden="true">{bar}</div>'
        f"<ul>{listed}</ul></div>"
    )


def slug(word: str) -> str:
    return word.replace(" ", "-")


def badge(word: str, more: str = "", said: str = "") -> str:
    return (
        f'<span class="answer {slug(word)}" data-answer="{word}">'
        f'<span aria-hidden="true">{sign(word)}</span> {said or word}{more}</span>'
    )


def claims(folder: Path) -> None:
    """Write the board and a page per claim, run or not."""
    own = record.records()
    for id, one in own.items():
        found = results.known(id)
        write(folder / f"{id}.md", declared(one) if found is None else settled(found))
    board = [
        "# The ledger",
        "",
        f"{len(own)} claims about regularization. What is compared, what is tuned, and which "
        "difference would matter was written down and registered before anything was run; the "
        "answers follow from one rule. A claim whose experiment has not been run yet says so.",
        "",
        tally("board"),
    ]
    names = {title(path)[:2]: title(path) for path in lessons()}
    groups = sorted({one.lesson for one in own.values()})
    heads = {lesson: names.get(lesson, other_group(lesson)) for lesson in groups}
    links = (f"[{head}](#claims-of-{lesson})" for lesson, head in heads.items())
    board += ["", "Go to " + ", ".join(links) + "."]
    for lesson, head in heads.items():
        board += ["", f"(claims-of-{lesson})=", "", f"## {head}", ""]
        board += ["| answer | claim | question |", "|---|---|---|"]
        for id, one in own.items():
            if one.lesson == lesson:
                found = results.known(id)
                n, of = found.counts if found else (0, 0)
                more = f" ({n} of {of})" if of > 1 else ""
                question = f"[{plain(one.question)}]({id}.md)"
                question = f"**{question}**" if one.headline else question
                board.append(f"| {badge(answer(id), more)} | {id} | {question} |")
    board += ["", "Headline questions stand in bold. Terms:", "", *terms(), "", tree([*own])]
    write(folder / "index.md", "\n".join(board))


def other_group(lesson: str) -> str:
    return f"{lesson} · a lesson to come" if lesson.isdigit() else lesson.capitalize()


def terms() -> list[str]:
    return [
        f"- {badge('yes')}: every condition that was declared speaks for it.",
        f"- {badge('depends')}: it holds under some conditions and fails under others.",
        f"- {badge('too small to matter')}: the difference, if any, is smaller than what was "
        "declared to matter.",
        f"- {badge('the opposite')}: what happens is the reverse.",
        f"- {badge('not yet known')}: the interval is too wide to say.",
    ]


def settled(found: results.Result) -> str:
    """The page of a claim that was run."""
    id = found.id
    text = cards.page(found)
    svg = figures.forest_svg(found)
    picture = raw(drawing(svg, cards.alt(found), id)) if svg else ""
    text = re.sub(r"^!\[.*\]\(.*\.svg\)$", lambda _: picture, text, count=1, flags=re.M)
    text = text.replace("| | condition |", "| sign | condition |")
    word = found.answer
    bold = f"**{cards.ANSWER_SIGNS[word]} {cards.headline(found)}**"
    rest = cards.headline(found).removeprefix(found.said)
    return text.replace(
        bold, f'<p class="verdict">{badge(word, html.escape(rest), found.said)}</p>', 1
    )


def declared(own: record.Record) -> str:
    """The page of a claim that waits for its run."""
    out = [f"# {own.id}: {plain(own.question)}", ""]
    out += [f'<p class="verdict">{badge(NOT_RUN)}</p>', ""]
    out += ["What will be measured is settled and registered; its experiment has not been run.", ""]
    out += ["| condition | expected |", "|---|---|"]
    for c in own.conditions:
        out.append(f"| {plain(c.name)} | {plain(c.untested or c.expect)} |")
    out += ["", "## How it will be measured", ""]
    known = record.articles()
    sources = "; ".join(source(known[one]) if one in known else plain(one) for one in own.said_by)
    said = sources + (f": {plain(own.said)}" if own.said else "")
    registered = results.registry().get(own.id, [])
    for name, text in (
        ("Matters", plain(own.because)),
        ("Compares", plain(own.compares)),
        ("Tuned", plain(own.tuned)),
        ("Held still", plain(own.fixed)),
        ("Setting", plain(own.setting)),
        ("Said by", said),
        ("Would change", plain(own.would_change)),
        ("Registered", registered[-1]["date"][:10] if registered else "not yet"),
    ):
        if text:
            text = text[:1].upper() + text[1:]
            out += [f"**{name}.** {text if text.endswith(('.', '?', '!')) else text + '.'}", ""]
    out += ["## Run it", "", "```console", f"coursekit claims run {own.id}", "```", ""]
    return "\n".join(out)


def source(article: dict) -> str:
    words = plain(article["title"])
    linked = f"[{words}]({article['link']})" if article.get("link") else words
    return f"{linked} ({plain(article['author'])})"


def plain(text: str) -> str:
    """Words in which no character means anything to Markdown."""
    return re.sub(r"([\\`*_\[\]<>$|])", r"\\\1", text)


def arguments(source: Path, out: Path, jobs: int = 1) -> list[str]:
    """What Sphinx is told: gathered pages in, the web edition out, a warning is an error."""
    trees = source.with_name(source.name + "-trees")
    how = ["-q", "-W", "--keep-going", "-j", str(jobs), "-b", "html", "-d", str(trees)]
    return [*how, str(source), str(out)]


def remove_stale(source: Path, out: Path) -> None:
    """Delete pages whose source is gone: Sphinx leaves them where they are."""
    made = {
        path.relative_to(root).with_suffix("")
        for root in (source, source / "extra")  # which Sphinx copies as it is
        for path in root.rglob("*.*")
    }
    made |= {Path(name) for name in ("genindex", "py-modindex", "search")}
    for page in out.rglob("*.html"):
        if page.relative_to(out).with_suffix("") not in made:
            page.unlink()


def main() -> int:
    from sphinx.cmd.build import build_main

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/site")
    parser.add_argument("--source", type=Path, default=ROOT / "build/site-source")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    gather(given.source)
    failed = build_main(arguments(given.source, given.out, given.jobs))
    remove_stale(given.source, given.out)
    if not failed:
        print(f"The web edition: {given.out / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
