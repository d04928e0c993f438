"""Read a notebook that was handed in, and put its answers into the release's notebook.

Found are answers by their cell's id, else by the function they define; points, checks and setup
are the release's. Nothing runs here: sources are parsed, and what does not parse is passed on.
Whoever hands in decides how long a source is, so every step takes time in proportion to it.
"""

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

from coursekit.exercises import bank, pages

LONGEST = 300_000  # characters of a cell that are still parsed
MOST_CODE = 1_000_000  # characters of all cells: ten seconds, if they are meant to take long
TOO_MUCH = "Expected at most {:.0f} MB of code, got {:.1f} MB: take data out of the cells."
# A check inside the box would cost time and say nothing to anybody.
QUIET = 'sheet = type("Sheet", (), {"__getattr__": lambda *_: lambda *_, **__: None})()'
OF_EVERY_LESSON = ("setup", "progress", "opening", "quiz-task", "quiz")
# Modules and folders that only a host has: a line with one raises here, and would take along what
# stands below it.
HOSTS = {
    "Colab": ("google.colab", "/content/"),
    "Kaggle": ("kaggle_secrets", "kaggle_datasets", "kaggle_web_client", "/kaggle/"),
    "Deepnote": ("deepnote_toolkit", "/datasets/"),
    "JupyterLite": ("piplite", "micropip", "pyodide"),
}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
KEPT = FUNCTIONS | ast.Try
MOST_ON_A_LINE = 50  # statements that are told apart


class Unreadable(ValueError):
    """A file that cannot be graded; `rule` is the short name of why."""

    def __init__(self, rule: str, sentence: str):
        super().__init__(sentence)
        self.rule = rule


@dataclass(frozen=True)
class StudentCell:
    """A cell as it was handed in: its number counts code cells from 1, and is 0 for text."""

    id: str
    code: bool
    source: str
    number: int
    attachments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Rebuilt:
    """What runs in the box, and where each answer comes from.

    Attributes
    ----------
    cells : list of str
        Code; the first one is the release's setup.
    numbers : list of int
        Of each cell among the code cells handed in; 0 for the release's own.
    functions : dict
        Exercise to the name under which its answer goes.
    places : dict
        Exercise to the index in `cells` where it is defined last.
    written : dict
        Question to explanation, "" if there is none.
    notes : list of str
        What is odd, in sentences for student and instructor.
    """

    cells: list[str]
    numbers: list[int]
    functions: dict[str, str]
    places: dict[str, int]
    written: dict[str, str]
    notes: list[str]


def rebuild(raw: bytes, lesson: str, key: str | None = None) -> Rebuilt:
    """Return the release's notebook with the answers and helpers of one that was handed in.

    Parameters
    ----------
    raw : bytes
    lesson : str
        Two digits.
    key : str, optional
        Key of the class.

    Returns
    -------
    Rebuilt

    Raises
    ------
    Unreadable
        If the bytes are no notebook, or one without a cell of this lesson.
    """
    cells, released = read(raw), release(lesson, key)
    size = sum(len(cell.source) for cell in cells if cell.code)
    if size > MOST_CODE:
        raise Unreadable("too much code", TOO_MUCH.format(MOST_CODE / 1e6, size / 1e6))
    notes = _class_note(cells, released["setup"])
    handed_in = [(cell.number, s) for cell in cells for s in _to_run(cell, released)]
    handed_in, remarks = _without_hosts(handed_in)
    notes += remarks
    helpers = [(n, s) for n, s in handed_in if s.strip("#\n\t ")]
    setup = f"{released['setup']}\n{QUIET}"
    sources, numbers = [setup, *(s for _, s in helpers)], [0, *(n for n, _ in helpers)]
    defined = [set(), *(definitions(s) for s in sources[1:])]
    ids = {cell.number: cell.id for cell in cells if cell.code}
    functions, places, dropped = {}, {}, set()
    for exercise in bank.of_lesson(lesson, key):
        name, own = exercise.name, pages.cell_id(f"{exercise.name}-answer")
        by_name = [i for i, names in enumerate(defined) if name in names]
        stubs = [i for i in by_name if is_stub(sources[i], name, released[own])]
        answers = [i for i in by_name if i not in stubs]
        for i in stubs if answers else ():  # left standing below the answer they would replace it
            sources[i] = without(sources[i], lambda n, name=name: getattr(n, "name", "") == name)
            if not sources[i].strip("#\n\t "):
                dropped.add(i)
        if len(answers) > 1:
            notes.append(f"`{name}` is defined in {len(answers)} cells; the last one counts.")
        functions[name] = name
        by_id = [i for i, n in enumerate(numbers) if i and ids.get(n) == own]
        if by_name:
            places[name] = (answers or stubs)[-1]
        elif by_id:
            places[name] = by_id[-1]
            others = functions_of(sources[by_id[-1]]) - set(bank.exercises())
            if len(others) == 1:
                [functions[name]] = others
                notes.append(f"`{name}` was handed in as `{functions[name]}`.")
    _expect_lesson(cells, released, set().union(*defined), lesson)
    keep = [i for i in range(len(sources)) if i not in dropped]
    written = {}
    for question in bank.questions_of(lesson):
        written[question.name], remarks = _explanation(cells, question.name, released)
        notes += remarks
    return Rebuilt(
        [sources[i] for i in keep],
        [numbers[i] for i in keep],
        functions,
        {name: keep.index(i) for name, i in places.items() if i not in dropped},
        written,
        notes,
    )


