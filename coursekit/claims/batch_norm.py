"""Batch norm: what it does for the optimizer, and what it does not do for generalization.

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
from coursekit.claims.experiments import exact, experiment
from coursekit.engine.layers import side_by_side
from coursekit.regularizers.dropout import Dropout
from coursekit.regularizers.normalization import BatchNorm, standardize, torch_momentum
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


@experiment("C52", "C54", n_seeds=24, recipe=STEEP)
def depths(seeds):
    """With and without batch norm: clean digits, SGD, 2 and 6 layers, five learning rates.

    C52: accuracy of the last epoch at a high learning rate (0.3), and at 0.03 with initial weights
    ten times too small and four times too large; epochs to 80 % at the learning rate that
    validation chooses per arm (smallest effect: one epoch).
    C54: the gain in accuracy at the chosen rates, from 2 and 6 layers, against one point:
    "only from ten layers on" says that it is smaller; a quarter of a point around one is open.
    Deeper networks (12 or 20 layers, as the source names them) are not measured for C54.
    """
    task = bench("clean digits")
    norms = {"without": None, "with": nn.BatchNorm1d}
    grid = {d: [over_lrs(task, seeds, d, norm) for norm in norms.values()] for d in (2, 6)}
    better = partial(judge.raises, "batch norm is better", metric="accuracy")
    speed, gain = {}, {}
    for depth, pair in grid.items():
        best = [fastest(study) for study in pair]
        steep = [evaluate(s.at(lr=0.3), task, weights="final").acc for s in pair]
        speed[f"learning rate 0.3, {depth} layers"] = better(*steep)
        slow = [epochs_to(runs, 0.8) for runs in best]
        faster = judge.lowers("faster", *slow, smallest=1, unit="epochs")
        speed[f"epochs to 80 %, best rate each, {depth} layers"] = faster
        points = [100 * evaluate(runs, task).acc for runs in best]
        little = judge.lowers("gain", 1.0, points[1] - points[0], smallest=0.25, unit="points")
        gain[f"{depth} layers: gain below one point (printed: gain - 1)"] = little
    for scale in (0.1, 4.0):
        arms = [over_lrs(task, seeds, 6, norm, [0.03], scale=scale) for norm in norms.values()]
        found = [evaluate(arm.runs[0], task, weights="final").acc for arm in arms]
        speed[f"initial weights times {scale:g}, 6 layers"] = better(*found)
    return {"C52": speed, "C54": gain}


@experiment("C53", n_seeds=20, recipe=STEEP)
def shift(seeds):
    """Batch norm with its work undone: a jolt behind each one moves the inputs of the next layer.

    Clean digits, SGD, 6 and 12 layers, learning rate chosen by validation per arm. If steadier
    inputs were the reason, a net whose inputs move more than without batch norm would train slower
    than without: a lower training accuracy, mean over 30 epochs. Jolts are noise, which by itself
    slows a net; so this errs in favor of the claim. Nothing is tested where they move too little.
    """
    task, evidence = bench("clean digits"), {}
    for depth in (6, 12):
        curves, moved = [], []
        for norm in (None, jolted):
            runs = fastest(over_lrs(task, seeds, depth, norm, LRS[:4]))
            curves.append(100 * runs.train_acc.mean(1))
            moved.append(drift(block_net(task, depth, 64, norm), task, runs.recipe))
        more = judge.raises("the jolts move more", *moved, smallest=0.05)
        slower = lower(*curves)
        tested = more.outcome == "supported"
        evidence[f"{depth} layers: batch norm with jolts is slower than none"] = (
            slower if tested else "not testable here: the jolts moved too little"
        )
    return {"C53": evidence}


@experiment("C55", n_seeds=24, recipe=RECIPE)
def placement(seeds):
    """Before or behind the ReLU: three benches, 2 layers, and 6 layers on two of them; Adam.

    Accuracy at the best epoch, each arm and seed at the rate of highest validation accuracy among
    four. That before is better is judged; no difference counts against it.
    """
    evidence = {}
    for name, depth in [(b, 2) for b in BENCHES] + [(b, 6) for b in BENCHES[:2]]:
        task = bench(name)
        width = 128 if depth == 2 else 64
        how = {"depth": depth, "width": width, "norm": nn.BatchNorm1d}
        acc = {k: at_best_rates(task, seeds, after=k, **how) for k in (True, False)}
        evidence[f"{name}, {depth} layers"] = higher(acc[True], acc[False])
    return {"C55": evidence}


@experiment("C56", n_seeds=48, recipe=RECIPE)
def noise_of_statistics(seeds):
    """Does batch norm raise the accuracy, and does more noise in its statistics raise it further?

    Two benches, at the last and the best epoch. More noise: statistics of 10 examples instead of
    50, with the same batches, on noisy digits. At an equal fit: noisy digits, first epoch with 80 %
    of the training labels learned. Running statistics move by half per step (`MOMENTUM`).
    """
    evidence = {}
    for name in BENCHES[:2]:
        task, recipe = bench(name), replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
        norms = {"none": None, "batch": batch_norm, "ghost": Ghost}
        nets = {k: block_net(task, norm=norm) for k, norm in norms.items()}
        parts = ("train", "val", "test")
        runs = {k: fit(net, task, recipe, record=parts) for k, net in nets.items()}
        for when, weights in WHEN.items():
            acc = {k: 100 * evaluate(r, task, weights=weights).acc for k, r in runs.items()}
            evidence[f"{name}, {when}"] = higher(acc["none"], acc["batch"])
            if name == "noisy digits":
                more = higher(acc["batch"], acc["ghost"])
                evidence[f"{name}, noisier statistics, {when}"] = more
        if name == "noisy digits":
            same = [100 * at_fit(runs[k], 0.8) for k in ("none", "batch")]
            evidence[f"{name}, with 80 % of the labels learned"] = higher(*same)
    return {"C56": evidence}


@experiment("C57", "C58", n_seeds=48, recipe=RECIPE)
def with_dropout(seeds):
    """Batch norm, dropout, and both, on three benches; the rate (0.2 or 0.5) chosen by validation.

    C57: batch norm against dropout, at the best and the last epoch; and what dropout adds to batch
    norm at the best epoch, against one point ("superfluous" says less; a quarter of a point is
    open). C58: both in every block against dropout only behind the last batch norm, each at its
    rate, best and last epoch; and the variance that the second batch norm meets in evaluation over
    its running variance, at rate 0.5 (a conflict: below 1, smallest effect 0.05). Running
    statistics move by half per step (`MOMENTUM`).
    """
    c57, c58 = {}, {}
    for name in BENCHES:
        task, recipe = bench(name), replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
        arms = {
            "batch": {"norm": batch_norm},
            "drop": {"rate": "dropout"},
            "both": {"norm": batch_norm, "rate": "dropout"},
            "apart": {"norm": batch_norm, "rate": "last"},
        }
        runs = {k: tuned(task, recipe, **how) for k, how in arms.items()}
        acc = {
            w: {k: 100 * evaluate(r, task, weights=v).acc for k, r in runs.items()}
            for w, v in WHEN.items()
        }
        for when, found in acc.items():
            better, apart = (found["drop"], found["batch"]), (found["both"], found["apart"])
            c57[f"{name}, {when}: better than dropout"] = higher(*better)
            c58[f"{name}, {when}: better apart"] = higher(*apart)
        added = acc["best epoch"]["both"] - acc["best epoch"]["batch"]
        little = judge.lowers("adds", 1.0, added, smallest=0.25, unit="points")
        c57[f"{name}, best epoch: dropout adds less than a point (printed: gain - 1)"] = little
    ratio = variance_ratio(0.5, seeds)
    less = judge.lowers("below 1", 1.0, ratio, smallest=0.05)
    c58["rate 0.5: less variance in evaluation than stored (ratio - 1)"] = less
    return {"C57": c57, "C58": c58}


@experiment("C63", n_seeds=16, recipe=RECIPE)
def small_batches(seeds):
    """Batches of 2 and 4 against 32, with equal steps (400), layer norm as the yardstick; Adam.

    Judged is how batch norm stands to layer norm, which knows no batch: lower with small batches
    than with 32; batches of 8 are not measured. Clean and noisy digits, last epoch. Exact: of two
    examples, batch norm returns plus and minus one, whatever they were.
    """
    x = torch.randn(2, 5, dtype=torch.float64)
    signs = nn.BatchNorm1d(5, eps=1e-12).double()(x)
    evidence = {"2 examples become +1 and -1": torch.allclose(signs.abs(), torch.ones_like(x))}
    for name in BENCHES[:2]:
        task, stands = bench(name), {}
        for size in (2, 4, 32):
            recipe = replace(RECIPE, batch_size=size, lr=1e-3, epochs=400 // -(-200 // size))
            nets = {n: block_net(task, norm=n) for n in (nn.BatchNorm1d, nn.LayerNorm)}
            acc = accuracies(nets, task, seeds, recipe, weights=("final",))
            stands[size] = acc[nn.BatchNorm1d, "final"] - acc[nn.LayerNorm, "final"]
        for size in (2, 4):
            loses = lower(stands[32], stands[size])
            evidence[f"{name}, batches of {size} against 32"] = loses
    return {"C63": evidence}


@experiment("C38", n_seeds=48, recipe=RECIPE)
def l2_before_batch_norm(seeds):
    """L2 in front of batch norm: exact identities, then Adam with L2 of 0.01 on two benches.

    Exact: a weight of any length computes the same, with a gradient that has no part along the
    weight and shrinks with its length. Measured: what L2 adds to the accuracy of the last epoch is
    less with batch norm than without. Not measured: other strengths, a rescaled learning rate.
    """
    evidence = {"the function ignores the length of the weights": scale_is_ignored()}
    for name in BENCHES[:2]:
        task, added = bench(name), {}
        for norm in (None, nn.BatchNorm1d):
            net, how = block_net(task, norm=norm), {"weights": ("final",)}
            with_l2 = replace(RECIPE, weight_decay=0.01)
            pair = [
                accuracies({"net": net}, task, seeds, recipe, **how)["net", "final"]
                for recipe in (RECIPE, with_l2)
            ]
            added[norm] = pair[1] - pair[0]
        less = lower(*added.values())
        evidence[f"{name}: L2 0.01 adds less than without batch norm"] = less
    return {"C38": evidence}


@exact("C59")
def moments():
    """Mean and variance of each unit in front of scale and shift; shape: kurtosis of two peaks."""
    x = torch.cat([torch.full((500, 1), -1.0), torch.full((500, 1), 5.0)])
    out = standardize(x, (0,))
    kurtosis = out.pow(4).mean() / out.var(0, correction=0) ** 2  # 3 if Gaussian
    learned = nn.BatchNorm1d(1)
    nn.init.constant_(learned.weight, 3.0)
    zero, one = torch.zeros(()), torch.ones(())
    unit = close(out.mean(), zero) and close(out.var(correction=0), one)
    return {
        "C59": {
            "mean 0 and variance 1, in front of scale and shift": unit,
            "mean 0 and variance 1, behind a scale of 3": close(learned(x).var(), one),
            "Gaussian: two peaks become one (kurtosis 3)": abs(kurtosis.item() - 3) < 0.5,
        }
    }


@exact("C60")
def two_faces():
    """Whether a row's output depends on the other rows, in each mode, and what one row does."""
    norm, x = nn.BatchNorm1d(4), torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    depends = not close(norm(x)[0], norm(torch.cat([x[:1], x[1:] + 1]))[0])
    norm.eval()
    alone = close(norm(x)[:1], norm(x[:1]))
    try:
        norm.train()(x[:1])
        refused = False
    except ValueError:
        refused = True
    return {
        "C60": {
            "training: the output depends on the rest of the batch": depends,
            "evaluation: it does not": alone,
            "PyTorch refuses to train on one example": refused,
            "Keras": KERAS,
        }
    }


