"""Early stopping, checkpoints and learning-rate schedules.

A rule decides after every epoch which networks to keep, as a stopper in a loop would; one training
serves all rules, and each has its own copy of the weights. Axes: S seeds, T epochs, N examples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit import data, stopping
from coursekit.datasets.tasks import Task
from coursekit.engine import side_by_side
from coursekit.engine.devices import kept_pages, matmul_precision
from coursekit.engine.hooks import Arm, Hooks
from coursekit.engine.networks import initial_net, private_rng
from coursekit.engine.scores import on_shared
from coursekit.engine.stack import Stack
from coursekit.ledger.evidence import Exact, Side, chosen, correct, crossed, losses, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.worlds import World
from coursekit.results.runs import History, Runs
from coursekit.stopping import Monitor
from coursekit.train import Recipe, evaluate, outputs

RECIPE = Recipe(epochs=120, batch_size=32)
N_VAL = 60  # no more than somebody with 200 labels to learn from would spare
MakeNet = Callable[[], nn.Module]
Keep = Callable[[Mapping[str, np.ndarray]], np.ndarray]  # scores (S,) of an epoch to (S,) of bool
Rule = Callable[[int], Keep]  # given S


def patience(n: int | None, of: str = "val_loss") -> Rule:
    """The best epoch before `n` in a row without a better one; None for the best of all."""

    def start(n_seeds: int) -> Keep:
        monitor = Monitor(n_seeds, n)
        return lambda row: monitor.update(row[of])

    return start


def absolute(n: int, min_delta: float, scale: float = 1.0) -> Rule:
    """Patience where a loss, times `scale`, has to fall by more than `min_delta` to be better."""

    def start(n_seeds: int) -> Keep:
        # On the exponential, an absolute threshold is a relative one.
        monitor = Monitor(n_seeds, n, 1 - np.exp(-min_delta))
        return lambda row: monitor.update(np.exp(scale * row["val_loss"]))

    return start


def unrestored(n: int) -> Rule:
    """The last epoch that patience `n` trains: what a shallow copy of the best weights holds."""

    def start(n_seeds: int) -> Keep:
        monitor = Monitor(n_seeds, n)

        def keep(row):
            running = monitor.running.copy()
            monitor.update(row["val_loss"])
            return running

        return keep

    return start


def until(stops: Callable[[dict, dict], np.ndarray]) -> Rule:
    """The first epoch at which `stops(row, row before)` is true, that one included."""

    def start(n_seeds: int) -> Keep:
        running, before = np.ones(n_seeds, bool), {}

        def keep(row):
            kept = running.copy()
            if before:
                running[stops(row, before)] = False
            before.update(row)
            return kept

        return keep

    return start


def first_rise(n_seeds: int) -> Keep:
    """The epoch before the validation loss first rises."""
    falling, before = np.ones(n_seeds, bool), np.full(n_seeds, np.inf)

    def keep(row):
        falling[~(row["val_loss"] <= before)] = False
        before[:] = row["val_loss"]
        return falling.copy()

    return keep


def at(epochs: np.ndarray | int) -> Rule:
    """The epoch of that number, (S,) or the same for all."""

    def start(n_seeds: int) -> Keep:
        now = np.zeros(n_seeds, int)

        def keep(row):
            now[:] += 1
            return now == epochs

        return keep

    return start


def end(n_seeds: int) -> Keep:
    """The last epoch of the training."""
    return lambda row: np.ones(n_seeds, bool)


def _flat_and_rising(row, before) -> np.ndarray:
    no_longer_falls = row["train_loss"] >= before["train_loss"]
    return no_longer_falls & (row["val_loss"] > before["val_loss"])


LOWEST = patience(None)
MOST_ACCURATE = patience(None, "val_error")


def watch(
    net: MakeNet,
    task: Task,
    seeds: Sequence[int],
    rules: Mapping[str, Rule],
    *,
    record: Sequence[str] = (),
    spare: bool = False,
    **changes,
) -> dict[str, Runs]:
    """Train once as `fit` does; return the runs for each rule, whose best weights it has kept.

    A rule sees the validation scores, those of the parts to `record`, and with `spare` the
    "spare_error" and "spare_loss": those on all rows of the pool which a seed neither learns from
    nor validates on.
    """
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds), **changes)
    runners = [(Arm(net, recipe), seed) for seed in recipe.seeds]
    stack = Stack([initial_net(net, seed) for seed in recipe.seeds], task.device)
    history = History(recipe, recipe.seeds, stack)
    deciding = {name: rule(len(seeds)) for name, rule in rules.items()}
    kept = {name: stack.snapshot() for name in rules}
    epochs = {name: np.zeros(len(seeds), int) for name in rules}
    unseen, hooks = _unseen(task, recipe.seeds) if spare else None, Hooks(record=record)
    with kept_pages(), matmul_precision(recipe.precision), private_rng(seeds[0]), history:
        for scores in side_by_side.epochs(runners, stack, task, hooks):
            history.add(scores)
            row = dict(history.curves[-1])
            if "val_acc" in row:
                row["val_error"] = 1 - row["val_acc"]
            if unseen is not None:
                answers = on_shared(stack.net, stack.state, task.x)  # (S, pool, C)
                y = task.y.expand(answers.shape[:-1])
                row["spare_error"] = 1 - _means(answers.argmax(-1) == y, unseen)
                each = F.cross_entropy(answers.movedim(-1, 1), y, reduction="none")
                row["spare_loss"] = _means(each, unseen)
            for name, keep in deciding.items():
                which = keep(row)
                kept[name].keep(stack, which)
                epochs[name][which] = len(history.curves)
    runs = history.runs(task)
    return {
        name: replace(
            runs,
            best={n: value.cpu().contiguous() for n, value in kept[name].state.items()},
            best_epoch=epochs[name],
        )
        for name in rules
    }


def _unseen(task: Task, seeds: Sequence[int]) -> Tensor:
    """Which rows of the pool a seed is not dealt, (S, pool) of bool."""
    dealt = task.deal(seeds)
    used = torch.cat([dealt.train_rows, dealt.val_rows], 1)
    unseen = torch.ones(len(used), len(task.x), dtype=torch.bool, device=task.device)
    return unseen.scatter(1, used, False)


def _means(values: Tensor, which: Tensor) -> np.ndarray:
    """Mean over the marked ones, (S,)."""
    return ((values * which).sum(1) / which.sum(1)).cpu().double().numpy()


def _accuracy(runs: Runs, task: Task) -> Side:
    return crossed(correct(runs, task))


def _loss(runs: Runs, task: Task) -> Side:
    return crossed(losses(runs, task))


def _both(name: str, control: Runs, treated: Runs, task: Task) -> dict[str, tuple[Side, Side]]:
    """A comparison by test accuracy, and one by test loss."""
    return {
        f"{name}, accuracy": (_accuracy(control, task), _accuracy(treated, task)),
        f"{name}, loss": (_loss(control, task), _loss(treated, task)),
    }


def _digits(world: World) -> dict[str, Task]:
    """Clean and noisy labels to learn from; and noisy ones to learn from and to validate on."""
    return {
        "clean digits": world.digits(n_val=N_VAL),
        "noisy digits": world.digits(label_noise=0.4, n_val=N_VAL),
        "noisy digits, wrong validation labels": world.digits(pool_noise=0.4, n_val=N_VAL),
    }


def _tumors(world: World, label_noise: float = 0.0) -> dict[str, Task]:
    if not world.is_first:
        return {}
    name = "noisy breast cancer" if label_noise else "breast cancer"
    return {name: data.load("breast_cancer", n_val=N_VAL, label_noise=label_noise)}


@experiment("C73", "C81", "S22", recipe=RECIPE)
def stopped(seeds, world):
    """Patience 10 against all 120 epochs, loss against accuracy as the monitor, and the price.

    The price: a network that learns from the validation labels, too, for as many epochs as the
    stop has found, and for as many steps.
    """
    c73, c81, s22 = {}, {}, {}
    rules = {"end": end, "stop": patience(10), "loss": LOWEST, "accuracy": MOST_ACCURATE}
    digits = _digits(world)
    if not world.headline:
        digits["noisy digits, 300 to validate"] = replace(digits["noisy digits"], n_val=300)
    for name, task in (digits | _tumors(world)).items():
        net = world.net(task)
        kept = watch(net, task, seeds, rules)
        stop = kept["stop"]
        if task.n_val == N_VAL:
            c73 |= _both(name, kept["end"], stop, task)
            c81 |= _both(name, kept["accuracy"], kept["loss"], task)
        if name in digits:
            trained = np.minimum(stop.best_epoch + 10, RECIPE.epochs)
            saved = plain(1 - trained / RECIPE.epochs)
            s22[f"{name}, epochs"] = plain(0.0, len(seeds)), saved
            whole = replace(task, n_train=task.n_train + task.n_val - 1, n_val=1)
            steps = [math.ceil(t.n_train / RECIPE.batch_size) for t in (task, whole)]  # per epoch
            as_many = np.maximum(1, np.rint(stop.best_epoch * steps[0] / steps[1]))
            equal = {"equal epochs": at(stop.best_epoch), "equal steps": at(as_many)}
            full = watch(net, whole, seeds, equal, epochs=int(stop.best_epoch.max()))
            for what, runs in full.items():
                s22[f"{name}, accuracy, {what}"] = _accuracy(runs, task), _accuracy(stop, task)
    return {"C73": c73, "C81": c81, "S22": s22}


@experiment("C74", "C75", "C76b", "C77", "S20", recipe=RECIPE)
def rules(seeds, world):
    """The rules of the articles, on the same trainings, against patience 10 and no stopping."""
    c74, c75, c76b, c77, s20 = {}, {}, {}, _threshold(seeds, world), {}
    every = {
        "end": end,
        "literal": until(_flat_and_rising),
        "first rise": first_rise,
        "lowest": LOWEST,
        "most accurate": patience(None, "spare_error"),
        "lowest of all": patience(None, "spare_loss"),
        "shallow": unrestored(20),
        "absolute": absolute(10, 0.001),
    } | {f"patience {n}": patience(n) for n in (2, 5, 10, 20, 40)}
    digits = _digits(world)
    tasks = {name: digits[name] for name in ("clean digits", "noisy digits")} | _tumors(world)
    plainly = tuple(tasks)
    more = "noisy digits, 300 to validate", "noisy digits, slower"
    tasks |= dict.fromkeys(more, digits["noisy digits"])
    tasks[more[0]] = replace(tasks[more[0]], n_val=300)
    for name, task in tasks.items():
        slower = {"lr": RECIPE.lr / 3} if name == more[1] else {}
        how = {"record": ("train",), "spare": True} | slower
        kept = watch(world.net(task), task, seeds, every, **how)
        if name in plainly:
            for found, rule in ((c74, "literal"), (c75, "first rise")):
                for control, known in (("patience 10", "patience 10"), ("end", "never stopping")):
                    judged = _both(f"{name}: against {known}", kept[control], kept[rule], task)
                    found.update(judged)
        if name in ("clean digits", "noisy digits"):
            pair = kept["patience 20"], kept["shallow"]
            c76b |= _both(f"{name}, patience 20", *pair, task)
        for inside, outside in ((20, 2), (5, 40)):
            pair = kept[f"patience {outside}"], kept[f"patience {inside}"]
            c77 |= _both(f"{name}: {inside} against {outside}", *pair, task)
        if name == "clean digits":
            pair = kept["patience 10"], kept["absolute"]
            c77[f"{name}: 0.001 against 0"] = tuple(_accuracy(runs, task) for runs in pair)
        if name != more[1]:
            for known, best, score in (
                ("accuracy", "most accurate", _accuracy),
                ("loss", "lowest of all", _loss),
            ):
                s20[f"{name}, {known}"] = score(kept[best], task), score(kept["lowest"], task)
    # On the tumors the rule stops one network in five, and hardly changes what that one answers.
    c74.pop("breast cancer: against never stopping, accuracy", None)
    return {"C74": c74, "C75": c75, "C76b": c76b, "C77": c77, "S20": s20}


def _threshold(seeds: Sequence[int], world: World) -> dict[str, tuple[Side, Side] | Exact]:
    """A threshold of 0.001 on a loss that falls by a tenth per epoch, in two units; and on squared
    errors of a score that is counted in thousands.
    """
    kept = {}
    for unit, scale in (("once", 1.0), ("in thousands", 1e-3)):
        keep = absolute(10, 0.001, scale)(1)
        falling = [bool(keep({"val_loss": np.array([0.9**t])})[0]) for t in range(120)]
        kept[unit] = 1 + int(np.flatnonzero(falling).max())
    shown = f"keeps epoch {kept['once']}, and {kept['in thousands']} if the unit is 1000 times as"
    same = Exact(kept["once"] == kept["in thousands"], f"{shown} large, of 120 that all improve")
    found: dict[str, tuple[Side, Side] | Exact] = {"a curve in two units": same}
    if not world.is_first:
        return found
    task = data.load("diabetes", n_val=N_VAL)
    mean, sd = task.y.mean(), task.y.std()
    task = replace(task, y=(task.y - mean) / sd, y_test=(task.y_test - mean) / sd)
    small = (float(sd) / 1000) ** 2  # of a squared error, if the score is counted in thousands
    rules = {"none": patience(10), "absolute": absolute(10, 0.001, small)}
    kept = watch(world.net(task), task, seeds, rules)
    found["diabetes, in thousands: 0.001 against 0"] = tuple(
        crossed(_unexplained(kept[rule], task)) for rule in rules
    )
    return found


def _unexplained(runs: Runs, task: Task) -> np.ndarray:
    """Squared error of each test example, in units of the variance of the test targets, (S, N)."""
    off = outputs(runs, task.x_test).squeeze(-1) - task.y_test
    return (off.square() / task.y_test.var()).double().cpu().numpy()


@experiment("C76")
def shallow_copy():
    """Save `state_dict().copy()`, take one more step: are the saved tensors what they were?"""
    with private_rng(0):
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        x = torch.randn(16, 4)
    best = net.state_dict().copy()
    truth = {name: value.clone() for name, value in best.items()}
    net(x).square().mean().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    found = {}
    for known, name in (("weights", "0.weight"), ("running statistics", "1.running_mean")):
        moved = (best[name] - truth[name]).abs().max().item()
        found[known] = Exact(moved == 0, f"the saved ones moved by up to {moved:.2g} in one step")
    return {"C76": found}


@experiment("C78")
def one_estimate():
    """Is there a strength of ridge that agrees with four steps of gradient descent from 0?"""
    two = np.array([1.0, 0.25])
    by_steps = stopping.gd_filter(two, 0.5, 4)
    twin = two[0] * (1 / by_steps[0] - 1)  # the one strength that agrees on the first value
    apart = abs(stopping.ridge_filter(two, twin) - by_steps).max()
    told = f"alike in one direction, they differ by {apart:.2f} of the coefficient in the other"
    return {"C78": {"the same estimate": Exact(bool(apart < 1e-9), told)}}


@experiment("C78b")
def stopping_or_ridge(seeds):
    """Gradient descent on least squares from 0, against ridge, in exact expectation.

    Each seed is a problem of 30 features: squared singular values fall by a power between 0 and 4,
    normal coefficients, signal to noise between 1/4 and 16. The best of all stopping times against
    the best of all strengths, by the squared error of the fitted values.
    """
    best = np.array([_best_risks(np.random.default_rng(seed)) for seed in seeds])  # (S, 2)
    return {"C78b": {"the best risk": (plain(best[:, 1]), plain(best[:, 0]))}}


def _best_risks(rng: np.random.Generator) -> list[float]:
    """Logarithm of the lowest risk over stopping times, and over ridge's strengths."""
    s2, beta = np.arange(1, 31) ** -rng.uniform(0, 4), rng.normal(size=30)
    noise = np.mean(s2 * beta**2) / 4 ** rng.uniform(-1, 2)
    times = np.unique(np.geomspace(1, 1e6, 300).astype(int))
    filters = (
        [stopping.gd_filter(s2, 0.5, t) for t in times],
        [stopping.ridge_filter(s2, strength) for strength in np.geomspace(1e-6, 1e3, 400)],
    )

    def risk(kept: np.ndarray) -> float:
        return (s2 * ((1 - kept) * beta) ** 2).sum() + noise * (kept**2).sum()

    return [float(np.log(min(map(risk, some)))) for some in filters]


