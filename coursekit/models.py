"""The networks of the course: each builder returns a function that makes one fresh network.

A function and not a network, because every seed needs its own initial weights:
`fit(models.mlp(task), task, recipe)` calls it once per seed.

Axes: N examples, B batch, C classes; (C, H, W) and (C, L) are images and signals of C channels, and
there classes are written out.
"""

from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from coursekit.regularizers.depth import Residual, survivals
from coursekit.regularizers.dropout import Dropout

MakeNet = Callable[[], nn.Module]


def linear(task) -> MakeNet:
    """One linear layer: linear regression, or softmax regression for classes.

    Parameters
    ----------
    task : Task
        Gives the number of inputs and outputs.

    Returns
    -------
    callable
        Makes an `nn.Module` from (B, ...) inputs to (B, C) logits, or to (B, 1) predictions.

    Examples
    --------
    >>> from coursekit import data, models
    >>> models.linear(data.load("wine"))()
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=13, out_features=3, bias=True)
    )
    """
    return mlp(task, hidden=())


def mlp(
    task, hidden: Sequence[int] = (128, 128), *, dropout: float = 0.0, batch_norm: bool = False
) -> MakeNet:
    """A fully connected network with ReLU, the course's default model.

    Parameters
    ----------
    task : Task
        Gives the number of inputs (all axes of one example, flattened) and outputs.
    hidden : sequence of int
        Units per hidden layer.
    dropout : float in [0, 1)
        Probability of dropping a hidden unit, after every hidden layer.
    batch_norm : bool
        Normalize before every ReLU. The layer before then has no bias: it would be subtracted.

    Returns
    -------
    callable
        Makes an `nn.Module` from (B, ...) inputs to (B, C) logits, or to (B, 1) predictions.

    Raises
    ------
    ValueError
        If a width is below 1 or `dropout` is outside [0, 1).

    Examples
    --------
    >>> from coursekit import data, models
    >>> make = models.mlp(data.load("wine"), hidden=(8,), dropout=0.5)
    >>> make()
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=13, out_features=8, bias=True)
      (2): ReLU()
      (3): Dropout(rate=0.5)
      (4): Linear(in_features=8, out_features=3, bias=True)
    )
    """
    _require_widths(hidden)
    Dropout(dropout)  # fails here, where the caller is looking, and not inside `fit`
    n_in, n_out = prod(task.x.shape[1:]), task.n_outputs

    def make() -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        width = n_in
        for units in hidden:
            layers.append(nn.Linear(width, units, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(units))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(Dropout(dropout))
            width = units
        return nn.Sequential(*layers, nn.Linear(width, n_out))

    return make


def cnn(
    task, channels: Sequence[int] = (16, 32), *, dropout: float = 0.0, batch_norm: bool = False
) -> MakeNet:
    """A small convolutional network for images or 1-D signals.

    Every stage is a convolution of width 3, a ReLU, and a max-pool that halves the resolution.
    The mean over positions at the end leaves one number per channel, so the network does not know
    where a pattern was.

    Parameters
    ----------
    task : Task
        With inputs (N, C, H, W) or (N, C, L).
    channels : sequence of int
        Channels per stage.
    dropout : float in [0, 1)
        Probability of dropping a number at the end, before the last layer.
    batch_norm : bool
        Normalize before every ReLU.

    Returns
    -------
    callable
        Makes an `nn.Module` from (B, C, H, W) or (B, C, L) inputs to (B, classes) logits.

    Raises
    ------
    ValueError
        If the task has no spatial axis, a resolution is too small to be halved, a width is
        below 1 or `dropout` is outside [0, 1).

    Examples
    --------
    >>> from coursekit import data, models
    >>> task = data.load("digits")
    >>> net = models.cnn(task, channels=(8, 16))().to(task.device)
    >>> net(task.x[:5]).shape
    torch.Size([5, 10])
    """
    _require_widths(channels)
    Dropout(dropout)
    shape = tuple(task.x.shape[1:])
    if len(shape) not in (2, 3):
        raise ValueError(
            f"expected signals (C, L) or images (C, H, W), got examples of shape {shape}; "
            "use models.mlp for tables"
        )
    if min(shape[1:]) < 2 ** len(channels):
        raise ValueError(
            f"expected at least {2 ** len(channels)} positions for {len(channels)} stages, "
            f"got {shape}; use fewer channels"
        )
    if len(shape) == 2:
        conv, norm, pool, mean = nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d
    else:
        conv, norm, pool, mean = nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        width = shape[0]
        for units in channels:
            layers.append(conv(width, units, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(norm(units))
            layers += [nn.ReLU(), pool(2)]
            width = units
        layers += [mean(1), nn.Flatten(), *([Dropout(dropout)] if dropout else [])]
        return nn.Sequential(*layers, nn.Linear(width, task.n_outputs))

    return make


def resnet(
    task,
    n_blocks: int = 24,
    width: int = 64,
    *,
    survival: float = 1.0,
    rule: str = "linear",
    per_sample: bool = False,
) -> MakeNet:
    """A deep fully connected residual network, with stochastic depth.

    A linear layer, then `n_blocks` times `h + branch(h)` with the branch batch norm, ReLU, linear
    layer, then batch norm, ReLU and a linear layer. Only the last one has a bias: batch norm would
    subtract any other.

    Parameters
    ----------
    task : Task
        Gives the number of inputs (all axes of one example, flattened) and outputs.
    n_blocks, width : int
    survival : float in (0, 1]
        Probability that the last block is kept while training; 1 keeps all.
    rule : {"linear", "uniform"}
        Survival of the other blocks, as in `regularizers.depth.survivals`.
    per_sample : bool
        Toss one coin per row instead of one per batch.

    Returns
    -------
    callable
        Makes an `nn.Module` from (B, ...) inputs to (B, C) logits, or to (B, 1) predictions.

    Raises
    ------
    ValueError
        If a number is out of range, or `rule` is unknown.

    References
    ----------
    He et al., "Identity mappings in deep residual networks", ECCV 2016.

    Examples
    --------
    >>> from coursekit import data, models
    >>> task = data.load("digits")
    >>> net = models.resnet(task, n_blocks=4, width=16, survival=0.5)().to(task.device)
    >>> net.eval()(task.x[:5]).shape
    torch.Size([5, 10])
    """
    _require_widths([width])
    kept = survivals(n_blocks, survival, rule=rule)
    n_in, n_out = prod(task.x.shape[1:]), task.n_outputs

    def branch() -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width, bias=False))

    def make() -> nn.Module:
        blocks = [Residual(branch(), p, per_sample=per_sample) for p in kept]
        head = [nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, n_out)]
        stem = nn.Linear(n_in, width, bias=False)
        return nn.Sequential(nn.Flatten(), stem, *blocks, *head)

    return make


def _require_widths(widths: Sequence[int]) -> None:
    if any(units < 1 for units in widths):
        raise ValueError(f"expected widths of at least 1, got {tuple(widths)}")
