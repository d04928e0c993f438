"""Data of a user's own: every kind goes in, what is wrong gets a sentence, the guide works."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image as image
import numpy as np
import pytest
import torch
from torch import nn

from coursekit import models
from coursekit.data import Reader, Task
from coursekit.regularizers.dropout import Dropout
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit, outputs

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "your_data.md"
SHORT = Recipe(epochs=2, batch_size=16, lr=0.01, n_seeds=2, first_seed=0)
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(100, 5))
CLASSES = (TABLE[:, 0] > 0).astype(int)


def own(x=TABLE, y=CLASSES, **options):
    return Task.from_arrays(x, y, device="cpu", **options)


# The guide


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the guide reads."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{','.join(map(str, row))},{'ill' if row[0] > 0 else 'healthy'}" for row in TABLE]
    Path("patients.csv").write_text("a,b,c,d,e,diagnosis\n" + "\n".join(rows), encoding="utf-8")
    for name, shade in (("cat", 0.3), ("dog", 0.6)):
        Path("photos", name).mkdir(parents=True)
        for i in range(20):
            photo = np.clip(shade + 0.2 * RNG.normal(size=(8, 8, 3)), 0, 1)
            image.imsave(f"photos/{name}/{i}.png", photo)
    x = RNG.normal(size=(60, 40, 3)).astype(np.float32)
    np.savez("machines.npz", x=x, y=x[:, -2:, 0], machine=np.arange(60) // 5)


@pytest.mark.parametrize("number", [0, 2, 3])
def test_the_programs_of_the_guide_work_word_by_word(files, capsys, number):
    programs = re.findall(r"```python\n(.+?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 4
    n_lines = sum(bool(line.strip()) for line in programs[number].splitlines())
    assert n_lines < (25 if "class" in programs[number] else 15)
    if number == 3:
        with pytest.warns(UserWarning, match="trained one after another: Reader cannot be mapped"):
            exec(compile(programs[number], str(GUIDE), "exec"), {})
    else:
        exec(compile(programs[number], str(GUIDE), "exec"), {})
    said = capsys.readouterr().out
    assert re.search(r"helps?: \w+|error: \w+", said), said


def test_the_lines_for_repeated_visits_replace_those_of_the_first_program(files):
    programs = re.findall(r"```python\n(.+?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    rows = [f"patient {i // 4},{','.join(map(str, row))},ill" for i, row in enumerate(TABLE)]
    rows[::3] = [row.replace("ill", "healthy") for row in rows[::3]]
    Path("patients.csv").write_text("who,a,b,c,d,e,z\n" + "\n".join(rows), encoding="utf-8")
    start, end = programs[0].split("x, y = ")[0], programs[0].split("recipe = ")[1]
    space = {}
    exec(compile(start + programs[1] + "recipe = " + end, str(GUIDE), "exec"), space)
    assert space["task"].split == "grouped"


def test_what_the_guide_names_exists():
    text = GUIDE.read_text(encoding="utf-8")
    for name in re.findall(r"Recipe\((\w+)=", text):
        assert name in Recipe.__dataclass_fields__
    from inspect import signature

    for name in re.findall(r"Task\.from_arrays\(x, y, (\w+)=", text):
        assert name in signature(Task.from_arrays).parameters
    for name in re.findall(r"fit\(\.\.\., (\w+)=", text):
        assert name in signature(fit).parameters


# Kinds of data


def test_classes_are_numbered_by_name_and_numbers_are_a_regression():
    text = own(y=np.where(CLASSES, "yes", "no"))
    assert text.n_classes == 2
    assert text.note == "classes in this order: no, yes"
    assert own(y=CLASSES + 5).y.unique().tolist() == [0, 1]
    assert own(y=CLASSES.astype(np.int8)).y.dtype == torch.int64
    assert own(y=CLASSES.astype(bool)).n_classes == 2
    assert own(y=list(map(str, CLASSES))).n_classes == 2
    numbers = own(y=TABLE[:, 1])
    assert (numbers.n_classes, numbers.n_outputs) == (None, 1)
    assert numbers.y.dtype == torch.float32
    assert "regression" in repr(numbers)


def test_fractions_that_look_like_classes_are_told():
    assert "y.astype(int) makes classes" in own(y=CLASSES.astype(float)).note


def test_a_task_keeps_a_copy_of_its_own():
    x = torch.tensor(TABLE, dtype=torch.float32)
    task = own(x, test=(x[:9], CLASSES[:9]))
    before = task.x_test.clone()
    x += 100
    assert torch.equal(task.x_test, before)


def test_whole_numbers_for_a_network_that_takes_fractions_get_a_sentence():
    task = own(np.arange(500).reshape(100, 5))
    with pytest.raises(ValueError, match=r"takes whole numbers.*x.astype\(float\)"):
        fit(models.mlp(task), task, SHORT)


def test_any_type_of_numbers_goes_in():
    for x in (TABLE, TABLE.astype(np.float16), torch.tensor(TABLE), TABLE.tolist(), TABLE[:, ::-1]):
        assert own(x).x.dtype == torch.float32
    assert own(np.arange(500).reshape(100, 5)).x.dtype == torch.int64
    assert own(TABLE > 0).x.dtype == torch.float32
    photos = own(RNG.integers(0, 256, (100, 3, 8, 8), dtype=np.uint8))
    assert photos.x.max() <= 1
    assert photos.note.startswith("classes")
    standardized = own(RNG.normal(size=(100, 3, 8, 8)))
    assert "pixels from -" in standardized.note


@pytest.mark.parametrize(
    ("x", "y", "options", "net"),
    [
        (TABLE, TABLE[:, :2], {}, models.mlp),
        (TABLE, (TABLE[:, :3] > 0).astype(int), {"multi_label": True}, models.mlp),
        (TABLE, TABLE[:, 0], {}, models.linear),
        (RNG.normal(size=(100, 2, 16)), CLASSES, {}, models.cnn),
        (RNG.normal(size=(100, 1, 8, 8)), CLASSES, {}, models.cnn),
        (TABLE, CLASSES, {"groups": np.arange(100) // 4}, models.mlp),
    ],
    ids=["two_targets", "labels", "one_target", "signals", "images", "groups"],
)
def test_every_kind_trains_alone_and_in_company(x, y, options, net):
    task = own(x, y, **options)
    runs = fit(net(task), task, SHORT)
    assert runs.apart == ""
    out = outputs(runs, task.x_test)
    assert out.shape == (2, 20, task.n_outputs)
    alone = fit(net(task), task, replace(SHORT, n_seeds=1))
    np.testing.assert_allclose(alone.val_loss[0], runs.val_loss[0], rtol=2e-3)
    scores = evaluate(runs, task)
    targets = task.y_test
    if task.multi_label:
        loss = nn.functional.binary_cross_entropy_with_logits(out[1], targets)
        right = ((out[1] > 0) == (targets > 0.5)).float().mean()
        np.testing.assert_allclose(scores.acc[1], right, rtol=1e-6)
    elif task.n_classes is None:
        loss = (out[1].squeeze(-1) - targets).square().mean()
        assert scores.acc is None
    else:
        loss = nn.functional.cross_entropy(out[1], targets)
    np.testing.assert_allclose(scores.loss[1], loss, rtol=1e-5)


def test_token_ids_stay_whole_numbers():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.drop, self.last = nn.Embedding(50, 8), Dropout(0.2), nn.Linear(8, 2)

        def forward(self, x):
            return self.last(self.drop(self.embed(x).mean(1)))

    task = own(RNG.integers(0, 50, (100, 7)))
    runs = fit(Words, task, SHORT)
    assert runs.apart == ""
    assert np.isfinite(runs.val_loss).all()


def test_examples_that_are_read_when_they_are_needed_are_the_same_as_an_array():
    class Photos:
        def __init__(self):
            self.reads = 0

        def __len__(self):
            return len(TABLE)

        def __getitem__(self, i):
            self.reads += 1
            return TABLE[i], "ignored"

    photos = Photos()
    lazy, whole = own(photos), own()
    assert photos.reads <= 3
    assert isinstance(lazy.x, Reader)
    runs = fit(models.mlp(lazy), lazy, SHORT)
    assert "read one by one" in runs.apart
    np.testing.assert_allclose(
        runs.val_loss, fit(models.mlp(whole), whole, SHORT).val_loss, rtol=2e-3
    )
    np.testing.assert_allclose(evaluate(runs, lazy).loss, evaluate(runs, whole).loss, rtol=1e-6)
    assert lazy.arrays(0).x_test.shape == (20, 5)


# Splits


def test_without_a_test_set_it_cannot_be_opened():
    task = own(test=None)
    assert "no test" in repr(task)
    runs = fit(models.mlp(task), task, SHORT)
    with pytest.raises(ValueError, match="expected a task with a test set, got none; try"):
        evaluate(runs, task)
    with pytest.raises(ValueError, match="expected a task with a test set"):
        fit(models.mlp(task), task, SHORT, record=("test",))
    assert len(task.arrays(0).y_test) == 0


def test_the_test_set_is_the_same_for_everyone_and_stratified():
    rare = (np.arange(100) < 20).astype(int)
    task = own(y=rare)
    assert torch.equal(task.x_test, own(y=rare).x_test)
    assert task.y_test.sum() == 4  # a fifth of each class


def test_no_group_is_in_two_parts():
    groups = np.repeat([f"patient {i}" for i in range(25)], 4)
    x = np.c_[np.unique(groups, return_inverse=True)[1], RNG.normal(size=100)]
    task = own(x, groups=groups)
    who = lambda rows: set(task.x[rows][:, 0].tolist())  # noqa: E731
    deal = task.deal(range(20))
    for train_rows, val_rows in zip(deal.train_rows, deal.val_rows, strict=True):
        assert not who(train_rows) & who(val_rows)
    assert not who(deal.train_rows.flatten()) & set(task.x_test[:, 0].tolist())
    assert len({tuple(rows.tolist()) for rows in deal.val_rows}) == 20
    smaller = replace(task, n_train=10).deal(range(20))
    assert torch.equal(smaller.val_rows, deal.val_rows)
    with pytest.raises(ValueError, match="expected 16 rows to validate and 64 to train"):
        own(x, groups=np.arange(100) // 50, test=None, n_train=64, n_val=16).deal([0])


def test_ordered_rows_are_validated_and_tested_on_the_last_ones():
    x = np.arange(100.0)[:, None]
    task = own(x, x[:, 0], split="ordered", n_val=10, n_train=30)
    deal = task.deal([0, 1])
    assert task.x_test[:, 0].tolist() == list(range(80, 100))
    assert task.x[deal.val_rows[0], 0].tolist() == list(range(70, 80))
    assert task.x[deal.train_rows[1], 0].tolist() == list(range(40, 70))


def test_a_fixed_split_is_taken_as_it_is():
    x = np.arange(100.0)[:, None]
    split = {"train": range(50, 100), "val": range(20, 50), "test": [0, 5]}
    task = own(x, x[:, 0], split=split)
    deal = task.deal([3])
    assert task.x[deal.train_rows[0], 0].tolist() == list(range(50, 100))
    assert task.x[deal.val_rows[0], 0].tolist() == list(range(20, 50))
    assert task.x_test[:, 0].tolist() == [0, 5]
    assert (task.n_train, task.n_val) == (50, 30)


def test_a_test_set_of_its_own_has_the_classes_of_the_pool():
    y = np.where(CLASSES, "b", "a")
    task = own(y=y, test=(TABLE[:7], y[:7]), standardize=True)
    assert len(task.x) == 100
    assert task.y_test.tolist() == CLASSES[:7].tolist()
    np.testing.assert_allclose(task.x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(task.x_test, task.x[:7], atol=1e-6)
    only_b = own(y=y, test=(TABLE[:2], ["b", "b"]))
    assert only_b.y_test.tolist() == [1, 1]


def test_the_test_rows_do_not_decide_the_scale():
    x = TABLE.copy()
    x[90:] = 1e6
    task = own(x, CLASSES, split="ordered", test=0.1, standardize=True)
    assert task.x.abs().max() < 10
    assert task.x_test.min() > 1e4


def test_a_sweep_works_on_own_data(tmp_path):
    task = own(groups=np.arange(100) // 4)
    first = sweep(models.mlp, task, SHORT, {"n_train": [20, 30]}, folder=tmp_path)
    assert len(list(tmp_path.glob("own data-*.npz"))) == 2
    assert first.at(n_train=20).val_loss.shape == (2, 2)


# What is wrong


@pytest.mark.parametrize(
    ("x", "y", "options", "sentence"),
    [
        (TABLE, CLASSES[:90], {}, "expected as many y as x, got 90 and 100; try the same rows"),
        (TABLE, np.eye(2, dtype=int)[CLASSES], {}, "one class per row.*multi_label=True"),
        (TABLE, np.arange(100), {}, r"100 different ones in 100 rows; try y.astype\(float\)"),
        (TABLE, np.zeros(100, int), {}, r"two classes or more, got \[0\]"),
        (np.where(TABLE > 3, np.nan, TABLE) * np.nan, CLASSES, {}, "finite numbers in the pool"),
        (np.array([["a"]] * 100), CLASSES, {}, "x of numbers, got .*pandas.get_dummies"),
        (TABLE[:, 0], CLASSES, {}, r"got pool x \(80,\).*try x\[:, None\]"),
        (TABLE, CLASSES, {"test": 2.0}, "test as a share in .*got 2.0"),
        (TABLE, CLASSES, {"test": (TABLE[:3], [0, 1, 7])}, "that the pool has, too, got also 7"),
        (TABLE, CLASSES, {"split": "by hand"}, 'a known split, got by hand; try split="random"'),
        (TABLE, CLASSES, {"split": {"train": [1]}}, 'rows for "train" and "val", got '),
        (TABLE, CLASSES, {"split": {"train": [1, 2], "val": [2]}}, "parts that share no row"),
        (TABLE, CLASSES, {"groups": [1, 2]}, "one group per row, got 2"),
        (TABLE, CLASSES, {"n_train": 90}, r"n_train \+ n_val <= 80"),
        (TABLE, TABLE[:, :2], {"multi_label": True}, "labels that are 0 or 1"),
        (TABLE.reshape(100, 1, 5), CLASSES, {"standardize": True}, "a table to standardize"),
        ([], [], {}, "expected"),
        (TABLE, CLASSES, {"groups": np.arange(100) // 4, "split": "ordered"}, "groups or split="),
        (
            TABLE,
            CLASSES,
            {"groups": np.arange(100) % 5, "test": range(20)},
            "share no group, got 5",
        ),
        (
            TABLE,
            CLASSES,
            {"groups": np.arange(100) // 4, "split": {"train": range(50), "val": range(50, 100)}},
            "share no group, got 1 in two",
        ),
        (
            TABLE,
            CLASSES,
            {"split": {"train": [1], "val": [2], "test": [3]}, "test": (TABLE, CLASSES)},
            "one test set, got two",
        ),
        (TABLE, np.array(["a", None] * 50, dtype=object), {}, "a class for every row, got 50"),
        (TABLE * 1j, CLASSES, {}, "real numbers, got torch.complex128"),
        (TABLE, TABLE[:, 0], {"label_noise": 0.1}, r"label_noise in \[0, 0\]"),
    ],
)
def test_what_is_wrong_gets_a_sentence(x, y, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        own(x, y, **options)
