"""Exercises to lesson 03: weight decay inside optimizers."""

import numpy as np
import torch

from coursekit.exercises import decay_choice, decay_groups, decay_step
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.exercises.questions import Question

adamw_step = decay_step.adamw_step  # in the order of the notebook

# --- one number, many meanings ---------------------------------------------------------------

WRITTEN = ("keras L2", "half L2", "mean L2", "keras decay", "paper decay")


def _strength_probes(rng: np.random.Generator) -> list[Probe]:
    return [
        Probe(
            f'"{written}"',
            {
                "strength": float(rng.uniform(1e-3, 1e-2)),
                "written": written,
                "lr": float(rng.uniform(0.02, 0.2)),
                "n": int(rng.integers(5, 40)),
            },
        )
        for written in WRITTEN
    ]


def _seen_on_weights(strength, written, lr, n):
    """Read the number off what a convention does to weights, the definition of each in one line."""
    w = torch.ones(n, dtype=torch.float64, requires_grad=True)
    penalties = {
        "keras L2": strength * w.square().sum(),
        "half L2": strength / 2 * w.square().sum(),
        "mean L2": strength * w.square().mean(),
    }
    if written in penalties:
        return torch.autograd.grad(penalties[written], w)[0][0].item()
    left = {"keras decay": 1 - lr * strength, "paper decay": 1 - strength}[written]
    return (1 - left) / lr


torch_decay = Exercise(
    name="torch_decay",
    lesson="03",
    points=2,
    signature="(strength, written, lr, n)",
    task="""
Return the number to give to PyTorch as `weight_decay` so that it does the same as `strength` does
where it was written. `written` is one of

| `written` | what `strength` does | optimizer in PyTorch |
|---|---|---|
| `"keras L2"` | adds strength · Σw² to the loss | `SGD` |
| `"half L2"` | adds ½ · strength · Σw² to the loss | `SGD` |
| `"mean L2"` | adds strength · `(w**2).mean()` to the loss | `SGD` |
| `"keras decay"` | shrinks w to (1 - lr · strength) · w in each step | `AdamW` |
| `"paper decay"` | shrinks w to (1 - strength) · w in each step | `AdamW` |

`lr` is the learning rate, `n` the number of entries of the tensor `w`.
""",
    probes=_strength_probes,
    reference=_seen_on_weights,
    tolerance=1e-6,  # forgives a constant in float32
    hints=(
        "PyTorch's SGD adds weight_decay · w to the slope. What is the slope of strength · Σw²?",
        "A mean is a sum over n entries, divided by n.",
        "AdamW shrinks w to (1 - lr · weight_decay) · w: set this equal to the line of the table.",
    ),
    why="""\
Slopes decide for SGD: 2 · strength · w, strength · w, and 2 · strength / n · w. For AdamW the share
taken per step decides: lr · strength is its own convention, and the paper's share has to be divided
by lr. Keras and PyTorch use the word weight_decay alike, but L2 differs by a factor of 2.""",
)


@torch_decay.right
def by_branches(strength, written, lr, n):
    if written == "keras L2":
        return 2 * strength
    if written == "mean L2":
        return 2 * strength / n
    if written == "paper decay":
        return strength / lr
    return strength


@torch_decay.right
def by_table(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 1, "mean L2": 2 / n, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.right
def by_slope(strength, written, lr, n):
    w = torch.ones(n, dtype=torch.float64, requires_grad=True)
    if "decay" in written:
        return strength if "keras" in written else strength / lr
    total = w.square().mean() if "mean" in written else w.square().sum()
    (strength * total / (2 if "half" in written else 1)).backward()
    return w.grad[0].item()


@torch_decay.wrong("The slope of strength · Σw² is 2 · strength · w: Keras' L2 counts double.")
def forgets_the_two(strength, written, lr, n):
    factors = {"keras L2": 1, "half L2": 1, "mean L2": 2 / n, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong("You halved Keras' strength; its penalty has no ½, so the number doubles.")
def halves(strength, written, lr, n):
    factors = {"keras L2": 0.5, "half L2": 1, "mean L2": 2 / n, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong("The ½ takes the 2 of the slope away: with it, the number stays as it is.")
def doubles_the_half(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 2, "mean L2": 2 / n, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong("You halved twice: ½ of Σw² has the slope w, so the number stays as it is.")
def halves_the_half(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 0.5, "mean L2": 2 / n, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong("A mean over n entries pulls each of them n times more weakly: divide by n.")
def mean_as_sum(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 1, "mean L2": 2, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong("You multiplied by n; the slope of a mean is that of the sum divided by n.")
def times_n(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 1, "mean L2": 2 * n, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong("A mean of squares has the slope 2w / n: the 2 is missing.")
def mean_without_two(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 1, "mean L2": 1 / n, "keras decay": 1}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong(
    "Keras' weight_decay multiplies by lr as AdamW does: nothing is to be translated."
)
def keras_over_lr(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 1, "mean L2": 2 / n}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong("Keras' decay was doubled, but it is no penalty: there is no slope with a 2.")
def doubled_decay(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 1, "mean L2": 2 / n, "keras decay": 2}
    return strength * factors.get(written, 1 / lr)


@torch_decay.wrong(
    "The paper's share was taken over as it is; AdamW will multiply it by lr, so divide by lr "
    "before."
)
def paper_as_is(strength, written, lr, n):
    return strength * {"keras L2": 2, "mean L2": 2 / n}.get(written, 1)


@torch_decay.wrong(
    "You multiplied the paper's share by lr; AdamW does that once more, so divide by lr instead."
)
def paper_times_lr(strength, written, lr, n):
    factors = {"keras L2": 2, "half L2": 1, "mean L2": 2 / n, "keras decay": 1}
    return strength * factors.get(written, lr)


# --- the others, and predict and explain -----------------------------------------------------

param_groups = decay_groups.param_groups
one_standard_error = decay_choice.one_standard_error


def _shares_left() -> str:
    steps, left = 400, []
    for final in (1.0, 0.0):
        w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        descent = torch.optim.AdamW([w], lr=0.01, weight_decay=0.5)
        falls = torch.optim.lr_scheduler.LinearLR(descent, 1.0, final, steps)
        for _ in range(steps):
            w.grad = torch.zeros_like(w)
            descent.step()
            falls.step()
        left.append(w.item())
    constant, falling = left
    distances = (abs(falling - constant), abs(falling - constant**0.5), abs(falling - constant**2))
    return falling_rate.options[distances.index(min(distances))]


falling_rate = Question(
    name="falling_rate",
    lesson="03",
    points=3,
    prompt="""
A weight gets no gradient at all. AdamW trains it twice, with the same number of steps and the same
`weight_decay`: once with a constant learning rate, once with one that falls in a straight line from
that value to 0. After the first training the share s of the weight is left (below 1). What is left
after the second one?""",
    options=("s as well", "about the root of s", "about the square of s"),
    measure=_shares_left,
    guide="""\
A good explanation says that AdamW decouples the decay from the *gradient* and not from the
learning rate: each step multiplies by 1 - lr · weight_decay with the lr of that step. The dose,
the sum of lr · weight_decay over all steps, is halved because the mean of the learning rate is,
and exp(-dose/2) is the root of exp(-dose). It draws the consequence: with another schedule the
same number is another decay, and twice the number would restore it. (In the paper, the decay has
a factor of its own, and the schedule multiplies both.)""",
)
