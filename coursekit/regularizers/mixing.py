"""Mixup and CutMix: blend pairs of images *and* their labels.

Axes: B batch, C classes; for images (B, C, H, W), C is channels and classes are written out.
The partner of image i is image `order[i]` of the same batch; picture and label of a pair are
blended by one share and one order, or the label is wrong. The `random_...` functions are `mix=`
hooks of `fit`, for instance `partial(random_mixup, alpha=0.2, n_classes=10)`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit.datasets.tasks import expect
from coursekit.regularizers.augmentation import rectangle, whole


def shares(y: Tensor, n_classes: int) -> Tensor:
    """Turn classes (B,) into shares (B, C) float32, all on one class; shares stay as they are.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> mixing.shares(torch.tensor([2, 0]), n_classes=3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    return y if y.is_floating_point() else F.one_hot(y, n_classes).float()


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

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import mixing
    >>> a, order = torch.tensor([[0.0], [8.0]]), torch.tensor([1, 0])
    >>> mixing.blend(a, order, share=torch.tensor([0.75, 0.75]))
    tensor([[2.],
            [6.]])
    """
    share = share.to(a.dtype).view(-1, *[1] * (a.ndim - 1))
    return share * a + (1 - share) * a[order]


def mixup(x: Tensor, y: Tensor, order: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Blend images (B, ...) and label shares (B, C) alike; `order`, `share` as in `blend`.

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
    pasted = rectangle(x, top, left, height, width)  # (B, 1, H, W)
    kept = 1 - pasted.to(y.dtype).mean(dim=(1, 2, 3))
    return torch.where(pasted, x[order], x), blend(y, order, kept)


def beta(alpha: float | Tensor, n: int, device: torch.device | str = "cpu") -> Tensor:
    """Draw n shares from Beta(alpha, alpha): (n,) in [0, 1]; all 1 (no mixing) where alpha is 0.

    A small alpha gives shares near 0 or 1; alpha 1 is uniform. As two gamma variates, because these
    exist with a shape per network.

    Raises
    ------
    ValueError
        If `alpha` is negative or not finite.

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
    number = not isinstance(alpha, Tensor)
    fits = not number or 0 <= alpha < math.inf
    expect(fits, "a finite alpha of at least 0", alpha, "alpha=0.2")
    shape = torch.full((n,), alpha, device=device) if number else alpha.expand(n)
    a, b = (torch._standard_gamma(shape.float().clamp(min=1e-6)) for _ in range(2))
    return torch.where(shape > 0, a / (a + b), 1)


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
        If `alpha` is negative or not finite.

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
    order = torch.randperm(len(x), device=x.device)
    return mixup(x, shares(y, n_classes), order, beta(alpha, len(x), x.device))


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
        If the inputs are no images, or `alpha` is negative or not finite.

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
    expect(x.ndim == 4, "images (B, C, H, W)", f"inputs of shape {tuple(x.shape)}", "random_mixup")
    order = torch.randperm(len(x), device=x.device)
    side = (1 - beta(alpha, len(x), x.device)).sqrt()
    height, width = ((n * side).long() for n in x.shape[-2:])
    top = whole(x, 0, x.shape[-2] - 1) - height // 2
    left = whole(x, 0, x.shape[-1] - 1) - width // 2
    return cutmix(x, shares(y, n_classes), order, top, left, height, width)
