"""Dropout: silence units at random while training.

Everywhere here `rate` is the probability of *dropping*; the papers' p is often that of keeping.
Axes: B batch, H hidden, N examples, C classes; C channels in (B, C, ...) of `SpatialDropout`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from coursekit.datasets.values import number, tensor

# Where coins come from: None is torch's own state. `noise.Streams` give functions of a shape.
Generator = torch.Generator | Callable[[tuple[int, ...]], Tensor] | None


def uniform(shape: tuple[int, ...], device: torch.device, generator: Generator = None) -> Tensor:
    """Draw numbers from [0, 1)."""
    if callable(generator):
        return generator(shape)
    return torch.rand(shape, device=device, generator=generator)


def dropout(
    h: Tensor, rate: float | Tensor, *, training: bool, generator: Generator = None
) -> Tensor:
    """Silence each unit with probability `rate` and scale up the survivors.

    Dividing by `1 - rate` keeps the mean of every unit, so nothing has to change at test time
    ("inverted" dropout).

    Parameters
    ----------
    h : (..., H) float tensor
        Hidden activations. Every entry gets its own coin toss.
    rate : float or scalar tensor in [0, 1)
        Probability that a unit is silenced.
    training : bool
        False returns `h` itself.
    generator : torch.Generator or callable, optional
        Where the coins come from, or a function that draws a shape of numbers from [0, 1); by
        default torch's own state.

    Returns
    -------
    (..., H) float tensor

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1), or `h` is no tensor.

    References
    ----------
    Srivastava et al., "Dropout", JMLR 15, 2014.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers.dropout import dropout
    >>> h, coins = torch.ones(2, 4), torch.Generator().manual_seed(0)
    >>> dropout(h, 0.5, training=True, generator=coins)
    tensor([[2., 0., 2., 2.],
            [2., 0., 2., 0.]])
    >>> dropout(h, 0.5, training=False)
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.]])
    """
    check_rate(rate)
    return _inverted(tensor("h", h, floats=False), rate, training, generator)


def _inverted(h: Tensor, rate: float | Tensor, training: bool, generator: Generator) -> Tensor:
    if not training or (not isinstance(rate, Tensor) and rate == 0):
        return h
    keep = 1 - rate
    survives = uniform(h.shape, h.device, generator) < keep
    return h * survives / keep


def classic_dropout(
    h: Tensor, rate: float | Tensor, *, training: bool, generator: Generator = None
) -> Tensor:
    """Silence each unit with probability `rate`; at test time, scale *all* units down instead.

    The dropout of the first papers. A unit that was there in a share `1 - rate` of the training
    steps is multiplied by that share, so the next layer gets the mean it is used to. The factor is
    the probability of *keeping*; it equals `rate` only at 0.5.

    Parameters
    ----------
    h : (..., H) float tensor
    rate : float or scalar tensor in [0, 1)
        Probability that a unit is silenced.
    training : bool
        True masks without scaling, False scales without masking.
    generator : torch.Generator or callable, optional
        Where the coins come from, or a function that draws a shape of numbers from [0, 1); by
        default torch's own state.

    Returns
    -------
    (..., H) float tensor

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1).

    References
    ----------
    Srivastava et al., "Dropout", JMLR 15, 2014, figure 2 and section 10.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers.dropout import classic_dropout
    >>> h, coins = torch.ones(2, 4), torch.Generator().manual_seed(0)
    >>> classic_dropout(h, 0.25, training=True, generator=coins)
    tensor([[1., 0., 1., 1.],
            [1., 1., 1., 0.]])
    >>> classic_dropout(h, 0.25, training=False)
    tensor([[0.7500, 0.7500, 0.7500, 0.7500],
            [0.7500, 0.7500, 0.7500, 0.7500]])
    """
    check_rate(rate)
    return _classic(tensor("h", h, floats=False), rate, training, generator)


def _classic(h: Tensor, rate: float | Tensor, training: bool, generator: Generator) -> Tensor:
    keep = 1 - rate
    if not training:
        return h * keep
    return h * (uniform(h.shape, h.device, generator) < keep)


def convert_classic_weights(weight: Tensor, rate: float) -> Tensor:
    """Turn weights behind a classic dropout into weights that need no factor at test time.

    In evaluation, a layer with `(1 - rate) * weight` on all units computes what the classic network
    computes; in training, the same weights behind *inverted* dropout do. The bias stays.

    Parameters
    ----------
    weight : (C, H) or (C, H, ...) float tensor
        Of the layer that reads the H dropped units; C is the number of its outputs.
    rate : float in [0, 1)
        Probability that a unit was silenced while training.

    Returns
    -------
    float tensor of the same shape

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1).

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers.dropout import convert_classic_weights
    >>> convert_classic_weights(torch.ones(2, 3), rate=0.25)
    tensor([[0.7500, 0.7500, 0.7500],
            [0.7500, 0.7500, 0.7500]])
    """
    check_rate(rate)
    return tensor("weight", weight, axes="(C, H, ...)", floats=False) * (1 - rate)


class Dropout(nn.Module):
    """`dropout` as a layer: active after `.train()`, the identity after `.eval()`.

    Parameters
    ----------
    rate : float in [0, 1)
        Probability that a unit is silenced. A buffer and not a number, so that networks trained
        side by side may differ in it.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1).

    References
    ----------
    Srivastava et al., "Dropout", JMLR 15, 2014.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from coursekit.regularizers.dropout import Dropout
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Dropout(0.5), nn.Linear(8, 3)).eval()
    >>> x = torch.rand(2, 4)
    >>> torch.equal(net(x), net(x))  # nothing is dropped after .eval()
    True
    """

    def __init__(self, rate: float = 0.5):
        super().__init__()
        check_rate(rate)  # here once, and not in every step
        self.generator: Generator = None
        self.register_buffer("rate", torch.tensor(float(rate)))

    def forward(self, h: Tensor) -> Tensor:
        return _inverted(h, self.rate, self.training, self.generator)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


class ClassicDropout(Dropout):
    """`classic_dropout` as a layer: masks after `.train()`, multiplies after `.eval()`.

    Parameters and errors as in `Dropout`.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers.dropout import ClassicDropout
    >>> ClassicDropout(0.25).eval()(torch.ones(3))
    tensor([0.7500, 0.7500, 0.7500])
    """

    def forward(self, h: Tensor) -> Tensor:
        return _classic(h, self.rate, self.training, self.generator)


class SpatialDropout(Dropout):
    """Silence whole channels of an image or signal, as `nn.Dropout2d` does.

    Neighboring positions of a channel tell nearly the same, so silencing single positions hides
    little. Every example and channel of (B, C, ...) gets one coin toss.

    Parameters
    ----------
    rate : float in [0, 1)
        As in `Dropout`.
    n_axes : int >= 1
        Axes behind the channels: 2 for images (B, C, H, W), 1 for signals (B, C, L). One image
        (C, H, W) looks like a batch of signals, so the number of axes has to be known.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1), or `n_axes` below 1; when it is called, if the input has other
        axes.

    References
    ----------
    Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers.dropout import SpatialDropout
    >>> layer = SpatialDropout(0.5)
    >>> layer.generator = torch.Generator().manual_seed(0)
    >>> layer(torch.ones(1, 4, 2, 2)).mean((2, 3))  # channel by channel
    tensor([[2., 0., 2., 2.]])
    """

    def __init__(self, rate: float = 0.5, n_axes: int = 2):
        super().__init__(rate)
        self.n_axes = number("n_axes", n_axes, "[1, inf)", "n_axes=2 for images", whole=True)

    def forward(self, h: Tensor) -> Tensor:
        if h.ndim != self.n_axes + 2:
            raise ValueError(
                f"expected h (B, C, ...) with {self.n_axes} axes behind the channels, got shape "
                f"{tuple(h.shape)}; try h[None] for a single image, or SpatialDropout(rate, "
                "n_axes=1) for signals (B, C, L)"
            )
        ones = h.new_ones(*h.shape[:2], *[1] * self.n_axes)  # (B, C, 1, 1)
        return h * _inverted(ones, self.rate, self.training, self.generator)


def dropout_layers(model: nn.Module) -> list[nn.Module]:
    """Return the dropout layers of a model: ours, their subclasses, and PyTorch's own.

    What is dropped inside another layer's `forward` (`F.dropout`, `nn.LSTM(dropout=...)`) is no
    layer, and is not found.

    Raises
    ------
    ValueError
        If it is no model.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import dropout
    >>> dropout.dropout_layers(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1)))
    [Dropout(p=0.1, inplace=False)]
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"expected a model, an nn.Module, got {type(model).__name__}; try runs.network(seed), "
            "or call the function that makes it"
        )
    return [layer for layer in model.modules() if isinstance(layer, Dropout | _DropoutNd)]


