"""The networks and yardsticks of the batch-norm experiments.

Benches: digits with clean labels, digits with 40 % of the training labels replaced, and digits at
random places of a canvas; the MLP of `block_net`. Arms share seeds, initial weights and batches.
Axes: S seeds, B batch, H hidden units.
"""

import warnings
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from coursekit import data, judge
from coursekit.layers import side_by_side
from coursekit.regularizers.dropout import Dropout
from coursekit.regularizers.normalization import BatchNorm, standardize
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3, n_seeds=16)
STEEP = Recipe(epochs=30, batch_size=50, optimizer="sgd", momentum=0.9, lr=0.03, n_seeds=16)
LRS = (0.003, 0.01, 0.03, 0.1, 0.3)
BENCHES = ("clean digits", "noisy digits", "canvas digits")
higher = partial(judge.raises, "higher", smallest=1, unit="points")
lower = partial(judge.lowers, "lower", smallest=1, unit="points")
WHEN = {"last epoch": "final", "best epoch": "best"}
KERAS = "not testable here: Keras is not part of this course"
RATES = (1e-3, 3e-3, 1e-2, 3e-2)  # for Adam
# An epoch has 4 steps. With PyTorch's momentum of 0.1, running statistics lag behind at the early
# epochs that are scored, and what is compared is stale statistics rather than regularization.
MOMENTUM = 0.5
batch_norm = partial(nn.BatchNorm1d, momentum=MOMENTUM)


def bench(name: str) -> data.Task:
    """Load a bench by its name in the evidence."""
    noise = 0.4 if name == "noisy digits" else 0.0
    return data.load("canvas_digits" if "canvas" in name else "digits", label_noise=noise)


def block_net(
    task, depth=2, width=128, norm=None, *, after=False, scale=1.0, dropout=None, last=None
):
    """Blocks of linear layer, `norm(width)`, ReLU and dropout; He's initial weights times `scale`.

    `after` puts the norm behind the ReLU; `last` is a dropout rate in front of the last layer only.
    Biases stay where a norm makes them useless, so that all arms draw the same initial weights.
    """

    def make() -> nn.Module:
        layers, size = [nn.Flatten()], prod(task.x.shape[1:])
        for _ in range(depth):
            pair = [*([norm(width)] if norm else []), nn.ReLU()]
            layers += [nn.Linear(size, width), *(reversed(pair) if after else pair)]
            layers += [] if dropout is None else [Dropout(dropout)]
            size = width
        layers += [] if last is None else [Dropout(last)]
        net = nn.Sequential(*layers, nn.Linear(size, task.n_classes))
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight).data.mul_(scale)
                nn.init.zeros_(layer.bias)
        return net

    return make


class Jolt(nn.Module):
    """Noise whose distribution jumps at every step: a new shift and stretch of each unit.

    Each example adds a little of its own, as in Santurkar et al., NeurIPS 2018, appendix A.
    """

    def __init__(self, shift: float = 1.0, stretch: float = 0.25):
        super().__init__()
        self.shift, self.stretch = shift, stretch

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h
        moves, turns = 2 * torch.rand(2, h.shape[1], device=h.device) - 1  # (H,) each
        own, jitter = 0.2 * torch.rand_like(h) - 0.1, 0.2 * torch.rand_like(h) - 0.1
        return h * (1 + self.stretch * turns + jitter) + self.shift * moves + own


def jolted(width: int) -> nn.Module:
    """Batch norm whose work is undone at every step."""
    return nn.Sequential(nn.BatchNorm1d(width), Jolt())


class Ghost(nn.Module):
    """Batch norm whose training statistics come from groups of a batch: more noise, same steps.

    Hoffer et al., "Train longer, generalize better", NeurIPS 2017.
    """

    def __init__(self, width: int, n_groups: int = 5):
        super().__init__()
        self.norm, self.n_groups = BatchNorm(width, momentum=MOMENTUM), n_groups

    def forward(self, h: Tensor) -> Tensor:
        out = self.norm(h)  # moves the running statistics
        if not self.training:
            return out
        groups = h.unflatten(0, (self.n_groups, -1))  # (groups, B / groups, H)
        return standardize(groups, (1,)).flatten(0, 1) * self.norm.weight + self.norm.bias


def over_lrs(task, seeds, depth, norm, lrs=LRS, **settings):
    """Train at every learning rate; divergence is a result here and no reason to warn."""
    build = partial(block_net, depth=depth, width=64, norm=norm, **settings)
    recipe = replace(STEEP, first_seed=seeds[0], n_seeds=len(seeds))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the loss of seeds")
        return sweep(build, task, recipe, {"lr": list(lrs)})


def fastest(study):
    """The runs at the learning rate with the highest validation accuracy, mean over all epochs."""
    return max(study.runs, key=lambda runs: runs.val_acc.mean())


