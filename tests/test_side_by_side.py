"""Cases in which networks side by side once differed from one plain network: none may return."""

from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vmap

from coursekit import data, models
from coursekit.engine.layers import side_by_side
from coursekit.engine.networks import initial_net, structure
from coursekit.engine.random import OwnDraws, Streams
from coursekit.engine.side_by_side import optimizer_of
from coursekit.engine.stack import Stack
from coursekit.recipe import Recipe
from coursekit.regularizers.depth import Residual, survivals
from coursekit.regularizers.dropout import Dropout
from coursekit.sweep import sweep
from coursekit.train import fit

CPU = torch.device("cpu")
HALVES = torch.full((2, 100), 0.5)


class Gate(nn.Module):
    """Has a parameter without any axis."""

    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, h):
        return self.share * h


class Wrapped(nn.Module):
    """A residual block where the table of layers does not look for one."""

    def __init__(self):
        super().__init__()
        self.first, self.block = nn.Linear(2, 2), Residual(nn.Linear(2, 2), 0.5)

    def forward(self, h):
        return self.block(self.first(h))


class Overflowing(nn.Module):
    def forward(self, h):
        return h * float("inf")


def each(function, h, state=0):
    """Map a function that draws over two networks, from a given state of torch's own stream."""
    streams = Streams([1, 2])
    torch.manual_seed(state)

    def one(member, h):
        with OwnDraws(streams, "here", member):
            return function(h)

    return vmap(one, randomness="different")(torch.arange(2), h)


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        (nn.AvgPool1d(3, 1, 1), (5, 8)),
        (nn.AdaptiveAvgPool1d(6), (5, 8)),
        (nn.MaxPool1d(3, 1, 1), (5, 8)),
        (nn.MaxPool1d(2), (5, 9)),
        (nn.AvgPool2d(3, 1, 1), (5, 8, 8)),
        (nn.MaxPool2d(2), (5, 7, 8)),
    ],
    ids=str,
)
def test_pools_without_an_axis_of_channels_keep_networks_apart(pool, shape):
    x = torch.randn(3, *shape)
    expected = torch.stack([pool(own) for own in x])
    torch.testing.assert_close(side_by_side(pool)({}, x, None), expected)


def test_a_pool_may_return_indices():
    pool = nn.MaxPool2d(2, return_indices=True)
    x = torch.randn(2, 3, 1, 4, 4)
    largest, _ = side_by_side(pool)({}, x, None)
    torch.testing.assert_close(largest, F.max_pool2d(x.flatten(0, 1), 2).view(2, 3, 1, 2, 2))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 10, 16])
def test_relu_behind_a_linear_layer_is_as_alone(n_outputs, inplace):
    net = nn.Sequential(nn.Linear(8, n_outputs), nn.ReLU(inplace))
    x = torch.randn(1, 5, 8)
    stack = Stack([deepcopy(net)], CPU)
    torch.testing.assert_close(stack(x)[0], net(x[0]))
    stack.backward(stack(x).sum((1, 2)))
    net(x[0]).sum().backward()
    flat = [net[0].weight.grad if n_outputs % 16 else net[0].weight.grad.T, net[0].bias.grad]
    for rows, grad in zip(stack.rows.values(), flat, strict=True):
        torch.testing.assert_close(rows.grad[0, : grad.numel()], grad.flatten())


def test_relu_leaves_inputs_as_they_are():
    given = torch.randn(1, 5, 8)
    before = given.clone()
    Stack([nn.Sequential(nn.ReLU(), nn.Linear(8, 16))], CPU)(given)
    assert torch.equal(given, before)


def test_a_parameter_without_axes_is_trained():
    stack = Stack([Gate(), Gate()], CPU)
    torch.testing.assert_close(stack(torch.ones(2, 3, 2)), torch.full((2, 3, 2), 0.5))
    stack.backward(stack(torch.ones(2, 3, 2)).sum((1, 2)))
    assert (stack.rows["vectors"].grad[:, 0] == 6).all()


def test_frozen_parameters_stay_and_the_others_move():
    def make():
        net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
        net[0].requires_grad_(False)
        return net

    nets = [initial_net(make, 3)]
    before = deepcopy(nets[0].state_dict())
    stack = Stack(nets, CPU)
    optimizer = optimizer_of(stack, [Recipe(optimizer="sgd", lr=0.1, weight_decay=0.1)])
    stack.backward(stack(torch.ones(1, 3, 2)).square().sum((1, 2)))
    optimizer.step()
    assert torch.equal(stack.state["0.weight"][0], before["0.weight"])
    assert not torch.equal(stack.state["1.weight"][0], before["1.weight"])


def test_a_batch_norm_that_averages_over_all_batches_is_refused():
    with pytest.raises(ValueError, match="with a momentum, got None"):
        side_by_side(nn.BatchNorm1d(8, momentum=None))