def is_dropout_active(model: nn.Module) -> bool:
    """Return whether a pass through the model would drop something.

    Only the training flag of the dropout layers decides. `requires_grad_(False)` freezes weights,
    of which dropout has none; `torch.no_grad()` spares the gradients, not the units.

    Parameters
    ----------
    model : nn.Module

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If it is no model.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import dropout
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1))
    >>> dropout.is_dropout_active(net), dropout.is_dropout_active(net.eval())
    (True, False)
    """
    return any(layer.training and _rate(layer) > 0 for layer in dropout_layers(model))


@contextmanager
def only_dropout(model: nn.Module) -> Iterator[nn.Module]:
    """Inside the block, only the dropout layers are in training mode; later, all is as before.

    `model.train()` would do more: batch norm would normalize by the batch, and move its statistics.

    Parameters
    ----------
    model : nn.Module

    Raises
    ------
    ValueError
        If the model has no dropout layer.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import dropout
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1))
    >>> with dropout.only_dropout(net):
    ...     print([layer.training for layer in net])
    ...
    [False, False, True]
    """
    layers = dropout_layers(model)
    if not layers:
        raise ValueError(
            f"expected a model with a dropout layer, got {type(model).__name__} without one; "
            "functional dropout is not found, try the layer"
        )
    before = {module: module.training for module in model.modules()}
    try:
        model.eval()
        for layer in layers:
            layer.train()
        yield model
    finally:
        for module, flag in before.items():
            module.training = flag


