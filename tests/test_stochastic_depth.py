"""Stochastic depth against its definitions: torchvision's formula, the laws, the published slips.

torchvision is no dependency of the course, so `in_torchvision` states its definition: kept with
probability 1 - p, divided by that, nothing at test.
"""

from itertools import product

import pytest
import torch
from torch import nn

from coursekit import models
from coursekit.engine.layers import side_by_side
from coursekit.engine.random import Streams
from coursekit.regularizers.depth import (
    Residual,
    drop_path,
    expected_depth,
    residual,
    survivals,
)


def in_torchvision(added, p, mode, training, coins):
    """`torchvision.ops.stochastic_depth`, with the uniform numbers of its coins given."""
    if mode not in ("batch", "row"):
        raise ValueError(mode)
    if not training or p == 0:
        return added
    noise = (coins < 1 - p).to(added.dtype)
    noise = noise.view(-1, *[1] * (added.ndim - 1)) if mode == "row" else noise
    return added * noise.div_(1 - p)


def same_coins(per_sample, rows, seed):
    shape = (rows,) if per_sample else ()
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 3), (6, 2, 4), (6, 2, 4, 4)])
@pytest.mark.parametrize(("mode", "per_sample"), [("row", True), ("batch", False)])
def test_drop_path_is_torchvisions_stochastic_depth_in_values_and_gradients(
    mode, per_sample, shape
):
    torch.manual_seed(0)
    upstream, outcomes = torch.randn(shape), set()
    for seed, survival in product(range(8), (0.3, 0.8, 1.0)):
        ours, theirs = (t.requires_grad_() for t in torch.randn(shape).expand(2, *shape).clone())
        generator = torch.Generator().manual_seed(seed)
        out = drop_path(ours, survival, training=True, per_sample=per_sample, generator=generator)
        coins = same_coins(per_sample, shape[0], seed)
        expected = in_torchvision(theirs, 1 - survival, mode, True, coins)
        torch.testing.assert_close(out, expected)
        got, wanted = (
            torch.autograd.grad(o, i, upstream)[0] for o, i in [(out, ours), (expected, theirs)]
        )
        torch.testing.assert_close(got, wanted)
        outcomes |= set(out.flatten(1).any(1).tolist())
    assert outcomes == {True, False}


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_papers_form_is_the_libraries_form_of_a_branch_that_is_larger(training, per_sample):
    """With the same coins, h + b f(h) is h + (b / p) (p f(h)): values, and all gradients."""
    torch.manual_seed(1)
    survival, kept = 0.4, set()
    for seed in range(12):
        h = torch.randn(5, 4, requires_grad=True)
        weight = torch.randn(4, 4, requires_grad=True)
        how = {"training": training, "per_sample": per_sample}
        paper = residual(
            h, lambda h, w=weight: torch.tanh(h @ w), survival, **how,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        smaller = survival * torch.tanh(h @ weight)
        library = h + drop_path(
            smaller, survival, **how, generator=torch.Generator().manual_seed(seed)
        )
        torch.testing.assert_close(paper, library)
        kept.add(not torch.equal(paper, h))
        upstream = torch.randn(5, 4)
        for got, wanted in zip(
            torch.autograd.grad(paper, [h, weight], upstream, allow_unused=True),
            torch.autograd.grad(library, [h, weight], upstream),
            strict=True,
        ):  # a branch that was not computed has no gradient; the libraries' has one of zeros
            torch.testing.assert_close(torch.zeros_like(wanted) if got is None else got, wanted)
    assert True in kept


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("survival", [0.25, 0.9])
def test_drop_path_keeps_the_mean_and_has_the_variance_of_its_coins(survival, per_sample):
    torch.manual_seed(0)
    added, n = torch.full((6, 2), 3.0), 4000
    drawn = torch.stack(
        [drop_path(added, survival, training=True, per_sample=per_sample) for _ in range(n)]
    )
    torch.testing.assert_close(drawn.unique(), torch.tensor([0.0, 3 / survival]))
    variance = 9 * (1 - survival) / survival
    n_coins = n * 6 if per_sample else n
    assert abs(drawn.mean() - 3) < 5 * (variance / n_coins) ** 0.5
    of_means = variance / 6 if per_sample else variance  # rows average out, batches do not
    assert drawn[..., 0].mean(1).var().item() == pytest.approx(of_means, rel=0.2)
    assert torch.equal(drawn[..., 0], drawn[..., 1])  # one coin for a whole row


def test_without_training_drop_path_returns_its_input():
    added = torch.randn(3, 2)
    assert drop_path(added, 0.2, training=False) is added


def test_drop_path_is_independent_between_networks_side_by_side():
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("survival", torch.tensor(0.5))
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, h):
            return self.weight * drop_path(h, self.survival, training=self.training)

    kept = torch.tensor([0.2, 0.5, 1.0])
    layer = Dropped().train()
    state = {"survival": kept, "weight": torch.ones(3, 1)}
    call, streams, n, rows = side_by_side(layer), Streams(range(3)), 300, 10
    drawn = torch.stack([call(state, torch.ones(3, rows, 2), streams) for _ in range(n)])
    coins = drawn[..., 0] > 0  # (n, 3, rows)
    error = (kept * (1 - kept) / (n * rows)).sqrt()
    assert ((coins.float().mean((0, 2)) - kept).abs() <= 5 * error).all()
    torch.testing.assert_close(drawn[:, 2], torch.ones(n, rows, 2))
    assert (coins[:, 0] != coins[:, 1]).any()
    alone = Streams([1])
    again = torch.stack(
        [side_by_side(layer)({k: v[1:2] for k, v in state.items()}, torch.ones(1, rows, 2), alone)
         for _ in range(20)]
    )  # fmt: skip
    assert torch.equal(again[:, 0], drawn[:20, 1])  # network 1 draws the same in any company


