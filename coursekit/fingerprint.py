"""A short name for a computation: equal for equal settings and code, in any process.

A stored result may be used again only if what made it is unchanged, functions included.
"""

import hashlib
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial

import numpy as np
import torch


def fingerprint(*values: object) -> str:
    """Return 16 hexadecimal digits that depend on all the values.

    Numbers, text, arrays, tensors, containers and records count by content. A function counts by
    its code, its defaults, what it encloses, and the global values and functions that it names;
    an imported module by its name, and so does a class, but for one that a notebook defines.

    Raises
    ------
    ValueError
        If nobody can tell whether a value is the same as the last time.
    """
    digest = hashlib.sha256()
    for piece in _pieces(values, set()):
        digest.update(piece.encode() if isinstance(piece, str) else piece)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _pieces(value: object, seen: set[int]) -> Iterator[str | bytes]:
    yield type(value).__qualname__
    if value is None or isinstance(value, bool | int | float | str | bytes | range | torch.device):
        yield repr(value)
    elif isinstance(value, torch.Tensor):
        yield from _pieces(value.detach().cpu().numpy(), seen)
    elif isinstance(value, np.ndarray | np.generic):
        yield f"{value.dtype} {value.shape}"
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield repr(key)
            yield from _pieces(value[key], seen)
    elif isinstance(value, list | tuple):
        yield str(len(value))
        for entry in value:
            yield from _pieces(entry, seen)
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value)))
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield field.name
            yield from _pieces(getattr(value, field.name), seen)
    elif isinstance(value, partial):
        yield from _pieces((value.func, value.args, value.keywords), seen)
    elif isinstance(value, types.MethodType):
        yield from _pieces((value.__func__, value.__self__), seen)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, types.CodeType):
        yield value.co_code
        yield from _pieces((value.co_consts, value.co_names), seen)
    elif isinstance(value, type | types.BuiltinFunctionType | types.ModuleType):
        yield f"{getattr(value, '__module__', '')}.{value.__name__}"
        if getattr(value, "__module__", "") == "__main__":  # a class written in the notebook
            methods = {k: f for k, f in vars(value).items() if isinstance(f, types.FunctionType)}
            yield from _pieces(methods, seen)
    else:
        raise ValueError(
            f"expected functions, records, arrays or numbers, got {type(value).__name__}: nobody "
            "can tell whether it changed since a result was stored; pass a function instead"
        )


def _function(value: types.FunctionType, seen: set[int]) -> Iterator[str | bytes]:
    yield value.__qualname__
    if id(value) in seen:  # it calls itself
        return
    seen.add(id(value))
    yield from _pieces(value.__code__, seen)
    yield from _pieces((value.__defaults__, value.__kwdefaults__), seen)
    for cell in value.__closure__ or ():
        yield from _pieces(cell.cell_contents, seen)
    for name in _names(value.__code__):
        if name in value.__globals__:
            yield name
            yield from _pieces(value.__globals__[name], seen)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