@torch.no_grad()
def mc_predict(model: nn.Module, x: Tensor, n_samples: int = 50) -> Tensor:
    """Average the predicted probabilities over random masks (Monte-Carlo dropout).

    Probabilities are averaged, not logits: the mean of logits is the *geometric* mean of the
    sub-networks, which the whole network at test time approximates without any sampling.

    Parameters
    ----------
    model : nn.Module
        From (N, ...) inputs to (N, C) logits, with at least one dropout layer. Its training flags
        and statistics are left as they were.
    x : (N, ...) tensor
    n_samples : int
        Passes, each with a mask per example; at least 1. The error falls with its square root.

    Returns
    -------
    (N, C) tensor
        Probabilities.

    Raises
    ------
    ValueError
        If `n_samples` is no whole number above 0, there is no dropout layer, or the outputs are no
        logits (N, C) of at least two classes.

    References
    ----------
    Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from coursekit.regularizers import dropout
    >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    >>> probabilities = dropout.mc_predict(net, torch.rand(2, 4), n_samples=20)
    >>> probabilities.sum(1).round(decimals=3)
    tensor([1., 1.])
    """
    n_samples = number("n_samples", n_samples, "[1, inf)", "n_samples=50", whole=True)
    tensor("x", x, axes="(N, ...)", floats=False)
    with only_dropout(model):
        total = torch.zeros(())
        for _ in range(n_samples):
            logits = tensor("logits", model(x), floats=False)  # (N, C)
            if logits.ndim != 2 or logits.shape[1] < 2:
                raise ValueError(
                    f"expected logits (N, C) of at least two classes, got {tuple(logits.shape)}; "
                    "try two outputs instead of one"
                )
            # Half precision has too few digits to add up many.
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            total = total.to(logits) + logits.softmax(1)
    return total / n_samples


def check_rate(rate: float | Tensor) -> None:
    """Refuse a rate outside [0, 1) by ValueError, as far as its content can be read."""
    number("dropout rate", rate, "[0, 1)", "rate=0.5")


def _rate(layer: nn.Module) -> float:
    return float(layer.p if isinstance(layer, _DropoutNd) else layer.rate)
