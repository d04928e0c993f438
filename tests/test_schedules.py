"""Schedules step by step against `torch.optim.lr_scheduler`."""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from coursekit import schedules
from coursekit.recipe import SCHEDULES
from coursekit.schedules import ReduceOnPlateau, constant, cosine, step, warmup

LR = 0.3


def optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)


def torch_rates(make, epochs):
    """Learning rate in force at each epoch of a loop that calls scheduler.step() at its end."""
    moved = optimizer()
    scheduler, rates = make(moved), []
    for _ in range(epochs):
        rates.append(moved.param_groups[0]["lr"])
        moved.step()
        scheduler.step()
    return rates


def sequence(o):
    parts = [lr_scheduler.LinearLR(o, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(o, 20)]
    return lr_scheduler.SequentialLR(o, parts, milestones=[5])


PAIRS = [
    (constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    (step([3, 7, 7, 15], 0.5), lambda o: lr_scheduler.MultiStepLR(o, [3, 7, 7, 15], 0.5)),
    (step(range(4, 25, 4)), lambda o: lr_scheduler.StepLR(o, 4)),
    (cosine(25), lambda o: lr_scheduler.CosineAnnealingLR(o, 25)),
    (cosine(25, 0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, 25, eta_min=0.1 * LR)),
    (warmup(5), lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 5)),
    (warmup(5, cosine(20)), sequence),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")
def test_a_schedule_equals_pytorch_at_every_epoch(ours, theirs):
    rates = [LR * ours(epoch) for epoch in range(25)]
    np.testing.assert_allclose(rates, torch_rates(theirs, 25), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("n", [4, 8, 40, 100])
def test_the_engine_has_the_same_cosine_and_steps(n):
    ours = {"constant": constant(), "cosine": cosine(n), "step": step([n // 2, 3 * n // 4])}
    for name, schedule in ours.items():
        expected = [SCHEDULES[name](epoch / n) for epoch in range(n)]
        np.testing.assert_allclose([schedule(e) for e in range(n)], expected, rtol=1e-12)


def test_a_cosine_stays_down_when_its_run_is_over():
    assert [cosine(10, 0.2)(epoch) for epoch in (9, 10, 15)] == pytest.approx(
        [0.2 + 0.4 * (1 + np.cos(0.9 * np.pi)), 0.2, 0.2]
    )
    # PyTorch's climbs back up
    assert torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 10), 16)[15] > LR / 3


def plateau_curve(seed):
    rng = np.random.default_rng(seed)
    curve = 2 * 0.9 ** np.arange(60) + 0.3 * rng.normal(size=60).round(1) + 5
    curve[rng.integers(60, size=3)] = np.nan
    return curve


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"patience": 5, "factor": 0.5},
        {"patience": 0, "factor": 0.7},
        {"patience": 2, "threshold": 0.05},
        {"patience": 1, "cooldown": 3},
        {"patience": 1, "min_lr": 0.01, "factor": 0.3},
        {"patience": 1, "min_lr": 1.0},
        {"patience": 2, "mode": "max", "threshold": 0.02},
    ],
)
def test_reduce_on_plateau_equals_pytorch_value_by_value(seed, settings):
    theirs = optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(theirs, **settings, eps=0)
    ours = ReduceOnPlateau(LR, **settings)
    rates = []
    for value in plateau_curve(seed):
        scheduler.step(value)
        rates.append((ours.step(value), theirs.param_groups[0]["lr"]))
        assert ours.best == scheduler.best
    np.testing.assert_allclose(*zip(*rates, strict=True), rtol=1e-12)


def test_the_comparison_would_see_a_patience_that_is_off_by_one():
    rates = {}
    for patience in (2, 3):
        plateau = ReduceOnPlateau(LR, patience=patience)
        rates[patience] = [plateau.step(value) for value in plateau_curve(0)]
    assert rates[2] != rates[3]


def test_patience_tolerates_that_many_bad_epochs():
    plateau = ReduceOnPlateau(1.0, 0.5, patience=2)
    assert [plateau.step(value) for value in (3, 3, 3, 3, 3)] == [1, 1, 1, 0.5, 0.5]


def test_the_threshold_of_a_negative_value_points_the_right_way():
    ours = ReduceOnPlateau(1.0, 0.5, patience=0, threshold=0.1)
    assert [ours.step(value) for value in (-1.0, -0.95)] == [1.0, 0.5]
    theirs = optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(theirs, patience=0, threshold=0.1)
    for value in (-1.0, -0.95):
        scheduler.step(value)
    assert theirs.param_groups[0]["lr"] == LR  # PyTorch takes the worse value for an improvement


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: step([5, 3]), r"increasing milestones >= 0, got \(5, 3\)"),
        (lambda: step([-1, 3]), "increasing milestones"),
        (lambda: step([3], gamma=0), "gamma > 0, got 0"),
        (lambda: cosine(0), "epochs >= 1"),
        (lambda: cosine(5, 2.0), r"lowest in \[0, 1\], got 5 and 2.0"),
        (lambda: warmup(-1), "epochs >= 0"),
        (lambda: warmup(3, start=0.0), r"start in \(0, 1\], got 3 and 0.0"),
        (lambda: ReduceOnPlateau(0.0), "lr > 0, got 0.0"),
        (lambda: ReduceOnPlateau(1.0, 1.0), r"factor in \(0, 1\), got 1.0"),
        (lambda: ReduceOnPlateau(1.0, patience=-1), "patience >= 0, got -1"),
        (lambda: ReduceOnPlateau(1.0, mode="low"), "'min' or 'max', got 'low'"),
        (lambda: ReduceOnPlateau(1.0, threshold=1.0), r"\[0, 1\), got 1.0"),
        (lambda: ReduceOnPlateau(1.0, cooldown=-2), "cooldown >= 0, got -2"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_schedules_do_not_depend_on_the_training_loop():
    assert not {"recipes", "train"} & set(vars(schedules))
