"""Messages between the grader and its sandbox: JSON and raw arrays, checked when read.

A frame is two lengths, a JSON header, and the bytes of its arrays. Neither zip nor the header of a
`.npy` is parsed: what a submission may have written goes through nothing but `json` and
`numpy.frombuffer`. (Safetensors would save two dozen lines, but it writes foreign memory for a
reversed view, knows no complex128, and reads 250,000 names before one can count them.)
"""

import json
import math
import struct
from collections.abc import Mapping

import numpy as np

PREFIX = struct.Struct(">II")  # bytes of the header, bytes of the arrays
LONGEST_HEADER = 256 * 1024
MOST_ARRAYS, MOST_AXES = 256, 16
KINDS = "? b B <h <H <i <I <q <Q <e <f <d <F <D"
DTYPES = frozenset(np.dtype(kind).str for kind in KINDS.split())
ARRAY, FLOAT = "an array of this frame", "a float that JSON has not"  # marks in a packed tree


class Garbage(ValueError):
    """Bytes that are no frame, or a frame that does not say what it must."""


def encode(
    header: Mapping[str, object],
    arrays: Mapping[str, np.ndarray] | None = None,
    most: int | None = None,
) -> bytes:
    """Make a frame.

    Parameters
    ----------
    header : dict
        JSON values; NaN and infinity are none.
    arrays : dict, optional
        Booleans and numbers of any shape.
    most : int, optional
        Bytes that the arrays may have. Given, the frame is also bound to what `pop` and `arrays`
        take besides.

    Raises
    ------
    Garbage
        If a value is none of these, or there are too many.
    """
    if most is not None and len(arrays or ()) > MOST_ARRAYS:
        raise Garbage(f"expected at most {MOST_ARRAYS} parts, got {len(arrays)}")
    parts, descriptions = [], []
    for name, value in (arrays or {}).items():
        array = np.asarray(value)
        array = np.ascontiguousarray(array).reshape(array.shape)  # it makes () to (1,)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        if array.dtype.str not in DTYPES:
            raise Garbage(f"{name}: expected an array of numbers, got dtype {array.dtype}")
        descriptions.append([str(name), array.dtype.str, list(array.shape)])
        parts.append(array.tobytes())
    try:
        text = json.dumps({**header, "arrays": descriptions}, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Garbage(f"expected JSON values, got {error}") from error
    body = b"".join(parts)
    if most is not None and len(body) > most:
        raise Garbage(f"expected at most {most / 1e6:.3g} MB of numbers, got {len(body) / 1e6:.3g}")
    if most is not None and len(text) > LONGEST_HEADER:
        raise Garbage(f"expected short names of its parts, got {len(text) / 1e3:.0f} kB of them")
    return PREFIX.pack(len(text), len(body)) + text + body


def pop(buffer: bytearray, most: int, longest: int = LONGEST_HEADER) -> list[tuple[dict, bytes]]:
    """Remove the complete frames from the front of a buffer.

    Parameters
    ----------
    buffer : bytearray
        What has arrived so far; an incomplete last frame stays in it.
    most : int
        Bytes that the arrays of a frame may have.
    longest : int, optional
        Bytes that its header may have.

    Returns
    -------
    list of (header, body)

    Raises
    ------
    Garbage
        If the next bytes are no frame. The frames before them are lost to nobody: call it often.
    """
    frames = []
    while len(buffer) >= PREFIX.size:
        head, body = PREFIX.unpack_from(buffer)
        if head > longest or body > most:
            if frames:
                break  # hand out the good ones first
            raise Garbage(f"expected a frame, got one of {head} + {body} bytes")
        end = PREFIX.size + head + body
        if len(buffer) < end:
            break
        try:
            header = _header(bytes(buffer[PREFIX.size : PREFIX.size + head]))
        except Garbage:
            if frames:
                break
            raise
        frames.append((header, bytes(buffer[PREFIX.size + head : end])))
        del buffer[:end]
    return frames


def _header(text: bytes) -> dict:
    try:
        header = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Garbage(f"expected JSON, got {str(error)[:80]}") from error
    if not isinstance(header, dict):
        raise Garbage(f"expected a JSON object, got {type(header).__name__}")
    return header


def _refuse(name: str) -> None:
    raise ValueError(f"{name}, which is not JSON")


def arrays(
    header: Mapping[str, object], body: bytes, most: int = MOST_ARRAYS
) -> dict[str, np.ndarray]:
    """Return the arrays of a frame, at `most` so many.

    Raises
    ------
    Garbage
        If names, types, shapes and the number of bytes do not fit together.
    """
    entries = header.get("arrays")
    if not isinstance(entries, list) or len(entries) > most:
        raise Garbage("expected a list of arrays")
    result, start = {}, 0
    for entry in entries:
        name, dtype, shape = _described(entry)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name in result or size > len(body) - start:
            raise Garbage(f"array {name!r} is there twice, or its bytes are missing")
        values = np.frombuffer(body[start : start + size], dtype=dtype)
        try:
            result[name] = values.reshape(shape).copy()
        except ValueError as error:  # no bytes, and too large: (0, 2**31 - 1, ...)
            raise Garbage(f"{name!r}: {error}") from error
        start += size
    if start != len(body):
        raise Garbage(f"{len(body) - start} bytes belong to no array")
    return result


def _described(entry: object) -> tuple[str, str, tuple[int, ...]]:
    if not isinstance(entry, list) or len(entry) != 3:
        raise Garbage("expected name, dtype and shape of an array")
    name, dtype, shape = entry
    if not isinstance(name, str) or len(name) > 200:
        raise Garbage("expected the name of an array")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise Garbage(f"{name!r}: expected numbers, got dtype {str(dtype)[:40]!r}")
    if not isinstance(shape, list) or len(shape) > MOST_AXES:
        raise Garbage(f"{name!r}: expected a shape")
    if not all(type(n) is int and 0 <= n < 2**31 for n in shape):  # True is no length
        raise Garbage(f"{name!r}: expected a shape, got {str(shape)[:80]}")
    return name, dtype, tuple(shape)


def pack(tree: object, into: dict[str, np.ndarray]) -> object:
    """Copy a tree of lists and dicts with its arrays put `into` a dict, fit for `encode`."""
    if isinstance(tree, np.ndarray):
        into[f"{len(into)}"] = tree
        return {ARRAY: f"{len(into) - 1}"}
    if isinstance(tree, Mapping):
        return {str(key): pack(value, into) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [pack(value, into) for value in tree]
    if isinstance(tree, np.generic):
        tree = tree.item()
    if isinstance(tree, float) and not math.isfinite(tree):
        return {FLOAT: str(tree)}
    return tree


def unpack(tree: object, values: Mapping[str, np.ndarray]) -> object:
    """Undo `pack`."""
    if isinstance(tree, dict) and set(tree) == {ARRAY}:
        return values[tree[ARRAY]]
    if isinstance(tree, dict) and set(tree) == {FLOAT}:
        return float(tree[FLOAT])
    if isinstance(tree, dict):
        return {key: unpack(value, values) for key, value in tree.items()}
    if isinstance(tree, list):
        return [unpack(value, values) for value in tree]
    return tree
