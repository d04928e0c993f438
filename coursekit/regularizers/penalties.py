"""Penalties on the parameters, and the proximal step that makes an L1 penalty exact.

Every function here sees the parameters of *one* network, as a mapping from name to tensor. The
training loop maps them over the networks that it trains side by side.
"""

from collections.abc import Mapping

from torch import Tensor

from coursekit.datasets.values import number, tensor

Parameters = Mapping[str, Tensor]


def weights(params: Parameters) -> dict[str, Tensor]:
    """Keep what a penalty should act on: weight matrices and kernels.

    Biases, and the scale and shift of a normalization layer, are vectors. Shrinking a bias moves
    the function instead of simplifying it, so the usual penalties leave vectors out.

    Parameters
    ----------
    params : mapping of str to tensor
        Parameters of one network, as in `dict(net.named_parameters())`.

    Returns
    -------
    dict of str to tensor
        The entries with two axes or more.

    Raises
    ------
    ValueError
        If it is no mapping of tensors, or nothing is left to penalize.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import penalties
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> list(penalties.weights(dict(net.named_parameters())))
    ['0.weight', '2.weight']
    """
    _check_params(params)
    kept = {name: p for name, p in params.items() if p.ndim >= 2}
    if not kept:
        raise ValueError(
            "expected at least one parameter with two axes or more (a weight matrix), "
            f"got {sorted(params) or 'none'}; pass dict(net.named_parameters())"
        )
    return kept


def l1(params: Parameters, strength: float | Tensor) -> Tensor:
    """Return `strength` times the sum of absolute weights.

    Parameters
    ----------
    params : mapping of str to tensor
        Parameters of one network; biases and other vectors are left out.
    strength : float or scalar tensor, at least 0
        In units of the loss per unit of weight.

    Returns
    -------
    scalar tensor
        The penalty. Its gradient is `strength * sign(w)`: the same pull on every weight.

    Raises
    ------
    ValueError
        If `strength` is negative or not finite, or there is no weight to penalize.

    References
    ----------
    Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 58, 1996.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import penalties
    >>> params = {"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.tensor([5.0])}
    >>> penalties.l1(params, strength=0.1)
    tensor(0.3000)
    """
    number("strength", strength, "[0, inf)", "strength=0.01")
    return strength * sum(p.abs().sum() for p in weights(params).values())


def l2(params: Parameters, strength: float | Tensor) -> Tensor:
    """Return half of `strength` times the sum of squared weights.

    The half makes the gradient `strength * w`, which is PyTorch's `weight_decay`. Keras leaves it
    out, so its `L2(strength)` pulls twice as hard.

    Parameters
    ----------
    params : mapping of str to tensor
        Parameters of one network; biases and other vectors are left out.
    strength : float or scalar tensor, at least 0
        In units of the loss per squared unit of weight.

    Returns
    -------
    scalar tensor

    Raises
    ------
    ValueError
        If `strength` is negative or not finite, or there is no weight to penalize.

    References
    ----------
    Krogh and Hertz, "A simple weight decay can improve generalization", NIPS 4, 1991.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import penalties
    >>> params = {"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.tensor([5.0])}
    >>> penalties.l2(params, strength=0.1)  # 0.1 / 2 * (1 + 4)
    tensor(0.2500)
    """
    number("strength", strength, "[0, inf)", "strength=0.01")
    return strength / 2 * sum(p.square().sum() for p in weights(params).values())


def elastic_net(
    params: Parameters, l1_strength: float | Tensor, l2_strength: float | Tensor
) -> Tensor:
    """Return the sum of `l1` and `l2`. Parameters as there, one strength for each.

    Raises
    ------
    ValueError
        If a strength is negative or not finite, or there is no weight to penalize.

    References
    ----------
    Zou and Hastie, "Regularization and variable selection via the elastic net", JRSS B 67, 2005.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import penalties
    >>> params = {"weight": torch.tensor([[1.0, -2.0]])}
    >>> penalties.elastic_net(params, l1_strength=0.1, l2_strength=0.1)
    tensor(0.5500)
    """
    return l1(params, l1_strength) + l2(params, l2_strength)


def shrink(params: Parameters, threshold: float | Tensor) -> dict[str, Tensor]:
    """Move every weight toward 0 by `threshold` and stop at 0: the proximal step of L1.

    Adding `l1` to the loss makes weights jump around 0, because the pull does not weaken near it.
    Taking the gradient step on the loss alone and then this step gives exact zeros, and with
    `threshold = lr * strength` the same minimum.

    Parameters
    ----------
    params : mapping of str to tensor
        Parameters of one network.
    threshold : float or scalar tensor, at least 0

    Returns
    -------
    dict of str to tensor
        All parameters; vectors unchanged.

    Raises
    ------
    ValueError
        If `threshold` is negative or not finite, or `params` is no mapping of tensors.

    References
    ----------
    Daubechies, Defrise and De Mol, Comm. Pure Appl. Math. 57, 2004.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import penalties
    >>> params = {"weight": torch.tensor([[1.0, -2.0, 0.1]]), "bias": torch.tensor([5.0])}
    >>> penalties.shrink(params, threshold=0.5)
    {'weight': tensor([[ 0.5000, -1.5000,  0.0000]]), 'bias': tensor([5.])}
    """
    number("threshold", threshold, "[0, inf)", "threshold=lr * strength")
    _check_params(params)
    moved = {name: p.sign() * (p.abs() - threshold).clamp(min=0) for name, p in params.items()}
    return {name: moved[name] if p.ndim >= 2 else p for name, p in params.items()}


def _check_params(params: Parameters) -> None:
    if not isinstance(params, Mapping):
        raise ValueError(
            f"expected parameters by name, got {type(params).__name__}; try "
            "dict(net.named_parameters())"
        )
    for name, p in params.items():
        tensor(str(name), p, floats=False)
