"""Every cell of every lesson, every claim and every exercise on a pretended device.

Only that nothing breaks there: trainings are cut to one epoch, so what is measured means nothing.
"""

import ast
import json
import os
import sys
import warnings
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from pretend import pretend

from coursekit import data, exercises, sweep, train
from coursekit.course import lessons
from coursekit.datasets.download import SOURCES
from coursekit.datasets.tasks import Task
from coursekit.exercises import bank
from coursekit.exercises.exercise import RIGHT
from coursekit.explorers import wall
from coursekit.ledger import experiments, record, worlds
from coursekit.rosetta import measure

# What goes wrong on the first GPU goes wrong on the second one too, and more: it is not the current
# one. Without double precision, what goes wrong on Apple's goes wrong there as well. All kinds of
# device are in `test_devices`.
STRICT = "cuda:1 without doubles"
EPOCHS = 1
WHOLE = "COURSEKIT_WHOLE_LEDGER"
CACHE = type(cache(len))


def shortened(engine):
    """The engine for one epoch; curves go on with their last value to the recipe's length."""

    def trained(runners, *args, **options):
        recipe = runners[0][0].recipe
        short = [
            (replace(arm, recipe=replace(arm.recipe, epochs=min(EPOCHS, recipe.epochs))), seed)
            for arm, seed in runners
        ]
        runs = engine(short, *args, **options)

        def filled(curve):
            return np.pad(curve, ((0, 0), (0, recipe.epochs - curve.shape[1])), mode="edge")

        curves = {name: filled(curve) for name, curve in runs.curves.items()}
        last = np.full_like(runs.last_epoch, recipe.epochs)
        return replace(runs, recipe=recipe, curves=curves, last_epoch=last)

    return trained


def shortened_film(real):
    """A film of one epoch; its last moment stands for all that would follow."""

    def filmed(task, recipe=wall.RECIPE, make_net=None):
        one = real(task, replace(recipe, epochs=min(EPOCHS, recipe.epochs)), make_net)
        missing = recipe.epochs + 1 - len(one.answers)
        curves = {f.name: getattr(one, f.name) for f in fields(one)}
        still = {"given": one.given, "truth": one.truth}
        filled = {k: np.concatenate([v, *[v[-1:]] * missing]) for k, v in curves.items()}
        return replace(one, **filled | still)

    return filmed


