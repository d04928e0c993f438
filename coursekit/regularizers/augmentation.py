"""Data augmentation: change the training images at random, in ways that should keep the label.

Axes: B batch, C channels, H rows, W columns. Every transformation comes twice: a function of its
parameters, which has values and gradients to check, and a `random_...` that draws parameters of
its own for each image. The second kind is an `augment=` hook of `fit`; its limits may be numbers,
or scalar tensors with one value per network. What moves out of the frame is lost, and what moves
in is 0 (black). What only moves pixels takes images of any type of numbers; what computes with
them takes floats. One image without a batch is refused: its channels would be taken for images.
"""

import math
import re
from collections.abc import Collection

import torch
from torch import Tensor

from coursekit.datasets.values import expect, inside, number, tensor

Number = float | Tensor
NEGATIONS = frozenset({
    "not", "no", "never", "nor", "neither", "none", "without", "hardly", "cannot", "nobody",
    "nothing", "nowhere", "noone", "barely", "scarcely", "rarely", "seldom", "aint", "arent",
    "cant", "couldnt", "didnt", "doesnt", "dont", "hadnt", "hasnt", "havent", "isnt", "shouldnt",
    "wasnt", "werent", "wont", "wouldnt",
})  # fmt: skip

# Given the parameters


def pick(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read pixels at (B, h, w) int64 positions of images (B, C, H, W); 0 outside the frame.

    Returns
    -------
    (B, C, h, w) tensor

    Raises
    ------
    ValueError
        If the shapes do not fit, or the positions are no whole numbers.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> rows, columns = torch.tensor([[[0, 1, 5]]]), torch.tensor([[[1, 0, 0]]])  # 5 is outside
    >>> augmentation.pick(image, rows, columns).flatten()
    tensor([2., 3., 0.])
    """
    _images(x)
    rows, columns = _whole("rows", rows, "(B, h, w)"), _whole("columns", columns, "(B, h, w)")
    got = f"rows {tuple(rows.shape)}, columns {tuple(columns.shape)} for {len(x)} images"
    fits = rows.shape == columns.shape and len(rows) == len(x)
    expect(fits, "rows and columns (B, h, w)", got, "rows.expand(len(x), h, w)")
    return _pick(x, rows, columns)


# Functions that start with _ are those that follow a public one without its checks: a hook, which
# is called in every step, looks at its own arguments once.


def _pick(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    flat = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    index = flat.flatten(1).unsqueeze(1).expand(-1, x.shape[1], -1)  # (B, C, h * w)
    values = x.flatten(2).gather(2, index).unflatten(2, rows.shape[1:])
    return torch.where(inside.unsqueeze(1), values, 0)


def crop(x: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut a window out of each image.

    Parameters
    ----------
    x : (B, C, H, W) tensor
    top, left : (B,) int64 tensors, or int
        Corner of the window; what lies outside of the image is 0.
    size : (int, int)
        Height h and width w of the window.

    Returns
    -------
    (B, C, h, w) tensor

    Raises
    ------
    ValueError
        If the inputs are no images, or a corner or side is no whole number.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image = torch.arange(9.0).view(1, 1, 3, 3)
    >>> augmentation.crop(image, torch.tensor([1]), torch.tensor([1]), (2, 2))[0, 0]
    tensor([[4., 5.],
            [7., 8.]])
    """
    top, left = _per_image(_images(x), whole=True, top=top, left=left)
    two = isinstance(size, tuple | list | torch.Size) and len(size) == 2
    expect(two, "a size (height, width)", size, "size=(8, 8)")
    size = tuple(number("side", side, "[1, inf)", whole=True) for side in size)
    return _crop(x, top, left, size)


def _crop(x: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    rows = top.view(-1, 1, 1) + torch.arange(size[0], device=x.device).view(-1, 1)
    columns = left.view(-1, 1, 1) + torch.arange(size[1], device=x.device)
    shape = len(x), *size
    return _pick(x, rows.expand(shape), columns.expand(shape))


def shift(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image (B, C, H, W) by whole pixels, (B,) int64 each; no wrap-around.

    Raises
    ------
    ValueError
        If the inputs are no images, or a move is no whole number.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image = torch.arange(9.0).view(1, 1, 3, 3)
    >>> augmentation.shift(image, down=torch.tensor([1]), right=torch.tensor([0]))[0, 0]
    tensor([[0., 0., 0.],
            [0., 1., 2.],
            [3., 4., 5.]])
    """
    down, right = _per_image(_images(x), whole=True, down=down, right=right)
    return _crop(x, -down, -right, x.shape[-2:])


def flip(x: Tensor, which: Tensor, *, axis: int = -1) -> Tensor:
    """Mirror the images (B, C, H, W) where `which` (B,) is true; axis -1: left and right.

    Raises
    ------
    ValueError
        If the inputs are no images, `which` is no (B,) bool, or the axis is none of an image.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image = torch.arange(9.0).view(1, 1, 3, 3)
    >>> augmentation.flip(image, torch.tensor([True]))[0, 0]
    tensor([[2., 1., 0.],
            [5., 4., 3.],
            [8., 7., 6.]])
    """
    _check_axis(axis)
    which = tensor("which", which, axes="(B,)", floats=False)
    fits = which.dtype == torch.bool and len(which) in (1, len(_images(x)))
    got = f"{which.dtype} of shape {tuple(which.shape)} for {len(x)} images"
    expect(fits, "which as (B,) bool", got, "which=torch.rand(len(x)) < 0.5")
    return torch.where(which.view(-1, 1, 1, 1), x.flip(axis), x)


def affine(
    x: Tensor, degrees: Number = 0.0, scale: Number = 1.0, down: Number = 0.0, right: Number = 0.0
) -> Tensor:
    """Turn, enlarge and move each image, in this order, about its middle.

    For each pixel of the result, the place in `x` that it comes from is computed, and read between
    its four neighbors (bilinear interpolation).

    Parameters
    ----------
    x : (B, C, H, W) float tensor
    degrees : float or (B,) tensor
        Counter-clockwise.
    scale : float or (B,) tensor, above 0
        2 makes everything twice as large.
    down, right : float or (B,) tensor
        In pixels, also fractions.

    Returns
    -------
    (B, C, H, W) tensor

    Raises
    ------
    ValueError
        If the inputs are no images of floats, a parameter is not finite, or `scale` not above 0.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image = torch.arange(9.0).view(1, 1, 3, 3)
    >>> augmentation.affine(image, degrees=90.0)[0, 0].round()
    tensor([[2., 5., 8.],
            [1., 4., 7.],
            [0., 3., 6.]])
    >>> augmentation.affine(image, right=0.5)[0, 0]
    tensor([[0.0000, 0.5000, 1.5000],
            [1.5000, 3.5000, 4.5000],
            [3.0000, 6.5000, 7.5000]])
    """
    scale = _per_image(_images(x, floats=True), scale=scale, interval="(0, inf)")[0]
    degrees, down, right = _per_image(x, degrees=degrees, down=down, right=right)
    return _affine(x, degrees, scale, down, right)


def _affine(
    x: Tensor, degrees: Number = 0.0, scale: Number = 1.0, down: Number = 0.0, right: Number = 0.0
) -> Tensor:
    height, width = x.shape[-2:]
    # Half precision has too few digits for the places of pixels in a large image.
    kind = torch.promote_types(x.dtype, torch.float32)
    each = torch.ones(len(x), 1, 1, dtype=kind, device=x.device)
    turn, scale, down, right = (
        each * (p.view(-1, 1, 1) if isinstance(p, Tensor) else p)
        for p in (degrees, scale, down, right)
    )
    cos, sin = (torch.deg2rad(turn).cos() / scale, torch.deg2rad(turn).sin() / scale)
    middle = (height - 1) / 2, (width - 1) / 2
    # Where a pixel of the result lies, seen from the middle, before the move: (B, H, W).
    v = torch.arange(height, device=x.device).view(-1, 1) - middle[0] - down
    u = torch.arange(width, device=x.device) - middle[1] - right
    rows, columns = sin * u + cos * v + middle[0], cos * u - sin * v + middle[1]
    top, left = rows.detach().floor(), columns.detach().floor()
    low, near = (rows - top).unsqueeze(1), (columns - left).unsqueeze(1)  # shares of the neighbors
    top, left = top.long(), left.long()
    upper = (1 - near) * _pick(x, top, left) + near * _pick(x, top, left + 1)
    lower = (1 - near) * _pick(x, top + 1, left) + near * _pick(x, top + 1, left + 1)
    return ((1 - low) * upper + low * lower).to(x.dtype)


def adjust(x: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Change the light: stretch about the mean of each image, then add, then clamp to [0, 1].

    Parameters
    ----------
    x : (B, C, H, W) float tensor in [0, 1]
    brightness : (B,) tensor
        Added to every pixel.
    contrast : (B,) tensor, at least 0
        1 changes nothing, 0 leaves the mean.

    Returns
    -------
    (B, C, H, W) tensor in [0, 1]

    Raises
    ------
    ValueError
        If the inputs are no images of floats, a pixel on the CPU lies outside [0, 1], or a contrast
        is negative.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image = torch.tensor([[[[0.2, 0.4], [0.6, 0.8]]]])
    >>> augmentation.adjust(image, torch.tensor([0.3]), contrast=torch.tensor([0.5]))[0, 0]
    tensor([[0.6500, 0.7500],
            [0.8500, 0.9500]])
    """
    _check_unit(x)
    [brightness] = _per_image(x, brightness=brightness)
    [contrast] = _per_image(x, contrast=contrast, interval="[0, inf)")
    return _adjust(x, brightness, contrast)


def _adjust(x: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    brightness, contrast = brightness.view(-1, 1, 1, 1), contrast.view(-1, 1, 1, 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + contrast * (x - mean) + brightness).clamp(0, 1)


def rectangle(x: Tensor, top: Tensor, left: Tensor, height: Number, width: Number) -> Tensor:
    """Mask (B, 1, H, W), true in one rectangle per image; corner (B,), sides a number or (B,).

    Raises
    ------
    ValueError
        If the inputs are no images, or a corner or side is no whole number.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image, corner = torch.ones(1, 1, 3, 4), torch.tensor([1])
    >>> augmentation.rectangle(image, top=corner, left=corner, height=2, width=2)[0, 0].int()
    tensor([[0, 0, 0, 0],
            [0, 1, 1, 0],
            [0, 1, 1, 0]], dtype=torch.int32)
    """
    corner = _per_image(_images(x), whole=True, top=top, left=left)
    sides = _per_image(x, whole=True, height=height, width=width, interval="[0, inf)")
    return _rectangle(x, *corner, *sides)


def _rectangle(x: Tensor, top: Tensor, left: Tensor, height: Number, width: Number) -> Tensor:
    top, left = top.view(-1, 1, 1, 1), left.view(-1, 1, 1, 1)
    height, width = (
        side.view(-1, 1, 1, 1) if isinstance(side, Tensor) else side for side in (height, width)
    )
    rows = torch.arange(x.shape[-2], device=x.device).view(-1, 1)
    columns = torch.arange(x.shape[-1], device=x.device)
    return (
        (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    )  # fmt: skip


def erase(
    x: Tensor, top: Tensor, left: Tensor, height: Number, width: Number, value: float = 0.0
) -> Tensor:
    """Fill one rectangle per image (B, C, H, W) with a value; what is outside is cut off.

    Corner (B,), sides a number or (B,): all whole numbers.

    Raises
    ------
    ValueError
        If the inputs are no images, or a corner or side is no whole number.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> image, corner = torch.ones(1, 1, 3, 4), torch.tensor([1])
    >>> augmentation.erase(image, top=corner, left=corner, height=2, width=2)[0, 0]
    tensor([[1., 1., 1., 1.],
            [1., 0., 0., 1.],
            [1., 0., 0., 1.]])
    """
    number("value", value)
    if not _images(x).is_floating_point() and float(value).is_integer():
        value = int(value)  # bytes stay bytes
    return torch.where(rectangle(x, top, left, height, width), value, x)


# Drawn for each image


def between(x: Tensor, low: Number, high: Number) -> Tensor:
    """Draw one number in [low, high) for each image: (B,). ValueError if a limit is no number."""
    _check_limits(x, low, high)
    return _draw(x, low, high)


def _draw(x: Tensor, low: Number, high: Number) -> Tensor:
    return low + (high - low) * torch.rand(len(x), device=x.device)


def whole(x: Tensor, low: Number, high: Number) -> Tensor:
    """Draw one whole number from low to high, both included, for each image: (B,) int64.

    ValueError if a limit is no whole number.
    """
    _check_limits(x, low, high, whole=True)
    return _whole_draw(x, low, high)


def _whole_draw(x: Tensor, low: Number, high: Number) -> Tensor:
    # `torch.randint` takes no tensor as its limit, which may differ per network.
    steps = ((high - low + 1) * torch.rand(len(x), device=x.device)).floor()
    return (low + steps).long()


def random_shift(x: Tensor, pixels: Number) -> Tensor:
    """Move each image (B, C, H, W) by up to `pixels` whole pixels each way.

    A random crop of the old size, after padding by `pixels` zeros on each side, is the same.

    Raises
    ------
    ValueError
        If the inputs are no images, or `pixels` is negative or no whole number.

    Examples
    --------
    >>> from functools import partial
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> images = torch.rand(32, 1, 8, 8)
    >>> augmentation.random_shift(images, pixels=1).shape
    torch.Size([32, 1, 8, 8])
    >>> augment = partial(augmentation.random_shift, pixels=1)  # for fit(..., augment=augment)
    """
    number("pixels", pixels, "[0, inf)", whole=True)
    down, right = (_whole_draw(_images(x), -pixels, pixels) for _ in range(2))
    return _crop(x, -down, -right, x.shape[-2:])


def random_crop(x: Tensor, size: int, padding: Number = 0) -> Tensor:
    """Cut a random window out of each image (B, C, H, W) after padding it with zeros.

    Parameters
    ----------
    x : (B, C, H, W) tensor
    size : int
        Side of the window, in pixels.
    padding : int, or scalar tensor
        Zeros that are added on each side before.

    Returns
    -------
    (B, C, size, size) tensor

    Raises
    ------
    ValueError
        If the inputs are no images, `size` or `padding` is negative or no whole number, or the
        window is larger than the padded image.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> augmentation.random_crop(torch.rand(32, 3, 8, 8), size=6).shape
    torch.Size([32, 3, 6, 6])
    """
    number("padding", padding, "[0, inf)", whole=True)
    size = number("size", size, "[1, inf)", "size=8", whole=True)
    height, width = _images(x).shape[-2:]
    fits = isinstance(padding, Tensor) or size <= min(height, width) + 2 * padding
    expect(fits, f"a window of 1 to {min(height, width)} + 2 * padding", size, "more padding")
    top, left = (_whole_draw(x, -padding, side + padding - size) for side in (height, width))
    return _crop(x, top, left, (size, size))


def random_flip(x: Tensor, rate: Number = 0.5, *, axis: int = -1) -> Tensor:
    """Mirror each image with probability `rate`; axis -1 swaps left and right, -2 top and bottom.

    Raises
    ------
    ValueError
        If the inputs are no images, `rate` is outside [0, 1], or the axis is none of an image.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> augmentation.random_flip(torch.tensor([[[[1.0, 2.0]]]]), rate=1.0)
    tensor([[[[2., 1.]]]])
    """
    number("rate", rate, "[0, 1]", "rate=0.5")
    _check_axis(axis)
    which = torch.rand(len(_images(x)), device=x.device) < rate
    return torch.where(which.view(-1, 1, 1, 1), x.flip(axis), x)


def random_rotate(x: Tensor, degrees: Number) -> Tensor:
    """Turn each image (B, C, H, W) by up to `degrees` either way.

    Raises
    ------
    ValueError
        If the inputs are no images of floats, or `degrees` is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> augmentation.random_rotate(torch.rand(32, 1, 8, 8), degrees=10).shape
    torch.Size([32, 1, 8, 8])
    """
    number("degrees", degrees, "[0, inf)")
    return _affine(_images(x, floats=True), _draw(x, -degrees, degrees))


def random_scale(x: Tensor, factor: Number) -> Tensor:
    """Enlarge or shrink each image by up to `factor` (at least 1), even in the logarithm.

    Raises
    ------
    ValueError
        If the inputs are no images of floats, or `factor` is below 1 or not finite.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> augmentation.random_scale(torch.rand(32, 1, 8, 8), factor=1.1).shape
    torch.Size([32, 1, 8, 8])
    """
    number("factor", factor, "[1, inf)")
    _images(x, floats=True)
    log = factor.log() if isinstance(factor, Tensor) else math.log(factor)
    return _affine(x, scale=_draw(x, -log, log).exp())


def random_light(x: Tensor, brightness: Number = 0.2, contrast: Number = 0.2) -> Tensor:
    """Change the light of images (B, C, H, W) in [0, 1].

    Brightness moves by up to `brightness`, contrast by up to the share `contrast`, see `adjust`.

    Raises
    ------
    ValueError
        As `adjust`, and if `brightness` or `contrast` is outside [0, 1].

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> changed = augmentation.random_light(torch.rand(32, 1, 8, 8), brightness=0.3)
    >>> bool(changed.min() >= 0), bool(changed.max() <= 1)
    (True, True)
    """
    number("brightness", brightness, "[0, 1]", "brightness=0.2")
    number("contrast", contrast, "[0, 1]", "contrast=0.2")
    _check_unit(x)
    brighter, stretch = _draw(x, -brightness, brightness), _draw(x, 1 - contrast, 1 + contrast)
    return _adjust(x, brighter.to(x.dtype), stretch.to(x.dtype))


def random_erase(x: Tensor, size: Number, *, inside: bool = True) -> Tensor:
    """Blacken one square of `size` by `size` pixels in each image.

    Parameters
    ----------
    x : (B, C, H, W) tensor
    size : int, or scalar tensor
        Side of the square.
    inside : bool
        True: the square lies inside, so that exactly `size**2` pixels go. False: its middle is any
        pixel, as in the paper, and what sticks out is cut off: with n rows (or columns) the mean
        side is `size - (size**2 // 4) / n` for `size <= n`.

    Raises
    ------
    ValueError
        If the inputs are no images, or the square is larger, or its side no whole number.

    References
    ----------
    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout",
    arXiv:1708.04552, 2017.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> erased = augmentation.random_erase(torch.ones(4, 1, 8, 8), size=3)
    >>> (erased == 0).sum((1, 2, 3))  # pixels that went, per image
    tensor([9, 9, 9, 9])
    """
    largest = min(_images(x).shape[-2:])
    number("size", size, f"[0, {largest}]", "a smaller square", whole=True)
    half = size // 2
    top, left = (
        _whole_draw(x, 0, side - size) if inside else _whole_draw(x, 0, side - 1) - half
        for side in x.shape[-2:]
    )
    return torch.where(_rectangle(x, top.long(), left.long(), size, size), 0, x)


def random_noise(x: Tensor, sigma: Number) -> Tensor:
    """Add Gaussian noise of standard deviation `sigma` to every number of (B, ...).

    Raises
    ------
    ValueError
        If the inputs are no floats, or `sigma` is negative or not finite.

    References
    ----------
    Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7,
    1995.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> _ = torch.manual_seed(0)
    >>> noisy = augmentation.random_noise(torch.zeros(1000, 100), sigma=0.1)
    >>> round(float(noisy.std()), 2)
    0.1
    """
    number("sigma", sigma, "[0, inf)")
    tensor("x", x, axes="(B, ...)")
    return x + sigma * torch.randn_like(x)


def word_dropout(
    text: str,
    rate: float = 0.1,
    *,
    protect: Collection[str] = NEGATIONS,
    generator: torch.Generator | None = None,
) -> str:
    """Delete each word with probability `rate`, but no negation and never the whole text.

    Parameters
    ----------
    text : str
    rate : float in [0, 1)
    protect : collection of str
        Words that stay, in small or capital letters, also between punctuation and as parts of a
        word with hyphens. So does every word that ends in "n't".
    generator : torch.Generator, optional

    Returns
    -------
    str
        With at least one word of `text`, if it has any.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1), or `text` or `protect` has another type.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import augmentation
    >>> text, coins = "this film is not good at all", torch.Generator().manual_seed(0)
    >>> augmentation.word_dropout(text, rate=0.5, generator=coins)
    'film not at'
    """
    number("rate", rate, "[0, 1)", "rate=0.1")
    expect(isinstance(text, str), "a text", type(text).__name__, "one call for each text")
    several = isinstance(protect, Collection) and not isinstance(protect, str)
    expect(several, "a set of words to protect", repr(protect), 'protect={"not"}')
    words, safe = text.split(), {word.lower() for word in protect}
    draws = torch.rand(len(words), generator=generator).tolist()
    stays = [_holds(word, safe) or u >= rate for word, u in zip(words, draws, strict=True)]
    kept = [word for word, there in zip(words, stays, strict=True) if there]
    if not kept and words:  # the word that came closest to staying
        kept = [words[max(range(len(words)), key=draws.__getitem__)]]
    return " ".join(kept)


def _holds(word: str, safe: set[str]) -> bool:
    """Whether a word, or a part of it between punctuation, is among the safe ones."""
    plain = word.lower().replace("\u2019", "'")
    parts = [part.strip("'") for part in re.split(r"[^\w']+", plain)]
    return any(part in safe or part.endswith("n't") for part in parts)


# What comes in


def _images(x: Tensor, *, floats: bool = False) -> Tensor:
    return tensor("images x", x, axes="(B, C, H, W)", floats=floats)


def _whole(name: str, t: Tensor, axes: str) -> Tensor:
    t = tensor(name, t, axes=axes, floats=False)
    integer = not (t.is_floating_point() or t.is_complex() or t.dtype == torch.bool)
    advice = f"{name}.long(), or affine for parts of a pixel"
    expect(integer, f"{name} of whole numbers", t.dtype, advice)
    return t.long()


def _per_image(
    x: Tensor, *, whole: bool = False, interval: str = "(-inf, inf)", **values: Number
) -> list[Tensor]:
    """Parameters as tensors with one number per image (B,), or one for all (1,)."""
    tensors = []
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.ndim == 0:
            number(name, value, interval, whole=whole)
            kind = torch.int64 if whole else torch.promote_types(x.dtype, torch.float32)
            # Filled in, not copied to a GPU: a step may be recorded.
            one = (
                value.view(1) if isinstance(value, Tensor) else x.new_full((1,), value, dtype=kind)
            )
            tensors.append(one.to(kind))
            continue
        t = _whole(name, value, "(B,)") if whole else tensor(name, value, axes="(B,)", floats=False)
        if t.is_floating_point() or interval != "(-inf, inf)":
            inside(name, t, interval, f"{name} of one number for all images")
        got = f"{len(t)} for {len(x)} images"
        expect(len(t) in (1, len(x)), f"one {name} per image", got, f"{name}.expand(len(x))")
        tensors.append(t)
    return tensors


def _check_unit(x: Tensor) -> None:
    advice = "x / 255 for bytes, or x.clamp(0, 1)"  # interpolation may round a little beyond
    inside("pixels", _images(x, floats=True), "[0, 1]", advice, slack=1e-3)


def _check_axis(axis: int) -> None:
    expect(axis in (-1, -2), "axis -1 (left-right) or -2 (up-down)", axis, "axis=-1")


def _check_limits(x: Tensor, *limits: Number, whole: bool = False) -> None:
    tensor("x", x, axes="(B, ...)", floats=False)
    for limit in limits:
        number("limit", limit, whole=whole)
