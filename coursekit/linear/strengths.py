"""Strengths of penalties: what one library calls 0.1, in the words of another."""

from coursekit.datasets.values import number

__all__ = ["CONVENTIONS", "convert"]

# name: (penalty, the lambda of "MSE + lambda * penalty" that a setting of 1 stands for)
CONVENTIONS = {
    "MSE + lambda ||w||^2": ("l2", lambda n: 1),
    "MSE + lambda/2 ||w||^2": ("l2", lambda n: 1 / 2),
    "sklearn Ridge alpha": ("l2", lambda n: 1 / n),  # SSE + alpha ||w||^2
    "torch weight_decay": ("l2", lambda n: 1 / 2),  # SGD on nn.MSELoss: adds decay * w to the slope
    "keras L2": ("l2", lambda n: 1),  # adds factor * ||w||^2 to the mean squared error
    "MSE + lambda ||w||_1": ("l1", lambda n: 1),
    "sklearn Lasso alpha": ("l1", lambda n: 2),  # SSE / (2 n) + alpha ||w||_1
    "keras L1": ("l1", lambda n: 1),
}


def convert(value: float, source: str, target: str, n: int) -> float:
    """Translate a penalty strength between libraries, so that both objectives share their minimum.

    Each convention is first read as the lambda of "MSE + lambda * penalty", where MSE is the mean
    over the N examples of a single output. In torch the bias must be kept out of the decay, and
    the optimizer must be SGD: Adam rescales the penalty's slope, and AdamW does not use it.

    Parameters
    ----------
    value : float >= 0
        Strength in the convention `source`.
    source, target : str
        Names in `CONVENTIONS`; both must penalize the same norm.
    n : int >= 1
        Number of training examples. Asked for even where it cancels: only `Ridge` needs it, and
        forgetting it there is the classic slip.

    Raises
    ------
    ValueError
        If a name is unknown, the norms differ, or a number is out of range.

    Examples
    --------
    >>> from coursekit.linear import strengths
    >>> strengths.convert(0.1, "MSE + lambda ||w||^2", "sklearn Ridge alpha", n=100)
    10.0
    >>> strengths.convert(0.1, "MSE + lambda ||w||^2", "torch weight_decay", n=100)
    0.2
    """
    value = float(number("value", value, "[0, inf)", "0 for no penalty"))
    n = number("n", n, "[1, inf)", "len(x_train)", whole=True)
    for name in (source, target):
        if not isinstance(name, str) or name not in CONVENTIONS:
            known = ", ".join(CONVENTIONS)
            raise ValueError(f"expected a convention, got {name!r}; try one of {known}")
    (norm, source_lambda), (target_norm, target_lambda) = CONVENTIONS[source], CONVENTIONS[target]
    if norm != target_norm:
        raise ValueError(
            f"expected two conventions of one norm, got {source!r} ({norm}) and {target!r} "
            f"({target_norm}); no strength makes L1 and L2 agree"
        )
    return float(value * source_lambda(n) / target_lambda(n))