@pytest.fixture(params=[STRICT])
def device(request, monkeypatch, tmp_path):
    """A place where everything that names no device happens on the pretended one."""
    where, *strict = request.param.split(maxsplit=1)
    short = shortened(train.train)
    for module in (train, sweep):  # both know it by this name
        monkeypatch.setattr(module, "train", short)
    monkeypatch.setattr(wall, "film", shortened_film(wall.film))
    # The rows of lesson 16 run on the CPU, in a process of their own: see `test_rosetta`.
    monkeypatch.setattr(measure, "_run", lambda _, names: {name: agreed(name) for name in names})
    monkeypatch.setattr(data, "load", loading(where, data.load))
    for name, value in {"COURSEKIT_STATIC": "1", "COURSEKIT_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    forget()
    place = nullcontext() if where == "cpu" else pretend(where, doubles=not strict)
    with place, warnings.catch_warnings():
        # Of trainings that are too short, and averages over nobody.
        warnings.simplefilter("ignore")
        yield where
    forget()
    plt.close("all")


def agreed(name):
    """As if all libraries had found the same."""
    values = {key: [[0.0]] for key in measure.ROWS[name].code} | {"wrong": [[1.0]]}
    return {"values": values, "lacking": True, "error": None}


def forget():
    """Empty the package's caches: trainings that claims share belong to one device."""
    for name, module in list(sys.modules.items()):
        if name.startswith("coursekit."):
            for value in vars(module).values():
                if isinstance(value, CACHE):
                    value.cache_clear()


def loading(device, real):
    def load(name, **options):
        if name in SOURCES or options.get("of") in SOURCES:
            return photographs(name, device, options)
        return real(name, **{"device": device} | options)

    return load


SHAPES = {"cifar10": (3, 8, 8), "mnist": (1, 28, 28), "canvas_digits": (1, 12, 12)}


def photographs(name, device, options, n=6000):
    """Made-up pictures in place of a download."""
    draws = torch.Generator().manual_seed(0)
    shape = SHAPES.get(name, (1, 8, 8))
    x, y = torch.rand(n, *shape, generator=draws).to(device), torch.arange(n).to(device) % 10
    sizes = {"n_train": 160, "n_val": 80} | {
        k: options[k] for k in ("n_train", "n_val", "label_noise") if options.get(k)
    }
    return Task(name, x, y, x[:40], y[:40], n_classes=10, **sizes)


def cells(path: Path) -> list[str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]


class FewRounds(ast.NodeTransformer):
    """Two rounds of loops that do not ask in which round they are.

    At most 150 where a loop fills lists, which go on with their last value.
    """

    def visit_For(self, node):
        self.generic_visit(node)
        rounds = ast.unparse(node.iter)
        if ast.unparse(node.target) != "_" or not rounds.startswith("range("):
            return ast.fix_missing_locations(node)
        calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
        filled = {ast.unparse(f.value) for f in calls if getattr(f, "attr", "") == "append"}
        most = f"min(150, len({rounds}))" if filled else "2"
        node.iter = ast.parse(f"{rounds}[:{most}]", mode="eval").body
        rest = [
            ast.parse(f"{n} += {n}[-1:] * (len({rounds}) - {most})").body[0] for n in sorted(filled)
        ]
        return [ast.fix_missing_locations(ast.copy_location(part, node)) for part in (node, *rest)]


LESSONS = sorted(lessons.folder().glob("*.ipynb"))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_on_a_device(device, path):
    space, lost = {"__name__": "__main__"}, set()
    for number, source in enumerate(cells(path)):
        # optimize=1 leaves out assertions: one epoch does not fulfil them.
        short = FewRounds().visit(ast.parse(source))
        code = compile(short, f"{path.stem}/cell {number}", "exec", optimize=1)
        try:
            exec(code, space)
        except (ZeroDivisionError, NameError) as error:
            # A ratio of what one epoch found may be one to nothing; what would follow from it is
            # then not there for later cells.
            if isinstance(error, NameError) and error.name not in lost:
                raise
            lost |= assigned(source) - space.keys()


def assigned(source: str) -> set[str]:
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}


LEDGER = {e.name: e for e in experiments.experiments().values()}
# All of them take half an hour: COURSEKIT_WHOLE_LEDGER=1 runs them before claims are registered.
SOME = (
    "augmentation.flips",
    "batch_norm.training",
    "dropout.rates",
    "overfitting.longer",
    "penalties_networks.sensitivity",
    "weight_decay.all_layers_or_one",
)
TRAINING = [n for n, e in LEDGER.items() if e.takes] if os.environ.get(WHOLE) else list(SOME)
ELSEWHERE = [
    (name, world)
    for name in TRAINING
    for world in worlds.WORLDS.values()
    if "world" in LEDGER[name].takes
    and not world.is_first
    and (not world.headline or any(record.find(id).headline for id in LEDGER[name].ids))
]


@pytest.mark.parametrize("device", ["cuda:1"], indirect=True)
@pytest.mark.parametrize("name", [n for n in TRAINING if not n.endswith("training_time")])
def test_an_experiment_of_the_ledger_runs_on_a_device(device, name):
    LEDGER[name](range(2), worlds.find("digits"))


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
@pytest.mark.parametrize(("name", "world"), ELSEWHERE, ids=lambda v: getattr(v, "name", v))
def test_an_experiment_of_the_ledger_runs_in_other_worlds(device, name, world):
    found = LEDGER[name](range(2), world)
    assert any(found.values())


@pytest.mark.parametrize("name", [n for n, e in LEDGER.items() if not e.takes])
def test_the_exact_facts_of_the_ledger_are_found(name):
    LEDGER[name]((), worlds.find("digits"))


@pytest.mark.parametrize("name", [n for n, q in bank.questions().items() if q.measure])
def test_a_question_is_measured_on_a_device(device, name):
    assert bank.questions()[name].measure()


@pytest.mark.parametrize("device", ["cuda:0"], indirect=True)
def test_right_answers_are_right_on_a_machine_with_a_device(device):
    for name in bank.exercises():
        exercise = exercises.find(name)
        assert exercise.check(exercise.rights[0].function).status == RIGHT, name
