"""A short name for a computation: equal for equal settings and code, in any process.

A stored result may be used again only if what made it is unchanged: values, functions, classes, and
whatever these name, through modules, as long as it can decide a number.

What is followed by content: code of the user, and the parts of the course in `FOLLOWED`. What
counts by its name: libraries, whose versions belong to a stored result, and the rest of the course,
which trains, stores and shows. That part is tested to compute what a plain loop computes, and has a
number of its own, `train.ENGINE`, which is raised when it computes something else.
"""

import hashlib
import inspect
import io
import re
import sys
import textwrap
import tokenize
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, cached_property, partial

import numpy as np
import torch

FOLLOWED = (
    "claims", "data", "datasets", "exercises", "intervals", "judge", "ledger", "linear", "measure",
    "models", "regularizers", "schedules", "stopping",
)  # fmt: skip
# Of a class: made by Python, or told by its methods anyway.
BY_THE_WAY = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__annotate__"}
BY_THE_WAY |= {"__static_attributes__", "__firstlineno__", "__annotate_func__", "__slotnames__"}
BY_THE_WAY |= {"__dataclass_fields__", "__dataclass_params__", "__match_args__"}


def fingerprint(*values: object, text: bool = False) -> str:
    """Return 16 hexadecimal digits that depend on all the values.

    Numbers, text, arrays, tensors, containers and records count by content. A function counts by
    its code, its defaults, what it encloses, and what it names: values, functions, classes, and
    attributes of modules. A class counts by its methods, its attributes and its bases.

    Parameters
    ----------
    *values : object
    text : bool
        Read functions and classes as text, without comments and docstrings, and not as compiled:
        equal under every version of Python, but blind to a file that was edited after its import.
        Real numbers count to twelve digits, since the last ones of `np.logspace` depend on the
        processor.

    Raises
    ------
    ValueError
        If nobody can tell whether a value is the same as the last time.
    """
    digest, walk = hashlib.sha256(), _Walk(text)
    for piece in walk.pieces(values):
        digest.update(piece.encode() if isinstance(piece, str) else piece)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


class _Walk:
    """Takes values apart, each function and class once."""

    def __init__(self, text: bool):
        self.text, self.seen = text, set[int]()

    def pieces(self, value: object, *, strict: bool = True) -> Iterator[str | bytes]:
        if self.text and isinstance(value, float | np.ndarray | np.floating):
            value = _rounded(value)
        yield type(value).__qualname__
        plain = bool | int | float | complex | str | bytes | range | torch.device | torch.dtype
        if value is None or value is ... or isinstance(value, plain):
            yield repr(value)
        elif isinstance(value, torch.Tensor):
            yield from self.pieces(value.detach().cpu().numpy())
        elif isinstance(value, np.ndarray | np.generic):
            yield f"{value.dtype} {value.shape}"
            yield np.ascontiguousarray(value).tobytes()
        elif isinstance(value, Mapping):
            for key in sorted(value, key=repr):
                yield repr(key)
                yield from self.pieces(value[key], strict=strict)
        elif isinstance(value, list | tuple):
            yield str(len(value))
            for entry in value:
                yield from self.pieces(entry, strict=strict)
        elif isinstance(value, set | frozenset):
            yield repr(sorted(map(repr, value)))
        elif is_dataclass(value) and not isinstance(value, type):
            for field in fields(value):
                yield field.name
                yield from self.pieces(getattr(value, field.name), strict=strict)
        elif isinstance(value, partial):
            yield from self.pieces((value.func, value.args, value.keywords), strict=strict)
        elif isinstance(value, types.MethodType):
            yield from self.pieces((value.__func__, value.__self__), strict=strict)
        elif isinstance(value, types.FunctionType):
            yield from self.of_function(value)
        elif isinstance(value, type):
            yield from self.of_class(value)
        elif isinstance(value, types.CodeType):
            yield value.co_code
            yield from self.pieces((value.co_consts, value.co_names))
        elif isinstance(value, types.BuiltinFunctionType | types.ModuleType):
            yield f"{getattr(value, '__module__', '')}.{value.__name__}"
        elif callable(getattr(value, "__wrapped__", None)):  # functools.cache
            yield from self.pieces(value.__wrapped__, strict=strict)
        elif isinstance(value, re.Pattern):
            yield value.pattern
        elif strict:
            raise ValueError(
                f"expected functions, records, arrays or numbers, got {type(value).__name__}: "
                "nobody can tell whether it changed since a result was stored; pass a function "
                "instead"
            )

    def of_function(self, value: types.FunctionType) -> Iterator[str | bytes]:
        yield value.__qualname__
        if not _is_followed(value.__module__):
            yield value.__module__
            return
        if id(value) in self.seen:  # it calls itself, or is named twice
            return
        self.seen.add(id(value))
        yield from self.pieces(self.source(value) or value.__code__)
        yield from self.pieces((value.__defaults__, value.__kwdefaults__))
        # What the course's own functions enclose and name is made by code that is followed, or
        # decides no number.
        strict = not value.__module__.startswith("coursekit.")
        for cell in value.__closure__ or ():
            yield from self.pieces(cell.cell_contents, strict=strict)
        names = sorted(set(_names(value.__code__)))
        for name in names:
            named = value.__globals__.get(name)
            if isinstance(named, types.ModuleType) and _is_followed(named.__name__):
                for attribute in names:
                    if hasattr(named, attribute):
                        yield f"{name}.{attribute}"
                        yield from self.pieces(getattr(named, attribute), strict=False)
            elif name in value.__globals__:
                yield name
                yield from self.pieces(named, strict=strict)

    def of_class(self, value: type) -> Iterator[str | bytes]:
        yield value.__qualname__
        if not _is_followed(value.__module__):
            yield value.__module__
            return
        if id(value) in self.seen:
            return
        self.seen.add(id(value))
        yield from self.pieces((self.source(value), value.__bases__), strict=False)
        for field in fields(value) if is_dataclass(value) else ():
            yield field.name
            yield from self.pieces((field.default, field.default_factory), strict=False)
        for name in sorted(set(vars(value)) - BY_THE_WAY):
            member = vars(value)[name]
            own = inspect.unwrap(member) if callable(member) else member
            code = getattr(own, "__code__", None)
            if is_dataclass(value) and name[:2] == "__" and code and code.co_filename == "<string>":
                continue  # written by Python from the fields
            if isinstance(member, staticmethod | classmethod):
                member = member.__func__
            elif isinstance(member, property | cached_property):
                member = [getattr(member, part, None) for part in ("fget", "fset", "func")]
            yield name
            yield from self.pieces(member, strict=False)

    def source(self, value: types.FunctionType | type) -> str | None:
        """The text, if wanted and known; of a lambda, that of its whole line."""
        if not self.text:
            return None
        try:
            text = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError, SyntaxError):  # not from a file, or made by a decorator
            return None
        return _without_comments(text)