@exact("C61")
def momenta():
    """The sentence as it stands, on a running mean of 0 and a momentum of 0.9, and translated."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 2
    literal, translated = (nn.BatchNorm1d(4, momentum=m) for m in (0.9, torch_momentum(0.9)))
    for norm in (literal, translated):
        norm(x)
    want = 0.1 * x.mean(0)
    stored = 0.9 + 0.1 * x.var(0, correction=0)  # with the variance that normalizes
    return {
        "C61": {
            "PyTorch, momentum as it defines it": close(literal.running_mean, want),
            "PyTorch, given 1 - momentum": close(translated.running_mean, want),
            "PyTorch, given 1 - momentum, variance": close(translated.running_var, stored),
            "Keras": KERAS,
        }
    }


@exact("C62")
def frozen():
    """Whether the output is that of evaluation mode, and the running mean rests."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 2
    norm = nn.BatchNorm1d(4).requires_grad_(False)
    want, got = norm.eval()(x), norm.train()(x)
    rests = close(got, want) and not norm.running_mean.any()
    keras = (
        "not testable here: Keras is no dependency; "
        "its documentation says that trainable=False runs in inference mode"
    )
    return {"C62": {"PyTorch, requires_grad_(False)": rests, "Keras": keras}}


@exact("S15")
def bias_in_front():
    """Gradient of a bias in front of batch norm, and what another bias changes."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, eps=1e-12)).double()
    x, weight = torch.randn(30, 5).double(), torch.randn(30, 4).double()
    before = net(x)
    (before * weight).sum().backward()
    bias, matrix = net[0].bias.grad.abs().max(), net[0].weight.grad.abs().max()
    net[0].bias.data += 10
    return {
        "S15": {
            "its gradient is 0": bool(bias < 1e-9 * matrix),
            "another bias computes the same": close(net(x), before),
        }
    }
