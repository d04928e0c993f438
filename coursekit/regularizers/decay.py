"""Weight decay inside optimizers: one step by hand, who gets decay, and how much.

Added to the gradient, a decay is the slope of the L2 penalty `weight_decay / 2 * ||w||^2`, and goes
through whatever the optimizer does to gradients. *Decoupled*, it shrinks the weight directly:
`w * (1 - lr * weight_decay)`. Without momentum and rescaling, and only then, both are one.

The steps work entry by entry, on tensors of any shape, also under `torch.func.vmap`. Axes: G
settings, K repetitions (folds or seeds).
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from coursekit.datasets.values import expect, floats, number, tensor

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Moments(NamedTuple):
    """What Adam remembers after `steps` steps: means of the gradients and of their squares.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import decay
    >>> decay.Moments(mean=torch.zeros(2), square=torch.zeros(2), steps=0)
    Moments(mean=tensor([0., 0.]), square=tensor([0., 0.]), steps=0)
    """

    mean: Tensor  # shaped like the weights
    square: Tensor
    steps: int = 0


def no_moments(w: Tensor) -> Moments:
    """Return the moments before the first step.

    Raises
    ------
    ValueError
        If `w` is no tensor of floats.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import decay
    >>> decay.no_moments(torch.ones(2)).mean
    tensor([0., 0.])
    """
    tensor("w", w)
    return Moments(torch.zeros_like(w), torch.zeros_like(w))


def sgd_step(
    w: Tensor,
    gradient: Tensor,
    velocity: Tensor | None = None,
    *,
    lr: float | Tensor,
    momentum: float | Tensor = 0.0,
    weight_decay: float | Tensor = 0.0,
    decoupled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Take one step of gradient descent with weight decay.

    Added to the gradient, the decay enters the velocity too, and a constant pull is summed up to
    `1 / (1 - momentum)` times its size. Without momentum, `decoupled` makes no difference.

    Parameters
    ----------
    w, gradient : (...) float tensor
        Weights, and the slope of the loss *without* any penalty.
    velocity : (...) float tensor, optional
        As the last step returned it; None before the first.
    lr, momentum, weight_decay : float or scalar tensor, at least 0
    decoupled : bool
        False is `torch.optim.SGD`; True is SGDW, and `weight_decay` of Keras' SGD.

    Returns
    -------
    two (...) float tensors: the weights and the velocity

    Raises
    ------
    ValueError
        If shapes differ, it is no tensor of floats, or a number is out of range.

    References
    ----------
    Hanson and Pratt, "Comparing biases for minimal network construction with back-propagation",
    NIPS 1, 1988. Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import decay
    >>> w, gradient = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.0])
    >>> w, velocity = decay.sgd_step(w, gradient, lr=0.1, weight_decay=0.5)
    >>> w
    tensor([ 0.9000, -1.9000])
    """
    _require(w, gradient, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if velocity is not None:
        _require(w, velocity)
    pull = gradient if decoupled else gradient + weight_decay * w
    velocity = pull if velocity is None else momentum * velocity + pull
    kept = 1 - lr * weight_decay if decoupled else 1
    return kept * w - lr * velocity, velocity


def adam_step(
    w: Tensor,
    gradient: Tensor,
    moments: Moments,
    *,
    lr: float | Tensor,
    weight_decay: float | Tensor = 0.0,
    decoupled: bool,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, Moments]:
    """Take one step of Adam with weight decay, in the gradient or decoupled from it.

    Adam divides by the typical size of the gradient. A decay that is part of the gradient is
    divided too: a weight with large gradients hardly decays, one with small gradients decays
    fast. Decoupled, every weight is multiplied by the same `1 - lr * weight_decay`.

    Parameters
    ----------
    w, gradient : (...) float tensor
        Weights, and the slope of the loss *without* any penalty.
    moments : Moments
        As the last step returned them; `no_moments(w)` before the first.
    lr, weight_decay : float or scalar tensor, at least 0
    decoupled : bool
        False is `torch.optim.Adam`, True is `torch.optim.AdamW` (and both Adam and AdamW of Keras).
    betas, eps
        As in PyTorch.

    Returns
    -------
    (...) float tensor, Moments

    Raises
    ------
    ValueError
        If shapes differ, it is no tensor of floats, or a number is out of range.

    References
    ----------
    Kingma and Ba, "Adam", ICLR 2015. Loshchilov and Hutter, "Decoupled weight decay
    regularization", ICLR 2019: the decay there is `lr * weight_decay` here.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import decay
    >>> w, gradient = torch.tensor([1.0, 1.0]), torch.tensor([10.0, 0.1])
    >>> new, moments = decay.adam_step(w, gradient, decay.no_moments(w), lr=0.1, decoupled=True)
    >>> new  # each weight moves by lr, however large its gradient
    tensor([0.9000, 0.9000])
    """
    _require(w, gradient, lr=lr, weight_decay=weight_decay, eps=eps)
    got, first = type(moments).__name__, "no_moments(w) for the first step"
    expect(isinstance(moments, Moments), "moments as the last step returned them", got, first)
    _require(w, moments.mean)
    _require(w, moments.square)
    two = isinstance(betas, Sequence) and len(betas) == 2
    expect(two, "two betas", betas, "betas=(0.9, 0.999)")
    for beta in betas:
        number("each beta", beta, "[0, 1)", "betas=(0.9, 0.999)")
    if not decoupled:
        gradient = gradient + weight_decay * w
    steps = moments.steps + 1
    mean = betas[0] * moments.mean + (1 - betas[0]) * gradient
    square = betas[1] * moments.square + (1 - betas[1]) * gradient.square()
    # Both means started at 0; the divisions take that out.
    size = (square / (1 - betas[1] ** steps)).sqrt()
    move = mean / (1 - betas[0] ** steps) / (size + eps)
    kept = 1 - lr * weight_decay if decoupled else 1
    return kept * w - lr * move, Moments(mean, square, steps)


def param_groups(
    module: nn.Module,
    weight_decay: float,
    *,
    embeddings: bool = True,
    exceptions: Mapping[str, float] | None = None,
) -> list[dict[str, object]]:
    """Sort the parameters of a network into those with weight decay and those without.

    Without: biases and other vectors, all that a normalization layer owns, and embeddings on
    demand. A rule on *names* would miss a norm called "ln_f"; what only its name can tell, such as
    a matrix of positions, is an exception.

    Parameters
    ----------
    module : nn.Module
        A whole network. Frozen parameters are sorted like the others.
    weight_decay : float, at least 0
    embeddings : bool
        False spares embedding tables. A table that is also an output layer is then spared.
    exceptions : mapping of str to float, optional
        From a name, or a pattern such as "head.*", to the decay of the parameters that it names,
        0 for none. It wins over the rule, for vectors too.

    Returns
    -------
    list of dict
        For a `torch.optim` optimizer: first the parameters with decay, then those without, then a
        group for each other decay among the exceptions; each parameter is in exactly one, shared
        ones once.

    Raises
    ------
    ValueError
        If there are no parameters, a decay is negative, or an exception names no parameter, or one
        that another exception gives another decay.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from coursekit.regularizers import decay
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
    >>> groups = decay.param_groups(net, weight_decay=0.01)
    >>> [(group["weight_decay"], len(group["params"])) for group in groups]
    [(0.01, 2), (0.0, 4)]
    >>> optimizer = torch.optim.AdamW(groups, lr=1e-3)
    >>> head = decay.param_groups(net, weight_decay=0.01, exceptions={"3.*": 0.1})
    >>> [(group["weight_decay"], len(group["params"])) for group in head]
    [(0.01, 1), (0.0, 3), (0.1, 2)]
    """
    _require_numbers(weight_decay=weight_decay)
    got, advice = type(module).__name__, "the nn.Module, or the call of the function that makes it"
    expect(isinstance(module, nn.Module), "a network", got, advice)
    spared_owners = NORMS if embeddings else (*NORMS, nn.Embedding, nn.EmbeddingBag)
    owned = {
        p
        for owner in module.modules()
        if isinstance(owner, spared_owners)
        for p in owner.parameters(recurse=False)
    }
    own = _excepted(module, exceptions or {})
    groups: list[dict[str, object]] = [
        {"params": [], "weight_decay": weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for other in dict.fromkeys(own.values()):
        if other not in (weight_decay, 0.0):
            groups.append({"params": [], "weight_decay": other})
    for p in module.parameters():
        wanted = own.get(p, 0.0 if p.ndim < 2 or p in owned else weight_decay)
        # With a decay of 0 for all, the second group stays that of the spared ones.
        spared = wanted == 0 and (p in own or p.ndim < 2 or p in owned)
        group = groups[1] if spared else next(g for g in groups if g["weight_decay"] == wanted)
        group["params"].append(p)
    check_groups(module, groups)
    return groups


def _excepted(module: nn.Module, exceptions: Mapping[str, float]) -> dict[nn.Parameter, float]:
    """The parameters that exceptions name, each with its decay."""
    kind, example = type(exceptions).__name__, 'exceptions={"head.*": 0.0}'
    expect(isinstance(exceptions, Mapping), "exceptions by name", kind, example)
    names = dict(module.named_parameters(remove_duplicate=False))  # of a shared one, every name
    own: dict[nn.Parameter, float] = {}
    for pattern, decay in exceptions.items():
        _require_numbers(**{f"decay of {pattern!r}": decay})
        fits = [name for name in names if fnmatchcase(name, str(pattern))]
        close = difflib.get_close_matches(str(pattern), names, 3, cutoff=0)
        expect(fits, "the name of a parameter, or a pattern", repr(pattern), " or ".join(close))
        for name in fits:
            other = own.setdefault(names[name], float(decay))
            got = f"{other:g} and {float(decay):g} for {name}"
            expect(other == decay, "one decay per parameter", got, "patterns that do not overlap")
    return own


def check_groups(module: nn.Module, groups: Iterable[Mapping[str, object]]) -> None:
    """Check that an optimizer's groups hold each parameter of a network exactly once.

    A parameter that was lost keeps its initial value for ever, and nothing else tells.

    Raises
    ------
    ValueError
        With the names of those lost and those doubled; if there are no parameters, or it is no
        network or no list of groups.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import decay
    >>> net = nn.Linear(4, 3)
    >>> decay.check_groups(net, [{"params": [net.weight]}, {"params": [net.bias]}])  # says nothing
    """
    got, advice = type(module).__name__, "the nn.Module, or the call of the function that makes it"
    expect(isinstance(module, nn.Module), "a network", got, advice)
    names = {p: name for name, p in module.named_parameters()}
    groups = list(groups) if isinstance(groups, Iterable) else [groups]
    fits = all(isinstance(group, Mapping) and "params" in group for group in groups)
    what, got = 'groups as dicts with "params"', sorted({type(group).__name__ for group in groups})
    expect(fits, what, got, "param_groups(module, weight_decay)")
    given = [p for group in groups for p in group["params"]]
    lost = [name for p, name in names.items() if not any(p is other for other in given)]
    doubled = [name for p, name in names.items() if sum(p is other for other in given) > 1]
    if lost or doubled or not names:
        raise ValueError(
            f"expected each of {len(names)} parameters in exactly one group, got {lost} in none "
            f"and {doubled} in several; try param_groups(module, weight_decay)"
        )


def keras_l2_to_torch(l2: float) -> float:
    """Translate a Keras `L2(l2)` into the `weight_decay` of PyTorch's SGD or Adam.

    Keras adds `l2 * sum(w ** 2)` to the loss, a slope of `2 * l2 * w`; PyTorch adds
    `weight_decay * w` to the slope. AdamW has no such slope. More in `coursekit.linear.strengths`.

    Raises
    ------
    ValueError
        If the strength is negative.

    Examples
    --------
    >>> from coursekit.regularizers import decay
    >>> decay.keras_l2_to_torch(0.01)
    0.02
    """
    _require_numbers(l2=l2)
    return 2 * l2


def share_left(lr: float, weight_decay: float, steps: int) -> float:
    """Return the share of a weight that `steps` decoupled steps leave if no gradient answers.

    About `exp(-dose)` with the dose `lr * weight_decay * steps`; a dose far below 1 does nothing.

    Raises
    ------
    ValueError
        If a number is negative, or one step takes more than the whole weight.

    References
    ----------
    Wang and Aitchison, "How to set AdamW's weight decay as you scale model and dataset size",
    ICML 2025: keep the dose per epoch.

    Examples
    --------
    >>> from coursekit.regularizers import decay
    >>> round(decay.share_left(lr=1e-3, weight_decay=0.01, steps=1000), 2)  # a weak one
    0.99
    >>> round(decay.share_left(lr=1e-3, weight_decay=1.0, steps=1000), 2)
    0.37
    """
    _require_numbers(lr=lr, weight_decay=weight_decay, steps=steps)
    if lr * weight_decay > 1:
        raise ValueError(f"expected lr * weight_decay <= 1, got {lr * weight_decay}; lower one")
    return (1 - lr * weight_decay) ** steps


def one_standard_error(strengths: Sequence[float], errors) -> float:
    """Choose the largest strength whose mean error is within one standard error of the lowest.

    The best of a sweep owes its rank to luck too; the rule takes the most regularized equal.

    Parameters
    ----------
    strengths : sequence of G float
    errors : (G, K) array
        Validation errors (lower is better) per strength and repetition; infinite where a training
        diverged.

    Returns
    -------
    float
        One of `strengths`.

    Raises
    ------
    ValueError
        If shapes do not match, a strength is not finite, an error is NaN, or there are fewer than 2
        repetitions.

    References
    ----------
    Breiman, Friedman, Olshen and Stone, "Classification and regression trees", 1984.

    Examples
    --------
    >>> from coursekit.regularizers import decay
    >>> errors = [[0.30, 0.32], [0.20, 0.24], [0.21, 0.25], [0.40, 0.42]]  # per strength, two seeds
    >>> decay.one_standard_error([0.0, 0.01, 0.1, 1.0], errors)  # 0.01 is best, 0.1 about as good
    0.1
    """
    strengths, errors = floats("strengths", strengths), floats("errors", errors)
    finite = bool(np.isfinite(strengths).all())
    expect(finite, "finite strengths", strengths.tolist(), "the strengths of the sweep")
    fits = errors.ndim == 2 and errors.shape[:1] == strengths.shape and errors.shape[1] >= 2
    if not fits or not strengths.size or np.isnan(errors).any():
        raise ValueError(
            "expected errors (G, K) without NaN for G >= 1 strengths and K >= 2 repetitions, got "
            f"{errors.shape} for {strengths.size}; give a diverged training the error inf"
        )
    means = errors.mean(1)
    best = means.argmin()
    if not np.isfinite(means[best]):
        raise ValueError("expected a strength without diverged trainings, got none; try a lower lr")
    bar = means[best] + errors[best].std(ddof=1) / np.sqrt(errors.shape[1])
    return float(strengths[means <= bar].max())


def _require(w: Tensor, other: Tensor, **numbers: float | Tensor) -> None:
    tensor("w", w)
    tensor("gradient or memory", other)
    if w.shape != other.shape:
        raise ValueError(
            f"expected a gradient and a memory shaped like the weights, {tuple(w.shape)}, got "
            f"{tuple(other.shape)}; try one call per parameter"
        )
    _require_numbers(**numbers)


def _require_numbers(**numbers: float | Tensor) -> None:
    for name, value in numbers.items():
        number(name, value, "[0, inf)", f"{name}=0 for none")
