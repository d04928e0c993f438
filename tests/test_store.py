"""Stored runs: the same when read back, and refused when damaged in any way."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest
import torch

from coursekit import data, models
from coursekit.results import store
from coursekit.results.store import BrokenFile, describe, load, save
from coursekit.train import Recipe, evaluate, fit


@pytest.fixture(scope="module")
def task():
    return data.load("digits", n_train=40, n_val=30, device="cpu")


@pytest.fixture(scope="module")
def make_net(task):
    return models.mlp(task, hidden=(3,), batch_norm=True)  # with buffers, one of them an integer


@pytest.fixture(scope="module")
def runs(task, make_net):
    recipe = Recipe(epochs=4, n_seeds=2, patience=1, lr=0.1, first_seed=3)
    return fit(make_net, task, recipe)


@pytest.fixture(scope="module")
def stored(runs, tmp_path_factory):
    return save(runs, tmp_path_factory.mktemp("store") / "deep" / "er" / "runs.npz")


def same(a, b):
    """Whether two runs hold the same numbers, bit for bit."""
    arrays = [(getattr(a, n), getattr(b, n)) for n in store.ARRAYS]
    arrays += [(a.curves[n], b.curves[n]) for n in a.curves]
    states = [(getattr(a, k)[n], getattr(b, k)[n]) for k in ("final", "best") for n in a.best]
    return (
        (a.recipe, a.task, a.seconds) == (b.recipe, b.task, b.seconds)
        and a.curves.keys() == b.curves.keys()
        and all(x.dtype == y.dtype and np.array_equal(x, y, equal_nan=True) for x, y in arrays)
        and all(x.dtype == y.dtype and torch.equal(x, y) for x, y in states)
    )


def test_what_is_read_is_what_was_written(runs, stored, make_net, task):
    back = load(stored, make_net)
    assert same(back, runs)
    assert list(back.best) == list(runs.best)
    expected = evaluate(runs, task)
    for found, wanted in zip(evaluate(back, task), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_comparison_sees_a_difference(runs, stored, make_net):
    back = load(stored, make_net)
    back.curves["val_loss"][0, 0] += 1e-12
    assert not same(back, runs)
    other = load(stored, make_net)
    next(iter(other.final.values()))[0] += 1
    assert not same(other, runs)


def test_reading_leaves_the_random_state_alone(stored, make_net):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load(stored, make_net)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_header_tells_where_the_numbers_come_from(runs, stored):
    header = describe(stored)
    assert header["task"] == "digits"
    assert Recipe(**header["recipe"]) == runs.recipe
    assert header["seconds"] == runs.seconds
    assert header["machine"]["torch"] == torch.__version__
    assert header["machine"].keys() >= {"coursekit", "numpy", "python", "device", "threads"}
    assert header["machine"]["date"].endswith("+00:00")


def test_the_file_is_plain_arrays_without_pickle(stored):
    with zipfile.ZipFile(stored) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
                assert array.dtype != object


def test_a_pickle_is_refused(tmp_path, make_net):
    path = tmp_path / "runs.npz"
    np.savez(path, header=np.array([{"format": 1}], dtype=object))
    with pytest.raises(BrokenFile, match="allow_pickle"):
        load(path, make_net)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(stored, tmp_path, make_net, share):
    path = tmp_path / "runs.npz"
    content = stored.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BrokenFile, match="delete it and run again"):
        load(path, make_net)
    with pytest.raises(BrokenFile):
        describe(path)


def test_a_flipped_bit_never_changes_a_number(runs, stored, tmp_path, make_net):
    # Some bits carry nothing (a time stamp in the zip's directory): those may pass.
    path, content = tmp_path / "runs.npz", stored.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.choice(len(content), size=250, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            assert same(load(path, make_net), runs)
        except BrokenFile:
            refused += 1
    assert refused > 150


def rewrite(source, target, **changes):
    """Write the arrays of a stored run again with some changed, as a valid zip."""
    with np.load(source) as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))
    if "header" in changes:
        changes["header"] = np.array(json.dumps(changes["header"](header)))
    np.savez_compressed(target, **(arrays | changes))
    return target


@pytest.mark.parametrize(
    "changes",
    [
        {"curve/val_loss": np.zeros((2, 4))},
        {"header": lambda header: header | {"seconds": 0.0}},
        {"header": lambda header: header | {"recipe": header["recipe"] | {"lr": 0.01}}},
        {"header": lambda header: header | {"format": 0}},
        {"one more": np.zeros(2)},
    ],
    ids=["curve", "seconds", "recipe", "format", "array"],
)
def test_an_altered_file_is_refused(stored, tmp_path, make_net, changes):
    path = rewrite(stored, tmp_path / "runs.npz", **changes)
    with pytest.raises(BrokenFile, match="altered"):
        load(path, make_net)


def test_a_rewritten_but_equal_file_is_accepted(runs, stored, tmp_path, make_net):
    assert same(load(rewrite(stored, tmp_path / "runs.npz"), make_net), runs)


def test_another_format_is_refused(runs, tmp_path, make_net, monkeypatch):
    monkeypatch.setattr(store, "FORMAT", store.FORMAT + 1)
    path = save(runs, tmp_path / "runs.npz")
    monkeypatch.undo()
    with pytest.raises(BrokenFile, match=f"expected format {store.FORMAT}, got {store.FORMAT + 1}"):
        load(path, make_net)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(100)])
def test_something_else_is_refused(tmp_path, make_net, content):
    path = tmp_path / "runs.npz"
    path.write_bytes(content)
    with pytest.raises(BrokenFile, match="cannot be read"):
        load(path, make_net)


def test_another_network_is_refused(task, stored):
    for other in (models.mlp(task, hidden=(4,), batch_norm=True), models.linear(task)):
        with pytest.raises(BrokenFile, match="expected a network with"):
            load(stored, other)


def test_no_file_is_its_own_error(tmp_path, make_net):
    for call in (lambda p: load(p, make_net), describe):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "runs.npz")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_crash_while_writing_leaves_the_old_file(
    runs, stored, tmp_path, make_net, monkeypatch, error
):
    path = tmp_path / "runs.npz"
    shutil.copy(stored, path)

    def crash(file, **arrays):
        file.write(b"PK half of it")
        raise error

    monkeypatch.setattr(np, "savez_compressed", crash)
    with pytest.raises(type(error)):
        save(runs, path)
    with pytest.raises(type(error)):
        save(runs, tmp_path / "new.npz")
    monkeypatch.undo()
    assert same(load(path, make_net), runs)
    assert [p.name for p in tmp_path.iterdir()] == ["runs.npz"]  # no rubbish, no half file


def test_the_last_step_is_a_rename(runs, stored, tmp_path, make_net, monkeypatch):
    path = tmp_path / "runs.npz"
    shutil.copy(stored, path)

    def power_cut(source, target):
        assert str(source).startswith(str(tmp_path))  # a rename works within one disk only
        raise OSError("power cut")

    monkeypatch.setattr("os.replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        save(runs, path)
    assert same(load(path, make_net), runs)
    assert list(tmp_path.iterdir()) == [path]


def test_saving_again_replaces(runs, tmp_path, make_net):
    path = tmp_path / "runs.npz"
    path.write_bytes(b"old")
    assert save(runs, str(path)) == path
    assert same(load(str(path), make_net), runs)


def test_the_name_has_to_end_in_npz(runs, tmp_path):
    with pytest.raises(ValueError, match=r"ending in .npz, got 'runs.pkl'"):
        save(runs, tmp_path / "runs.pkl")


def test_numpy_alone_can_read_it(stored, runs):
    with np.load(io.BytesIO(stored.read_bytes())) as file:
        np.testing.assert_array_equal(file["curve/val_loss"], runs.val_loss)
