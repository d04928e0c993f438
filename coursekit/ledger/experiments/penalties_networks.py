"""L1 and L2 in networks, where they meet gradient descent; what they cost, and what they change.

Axes: S seeds, A strengths, T epochs, N examples, C classes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from sklearn import linear_model, preprocessing
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from coursekit import linear
from coursekit.datasets.tasks import Task, stream
from coursekit.ledger.evidence import Exact, Side, chosen, correct, crossed, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.experiments.penalties_facts import diabetes
from coursekit.ledger.experiments.penalties_linear import Sample, best, draw, per_seed, r2, tried
from coursekit.ledger.worlds import World
from coursekit.regularizers import penalties
from coursekit.results.runs import Runs
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit, outputs

ADAM = Recipe(epochs=120, batch_size=50, lr=3e-3)
SGD = Recipe(epochs=120, batch_size=50, lr=0.1, optimizer="sgd")
L1_STRENGTHS = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
L2_STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
WEIGHTS = {"last epoch": "final", "early-stopped": "best"}


def _of(recipe: Recipe, seeds: Sequence[int]) -> Recipe:
    return replace(recipe, first_seed=seeds[0], n_seeds=len(seeds))


def _by_strength(world: World, task: Task, recipe: Recipe, **options) -> list[Runs]:
    """Networks at all strengths of L2, with Adam, as its weight decay."""
    net = partial(world.net, hidden=(64,), **options)
    return list(sweep(net, task, recipe, {"weight_decay": L2_STRENGTHS}, record=()).runs)


def _val(runs: Sequence[Runs], task: Task, weights: str = "final") -> np.ndarray:
    """Validation accuracy (A, S), by which each seed chooses its strength."""
    return np.array([evaluate(r, task, "val", weights=weights).acc for r in runs])


def _tuned(
    runs: Sequence[Runs],
    task: Task,
    score: Callable[[Runs], np.ndarray],
    weights: str = "final",
) -> np.ndarray:
    """Scores (S, N) at the strength that each seed's validation accuracy prefers."""
    return chosen(_val(runs, task, weights), np.array([score(r) for r in runs]))


@experiment("C23", "C23b", recipe=SGD)
def zeros_in_networks(seeds, world):
    """Share of weights at exactly zero, with L1 in the loss and with a soft threshold instead."""
    strength, task = 3e-3, world.digits()
    sgd, net = _of(SGD, seeds), world.net(task, (64,))
    l1 = {"penalty": partial(penalties.l1, strength=strength), "record": ()}
    by_loss = {
        "SGD": fit(net, task, sgd, **l1),
        "Adam": fit(net, task, _of(ADAM, seeds), **l1),
    }
    threshold = partial(penalties.shrink, threshold=sgd.lr * strength)
    sparse, free = (fit(net, task, sgd, constrain=c, record=()) for c in (threshold, None))
    proximal = plain(_share_at_zero(sparse))
    c23: dict = {f"digits, {n}": (proximal, plain(_share_at_zero(r))) for n, r in by_loss.items()}
    right = partial(correct, task=task, weights="final")
    if world.is_first:
        c23 |= _sparse_regression()
    return {"C23": c23, "C23b": {"digits, SGD": (crossed(right(free)), crossed(right(sparse)))}}


def _share_at_zero(runs: Runs) -> np.ndarray:
    """(S,), over weight matrices and kernels."""
    w = torch.cat([w.flatten(1) for w in runs.final.values() if w.ndim >= 3], 1)
    return (w == 0).double().mean(1).numpy()


def _sparse_regression() -> dict[str, Exact]:
    """Zeros after 3,000 steps on one sparse regression, with L1 in the loss."""
    s = draw(0, step=5)
    x, y = (torch.tensor(a - a.mean(0)) for a in (s.x, s.y))
    alpha = 0.1 * linear.alpha_max(s.x, s.y)
    lasso = int((linear.lasso(s.x, s.y, alpha).coef == 0).sum())
    found = {}
    for name, kind, lr in (("SGD", torch.optim.SGD, 0.05), ("Adam", torch.optim.Adam, 0.01)):
        w = torch.zeros(50, dtype=torch.float64, requires_grad=True)
        with torch.no_grad():
            w += 0.1
        optimizer = kind([w], lr=lr)
        for _ in range(3000):
            optimizer.zero_grad()
            ((y - x @ w).square().mean() / 2 + alpha * w.abs().sum()).backward()
            optimizer.step()
        zeros, near = int((w == 0).sum()), int((w.abs() < 0.01).sum())
        found[f"sparse regression, {name}"] = Exact(
            zeros > 0, f"{zeros} of 50 weights at zero, {near} below .01; the Lasso has {lasso}"
        )
    return found