def test_expected_depth_has_the_closed_form_of_the_paper():
    for n_blocks, last in product((1, 4, 12, 54, 110), (0.1, 0.5, 0.8, 1.0)):
        linear = n_blocks - (1 - last) * (n_blocks + 1) / 2
        assert expected_depth(survivals(n_blocks, last)) == pytest.approx(linear)
        uniform = survivals(n_blocks, last, rule="uniform")
        assert expected_depth(uniform) == pytest.approx(n_blocks * last)
    assert expected_depth(survivals(54, 0.5)) == pytest.approx(40.25)


def test_expected_depth_is_the_mean_number_of_blocks_that_are_computed():
    torch.manual_seed(0)
    kept, n, calls = survivals(6, 0.4), 600, []
    for _ in range(n):
        h = torch.zeros(2, 1)
        for p in kept:
            h = residual(h, lambda h: calls.append(1) or h, p, training=True)
    error = (n * sum(p * (1 - p) for p in kept)) ** 0.5
    assert abs(len(calls) - n * expected_depth(kept)) < 5 * error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_depth([]), r"per block, got \[\]; try survivals"),
        (lambda: expected_depth([0.5, 50.0]), r"got \[0.5, 50.0\]"),
        (lambda: expected_depth([float("nan")]), "got .nan"),
        (
            lambda: drop_path(torch.ones(2), 0.0, training=True),
            r"in \(0, 1\], got 0.0; try 1 - rate, from a drop",
        ),
        (lambda: drop_path(torch.ones(2), 1.5, training=False), "got 1.5"),
    ],
)
def test_a_probability_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# One block h + f(h) with f(h) = h at survival p: trained it gives h or 2 h, so at test (1 + p) h.


def unscaled(h, branch, p, *, training):  # the test rule is missing
    return residual(h, branch, p, training=True) if training else h + branch(h)


def scaled_twice(h, branch, p, *, training):  # divided in training, multiplied at test
    if not training:
        return h + p * branch(h)
    return h + drop_path(branch(h), p, training=True, per_sample=False)


def rate_as_survival(h, branch, p, *, training):
    return residual(h, branch, 1 - p, training=training)


def drops_at_test(h, branch, p, *, training):
    return residual(h, branch, p, training=True)


def bias_at_test(rule, p=0.8, n=4000):
    """Output at test minus the mean of training, for a block whose branch adds 1."""
    torch.manual_seed(0)
    h = torch.zeros(1, 1)
    trained = torch.stack([rule(h, torch.ones_like, p, training=True) for _ in range(n)])
    tested = torch.stack([rule(h, torch.ones_like, p, training=False) for _ in range(50)])
    same = bool((tested == tested[0]).all())
    return (tested.mean() - trained.mean()).item(), trained.mean().item(), same


def correct(rule, p=0.8):
    bias, mean, same = bias_at_test(rule, p)
    error = 5 * (p * (1 - p) / 4000) ** 0.5 / p
    return same and abs(bias) < error and min(abs(mean - p), abs(mean - 1)) < error


def test_the_mean_of_training_is_the_output_at_test_in_both_forms():
    assert correct(residual)
    assert correct(lambda h, branch, p, *, training: h + drop_path(branch(h), p, training=training))


@pytest.mark.parametrize("slip", [unscaled, scaled_twice, rate_as_survival, drops_at_test])
def test_the_check_catches_published_slips(slip):
    assert not correct(slip)


def test_a_network_at_survival_1_is_its_plain_self():
    class Nothing:
        x, n_outputs = torch.zeros(1, 4), 3

    torch.manual_seed(0)
    net = models.resnet(Nothing, 3, 8, survival=0.5)()
    h = torch.randn(5, 4)
    blocks = [layer for layer in net if isinstance(layer, Residual)]
    for block in blocks:
        block.survival.fill_(1.0)
    net.eval()
    plain = net[1](h)
    for block in blocks:
        plain = plain + block.branch(plain)
    torch.testing.assert_close(net(h), net[-3:](plain))