@cache
def release(lesson: str, key: str | None) -> dict[str, str]:
    """Return the sources of the release's cells by id."""
    return {cell.id: cell.source for cell in pages.cells(lesson, key)}


def _to_run(cell: StudentCell, released: dict[str, str]) -> list[str]:
    """Return what of a cell is to run: all, nothing, or what was added to the setup."""
    if not cell.code:
        return []
    tree = parsed(cell.source)
    if cell.id == "setup" and tree is None:
        return [f"{cell.source}\n{QUIET}"]
    if cell.id == "setup" or makes_sheet(tree):
        return _additions(cell.source, released["setup"])
    check = cell.id == "progress" or (cell.id.endswith("-check") and cell.id in released)
    own = functions_of(cell.source) or definitions(cell.source) & set(bank.exercises())
    return [] if only_checks(tree) or (check and not own) else [cell.source]


def _additions(source: str, setup: str) -> list[str]:
    """Return what a student added to the setup, where an import may be needed below.

    Each statement is a cell of its own: one that fails takes no other along.
    """
    known, added = {"#", *setup.split("\n")}, []
    lines = without(source, lambda node: is_sheet(node) or of_sheet(node)).split("\n")
    for first, last, _ in pieces(source):
        part = lines[first - 1 : last]
        if any(line.strip() not in known for line in part):
            # Comments above it, not empty lines, which IPython drops: errors name the right line.
            added.append("\n".join(["#"] * min(first - 1, 500) + part))
    return added


def _without_hosts(sources: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[str]]:
    """Leave out what only a host of notebooks can run, and what needs it; say which lines."""
    theirs = tuple(word for words in HOSTS.values() for word in words)
    names, places, kept = {}, {}, []
    for number, source in sources:
        gone = set()
        if any(names.values()) or any(word in source for word in (*theirs, "colab")):
            tree = parsed(source)
            for node in tree.body if tree else ():
                host = _host(node, names)
                for name in definitions_of([node]):
                    names[name] = host
                if host:
                    gone.add((node.lineno, node.col_offset))
                    places.setdefault(host, {}).setdefault(number, []).append(node.lineno)
        if gone:
            source = without(source, lambda n, gone=gone: (n.lineno, n.col_offset) in gone)
        kept.append((number, source))
    notes = []
    for host, cells in places.items():
        told = [
            f"code cell {number}, line{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:5]))}"
            for number, lines in list(cells.items())[:5]
        ]
        notes.append(f"Lines that only {host} can run were left out: {'; '.join(told)}.")
    return kept, notes


