"""Exercises to lesson 07, first part: move images, and paste one into another."""

import numpy as np
import torch
from torch.nn import functional as F

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import augmentation, mixing

# --- random shifts ---------------------------------------------------------------------------


def _shift_probes(rng: np.random.Generator) -> list[Probe]:
    x = rng.uniform(0.2, 1.0, (4, 2, 7, 9)).astype(np.float32)
    seed = int(rng.integers(2**31))
    return [Probe("pixels=0", {"x": x, "pixels": 0})] + [
        Probe(f"pixels={k}", {"x": x, "pixels": k}, draws=100, seed=seed + 7 * k) for k in (1, 2)
    ]


def _shift_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    x, k = inputs["x"], inputs["pixels"]
    if draws.shape[1:] != x.shape:
        return [Fact("whether the shape is kept (1: yes)", 0, 1, 0)]
    b = draws.shape[1]
    offsets = [(i, j) for i in range(-k, k + 1) for j in range(-k, k + 1)]
    # Pixels this far inside were inside before, whatever fills the gap at the border.
    high, wide = slice(k, x.shape[2] - k), slice(k, x.shape[3] - k)
    inner = np.stack([np.roll(x, move, (2, 3))[..., high, wide] for move in offsets])
    same = (draws[:, None, :, :, high, wide] == inner).all((-2, -1))  # (n, offsets, B, C)
    together = same.all(-1).any(1).all() or not same[..., 0].any(1).all()
    moves = np.array(offsets)[same[..., 0].argmax(1)]  # (n, B, 2), by the first channel
    filled = np.zeros((len(offsets), *x.shape), x.dtype)
    for to, (i, j) in zip(filled, offsets, strict=True):
        rows, columns = slice(max(i, 0), 7 + min(i, 0)), slice(max(j, 0), 9 + min(j, 0))
        to[..., rows, columns] = np.roll(x, (i, j), (2, 3))[..., rows, columns]
    rolled = np.stack([np.roll(x, move, (2, 3)) for move in offsets])
    place, which = same[..., 0].argmax(1), np.arange(b)
    share, cell = 1 / (2 * k + 1), 1 / (2 * k + 1) ** 2

    def fact(name: str, found: np.ndarray, expected: float) -> Fact:
        return Fact(name, found.mean(), expected, np.sqrt(expected * (1 - expected) / found.size))

    def whether(name: str, found: np.ndarray, expected: int) -> Fact:
        return Fact(f"whether {name} (1: yes, 0: no)", float(np.all(found)), expected, 0)

    down, right = moves[..., 0], moves[..., 1]
    return [
        whether("every result is its image moved by whole pixels", same[..., 0].any(1), 1),
        whether("the channels of an image move together", together, 1),
        fact("the share of images moved up by `pixels`", down == -k, share),
        fact("the share of images moved down by `pixels`", down == k, share),
        fact("the share of images moved left by `pixels`", right == -k, share),
        fact("the share of images moved right by `pixels`", right == k, share),
        fact("the share of images not moved at all", (moves == 0).all(-1), cell),
        fact("the share of equal moves down and right", down == right, share),
        fact(
            "the share of batches whose first two images move alike",
            (moves[:, 0] == moves[:, 1]).all(-1),
            cell,
        ),
        whether("gaps are filled with 0", filled[place, which] == draws, 1),
        whether("gaps are filled from the other side", rolled[place, which] == draws, 0),
    ]


random_shift = Exercise(
    name="random_shift",
    lesson="07",
    points=3,
    signature="(x, pixels)",
    task="""
Move each image of the float tensor `x` (B, C, H, W) at random by whole pixels: down by a number
from `-pixels` to `pixels`, **both included** and equally likely, and independently to the right in
the same way. Each image gets moves of its own; its channels move together. What leaves the frame
is lost, and what comes in is 0. Return a tensor of the same shape; `pixels` is an int of at least
0 and smaller than H and W; with 0, nothing moves.
""",
    probes=_shift_probes,
    reference=augmentation.random_shift,
    facts=_shift_facts,
    hints=(
        "How many random numbers does a batch of B images need, and from how many values each?",
        "`torch.randint(-k, k + 1, (B, 2))` includes k. `F.pad(x, (k, k, k, k))` adds zeros.",
        "A window of the old size, cut out of the padded image at (k - down, k - right), is the "
        "moved image. A loop over the images is fine.",
    ),
    why="""\
A shift says: the place does not matter. It says so for each image alone, or all images of a step
would share one luck; up as often as down, or the network learns a new place instead of none; and
with black gaps, because `roll` would invent images whose left edge is glued to the right one.""",
)


@random_shift.right
def by_windows(x, pixels):
    height, width = x.shape[-2:]
    padded = F.pad(x, (pixels, pixels, pixels, pixels))
    moved = torch.empty_like(x)
    for i in range(len(x)):
        top, left = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
        moved[i] = padded[i, :, top : top + height, left : left + width]
    return moved


@random_shift.right
def by_choice(x, pixels):
    height, width = x.shape[-2:]
    padded, steps = F.pad(x, (pixels,) * 4), range(2 * pixels + 1)
    moves = [padded[..., i : i + height, j : j + width] for i in steps for j in steps]
    chosen = torch.randint(len(moves), (len(x),))
    return torch.stack(moves)[chosen, torch.arange(len(x))]