PATIENCES = {f"patience {n}": patience(n) for n in (2, 5, 10, 40)}
STRENGTHS = {"dropout": (0.2, 0.5, 0.65, 0.8), "L2": (1e-3, 3e-3, 1e-2, 3e-2)}
HELD = {"dropout": 0.5, "L2": 1e-2}


@experiment("C79", "C79b", recipe=RECIPE)
def explicit_regularization(seeds, world):
    """Dropout and L2, the best of four strengths trained to the end; and stopping alone.

    Stopping has four patiences, alone, and together with one strength of dropout or L2. On every
    side validation accuracy finds the best of four.
    """
    c79, c79b = {}, {}
    for name, task in _digits(world).items():
        alone = _chosen([*watch(world.net(task), task, seeds, PATIENCES).values()], task)
        for method, strengths in STRENGTHS.items():
            trained = {
                strength: watch(
                    world.net(task, dropout=strength if method == "dropout" else 0.0),
                    task,
                    seeds,
                    {"end": end} | (PATIENCES if strength == HELD[method] else {}),
                    weight_decay=strength if method == "L2" else 0.0,
                )
                for strength in strengths
            }
            c79[f"{name}, {method}"] = alone, _chosen([k["end"] for k in trained.values()], task)
            stopped = [trained[HELD[method]][known] for known in PATIENCES]
            c79b[f"{name}, {method}"] = alone, _chosen(stopped, task)
    return {"C79": c79, "C79b": c79b}


