"""Values from a user: numbers, arrays and tensors as the course takes them, or one sentence.

What means the same in another form is converted: bfloat16, a list of numbers, a tensor that carries
gradients or lies on a GPU. What could mean something else is refused by a ValueError that says what
was expected, what came, and what to try. Only shapes and types are looked at where values cannot be
read without waiting for a GPU. Nothing here imports torch by itself: intervals need none.
"""

import math
import numbers
import re
from functools import cache

import numpy as np


def expect(holds: bool, expected: str, got: object, advice: str) -> None:
    """Raise ValueError with what was expected, what came and what to try, unless it `holds`."""
    if not holds:
        raise ValueError(f"expected {expected}, got {got}; try {advice}")


def choose(what: str, value: str, known) -> None:
    """Raise ValueError if `value` is not among `known`."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"unknown {what} {value!r}; expected one of {', '.join(known)}")


def number(
    name: str, value, interval: str = "(-inf, inf)", advice: str = "", *, whole: bool = False
):
    """Return a number, or a tensor of one, if it lies in an interval; else ValueError.

    A whole number comes back as an int: 3.0 will do where 3 is meant.

    Parameters
    ----------
    name : str
    value : number, or tensor of one number
        A tensor may stand for one number per network under `torch.func.vmap`.
    interval : str
        As in "[0, 1)"; the sentence shows it, too.
    advice : str
        What to try; by default the lower end of the interval.
    whole : bool
        Whether it has to be a whole number.
    """
    kind = "a whole number" if whole else "a number"
    advice = advice or f"{name}={_ends(interval)[0]:g}".replace("-inf", "0")
    if hasattr(value, "numel"):
        fits, got = value.numel() == 1, f"a tensor of shape {tuple(value.shape)}"
    else:
        fits, got = isinstance(value, numbers.Real), f"{type(value).__name__} {str(value)[:60]!r}"
    expect(fits, f"{kind} {name}", got, advice)
    inside(name, value, interval, advice, whole=whole)
    return int(value) if whole and not hasattr(value, "numel") else value


def inside(
    name: str, value, interval: str, advice: str, *, whole: bool = False, slack: float = 0.0
):
    """Return a number or tensor unless what can be read of it lies outside of an interval.

    Arguments as in `number`; `slack` is allowed for rounding.
    """
    known = readable(value) if hasattr(value, "numel") else value
    if known is None:
        return value
    low, high, closed_low, closed_high = _ends(interval)
    if known is value:
        least = most = value
    else:
        least, most = (end.item() for end in known.aminmax())
    fits = (low - slack <= least if closed_low else low < least) and (
        most <= high + slack if closed_high else most < high
    )
    if whole and fits:
        fits = float(value).is_integer() if known is value else bool((known == known.floor()).all())
    got = least if least == most else f"{least:.4g} to {most:.4g}"
    expect(fits, _range(name, interval, whole), got, advice)
    return value


@cache
def _ends(interval: str) -> tuple[float, float, bool, bool]:
    left, low, high, right = re.fullmatch(r"([\[(])(.+), (.+)([\])])", interval).groups()
    return float(low), float(high), left == "[", right == "]"


def _range(name: str, interval: str, whole: bool) -> str:
    low, high, closed_low, _ = _ends(interval)
    kind = f"{name}, a whole number" if whole else name
    if high < math.inf:
        return f"{kind} in {interval}"
    kind = kind if whole else f"a finite {name}"
    return kind + (f" {'>=' if closed_low else '>'} {low:g}" if low > -high else "")


def readable(t):
    """The numbers of a tensor where reading them waits for nothing, or None.

    Under `torch.func.vmap` these are the numbers of all networks. A recorded or compiled step, and
    a GPU, which would have to be waited for in each step, give None.
    """
    import torch
    from torch._C import _functorch as functorch

    if torch.compiler.is_compiling():
        return None
    while functorch.is_functorch_wrapped_tensor(t):
        t = functorch.get_unwrapped(t)
    plain = type(t) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    return t.detach() if plain and t.device.type == "cpu" and t.numel() else None


def tensor(name: str, t, *, axes: str = "(...)", floats: bool = True):
    """Return `t` if it is a tensor with these axes, and of floats if asked for; else ValueError.

    `axes` is as in "(B, C)", where "..." stands for any number of axes.
    """
    import torch

    short = name.split()[-1]  # of "images x", the argument
    if not isinstance(t, torch.Tensor):
        what, advice = f"{name} as a tensor {axes}", f"torch.as_tensor({short})"
        raise ValueError(f"expected {what}, got {type(t).__name__}; try {advice}")
    open_end = "..." in axes
    n = axes.count(",") + 1 - axes.endswith(",)") - open_end
    if not (t.ndim >= n if open_end else t.ndim == n):
        advice = f"{short}[None] for a single one" if t.ndim == n - 1 else f"{short}.reshape"
        raise ValueError(f"expected {name} {axes}, got shape {tuple(t.shape)}; try {advice}")
    if floats and not t.is_floating_point():
        advice = f"{short}.float()" + (" / 255" if t.dtype == torch.uint8 else "")
        raise ValueError(f"expected {name} of floats, got {t.dtype}; try {advice}")
    return t


def floats(name: str, values) -> np.ndarray:
    """Numbers of any kind as a float64 array; ValueError if they are none, or have no one shape.

    Tensors are read wherever they lie, also those with gradients, of bfloat16, or sparse.
    """
    return array(name, values).astype(np.float64, copy=False)


def array(name: str, values) -> np.ndarray:
    """The same, with whole numbers as they are."""
    try:
        found = _array(values)
    except (TypeError, ValueError, RuntimeError) as error:
        got, reason = type(values).__name__, " ".join(str(error).split())[:120]
        raise ValueError(
            f"expected {name} of numbers in one regular shape, got {got} ({reason}); "
            f"try np.array({name}, float)"
        ) from error
    if found.dtype.kind not in "biuf":
        got = "text" if found.dtype.kind in "US" else str(found.dtype)
        advice = f"{name}.real" if found.dtype.kind == "c" else f"np.array({name}).astype(float)"
        raise ValueError(f"expected {name} of real numbers, got {got}; try {advice}")
    return found


def _array(values) -> np.ndarray:
    if hasattr(values, "detach"):  # numpy reads neither gradients, GPUs, bfloat16 nor sparse ones
        values = values.detach().cpu()
        values = values.to_dense() if "sparse" in str(values.layout) else values
        return (values.double() if values.is_floating_point() else values).numpy()
    if isinstance(values, list | tuple) and any(hasattr(v, "detach") for v in values):
        values = [_array(v) for v in values]
    elif hasattr(values, "toarray"):  # scipy's sparse matrices
        values = values.toarray()
    found = np.asarray(values)
    if found.dtype == object and not any(isinstance(v, str) for v in found.flat):
        found = found.astype(np.float64)  # such as Decimal, or None, which is a NaN
    return found.astype(np.float64) if found.dtype == np.float16 else found