@experiment("C26", recipe=ADAM)
def complex_patterns(seeds, world):
    """L1 against L2, both tuned: polynomials of degree five, and networks on digits."""
    c26 = {}
    for name, task in {
        "clean digits": world.digits(),
        "noisy digits": world.digits(label_noise=0.4),
        "noisy digits, 100 noisy ones to validate": world.digits(pool_noise=0.4, n_val=100),
    }.items():
        recipe, net = _of(ADAM, seeds), partial(world.net, hidden=(64,))
        grid = {"strength": L1_STRENGTHS}
        l1 = sweep(net, task, recipe, grid, penalty=penalties.l1, record=()).runs
        l2 = _by_strength(world, task, recipe)
        for when, weights in WEIGHTS.items():
            right = partial(correct, task=task, weights=weights)
            sides = [crossed(_tuned(runs, task, right, weights)) for runs in (l1, l2)]
            c26[f"{name}, {when}"] = tuple(sides)
    if world.is_first:
        for name, dense in (("few terms", False), ("all terms", True)):
            c26[f"polynomial, {name}"] = tuple(
                per_seed(seeds, partial(_polynomial_scores, dense=dense))
            )
    return {"C26": c26}


def _polynomial_scores(seed: int, dense: bool) -> list[float]:
    """Test R2 of L1 and of L2 on the 125 monomials of four variables."""
    rng = np.random.default_rng(seed)
    a, b, c, d, noise = v = rng.uniform(-1, 1, (5, 1150))
    x = preprocessing.PolynomialFeatures(5, include_bias=False).fit_transform(v[:4].T)
    x = preprocessing.StandardScaler().fit(x[:150]).transform(x)
    y = 3 * a * b + 4 * c**3 - 2 * c + 3 * d**2 * a
    if dense:
        y = x @ rng.normal(size=x.shape[1]) / np.sqrt(x.shape[1])
    y = y + 0.3 * noise
    empty = np.empty((0, x.shape[1]))
    s = Sample(x[:150], y[:150], empty, empty[:, 0], x[150:], y[150:], empty)
    # The best strength of L1 lies near a thousandth of the largest, where the grid would end.
    return [r2(best(tried(s.x, s.y, ratio, floor)), s) for ratio, floor in ((1, 3e-4), (0, 1e-6))]


@experiment("C32", recipe=ADAM)
def biases(seeds, world):
    """Penalize the weights only, or the biases as well; both at strengths of their own."""
    c32 = {}
    for name, noise in (("clean digits", 0.0), ("noisy digits", 0.4)):
        task = world.digits(label_noise=noise)
        for kind, norm in (("", False), (", batch norm", True)):
            sides = []
            for all_of_them in (True, False):
                recipe = replace(_of(ADAM, seeds), decay_biases=all_of_them)
                runs = _by_strength(world, task, recipe, batch_norm=norm)
                right = partial(correct, task=task, weights="final")
                sides.append(crossed(_tuned(runs, task, right)))
            c32[f"{name}{kind}"] = tuple(sides)
    if world.is_first:
        for name, shift in (("targets around 0", 0.0), ("targets around 273", 273.15)):
            c32[f"ridge, {name}"] = tuple(per_seed(seeds, partial(_with_intercept, shift=shift)))
    return {"C32": c32}


def _with_intercept(seed: int, shift: float) -> list[float]:
    """Test R2 of tuned ridge with its intercept penalized, and with it spared."""
    s = draw(seed)
    s = s._replace(y=s.y + shift, y_test=s.y_test + shift)
    alphas, fold, found = np.geomspace(1e-4, 1e4, 40), np.arange(len(s.y)) % 5, []
    for penalized in (True, False):
        errors = np.zeros(len(alphas))
        for f in range(5):
            x, y, left = s.x[fold != f], s.y[fold != f], fold == f
            errors += _squares(x, y, s.x[left], s.y[left], alphas, penalized)
        of_test = _squares(s.x, s.y, s.x_test, s.y_test, alphas, penalized)[errors.argmin()]
        found.append(float(1 - of_test / len(s.y_test) / s.y_test.var()))
    return found


def _squares(x, y, x_new, y_new, alphas, penalized: bool) -> np.ndarray:
    """Sums of squared errors (A,) on new rows of ridge; with a column of ones if penalized."""
    if penalized:
        x, x_new = (np.column_stack([a, np.ones(len(a))]) for a in (x, x_new))
        mean = 0.0
    else:
        x, x_new, mean = x - x.mean(0), x_new - x.mean(0), y.mean()
    coefs = linear.ridge_path(x, y - mean, alphas, intercept=False)
    return ((y_new[:, None] - mean - x_new @ coefs.T) ** 2).sum(0)