def _chosen(runs: Sequence[Runs], task: Task) -> Side:
    """The runs that each seed finds best on its validation digits."""
    val = np.array([evaluate(r, task, "val").acc for r in runs])
    return crossed(chosen(val, np.array([correct(r, task) for r in runs])))


LADDER = (1, 2, 4, 8, 16, 32, 64, 120)


@experiment("C80", "S19", recipe=RECIPE)
def clean_points_first(seeds, world):
    """Weights after 1, 2, 4, ..., 120 epochs, with 40 % of the training labels replaced.

    Of the training points with the right and with a wrong label, which share is fitted, on the
    mean of these moments? How far have the weights moved, and how far at the lowest validation
    loss?
    """
    c80, s19 = {}, {}
    noisy = {"noisy digits": _digits(world)["noisy digits"]}
    for name, task in (noisy | _tumors(world, 0.4)).items():
        net = world.net(task)
        kept = watch(net, task, seeds, {str(e): at(e) for e in LADDER} | {"lowest": LOWEST})
        ladder = [kept[str(e)] for e in LADDER]
        right, wrong = np.mean([_fitted(runs, task, seeds) for runs in ladder], axis=0)
        c80[name] = plain(wrong), plain(right)
        way = np.array([_travelled(runs, net) for runs in ladder])  # (K, S)
        near = _travelled(kept["lowest"], net) / way[-1]
        s19[f"{name}, at the lowest loss"] = plain(1.0, len(seeds)), plain(near)
        steps = np.diff(way, axis=0) / way[-1]
        s19[f"{name}, at every moment"] = plain(0.0, len(seeds)), plain(steps.min(0))
    return {"C80": c80, "S19": s19}