def epochs_to(runs, accuracy: float) -> np.ndarray:
    """First epoch, (S,), at which the validation accuracy is reached; one more if it never is."""
    reached = np.nan_to_num(runs.val_acc) >= accuracy
    return np.where(reached.any(1), reached.argmax(1), reached.shape[1]) + 1


def layer_inputs(runs, x: Tensor) -> list[Tensor]:
    """Inputs (S, B, H) of the layers behind the first one, noise of training included."""
    runs.net.train()
    states = {name: value.clone() for name, value in runs.to(x.device).final.items()}
    heads = [k for k, layer in enumerate(runs.net) if isinstance(layer, nn.Linear)][1:]
    shared = x.expand(len(runs.seeds), *x.shape)
    return [side_by_side(runs.net[:k])(states, shared, None) for k in heads]


def drift(make_net, task, recipe, epochs=(2, 5, 10)) -> np.ndarray:
    """How far the mean input of a unit moves in an epoch, in its standard deviations: (S,)."""
    x, moved = task.x[:200], []
    for epoch in epochs:
        before, after = (
            layer_inputs(fit(make_net, task, replace(recipe, epochs=e), record=()), x)
            for e in (epoch, epoch + 1)
        )
        for old, new in zip(before, after, strict=True):
            spread = old.var(1).mean(1).sqrt()  # (S,)
            moved.append((new.mean(1) - old.mean(1)).square().mean(1).sqrt() / spread)
    return torch.stack(moved).mean(0).cpu().numpy()


def accuracies(make_nets, task, seeds, recipe=RECIPE, weights=("best", "final")):
    """Percent right on the test set, (S,), by name of the arm and kind of the weights."""
    recipe = replace(recipe, first_seed=seeds[0], n_seeds=len(seeds))
    runs = {name: fit(net, task, recipe, record=()) for name, net in make_nets.items()}
    return {
        (k, w): 100 * evaluate(r, task, weights=w).acc for k, r in runs.items() for w in weights
    }


def at_best_rates(task, seeds, **how) -> np.ndarray:
    """Percent right on the test set, (S,); each seed at its rate of highest validation accuracy.

    At the best epoch; of equal rates, the lowest.
    """
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    study = sweep(partial(block_net, **how), task, recipe, {"lr": list(RATES)}, record=())
    val, test = (
        np.stack([evaluate(runs, task, part).acc for runs in study.runs])  # (rates, S)
        for part in ("val", "test")
    )
    return 100 * np.take_along_axis(test, val.argmax(0)[None], 0)[0]


def at_fit(runs, share: float) -> np.ndarray:
    """Test accuracy, (S,), at the first epoch with this share of the training labels learned."""
    learned = runs.train_acc >= share
    epoch = np.where(learned.any(1), learned.argmax(1), learned.shape[1] - 1)
    return runs.test_acc[np.arange(len(epoch)), epoch]


def tuned(task, recipe, norm=None, rate=None):
    """Train once, or with `rate` (the name of a dropout setting) 0.2 and 0.5: lower val loss."""
    if rate is None:
        return fit(block_net(task, norm=norm), task, recipe, record=())
    study = sweep(partial(block_net, norm=norm), task, recipe, {rate: [0.2, 0.5]}, record=())
    return min(study.runs, key=lambda runs: np.nanmin(runs.val_loss, axis=1).mean())


def variance_ratio(rate: float, seeds) -> np.ndarray:
    """Variance that the second batch norm meets in evaluation over its running one: (S,).

    Li et al., "Understanding the disharmony between dropout and batch normalization", CVPR 2019.
    """
    task, recipe = bench("noisy digits"), replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    runs = fit(block_net(task, norm=batch_norm, dropout=rate), task, recipe, record=())
    second = [k for k, layer in enumerate(runs.net) if isinstance(layer, nn.BatchNorm1d)][1]
    runs.net.eval()
    x = task.x_test.expand(len(seeds), *task.x_test.shape)
    state = runs.to(x.device).final
    met = side_by_side(runs.net[:second])(state, x, None).var(1)  # (S, H)
    return (met / state[f"{second}.running_var"]).mean(1).cpu().numpy()


def scale_is_ignored(a: float = 7.0) -> bool:
    """Loss equal, gradient orthogonal to the weight, `a` times shorter for `a` times as long."""
    torch.manual_seed(0)
    x, w, y = (torch.randn(*shape, dtype=torch.float64) for shape in [(30, 5), (4, 5), (30, 4)])
    found = []
    for weight in (w.requires_grad_(), (a * w.detach()).requires_grad_()):
        loss = (standardize(x @ weight.T, (0,), 0.0).relu() - y).square().mean()
        found.append((loss, torch.autograd.grad(loss, weight)[0]))
    (loss, grad), (same, shorter) = found
    equal = torch.allclose(loss, same) and torch.allclose(grad, a * shorter)
    return equal and bool(((grad * w).sum(1).abs() < 1e-12).all())


def close(*pair) -> bool:
    """Whether two tensors are equal to six digits."""
    return torch.allclose(*pair, atol=1e-6)