@random_shift.right
def by_rolling(x, pixels):
    moved = []
    for image in x.clone():
        down, right = np.random.randint(-pixels, pixels + 1, 2)  # noqa: NPY002 - a learner's way
        image = image.roll((int(down), int(right)), (1, 2))
        rows, columns = torch.arange(image.shape[1]), torch.arange(image.shape[2])
        stays = ((rows >= down) & (rows < len(rows) + down))[:, None]
        moved.append(image * (stays & (columns >= right) & (columns < len(columns) + right)))
    return torch.stack(moved)


@random_shift.right
def by_matrices(x, pixels):
    # A matrix with ones beside its diagonal moves the rows, another one the columns.
    down, right = torch.randint(-pixels, pixels + 1, (2, len(x), 1, 1))
    rows, columns = (torch.arange(n) for n in x.shape[-2:])
    up = (rows[:, None] - rows == down).to(x)[:, None]
    over = (columns - columns[:, None] == right).to(x)[:, None]
    return up @ x @ over


@random_shift.wrong(
    "What leaves on one side comes in on the other, as with `roll`: what comes in must be 0."
)
def wrapped(x, pixels):
    moves = torch.randint(-pixels, pixels + 1, (len(x), 2)).tolist()
    return torch.stack([image.roll(move, (1, 2)) for image, move in zip(x, moves, strict=True)])


@random_shift.wrong(
    "All images of a batch make the same move: draw two numbers for each image, not for the batch."
)
def one_move(x, pixels):
    top, left = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
    return F.pad(x, (pixels,) * 4)[..., top : top + x.shape[2], left : left + x.shape[3]]


@random_shift.wrong(
    "One end of the range never comes: `randint` excludes its upper limit, so that must be "
    "pixels + 1."
)
def without_upper_end(x, pixels):
    if pixels == 0:
        return x
    padded, moved = F.pad(x, (pixels,) * 4), []
    for image in padded:
        down, right = torch.randint(-pixels, pixels, (2,)).tolist()
        top, left = pixels - down, pixels - right
        moved.append(image[:, top : top + x.shape[2], left : left + x.shape[3]])
    return torch.stack(moved)


@random_shift.wrong(
    "Images move down and right only: the numbers must run from -pixels, not from 0."
)
def one_way(x, pixels):
    padded, moved = F.pad(x, (pixels,) * 4), []
    for image in padded:
        down, right = torch.randint(0, pixels + 1, (2,)).tolist()
        top, left = pixels - down, pixels - right
        moved.append(image[:, top : top + x.shape[2], left : left + x.shape[3]])
    return torch.stack(moved)


@random_shift.wrong(
    "Images move along the diagonal only: the move down and the move right need a draw each."
)
def diagonal(x, pixels):
    padded, moved = F.pad(x, (pixels,) * 4), []
    for image in padded:
        at = torch.randint(0, 2 * pixels + 1, ()).item()
        moved.append(image[:, at : at + x.shape[2], at : at + x.shape[3]])
    return torch.stack(moved)


@random_shift.wrong(
    "Each image moves by exactly `pixels` or minus that: smaller moves, and none, must come as "
    "often."
)
def full_moves_only(x, pixels):
    padded, moved = F.pad(x, (pixels,) * 4), []
    for image in padded:
        top, left = (2 * pixels * torch.randint(0, 2, (2,))).tolist()
        moved.append(image[:, top : top + x.shape[2], left : left + x.shape[3]])
    return torch.stack(moved)


@random_shift.wrong("Images move up and down only: the columns must move as well.")
def rows_only(x, pixels):
    padded, moved = F.pad(x, (0, 0, pixels, pixels)), []
    for image in padded:
        top = torch.randint(0, 2 * pixels + 1, ()).item()
        moved.append(image[:, top : top + x.shape[2]])
    return torch.stack(moved)


@random_shift.wrong(
    "The channels of one image move apart: draw one move for each image, used for all its channels."
)
def channels_apart(x, pixels):
    moved = torch.empty_like(x)
    padded = F.pad(x, (pixels,) * 4)
    for i in range(len(x)):
        for c in range(x.shape[1]):
            top, left = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
            moved[i, c] = padded[i, c, top : top + x.shape[2], left : left + x.shape[3]]
    return moved


@random_shift.wrong(
    "The gap is filled by repeating the border: fill it with 0, as padding does by default."
)
def border_repeated(x, pixels):
    padded, moved = F.pad(x, (pixels,) * 4, mode="replicate"), []
    for image in padded:
        top, left = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
        moved.append(image[:, top : top + x.shape[2], left : left + x.shape[3]])
    return torch.stack(moved)


@random_shift.wrong(
    "You return the padded image: cut a window of the old height and width out of it."
)
def never_cut(x, pixels):
    top, left = torch.randint(0, pixels + 1, (2,)).tolist()
    return F.pad(x, (pixels + left, pixels - left, pixels + top, pixels - top))


# --- CutMix ----------------------------------------------------------------------------------


def _cutmix(x, y, order, top, left, height, width):
    sides = [torch.full((len(x),), side) for side in (top, left, height, width)]
    return mixing.cutmix(x, y, order, *sides)


def _cutmix_driver(answer, x, **others):
    before = x.clone()
    images, labels = answer(x, *others.values())
    # Compared now: an answer that works in place returns `x` itself.
    return {"the images": images, "the labels": labels, "x afterwards": torch.equal(x, before)}


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
    }
    return [
        Probe(name, {"x": x, "y": y, "order": order} | dict(zip(_SIDES, place, strict=True)))
        for name, place in places.items()
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
    pasted = x[0, 0, rows, columns].numel() / x[0, 0].numel()
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
