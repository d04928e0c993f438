"""Real laboratories: for each lesson, networks to conduct a study with, on data of one's own class.

What `study` simulates is real here: the same sides and settings, trained on a data set that the
key of a class draws. All declared seeds are trained at the first question that is asked of one of
them, side by side, so that a study of a dozen seeds takes seconds; any other seed with its
neighbors.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np
from sklearn import datasets, metrics

from coursekit import data, linear, models, plots
from coursekit.datasets.tasks import seed_word
from coursekit.datasets.values import choose
from coursekit.exercises import study
from coursekit.exercises.study import PLANS, Declared, Lab, Paired, Scored, World
from coursekit.regularizers import augmentation
from coursekit.results.runs import Runs
from coursekit.train import Recipe, fit

# --- data: each takes the key of a class ------------------------------------------------------


def _digits(_: str | None, noise: float = 0.4) -> data.Task:
    return data.load("digits", label_noise=noise)


def _five_digits(key: str | None, noise: float = 0.4) -> data.Task:
    x, y = datasets.load_digits(return_X_y=True)
    chosen = np.random.default_rng(seed_word(0, f"{key}/digits")).choice(10, 5, replace=False)
    mine = np.isin(y, chosen)
    return data.Task.from_arrays(
        x[mine].reshape(-1, 1, 8, 8) / 16,
        y[mine],
        name=f"the digits {', '.join(map(str, sorted(chosen)))}",
        n_train=150,
        n_val=150,
        test=0.6,
        label_noise=noise,
    )


def _pasted_digits(_: str | None) -> data.Task:
    return data.load("canvas_digits")


def _signals(_: str | None) -> data.Task:
    return data.load("mnist1d", n_train=300, n_val=300)


def _tumors(_: str | None) -> data.Task:
    return data.load("breast_cancer", n_train=120, n_val=150, label_noise=0.4)


def _patients(_: str | None) -> data.Task:
    return data.load("diabetes", n_train=60, n_val=100)


def _numbers(key: str | None, informative: int) -> data.Task:
    seed = seed_word(0, f"{key}/numbers", np.uint32)
    how = {"n_features": 30, "n_informative": informative, "noise": 3.0, "rho": 0.5}
    return data.load("linear", n_train=60, n_val=200, seed=seed, **how)


CLASSES = (_digits, _five_digits, _signals, _tumors)
NOISY = (_digits, _five_digits, _tumors)
CLEAN_IMAGES = (partial(_digits, noise=0.0), partial(_five_digits, noise=0.0), _pasted_digits)
REGRESSIONS = (_patients, partial(_numbers, informative=4), partial(_numbers, informative=30))

# --- sides: each trains the networks of a recipe's seeds --------------------------------------

Train = Callable[[data.Task, Recipe], Runs]
RECORD = ("val", "test")


def _mlp(task: data.Task, recipe: Recipe, *, units: int = 64, augment=None, **layers) -> Runs:
    make = models.mlp(task, hidden=(units,), **layers)
    return fit(make, task, recipe, augment=augment, record=RECORD)


def _deep(task: data.Task, recipe: Recipe, *, survival: float = 1.0) -> Runs:
    make = models.resnet(task, n_blocks=6, width=32, survival=survival)
    return fit(make, task, recipe, record=RECORD)


def _half_of_the_data(task: data.Task, recipe: Recipe, *, units: int) -> Runs:
    return _mlp(replace(task, n_train=task.n_train // 2), recipe, units=units)


def _optimized(task: data.Task, recipe: Recipe, *, optimizer: str) -> Runs:
    return _mlp(task, replace(recipe, optimizer=optimizer))


RECIPE = Recipe(epochs=40, batch_size=50, lr=3e-3)
# Lesson to data sets, recipe, and how the control and the treated side are trained.
NETWORKS: dict[str, tuple[Sequence[Callable], Recipe, Train, Train]] = {
    "00": (CLASSES, RECIPE, partial(_mlp, units=16), partial(_mlp, units=128)),
    "01": (CLASSES, RECIPE, partial(_half_of_the_data, units=32), partial(_mlp, units=128)),
    "03": (
        CLASSES,
        RECIPE,
        partial(_optimized, optimizer="adam"),
        partial(_optimized, optimizer="adamw"),
    ),
    "04": (CLASSES, RECIPE, _mlp, partial(_mlp, dropout=0.5)),
    "06": (CLASSES, replace(RECIPE, epochs=30), _mlp, partial(_mlp, batch_norm=True)),
    "07": (
        CLEAN_IMAGES,
        RECIPE,
        _mlp,
        partial(_mlp, augment=partial(augmentation.random_shift, pixels=1)),
    ),
    "09": (NOISY, RECIPE, _mlp, _mlp),
    "10": (CLASSES, replace(RECIPE, lr=1e-3), _deep, partial(_deep, survival=0.5)),
}


def real(lesson: str, key: str | None = None) -> Lab:
    """Make a lesson's laboratory with real networks.

    Parameters
    ----------
    lesson : str
        Two digits, as in "04".
    key : str, optional
        Key of a class, which draws the data set.

    Returns
    -------
    Lab

    Raises
    ------
    ValueError
        If no lesson with a study has this number.

    Examples
    --------
    >>> from coursekit.exercises import laboratories
    >>> lab = laboratories.real("02")
    >>> 0 < lab.score("ridge", 0, "val", alpha=10) < 100
    True
    """
    return _laboratory(lesson, key)[0]


def _laboratory(lesson: str, key: str | None) -> tuple[Lab, data.Task]:
    choose("lesson", lesson, PLANS)
    plan = PLANS[lesson]
    choices = REGRESSIONS if lesson == "02" else NETWORKS[lesson][0]
    task = choices[seed_word(0, f"{key}/study {lesson}") % len(choices) if key else 0](key)
    world = _regressions(task) if lesson == "02" else _networks(task, lesson)
    return Lab(plan.sides, study.grid_of(plan), world, plan.unit), task


def _networks(task: data.Task, lesson: str) -> World:
    _, recipe, *trains = NETWORKS[lesson]
    plan = PLANS[lesson]
    train = dict(zip(plan.sides, trains, strict=True))
    if plan.setting == "epochs":  # one training gives the scores after each epoch
        recipe = replace(recipe, epochs=int(max(*plan.control, *plan.treated)))
    curves: dict[tuple, dict[str, np.ndarray]] = {}

    def world(side: str, seed: int, part: str, settings: dict, declared: tuple[int, ...]) -> float:
        epochs = settings.pop("epochs", recipe.epochs)
        arm = side, *settings.items()
        if (*arm, seed) not in curves:
            beside = declared if seed in declared else range(seed - seed % 8, seed - seed % 8 + 8)
            for first, n in _stretches(beside):
                how = replace(recipe, **settings, first_seed=first, n_seeds=n)
                runs = train[side](task, how)
                for i, each in enumerate(how.seeds):
                    own = {"val": runs.val_acc[i], "test": runs.test_acc[i]}
                    curves.setdefault((*arm, each), own)  # a score once told stays
        return 100 * float(curves[*arm, seed][part][epochs - 1])

    return world


def _stretches(seeds: Sequence[int]) -> list[tuple[int, int]]:
    """First seed and length of each stretch of consecutive seeds."""
    places = groupby(enumerate(sorted(seeds)), key=lambda pair: pair[1] - pair[0])
    stretches = [[seed for _, seed in pairs] for _, pairs in places]
    return [(stretch[0], len(stretch)) for stretch in stretches]


def _regressions(task: data.Task) -> World:
    fits = {"ridge": linear.ridge, "lasso": linear.lasso}
    models_of: dict[tuple, object] = {}

    def world(side: str, seed: int, part: str, settings: dict, _: tuple[int, ...]) -> float:
        dealt, arm = task.arrays(seed), (side, seed, *settings.items())
        if arm not in models_of:
            models_of[arm] = fits[side](dealt.x_train, dealt.y_train, **settings)
        x, y = (dealt.x_val, dealt.y_val) if part == "val" else (dealt.x_test, dealt.y_test)
        return 100 * float(metrics.r2_score(y, models_of[arm].predict(x)))

    return world


# --- what a learner sees ----------------------------------------------------------------------


def measure(function: Callable, lesson: str, key: str | None = None) -> None:
    """Conduct a learner's study on real networks: print its protocol and draw what it found.

    Parameters
    ----------
    function : callable
        `function(lab)` returns the ends of the interval and the word.
    lesson : str
        Two digits.
    key : str, optional
        Key of a class, which draws the data set.

    Raises
    ------
    ValueError
        If no lesson with a study has this number.

    Examples
    --------
    >>> from coursekit.exercises import laboratories, study
    >>> def hasty(lab):
    ...     lab.score("ridge", 0, "test", alpha=1)
    ...
    >>> laboratories.measure(hasty, "02")
    On diabetes: 60 examples to train on; 142 to test on
    <BLANKLINE>
    1. test, 'ridge': 1 seed, mean 38.1 (alpha=1)
    <BLANKLINE>
    ✖ You declared nothing: call lab.declare(...) before the first score, ...
    Mend this first; then you are shown what your study found.
    """
    lab, task = _laboratory(lesson, key)
    try:
        returned = function(lab)
    except NotImplementedError:
        print(f"{function.__name__}: not attempted yet")
        return
    noise = f", {100 * task.label_noise:.0f} % of their labels replaced" * bool(task.label_noise)
    print(
        f"On {task.name}: {task.n_train} examples to train on{noise}; {len(task.y_test)} to test on"
    )
    print(f"\n{protocol(lab)}\n")
    if findings := study.audit(lab, returned):
        print(f"✖ {findings[0][0].upper()}{findings[0][1:]}")
        print("Mend this first; then you are shown what your study found.")
    else:
        print("✔ The protocol is sound.")
        _draw(lab, study.paired(lab))


def protocol(lab: Lab) -> str:
    """Return what was done in a laboratory, a line for each step.

    Examples
    --------
    >>> from coursekit.exercises import laboratories, study
    >>> lab = study.simulated("00", gain=3)
    >>> lab.declare(question="Do 128 units beat 16?", margin=1, seeds=range(8))
    >>> scores = [lab.score("16 units", seed, "test") for seed in range(8)]
    >>> print(laboratories.protocol(lab))
    1. declared: Do 128 units beat 16? (margin 1, seeds 0 to 7)
    2. test, '16 units': 8 seeds, mean 70.0
    """
    lines = []
    for kind, entries in groupby(lab.log, key=_kind):
        if kind is Declared:
            lines += [
                f"declared: {e.question} (margin {e.margin:g}, seeds {_ranges(e.seeds)})"
                for e in entries
            ]
            continue
        scored = list(entries)
        for side in lab.sides:
            if own := [entry for entry in scored if entry.side == side]:
                lines.append(
                    f"{'validation' if kind == 'val' else kind}, {side!r}: {_summary(own)}"
                )
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _kind(entry: object) -> object:
    return Declared if isinstance(entry, Declared) else entry.part


def _summary(scored: Sequence[Scored]) -> str:
    by_settings: dict[tuple, dict[int, float]] = {}
    for entry in scored:
        by_settings.setdefault(entry.settings, {})[entry.seed] = entry.score
    seeds = {entry.seed for entry in scored}
    words = []
    for own, scores in sorted(by_settings.items()):
        mean = f"{np.mean([*scores.values()]):.1f}"
        words.append(f"{mean} ({', '.join(f'{k}={v:g}' for k, v in own)})" if own else mean)
    return f"{len(seeds)} seed{'s' * (len(seeds) > 1)}, mean {', '.join(words)}"


def _ranges(seeds: Sequence[int]) -> str:
    stretches = _stretches(seeds)
    return ", ".join(f"{a} to {a + n - 1}" if n > 1 else f"{a}" for a, n in stretches)


def _draw(lab: Lab, result: Paired) -> None:
    control, treated = lab.sides
    effect = {f"{treated} minus {control}": (result.mean, result.low, result.high)}
    title = f"{treated[0].upper()}{treated[1:]}: {result.word}"
    plots.effects(effect, title=title, smallest=result.margin, unit=lab.unit)
