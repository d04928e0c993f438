"""Read a notebook that was handed in, and put its answers into the release's notebook.

Found are answers by their cell's id, else by the function they define; points, checks and setup
are the release's. Nothing runs here: sources are parsed, and what does not parse is passed on.
"""

import ast
import json
import re
from dataclasses import dataclass
from functools import cache

from coursekit.exercises import bank, pages

LONGEST = 300_000  # characters of a cell that are still parsed
# A check inside the box would cost time and say nothing to anybody.
QUIET = 'sheet = type("Sheet", (), {"__getattr__": lambda *_: lambda *_, **__: None})()'
OF_EVERY_LESSON = ("setup", "progress", "opening")


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
    attached: int = 0


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
    notes = _class_note(cells, released["setup"])
    setup = f"{released['setup']}\n{QUIET}"
    helpers = [(n, s) for n, s in (_to_run(cell, released) for cell in cells) if s.strip()]
    sources, numbers = [setup, *(s for _, s in helpers)], [0, *(n for n, _ in helpers)]
    defined = [set(), *(definitions(s) for s in sources[1:])]
    ids = {cell.number: cell.id for cell in cells if cell.code}
    functions, places, dropped = {}, {}, set()
    for exercise in bank.of_lesson(lesson, key):
        name, own = exercise.name, pages.cell_id(f"{exercise.name}-answer")
        by_name = [i for i, names in enumerate(defined) if name in names]
        stubs = [i for i in by_name if sources[i].strip() == released[own].strip()]
        answers = [i for i in by_name if i not in stubs]
        if answers:
            dropped |= set(stubs)  # a stub left standing below the answer would replace it
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
        {name: keep.index(i) for name, i in places.items()},
        written,
        notes,
    )


@cache
def release(lesson: str, key: str | None) -> dict[str, str]:
    """Return the sources of the release's cells by id."""
    return {cell.id: cell.source for cell in pages.cells(lesson, key)}


def _to_run(cell: StudentCell, released: dict[str, str]) -> tuple[int, str]:
    """Return what of a cell is to run: all, nothing, or what was added to the setup."""
    if not cell.code:
        return 0, ""
    tree = parsed(cell.source)
    if cell.id == "setup" or makes_sheet(tree):
        return cell.number, _additions(tree, released["setup"])
    names = definitions(cell.source) & set(bank.exercises())
    check = cell.id == "progress" or (cell.id.endswith("-check") and cell.id in released)
    if (check or only_checks(tree)) and not names:
        return cell.number, ""
    return cell.number, cell.source


def _additions(tree: ast.Module | None, setup: str) -> str:
    """Return what a student added to the setup cell: an import there may be needed below."""
    known = {ast.dump(node) for node in ast.parse(setup).body}
    added = [n for n in (tree.body if tree else ()) if ast.dump(n) not in known]
    added = [n for n in added if not (is_sheet(n) or of_sheet(n))]
    return "\n".join(ast.unparse(node) for node in added)


def _class_note(cells: list[StudentCell], setup: str) -> list[str]:
    def key(source: str) -> list[str]:
        return re.findall(r"Sheet\([^)]*?key\s*=\s*[\"']([^\"']*)", source)[-1:]

    setups = [cell.source for cell in cells if cell.code and "Sheet(" in cell.source[:LONGEST]]
    if setups and key(setups[-1][:LONGEST]) != key(setup):
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
            theirs |= set(re.findall(r"Sheet\(\s*[\"'](\d\d)[\"']", cell.source[:LONGEST]))
    if lesson in theirs or any(c.id in own or c.source.strip() in texts for c in cells):
        return
    hint = f": it seems to belong to lesson {', '.join(sorted(theirs))}" if theirs else ""
    raise Unreadable("wrong lesson", f"No cell of this notebook answers lesson {lesson}{hint}.")


def _explanation(cells: list[StudentCell], question: str, released: dict) -> tuple[str, list[str]]:
    """Return what a student wrote on a question, and what is odd about where it stands."""
    own, texts = pages.cell_id(f"{question}-explain"), {text.strip() for text in released.values()}
    here = [pages.cell_id(f"{question}-{part}") for part in ("task", "answer", "explain")]
    written, beside, loose, inside = [], [], [], False
    for cell in cells:
        text = cell.source.strip()
        of_release = cell.id in released or text in texts
        if of_release:
            inside = cell.id in here or text in {released[id].strip() for id in here}
        if not text or text in texts:
            continue
        if cell.id == own:
            written.append(cell)
        elif not cell.code and not of_release:
            loose.append(cell)
            if inside:
                beside.append(cell)
    notes = []
    if len(written) > 1:
        notes.append(
            f"The explanation of `{question}` is there {len(written)} times; the last counts."
        )
    elif not written and loose:
        notes.append(f"The explanation of `{question}` was not in its cell; other text is shown.")
    chosen = written[-1:] or beside or loose
    if any(cell.attached for cell in chosen):
        notes.append(f"The explanation of `{question}` has pictures: see the original.")
    return "\n\n".join(cell.source.strip() for cell in chosen), notes


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
        attached = cell.get("attachments")
        cells.append(
            StudentCell(
                _id(cell),
                code,
                source.encode("utf-8", "replace").decode(),
                number if code else 0,
                len(attached) if isinstance(attached, dict) else 0,
            )
        )
    return cells


def _id(cell: dict) -> str:
    """Return the id, or nbgrader's name of the cell, which outlives programs that drop ids."""
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    return str(name or cell.get("id", ""))[:64]


# What a source defines


def parsed(source: str) -> ast.Module | None:
    """Return the syntax of a cell, IPython's lines left out, or None if it has none."""
    if len(source) > LONGEST:
        return None
    lines = source.split("\n")
    if re.match(r"\s*%%(time|timeit|capture|prun)\b", source):
        lines[0] = ""
    plain = []
    for line in lines:
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        if bare.startswith(("%", "!", "?")) or bare.rstrip().endswith("?"):
            line = f"{indent}pass"
        elif match := re.match(r"([\w ,]+=\s*)[!%]", bare):
            line = f"{indent}{match[1]}None"
        plain.append(line)
    try:
        return ast.parse("\n".join(plain))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def definitions(source: str) -> set[str]:
    """Return the names that a cell gives to functions, classes and values at its top level."""
    tree = parsed(source)
    if tree is None:  # a slip in one line does not hide whose answer this is
        return set(re.findall(r"^(?:async +)?(?:def|class) +(\w+)", source[:LONGEST], re.M))
    names, blocks = set(), [tree.body]
    while blocks:
        for node in blocks.pop():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
            for field in ("body", "orelse", "finalbody"):
                blocks.append(getattr(node, field, None) or [])
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
    return names


def functions_of(source: str) -> set[str]:
    """Return the functions and classes that a cell defines at its top level."""
    tree = parsed(source)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {n.name for n in (tree.body if tree else ()) if isinstance(n, kinds)}


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
