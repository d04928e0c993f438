"""A fingerprint changes with whatever could change a result, and with nothing else."""

import importlib
import linecache
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from coursekit import data, models, train
from coursekit.results.fingerprint import _without_comments, fingerprint
from coursekit.train import Recipe

STRENGTH = 0.1


def penalty(params, scale=2.0):
    return scale * STRENGTH * sum(p.abs().sum() for p in params.values())


def other_code(params, scale=2.0):
    return scale * STRENGTH * sum(p.square().sum() for p in params.values())


def calls_itself(n):
    return n * calls_itself(n - 1) if n else 1


@dataclass(frozen=True)
class Setting:
    lr: float
    penalty: object = None


def enclosing(strength):
    return lambda x: x * strength


def with_inner(value):
    def outer(x):
        def inner():
            return x + 1 if value else x + 2

        return inner()

    return outer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (1, "1"),
        (1, True),
        ([1, 2], (1, 2)),
        ([[1], 2], [1, [2]]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        (np.zeros(3), np.zeros(4)),
        (np.zeros(3), np.zeros(3, np.float32)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (Setting(0.1), Setting(0.2)),
        (penalty, other_code),
        (penalty, partial(penalty, scale=3.0)),
        (partial(penalty, scale=1.0), partial(penalty, scale=3.0)),
        (enclosing(0.1), enclosing(0.2)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x, lambda x, y=0: x),
        (lambda x: x[..., 0], lambda x: x[:, 0]),
        (with_inner(True), with_inner(False)),
        (Recipe(), Recipe(lr=0.1)),
        (models.mlp, models.cnn),
        (nn.ReLU, nn.Tanh),
        (torch.exp, torch.log),
    ],
)
def test_different_things_have_different_fingerprints(one, other):
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"b": 2, "a": [1, (2.5, None)]},
        lambda: {3, 1, 2},
        lambda: Setting(0.1, penalty),
        lambda: partial(penalty, scale=3.0),
        lambda: enclosing(0.1),
        lambda: calls_itself,
        lambda: replace(Recipe(), lr=0.5),
        lambda: data.load("digits", n_train=50, n_val=20, device="cpu"),
        lambda: models.mlp(data.load("digits", device="cpu"), hidden=(8,), dropout=0.5),
    ],
)
def test_equal_things_have_equal_fingerprints(make):
    assert fingerprint(make()) == fingerprint(make())


@pytest.mark.parametrize(
    "kind", [float, np.float64, np.float32, lambda x: np.array([x, 1.0]), lambda x: [x]]
)
def test_of_a_text_the_last_digits_of_a_number_do_not_count(kind):
    # `np.geomspace(1e-3, 1e3, 13)[1]` is the one on some processors and the other on others.
    one, other = 0.0031622776601683794, 0.003162277660168379
    assert one != other
    assert fingerprint(kind(one), text=True) == fingerprint(kind(other), text=True)
    assert fingerprint(kind(one), text=True) != fingerprint(kind(one * (1 + 1e-6)), text=True)


def test_the_order_of_a_mapping_does_not_count():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_a_global_that_a_function_names_counts(monkeypatch):
    before = fingerprint(penalty)
    monkeypatch.setitem(globals(), "STRENGTH", 0.2)
    assert fingerprint(penalty) != before


# A module of the user, imported by the code of a study. Each hole was found open.
HELPER = """
import torch
from torch import nn

WIDTH = 3

def scale(x):
    return 2 * x

class Base(nn.Module):
    def forward(self, x):
        return self.share() * scale(x)

class Net(Base):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, 1)

    @staticmethod
    def share():
        return 0.5

    @property
    def sign(self):
        return 1
"""
HOLES = {
    "a method": ("return 0.5", "return 0.25"),
    "a property": ("return 1", "return -1"),
    "a base class": ("self.share() *", "self.share() +"),
    "a function that a method calls": ("2 * x", "3 * x"),
    "a number that a method reads": ("WIDTH = 3", "WIDTH = 4"),
}


