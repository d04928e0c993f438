"""Exercise to lesson 07: move images at random."""

import numpy as np
import torch
from torch.nn import functional as F

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import augmentation


def _shift_probes(rng: np.random.Generator) -> list[Probe]:
    x = rng.uniform(0.2, 1.0, (4, 2, 7, 9)).astype(np.float32)
    seed = int(rng.integers(2**31))
    return [Probe("pixels=0", {"x": x, "pixels": 0})] + [
        Probe(f"pixels={k}", {"x": x, "pixels": k}, draws=100, seed=seed + 7 * k) for k in (1, 2)
    ]


def _shift_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    x, k = inputs["x"], inputs["pixels"]
    if draws.shape[1:] != x.shape:
        return [Fact("whether the shape is kept", 0, 1, 0)]
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
        return Fact(f"whether {name}", float(np.all(found)), expected, 0)

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
