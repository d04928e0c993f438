"""Stochastic depth: skip whole residual blocks at random while training.

Axes: B batch, L blocks.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coursekit.datasets.values import choose, expect, floats, number, tensor
from coursekit.regularizers.dropout import Generator, uniform


def survivals(n_blocks: int, last: float, *, rule: str = "linear") -> list[float]:
    """Survival probability of each block, the first one first.

    "linear" falls from just under 1 to `last`: block l of L survives with 1 - (l/L)(1 - last).
    Early blocks are kept more often because all later ones build on them. "uniform" gives every
    block `last`.

    Parameters
    ----------
    n_blocks : int >= 1
    last : float in (0, 1]
        Survival probability of the last block.
    rule : {"linear", "uniform"}

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Huang et al., "Deep networks with stochastic depth", ECCV 2016.

    Examples
    --------
    >>> from coursekit.regularizers import depth
    >>> depth.survivals(4, last=0.5)
    [0.875, 0.75, 0.625, 0.5]
    """
    n_blocks = number("n_blocks", n_blocks, "[1, inf)", "n_blocks=4", whole=True)
    number("last", last, "(0, 1]", "last=0.5")
    choose("rule", rule, ("linear", "uniform"))
    if rule == "uniform":
        return [last] * n_blocks
    return [last + (1 - last) * (1 - block / n_blocks) for block in range(1, n_blocks + 1)]


def expected_depth(kept: Sequence[float]) -> float:
    """Mean number of blocks that one training step computes: the sum of the survivals.

    With the linear rule it is L - (1 - last)(L + 1)/2, about three quarters of L at `last` = 0.5.

    Parameters
    ----------
    kept : (L,) sequence of float in [0, 1]
        Survival probability of each block, as `survivals` gives them.

    Raises
    ------
    ValueError
        If there is no block, or a probability is out of range (such as a drop rate in percent).

    References
    ----------
    Huang et al., "Deep networks with stochastic depth", ECCV 2016, section 3.

    Examples
    --------
    >>> from coursekit.regularizers import depth
    >>> depth.expected_depth(depth.survivals(4, last=0.5))
    2.75
    """
    kept = floats("kept", kept).ravel().tolist()
    if not kept or not all(0 <= p <= 1 for p in kept):
        raise ValueError(
            f"expected one survival probability in [0, 1] per block, got {kept}; "
            "try survivals(n_blocks, last)"
        )
    return sum(kept)


def residual(
    h: Tensor,
    branch: Callable[[Tensor], Tensor],
    survival: float | Tensor,
    *,
    training: bool,
    per_sample: bool = False,
    generator: Generator = None,
) -> Tensor:
    """Add `branch(h)` to `h` with probability `survival`; without training, add its expectation.

    Parameters
    ----------
    h : (B, ...) tensor
    branch : callable
        (B, ...) to (B, ...). Not computed at all where a whole batch skips it.
    survival : float or scalar tensor in [0, 1]
        Probability that the branch is kept.
    training : bool
    per_sample : bool
        Toss one coin per row, instead of one per batch as in the paper.
    generator : torch.Generator or callable, optional
        Where the coins come from, as in `dropout`.

    Returns
    -------
    (B, ...) tensor

    Raises
    ------
    ValueError
        If `survival` is outside [0, 1], `h` is no tensor, or the branch changes its shape.

    References
    ----------
    Huang et al., "Deep networks with stochastic depth", ECCV 2016.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import depth
    >>> h = torch.ones(2, 3)
    >>> depth.residual(h, lambda h: 10 * h, survival=0.5, training=False)  # 1 + 0.5 * 10
    tensor([[6., 6., 6.],
            [6., 6., 6.]])
    """
    _check_survival(survival, "[0, 1]")
    tensor("h", h, axes="(B, ...)", floats=False)
    expect(callable(branch), "a branch to call", type(branch).__name__, "branch=nn.Linear(3, 3)")
    return _residual(h, branch, survival, training, per_sample, generator)


def _residual(
    h: Tensor,
    branch: Callable[[Tensor], Tensor],
    survival: float | Tensor,
    training: bool,
    per_sample: bool,
    generator: Generator,
) -> Tensor:
    if not training:
        return h + survival * _shaped_like(h, branch(h))
    if per_sample:
        kept = uniform((len(h), *[1] * (h.ndim - 1)), h.device, generator) < survival
        return h + kept * _shaped_like(h, branch(h))
    kept = uniform((), h.device, generator) < survival
    try:
        keeps = bool(kept)
    except RuntimeError:  # under torch.func.vmap, where no one answer holds for all networks
        if not isinstance(branch, nn.Module):
            return h + kept * _shaped_like(h, branch(h))
        # A branch that is skipped must not move its running statistics.
        own = {name: buffer.clone() for name, buffer in branch.named_buffers()}
        added = functional_call(branch, own, (h,))
        for name, buffer in branch.named_buffers():
            buffer.copy_(torch.where(kept, own[name], buffer))
        return h + kept * _shaped_like(h, added)
    return h + _shaped_like(h, branch(h)) if keeps else h


def _shaped_like(h: Tensor, added: Tensor) -> Tensor:
    shape = getattr(added, "shape", type(added).__name__)
    if shape != h.shape:  # it could be stretched to fit, and mix up the rows
        raise ValueError(
            f"expected a branch that keeps the shape {tuple(h.shape)}, got {shape}; try a last "
            "layer with as many outputs as the first has inputs"
        )
    return added


def _check_survival(survival: float | Tensor, interval: str = "(0, 1]") -> None:
    number("survival probability", survival, interval, "1 - rate, from a drop rate")


def drop_path(
    added: Tensor,
    survival: float | Tensor,
    *,
    training: bool,
    per_sample: bool = True,
    generator: Generator = None,
) -> Tensor:
    """Keep what a branch adds with probability `survival`, and divide it by that.

    The form of most libraries, where it is called drop path: the mean is right while training, so
    nothing is scaled at test. `residual` scales at test instead, as in the paper. Both are the same
    for a branch that is `survival` times as large; to scale in both places is a mistake.

    Parameters
    ----------
    added : (B, ...) tensor
        What the branch has computed: no time is saved.
    survival : float or scalar tensor in (0, 1]
        Probability that it is kept; torchvision, timm and Keras take the rate 1 - survival.
    training : bool
        False returns `added` itself.
    per_sample : bool
        Toss one coin per row (torchvision's mode "row"), instead of one per batch ("batch").
    generator : torch.Generator or callable, optional
        Where the coins come from, as in `dropout`.

    Returns
    -------
    (B, ...) tensor

    Raises
    ------
    ValueError
        If `survival` is outside (0, 1], or `added` is no tensor.

    References
    ----------
    Larsson et al., "FractalNet", ICLR 2017, for the name; `torchvision.ops.stochastic_depth`.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import depth
    >>> coins = torch.Generator().manual_seed(0)
    >>> depth.drop_path(torch.ones(4, 2), survival=0.5, training=True, generator=coins)
    tensor([[2., 2.],
            [0., 0.],
            [2., 2.],
            [2., 2.]])
    """
    _check_survival(survival)
    tensor("added", added, axes="(B, ...)", floats=False)
    if not training:
        return added
    coins = (len(added), *[1] * (added.ndim - 1)) if per_sample else ()
    kept = uniform(coins, added.device, generator) < survival
    return added * (kept / survival)


class Residual(nn.Module):
    """`residual` as a layer around a branch.

    Parameters
    ----------
    branch : nn.Module
        Keeps the shape of its input.
    survival : float in (0, 1]
        Probability that the branch is kept while training. A buffer and not a number, so that
        networks trained side by side may differ in it.
    per_sample : bool
        Toss one coin per row, instead of one per batch.

    Raises
    ------
    ValueError
        If `survival` is outside (0, 1], or the branch is no module; when it is called, if the
        branch changes the shape.

    References
    ----------
    Huang et al., "Deep networks with stochastic depth", ECCV 2016.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from coursekit.regularizers import depth
    >>> block = depth.Residual(nn.Linear(3, 3), survival=0.8)
    >>> block(torch.rand(5, 3)).shape
    torch.Size([5, 3])
    """

    def __init__(self, branch: nn.Module, survival: float = 1.0, *, per_sample: bool = False):
        super().__init__()
        _check_survival(survival)
        if not isinstance(branch, nn.Module):
            got = type(branch).__name__
            raise ValueError(f"expected a branch that is an nn.Module, got {got}; try residual")
        self.branch, self.per_sample = branch, per_sample
        self.generator: Generator = None
        self.register_buffer("survival", torch.tensor(float(survival)))

    def forward(self, h: Tensor) -> Tensor:
        return _residual(
            h, self.branch, self.survival, self.training, self.per_sample, self.generator
        )

    def extra_repr(self) -> str:
        return f"survival={self.survival:g}, per_sample={self.per_sample}"
