"""Studies of G settings times S seeds: side by side where they can be, and over many machines.

Axes: S seeds, G settings (arms), T epochs.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from coursekit import __version__
from coursekit.datasets.tasks import Task, expect
from coursekit.engine.hooks import Arm, Hooks
from coursekit.engine.networks import initial_net, parameters, structure
from coursekit.engine.side_by_side import Runners
from coursekit.recipe import Recipe
from coursekit.results import store
from coursekit.results.fingerprint import fingerprint
from coursekit.results.runs import Runs, evaluate, join, take, warn_of_divergence
from coursekit.train import ENGINE, cut, progress, train

SIDE_BY_SIDE = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}  # may differ within one run
OF_A_TASK = ("n_train", "n_val", "label_noise")
Settings = Mapping[str, object]


@dataclass(frozen=True, repr=False)
class Sweep:
    """What `sweep` returns: one `Runs` of S seeds for each of G settings.

    Attributes
    ----------
    settings : tuple of G dict
    runs : tuple of G Runs
    tasks : tuple of G Task
    """

    settings: tuple[dict[str, object], ...]
    runs: tuple[Runs, ...]
    tasks: tuple[Task, ...]

    def at(self, **settings: object) -> Runs:
        """Return the runs of the one arm that has these settings.

        Raises
        ------
        ValueError
            If no arm has them, or several have.
        """
        found = [i for i, own in enumerate(self.settings) if settings.items() <= own.items()]
        if len(found) != 1:
            raise ValueError(
                f"expected settings of exactly one arm, got {settings}, which fit {len(found)}; "
                f"the arms are {', '.join(map(str, self.settings))}"
            )
        return self.runs[found[0]]

    def table(self, *parts: str, weights: str = "best") -> dict[str, np.ndarray]:
        """One row per arm and seed, as columns: `pandas.DataFrame(sweep.table())`.

        Parameters
        ----------
        parts : {"train", "val", "test"}
            Parts to evaluate; "val" by default. Naming "test" opens the test set.
        weights : {"best", "final"}

        Returns
        -------
        dict of str to (G * S,) array
            The settings, `seed`, `best_epoch`, `last_epoch`, `diverged`, and for each part its
            loss and, for classes, accuracy.
        """
        columns: dict[str, list] = {}
        for own, runs, task in zip(self.settings, self.runs, self.tasks, strict=True):
            n = len(runs.seeds)
            rows = {name: np.array([value] * n) for name, value in own.items()}
            rows |= {"seed": runs.seeds, "best_epoch": runs.best_epoch}
            rows |= {"last_epoch": runs.last_epoch, "diverged": runs.diverged}
            for part in parts or ("val",):
                scores = evaluate(runs, task, part, weights=weights)
                rows[f"{part}_loss"] = scores.loss
                if scores.acc is not None:
                    rows[f"{part}_acc"] = scores.acc
            for name, values in rows.items():
                columns.setdefault(name, []).append(values)
        return {name: np.concatenate(values) for name, values in columns.items()}

    def __repr__(self) -> str:
        lines = [f"Sweep({len(self.runs)} settings of {len(self.runs[0].seeds)} seeds)"]
        for own, runs in zip(self.settings, self.runs, strict=True):
            best = np.nanmin(np.where(np.isfinite(runs.val_loss), runs.val_loss, np.nan), axis=1)
            error = best.std(ddof=1) / np.sqrt(len(best)) if len(best) > 1 else np.nan
            name = ", ".join(f"{key}={value}" for key, value in own.items())
            lines.append(f"  {name:40} lowest val_loss {best.mean():.3f} (se {error:.3f})")
        return "\n".join(lines)


def sweep(
    build: Callable[..., Callable],
    task: Task,
    recipe: Recipe,
    grid: Mapping[str, Sequence] | Sequence[Settings],
    *,
    objective: Callable | None = None,
    penalty: Callable | None = None,
    augment: Callable | None = None,
    mix: Callable | None = None,
    constrain: Callable | None = None,
    step: Callable | None = None,
    record: Sequence[str] = ("train", "val"),
    memory: float | None = None,
    folder: str | Path | None = None,
    chunk: int = 64,
) -> Sweep:
    """Train every setting of a grid on every seed.

    A setting goes to whoever has a parameter of its name: the recipe (`lr`), the task
    (`label_noise`), the builder of the network (`dropout`), or the hooks
    (`penalty=lambda params, strength: penalties.l1(params, strength)`). Where settings differ in
    numbers only (`lr`, `momentum`, `weight_decay`, what hooks take, rates and survival
    probabilities of layers), their networks are trained side by side; what changes shapes, data
    or the loop runs one after the other.

    The work is done in chunks by joblib: inside `joblib.parallel_config(n_jobs=4)` by four
    processes, inside `joblib.parallel_config(backend="dask")` by a Dask cluster. Where and with
    whom a network is trained does not change it beyond rounding. Workers need the device that the
    task is on; what they send back is on the CPU.

    Parameters
    ----------
    build : callable
        (task, **settings) to a `make_net` as in `fit`; for instance `models.mlp`, or
        `functools.partial(models.mlp, hidden=(64,))`.
    task : Task
    recipe : Recipe
    grid : mapping of str to sequence, or sequence of mapping
        All combinations of the values, or the settings one by one.
    objective, penalty, augment, mix, constrain, step, record, memory
        As in `fit`. A hook may have further parameters, named as in the grid; per network it is
        given a scalar tensor.
    folder : path, optional
        Where finished chunks are kept: an interrupted sweep goes on from there. A file that was
        cut short, or belongs to other settings, code, seeds or versions, is not used.
    chunk : int
        Networks per chunk at most.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If the grid is empty, a setting belongs to nobody or to several, or a value is refused.
    """
    expect(chunk >= 1, "chunk of at least 1", chunk, "chunk=64")
    builder = "a builder such as models.mlp that takes the task, and not models.mlp(task)"
    expect(len(parameters(build)) > 0, builder, "a function without parameters", "models.mlp")
    hooks = Hooks(objective, penalty, augment, mix, constrain, step, record)
    settings = _settings(grid)
    owners = {name: _owner(name, build, hooks) for own in settings for name in own}
    arms, tasks = [], []
    for own in settings:
        to = {who: {n: v for n, v in own.items() if owners[n] == who} for who in WHO}
        numbers = all(isinstance(v, int | float) for v in to["hooks"].values())
        expect(numbers, "numbers for the hooks", to["hooks"], "one sweep per value that is none")
        tasks.append(replace(task, **to["task"]))
        make_net = build(tasks[-1], **to["build"])
        arms.append(Arm(make_net, replace(recipe, **to["recipe"]), to["hooks"]))
    done: dict[int, list[tuple[int, Runs]]] = {number: [] for number in range(len(arms))}
    plan = list(_chunks(arms, tasks, chunk))
    with tqdm(total=len(arms) * recipe.n_seeds, unit="net", **progress()) as bar:
        for numbers, runners, runs in _work(plan, hooks, memory, folder):
            start = 0
            for number in dict.fromkeys(numbers):
                stop = start + numbers.count(number)
                done[number].append((runners[start][1], take(runs, slice(start, stop))))
                start = stop
            bar.update(len(runners))
    whole = []
    for arm, parts in zip(arms, done.values(), strict=True):
        runs = join([part for _, part in sorted(parts, key=lambda pair: pair[0])])
        warn_of_divergence(runs)
        whole.append(replace(runs, recipe=arm.recipe))
    return Sweep(tuple(settings), tuple(whole), tuple(tasks))


WHO = ("recipe", "task", "build", "hooks")


def _settings(grid: Mapping[str, Sequence] | Sequence[Settings]) -> list[dict[str, object]]:
    if isinstance(grid, Mapping):
        rows = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    else:
        rows = [dict(own) for own in grid]
    rows = [
        {n: value.item() if isinstance(value, np.generic) else value for n, value in own.items()}
        for own in rows
    ]
    if not rows or len({frozenset(own) for own in rows}) != 1 or not rows[0]:
        raise ValueError(
            f"expected at least one setting, all with the same names, got {grid!r}; "
            'try {"lr": [0.01, 0.1]}'
        )
    return rows


def _owner(name: str, build: Callable, hooks: Hooks) -> str:
    of_hooks = {
        parameter
        for hook in (getattr(hooks, field.name) for field in fields(Hooks))
        if callable(hook)
        for parameter in parameters(hook)
    }
    of_recipe = {field.name for field in fields(Recipe)} - {"n_seeds", "first_seed"}
    known = {
        "recipe": of_recipe,
        "task": set(OF_A_TASK),
        "build": set(list(parameters(build))[1:]),
        "hooks": of_hooks - of_recipe,
    }
    found = [who for who in WHO if name in known[who]]
    if len(found) != 1:
        of_nets = ", ".join(sorted(known["build"]))
        raise ValueError(
            f"expected the name of one setting, got {name!r}, which {len(found)} of recipe, task, "
            f"builder and hooks have; the recipe has {', '.join(sorted(of_recipe))}; the task has "
            f"{', '.join(OF_A_TASK)}; the builder has {of_nets}"
        )
    return found[0]


def _chunks(
    arms: Sequence[Arm], tasks: Sequence[Task], size: int
) -> Iterator[tuple[list[int], Runners, Task]]:
    """Arm numbers, runners and task of each chunk: arms of one structure side by side."""
    groups: dict[str, list[int]] = {}
    for number, (arm, task) in enumerate(zip(arms, tasks, strict=True)):
        net = initial_net(arm.make_net, arm.recipe.first_seed)
        shared = replace(arm.recipe, **SIDE_BY_SIDE)
        momentum = arm.recipe.momentum if arm.recipe.optimizer == "sgd" else 0.0
        sizes = tuple(getattr(task, name) for name in OF_A_TASK)
        key = fingerprint(structure(net), shared, sizes, momentum > 0)
        groups.setdefault(key, []).append(number)
    for numbers in groups.values():
        pairs = [(number, seed) for number in numbers for seed in arms[number].recipe.seeds]
        for part in (pairs[piece] for piece in cut(len(pairs), size)):
            runners = [(arms[number], seed) for number, seed in part]
            yield [number for number, _ in part], runners, tasks[numbers[0]]


def _work(plan: list, hooks: Hooks, memory: float | None, folder) -> Iterator[tuple]:
    """Yield arm numbers, runners and runs of each chunk as it is done, stored ones first."""
    paths: list[Path | None] = [None] * len(plan)
    if folder is not None:
        versions = [ENGINE, __version__, torch.__version__]
        # Of each task once: its data is much to read, and all its chunks share it.
        shared = {id(task): fingerprint(task, hooks, versions) for _, _, task in plan}
        paths = [
            Path(folder) / f"{task.name}-{fingerprint(runners, shared[id(task)])}.npz"
            for _, runners, task in plan
        ]
    missing = []
    for index, (numbers, runners, _) in enumerate(plan):
        runs = _stored(paths[index], runners)
        if runs is None:
            missing.append(index)
        else:
            yield numbers, runners, runs
    n = _neighbors()
    jobs = (delayed(_train)(index, *plan[index][1:], hooks, memory, n) for index in missing)
    for index, runs in Parallel(return_as="generator_unordered")(jobs):
        numbers, runners, _ = plan[index]
        if paths[index] is not None:
            note = [{"seed": seed, **arm.settings} for arm, seed in runners]
            store.save(runs, paths[index], members=note)
        yield numbers, runners, runs


def _neighbors() -> int:
    """Number of processes that train at once on this machine, and share its memory."""
    backend, n_jobs = get_active_backend()
    # A cluster's workers have memory of their own.
    here = type(backend).__module__ == "joblib._parallel_backends"
    return effective_n_jobs(n_jobs) if here else 1


def _train(index: int, runners: Runners, task: Task, hooks: Hooks, memory: float | None, n: int):
    return index, train(runners, task, hooks, memory, n_processes=n)


def _stored(path: Path | None, runners: Runners) -> Runs | None:
    if path is None or not path.exists():
        return None
    try:
        return store.load(path, runners[0][0].make_net)
    except store.BrokenFile as error:
        warnings.warn(f"trained again: {error}", stacklevel=2)
        return None
