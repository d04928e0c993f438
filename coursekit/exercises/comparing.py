"""Compare replies with what was expected, and say the first thing that is wrong.

Works on plain arrays only, so it may run far from the answer: the grader compares outside the box.
"""

from typing import NamedTuple

import numpy as np

from coursekit.exercises.driving import REPEATABLE, Answer, Probe, Value

SIGMAS = 5.0  # with one repeat: a right answer fails less than once in 10**11 facts
TOLD = {"list": "tuple or list of numbers"}
CHANGED = "{} was changed; it is to stay as it was (work on a copy, or put it back)."
TWICE = {
    True: "called twice on the same inputs, it did not return the same twice.",
    False: "called twice on the same inputs, it returned the same; it is to be random.",
}
DRAWS = ("the draws", "the draws again")
FROZEN = "every call returned the same; it is to be random, and not seeded inside."


class Fact(NamedTuple):
    """A statistic of random draws.

    Attributes
    ----------
    name : str
        As in "the share of zeros".
    value, expected : float
    se : float
        Standard error of `value` if the answer is right; 0 for what must hold exactly.
    """

    name: str
    value: float
    expected: float
    se: float


def differ(exercise, probe: Probe, answer: Answer, expected: Answer) -> str:
    """Return one sentence on the first difference, or "" if there is none."""
    if answer.error:
        told = answer.error
        at = f" in {told['where']}" if told["where"] else ""
        return f"On {probe.name} it raised {told['type']}{at}: {told['message'].rstrip('.')}."
    for name, wanted in expected.values.items():
        finding = _unlike(name, _told(answer, name), wanted, exercise, probe)
        if finding:
            return f"On {probe.name}, {finding}"
    extra = sorted(set(answer.values) - set(expected.values))
    if extra:
        return f"On {probe.name}, it returned more than expected: {', '.join(extra)}."
    if not probe.draws:
        return ""
    if _frozen(answer) and not _frozen(expected):
        return f"On {probe.name}, {FROZEN}"
    return _improbable(exercise, probe, answer)


def _told(answer: Answer, name: str) -> Value:
    """Return a value; of a tuple that crossed in parts, what it held."""
    first = answer.values.get(f"{name}[0]")
    absent = Value(f"tuple with {first.kind} in it" if first else "None", None)
    return answer.values.get(name, absent)


def alike(exercise, probe: Probe, answer: Answer, other: Answer) -> bool:
    """Return whether two replies coincide: same error, same numbers, or same statistics."""
    if answer.error or other.error:
        return bool(answer.error and other.error) and _gist(answer.error) == _gist(other.error)
    if set(answer.values) != set(other.values):
        return False
    if probe.draws and exercise.facts and not _malformed(answer, other):
        if _frozen(answer) != _frozen(other):
            return False
        pairs = zip(_facts(exercise, probe, answer), _facts(exercise, probe, other), strict=True)
        return all(_near(a, b) for both in pairs for a, b in zip(*both, strict=True))
    if answer.values.get(REPEATABLE) != other.values.get(REPEATABLE):
        return False
    if _random(answer):
        return True
    return all(
        _same(value, other.values[name], exercise, probe) for name, value in answer.values.items()
    )


def _gist(error: dict[str, str]) -> tuple[str, str]:
    return error["type"], error["message"][:30]


def _random(answer: Answer) -> bool:
    told = answer.values.get(REPEATABLE)
    return told is not None and told.array is not None and not told.array.all()


def _near(a: Fact, b: Fact) -> bool:
    if np.isnan(a.value) or np.isnan(b.value):
        return bool(np.isnan(a.value) and np.isnan(b.value))
    # Two samples differ by sqrt(2) standard errors; under a slip they may spread more, hence twice.
    return abs(a.value - b.value) <= 2 * SIGMAS * a.se + 1e-6 * (1 + abs(a.value))


def _malformed(*answers: Answer) -> bool:
    values = [answer.values.get(name) for answer in answers for name in DRAWS]
    return any(v is None or v.kind != "Tensor" for v in values) or (
        len({v.array.shape for v in values}) > 1
    )


def _frozen(answer: Answer) -> bool:
    """Return whether all draws are one and the same."""
    first, again = (answer.values[name].array for name in DRAWS)
    return bool((first == first[:1]).all() and np.array_equal(first, again))


def _facts(exercise, probe: Probe, answer: Answer) -> list[list[Fact]]:
    return [exercise.facts(exercise.usual(probe), answer.values[name].array) for name in DRAWS]


