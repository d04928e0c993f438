"""Call an answer on plain inputs and turn what it returns into plain arrays.

This half of a check runs where the answer runs: in the learner's kernel, or in the grader's box.
The other half, `comparing`, sees nothing but arrays.
"""

import copy
import linecache
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import torch

MAX_MESSAGE = 200
REPEATABLE = "repeatable"


@dataclass(frozen=True)
class Probe:
    """One question to an answer.

    Attributes
    ----------
    name : str
        What a sentence calls it: "a batch of shape (3, 5)".
    inputs : dict
        By argument: NumPy arrays, numbers, strings, None, and lists of these.
    gradient : str or None
        The input by which the result is to be differentiated as well.
    draws : int
        For a random answer: it is called this often, twice over with two seeds. 0 means once.
    seed : int
        Of the draws.
    """

    name: str
    inputs: Mapping[str, object]
    gradient: str | None = None
    draws: int = 0
    seed: int = 0


class Value(NamedTuple):
    """Something returned: its kind ("Tensor", "number", "ndarray", "None" ...) and its numbers.

    The array is None for what has no numbers.
    """

    kind: str
    array: np.ndarray | None


@dataclass(frozen=True)
class Answer:
    """What became of one probe: values by name, or the error that the answer raised.

    Attributes
    ----------
    values : dict
        Name to Value: "the result", "the gradient", "x afterwards" ...
    error : dict or None
        "type", "message" and "where" of an exception, all strings.
    """

    values: dict[str, Value] = field(default_factory=dict)
    error: dict[str, str] | None = None


Driver = Callable[..., Mapping[str, object]]


def call(answer: Callable, *, arrays: str, driver: Driver | None, probe: Probe) -> Answer:
    """Put a probe to an answer; whatever the answer raises becomes part of the reply.

    Parameters
    ----------
    answer : callable
        Function or class.
    arrays : {"torch", "numpy"}
        As what it gets array inputs.
    driver : callable or None
        `driver(answer, **inputs)` returns named values where one call is not enough.
    probe : Probe

    Returns
    -------
    Answer
    """
    given = {name: _native(value, arrays) for name, value in probe.inputs.items()}
    try:
        if driver is not None:
            _seed(probe.seed)
            found = dict(driver(answer, **given))
        elif probe.draws:
            found = _drawn(answer, given, probe)
        else:
            found = _called(answer, given, probe)
        return Answer({name: plain(value) for name, value in _flat(found)})
    except BaseException as error:  # sys.exit in an answer must not end the learner's kernel
        if isinstance(error, KeyboardInterrupt):
            raise
        return Answer(error=_told(error))


def kit(exercises: Mapping[str, object]) -> bytes:
    """Return what puts probes to answers, pickled: drivers, and nothing that knows an answer.

    Unpickled, it is a function (name, answer, inputs of a Probe) to an Answer that needs no module
    of the exercises. References, solutions and expected values are no part of it.

    Parameters
    ----------
    exercises : dict
        Name to Exercise.
    """
    import sys

    import cloudpickle

    folder = __name__.rpartition(".")[0]
    own = [module for name, module in sys.modules.items() if name.startswith(f"{folder}.")]
    drivers = {name: (one.arrays, one.driver) for name, one in exercises.items()}

    def ask(name: str, answer: object, inputs: dict) -> Answer:
        arrays, driver = drivers[name]
        return call(answer, arrays=arrays, driver=driver, probe=Probe(**inputs))

    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(ask)
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def plain(value: object) -> Value:
    """Turn a value into its kind and a NumPy array, if it has numbers."""
    if isinstance(value, torch.Tensor):
        return _of_tensor(value.detach())
    if isinstance(value, np.ndarray):
        return Value("ndarray", _double(value) if value.dtype.kind in "biuf" else None)
    if isinstance(value, bool | np.bool_):
        return Value("True or False", np.asarray(bool(value)))
    if isinstance(value, int | float | np.integer | np.floating):
        return _of_number(value)
    if isinstance(value, list | tuple):
        return _sequence(value)
    if isinstance(value, str):
        # Text crosses as its character codes, so that it stays an array of plain numbers.
        codes = value[:1000].encode("utf-32-le", errors="replace")
        return Value("text", np.frombuffer(codes, dtype=np.int32).copy())
    return Value(type(value).__name__.replace("NoneType", "None"), None)


