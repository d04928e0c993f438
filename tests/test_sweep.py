"""Sweeps against one `fit` per setting; what is stored, and when it is used again."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from joblib import parallel_config

from coursekit import data, models
from coursekit.regularizers import penalties
from coursekit.results import store
from coursekit.sweep import Sweep, _neighbors, sweep
from coursekit.train import Recipe, fit

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.01, n_seeds=3, first_seed=5)
mlp = partial(models.mlp, hidden=(24,))
SCALE = 1.0  # a global that a hook names


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", n_train=72, n_val=50, label_noise=0.3, device="cpu")


def l1(params, strength):
    return penalties.l1(params, strength * SCALE)


def smoothed(outputs, labels, smoothing):
    hard = F.one_hot(labels, 10).to(outputs.dtype)
    soft = hard * (1 - smoothing) + smoothing / 10
    return -(soft * outputs.log_softmax(-1)).sum(-1)


def jitter(x, noise):
    return x + noise * torch.randn_like(x)


def mixup(x, y, alpha):
    gammas = torch._standard_gamma(alpha.expand(2))
    share = gammas[0] / gammas.sum()
    other = torch.randperm(len(x))
    hard = F.one_hot(y, 10).to(x.dtype)
    return share * x + (1 - share) * x[other], share * hard + (1 - share) * hard[other]


def assert_same(one, other, *, exact=False):
    for name in one.curves:
        check = np.testing.assert_array_equal if exact else partial(
            np.testing.assert_allclose, rtol=2e-4
        )  # fmt: skip
        check(one.curves[name], other.curves[name], err_msg=name)
    for name in one.final:
        if exact:
            assert torch.equal(one.final[name], other.final[name]), name


# Every numeric setting: (name, values, hooks of the sweep, builder, what one `fit` would be given)
NUMERIC = {
    "lr": ([0.001, 0.02], {}, mlp),
    "weight_decay": ([0.0, 0.5], {}, mlp),
    "strength": ([0.0, 0.02], {"penalty": l1}, mlp),
    "smoothing": ([0.0, 0.3], {"objective": smoothed}, mlp),
    "noise": ([0.0, 0.5], {"augment": jitter}, mlp),
    "alpha": ([0.2, 5.0], {"mix": mixup}, mlp),
    "dropout": ([0.2, 0.6], {}, mlp),
    "survival": ([0.3, 0.9], {}, partial(models.resnet, n_blocks=3, width=16)),
}


@pytest.mark.parametrize("name", NUMERIC)
def test_an_arm_of_a_sweep_is_the_fit_with_that_setting(digits, name):
    values, hooks, build = NUMERIC[name]
    swept = sweep(build, digits, RECIPE, {name: values}, **hooks)
    in_recipe = name in ("lr", "weight_decay")
    in_build = name in ("dropout", "survival")
    for value in values:
        recipe = replace(RECIPE, **{name: value}) if in_recipe else RECIPE
        make_net = build(digits, **({name: value} if in_build else {}))
        given = torch.tensor(value)
        bound = {k: partial(hook, **{name: given}) for k, hook in hooks.items()}
        alone = fit(make_net, digits, recipe, **bound)
        assert_same(swept.at(**{name: value}), alone)
        assert swept.at(**{name: value}).recipe == recipe
    first, second = swept.runs
    assert not np.allclose(first.logged_loss, second.logged_loss, rtol=1e-3), "no effect at all"


def test_processes_of_one_machine_share_its_memory():
    with parallel_config(n_jobs=1):
        assert _neighbors() == 1
    for backend in ("loky", "threading"):
        with parallel_config(backend=backend, n_jobs=3):
            assert _neighbors() == 3


def test_numeric_settings_are_trained_in_one_run_and_others_apart(digits, monkeypatch):
    sizes = []
    real = __import__("coursekit.sweep", fromlist=["train"]).train

    def train(members, *rest, **named):
        sizes.append(len(members))
        return real(members, *rest, **named)

    monkeypatch.setattr("coursekit.sweep.train", train)
    sweep(mlp, digits, RECIPE, {"lr": [0.001, 0.01], "dropout": [0.2, 0.5]})
    assert sizes == [12]
    sizes.clear()
    grid = {"hidden": [(8,), (16,)], "optimizer": ["adam", "sgd"], "n_train": [40, 72]}
    swept = sweep(models.mlp, digits, RECIPE, grid)
    assert sizes == [3] * 8
    alone = fit(
        models.mlp(digits, hidden=(16,)), replace(digits, n_train=40),
        replace(RECIPE, optimizer="sgd"),
    )  # fmt: skip
    assert_same(swept.at(hidden=(16,), optimizer="sgd", n_train=40), alone)


def test_a_rate_of_zero_is_an_arm_like_any_other(digits):
    swept = sweep(mlp, digits, RECIPE, {"dropout": [0.0, 0.5]})
    assert_same(swept.at(dropout=0.0), fit(mlp(digits), digits, RECIPE))


@pytest.mark.parametrize("chunk", [1, 2, 5, 64])
def test_the_size_of_the_chunks_changes_no_bit_but_where_one_is_trained_by_itself(digits, chunk):
    build = partial(mlp, batch_norm=True)
    grid = {"dropout": [0.2, 0.5], "weight_decay": [0.0, 0.1]}
    whole = sweep(build, digits, RECIPE, grid)
    for one, other in zip(
        whole.runs, sweep(build, digits, RECIPE, grid, chunk=chunk).runs, strict=True
    ):
        assert_same(one, other, exact=chunk > 1)


def test_the_table_has_a_row_per_arm_and_seed(digits):
    swept = sweep(mlp, digits, RECIPE, {"lr": [0.001, 0.01]})
    table = swept.table("val", "test")
    assert {len(column) for column in table.values()} == {6}
    assert table["lr"].tolist() == [0.001] * 3 + [0.01] * 3
    assert table["seed"].tolist() == [5, 6, 7] * 2
    np.testing.assert_allclose(table["val_loss"][3:], swept.at(lr=0.01).val_loss.min(1), rtol=1e-5)
    assert "2 settings of 3 seeds" in repr(swept)
    assert isinstance(swept, Sweep)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "at least one setting"),
        ([], "at least one setting"),
        ([{"lr": 0.1}, {"dropout": 0.1}], "all with the same names"),
        ({"dropuot": [0.1]}, "'dropuot', which 0 of"),
        ({"n_seeds": [3]}, "'n_seeds', which 0 of"),
        ({"lr": [-1.0]}, "expected a finite lr"),
        ({"dropout": [1.5]}, "dropout rate in"),
    ],
)
def test_wrong_grids_are_refused(digits, grid, message):
    with pytest.raises(ValueError, match=message):
        sweep(mlp, digits, RECIPE, grid)


def test_wrong_arguments_are_refused(digits):
    with pytest.raises(ValueError, match="expected chunk of at least 1, got 0"):
        sweep(mlp, digits, RECIPE, {"lr": [0.1]}, chunk=0)
    with pytest.raises(ValueError, match=r"and not models.mlp\(task\), got a function without"):
        sweep(models.mlp(digits), digits, RECIPE, {"lr": [0.1]})
    with pytest.raises(ValueError, match=r"expected numbers for the hooks, got .*'much'"):
        sweep(mlp, digits, RECIPE, {"strength": ["much"]}, penalty=l1)


def test_an_arm_that_is_not_there_or_not_alone_is_refused(digits):
    swept = sweep(mlp, digits, replace(RECIPE, epochs=1), {"lr": [0.1], "dropout": [0.1, 0.2]})
    for wrong in ({"lr": 0.3}, {"lr": 0.1}):
        with pytest.raises(ValueError, match="exactly one arm"):
            swept.at(**wrong)


# Resume


def counted(monkeypatch, stop_after=None, error=KeyboardInterrupt):
    """Count chunks that are trained; optionally fail when one more is asked for."""
    trained = []
    real = __import__("coursekit.sweep", fromlist=["train"]).train

    def train(members, *rest, **named):
        if stop_after is not None and len(trained) == stop_after:
            raise error
        trained.append(len(members))
        return real(members, *rest, **named)

    monkeypatch.setattr("coursekit.sweep.train", train)
    return trained


def study(digits, folder, **changed):
    settings = {"recipe": RECIPE, "penalty": l1, "chunk": 3} | changed
    recipe = settings.pop("recipe")
    return sweep(mlp, digits, recipe, {"strength": [0.0, 0.01, 0.02]}, folder=folder, **settings)


def test_an_interrupted_sweep_goes_on_at_the_last_finished_chunk(digits, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        counted(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            study(digits, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    trained = counted(monkeypatch)
    resumed = study(digits, tmp_path)
    assert trained == [3]
    for one, other in zip(resumed.runs, study(digits, None).runs, strict=True):
        assert_same(one, other, exact=True)
    described = store.describe(next(iter(tmp_path.glob("*.npz"))))
    assert described["note"]["members"][0].keys() == {"seed", "strength"}
    assert described["machine"]["torch"] == torch.__version__


def test_a_full_disk_stops_the_sweep_and_keeps_what_was_written(digits, tmp_path, monkeypatch):
    real, written = store.replace_file, []

    def full(path, content):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "replace_file", full)
        with pytest.raises(OSError, match="No space left"):
            study(digits, tmp_path)
    trained = counted(monkeypatch)
    study(digits, tmp_path)
    assert trained == [3, 3]


def test_a_file_cut_short_is_trained_again(digits, tmp_path, monkeypatch):
    whole = study(digits, tmp_path)
    [first, *_] = sorted(tmp_path.glob("*.npz"))
    first.write_bytes(first.read_bytes()[:-200])
    trained = counted(monkeypatch)
    with pytest.warns(UserWarning, match="trained again: .* cannot be read"):
        again = study(digits, tmp_path)
    assert trained == [3]
    for one, other in zip(whole.runs, again.runs, strict=True):
        assert_same(one, other, exact=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe": replace(RECIPE, lr=0.02)},
        {"recipe": replace(RECIPE, first_seed=6)},
        {"penalty": lambda params, strength: penalties.l2(params, strength)},
        {"record": ("train", "val", "test")},
    ],
    ids=["recipe", "seeds", "hook", "record"],
)
def test_what_other_settings_or_code_made_is_not_used(digits, tmp_path, monkeypatch, changed):
    study(digits, tmp_path)
    trained = counted(monkeypatch)
    study(digits, tmp_path, **changed)
    assert trained == [3, 3, 3]
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    trained.clear()
    study(digits, tmp_path)
    assert trained == [3, 3, 3], "a hook's global changed"
    trained.clear()
    study(replace(digits, label_noise=0.0), tmp_path)
    assert trained == [3, 3, 3], "the data changed"
    monkeypatch.setattr("coursekit.sweep.ENGINE", -1)
    trained.clear()
    study(digits, tmp_path)
    assert trained == [3, 3, 3], "the engine computes other numbers"


def test_a_killed_process_loses_only_the_chunk_it_was_at(tmp_path):
    code = f"""
import time
from functools import partial
from coursekit import data, models
from coursekit.sweep import sweep
from coursekit.train import Recipe
def slow(x):
    time.sleep(0.02)
    return x
digits = data.load("digits", n_train=72, n_val=50, device="cpu")
recipe = Recipe(epochs=4, batch_size=16, n_seeds=2)
sweep(models.linear, digits, recipe, [{{"lr": i / 1000}} for i in range(1, 9)], augment=slow,
      folder={str(tmp_path)!r}, chunk=2)
print("finished", flush=True)
"""
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.communicate()[0] == ""
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert 2 <= len(kept) < 8
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "finished", done.stderr
    assert len(list(tmp_path.glob("*.npz"))) == 8
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