def _improbable(exercise, probe: Probe, answer: Answer) -> str:
    """Return a sentence on a statistic that is off in both halves of the draws."""
    for first, second in zip(*_facts(exercise, probe, answer), strict=True):
        off = [not abs(f.value - f.expected) <= SIGMAS * f.se + 1e-5 for f in (first, second)]
        if all(off):
            n = probe.draws
            expected, got = (_number(v, first.name) for v in (first.expected, first.value))
            told = f"expected {expected}, got {got} over {n} calls"
            margin = f" (chance explains {SIGMAS * first.se:.2g})" if first.se else ""
            return f"On {probe.name}, {first.name}: {told}{margin}."
    return ""


def _number(value: float, name: str) -> str:
    words = {0: "no", 1: "yes"} if name.startswith("whether") else {}
    return words.get(value, f"{value:.4g}")


def _unlike(name: str, got: Value, wanted: Value, exercise, probe: Probe) -> str:
    if name.endswith(" afterwards") and got.array is not None and not got.array.all():
        return CHANGED.format(name.removesuffix(" afterwards"))
    if name == "the gradient" and got.kind == "None":
        return "the result has no gradient: something cut it off (detach, item, numpy, no_grad)."
    if not _kinds_agree(got.kind, wanted.kind):
        forgotten = "; is a return missing?" if got.kind == "None" else "."
        kinds = [TOLD.get(value.kind, value.kind) for value in (wanted, got)]
        return f"{name}: expected a {kinds[0]}, got {kinds[1]}{forgotten}"
    if got.array is None or wanted.array is None:
        return "" if got.array is wanted.array else f"{name}: expected numbers, got a {got.kind}."
    if wanted.kind == "True or False" and got.array != wanted.array:
        wish = bool(wanted.array)
        return TWICE[wish] if name == REPEATABLE else f"{name}: expected {wish}, got {not wish}."
    if wanted.kind == "text":
        return (
            ""
            if _text(got) == _text(wanted)
            else f"{name}: expected {_text(wanted)!r}, got {_text(got)!r}."
        )
    if got.array.shape != wanted.array.shape:
        return f"{name}: expected shape {_shape(wanted)}, got {_shape(got)}."
    if finding := _other_dtype(name, got, wanted, probe):
        return finding
    if name in DRAWS:
        finite = np.isfinite(got.array).all()
        return "" if finite else f"{name}: expected finite numbers, got NaN or infinity."
    return _off(name, got.array, wanted.array, _tolerance(exercise, probe))


def _kinds_agree(got: str, wanted: str) -> bool:
    # A Python number where a tensor of one number is expected would break later code; the
    # other way round, an array of shape () serves as a number.
    loose = {
        "number": {"Tensor", "ndarray"},
        "ndarray": {"list", "number"},
        "list": {"ndarray", "Tensor"},
    }
    return got == wanted or got in loose.get(wanted, ())


def _other_dtype(name: str, got: Value, wanted: Value, probe: Probe) -> str:
    """Return a sentence if a tensor's dtype is not that of its inputs."""
    given = {v.dtype for v in probe.inputs.values() if isinstance(v, np.ndarray)}
    floats = {d for d in given if d.kind == "f"}
    if wanted.kind != "Tensor" or wanted.array.dtype.kind != "f" or len(floats) != 1:
        return ""
    [dtype] = floats
    if got.array.dtype != dtype:
        return f"{name}: expected dtype {dtype} as in the input, got {got.array.dtype}."
    return ""


def _off(name: str, got: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    if got.size == 0:
        return ""
    if (np.isfinite(wanted) & ~np.isfinite(got)).any():
        return f"{name}: expected finite numbers, got NaN or infinity."
    wrong = ~_close(got, wanted, tolerance)
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at {list(place)}" if place else ""
    return f"{name}{where}: expected {wanted[place]:.6g}, got {got[place]:.6g}."


def _close(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = finite.max() if finite.size else 0.0
    return np.isclose(got, wanted, rtol=0, atol=tolerance * (scale + 1e-3), equal_nan=True)


def _same(a: Value, b: Value, exercise, probe: Probe) -> bool:
    if a.array is None or b.array is None:
        return a.kind == b.kind and a.array is b.array
    if a.array.shape != b.array.shape or (a.array.dtype.kind == "f") != (b.array.dtype.kind == "f"):
        return False
    one, two = np.asarray(a.array, float), np.asarray(b.array, float)
    return bool(_close(one, two, _tolerance(exercise, probe)).all())


def _tolerance(exercise, probe: Probe) -> float:
    if exercise.tolerance is not None:
        return exercise.tolerance
    arrays = [v for v in probe.inputs.values() if isinstance(v, np.ndarray)]
    return 1e-4 if any(v.dtype == np.float32 for v in arrays) else 1e-8


def _shape(value: Value) -> str:
    return str(value.array.shape)


def _text(value: Value) -> str:
    return value.array.astype(np.int32).tobytes().decode("utf-32-le", errors="replace")
