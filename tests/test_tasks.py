"""Tasks: what a seed gets, what it must not depend on, and which parts are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coursekit import data
from coursekit.datasets import tasks


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", label_noise=0.4, device="cpu")


def test_seeds_shift_with_the_environment(monkeypatch):
    assert tasks.seeds(3) == range(3)
    monkeypatch.setenv("COURSEKIT_FIRST_SEED", "100")
    assert tasks.seeds(3) == range(100, 103)
    assert tasks.seeds(3, first=7) == range(7, 10)


@pytest.mark.parametrize(("n", "first"), [(0, None), (3, -1), (3, "two"), (2.5, 0), (2, 0.5)])
def test_seeds_refuses_what_is_no_range(n, first):
    with pytest.raises(ValueError, match="expected integers n >= 1 and first >= 0, got"):
        tasks.seeds(n, first)


def test_seeds_refuses_a_bad_environment(monkeypatch):
    monkeypatch.setenv("COURSEKIT_FIRST_SEED", "many")
    with pytest.raises(ValueError, match="COURSEKIT_FIRST_SEED"):
        tasks.seeds(3)


def test_a_stream_depends_on_its_seed_and_purpose_only():
    def draw(seed, purpose):
        return torch.rand(4, generator=tasks.stream(seed, purpose)).tolist()

    torch.manual_seed(1)
    first = draw(3, "rows")
    torch.manual_seed(2)
    assert first == draw(3, "rows") == draw(np.int64(3), "rows")
    purposes = ("rows", "labels", "order")
    assert len({tuple(draw(seed, p)) for seed in range(100) for p in purposes}) == 300


def test_streams_of_neighboring_seeds_are_uncorrelated():
    draws = torch.stack([torch.rand(2000, generator=tasks.stream(s, "order")) for s in range(20)])
    off = torch.corrcoef(draws)[~torch.eye(20, dtype=torch.bool)]
    # 190 pairs, each with standard error 1 / sqrt(2000).
    assert off.abs().max() < 5 / 2000**0.5


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_a_stream_refuses_what_is_no_seed(seed):
    with pytest.raises(ValueError, match=r"integer >= 0, got .*; try seed=0"):
        tasks.stream(seed, "rows")


def test_a_seed_gets_the_same_whoever_stands_beside_it(digits):
    beside = digits.deal([3, 7, 5])
    torch.manual_seed(999)
    torch.rand(5)
    alone = digits.deal([7])
    for field in ("train_rows", "val_rows", "y_train", "flipped"):
        assert torch.equal(getattr(beside, field)[1], getattr(alone, field)[0])


def test_different_seeds_get_different_rows_and_flips(digits):
    member = digits.deal([0, 1])
    assert not torch.equal(*member.train_rows)
    assert not torch.equal(*member.flipped)


def test_members_leaves_global_random_state_alone(digits):
    before = torch.get_rng_state()
    digits.deal(range(4))
    assert torch.equal(before, torch.get_rng_state())


def test_train_and_val_rows_are_distinct(digits):
    member = digits.deal(range(20))
    for train, val in zip(member.train_rows, member.val_rows, strict=True):
        assert len({*train.tolist(), *val.tolist()}) == digits.n_train + digits.n_val


def test_rows_are_uniform_over_the_pool(digits):
    # Each of 897 rows is hit Binomial(1000, p) times: the sum of squared z has mean about M - 1
    # and, being under-dispersed, at most that of a chi-square. 5 sigma each way.
    count = torch.bincount(digits.deal(range(1000)).train_rows.flatten(), minlength=897)
    p = digits.n_train / 897
    chi2 = ((count - 1000 * p) ** 2 / (1000 * p * (1 - p))).sum().item()
    assert abs(chi2 - 897) < 5 * (2 * 897) ** 0.5


def test_a_noisy_arm_is_paired_with_its_clean_one(digits):
    clean = replace(digits, label_noise=0.0).deal(range(5))
    noisy = digits.deal(range(5))
    assert torch.equal(clean.train_rows, noisy.train_rows)
    assert torch.equal(clean.val_rows, noisy.val_rows)
    assert torch.equal(clean.y_train, digits.y[clean.train_rows])
    assert not clean.flipped.any()
    assert torch.equal(noisy.flipped, noisy.y_train != clean.y_train)


def test_more_rows_and_more_noise_keep_what_fewer_had(digits):
    small = replace(digits, n_train=50).deal([4])
    large = digits.deal([4])
    assert torch.equal(small.val_rows, large.val_rows)
    assert torch.equal(small.train_rows[0], large.train_rows[0, :50])
    assert torch.equal(small.y_train[0], large.y_train[0, :50])
    worse = replace(digits, label_noise=0.7).deal([4])
    assert torch.equal(worse.y_train[large.flipped], large.y_train[large.flipped])
    assert worse.flipped.sum() > large.flipped.sum()


@pytest.mark.parametrize("noise", [0.1, 0.4, 1.0])
def test_the_rate_of_wrong_labels(digits, noise):
    flipped = replace(digits, label_noise=noise).deal(range(100)).flipped
    expected = noise * (1 - 1 / 10)
    sigma = (expected * (1 - expected) / flipped.numel()) ** 0.5
    assert abs(flipped.double().mean().item() - expected) < 5 * sigma


def test_wrong_labels_are_uniform_over_the_classes(digits):
    member = replace(digits, label_noise=1.0).deal(range(100))
    count = torch.bincount(member.y_train.flatten(), minlength=10) / member.y_train.numel()
    assert (count - 0.1).abs().max() < 5 * (0.1 * 0.9 / member.y_train.numel()) ** 0.5


def test_arrays_are_the_same_data_for_scikit_learn(digits):
    arrays, member = digits.arrays(6), digits.deal([6])
    assert arrays.x_train.shape == (200, 64)
    assert {a.dtype for a in (arrays.x_train, arrays.x_val, arrays.x_test)} == {np.dtype("float64")}
    assert np.array_equal(arrays.x_train, digits.x[member.train_rows[0]].flatten(1).double())
    assert np.array_equal(arrays.y_train, member.y_train[0])
    assert np.array_equal(arrays.y_val, digits.y[member.val_rows[0]])  # never mislabeled
    assert np.array_equal(arrays.y_test, digits.y_test)
    assert data.load("diabetes", device="cpu").arrays(0).y_train.dtype == np.float64


def test_pick_device_prefers_an_nvidia_gpu_and_takes_apples_only_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert tasks.pick_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert tasks.pick_device() == torch.device("cpu")
    assert tasks.pick_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert tasks.pick_device() == torch.device("cuda")
    assert tasks.pick_device("cuda:1") == torch.device("cuda:1")
    assert tasks.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="cuda:2"):
        tasks.pick_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "gpu", "meta", 1.5])
def test_pick_device_refuses_what_is_not_here(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"expected a device among .*cpu.*try device=None"):
        tasks.pick_device(name)


@pytest.mark.parametrize(
    "change",
    [
        {"x": torch.zeros(897, 1, 8, 8, dtype=torch.float64)},
        {"x": torch.full((897, 1, 8, 8), torch.nan)},
        {"x": torch.zeros(897)},
        {"x": torch.zeros(897, 1, 9, 9)},
        {"y": torch.zeros(896, dtype=torch.int64)},
        {"y": torch.zeros(897)},
        {"y": torch.full((897,), 10)},
        {"y": torch.full((897,), -1)},
        {"y_test": torch.full((900,), 10)},
        {"truth": torch.zeros(3)},
    ],
)
def test_a_task_refuses_parts_that_do_not_fit(digits, change):
    with pytest.raises(ValueError, match=r"expected .*, got .*; try "):
        replace(digits, **change)


@pytest.mark.parametrize("wrong", [[], [-1], [2, 2], [0.5]])
def test_deal_refuses_seeds_that_are_none(digits, wrong):
    with pytest.raises(ValueError, match="different integers >= 0"):
        digits.deal(wrong)


def test_a_task_reads_well(digits):
    assert repr(digits) == (
        "Task digits: 10 classes, rows (1, 8, 8), 200 train + 300 val of 897, 900 test, "
        "label noise 0.4, on cpu"
    )
    assert digits.describe().endswith("(scikit-learn)")
