"""Batch norm on new data: as a regularizer, beside dropout, beside L2, with tiny batches.

Axes: A settings, S seeds, N examples, T epochs, B batch, C channels.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.datasets.tasks import Task
from coursekit.engine.layers import side_by_side
from coursekit.ledger.evidence import Exact, chosen, correct, crossed, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.experiments.batch_norm import (
    RECIPE,
    WEIGHTS,
    benches,
    best,
    blocks,
    by_moment,
    given,
    memory,
    picked,
    scored,
    steady,
    trained,
    usual,
)
from coursekit.regularizers.normalization import standardize
from coursekit.sweep import Sweep
from coursekit.train import Recipe, evaluate, fit

RATES = (3e-4, 1e-3, 3e-3, 1e-2)  # for Adam
# On noisy labels, slow rates do best at the last epoch: they stop early in their own way; and high
# ones do best when stopped early, as they do not learn by heart.
BROAD = {"lr": (3e-4, 3e-3, 1e-2, 1e-1)}


def settings(rate: str) -> list[dict[str, float]]:
    """As many pairs of a rate of dropout, `rate` being its name, and a learning rate."""
    pairs = (0.2, 3e-3), (0.5, 1e-3), (0.5, 1e-2), (0.7, 3e-3)
    return [{rate: share, "lr": lr} for share, lr in pairs]


# A regularizer, by its noise?


def at_fit(build, task: Task, study: Sweep, recipe: Recipe, share: float) -> np.ndarray:
    """Test correctness (S, N) at the first epoch with this share of the training labels learned.

    Each seed is trained again for just as many epochs, at the rate of highest validation accuracy
    among those that learn so many.
    """
    val = np.array([evaluate(runs, task, "val").acc for runs in study.runs])
    reached = np.nan_to_num([runs.train_acc for runs in study.runs]) >= share  # (A, S, T)
    fits = reached.any(-1)
    if not fits.any(0).all():
        raise ValueError(f"expected a rate that learns {share:.0%} of the labels for every seed")
    choice = np.where(fits, val, -1.0).argmax(0)
    epochs = picked(reached, choice).argmax(1) + 1
    found = []
    for s, setting in enumerate(choice):
        how = replace(recipe, first_seed=recipe.first_seed + s, n_seeds=1)
        how = replace(how, epochs=int(epochs[s]), lr=study.runs[setting].recipe.lr)
        runs = fit(build(task), task, how, record=())
        found.append(correct(runs, task, weights="final")[0])
    return np.array(found)


@experiment("C56", "C57", recipe=RECIPE)
def on_new_data(seeds, world):
    """Batch norm against none, against noisier statistics, and against and beside dropout.

    More noise: statistics of 10 examples instead of 50, with the same batches.
    """
    c56, c57, recipe = {}, {}, given(RECIPE, seeds)
    for name, task in list(benches(world).items())[:2]:
        plain_net = partial(usual, world=world)
        norm_net = partial(plain_net, batch_norm=True)
        sides = {
            "none": (plain_net, BROAD),
            "norm": (norm_net, BROAD),
            "noisier": (partial(norm_net, groups=5), BROAD),
            "dropout": (plain_net, settings("dropout")),
            "both": (norm_net, settings("dropout")),
        }
        # Convolutional networks may not learn that many wrong labels in so few steps.
        fit_too = name == "noisy digits" and world.network == "mlp"
        studies = {
            k: trained(build, task, recipe, grid, record=("train",) * fit_too)
            for k, (build, grid) in sides.items()
        }
        for when, weights in WEIGHTS.items():
            of = {k: crossed(best(study, task, weights)) for k, study in studies.items()}
            c56[f"{name}, {when}"] = of["none"], of["norm"]
            c56[f"{name}, statistics of 10, {when}"] = of["norm"], of["noisier"]
            c57[f"{name}, {when}: against dropout"] = of["dropout"], of["norm"]
            c57[f"{name}, {when}: without dropout"] = of["both"], of["norm"]
        if fit_too:
            c56["noisy digits, equal fit"] = tuple(
                crossed(at_fit(sides[k][0], task, studies[k], recipe, 0.8))
                for k in ("none", "norm")
            )
    return {"C56": c56, "C57": c57}


# Behind dropout


def variance_ratio(task: Task, recipe: Recipe, rate: float) -> np.ndarray:
    """Variance that the second batch norm meets in evaluation over its running one: (S,).

    Li et al., "Understanding the disharmony between dropout and batch normalization", CVPR 2019.
    """
    runs = fit(blocks(task, width=128, norm=steady, dropout=rate), task, recipe, record=())
    second = [k for k, layer in enumerate(runs.net) if isinstance(layer, nn.BatchNorm1d)][1]
    runs.net.eval()
    x = task.x_test.expand(len(runs.seeds), *task.x_test.shape)
    state = runs.to(x.device).final
    met = side_by_side(runs.net[:second])(state, x, None).var(1)  # (S, C)
    return (met / state[f"{second}.running_var"]).mean(1).cpu().numpy()


@experiment("C58", recipe=RECIPE)
def in_one_block(seeds, world):
    """What dropout does to the variance behind it, and whether it should stay behind them all."""
    c58, recipe = {}, given(RECIPE, seeds)
    for name, task in list(benches(world).items())[:2]:
        # One place or two is another amount of dropout, whether batch norm is there or not.
        gains = []
        for norm in (None, steady):
            inside, apart = (
                by_moment(partial(blocks, norm=norm), task, recipe, settings(rate))
                for rate in ("dropout", "last")
            )
            gains.append({when: crossed(apart[when] - inside[when]) for when in WEIGHTS})
        for when in WEIGHTS:
            c58[f"{name}, {when}"] = gains[0][when], gains[1][when]
        if name == "noisy digits":
            of = {rate: plain(variance_ratio(task, recipe, rate)) for rate in (0.0, 0.2, 0.5)}
            for rate in (0.2, 0.5):
                c58[f"variance at rate {rate}"] = of[0.0], of[rate]
    return {"C58": c58}


# Tiny batches


@experiment("C63b")
def two_examples():
    """Of two examples, batch norm returns plus and minus one, whatever they were."""
    [x] = _drawn((2, 5))
    signs = nn.BatchNorm1d(5, eps=1e-12).double()(x)
    off = (signs.abs() - 1).abs().max().item()
    return {"C63b": {"they become +1 and -1": Exact(off < 1e-9, f"largest distance {off:.0e}")}}


def stands(task: Task, seeds: Sequence[int], size: int, epochs: int, weights: str) -> np.ndarray:
    """Batch norm minus layer norm, which knows no batch, in correctness (S, N)."""
    recipe = given(RECIPE, seeds, batch_size=size, epochs=epochs)
    norms = (nn.LayerNorm, partial(nn.BatchNorm1d, momentum=memory(size)))
    layer, batch = (
        best(
            trained(partial(blocks, norm=norm), task, recipe, {"lr": RATES}, record=()),
            task,
            weights,
        )
        for norm in norms
    )
    return batch - layer


@experiment("C63", recipe=RECIPE)
def small_batches(seeds, world):
    """Batches of 2, 4 and 8 against 40: equal steps, or equal epochs where labels are wrong."""
    c63 = {}
    for name, held, when in (
        ("clean digits", "steps", "last epoch"),
        ("noisy digits", "epochs", "early-stopped"),
    ):
        task, of = benches(world)[name], {}
        for size in (2, 4, 8, 40):
            epochs = 20 if held == "epochs" else 400 // -(-task.n_train // size)
            of[size] = crossed(stands(task, seeds, size, epochs, WEIGHTS[when]))
        for size in (2, 4, 8):
            c63[f"{name}, batches of {size}, equal {held}, {when}"] = of[40], of[size]
    return {"C63": c63}


# Beside L2


def scale_is_ignored(a: float = 7.0) -> Exact:
    """Loss equal, gradient orthogonal to the weight, `a` times shorter for `a` times as long."""
    x, w, y = _drawn((30, 5), (4, 5), (30, 4))
    found = []
    for weight in (w.requires_grad_(), (a * w.detach()).requires_grad_()):
        loss = (standardize(x @ weight.T, (0,), 0.0).relu() - y).square().mean()
        found.append((loss, torch.autograd.grad(loss, weight)[0]))
    (loss, grad), (same, shorter) = found
    offs = (loss - same).abs(), (grad - a * shorter).abs().max(), (grad * w).sum(1).abs().max()
    off = max(float(o.detach()) for o in offs)
    return Exact(off < 1e-12, f"largest difference {off:.0e}")


def is_a_learning_rate(eta: float = 0.1, strength: float = 0.5, n_steps: int = 30) -> Exact:
    """SGD with L2, and SGD without it at a rate that grows, compute the same function.

    Li and Arora, "An exponential learning rate schedule for deep learning", ICLR 2020.
    """
    x, start, y = _drawn((30, 5), (4, 5), (30, 4))

    def step(weight: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        weight = weight.detach().requires_grad_()
        out = standardize(x @ weight.T, (0,), 0.0).relu()
        [grad] = torch.autograd.grad((out - y).square().mean(), weight)
        return out.detach(), weight.detach() - rate * grad

    shrink, penalized, free, off = 1 - eta * strength, start, start, 0.0
    for t in range(n_steps):
        out, moved = step(penalized, eta)
        same, free = step(free, eta * shrink ** -(2 * t + 1))
        penalized = moved - eta * strength * penalized
        off = max(off, float((out - same).abs().max()))
    return Exact(off < 1e-9, f"largest difference in {n_steps} steps {off:.0e}")


def _drawn(*shapes: tuple[int, int]) -> list[Tensor]:
    draws = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, dtype=torch.float64, generator=draws) for shape in shapes]


def hidden_l2(params: dict[str, Tensor], strength: Tensor) -> Tensor:
    """L2 on the matrices that batch norm follows, where there is one: all but the last."""
    matrices = [p for p in params.values() if p.ndim == 2][:-1]
    return 0.5 * strength * sum(p.square().sum() for p in matrices)


@experiment("C38b")
def l2_as_a_rate():
    """Exact facts on a layer that batch norm follows."""
    return {
        "C38b": {
            "the function ignores the length of the weights": scale_is_ignored(),
            "L2 is a learning rate that grows": is_a_learning_rate(),
        }
    }


@experiment("C38", recipe=RECIPE)
def l2_before_batch_norm(seeds, world):
    """What L2 adds without and with batch norm, at one learning rate and strength, and tuned."""
    c38 = {}
    strengths, lrs = (0.0, 1e-3, 1e-2, 1e-1), RATES[:3]
    for name, task in list(benches(world).items())[:2]:
        added: dict[str, list[np.ndarray]] = {"one strength": [], "tuned": []}
        for norm in (False, True):
            build = partial(usual, world=world, hidden=(64, 64), batch_norm=norm)
            grid = {"strength": strengths, "lr": lrs}
            study = trained(build, task, given(RECIPE, seeds), grid, penalty=hidden_l2, record=())
            val, test = (t.reshape(4, 3, *t.shape[1:]) for t in scored(study, task, "final"))
            added["one strength"].append(test[2, 2] - test[0, 2])  # 0.01, at 0.003
            free = chosen(val[0], test[0])
            with_l2 = chosen(*(t[1:].reshape(9, *t.shape[2:]) for t in (val, test)))
            added["tuned"].append(with_l2 - free)
        for how, sides in added.items():
            c38[f"{name}, {how}"] = tuple(map(crossed, sides))
    return {"C38": c38}
