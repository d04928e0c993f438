"""Mixup and CutMix: blend pairs of images *and* their labels.

Axes: B batch, C classes; for images (B, C, H, W), C is channels and classes are written out.
The partner of image i is image `order[i]` of the same batch; picture and label of a pair are
blended by one share and one order, or the label is wrong. The `random_...` functions are `mix=`
hooks of `fit`, for instance `partial(random_mixup, alpha=0.2, n_classes=10)`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from coursekit.datasets.values import expect, inside, number, tensor
from coursekit.regularizers.augmentation import _rectangle, _whole_draw, rectangle


def shares(y: Tensor, n_classes: int) -> Tensor:
    """Turn classes (B,) into shares (B, C) float32, all on one class; shares stay as they are.

    Raises
    ------
    ValueError
        If `y` has another shape, a class is none of 0 to C - 1, or a share lies outside [0, 1].

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> mixing.shares(torch.tensor([2, 0]), n_classes=3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    n_classes = number("n_classes", n_classes, "[1, inf)", "n_classes=10", whole=True)
    if tensor("y", y, floats=False).is_floating_point():
        fits, got = y.ndim == 2 and y.shape[1] == n_classes, f"{y.dtype} of shape {tuple(y.shape)}"
        expect(fits, f"classes (B,) or shares (B, {n_classes})", got, "y.long() for classes")
        return inside("shares y", y, "[0, 1]", "y / 100 for percent", slack=1e-3)
    tensor("classes y", y, axes="(B,)", floats=False)
    expect(y.dtype != torch.bool, "classes y as whole numbers", y.dtype, "y.long()")
    inside("classes y", y, f"[0, {n_classes - 1}]", f"n_classes={n_classes + 1}")
    return F.one_hot(y.long(), n_classes).float()


def blend(a: Tensor, order: Tensor, share: Tensor) -> Tensor:
    """Mix each row of (B, ...) with its partner: `share * a + (1 - share) * a[order]`.

    Parameters
    ----------
    a : (B, ...) float tensor
        Images or label shares.
    order : (B,) int64 tensor
        A permutation: the partner of each row.
    share : (B,) tensor in [0, 1]
        What remains of the row itself.

    Returns
    -------
    (B, ...) tensor

    Raises
    ------
    ValueError
        If `a` is not of floats, the shapes do not fit, or `order` or `share` is out of its range.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> a, order = torch.tensor([[0.0], [8.0]]), torch.tensor([1, 0])
    >>> mixing.blend(a, order, share=torch.tensor([0.75, 0.75]))
    tensor([[2.],
            [6.]])
    """
    tensor("images or shares a", a, axes="(B, ...)")
    order = _checked_order(a, order)
    inside("share", tensor("share", share, axes="(B,)"), "[0, 1]", "share / 100 for percent")
    expect(len(share) == len(a), "one share per row", f"{len(share)} for {len(a)}", "beta(0.2, B)")
    return _blend(a, order, share)


def _blend(a: Tensor, order: Tensor, share: Tensor) -> Tensor:
    share = share.to(a.dtype).view(-1, *[1] * (a.ndim - 1))
    return share * a + (1 - share) * a[order]


def mixup(x: Tensor, y: Tensor, order: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Blend images (B, ...) and label shares (B, C) alike; `order`, `share` as in `blend`.

    Raises
    ------
    ValueError
        As `blend`, and if `y` holds classes instead of shares.

    References
    ----------
    Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> x, y = torch.tensor([[0.0], [8.0]]), torch.eye(2)
    >>> mixing.mixup(x, y, order=torch.tensor([1, 0]), share=torch.tensor([0.75, 0.75]))
    (tensor([[2.],
            [6.]]), tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]]))
    """
    _check_shares(y)
    return blend(x, order, share), blend(y, order, share)


def cutmix(
    x: Tensor, y: Tensor, order: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of each image's partner into it, and blend the labels by its area.

    Parameters
    ----------
    x : (B, C, H, W) tensor
    y : (B, classes) float tensor
        Label shares.
    order : (B,) int64 tensor
        A permutation: the partner of each image.
    top, left, height, width : (B,) int64 tensors
        One rectangle per image; what sticks out is cut off, and not counted.

    Returns
    -------
    (B, C, H, W) tensor, (B, classes) tensor

    Raises
    ------
    ValueError
        If `x` are no images, `y` no shares, or a partner, corner or side is no whole number.

    References
    ----------
    Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable
    features", ICCV 2019.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> x, y = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)]), torch.eye(2)
    >>> zero, one = torch.tensor([0, 0]), torch.tensor([1, 1])
    >>> pasted, label = mixing.cutmix(x, y, torch.tensor([1, 0]), zero, zero, height=one, width=one)
    >>> pasted[0, 0], label[0]  # a quarter of the picture, a quarter of the label
    (tensor([[1., 0.],
            [0., 0.]]), tensor([0.7500, 0.2500]))
    """
    _check_shares(y)
    pasted = rectangle(x, top, left, height, width)  # (B, 1, H, W)
    return _paste(x, _one_each(x, y), _checked_order(x, order), pasted)


def _paste(x: Tensor, y: Tensor, order: Tensor, pasted: Tensor) -> tuple[Tensor, Tensor]:
    kept = 1 - pasted.to(y.dtype).mean(dim=(1, 2, 3))
    return torch.where(pasted, x[order], x), _blend(y, order, kept)