def _fitted(runs: Runs, task: Task, seeds: Sequence[int]) -> list[np.ndarray]:
    """Share of training points fitted, with the right label and with a wrong one: two of (S,)."""
    dealt = task.deal(seeds)
    answers = outputs(runs, task.x).argmax(-1)  # (S, pool)
    hit = answers.gather(1, dealt.train_rows) == dealt.y_train
    return [_means(hit, which) for which in (~dealt.flipped, dealt.flipped)]


def _travelled(runs: Runs, net: MakeNet) -> np.ndarray:
    """Euclidean distance of all weights from the initial ones, (S,)."""
    first = [initial_net(net, seed).state_dict() for seed in runs.seeds.tolist()]
    moved = [runs.best[n] - torch.stack([state[n] for state in first]) for n in first[0]]
    return torch.cat([part.flatten(1) for part in moved], dim=1).norm(dim=1).double().numpy()


@experiment("C82", recipe=RECIPE)
def decay_at_equal_fit(seeds, world):
    """Cosine and step decay from two rates, against constant rates.

    At the end of training; at an equal training loss, which is the higher of the two final ones;
    against the constant rate stopped by patience 10; and against a third of that rate.
    """
    digits, c82 = _digits(world), {}
    noisy, rates = digits["noisy digits"], (RECIPE.lr, 3 * RECIPE.lr)
    third = watch(world.net(noisy), noisy, seeds, {"end": end}, lr=RECIPE.lr / 3)["end"]
    for name, task, lr in (
        ("noisy digits, 0.001", noisy, rates[0]),
        ("noisy digits, 0.003", noisy, rates[1]),
        ("clean digits, 0.001", digits["clean digits"], rates[0]),
    ):
        net = world.net(task)
        how = {"record": ("train",), "lr": lr}
        constant = watch(net, task, seeds, {"end": end, "stop": patience(10)}, **how)
        last = _last_loss(constant["end"])
        both = {"end": end, "equal": _as_low_as(last)}
        decayed = {
            schedule: watch(net, task, seeds, both, schedule=schedule, **how)
            for schedule in ("cosine", "step")
        }
        if task is noisy:
            # The decayed loss is now known, too: a second time, up to the higher of both.
            equal = {
                schedule: _as_low_as(np.maximum(last, _last_loss(kept["end"])))
                for schedule, kept in decayed.items()
            }
            again = watch(net, task, seeds, equal, **how)
        for schedule, kept in decayed.items():
            treated, known = _accuracy(kept["end"], task), f"{name}, {schedule}"
            controls = {"the end": constant["end"], "early stopping": constant["stop"]}
            if task is noisy:
                controls["a third"] = third
                pair = again[schedule], kept["equal"]
                c82[f"{known}: equal training loss"] = tuple(_accuracy(r, task) for r in pair)
            for against, control in controls.items():
                c82[f"{known}: {against}"] = _accuracy(control, task), treated
        third = constant["end"]  # of the next rate, which is three times as large
    return {"C82": c82}


def _last_loss(runs: Runs) -> np.ndarray:
    return runs.train_loss[:, -1]


def _as_low_as(reached: np.ndarray) -> Rule:
    """The first epoch with a training loss as low as that, (S,), or else the last one."""
    return until(lambda row, before: row["train_loss"] <= reached)


@experiment("S21")
def mean_of_batch_means():
    """Ten losses in batches of 5 and 5, and of 9 and 1: is the mean of means the mean?"""
    values, found = np.array([0.2] * 9 + [7.0]), {}
    for name, n in (("batches of one size", 5), ("a smaller last batch", 9)):
        mean = (values[:n].mean() + values[n:].mean()) / 2
        same = bool(np.isclose(mean, values.mean()))
        found[name] = Exact(same, f"mean of batch means {mean:.3g}, mean {values.mean():.3g}")
    return {"S21": found}
