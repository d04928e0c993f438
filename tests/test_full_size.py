"""The optional section: what it says where nothing can run, and what it keeps where it can."""

import json

import numpy as np
import pytest

from coursekit import data, full_size
from coursekit.datasets import download


def study(task):
    return {"plain": np.array([0.5, 0.7]), "dropout": np.array([0.75, 0.85])}


@pytest.fixture
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(full_size, "folder", lambda: tmp_path / "full_size")
    return tmp_path / "full_size"


@pytest.fixture
def capable(monkeypatch, own_folder):
    """A machine on which nothing is missing."""
    monkeypatch.setattr(full_size, "missing", lambda name: [])
    monkeypatch.setattr(full_size, "pick_device", lambda: "cpu")
    return own_folder


def test_without_a_gpu_it_says_so_and_runs_nothing(own_folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(full_size, "pick_device", lambda: data.load("digits").x.cpu().device)
    full_size.show("04_dropout", "cifar10", study=None)
    said = capsys.readouterr().out
    assert "no NVIDIA GPU" in said
    assert "`coursekit data fetch cifar10`" in said
    assert said.endswith("No results are stored yet.\n")


def test_a_result_is_stored_and_shown_elsewhere(capable, capsys, monkeypatch):
    full_size.show("04_dropout", "digits", study)
    here = capsys.readouterr().out
    assert "dropout: 80.0% right (from 75.0% to 85.0%, 2 seeds)" in here
    assert "digits on cpu, 20" in here
    monkeypatch.setattr(full_size, "missing", lambda name: ["no NVIDIA GPU"])
    full_size.show("04_dropout", "digits", study=None)
    assert capsys.readouterr().out == "Not run at full size here: no NVIDIA GPU.\n" + here
    full_size.show("06_batch_norm", "digits", study=None)
    assert "No results are stored yet." in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"arms": {"a": ["x"]}}'])
def test_a_damaged_file_is_no_result(capable, damage):
    full_size.show("04_dropout", "digits", study)
    path = capable / "04_dropout.json"
    assert json.loads(path.read_text())["arms"]["plain"] == [0.5, 0.7]
    path.write_text(damage)
    with pytest.raises(ValueError, match="cut short or altered; remove it"):
        full_size._report(path)


def test_a_study_without_arms_is_an_error(capable):
    with pytest.raises(ValueError, match="accuracies by arm, got none"):
        full_size.show("04_dropout", "digits", lambda task: {})


def test_an_embedded_data_set_needs_no_download():
    assert not [lack for lack in full_size.missing("digits") if "downloaded" in lack]
