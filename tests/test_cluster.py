"""A sweep on a real local Dask cluster of two workers, and one large model on two processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from coursekit import data, models
from coursekit.commands import cli
from coursekit.course import notebook
from coursekit.sweep import sweep
from coursekit.train import Recipe, fit
from docs.examples.several_gpus import fit_large

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own, from its many threads
RECIPE = Recipe(epochs=3, batch_size=16, n_seeds=3, first_seed=5)
GRID = {"lr": [0.001, 0.01], "dropout": [0.2, 0.5]}


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def study(recipe=RECIPE, **settings):
    task = data.load("digits", n_train=72, n_val=50, device="cpu")
    return sweep(partial(models.mlp, hidden=(24,)), task, recipe, GRID, chunk=3, **settings)


def assert_same(one, other):
    for first, second in zip(one.runs, other.runs, strict=True):
        for name in first.final:
            torch.testing.assert_close(first.final[name], second.final[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(first.val_loss, second.val_loss, rtol=1e-5)


def test_a_cluster_finds_the_same_numbers(cluster):
    with joblib.parallel_config(backend="dask"):
        there = study()
    assert_same(there, study())


def test_a_worker_killed_in_the_middle_loses_nothing(cluster, tmp_path):
    def slow(x):
        (tmp_path / f"{os.getpid()}.busy").touch()
        time.sleep(0.02)
        return x

    victim = next(iter(cluster.run(os.getpid).values()))
    killed = threading.Event()

    def kill_when_busy():
        while not (tmp_path / f"{victim}.busy").exists():
            time.sleep(0.02)
        os.kill(victim, signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill_when_busy, daemon=True).start()
    recipe = replace(RECIPE, epochs=6)
    with joblib.parallel_config(backend="dask"):
        there = study(recipe, augment=slow)
    assert killed.is_set()
    assert victim not in cluster.run(os.getpid).values()
    assert_same(there, study(recipe))


def test_lessons_are_rerun_on_a_cluster(cluster, tmp_path, capsys):
    path = tmp_path / "lesson.ipynb"
    cell = new_code_cell("# NBVAL_CHECK_OUTPUT\nprint('it helps: supported (1.5)')")
    notebook.write(new_notebook(cells=[cell]), path)
    assert cli.main(["run", str(path), "--in-place"]) == 0
    address = cluster.scheduler.address
    assert cli.main(["verdicts", str(path), "--runs", "2", "--scheduler", address]) == 0
    assert capsys.readouterr().out.count("1 of 1 verdicts hold") == 2


def test_processes_of_this_machine_find_the_same_numbers():
    with joblib.parallel_config(n_jobs=2):
        there = study()
    assert_same(there, study())


# One large model on several processes


def large(tmp_path, *launcher, name):
    out = tmp_path / f"{name}.pt"
    script = "docs/examples/several_gpus.py"
    command = [sys.executable, *launcher, script, "digits", "--width", "24"]
    options = ["--epochs", "2", "--batch-size", "47", "--out", str(out)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return torch.load(out, weights_only=True), done.stdout


def test_two_processes_train_one_model_as_one_process_does(tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    both, said = large(tmp_path, *launcher, name="both")
    alone, _ = large(tmp_path, name="alone")
    assert "2 processes on cpu" in said
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=1e-5)


def test_one_process_trains_as_fit_does():
    task = data.load("digits", n_train=70, n_val=50, device="cpu")
    recipe = replace(RECIPE, n_seeds=1, weight_decay=0.1, optimizer="adamw", schedule="cosine")
    make_net = models.mlp(task, hidden=(24,))
    runs = fit(make_net, task, recipe)
    for name, value in fit_large(make_net, task, recipe).state_dict().items():
        torch.testing.assert_close(runs.final[name][0], value, rtol=1e-3, atol=1e-5)