def beta(alpha: float | Tensor, n: int, device: torch.device | str = "cpu") -> Tensor:
    """Draw n shares from Beta(alpha, alpha): (n,) in [0, 1]; all 1 (no mixing) where alpha is 0.

    A small alpha gives shares near 0 or 1; alpha 1 is uniform. As two gamma variates, because these
    exist with a shape per network, and by their logarithms: with a small alpha, both variates are
    often too small for a float.

    Raises
    ------
    ValueError
        If `alpha` is negative or not finite, or n is no whole number.

    References
    ----------
    Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018, for the use.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> mixing.beta(0.0, 3)
    tensor([1., 1., 1.])
    >>> mixing.beta(0.2, 32).shape
    torch.Size([32])
    """
    number("alpha", alpha, "[0, inf)", "alpha=0.2")
    n = number("n", n, "[0, inf)", "n=len(x)", whole=True)
    given = isinstance(alpha, Tensor)
    shape = alpha.expand(n) if given else torch.full((n,), float(alpha), device=device)
    log_a, log_b = (log_gamma(shape.float().clamp(min=1e-6)) for _ in range(2))
    a, b = log_a.exp().float(), log_b.exp().float()
    # The ratio of the variates where floats hold them, and else that of their logarithms.
    share = torch.where(a + b > 1e-30, a / (a + b), (log_a - log_b).sigmoid().float())
    return torch.where(shape > 0, share, 1)


def log_gamma(shape: Tensor) -> Tensor:
    """Draw the logarithm of one gamma variate for each shape above 0.

    Where networks draw from streams of their own, the engine puts its own draws in this place.

    References
    ----------
    Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26, 2000: a
    variate of shape a is one of shape a + 1, times a uniform number to the power of 1 / a.
    """
    if has_torch_function_unary(shape):
        return handle_torch_function(log_gamma, (shape,), shape)
    above = torch._standard_gamma(shape + 1).log()
    return above + torch.log1p(-torch.rand_like(shape)) / shape


def random_mixup(
    x: Tensor, y: Tensor, alpha: float | Tensor, n_classes: int
) -> tuple[Tensor, Tensor]:
    """Mix each image and its label with a random partner of the batch.

    Parameters
    ----------
    x : (B, ...) float tensor
    y : (B,) classes, or (B, C) shares
    alpha : float of at least 0, or scalar tensor
        Of the Beta distribution of the shares; one share per image. (The paper's code draws one per
        batch; its formula is the same.)
    n_classes : int

    Returns
    -------
    (B, ...) tensor, (B, C) tensor

    Raises
    ------
    ValueError
        If `x` is not of floats, `y` as in `shares`, or `alpha` is negative or not finite.

    References
    ----------
    Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> from functools import partial
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> x, y = mixing.random_mixup(torch.rand(32, 64), torch.arange(32) % 10, 0.2, n_classes=10)
    >>> x.shape, y.shape
    (torch.Size([32, 64]), torch.Size([32, 10]))
    >>> mix = partial(mixing.random_mixup, alpha=0.2, n_classes=10)  # for fit(..., mix=mix)
    """
    tensor("x", x, axes="(B, ...)")
    y = _one_each(x, shares(y, n_classes))
    order, share = torch.randperm(len(x), device=x.device), beta(alpha, len(x), x.device)
    return _blend(x, order, share), _blend(y, order, share)


def random_cutmix(
    x: Tensor, y: Tensor, alpha: float | Tensor, n_classes: int
) -> tuple[Tensor, Tensor]:
    """Paste a random rectangle of a random partner, with its share of the label.

    Its sides are those of the image times the square root of 1 - share, rounded down; its middle
    is any pixel. What is cut off at the border stays with the image, in picture and label.
    Parameters and results as in `random_mixup`.

    Raises
    ------
    ValueError
        If the inputs are no images, `y` as in `shares`, or `alpha` is negative or not finite.

    References
    ----------
    Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable
    features", ICCV 2019.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> images, classes = torch.rand(32, 1, 8, 8), torch.arange(32) % 10
    >>> x, y = mixing.random_cutmix(images, classes, 1.0, n_classes=10)
    >>> x.shape, y.shape
    (torch.Size([32, 1, 8, 8]), torch.Size([32, 10]))
    """
    tensor("images x", x, axes="(B, C, H, W)", floats=False)
    y = _one_each(x, shares(y, n_classes))
    order = torch.randperm(len(x), device=x.device)
    side = (1 - beta(alpha, len(x), x.device)).sqrt()
    height, width = ((n * side).long() for n in x.shape[-2:])
    top = _whole_draw(x, 0, x.shape[-2] - 1) - height // 2
    left = _whole_draw(x, 0, x.shape[-1] - 1) - width // 2
    return _paste(x, y, order, _rectangle(x, top, left, height, width))


def _checked_order(a: Tensor, order: Tensor) -> Tensor:
    order = tensor("order", order, axes="(B,)", floats=False)
    integer = order.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    got = f"{order.dtype} of shape {tuple(order.shape)} for {len(a)} rows"
    expect(integer and len(order) == len(a), "an order (B,) int64", got, "torch.randperm(len(x))")
    return inside("order", order, f"[0, {len(a) - 1}]", "torch.randperm(len(x))").long()


def _check_shares(y: Tensor) -> None:
    tensor("label shares y", y, floats=False)
    got = f"{y.dtype} of shape {tuple(y.shape)}"
    fits = y.is_floating_point() and y.ndim == 2
    expect(fits, "label shares y (B, C) of floats", got, "shares(y, n_classes)")
    inside("label shares y", y, "[0, 1]", "y / 100 for percent", slack=1e-3)


def _one_each(x: Tensor, y: Tensor) -> Tensor:
    expect(len(x) == len(y), "one label per image", f"{len(y)} for {len(x)}", "y[:len(x)]")
    return y
