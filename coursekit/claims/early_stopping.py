"""Early stopping, checkpoints and learning-rate schedules: the experiments of lesson 09.

Most replay a rule on one set of recorded curves. "As good as" means: against its reference the rule
costs less than 1 point of test accuracy (0.02 nats of test loss), the whole interval included.
Where never stopping (the last epoch) passes the same test, a pass tells nothing: such a regime is
not testable, and counts only if the rule itself is contradicted there.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from coursekit import data, judge, models, stopping
from coursekit.claims.experiments import exact, experiment
from coursekit.datasets.tasks import Task
from coursekit.engine.networks import initial_net, private_rng
from coursekit.judge import Verdict
from coursekit.results.runs import PARTS, Runs
from coursekit.stopping import at, lowest
from coursekit.train import Recipe, evaluate, fit, outputs

RECIPE = Recipe(epochs=120, batch_size=32, n_seeds=96)


def benches() -> dict[str, Task]:
    """Clean and noisy digits (40 % of the training labels replaced) and a table, 60 validated."""
    return {
        "clean digits": data.load("digits", n_val=60),
        "noisy digits": data.load("digits", n_val=60, label_noise=0.4),
        "breast cancer": data.load("breast_cancer", n_val=60),
    }


@lru_cache(maxsize=2)
def recorded(seeds: range) -> dict[str, Runs]:
    """Train each bench to the end, once for all experiments, with every curve recorded."""
    return {name: train(task, seeds) for name, task in benches().items()}


def train(task: Task, seeds: range, dropout=0.0, record=PARTS, **changes) -> Runs:
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds), **changes)
    return fit(models.mlp(task, dropout=dropout), task, recipe, record=record)


def cheap(cost: np.ndarray, most: float = 1.0, unit: str = "points") -> Verdict:
    """Whether a cost (S,) is less than `most`, its whole interval; counted from 1.1 times that."""
    unit = f"{unit} beyond {1.1 * most:g}"
    return judge.lowers("costs little", 1.1 * most, cost, smallest=most / 10, unit=unit)


def as_cheap(cost: np.ndarray, never: np.ndarray, *most) -> Verdict | str:
    """Whether a cost (S,) is small; not testable where that of never stopping is small as well."""
    verdict = cheap(cost, *most)
    trivial = cheap(never, *most).outcome == "supported" and verdict.outcome != "contradicted"
    return "not testable here: never stopping passes the same test" if trivial else verdict


@experiment("C73", "C74", "C75", "C81", n_seeds=RECIPE.n_seeds, recipe=RECIPE)
def rules(seeds):
    """Four rules replayed on the curves of every bench; judged by test accuracy and test loss.

    C73: patience 10 with its best weights is better than training for all 120 epochs.
    C74: stopping when the training loss no longer falls and the validation loss rises, word by
    word, is as good as patience 10 on the validation loss alone.
    C75: the epoch before the first rise is as good as the lowest validation loss of all epochs.
    C81: the epoch with the lowest validation loss is better than the one with the best accuracy.
    """
    found = {"C73": {}, "C74": {}, "C75": {}, "C81": {}}
    for name, runs in recorded(seeds).items():
        loss, waited = runs.val_loss, stopping.patience(runs.val_loss, 10).best
        judged = {
            "C73": better(runs, -1, waited),
            "C74": as_good(runs, waited, flat_and_rising(runs.train_loss, loss)),
            "C75": as_good(runs, lowest(loss), stopping.first_rise(loss)),
            "C81": better(runs, lowest(-runs.val_acc), lowest(loss)),
        }
        for id, verdicts in judged.items():
            found[id] |= {f"{name}, {metric}": verdict for metric, verdict in verdicts.items()}
    return found


def better(runs: Runs, reference: np.ndarray | int, epoch: np.ndarray) -> dict[str, Verdict]:
    """Whether the test scores at `epoch` are better than at `reference`, (S,) each."""
    acc, loss = ([at(c, e) for e in (reference, epoch)] for c in (runs.test_acc, runs.test_loss))
    return {
        "accuracy": judge.raises("higher accuracy", *acc, "accuracy"),
        "loss": judge.lowers("lower loss", *loss, "nll"),
    }


def as_good(runs: Runs, reference: np.ndarray, epoch: np.ndarray) -> dict[str, Verdict | str]:
    """Whether stopping at `epoch` costs little against `reference`, (S,) each."""
    curves = 100 * runs.test_acc, -runs.test_loss
    acc, loss = ([at(c, reference) - at(c, stop) for stop in (epoch, -1)] for c in curves)
    return {"accuracy": as_cheap(*acc), "loss": as_cheap(*loss, 0.02, "nats")}


def flat_and_rising(train_loss: np.ndarray, val_loss: np.ndarray) -> np.ndarray:
    """First epoch at which training no longer falls and validation rises, (S,); else the last."""
    stop = (np.diff(train_loss) >= 0) & (np.diff(val_loss) > 0)  # (S, T - 1)
    return np.where(stop.any(1), stop.argmax(1) + 2, train_loss.shape[1])


@exact("C76")
def shallow_copy():
    """Save `state_dict().copy()`, take one more step: are the saved tensors what they were?"""
    with private_rng(0):
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        x = torch.randn(16, 4)
    best = net.state_dict().copy()
    truth = {name: value.clone() for name, value in best.items()}
    net(x).square().mean().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    kept = {name: torch.equal(best[name], value) for name, value in truth.items()}
    return {"C76": {"weights": kept["0.weight"], "running statistics": kept["1.running_mean"]}}


@experiment("C77", n_seeds=RECIPE.n_seeds, recipe=RECIPE)
def one_patience_for_all(seeds):
    """Patience 5 and 20, against the best patience of the bench.

    The reference is the patience among 1, 2, 5, 10, 20 and 40 with the best mean test accuracy on
    the other seeds. As good in test accuracy? And is the threshold of 0.001 still harmless if the
    same loss comes in another unit, a thousandth?
    """
    evidence = {}
    for name, runs in recorded(seeds).items():
        loss, score = runs.val_loss, 100 * runs.test_acc
        acc = {p: at(score, stopping.patience(loss, p).best) for p in (1, 2, 5, 10, 20, 40)}
        table = np.array([*acc.values()])  # (K, S)
        others = table.sum(1, keepdims=True) - table
        best = np.take_along_axis(table, others.argmax(0)[None], 0)[0]
        never = best - score[:, -1]
        evidence |= {f"{name}, patience {p}": as_cheap(best - acc[p], never) for p in (5, 20)}
        if name == "clean digits":
            for unit, scale in (("nats", 1.0), ("thousands of nats", 1e-3)):
                # An absolute threshold is a relative one on the exponential.
                rule = stopping.patience(np.exp(scale * loss), 10, min_delta=1 - np.exp(-0.001))
                costs = (acc[10] - at(score, epoch) for epoch in (rule.best, -1))
                evidence[f"{name}, min_delta 0.001, loss in {unit}"] = as_cheap(*costs)
    return {"C77": evidence}


@experiment("C78", n_seeds=100)
def stopping_or_ridge(seeds):
    """Gradient descent on least squares from 0, against ridge, in exact expectation.

    Equivalent would mean: the same estimate for some strength; and the best risk over all stopping
    times less than 5 % (0.05 of its logarithm) above the best over all strengths. Each seed is a
    problem of 30 features: squared singular values fall by a power between 0 and 4, normal
    coefficients, signal to noise between 1/4 and 16. Risk: squared error of the fitted values.
    """
    two, excess = np.array([1.0, 0.25]), []
    stopped = stopping.gd_filter(two, 0.5, 4)
    twin = two[0] * (1 / stopped[0] - 1)  # the one strength that agrees on the first value
    times = np.unique(np.geomspace(1, 1e6, 300).astype(int))
    for seed in seeds:
        rng = np.random.default_rng(seed)
        s2, beta = np.arange(1, 31) ** -rng.uniform(0, 4), rng.normal(size=30)
        noise = np.mean(s2 * beta**2) / 4 ** rng.uniform(-1, 2)
        kept = [stopping.gd_filter(s2, 0.5, t) for t in times]
        kept += [stopping.ridge_filter(s2, strength) for strength in np.geomspace(1e-6, 1e3, 400)]
        risk = [(s2 * ((1 - k) * beta) ** 2).sum() + noise * (k**2).sum() for k in kept]
        excess.append(np.log(min(risk[: len(times)]) / min(risk[len(times) :])))
    same = bool(np.isclose(stopping.ridge_filter(two, twin), stopped).all())
    risks = cheap(np.array(excess), 0.05, "of log risk")
    return {"C78": {"the same estimate": same, "the same best risk": risks}}


@experiment("C79", n_seeds=60, recipe=RECIPE)
def explicit_regularization(seeds):
    """Weight decay and dropout, trained to the end, against early stopping without either.

    Each has three strengths, chosen per seed by the final validation loss. More robust means: then
    a higher test accuracy than patience 10. (A line for the worst would depend on those strengths.)
    """
    grids, evidence = {"dropout": (0.2, 0.5, 0.8), "weight_decay": (1e-3, 1e-2, 3e-2)}, {}
    for name, task in list(benches().items())[:2]:
        plain = train(task, seeds)
        stopped = at(plain.test_acc, stopping.patience(plain.val_loss, 10).best)
        for method, grid in grids.items():
            trained = [train(task, seeds, record=(), **{method: value}) for value in grid]
            acc = np.array([evaluate(runs, task, weights="final").acc for runs in trained])
            best = np.array([runs.val_loss[:, -1] for runs in trained]).argmin(0)
            tuned = np.take_along_axis(acc, best[None], 0)[0]
            evidence[f"{name}, tuned {method}"] = judge.raises("higher", stopped, tuned, "accuracy")
    return {"C79": evidence}


@experiment("C80", "S19", n_seeds=16, recipe=RECIPE)
def clean_points_first(seeds):
    """Weights after 1, 2, 4, ..., 120 epochs, with 40 % of the training labels replaced.

    C80: of the training points with the right and with a wrong label, which share is fitted? First
    means: averaged over these moments, at least 5 points more of the right ones.
    S19: near means that the weights with the lowest validation loss are at least 5 % nearer to the
    initial ones than the last weights, and that at no moment they are nearer than at one before.
    """
    ladder_epochs, lead, near = (1, 2, 4, 8, 16, 32, 64, 120), {}, {}
    for bench in ("digits", "breast_cancer"):
        task, name = data.load(bench, n_val=60, label_noise=0.4), f"noisy {bench.replace('_', ' ')}"
        ladder = [train(task, seeds, record=(), epochs=epochs) for epochs in ladder_epochs]
        right, wrong = np.mean([fitted(runs, task, seeds) for runs in ladder], axis=0)
        lead[name] = judge.raises("more right ones", wrong, right, smallest=5, unit="points")
        way = np.array([travelled(runs.final, task, seeds) for runs in ladder])  # (K, S)
        share = 100 * travelled(ladder[-1].best, task, seeds) / way[-1]
        near[name] = judge.lowers("nearer", 100.0, share, smallest=5, unit="percent")
        near[f"{name}, ever farther"] = bool((np.diff(way, axis=0) > 0).all())
    return {"C80": lead, "S19": near}


def fitted(runs: Runs, task: Task, seeds: range) -> np.ndarray:
    """Percent of training points fitted, with the right label and with a wrong one: (2, S)."""
    dealt = task.deal(seeds)
    answers = outputs(runs, task.x, weights="final").argmax(-1)  # (S, pool)
    hit = (answers.gather(1, dealt.train_rows) == dealt.y_train).cpu().double()
    flipped = dealt.flipped.cpu()
    shares = [(hit * which).sum(1) / which.sum(1) for which in (~flipped, flipped)]
    return 100 * torch.stack(shares).numpy()


def travelled(state: dict[str, Tensor], task: Task, seeds: range) -> np.ndarray:
    """Euclidean distance of all weights from the initial ones, (S,)."""
    nets = [initial_net(models.mlp(task), seed).state_dict() for seed in seeds]
    moved = [state[n] - torch.stack([net[n] for net in nets]) for n in nets[0]]
    return torch.cat([part.flatten(1) for part in moved], dim=1).norm(dim=1).numpy()


@experiment("C82", n_seeds=RECIPE.n_seeds, recipe=RECIPE)
def decay_at_equal_fit(seeds):
    """Cosine and step decay from 1e-3 against the constant rate, on noisy digits.

    A regularizer would give a higher test accuracy at the end of training; against the constant
    rate stopped early (patience 10); and not only by fitting the training set less: against the
    constant rate at its first epoch with a training loss as low as the decayed one at the end.
    """
    task, evidence = benches()["noisy digits"], {}
    constant = recorded(seeds)["noisy digits"]
    stopped = stopping.patience(constant.val_loss, 10).best
    for schedule in ("cosine", "step"):
        decayed = train(task, seeds, schedule=schedule)
        reached = constant.train_loss <= decayed.train_loss[:, -1:]  # (S, T)
        equal = np.where(reached.any(1), reached.argmax(1) + 1, -1)
        moments = {"the end": -1, "early stopping": stopped, "equal training loss": equal}
        for moment, epoch in moments.items():
            pair = at(constant.test_acc, epoch), decayed.test_acc[:, -1]
            evidence[f"{schedule} against {moment}"] = judge.raises("higher", *pair, "accuracy")
    return {"C82": evidence}


@experiment("S20", n_seeds=60, recipe=RECIPE)
def regret(seeds):
    """The epoch with the lowest validation loss, against the network's best epoch.

    The best epoch is the one with the highest accuracy on one half of the test set; its accuracy
    is read on the other half, so that luck in choosing does not count (and vice versa; the mean).
    As good in test accuracy? On noisy digits also with 300 instead of 60 rows to validate.
    """
    cases, evidence = benches(), {}
    cases["noisy digits, 300 to validate"] = replace(cases["noisy digits"], n_val=300)
    for name, task in cases.items():
        parts = [(task.x_test[i::2], task.y_test[i::2]) for i in (0, 1)]
        runs = [train(replace(task, x_test=x, y_test=y), seeds) for x, y in parts]
        best, kept, last = 50 * sum(
            np.array([at(b.test_acc, e) for e in (lowest(-a.test_acc), lowest(b.val_loss), -1)])
            for a, b in (runs, runs[::-1])  # chosen on a, read on b
        )
        evidence[name] = as_cheap(best - kept, best - last)
    return {"S20": evidence}


@exact("S21")
def mean_of_batch_means():
    """Ten losses in batches of 5 and 5, and of 9 and 1: is the mean of means the mean?"""
    losses = np.array([0.2] * 9 + [7.0])
    cases = {"batches of one size": 5, "a smaller last batch": 9}
    means = {title: (losses[:n].mean() + losses[n:].mean()) / 2 for title, n in cases.items()}
    return {"S21": {title: bool(np.isclose(m, losses.mean())) for title, m in means.items()}}


@experiment("S22", n_seeds=RECIPE.n_seeds, recipe=RECIPE)
def savings(seeds):
    """Patience 10 on 200 digits, 60 or 300 more to validate: what does it save, what does it cost?

    Saved: more than a tenth of the 120 epochs; and negligible: the network that learns from all
    labels, for the number of epochs found, is less than a point better. The weaker part decides.
    """
    tasks, evidence = dict(list(benches().items())[:2]), {}
    tasks["noisy digits, 300 to validate"] = replace(tasks["noisy digits"], n_val=300)
    for name, task in tasks.items():
        runs = recorded(seeds)[name] if name in recorded(seeds) else train(task, seeds)
        stop = stopping.patience(runs.val_loss, 10)
        saved = 100 * (1 - stop.last / RECIPE.epochs)
        time = judge.raises("saved", 0.0, saved, smallest=10, unit="percent of the epochs")
        full = train(replace(task, n_train=task.n_train + task.n_val - 1, n_val=1), seeds)
        cost = 100 * (at(full.test_acc, stop.best) - at(runs.test_acc, stop.best))
        evidence[name] = judge.both(cheap(cost, unit="points for the labels,"), time)
    return {"S22": evidence}