@experiment("C33", recipe=ADAM)
def sensitivity(seeds, world):
    """How far the probabilities move when all pixels are pushed a little, with L2 and without."""
    recipe, c33 = _of(ADAM, seeds), {}
    for name, noise in (("clean digits", 0.0), ("noisy digits", 0.4)):
        task = world.digits(label_noise=noise)
        for kind, norm in (("", False), (", batch norm", True)):
            net = world.net(task, (64,), batch_norm=norm)
            free = fit(net, task, recipe, record=("train", "val"))
            decayed = _by_strength(world, task, recipe, batch_norm=norm)
            moved = partial(_moved, task=task, weights="final")
            c33[f"{name}{kind}, last epoch"] = (
                crossed(moved(free)),
                crossed(_tuned(decayed, task, moved)),
            )
            if norm:
                continue
            strong = decayed[L2_STRENGTHS.index(1e-2)]
            c33[f"{name}, last epoch, strength .01"] = crossed(moved(free)), crossed(moved(strong))
            goal = evaluate(strong, task, "train", weights="final").acc
            equal = _as_accurate(net, task, recipe, free.train_acc, goal)
            c33[f"{name}, equal training accuracy, strength .01"] = (
                crossed(np.concatenate([moved(r) for r in equal])),
                crossed(moved(strong)),
            )
            if noise:
                early = partial(_moved, task=task, weights="best")
                tuned = _tuned(decayed, task, early, "best")
                c33[f"{name}, early-stopped"] = crossed(early(free)), crossed(tuned)
    return {"C33": c33}


def _moved(runs: Runs, task: Task, weights: str, push: float = 0.01, draws: int = 8) -> np.ndarray:
    """Norm of the Jacobian of the class probabilities at each test image, estimated: (S, N).

    Random noise of `push` per pixel moves them by this norm times the push, in root mean square.
    """
    x, noise, squares = task.x_test, stream(0, "push"), 0.0
    p = outputs(runs, x, weights=weights).softmax(-1)
    for _ in range(draws):
        pushed = x + push * torch.randn(x.shape, generator=noise).to(x)
        q = outputs(runs, pushed, weights=weights).softmax(-1)
        squares = squares + ((q - p) / push).square().sum(-1)
    return (squares / draws).sqrt().cpu().double().numpy()


def _as_accurate(
    net: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    train_acc: np.ndarray,
    goal: np.ndarray,
) -> list[Runs]:
    """Each seed's network at the first epoch at which its training accuracy reaches the goal."""
    found = []
    for seed, curve, aim in zip(recipe.seeds, train_acc, goal, strict=True):
        reached = curve >= aim
        epochs = int(reached.argmax()) + 1 if reached.any() else recipe.epochs
        own = replace(recipe, epochs=epochs, first_seed=seed, n_seeds=1)
        found.append(fit(net, task, own, record=()))
    return found


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "a tenth of the light": lambda x: 0.1 * x,
    "four tenths of the light": lambda x: 0.4 * x,
    "on gray": lambda x: 1 - 0.5 * (1 - x),
}


@experiment("C34", recipe=ADAM)
def changed_light(seeds, world):
    """What test images in less light, or on gray, cost in accuracy, with L2 and without."""
    task, recipe = world.digits(), _of(ADAM, seeds)
    free = fit(world.net(task, (64,)), task, recipe, record=())
    decayed = _by_strength(world, task, recipe)
    c34 = {}
    for name, change in CHANGES.items():
        gained = partial(_gained, task=task, x=change(task.x_test))
        base, strong = crossed(gained(free)), decayed[L2_STRENGTHS.index(1e-2)]
        c34[f"{name}, tuned"] = base, crossed(_tuned(decayed, task, gained))
        c34[f"{name}, strength .01"] = base, crossed(gained(strong))
    return {"C34": c34}


def _gained(runs: Runs, task: Task, x: Tensor) -> np.ndarray:
    """Right on changed test images minus right on the same ones unchanged, (S, N)."""
    right = partial(correct, runs, task, weights="final")
    return right(x=x) - right()


@experiment("S07", recipe=ADAM)
def convergence(seeds, world):
    """Epochs until 85 % of the test digits are right; steps of gradient descent on ridge."""
    task = world.digits()
    recipe = replace(_of(ADAM, seeds), epochs=40)
    arms = {
        "none": (recipe, {}),
        "dropout": (recipe, {"dropout": 0.5}),
        "batch norm": (recipe, {"batch_norm": True}),
        "L2": (replace(recipe, weight_decay=1e-2), {}),
    }
    found = {}
    for name, (own, options) in arms.items():
        net = partial(_with_quick_norms, world=world, **options)
        runs = sweep(net, task, own, {"lr": RATES}, record=("val", "test")).runs
        val = np.array([_epochs_until(r.val_acc) for r in runs])  # (A, S)
        test = np.array([_epochs_until(r.test_acc) for r in runs])
        found[name] = plain(np.take_along_axis(test, val.argmin(0)[None], 0)[0])
    s07: dict = {f"digits, {n}": (found["none"], side) for n, side in found.items() if n != "none"}
    if world.is_first:
        s07["ridge, diabetes, gradient descent"] = _ridge_steps()
    return {"S07": s07}


RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def _with_quick_norms(task: Task, world: World, **options) -> Callable[[], nn.Module]:
    """The world's network, whose running statistics move by half in a step.

    An epoch has four steps. With PyTorch's 0.1 they lag behind in the first epochs, and batch norm
    would be judged by statistics of networks that are gone.
    """
    make = world.net(task, **options)

    def make_net() -> nn.Module:
        net = make()
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.5
        return net

    return make_net


def _epochs_until(accuracy: np.ndarray, goal: float = 0.85) -> np.ndarray:
    """First epoch (S,) at which a curve (S, T) reaches the goal; the last if none does."""
    reached = accuracy >= goal
    return np.where(reached.any(1), reached.argmax(1) + 1, accuracy.shape[1])


def _ridge_steps() -> Exact:
    """Gradient descent until ridge's weights are right to six digits, at rising strengths."""
    x, y = diabetes()
    largest, smallest = np.linalg.norm(x, 2) ** 2, np.linalg.norm(x, -2) ** 2
    steps, conditions = [], []
    for alpha in (0, 1, 10, 100, 1000):
        goal, w, n = linear.ridge(x, y, alpha).coef, np.zeros(x.shape[1]), 0
        while np.linalg.norm(w - goal) > 1e-6 * np.linalg.norm(goal):
            w = w + (x.T @ (y - x @ w) - alpha * w) / (largest + alpha)
            n += 1
        steps.append(n)
        conditions.append((largest + alpha) / (smallest + alpha))
    told = ", ".join(
        f"{n} at {a} (condition {c:.0f})"
        for n, a, c in zip(steps, (0, 1, 10, 100, 1000), conditions, strict=True)
    )
    return Exact(bool((np.diff(steps) < 0).all()), f"steps by strength: {told}")


@experiment("S06")
def training_time(seeds):
    """Processor time of one thread: networks by the step, and scikit-learn's solvers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return {"S06": _times(seeds)}
    finally:
        torch.set_num_threads(before)


def _times(seeds: Sequence[int]) -> dict[str, tuple[Side, Side]]:
    hundred = plain(100.0, len(seeds))  # percent of the other's time
    s06 = {}
    l1, free = per_seed(seeds, _network_times)
    s06["network, L1 against L2"] = hundred, l1
    s06["network, L1 against no penalty"] = hundred, free
    for d in (20, 200, 800):
        [lasso] = per_seed(seeds, partial(_solver_times, d=d))
        s06[f"scikit-learn, {d} features, Lasso against Ridge"] = hundred, lasso
    return s06


def _network_times(seed: int) -> tuple[float, float]:
    """Time of ten epochs with L1, in percent of that with L2, and of that without a penalty."""
    x = torch.randn(200, 64, generator=stream(seed, "inputs"))
    y = torch.randint(10, (200,), generator=stream(seed, "labels"))

    def job(norm: Callable[[Tensor], Tensor] | None) -> Callable[[], None]:
        net = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        weights = [p for p in net.parameters() if p.ndim > 1]

        def epochs() -> None:
            for _ in range(10):
                for inputs, labels in zip(x.split(50), y.split(50), strict=True):
                    loss = nn.functional.cross_entropy(net(inputs), labels)
                    if norm:
                        loss = loss + 1e-4 * sum(norm(w).sum() for w in weights)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

        return epochs

    l1, l2, none = _in_turn(job(torch.abs), job(torch.square), job(None), rounds=8)
    return 100 * l1 / l2, 100 * l1 / none


def _solver_times(seed: int, d: int) -> tuple[float]:
    """Time of one fit of the Lasso in percent of one of Ridge, on 2,000 rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2000, d))
    y = x[:, : d // 10] @ rng.uniform(1, 3, d // 10)
    y += y.std() / 2 * rng.normal(size=2000)
    lasso = linear_model.Lasso(0.1 * linear.alpha_max(x, y))
    jobs = partial(lasso.fit, x, y), partial(linear_model.Ridge(10.0).fit, x, y)
    a, b = _in_turn(*jobs, rounds={20: 60, 200: 20, 800: 4}[d])
    return (100 * a / b,)


def _in_turn(*jobs: Callable[[], object], rounds: int) -> list[float]:
    """Median processor seconds of each job; each round starts with another one."""
    for job in jobs:  # warm up
        job()
    spent: list[list[float]] = [[] for _ in jobs]
    for r in range(rounds):
        for i in range(len(jobs)):
            which = (r + i) % len(jobs)
            start = time.process_time()
            jobs[which]()
            spent[which].append(time.process_time() - start)
    return [float(np.median(s)) for s in spent]
