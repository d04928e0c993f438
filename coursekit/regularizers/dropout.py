"""Dropout: silence units at random while training."""

import torch
from torch import Tensor, nn


def dropout(
    h: Tensor, rate: float | Tensor, *, training: bool, generator: torch.Generator | None = None
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
    generator : torch.Generator, optional
        Where the coins come from; by default torch's own.

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
    number = not isinstance(rate, Tensor)  # a tensor may differ per network, and was checked
    if number and not 0 <= rate < 1:
        raise ValueError(f"expected a dropout rate in [0, 1), got {rate}")
    if not training or (number and rate == 0):
        return h
    keep = 1 - rate
    survives = torch.rand(h.shape, device=h.device, generator=generator) < keep
    return h * survives / keep


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
        if not 0 <= rate < 1:
            raise ValueError(f"expected a dropout rate in [0, 1), got {rate}")
        self.generator: torch.Generator | None = None
        self.register_buffer("rate", torch.tensor(float(rate)))

    def forward(self, h: Tensor) -> Tensor:
        return dropout(h, self.rate, training=self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"