def test_a_skipped_branch_leaves_its_statistics_and_its_overflow_behind():
    stack = Stack([Residual(nn.BatchNorm1d(2), 1e-6)], CPU)
    stack(torch.randn(1, 4, 2), Streams([0]))
    assert stack.buffers["branch.num_batches_tracked"].item() == 0
    assert not stack.buffers["branch.running_mean"].any()
    call = side_by_side(Residual(Overflowing(), 1e-6))
    out = call({"survival": torch.tensor([1e-6])}, torch.ones(1, 2, 2), Streams([0]))
    assert (out == 1).all()


def test_a_residual_net_counts_the_batches_of_each_block_as_alone():
    task = data.load("digits", n_train=64, n_val=40, device="cpu")
    runs = fit(models.resnet(task, 2, 8, survival=0.5), task, Recipe(epochs=5, n_seeds=3))
    counts = torch.stack(
        [runs.final[f"{block}.branch.0.num_batches_tracked"] for block in (2, 3)]
    )  # (2 blocks, S)
    assert (counts < 10).any()
    assert (runs.final["4.num_batches_tracked"] == 10).all()


def test_a_residual_block_may_stand_inside_an_unknown_module():
    stack = Stack([Wrapped(), Wrapped()], CPU)
    stack.backward(stack(torch.ones(2, 2, 2), Streams([0, 1])).sum((1, 2)))


PAIRS = {
    "per_sample": (Residual(nn.ReLU(), per_sample=True), Residual(nn.ReLU())),
    "nesting": (
        nn.Sequential(Residual(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))),
        nn.Sequential(Residual(nn.Sequential(nn.Linear(3, 3))), nn.ReLU()),
    ),
    "pad": (nn.AvgPool2d(3, padding=1), nn.AvgPool2d(3, padding=1, count_include_pad=False)),
    "ceil": (nn.AvgPool2d(3), nn.AvgPool2d(3, ceil_mode=True)),
    "frozen": (nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)),
    "rate": (nn.Dropout(0.2), nn.Dropout(0.3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_networks_that_compute_something_else_differ_in_structure(name):
    one, other = PAIRS[name]
    assert structure(one) != structure(other)


def test_shared_weights_are_part_of_the_structure():
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert structure(tied) != structure(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))


def test_a_sweep_over_a_way_to_compute_has_different_arms():
    task = data.load("digits", n_train=64, n_val=40, device="cpu")
    build = partial(models.resnet, n_blocks=2, width=8, survival=0.3)
    swept = sweep(build, task, Recipe(epochs=2, n_seeds=2), {"per_sample": [False, True]})
    for value in (False, True):
        alone = fit(build(task, per_sample=value), task, Recipe(epochs=2, n_seeds=2))
        assert (swept.at(per_sample=value).val_loss == alone.val_loss).all()
    assert (swept.runs[0].val_loss != swept.runs[1].val_loss).all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda h: h.bernoulli(),
        lambda h: torch.empty_like(h).uniform_(to=2.0),
        lambda h: torch.randint_like(h, high=30),
        lambda h: torch.bernoulli(h, 0.2),
        lambda h: torch.empty_like(h, dtype=torch.bool).bernoulli_(0.3),
        lambda h: torch.empty_like(h, dtype=torch.int64).bernoulli_(0.3),
    ],
)
def test_draws_in_any_spelling_are_the_networks_own(draw):
    first = each(draw, HALVES, state=0)
    assert torch.equal(first, each(draw, HALVES, state=1))
    assert not torch.equal(first[0], first[1])


def test_dropout_in_any_spelling():
    assert not each(lambda h: F.dropout(h, 1.0), HALVES).any()
    assert not side_by_side(nn.Dropout(1.0))({}, HALVES[:, None], Streams([1, 2])).any()
    assert torch.equal(each(lambda h: torch.dropout(h, 0.5, train=False), HALVES), HALVES)

    def in_place(h):
        y = h * 1
        F.dropout(y, 0.5, True, True)
        return y

    assert 0.2 < (each(in_place, HALVES) == 0).float().mean() < 0.8


def test_one_dropout_layer_at_two_places_draws_at_each():
    def make():
        drop = Dropout(0.5)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), drop, nn.Linear(10, 10), drop)

    task = data.load("digits", n_train=64, n_val=40, device="cpu")
    alone, two = (fit(make, task, Recipe(epochs=2, n_seeds=n)) for n in (1, 2))
    assert abs(alone.val_loss - two.val_loss[:1]).max() < 1e-5


def test_the_last_block_survives_as_often_as_was_said():
    assert survivals(7, 0.3)[-1] == 0.3
    assert survivals(3, 1e-17)[-1] > 0
