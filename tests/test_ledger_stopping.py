"""Stopping rules of the ledger keep what the library's rules, and `fit`, would have kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coursekit import data, models, stopping
from coursekit.ledger.experiments import early_stopping as topic
from coursekit.train import fit

SEEDS = range(3)
RULES = {
    "patience": topic.patience(2),
    "end": topic.end,
    "first rise": topic.first_rise,
    "literal": topic.until(topic._flat_and_rising),
    "accuracy": topic.MOST_ACCURATE,
    "unrestored": topic.unrestored(2),
    "at": topic.at(np.array([1, 5, 9])),
}


@pytest.fixture(scope="module")
def task():
    return data.load("digits", n_train=40, n_val=20, label_noise=0.4, device="cpu")


@pytest.fixture(scope="module")
def kept(task):
    how = {"record": ("train",), "spare": True, "lr": 0.02, "epochs": 12}
    return topic.watch(models.mlp(task, (16,)), task, SEEDS, RULES, **how)


@pytest.fixture(scope="module")
def plain(task):
    recipe = replace(topic.RECIPE, lr=0.02, epochs=12, first_seed=0, n_seeds=3)
    return {n: fit(models.mlp(task, (16,)), task, replace(recipe, patience=n)) for n in (2, None)}


def test_each_rule_keeps_the_epoch_that_curves_tell(kept, plain):
    runs = plain[None]
    flat = (np.diff(runs.train_loss) >= 0) & (np.diff(runs.val_loss) > 0)
    wanted = {
        "patience": stopping.patience(runs.val_loss, 2).best,
        "end": [12] * 3,
        "first rise": stopping.first_rise(runs.val_loss),
        "literal": np.where(flat.any(1), flat.argmax(1) + 2, 12),
        "accuracy": stopping.lowest(-runs.val_acc),
        "unrestored": stopping.patience(runs.val_loss, 2).last,
        "at": [1, 5, 9],
    }
    for name, epochs in wanted.items():
        assert kept[name].best_epoch.tolist() == list(epochs), name


def test_the_weights_are_those_of_fit(kept, plain):
    for name, value in plain[2].best.items():
        assert torch.equal(kept["patience"].best[name], value)
        assert torch.equal(kept["end"].best[name], plain[None].final[name])


def test_an_absolute_threshold_is_one_of_the_loss():
    keep = topic.absolute(10, 0.1)(1)
    losses = [1.0, 0.95, 0.85, 0.76, 0.74]
    kept = [bool(keep({"val_loss": np.array([loss])})[0]) for loss in losses]
    assert kept == [True, False, True, False, True]  # against the best so far, not the last


def test_spare_rows_are_neither_learned_from_nor_validated_on(task):
    unseen, dealt = topic._unseen(task, SEEDS), task.deal(SEEDS)
    assert unseen.sum(1).tolist() == [len(task.x) - 60] * 3
    for rows in (dealt.train_rows, dealt.val_rows):
        assert not unseen.gather(1, rows).any()
