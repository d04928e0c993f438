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
ALIKE = "all {} calls returned the same: nothing in it is random, or a seed is set in it."
DRAWS = ("the draws", "the draws again")
# A value of this name is a sentence by itself, made where the answer ran; "" is right.
FINDING = "the finding"


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
        more = f" and {len(extra) - 3} more" if len(extra) > 3 else ""
        return f"On {probe.name}, it returned more than expected: {', '.join(extra[:3])}{more}."
    if probe.draws and _constant(answer) and not _constant(expected):
        return f"On {probe.name}, {ALIKE.format(probe.draws)}"
    return _improbable(exercise, probe, answer) if probe.draws else ""


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
        if _constant(answer) != _constant(other):
            return False
        pairs = zip(_facts(exercise, probe, answer), _facts(exercise, probe, other), strict=True)
        return all(_near(a, b) for both in pairs for a, b in zip(*both, strict=True))
    if answer.values.get(REPEATABLE) != other.values.get(REPEATABLE):
        return False
    if _random(answer):
        return all(_zeros_alike(value, other.values[name]) for name, value in answer.values.items())
    return all(
        _same(value, other.values[name], exercise, probe) for name, value in answer.values.items()
    )


def equal(a: Value | None, b: Value | None) -> bool:
    """Return whether two values are the same text or the same numbers, exactly."""
    if a is None or b is None or a.array is None or b.array is None:
        return False
    return a.kind == b.kind and bool(np.array_equal(a.array, b.array))


def _gist(error: dict[str, str]) -> tuple[str, str]:
    return error["type"], error["message"][:30]


def _random(answer: Answer) -> bool:
    told = answer.values.get(REPEATABLE)
    return told is not None and told.array is not None and not told.array.all()


def _zeros_alike(a: Value, b: Value) -> bool:
    """Return whether two results of chance could be one: what drops is not what adds noise."""
    if a.array is None or b.array is None:
        return a.kind == b.kind
    return a.array.shape == b.array.shape and bool(
        abs((a.array == 0).mean() - (b.array == 0).mean()) <= 0.5
    )


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


def _facts(exercise, probe: Probe, answer: Answer) -> list[list[Fact]]:
    return [exercise.facts(exercise.usual(probe), answer.values[name].array) for name in DRAWS]


def _constant(answer: Answer) -> bool:
    """Return whether every call of a series gave the same."""
    series = [answer.values[name].array for name in DRAWS]
    return all(bool((draws == draws[:1]).all()) for draws in series)


def _improbable(exercise, probe: Probe, answer: Answer) -> str:
    """Return a sentence on a statistic that is off in both halves of the draws."""
    for first, second in zip(*_facts(exercise, probe, answer), strict=True):
        off = [not abs(f.value - f.expected) <= SIGMAS * f.se + 1e-5 for f in (first, second)]
        if all(off):
            told = f"{_told_apart(first)} over {probe.draws} calls"
            margin = f" (chance explains {SIGMAS * first.se:.2g})" if first.se else ""
            return f"On {probe.name}, {first.name}: {told}{margin}."
    return ""


def _told_apart(fact: Fact) -> str:
    if fact.name.startswith("whether") and {fact.expected, fact.value} <= {0, 1}:
        return "expected yes, got no" if fact.expected else "expected no, got yes"
    return expected_got(fact.expected, fact.value, digits=4)


def expected_got(expected: float, got: float, digits: int = 6) -> str:
    """Return "expected ..., got ..." with so many digits, or as many as tell the two apart."""
    for n in range(digits, 18):
        told = f"{expected:.{n}g}", f"{got:.{n}g}"
        if told[0] != told[1]:
            break
    return f"expected {told[0]}, got {told[1]}"


def _unlike(name: str, got: Value, wanted: Value, exercise, probe: Probe) -> str:
    if name.endswith(" afterwards") and got.array is not None and not got.array.all():
        return CHANGED.format(name.removesuffix(" afterwards"))
    if name == FINDING and got.kind == wanted.kind == "text" and _text(got):
        return _text(got)
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
    if got.array.dtype.kind == "c":
        return f"{name}: expected real numbers, got complex ones."
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
    return f"{name}{where}: {expected_got(wanted[place], got[place])}."


def _close(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = finite.max() if finite.size else 0.0
    return np.isclose(got, wanted, rtol=0, atol=tolerance * (scale + 1e-3), equal_nan=True)


def _same(a: Value, b: Value, exercise, probe: Probe) -> bool:
    if a.array is None or b.array is None:
        return a.kind == b.kind and a.array is b.array
    kinds = {a.array.dtype.kind, b.array.dtype.kind}
    if a.array.shape != b.array.shape or ("f" in kinds and len(kinds) > 1) or "c" in kinds:
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
