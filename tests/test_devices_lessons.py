"""Every cell of every lesson, every claim and every exercise on a pretended device.

Only that nothing breaks there: trainings are cut to one epoch, so what is measured means nothing.
"""

import ast
import json
import sys
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from pretend import pretend

from coursekit import data, exercises, full_size, sweep, train
from coursekit.claims.experiments import experiments
from coursekit.course import lessons
from coursekit.datasets.tasks import Task
from coursekit.exercises import bank
from coursekit.exercises.exercise import RIGHT

# What goes wrong on the first GPU goes wrong on the second one too, and more: it is not the current
# one. All three kinds of device are in `test_devices`.
DEVICES = ("cuda:1", "mps")
EPOCHS = 1
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


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch, tmp_path):
    """A place where everything that names no device happens on the pretended one."""
    short = shortened(train.train)
    for module in (train, sweep):  # both know it by this name
        monkeypatch.setattr(module, "train", short)
    monkeypatch.setattr(data, "load", loading(request.param, data.load))
    monkeypatch.setattr(full_size, "missing", lambda name: [])
    monkeypatch.setattr(full_size, "folder", lambda: tmp_path)
    for name, value in {"COURSEKIT_STATIC": "1", "COURSEKIT_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    forget()
    with pretend(request.param), warnings.catch_warnings():
        # Of trainings that are too short, and averages over nobody.
        warnings.simplefilter("ignore")
        yield request.param
    forget()
    plt.close("all")


def forget():
    """Empty the package's caches: trainings that claims share belong to one device."""
    for name, module in list(sys.modules.items()):
        if name.startswith("coursekit."):
            for value in vars(module).values():
                if isinstance(value, CACHE):
                    value.cache_clear()


def loading(device, real):
    def load(name, **options):
        if name in ("fashion_mnist", "cifar10"):
            return photographs(name, device)
        return real(name, **{"device": device} | options)

    return load


def photographs(name, device, n=6000):
    """Made-up photographs, small ones, for the studies at full size."""
    draws = torch.Generator().manual_seed(0)
    shape = (1, 8, 8) if name == "fashion_mnist" else (3, 8, 8)
    x, y = torch.rand(n, *shape, generator=draws).to(device), torch.arange(n).to(device) % 10
    return Task(name, x, y, x[:40], y[:40], n_train=160, n_val=80, n_classes=10)


def cells(path: Path) -> list[str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]


LESSONS = sorted(lessons.folder().glob("*.ipynb"))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_on_a_device(device, path):
    space, lost = {"__name__": "__main__"}, set()
    for number, source in enumerate(cells(path)):
        # optimize=1 leaves out assertions: one epoch does not fulfil them.
        code = compile(source, f"{path.stem}/cell {number}", "exec", optimize=1)
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


EXPERIMENTS = {e.function.__name__: e for e in experiments().values()}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_experiment_of_a_claim_runs_on_a_device(device, name):
    experiment = EXPERIMENTS[name]
    experiment(range(3) if experiment.n_seeds else None)


@pytest.mark.parametrize("name", bank.questions())
def test_a_question_is_measured_on_a_device(device, name):
    assert bank.questions()[name].measure()


@pytest.mark.parametrize("device", ["cuda:0"], indirect=True)
def test_right_answers_are_right_on_a_machine_with_a_device(device):
    for name in bank.exercises():
        exercise = exercises.find(name)
        assert exercise.check(exercise.rights[0]).status == RIGHT, name