def loaded(monkeypatch, folder, text):
    """The text as a module `helper_of_a_study`, as `import` makes it."""
    folder.mkdir()
    (folder / "helper_of_a_study.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "helper_of_a_study", raising=False)
    importlib.invalidate_caches()
    linecache.clearcache()
    return importlib.import_module("helper_of_a_study")


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("hole", HOLES)
def test_code_that_is_reached_through_an_imported_class_counts(monkeypatch, tmp_path, hole, text):
    found = []
    for name, change in (("old", ()), ("same", ()), ("new", HOLES[hole])):
        module = loaded(monkeypatch, tmp_path / name, HELPER.replace(*change) if change else HELPER)
        monkeypatch.setitem(globals(), "helper", module)
        in_a_class = partial(module.Net)
        through_the_module = lambda: helper.Net()  # noqa: E731, F821, set above
        found.append([fingerprint(f, text=text) for f in (in_a_class, through_the_module)])
    old, same, new = found
    assert old == same
    assert all(before != after for before, after in zip(old, new, strict=True))


def test_a_function_of_an_imported_module_counts(monkeypatch, tmp_path):
    study = lambda x: helper.scale(x)  # noqa: E731, F821
    monkeypatch.setitem(globals(), "helper", loaded(monkeypatch, tmp_path / "old", HELPER))
    before = fingerprint(study)
    other = loaded(monkeypatch, tmp_path / "new", HELPER.replace("2 * x", "4 * x"))
    monkeypatch.setitem(globals(), "helper", other)
    assert fingerprint(study) != before


def test_comments_and_docstrings_are_no_code_as_text(monkeypatch, tmp_path):
    plain = loaded(monkeypatch, tmp_path / "old", HELPER).Net
    said = HELPER.replace("return 0.5", '"""A half."""\n        return 0.5  # why not')
    told = loaded(monkeypatch, tmp_path / "new", said).Net
    assert fingerprint(plain, text=True) == fingerprint(told, text=True)


INSIDE = """\
def f(world):
    if world:
        a = 1  # why
        b = 2
    return f"{a} # {b}"
"""


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (INSIDE.replace("        b = 2", "    b = 2"), False),  # out of the block
        (INSIDE.replace(" # {b}", " # {a}"), False),  # no comment
        (INSIDE.replace("a = 1  # why", "a   =   1"), True),
        (INSIDE.replace("world):\n", 'world):\n    """Told."""\n'), True),
        (INSIDE.replace("        b", "\n        # why\n        b"), True),
    ],
)
def test_of_a_text_its_blocks_count_and_its_layout_does_not(changed, same):
    assert changed != INSIDE
    assert (_without_comments(changed) == _without_comments(INSIDE)) == same


def test_half_a_statement_is_read_as_well():
    half = ".map(lambda x: x + 1),  # the line of a lambda\n"
    assert "lambda" in _without_comments(half)
    assert "#" not in _without_comments(half)


def test_what_trains_and_shows_counts_by_its_name(monkeypatch):
    study = lambda task: train.fit(models.mlp(task), task, Recipe())  # noqa: E731
    before = fingerprint(study)
    monkeypatch.setattr(train, "fit", lambda *_: None)
    assert fingerprint(study) == before
    monkeypatch.setattr(models, "mlp", lambda task: None)
    assert fingerprint(study) != before


def test_what_is_passed_counts_by_position():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint(1, 2) != fingerprint(2, 1)


def test_another_process_finds_the_same():
    # Sets and hashes of text are shuffled from process to process.
    code = """
from coursekit import data, models
from coursekit.results.fingerprint import _without_comments, fingerprint
scale = 2.0
class Net:
    def forward(self, x): return x * scale
def hook(x): return Net().forward(x)
task = data.load("digits", n_train=50, n_val=20, device="cpu")
print(fingerprint(models.mlp(task), hook, {"x", "y", "z"}, task))
"""
    command = [sys.executable, "-c", code]
    once, twice = (subprocess.run(command, capture_output=True, text=True) for _ in range(2))
    assert once.stdout == twice.stdout != "", once.stderr
    changed = [sys.executable, "-c", code.replace("return x * scale", "return x + scale")]
    assert subprocess.run(changed, capture_output=True, text=True).stdout != once.stdout


def test_what_nobody_can_compare_is_refused():
    with pytest.raises(ValueError, match="got Linear: nobody can tell whether it changed"):
        fingerprint(nn.Linear(2, 2))