def _host(node: ast.stmt, names: dict[str, str]) -> str:
    """Return the host that a statement needs, or ""; definitions and exercises always stay."""
    inside = list(ast.walk(node))
    definition = any(isinstance(n, KEPT) for n in inside)
    if definition or definitions_of([node]) & set(bank.exercises()):
        return ""
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
        modules = [f"{node.module}.{alias.name}" for alias in node.names]
    texts = [n.value for n in inside if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    for host, words in HOSTS.items():
        if any(f"{module}.".startswith(f"{word}.") for module in modules for word in words):
            return host
        if any(text.startswith(word) for text in texts for word in words if "/" in word):
            return host
    used = (n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    return next(filter(None, (names.get(name, "") for name in used)), "")


def _class_note(cells: list[StudentCell], setup: str) -> list[str]:
    keys = [key for cell in cells if cell.code for _, key in sheets_in(cell.source)]
    if keys and keys[-1] != sheets_in(setup)[-1][1]:
        return ["The notebook was made for another class: its conventions may differ."]
    return []


def _expect_lesson(
    cells: list[StudentCell], released: dict, defined: set[str], lesson: str
) -> None:
    """Raise Unreadable if nothing in a notebook belongs to this lesson."""
    own = {id for id in released if id not in OF_EVERY_LESSON}
    texts = {text.strip() for id, text in released.items() if not id.endswith("-explain")}
    texts -= {released["progress"].strip()}  # it looks alike in every lesson
    known = bank.exercises()
    theirs = {known[name].lesson for name in defined & set(known)}
    for cell in cells:
        if cell.code:
            theirs |= {number for number, _ in sheets_in(cell.source)}
    if lesson in theirs or any(c.id in own or c.source.strip() in texts for c in cells):
        return
    hint = f": it seems to belong to lesson {', '.join(sorted(theirs))}" if theirs else ""
    raise Unreadable("wrong lesson", f"No cell of this notebook answers lesson {lesson}{hint}.")


def _explanation(cells: list[StudentCell], question: str, released: dict) -> tuple[str, list[str]]:
    """Return what a student wrote on a question, and what is odd about where it stands.

    It may go on in further cells of text, up to the next cell of the release.
    """
    own, texts = pages.cell_id(f"{question}-explain"), {text.strip() for text in released.values()}
    # Where nothing is to be predicted, there is no answer.
    here = [pages.cell_id(f"{question}-{part}") for part in ("task", "answer", "explain")]
    written, beside, loose, inside = [], [], [], False
    for number, cell in enumerate(cells):
        text = cell.source.strip()
        of_release = cell.id in released or text in texts
        if of_release:
            known = {released[id].strip() for id in here if id in released}
            inside = cell.id in here or text in known
        task = released[cell.id].strip() if cell.id == here[0] and not cell.code else ""
        if not text or text in texts:
            continue
        if cell.id == own:
            written.append((number, cell))
        elif task and text.startswith(task):  # written below the task, in its cell
            beside.append((number, replace(cell, source=text[len(task) :])))
        elif not cell.code and not of_release:
            loose.append((number, cell))
            if inside:
                beside.append((number, cell))
    notes = []
    if len(written) > 1:
        notes.append(
            f"The explanation of `{question}` is there {len(written)} times; the last counts."
        )
    elif not written and (beside or loose):
        notes.append(f"The explanation of `{question}` was not in its cell; other text is shown.")
    elif written and beside:
        notes.append(f"The explanation of `{question}` stands in several cells; all are shown.")
    parts = sorted([*written[-1:], *beside], key=lambda part: part[0]) or loose
    if any(cell.attachments for _, cell in parts):
        notes.append(f"The explanation of `{question}` has pictures: see the original.")
    return "\n\n".join(cell.source.strip() for _, cell in parts), notes


# Cells


def read(raw: bytes) -> list[StudentCell]:
    """Return the cells of a notebook of any format version, whatever its metadata say.

    Raises
    ------
    Unreadable
        If the bytes are no notebook.
    """
    if not raw.strip():
        raise Unreadable("empty", "The file is empty.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        sentence = f"Expected text in UTF-8, got another byte at position {error.start}."
        raise Unreadable("not UTF-8", sentence) from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        sentence = f"Expected a notebook, got a file that is damaged{where}: it is not valid JSON."
        raise Unreadable("invalid JSON", sentence) from error
    sheets = content.get("worksheets") if isinstance(content, dict) else None
    if isinstance(sheets, list) and sheets and isinstance(sheets[0], dict):  # before format 4
        content = sheets[0]
    entries = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise Unreadable("not a notebook", "Expected a notebook, got JSON without cells.")
    cells, number = [], 0
    for cell in (c for c in entries if isinstance(c, dict)):
        code = cell.get("cell_type") == "code"
        number += code
        source = cell.get("source", cell.get("input", ""))
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        source = source if isinstance(source, str) else ""
        source = source.replace("\r\n", "\n").replace("\r", "\n")  # some editors write these
        attached = cell.get("attachments")
        cells.append(
            StudentCell(
                _id(cell),
                code,
                source.encode("utf-8", "replace").decode(),
                number if code else 0,
                attached if isinstance(attached, dict) else {},
            )
        )
    return cells


def _id(cell: dict) -> str:
    """Return the id, or nbgrader's name of the cell, which outlives programs that drop ids."""
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    ids = [id for id in (name, cell.get("id")) if isinstance(id, str | int)]
    return str(ids[0])[:64] if ids else ""


# What a source defines


@lru_cache(maxsize=1)  # of a long cell it takes a second, and much memory
def parsed(source: str) -> ast.Module | None:
    """Return the syntax of a cell, IPython's lines left out, or None if it has none."""
    if len(source) > LONGEST:
        return None
    plain = _parsed(source)
    return _parsed("\n".join(map(_without_magic, source.split("\n")))) if plain is None else plain


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `x is 1` is for its writer to hear about, not for us
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _without_magic(line: str) -> str:
    bare = line.lstrip()
    indent = line[: len(line) - len(bare)]
    if bare.startswith(("%", "!", "?")) or bare.rstrip().endswith("?"):
        return f"{indent}pass"
    if match := re.match(r"([\w ,]+=\s*)[!%]", bare):
        return f"{indent}{match[1]}None"
    return line


def definitions(source: str) -> set[str]:
    """Return the names that a cell gives to functions, classes and values at its top level."""
    tree = parsed(source)
    if tree is None:  # a slip in one line does not hide whose answer this is
        return set(re.findall(r"^(?:async +)?(?:def|class) +(\w+)", source[:LONGEST], re.M))
    return definitions_of(tree.body)


def definitions_of(body: list[ast.stmt]) -> set[str]:
    """Return the names that statements give, those in their branches and loops included."""
    names, blocks = set(), [body]
    while blocks:
        for node in blocks.pop():
            if isinstance(node, FUNCTIONS):
                names.add(node.name)
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
            for part in ("body", "orelse", "finalbody"):
                blocks.append(getattr(node, part, None) or [])
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
    return names


def functions_of(source: str) -> set[str]:
    """Return the functions and classes that a cell defines at its top level."""
    tree = parsed(source)
    return {n.name for n in (tree.body if tree else ()) if isinstance(n, FUNCTIONS)}


def is_stub(source: str, name: str, stub: str) -> bool:
    """Return whether a cell defines a function as its stub does, or does nothing in it.

    Comments, line breaks, docstrings and checks beside it make no answer of a stub.
    """
    if source.strip() == stub.strip():
        return True
    tree = parsed(source)
    own = [node for node in (tree.body if tree else ()) if name in definitions_of([node])][-1:]
    if not own or not isinstance(own[0], FUNCTIONS):
        return False
    steps = [node for node in ast.walk(own[0]) if isinstance(node, ast.stmt) and not _idle(node)]
    if all(map(_refuses, steps)):
        return True
    given = parsed(stub)
    with suppress(RecursionError):  # a sum of a thousand terms is no stub
        return ast.dump(own[0]) in [ast.dump(node) for node in (given.body if given else ())]
    return False


def _refuses(node: ast.stmt) -> bool:
    raised = getattr(node, "exc", None)
    raised = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _idle(node: ast.stmt) -> bool:
    """Return whether a statement only names what follows, or says something."""
    said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return said or isinstance(node, FUNCTIONS | ast.Pass)


def pieces(source: str) -> Iterator[tuple[int, int, list[ast.stmt]]]:
    """Yield the statements of a cell with their first and last line, those on one line together."""
    first, last, nodes = 0, 0, []
    tree = parsed(source)
    for node in tree.body if tree else ():
        above = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        if nodes and above <= last:
            nodes.append(node)
        else:
            if nodes:
                yield first, last, nodes
            first, nodes = above, [node]
        last = max(last, node.end_lineno)
    if nodes:
        yield first, last, nodes


def without(source: str, gone: Callable[[ast.stmt], bool]) -> str:
    """Return a cell without some of its statements; the others stay on their lines."""
    lines = source.split("\n")
    for first, last, nodes in pieces(source):
        stay = [node for node in nodes if not gone(node)]
        if len(stay) == len(nodes) or len(nodes) > MOST_ON_A_LINE:
            continue
        text = "; ".join(ast.get_source_segment(source, node) or "" for node in stay) or "#"
        part = [*text.split("\n"), *["#"] * (last - first)]
        lines[first - 1 : last] = part[: last - first + 1]
    return "\n".join(lines)


def of_sheet(node: ast.stmt) -> bool:
    """Return whether a statement is a call such as `sheet.check(f)`."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    called = node.value.func
    is_method = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)
    return is_method and called.value.id == "sheet"


def only_checks(tree: ast.Module | None) -> bool:
    """Return whether a cell has nothing but such calls."""
    return tree is not None and bool(tree.body) and all(map(of_sheet, tree.body))


def is_sheet(node: ast.stmt) -> bool:
    """Return whether a statement is `sheet = Sheet(...)`."""
    call = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    return call and getattr(node.value.func, "id", getattr(node.value.func, "attr", "")) == "Sheet"


def makes_sheet(tree: ast.Module | None) -> bool:
    """Return whether a cell makes the sheet: then it is the setup, whatever its id."""
    return tree is not None and any(map(is_sheet, tree.body))


def sheets_in(source: str) -> list[tuple[str, str]]:
    """Return lesson and key, "" if there is none, of each `Sheet(...)` in a cell."""
    # Neither pattern looks twice at a character, whatever stands there.
    calls = re.findall(r"Sheet\(\s*(?:lesson\s*=\s*)?[\"'](\d\d)[\"']([^()]*)", source[:LONGEST])
    given = r",\s*(?:key\s*=\s*)?[\"']([^\"']*)"
    return [(lesson, "".join(re.findall(given, rest)[:1])) for lesson, rest in calls]
