"""What the engine promises beyond equality: memory, noise, precision, and the ways to run it."""

import random
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit import data, models
from coursekit.engine import devices
from coursekit.engine.hooks import Arm, Hooks
from coursekit.engine.networks import initial_net, initial_nets
from coursekit.engine.side_by_side import try_out
from coursekit.recipe import Recipe
from coursekit.train import cut, evaluate, fit, train

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.01, n_seeds=5, first_seed=5)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", n_train=72, n_val=50, label_noise=0.3, device="cpu")


@pytest.fixture(scope="module")
def signals():
    return data.load("mnist1d", n_train=72, n_val=50, device="cpu")


NETS = {
    "mlp": lambda task: models.mlp(task, hidden=(24, 13), dropout=0.3),
    "batch_norm": lambda task: models.mlp(task, hidden=(24, 13), batch_norm=True),
    "cnn": lambda task: models.cnn(task, (5, 8), batch_norm=True, dropout=0.2),
    "resnet": lambda task: models.resnet(task, n_blocks=3, width=12, survival=0.5),
    "per_sample": lambda task: models.resnet(task, 3, 12, survival=0.5, per_sample=True),
}


class OwnNet(nn.Module):
    """A network that the table of layers does not know, with noise of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 12)
        self.outer = nn.Linear(12, 10)

    def forward(self, x):
        h = torch.tanh(self.inner(x.flatten(1)))
        if self.training:
            h = F.dropout(h + 0.1 * torch.randn_like(h), 0.3)
        return self.outer(h)


def one_by_one(make_net, task, recipe, **hooks):
    seeds = recipe.seeds
    alone = [replace(recipe, n_seeds=1, first_seed=seed) for seed in seeds]
    return [fit(make_net, task, own, **hooks) for own in alone]


@pytest.mark.parametrize("name", [*NETS, "own"])
def test_noise_of_a_network_does_not_depend_on_its_company(digits, signals, name):
    task = signals if name == "cnn" else digits
    make_net = OwnNet if name == "own" else NETS[name](task)
    recipe = replace(RECIPE, optimizer="sgd", lr=0.05)
    many = fit(make_net, task, recipe)
    for s, alone in enumerate(one_by_one(make_net, task, recipe)):
        np.testing.assert_allclose(many.val_loss[s], alone.val_loss[0], rtol=2e-4)
        np.testing.assert_allclose(many.logged_loss[s], alone.logged_loss[0], rtol=2e-4)


def test_a_skipped_block_feels_momentum_and_decay_alone_as_in_company(digits):
    make_net = models.resnet(digits, n_blocks=4, width=12, survival=0.2, rule="uniform")
    recipe = replace(RECIPE, optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=0.1)
    many = fit(make_net, digits, recipe)
    for s, alone in enumerate(one_by_one(make_net, digits, recipe)):
        for name, value in alone.final.items():
            torch.testing.assert_close(many.final[name][s], value[0], rtol=2e-3, atol=2e-4)


def test_noise_of_hooks_does_not_depend_on_the_company(digits):
    def mix(x, y):
        order = torch.randperm(len(x))
        share = torch.rand(())
        hard = F.one_hot(y, 10).float()
        return share * x + (1 - share) * x[order], share * hard + (1 - share) * hard[order]

    hooks = {"augment": lambda x: x + 0.3 * torch.randn_like(x), "mix": mix}
    make_net = models.mlp(digits, hidden=(24,))
    many = fit(make_net, digits, RECIPE, **hooks)
    for s, alone in enumerate(one_by_one(make_net, digits, RECIPE, **hooks)):
        np.testing.assert_allclose(many.logged_loss[s], alone.logged_loss[0], rtol=1e-4)
    without = fit(make_net, digits, RECIPE, augment=hooks["augment"])
    assert (many.logged_loss[:, -1] > without.logged_loss[:, -1]).all(), "mixing did nothing"


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("n_networks", [2, 3])
def test_a_memory_budget_changes_no_bit_but_of_one_that_is_left_over(
    digits, signals, name, n_networks
):
    task = signals if name == "cnn" else digits
    make_net = NETS[name](task)
    member = (Arm(make_net, RECIPE), 5)
    each = try_out(member, [initial_net(make_net, 5)], task, Hooks()).bytes
    whole = fit(make_net, task, RECIPE)
    tight = fit(make_net, task, RECIPE, memory=n_networks * each)
    for kind in ("final", "best"):
        for key, value in getattr(whole, kind).items():
            # In chunks of two, the fifth network is a stack of one: its products round otherwise.
            same, other = (
                value[: 4 + n_networks % 2],
                getattr(tight, kind)[key][: 4 + n_networks % 2],
            )
            assert torch.equal(same, other), key
            torch.testing.assert_close(value, getattr(tight, kind)[key], rtol=1e-3, atol=1e-4)
    for key, curve in whole.curves.items():
        np.testing.assert_allclose(curve, tight.curves[key], rtol=1e-3)
    np.testing.assert_array_equal(whole.seeds, tight.seeds)


def test_a_budget_for_less_than_one_network_is_refused(digits):
    with pytest.raises(ValueError, match="expected memory for one network"):
        fit(models.mlp(digits), digits, RECIPE, memory=1e4)
    with pytest.raises(ValueError, match="got nan MB"):
        fit(models.mlp(digits), digits, RECIPE, memory=float("nan"))


def test_bytes_per_network_grow_with_parameters_and_activations(digits):
    def size(hidden, batch):
        make_net = models.mlp(digits, hidden=(hidden,))
        arm = Arm(make_net, replace(RECIPE, batch_size=batch))
        return try_out((arm, 5), [initial_net(make_net, 5)], digits, Hooks()).bytes

    parameters = 4 * (64 * 256 + 256 + 256 * 10 + 10)
    assert 8 * parameters < size(256, 16) < 14 * parameters + 1e6
    assert size(512, 16) - size(256, 16) > 8 * parameters * 0.9
    activations = 4 * 256 * (72 - 16)
    assert size(256, 72) - size(256, 16) > activations


@pytest.mark.parametrize(
    ("n", "most", "sizes"), [(10, 4, [4, 4, 2]), (9, 4, [3, 3, 3]), (3, 8, [3])]
)
def test_chunks_are_as_equal_as_can_be(n, most, sizes):
    pieces = cut(n, most)
    assert [piece.stop - piece.start for piece in pieces] == sizes
    assert (pieces[0].start, pieces[-1].stop) == (0, n)


def test_a_chunk_that_is_interrupted_is_no_result(digits):
    batches_left = iter(range(8))

    def press_ctrl_c(x):
        if next(batches_left, None) is None:
            raise KeyboardInterrupt
        return x

    members = [(Arm(models.linear(digits), RECIPE), seed) for seed in RECIPE.seeds]
    with pytest.raises(KeyboardInterrupt):
        train(members, digits, Hooks(augment=press_ctrl_c))


def test_bfloat16_learns_nearly_the_same_and_evaluates_in_float32(digits):
    recipe = replace(RECIPE, epochs=12)
    full = fit(models.mlp(digits), digits, recipe)
    half = fit(models.mlp(digits), digits, replace(recipe, precision="bfloat16"))
    assert not np.array_equal(full.logged_loss, half.logged_loss), "nothing was rounded"
    np.testing.assert_allclose(half.val_loss, full.val_loss, rtol=0.15)
    assert all(value.dtype == torch.float32 for value in half.final.values())


class Noting(nn.Linear):
    """Notes what PyTorch may do to float32 products, while training and in evaluation."""

    seen = {True: set(), False: set()}  # noqa: RUF012

    def forward(self, x):
        self.seen[self.training].add(torch.get_float32_matmul_precision())
        return super().forward(x.flatten(1))


def test_evaluation_is_in_float32_whatever_the_training_is_in(digits):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")  # as a user might, for all that follows
        runs = fit(lambda: Noting(64, 10), digits, replace(RECIPE, precision="tf32"))
        evaluate(runs, digits)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert Noting.seen == {True: {"high"}, False: {"highest"}}


NEWER = """
import torch
from coursekit import data, models
from coursekit.engine import devices
from coursekit.train import Recipe, fit
product, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
product.fp32_precision, convolution.fp32_precision = "tf32", "ieee"
with devices.matmul_precision("float32"):
    assert product.fp32_precision == "ieee"
