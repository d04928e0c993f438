"""Stochastic depth: its schedule by hand, its laws, and networks that differ in it."""

import pytest
import torch
from torch import nn

from coursekit.engine.layers import side_by_side
from coursekit.engine.random import Streams
from coursekit.regularizers.depth import Residual, residual, survivals


def fails(h):
    raise AssertionError("a skipped branch is computed")


def test_survival_falls_in_a_straight_line_to_its_last_value():
    assert survivals(4, 0.2) == pytest.approx([0.8, 0.6, 0.4, 0.2])
    # Huang et al.: 54 blocks at 0.5 have an expected depth of about 40; (3 L - 1) / 4 in general.
    assert sum(survivals(54, 0.5)) == pytest.approx(40.25)
    assert sum(survivals(12, 0.5)) == pytest.approx(8.75)
    for n_blocks, last in [(1, 0.3), (24, 0.7), (12, 1.0)]:
        kept = survivals(n_blocks, last)
        assert len(kept) == n_blocks
        assert kept[-1] == pytest.approx(last, rel=1e-12)
        assert kept[0] == pytest.approx(1 - (1 - last) / n_blocks)
        assert kept == sorted(kept, reverse=True)
    assert survivals(5, 0.4)[0] < 1
    assert survivals(12, 1.0) == [1.0] * 12
    assert survivals(3, 0.6, rule="uniform") == [0.6] * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: survivals(0, 0.5), "n_blocks, a whole number >= 1, got 0"),
        (lambda: survivals(3, 0.0), r"last in \(0, 1\], got 0.0"),
        (lambda: survivals(3, 1.1), r"last in \(0, 1\], got 1.1"),
        (lambda: survivals(3, float("nan")), r"last in \(0, 1\], got nan"),
        (lambda: survivals(3, 0.5, rule="cubic"), "unknown rule 'cubic'; expected one of linear"),
        (lambda: Residual(nn.Identity(), 0.0), r"in \(0, 1\], got 0.0"),
        (lambda: Residual(nn.Identity(), 1.5), "got 1.5"),
        (lambda: Residual(nn.Identity(), float("nan")), "got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_batch_that_skips_the_branch_does_not_compute_it():
    h = torch.randn(5, 3)
    for _ in range(10):
        assert residual(h, fails, 0.0, training=True) is h
    calls = []
    for _ in range(200):
        residual(h, lambda h: calls.append(1) or h, 0.3, training=True)
    assert abs(len(calls) - 60) < 5 * (200 * 0.3 * 0.7) ** 0.5


def test_a_survival_of_one_is_a_plain_residual_block():
    h = torch.randn(5, 3, 2)
    for per_sample in (False, True):
        for _ in range(20):
            out = residual(h, torch.sin, 1.0, training=True, per_sample=per_sample)
            assert torch.equal(out, h + h.sin())


def test_a_network_that_is_not_training_adds_the_expectation():
    h, layer = torch.randn(5, 3), Residual(nn.Tanh(), 0.3).eval()
    assert torch.equal(residual(h, torch.tanh, 0.3, training=False), h + 0.3 * h.tanh())
    torch.testing.assert_close(layer(h), h + 0.3 * h.tanh())
    assert torch.equal(layer(h), layer(h))


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("survival", [0.2, 0.8])
def test_the_mean_of_training_is_the_output_of_evaluation(survival, per_sample):
    torch.manual_seed(0)
    h, n = torch.full((8, 1), 0.5), 3000
    layer = Residual(nn.Identity(), survival, per_sample=per_sample).train()
    drawn = torch.stack([layer(h) for _ in range(n)]).squeeze(-1)  # (n, 8): 0.5 or 1
    assert set(drawn.unique().tolist()) == {0.5, 1.0}
    variance = 0.25 * survival * (1 - survival)
    n_coins = n * 8 if per_sample else n
    assert abs(drawn.mean() - layer.eval()(h).mean()) < 5 * (variance / n_coins) ** 0.5
    # One coin per batch moves all rows together; one per row lets most of that average out.
    of_means = variance / 8 if per_sample else variance
    assert drawn.mean(1).var() == pytest.approx(of_means, rel=0.2)
    assert drawn.var(0).mean() == pytest.approx(variance, rel=0.1)


def test_a_coin_of_a_row_is_for_the_whole_row():
    h = torch.ones(200, 3, 4, 4)
    out = residual(h, torch.ones_like, 0.5, training=True, per_sample=True)
    assert torch.equal(out, out[:, :1, :1, :1].expand_as(out))
    assert len(out.unique()) == 2


def test_the_gradient_flows_through_the_branch_where_it_is_kept():
    h = torch.ones(50, 2, requires_grad=True)
    out = residual(h, lambda h: 3 * h, 0.5, training=True, per_sample=True)
    out.sum().backward()
    assert torch.equal(h.grad, out.detach())
    assert set(h.grad.unique().tolist()) == {1.0, 4.0}


def test_the_settings_are_shown():
    text = repr(Residual(nn.ReLU(), 0.25, per_sample=True))
    assert text.startswith("Residual(\n  survival=0.25, per_sample=True\n")


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("per_sample", [False, True])
def test_side_by_side_every_network_keeps_its_own_survival(per_sample, own):
    kept, n, rows = torch.tensor([0.1, 0.5, 1.0]), 400, 6
    layer = Residual(nn.Linear(4, 4, bias=False), 0.7, per_sample=per_sample)
    state = {"survival": kept, "branch.weight": torch.eye(4).expand(3, 4, 4).clone()}
    torch.manual_seed(0)
    streams = Streams(range(3)) if own else None
    call, h = side_by_side(layer), torch.ones(3, rows, 4)
    drawn = torch.stack([call(state, h, streams) for _ in range(n)])  # (n, 3, rows, 4)
    assert set(drawn.unique().tolist()) == {1.0, 2.0}
    assert torch.equal(drawn, drawn[..., :1].expand_as(drawn))
    coins = drawn[..., 0] - 1  # (n, 3, rows)
    n_coins = n * rows if per_sample else n
    error = (kept * (1 - kept) / n_coins).sqrt()
    assert ((coins.mean((0, 2)) - kept).abs() <= 5 * error).all()
    together = (coins == coins[..., :1]).all(-1)
    assert together[:, :2].all() == (not per_sample)
    # The two coins of a step are not one: if they were, no branch would be kept by the first alone.
    assert ((coins[:, 0, 0] > 0) & (coins[:, 1, 0] == 0)).any()
    layer.eval()
    torch.testing.assert_close(call(state, h, streams), 1 + kept.view(3, 1, 1).expand(3, rows, 4))


def test_side_by_side_a_skipped_branch_gets_no_gradient():
    layer = Residual(nn.Linear(2, 2, bias=False))
    weight = torch.randn(2, 2, 2, requires_grad=True)
    state = {"survival": torch.tensor([1e-9, 1.0]), "branch.weight": weight}
    h = torch.randn(2, 5, 2, requires_grad=True)
    out = side_by_side(layer)(state, h, Streams([0, 1]))
    out.sum().backward()
    assert torch.equal(out[0], h[0])
    assert not weight.grad[0].any()
    assert torch.equal(h.grad[0], torch.ones(5, 2))
    torch.testing.assert_close(out[1], h[1] + h[1] @ weight[1].T)
    torch.testing.assert_close(weight.grad[1], h[1].detach().sum(0).expand(2, 2))
