"""What a learner calls is explained: its example runs as it stands, and its errors are told."""

import ast
import doctest
import inspect
import re
import textwrap
from importlib import import_module

import pytest
import torch

from coursekit import plots

MODULES = [
    "claims",
    "intervals",
    "judge",
    "linear",
    "linear.proximal",
    "linear.strengths",
    "measure",
    "models",
    "plots",
    "regularizers.augmentation",
    "regularizers.decay",
    "regularizers.depth",
    "regularizers.dropout",
    "regularizers.ensemble",
    "regularizers.mixing",
    "regularizers.normalization",
    "regularizers.penalties",
    "schedules",
    "stopping",
    "widgets",
]
RECORD = "a record: the function that returns it shows it"
ENGINE = "machinery: what a learner calls in its place shows it"
NO_EXAMPLE = {
    "intervals.Interval": RECORD,
    "judge.Metric": RECORD,
    "linear.proximal.check_solver": ENGINE,
    "linear.proximal.duality_gap": ENGINE,
    "linear.proximal.finite": ENGINE,
    "linear.proximal.minimize": ENGINE,
    "measure.Decomposition": RECORD,
    "regularizers.augmentation.between": ENGINE,
    "regularizers.augmentation.whole": ENGINE,
    "regularizers.dropout.check_rate": ENGINE,
    "regularizers.dropout.uniform": ENGINE,
    "regularizers.ensemble.SubNetworks": RECORD,
    "regularizers.mixing.log_gamma": ENGINE,
    "stopping.Stop": RECORD,
    "widgets.interactive": ENGINE,
    "widgets.predictions_file": ENGINE,
}
CANNOT_RAISE = {
    "models.linear": "it has no setting that could be wrong",
}


def public(name):
    """Functions and classes that a module offers, by full name."""
    module = import_module(f"coursekit.{name}")
    names = module.__all__ if name == "claims" else vars(module)
    found = {n: inspect.unwrap(vars(module)[n]) for n in names if not n.startswith("_")}
    return {
        f"{name}.{n}": thing
        for n, thing in found.items()
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and (name == "claims" or thing.__module__ == module.__name__)
    }


PUBLIC = {full: thing for name in MODULES for full, thing in public(name).items()}


def examples(thing):
    """The examples in the docstrings of a function, or of a class and its methods."""
    found = doctest.DocTestFinder(exclude_empty=True).find(thing, globs={})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_as_they_stand(name, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path))
    monkeypatch.setenv("COURSEKIT_STATIC", "1")
    monkeypatch.chdir(tmp_path)
    # A console shows a picture by its text.
    monkeypatch.setattr(plots, "display", lambda data, **_: print(data["text/plain"]))
    said = []
    with torch.random.fork_rng(devices=[]):
        for thing in public(name).values():
            for test in examples(thing):
                doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not said, "".join(said)


def test_what_a_learner_calls_has_an_example():
    lack = {name for name, thing in PUBLIC.items() if not examples(thing)}
    assert lack == NO_EXAMPLE.keys()


def tree(thing):
    return list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(thing)))))


def may_raise(thing, seen=()):
    """Whether a call may end in `raise ValueError`, in its own code or in that of a helper."""
    if any(
        "ValueError" in ast.unparse(node) for node in tree(thing) if isinstance(node, ast.Raise)
    ):
        return True
    calls = {node.func.id for node in tree(thing) if hasattr(getattr(node, "func", None), "id")}
    around = vars(import_module(thing.__module__))
    helpers = {
        inspect.unwrap(around[name]) for name in calls if inspect.isroutine(around.get(name))
    }
    helpers = {h for h in helpers if h.__module__.startswith("coursekit.")} - {*seen, thing}
    return any(may_raise(helper, (*seen, thing)) for helper in helpers)


def told(thing):
    documented = (node for node in tree(thing) if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return " ".join(ast.get_docstring(node) or "" for node in documented)


def test_what_may_raise_says_so():
    silent = [
        name
        for name, thing in PUBLIC.items()
        if name not in CANNOT_RAISE
        and may_raise(thing)
        and not re.search("ValueError|errors (are )?as", told(thing))
    ]
    assert silent == []
