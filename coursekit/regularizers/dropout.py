"""Dropout: silence units at random while training.

Everywhere here `rate` is the probability of *dropping*; the papers' p is often that of keeping.
Axes: B batch, H hidden, N examples, C classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

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
        If `rate` is outside [0, 1).

    References
    ----------
    Srivastava et al., "Dropout", JMLR 15, 2014.
    """
    number = check_rate(rate)
    if not training or (number and rate == 0):
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
    """
    check_rate(rate)
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
        Of the layer that reads the dropped units.
    rate : float in [0, 1)
        Probability that a unit was silenced while training.

    Returns
    -------
    float tensor of the same shape

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1).
    """
    check_rate(rate)
    return weight * (1 - rate)


class Dropout(nn.Module):
    """`dropout` as a layer: active after `.train()`, the identity after `.eval()`.

    Parameters
    ----------
    rate : float in [0, 1)
        Probability that a unit is silenced. A buffer and not a number, so that networks trained
        side by side may differ in it.
    """

    def __init__(self, rate: float = 0.5):
        super().__init__()
        check_rate(rate)
        self.generator: Generator = None
        self.register_buffer("rate", torch.tensor(float(rate)))

    def forward(self, h: Tensor) -> Tensor:
        return dropout(h, self.rate, training=self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


class ClassicDropout(Dropout):
    """`classic_dropout` as a layer: masks after `.train()`, multiplies after `.eval()`."""

    def forward(self, h: Tensor) -> Tensor:
        return classic_dropout(h, self.rate, training=self.training, generator=self.generator)


class SpatialDropout(Dropout):
    """Silence whole channels of an image or signal, as `nn.Dropout2d` does.

    Neighboring positions of a channel tell nearly the same, so silencing single positions hides
    little. Every example and channel of (B, C, ...) gets one coin toss.

    References
    ----------
    Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.
    """

    def forward(self, h: Tensor) -> Tensor:
        ones = h.new_ones(*h.shape[:2], *[1] * (h.ndim - 2))  # (B, C, 1, 1)
        return h * dropout(ones, self.rate, training=self.training, generator=self.generator)


def dropout_layers(model: nn.Module) -> list[nn.Module]:
    """Return the dropout layers of a model: ours, their subclasses, and PyTorch's own.

    What is dropped inside another layer's `forward` (`F.dropout`, `nn.LSTM(dropout=...)`) is no
    layer, and is not found.
    """
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
        If `n_samples` is below 1, there is no dropout layer, or the outputs are no logits (N, C)
        of at least two classes.

    References
    ----------
    Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016.
    """
    if n_samples < 1:
        raise ValueError(f"expected n_samples of at least 1, got {n_samples}; try 50")
    with only_dropout(model):
        total = torch.zeros(())
        for _ in range(n_samples):
            logits = model(x)  # (N, C)
            if logits.ndim != 2 or logits.shape[1] < 2:
                raise ValueError(
                    f"expected logits (N, C) of at least two classes, got {tuple(logits.shape)}; "
                    "try two outputs instead of one"
                )
            total = total.to(logits) + logits.softmax(1)
    return total / n_samples


def check_rate(rate: float | Tensor) -> bool:
    """Refuse a number outside [0, 1); return whether the rate is a number.

    A tensor may differ between networks side by side, and was checked when it was made.
    """
    number = not isinstance(rate, Tensor)
    if number and not 0 <= rate < 1:
        raise ValueError(f"expected a dropout rate in [0, 1), got {rate}")
    return number


def _rate(layer: nn.Module) -> float:
    return float(layer.p if isinstance(layer, _DropoutNd) else layer.rate)