with devices.matmul_precision("tf32"):
    assert product.fp32_precision == convolution.fp32_precision == "tf32"
    with devices.matmul_precision("float32"):
        assert product.fp32_precision == convolution.fp32_precision == "ieee"
task = data.load("digits", n_train=20, n_val=20, device="cpu")
fit(models.linear(task), task, Recipe(epochs=1, n_seeds=2))
assert (product.fp32_precision, convolution.fp32_precision) == ("tf32", "ieee")
"""


def test_pytorchs_newer_switches_are_left_as_they_were():
    # In a process of its own: once they were used, the older ones can no longer be read.
    done = subprocess.run([sys.executable, "-c", NEWER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_networks_made_together_equal_those_made_alone():
    def make():  # from every random state that a network may be made of
        layer = nn.Linear(3, 2)
        layer.drawn = random.random(), np.random.rand()  # noqa: NPY002
        return layer

    before, states = devices.random_states(), torch.get_rng_state()
    together = initial_nets((make, seed) for seed in (5, 2**33, 7))
    for seed, net in zip((5, 2**33, 7), together, strict=True):
        alone = initial_net(make, seed)
        assert torch.equal(net.weight, alone.weight)
        assert net.drawn == alone.drawn
    assert len({net.drawn for net in together}) == 3
    assert devices.random_states() == before
    assert torch.equal(torch.get_rng_state(), states)


@pytest.mark.parametrize("before", [False, True])
def test_cudnn_repeats_itself_inside_and_does_as_before_outside(digits, monkeypatch, before):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", before)
    seen = []

    class Noting(nn.Linear):
        def forward(self, x):
            seen.append(torch.backends.cudnn.deterministic)
            return super().forward(x)

    fit(lambda: nn.Sequential(nn.Flatten(), Noting(64, 10)), digits, replace(RECIPE, n_seeds=2))
    assert set(seen) == {True}
    assert torch.backends.cudnn.deterministic == before


def test_tf32_is_allowed_inside_and_as_before_outside():
    before = torch.get_float32_matmul_precision()
    with devices.matmul_precision("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of PyTorch's own about its compiler
def test_a_compiled_training_equals_an_interpreted_one(digits):
    make_net = models.mlp(digits, hidden=(8,), batch_norm=True, dropout=0.3)
    recipe = replace(RECIPE, batch_size=72, n_seeds=2, epochs=12)
    plain = fit(make_net, digits, recipe)
    compiled = fit(make_net, digits, replace(recipe, compile=True))
    np.testing.assert_allclose(plain.val_loss, compiled.val_loss, rtol=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_recorded_step_without_a_gpu_is_refused(digits):
    with pytest.raises(ValueError, match="expected an NVIDIA GPU to record a CUDA graph, got cpu"):
        fit(models.mlp(digits), digits, replace(RECIPE, graph=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("name", ["mlp", "batch_norm"])
def test_a_recorded_step_equals_an_ordinary_one(optimizer, name):
    task = data.load("digits", n_train=72, n_val=50, label_noise=0.3, device="cuda")
    recipe = replace(RECIPE, epochs=6, optimizer=optimizer, schedule="cosine")
    plain = fit(NETS[name](task), task, recipe)
    recorded = fit(NETS[name](task), task, replace(recipe, graph=True))
    np.testing.assert_allclose(plain.val_loss, recorded.val_loss, rtol=1e-3)


def test_memory_is_asked_for_where_the_system_tells():
    assert 2**20 < devices.free_memory(torch.device("cpu")) < 2**50


def test_a_hook_that_python_cannot_inspect_works(digits):
    blank = fit(models.linear(digits), digits, RECIPE, augment=torch.zeros_like)
    same = fit(models.linear(digits), digits, RECIPE, augment=partial(torch.mul, other=0.0))
    np.testing.assert_array_equal(blank.val_loss, same.val_loss)
