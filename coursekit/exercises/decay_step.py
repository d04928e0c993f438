"""Exercise to lesson 03: one step of AdamW."""

import numpy as np
import torch

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers import decay as ours


def _step_probes(rng: np.random.Generator) -> list[Probe]:
    lr, strength = rng.uniform(0.02, 0.06), rng.uniform(0.3, 0.9)

    def probe(name: str, gradients: np.ndarray) -> Probe:
        w = rng.normal(size=gradients.shape[1:])
        inputs = {"w": w, "gradients": gradients, "lr": lr, "weight_decay": strength}
        return Probe(name, inputs)

    return [
        probe("a step with gradient 0", np.zeros((1, 5))),
        probe("a first step", rng.normal(size=(1, 4))),
        probe("three steps of weights of shape (3, 2)", rng.normal(size=(3, 3, 2))),
        # Of the size of eps, so that it matters where eps is added.
        probe("three steps with tiny gradients", rng.uniform(1e-8, 3e-8, (3, 4))),
    ]


def _take_steps(answer, w, gradients, lr, weight_decay):
    mean, square = torch.zeros_like(w), torch.zeros_like(w)
    found = {}
    for step, gradient in enumerate(gradients, 1):
        given = {"w": w, "gradient": gradient, "mean": mean, "square": square}
        before = {name: value.clone() for name, value in given.items()}
        result = answer(*given.values(), step, lr, weight_decay)
        if not isinstance(result, tuple | list) or len(result) != 3:
            got = type(result).__name__
            raise TypeError(f"expected three tensors, w, mean and square, got a {got}")
        for name, value in given.items():
            unchanged = found.get(f"{name} afterwards", True) and value.equal(before[name])
            found[f"{name} afterwards"] = bool(unchanged)
        w, mean, square = result
        found[f"w after step {step}"] = w
        found[f"mean after step {step}"] = mean
        found[f"square after step {step}"] = square
    return found


def _tested_step(w, gradient, mean, square, step, lr, weight_decay):
    moments = ours.Moments(mean, square, step - 1)
    w, moments = ours.adam_step(
        w, gradient, moments, lr=lr, weight_decay=weight_decay, decoupled=True
    )
    return w, moments.mean, moments.square


adamw_step = Exercise(
    name="adamw_step",
    lesson="03",
    points=4,
    signature="(w, gradient, mean, square, step, lr, weight_decay)",
    task="""
One step of AdamW, as `torch.optim.AdamW` takes it. `w`, `gradient` (of the loss alone), `mean`
and `square` are float64 tensors of one shape; `mean` and `square` are the moving averages of the
gradients and of their squares so far, 0 in the beginning. `step` is the number of this step and
starts at 1. Return three new tensors `(w, mean, square)` and leave the inputs as they are. The
betas, the weights of the old averages, are 0.9 and 0.999; `eps` is 1e-8 and is added to the
root. The averages are returned as they are, **without** the correction for their start at 0,
which the step does use.
""",
    probes=_step_probes,
    reference=_tested_step,
    tolerance=1e-4,  # forgives 1 - 0.999 in float32
    driver=_take_steps,
    hints=(
        "First without decay: update both averages, correct them, move. What is a correction at "
        "step 1, where an average holds a tenth or a thousandth of the gradient?",
        "Corrected: `mean / (1 - 0.9**step)` and `square / (1 - 0.999**step)`. The move is lr "
        "times the first over the root of the second.",
        "The decay never meets the averages: the old w is multiplied by `1 - lr * weight_decay`, "
        "then the move is subtracted.",
    ),
    why="""\
Decay in the gradient would be divided by the root of the squares: weights with large gradients
would hardly decay. On the weight itself it takes the same share of all. The averages start at 0, so
after t steps they hold a share 1 - beta**t of what they estimate; the corrections divide by it.""",
    variants=(
        Variant(
            "`weight_decay` is that of the paper: a step takes this share of the weight, "
            "whatever lr is.",
            "plain(w, gradient, mean, square, step, lr, weight_decay / lr)",
        ),
    ),
)


@adamw_step.right
def by_formula(w, gradient, mean, square, step, lr, weight_decay):
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)).sqrt() + 1e-8
    move = mean / (1 - 0.9**step) / size
    return (1 - lr * weight_decay) * w - lr * move, mean, square