def _rounded(value):
    """A real number, or an array of them, to twelve digits; anything else as it is."""
    if isinstance(value, float) and not isinstance(value, np.floating):
        return float(f"{value:.12g}")
    array = np.asarray(value)
    if array.dtype not in (np.float32, np.float64):
        return value
    rounded = np.reshape([float(f"{one:.12g}") for one in array.ravel()], array.shape)
    rounded = rounded.astype(array.dtype)
    return rounded if isinstance(value, np.ndarray) else rounded[()]


def _without_comments(text: str) -> str:
    """A source text without comments, docstrings and layout, but with its blocks.

    What stands in a block and what behind it are two programs, so INDENT and DEDENT count.
    """
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):  # the line of a lambda may be half a statement
        return "".join(re.sub(r"(^|\s)#.*", "", text).split())
    marks = {"INDENT": "\1", "DEDENT": "\2", "NEWLINE": "\n"}
    dropped = {"COMMENT", "NL", "ENCODING", "ENDMARKER"}
    lines, told, inside, start = text.splitlines(keepends=True), [], 0, (0, 0)
    for i, token in enumerate(tokens):
        kind = tokenize.tok_name[token.type]
        begins = not told or told[-1] in marks.values()
        alone = i + 1 < len(tokens) and tokens[i + 1].type == tokenize.NEWLINE
        if kind in ("FSTRING_START", "FSTRING_END"):
            # From Python 3.12 on an f-string comes in pieces; before, as one string.
            start = token.start if not inside else start
            inside += 1 if kind == "FSTRING_START" else -1
            if not inside:
                told.append(_between(lines, start, token.end))
        elif inside or kind in dropped or (begins and kind == "STRING" and alone):
            continue
        elif not (kind == "NEWLINE" and begins):  # the line of a docstring
            told.append(marks.get(kind, token.string))
    return "\0".join(told)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return "".join([lines[first - 1][left:], *lines[first : last - 1], lines[last - 1][:right]])


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_followed(module: str | None) -> bool:
    root, _, rest = (module or "").partition(".")
    if root == "coursekit":
        return rest.partition(".")[0] in FOLLOWED
    return not _is_library(root)


@cache
def _is_library(root: str) -> bool:
    """Whether a package is installed or Python's own, and so has a version."""
    if root == "__main__":
        return False
    file = getattr(sys.modules.get(root), "__file__", None)
    installed = file is None or "site-packages" in file or "dist-packages" in file
    return root in sys.stdlib_module_names or installed