def _of_tensor(value: torch.Tensor) -> Value:
    if value.layout != torch.strided or value.is_meta:
        where = "meta" if value.is_meta else str(value.layout).removeprefix("torch.")
        return Value(f"Tensor ({where})", None)
    if value.dtype.is_floating_point and not hasattr(np, _name(value.dtype)):
        return Value(f"Tensor of dtype {_name(value.dtype)}", None)
    return Value("Tensor", value.cpu().resolve_conj().resolve_neg().numpy().copy())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _double(value: np.ndarray) -> np.ndarray:
    """Return a copy; of longer floats, which only some machines have, in float64."""
    return np.array(value, dtype=float if value.dtype.itemsize > 8 else None)


def _of_number(value: float | np.number) -> Value:
    array = np.asarray(value)
    if array.dtype.kind != "O":
        return Value("number", _double(array))
    try:
        return Value("number", np.asarray(float(value)))  # a whole number beyond 64 bits
    except OverflowError:
        return Value("number beyond float64", None)


def _sequence(values: list | tuple) -> Value:
    items = [plain(value) for value in values]
    shapes = {item.array.shape if item.array is not None else None for item in items}
    if None in shapes or len(shapes) > 1:
        return Value("list", None)
    return Value("list", np.stack([item.array for item in items]) if items else np.zeros(0))


def _native(value: object, arrays: str) -> object:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy()) if arrays == "torch" else value.copy()
    return value


def _called(answer: Callable, given: dict, probe: Probe) -> dict[str, object]:
    before = {k: plain(v) for k, v in given.items() if isinstance(v, torch.Tensor | np.ndarray)}
    spare = {k: _copied(v) for k, v in given.items()}
    if probe.gradient:
        given[probe.gradient].requires_grad_()
    _seed(probe.seed)
    result = answer(*given.values())  # by position: names are the learner's
    found = {"the result": result}
    if probe.gradient and isinstance(result, torch.Tensor) and result.requires_grad:
        # Unequal weights: a plain sum would forgive many wrong gradients.
        pull = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).reshape(result.shape)
        (result * pull).sum().backward()
        grad = given[probe.gradient].grad
        found["the gradient"] = torch.zeros_like(given[probe.gradient]) if grad is None else grad
    elif probe.gradient:
        found["the gradient"] = None
    for name, old in before.items():
        now = plain(given[name]).array
        found[f"{name} afterwards"] = bool(np.array_equal(old.array, now, equal_nan=True))
    _seed(probe.seed + 1)
    first, second = plain(result).array, plain(answer(*spare.values())).array
    found[REPEATABLE] = first is None or np.array_equal(first, second, equal_nan=True)
    return found


def _copied(value: object) -> object:
    return value.clone() if isinstance(value, torch.Tensor) else copy.copy(value)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - an answer may use the global generator


def _drawn(answer: Callable, given: dict, probe: Probe) -> dict[str, object]:
    found = {}
    for name, seed in (("the draws", probe.seed), ("the draws again", probe.seed + 1)):
        _seed(seed)
        results = [answer(*given.values()) for _ in range(probe.draws)]
        same = all(isinstance(r, torch.Tensor) for r in results)
        found[name] = torch.stack([r.detach() for r in results]) if same else results[0]
    return found


def _flat(found: Mapping[str, object]):
    for name, value in found.items():
        several = isinstance(value, tuple) and any(not np.isscalar(item) for item in value)
        if isinstance(value, dict):
            yield from ((f"{name}[{key!r}]", item) for key, item in value.items())
        elif several:
            yield from ((f"{name}[{i}]", item) for i, item in enumerate(value))
        else:
            yield name, value


def _told(error: BaseException) -> dict[str, str]:
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if "ipykernel" in frame.filename or frame.filename.startswith("<"):
            line = frame.line or linecache.getline(frame.filename, frame.lineno or 0)
            where = f"line {frame.lineno}" + (f", `{line.strip()}`" if line.strip() else "")
    message = str(error)[:MAX_MESSAGE]
    if isinstance(error, NotImplementedError) and not message:
        # A bare one is how a stub says that nothing was written yet; a library's own is told.
        *_, last = traceback.extract_tb(error.__traceback__)
        parts = PurePath(last.filename).parts
        library = {"site-packages", "dist-packages"} & set(parts)
        message = f"raised by {parts[-1]}" if library else ""
    return {"type": type(error).__name__, "message": message, "where": where}
