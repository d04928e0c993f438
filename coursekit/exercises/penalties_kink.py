"""An exercise to lesson 02: the soft threshold."""

import numpy as np
import torch
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers import penalties as ours


def _threshold_probes(rng: np.random.Generator) -> list[Probe]:
    def numbers(shape: tuple[int, ...], t: float) -> np.ndarray:
        z = rng.uniform(-3 * t, 3 * t, shape)
        z += np.sign(z) * 0.05  # not on the kink itself, where slopes differ between solutions
        z = np.where(np.abs(np.abs(z) - t) < 0.03, 1.2 * z, z)
        z.flat[:5] = [0.4 * t, -0.7 * t, 2.3 * t, -1.8 * t, 0]  # each side, small and large
        return z.astype(np.float32)

    t = float(rng.uniform(0.6, 0.9))
    z = numbers((3, 5), t)
    return [
        Probe(f"t={t:.3g}", {"z": z, "t": t}),
        Probe("t=0", {"z": numbers((2, 1, 4), t), "t": 0.0}),
        Probe("t larger than all numbers", {"z": z, "t": 9.0}),
        Probe(f"t={2 * t:.3g}", {"z": numbers((7,), 2 * t), "t": 2 * t}, gradient="z"),
    ]


def _shrunk(z: torch.Tensor, t: float) -> torch.Tensor:
    return ours.shrink({"z": z[None]}, t)["z"][0]  # a row, since vectors stay as they are


soft_threshold = Exercise(
    name="soft_threshold",
    lesson="02",
    points=2,
    signature="(z, t)",
    task="""
`z` is a tensor of any shape, `t` a number of at least 0. Return a tensor like `z`: for each entry,
the `w` that minimizes `(w - z)^2 / 2 + t * |w|`. That is `z` moved toward zero by `t`, but never
past zero. Do not change `z` itself, and keep the gradient.
""",
    probes=_threshold_probes,
    reference=_shrunk,
    hints=(
        "What becomes of z = 3, -3 and 0.5 with t = 1?",
        "Move the size and keep the sign: `z.sign()`, `z.abs()`.",
        "The new size is `(z.abs() - t).clamp(min=0)`.",
    ),
    why="""\
For w > 0 the slope is w - z + t, zero at z - t, if that is positive; mirrored for w < 0. In between
both sides slope down to exactly zero. So all that survives is also smaller by t: the lasso's bias
is the price of its zeros.""",
    variants=(
        Variant(
            "The half is missing: minimize `(w - z)^2 + t * |w|` (so `z` does not move by `t`).",
            "plain(z, t / 2)",
        ),
    ),
)


@soft_threshold.right
def size_and_sign(z, t):
    return z.sign() * (z.abs() - t).clamp(min=0)


@soft_threshold.right
def two_sides(z, t):
    return F.relu(z - t) - F.relu(-z - t)


@soft_threshold.right
def what_is_cut_off(z, t):
    return z - z.clamp(-t, t)


@soft_threshold.right
def case_by_case(z, t):
    nothing = torch.zeros_like(z)
    return torch.where(z > t, z - t, torch.where(z < -t, z + t, nothing))


@soft_threshold.wrong(
    "You set small numbers to zero but left large ones in place (a hard threshold): those move "
    "toward zero, too."
)
def hard(z, t):
    return z * (z.abs() > t)


@soft_threshold.wrong("You lost the sign: a negative number stays negative.")
def without_sign(z, t):
    return (z.abs() - t).clamp(min=0)


@soft_threshold.wrong(
    "You moved past zero: a number smaller than the threshold ends at zero, not on the other side."
)
def past_zero(z, t):
    return z - t * z.sign()


@soft_threshold.wrong(
    "You treated negative numbers like small ones: they move up toward zero, by the same amount."
)
def positive_only(z, t):
    return (z - t).clamp(min=0)


@soft_threshold.wrong("You subtracted from every number; negative ones move up, toward zero.")
def shifted_down(z, t):
    return torch.where(z.abs() > t, z - t, torch.zeros_like(z))


@soft_threshold.wrong("You moved numbers away from zero: the amount is subtracted from the size.")
def away_from_zero(z, t):
    return torch.where(z.abs() > t, z + t * z.sign(), torch.zeros_like(z))


@soft_threshold.wrong(
    "You divided by 1 + t: that is the answer for a squared penalty, which never gives zeros."
)
def ridge_like(z, t):
    return z / (1 + t)


@soft_threshold.wrong(
    "You clipped the numbers to the threshold: what is left over beyond it is the answer, z minus "
    "that."
)
def clipped(z, t):
    return z.clamp(-t, t)


@soft_threshold.wrong("You changed z itself: work on a copy.")
def in_place(z, t):
    z.data = z.data.sign() * (z.data.abs() - t).clamp(min=0)
    return z


@soft_threshold.wrong("The result is cut off from z: compute without detach, item or numpy.")
def cut_off(z, t):
    z = z.detach()
    return z.sign() * (z.abs() - t).clamp(min=0)


@soft_threshold.wrong(
    "You moved by half of the amount: differentiate the objective, then set the slope to zero."
)
def half_way(z, t):
    return z.sign() * (z.abs() - t / 2).clamp(min=0)
