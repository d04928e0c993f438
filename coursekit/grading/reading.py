"""Read a notebook that was handed in: its cells, and what their sources define. Nothing runs."""

import ast
import json
import re
from dataclasses import dataclass

LONGEST = 300_000  # characters of a cell that are still parsed


class Unreadable(ValueError):
    """A file that cannot be graded; `rule` is the short name of why."""

    def __init__(self, rule: str, sentence: str):
        super().__init__(sentence)
        self.rule = rule


@dataclass(frozen=True)
class Cell:
    """A cell as it was handed in: its number counts code cells from 1, and is 0 for text."""

    id: str
    code: bool
    source: str
    number: int
    attached: int = 0


def read(raw: bytes) -> list[Cell]:
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
        told = f"Expected text in UTF-8, got another byte at position {error.start}."
        raise Unreadable("not UTF-8", told) from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        told = f"Expected a notebook, got a file that is damaged{where}: it is not valid JSON."
        raise Unreadable("invalid JSON", told) from error
    sheets = found.get("worksheets") if isinstance(found, dict) else None
    if isinstance(sheets, list) and sheets and isinstance(sheets[0], dict):  # before format 4
        found = sheets[0]
    listed = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise Unreadable("not a notebook", "Expected a notebook, got JSON without cells.")
    cells, number = [], 0
    for cell in (c for c in listed if isinstance(c, dict)):
        code = cell.get("cell_type") == "code"
        number += code
        source = cell.get("source", cell.get("input", ""))
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        source = source if isinstance(source, str) else ""
        attached = cell.get("attachments")
        cells.append(
            Cell(
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
    told = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    named = told.get("grade_id") if isinstance(told, dict) else None
    return str(named or cell.get("id", ""))[:64]


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
        elif found := re.match(r"([\w ,]+=\s*)[!%]", bare):
            line = f"{indent}{found[1]}None"
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
    made = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    return made and getattr(node.value.func, "id", getattr(node.value.func, "attr", "")) == "Sheet"


def makes_sheet(tree: ast.Module | None) -> bool:
    """Return whether a cell makes the sheet: then it is the setup, whatever its id."""
    return tree is not None and any(map(is_sheet, tree.body))