@adamw_step.right
def by_torch(w, gradient, mean, square, step, lr, weight_decay):
    p = torch.nn.Parameter(w.clone())
    p.grad = gradient.clone()
    descent = torch.optim.AdamW([p], lr=lr, weight_decay=weight_decay)
    descent.state[p] = {
        "step": torch.tensor(step - 1.0),
        "exp_avg": mean.clone(),
        "exp_avg_sq": square.clone(),
    }
    descent.step()
    return p.detach(), descent.state[p]["exp_avg"], descent.state[p]["exp_avg_sq"]


@adamw_step.right
def in_place_on_copies(w, gradient, mean, square, step, lr, weight_decay):
    new, mean, square = w.clone(), mean.clone(), square.clone()
    mean.lerp_(gradient, 0.1)
    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    root = square.sqrt() / (1 - 0.999**step) ** 0.5
    new.mul_(1 - lr * weight_decay)
    new.addcdiv_(mean, root.add_(1e-8), value=-lr / (1 - 0.9**step))
    return new, mean, square


@adamw_step.wrong(
    "You added the decay to the gradient: that is Adam with an L2 penalty, which the root divides. "
    "Here the decay acts on the weight alone."
)
def decay_in_gradient(w, gradient, mean, square, step, lr, weight_decay):
    gradient = gradient + weight_decay * w
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)).sqrt() + 1e-8
    return w - lr * mean / (1 - 0.9**step) / size, mean, square


@adamw_step.wrong(
    "You multiplied w by 1 - weight_decay; in PyTorch the share is lr * weight_decay."
)
def without_lr(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)).sqrt() + 1e-8
    return (1 - weight_decay) * w - lr * mean / (1 - 0.9**step) / size, mean, square


@adamw_step.wrong("The weight does not decay: multiply the old w by 1 - lr * weight_decay.")
def no_decay(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)).sqrt() + 1e-8
    return w - lr * mean / (1 - 0.9**step) / size, mean, square


@adamw_step.wrong("You added the decay, so weights grow: the factor is 1 - lr * weight_decay.")
def grows(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)).sqrt() + 1e-8
    return (1 + lr * weight_decay) * w - lr * mean / (1 - 0.9**step) / size, mean, square


@adamw_step.wrong(
    "You took the decay from the weight after the move; it takes its share of the old weight."
)
def decays_after(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)).sqrt() + 1e-8
    return (w - lr * mean / (1 - 0.9**step) / size) * (1 - lr * weight_decay), mean, square


@adamw_step.wrong(
    "The averages start at 0 and are too small in the first steps: divide them by 1 - beta**step."
)
def uncorrected(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    return (1 - lr * weight_decay) * w - lr * mean / (square.sqrt() + 1e-8), mean, square


@adamw_step.wrong(
    "Both corrections use 0.9; the average of the squares moves with 0.999 and is corrected by it."
)
def one_beta(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.9**step)).sqrt() + 1e-8
    return (1 - lr * weight_decay) * w - lr * mean / (1 - 0.9**step) / size, mean, square


@adamw_step.wrong(
    "You counted steps from 0 in the correction; `step` is 1 at the first step already."
)
def from_zero(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999 ** (step - 1))).sqrt() + 1e-8
    return (1 - lr * weight_decay) * w - lr * mean / (1 - 0.9 ** (step - 1)) / size, mean, square


@adamw_step.wrong("You divided by the mean square itself; Adam divides by its root.")
def rootless(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = square / (1 - 0.999**step) + 1e-8
    return (1 - lr * weight_decay) * w - lr * mean / (1 - 0.9**step) / size, mean, square


@adamw_step.wrong("eps stands under your root, where it counts for 1e-4; it is added to the root.")
def eps_inside(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step) + 1e-8).sqrt()
    return (1 - lr * weight_decay) * w - lr * mean / (1 - 0.9**step) / size, mean, square


@adamw_step.wrong(
    "You returned the corrected averages, so the next step corrects them again: return the raw "
    "ones."
)
def returns_corrected(w, gradient, mean, square, step, lr, weight_decay):
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    mean, square = mean / (1 - 0.9**step), square / (1 - 0.999**step)
    return (1 - lr * weight_decay) * w - lr * mean / (square.sqrt() + 1e-8), mean, square


@adamw_step.wrong(
    "The moving averages were changed in place: return new tensors and leave the inputs alone."
)
def changes_inputs(w, gradient, mean, square, step, lr, weight_decay):
    mean.mul_(0.9).add_(0.1 * gradient)
    square.mul_(0.999).add_(0.001 * gradient**2)
    size = (square / (1 - 0.999**step)).sqrt() + 1e-8
    return (1 - lr * weight_decay) * w - lr * mean / (1 - 0.9**step) / size, mean, square
