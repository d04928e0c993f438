"""Exercise to lesson 07, a bug hunt: paste one image into another."""

import numpy as np
import torch

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import mixing


def _cutmix(x, y, order, top, left, height, width):
    sides = [torch.full((len(x),), side) for side in (top, left, height, width)]
    return mixing.cutmix(x, y, order, *sides)


def _cutmix_driver(answer, x, **others):
    given = {"x": x, "y": others["y"], "order": others["order"]}
    before = {name: value.clone() for name, value in given.items()}
    images, labels = answer(x, *others.values())
    # Compared now: an answer that works in place returns `x` itself.
    unchanged = {f"{name} afterwards": value.equal(before[name]) for name, value in given.items()}
    return {"the images": images, "the labels": labels} | unchanged


def _cutmix_probes(rng: np.random.Generator) -> list[Probe]:
    x = rng.normal(size=(4, 2, 6, 9)).astype(np.float32)
    y = rng.dirichlet(np.ones(3), 4).astype(np.float32)
    order = np.array([2, 3, 1, 0])  # not its own inverse
    height, width = int(rng.integers(2, 4)), int(rng.integers(4, 6))
    places = {
        "an empty rectangle": (1, 2, 0, width),
        "a rectangle inside": (1, 2, height, width),
        "one that sticks out below and on the right": (
            6 - height + 1,
            9 - width + 2,
            height,
            width,
        ),
        "one that sticks out above": (-1, 2, height, width),
        "one that sticks out on the left": (2, -2, height, width),
        "one that lies above the image": (-height - 1, 2, height, width),
        "one that lies to the left of the image": (1, -width - 2, height, width),
        "one that lies below the image": (7, 2, height, width),
    }
    tall = x.swapaxes(2, 3).copy()
    cases = [(name, x, place) for name, place in places.items()]
    cases.append(("one at the bottom of a tall image", tall, (6, 1, 3, height)))
    return [
        Probe(name, {"x": x, "y": y, "order": order} | dict(zip(_SIDES, place, strict=True)))
        for name, x, place in cases
    ]


_SIDES = ("top", "left", "height", "width")

paste = Exercise(
    name="paste",
    lesson="07",
    points=3,
    signature="(x, y, order, top, left, height, width)",
    task="""
CutMix, rebuilt from the first release of the paper's own code
([clovaai/CutMix-PyTorch, issue 1](https://github.com/clovaai/CutMix-PyTorch/issues/1)). `x` is a
float tensor (B, C, H, W), `y` (B, classes) holds label shares, `order` (B,) int64 is a permutation:
the partner of image `i` is image `order[i]`. The rectangle, four ints, is the same for the whole
batch: rows `top` to `top + height - 1`, columns `left` to `left + width - 1`. It may stick out of
the image; that part does not exist. Inside it each image shows its partner's pixels **of the same
place**. The labels are blended by the share of pixels that each image of a pair has in the result.
Return `(images, labels)`, new tensors. The code runs, and training with it works. What is wrong?
""",
    probes=_cutmix_probes,
    reference=_cutmix,
    driver=_cutmix_driver,
    bug="nominal_area",
    hints=(
        "Paste a rectangle at a corner, and count the pixels that changed.",
        "Which share of the label should a partner have of whom no pixel can be seen?",
        "Clip the corners first, and compute the share from the clipped ones.",
    ),
    why="""\
What sticks out of the frame shows nothing of the partner, so it must not count in the label. With
the nominal area a rectangle at the border gives the partner a larger share of the label than of the
picture: label noise, and more of it the larger the rectangle. The authors corrected it in 2019.""",
)


@paste.right
def clipped_area(x, y, order, top, left, height, width):
    rows = slice(max(top, 0), max(min(top + height, x.shape[2]), 0))
    columns = slice(max(left, 0), max(min(left + width, x.shape[3]), 0))
    images = x.clone()
    images[:, :, rows, columns] = x[order][:, :, rows, columns]
    pasted = x[:, :, rows, columns].numel() / x.numel()
    return images, (1 - pasted) * y + pasted * y[order]


@paste.right
def by_a_mask(x, y, order, top, left, height, width):
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    share = mask.to(x.dtype).mean()
    return torch.where(mask, x[order], x), torch.lerp(y, y[order], share)


