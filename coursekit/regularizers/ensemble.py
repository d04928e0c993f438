"""Dropout as an ensemble: one linear layer behind dropout, and all of its sub-networks.

With D inputs there are M = 2^D masks, each a network of its own. For one softmax layer the whole
network, used once, *is* the geometric mean of them all; for deeper ones that is an approximation.

Axes: M masks, N examples, D features (the inputs of the layer), C classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit.datasets.values import tensor
from coursekit.regularizers.dropout import check_rate

MOST_INPUTS = 16  # 65,536 sub-networks


class SubNetworks(NamedTuple):
    """Every sub-network of one layer behind inverted dropout.

    Attributes
    ----------
    masks : (M, D) tensor of 0 and 1
    chance : (M,) tensor
        Probability that training draws this mask; sums to 1.
    log_p : (M, N, C) tensor
        Log-probabilities that this sub-network predicts.
    """

    masks: Tensor
    chance: Tensor
    log_p: Tensor

    def arithmetic_mean(self) -> Tensor:
        """The ensemble that votes with probabilities, (N, C): what Monte-Carlo dropout samples."""
        return torch.einsum("m,mnc->nc", self.chance, self.log_p.exp())

    def geometric_mean(self) -> Tensor:
        """The ensemble that votes with log-probabilities, made to sum to 1: (N, C)."""
        return torch.einsum("m,mnc->nc", self.chance, self.log_p).softmax(1)


def enumerate_masks(weight: Tensor, bias: Tensor, x: Tensor, rate: float) -> SubNetworks:
    """Compute all sub-networks of a softmax or logistic layer whose inputs are dropped.

    Parameters
    ----------
    weight : (C, D) float tensor
        With C = 1 a logistic layer: the second class, against a first class with logit 0.
    bias : (C,) float tensor
    x : (N, D) float tensor
    rate : float in [0, 1)
        Probability that an input is silenced; survivors are divided by `1 - rate`.

    Returns
    -------
    SubNetworks

    Raises
    ------
    ValueError
        If the shapes do not fit, D is above 16, or `rate` is outside [0, 1).

    References
    ----------
    Baldi and Sadowski, "Understanding dropout", NeurIPS 2013.
    Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 7.12.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers.ensemble import enumerate_masks
    >>> weight, bias, x = torch.eye(2), torch.zeros(2), torch.tensor([[1.0, 0.0]])
    >>> nets = enumerate_masks(weight, bias, x, rate=0.5)
    >>> nets.masks  # D = 2 inputs make M = 4 sub-networks
    tensor([[0., 0.],
            [1., 0.],
            [0., 1.],
            [1., 1.]])
    >>> nets.geometric_mean()
    tensor([[0.7311, 0.2689]])
    >>> torch.softmax(x @ weight.T + bias, 1)  # the whole network, without any mask
    tensor([[0.7311, 0.2689]])
    """
    check_rate(rate)
    rate = float(rate)
    tensor("weight", weight, axes="(C, D)", floats=False)
    tensor("bias", bias, axes="(C,)", floats=False)
    tensor("x", x, axes="(N, D)", floats=False)
    # As floats of the most precise type that is given, and no coarser than float32.
    kind = torch.float32
    for given in (weight, bias, x):
        kind = torch.promote_types(kind, given.dtype)
    weight, bias, x = weight.to(kind), bias.to(kind), x.to(kind)
    fits = weight.ndim == x.ndim == 2 and weight.shape[1] == x.shape[1]
    if not fits or bias.shape != weight.shape[:1]:
        raise ValueError(
            "expected weight (C, D), bias (C,) and x (N, D), got "
            f"{tuple(weight.shape)}, {tuple(bias.shape)} and {tuple(x.shape)}"
        )
    n_inputs = x.shape[1]
    if n_inputs > MOST_INPUTS:
        raise ValueError(
            f"expected at most {MOST_INPUTS} inputs, got {n_inputs}, which have 2^{n_inputs} "
            "masks; try fewer inputs, or mc_predict"
        )
    bits = torch.arange(n_inputs, device=x.device)
    masks = (torch.arange(2**n_inputs, device=x.device)[:, None] >> bits & 1).to(x)  # (M, D)
    n_kept = masks.sum(1)
    chance = (1 - rate) ** n_kept * rate ** (n_inputs - n_kept)  # (M,)
    logits = torch.einsum("md,nd,cd->mnc", masks / (1 - rate), x, weight) + bias
    if len(weight) == 1:
        logits = F.pad(logits, (1, 0))
    return SubNetworks(masks, chance, logits.log_softmax(-1))