@paste.right
def pixel_by_pixel(x, y, order, top, left, height, width):
    images, count = x.clone(), 0
    for i in range(top, top + height):
        for j in range(left, left + width):
            if 0 <= i < x.shape[2] and 0 <= j < x.shape[3]:
                images[:, :, i, j] = x[order, :, i, j]
                count += 1
    kept = 1 - count / (x.shape[2] * x.shape[3])
    return images, kept * y + (1 - kept) * y[order]


@paste.wrong(
    "For a rectangle at the border, the partner's share of the label is larger than its share of "
    "the pixels."
)
def nominal_area(x, y, order, top, left, height, width):
    pasted = height * width / (x.shape[2] * x.shape[3])
    bottom, right = min(top + height, x.shape[2]), min(left + width, x.shape[3])
    top, left = max(top, 0), max(left, 0)
    images = x.clone()
    images[:, :, top:bottom, left:right] = x[order, :, top:bottom, left:right]
    return images, (1 - pasted) * y + pasted * y[order]


@paste.wrong(
    "You gave the pasted share to the image itself: it belongs to the partner's label, and the "
    "rest to the image's own."
)
def shares_swapped(x, y, order, top, left, height, width):
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    pasted = mask.to(x.dtype).mean()
    return torch.where(mask, x[order], x), pasted * y + (1 - pasted) * y[order]


@paste.wrong("The pictures are mixed and the labels are not: blend the labels by the same share.")
def own_labels(x, y, order, top, left, height, width):
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    return torch.where(mask, x[order], x), y.clone()


@paste.wrong(
    "The partners of pictures and labels differ, or run backwards: image i gets the pixels of "
    "image order[i], and its label as well."
)
def backwards(x, y, order, top, left, height, width):
    order = order.argsort()
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    pasted = mask.to(x.dtype).mean()
    return torch.where(mask, x[order], x), (1 - pasted) * y + pasted * y[order]


@paste.wrong(
    "You exchanged rows and columns: images are (B, C, H, W), so `top` and `height` belong to the "
    "third axis."
)
def axes_swapped(x, y, order, top, left, height, width):
    top, left, height, width = left, top, width, height
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    pasted = mask.to(x.dtype).mean()
    return torch.where(mask, x[order], x), (1 - pasted) * y + pasted * y[order]


@paste.wrong(
    "A negative corner is counted from the other end by Python's slices, and nothing is pasted: "
    "start at 0 where the rectangle sticks out above or on the left."
)
def negative_slices(x, y, order, top, left, height, width):
    rows, columns = slice(top, top + height), slice(left, left + width)
    images = x.clone()
    images[:, :, rows, columns] = x[order][:, :, rows, columns]
    pasted = images[0, 0, rows, columns].numel() / x[0, 0].numel()
    return images, (1 - pasted) * y + pasted * y[order]


@paste.wrong("You pasted into x: return new images and leave the batch alone.")
def into_the_batch(x, y, order, top, left, height, width):
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    pasted = mask.to(x.dtype).mean()
    x.copy_(torch.where(mask, x[order], x))
    return x, (1 - pasted) * y + pasted * y[order]


@paste.wrong(
    "The rectangle is black: that is cutout. Here it shows the partner's pixels of the same place."
)
def blackened(x, y, order, top, left, height, width):
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    pasted = mask.to(x.dtype).mean()
    return torch.where(mask, 0, x), (1 - pasted) * y + pasted * y[order]


@paste.wrong(
    "The rectangle has a row and a column too many: top + height and left + width are outside."
)
def one_too_many(x, y, order, top, left, height, width):
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows <= top + height) & (columns >= left) & (columns <= left + width)
    pasted = mask.to(x.dtype).mean()
    return torch.where(mask, x[order], x), (1 - pasted) * y + pasted * y[order]


@paste.wrong("The label has the share of the image's height: count pixels, height times width.")
def share_of_the_side(x, y, order, top, left, height, width):
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    mask = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    pasted = mask.any(1).to(x.dtype).mean()
    return torch.where(mask, x[order], x), (1 - pasted) * y + pasted * y[order]
