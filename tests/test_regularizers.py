"""Penalties and dropout against PyTorch, against their definitions, and against classic slips."""

import numpy as np
import pytest
import torch
from torch import nn

from coursekit.regularizers.dropout import Dropout, dropout
from coursekit.regularizers.penalties import elastic_net, l1, l2, shrink, weights


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).double()


def params_of(net):
    return dict(net.named_parameters())


def all_weights(net):
    return torch.cat([p.flatten() for p in net.parameters() if p.ndim >= 2])


# Penalties


def test_values_equal_the_norms():
    net = small_net()
    w = all_weights(net)
    params = params_of(net)
    one, two = torch.linalg.vector_norm(w, 1), torch.linalg.vector_norm(w, 2)
    torch.testing.assert_close(l1(params, 0.3), 0.3 * one)
    torch.testing.assert_close(l2(params, 0.3), 0.15 * two**2)
    torch.testing.assert_close(elastic_net(params, 0.3, 0.2), 0.3 * one + 0.1 * two**2)


@pytest.mark.parametrize(
    ("penalty", "gradient"),
    [
        (lambda p: l1(p, 0.3), lambda w: 0.3 * w.sign()),
        (lambda p: l2(p, 0.3), lambda w: 0.3 * w),
        (lambda p: elastic_net(p, 0.3, 0.2), lambda w: 0.3 * w.sign() + 0.2 * w),
    ],
    ids=["l1", "l2", "elastic_net"],
)
def test_gradients_and_biases_are_spared(penalty, gradient):
    net = small_net()
    penalty(params_of(net)).backward()
    for p in net.parameters():
        if p.ndim >= 2:
            torch.testing.assert_close(p.grad, gradient(p.detach()))
        else:
            assert p.grad is None


def one_sgd_step(penalty=None, weight_decay=0.0):
    net, x = small_net(), torch.linspace(-1, 1, 32).double().view(8, 4)
    matrices = [p for p in net.parameters() if p.ndim >= 2]
    vectors = [p for p in net.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    loss = net(x).square().mean()
    if penalty:
        loss = loss + penalty(params_of(net))
    loss.backward()
    optimizer.step()
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def without_the_half(params, strength):
    return strength * sum(p.square().sum() for p in weights(params).values())


def the_norm_itself(params, strength):
    return strength * torch.cat([p.flatten() for p in weights(params).values()]).norm()


def biases_too(params, strength):
    return strength / 2 * sum(p.square().sum() for p in params.values())


def test_l2_is_weight_decay_in_one_step_of_sgd():
    decayed = one_sgd_step(weight_decay=0.4)
    torch.testing.assert_close(one_sgd_step(lambda p: l2(p, 0.4)), decayed)
    for wrong in (without_the_half, the_norm_itself, biases_too):
        step = one_sgd_step(lambda p, wrong=wrong: wrong(p, 0.4))
        assert not torch.allclose(step, decayed, atol=1e-4)


def test_a_strength_of_zero_and_a_tensor_of_strengths():
    params = params_of(small_net())
    assert l1(params, 0.0) == l2(params, 0.0) == 0
    stacked = {name: torch.stack([p, 2 * p]) for name, p in params.items()}
    strengths = torch.tensor([0.1, 0.2])
    for penalty in (l1, l2):
        side_by_side = torch.func.vmap(penalty)(stacked, strengths)
        doubled = {name: 2 * p for name, p in params.items()}
        one_by_one = torch.stack([penalty(params, strengths[0]), penalty(doubled, strengths[1])])
        torch.testing.assert_close(side_by_side, one_by_one)


def test_weights_keeps_matrices_and_kernels():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    assert list(weights(params_of(net))) == ["0.weight", "3.weight"]


def test_shrink_minimizes_its_objective():
    """shrink(v) is the w that minimizes (w - v)**2 / 2 + threshold * |w|: tried on a grid."""
    v = torch.linspace(-2, 2, 41, dtype=torch.double)
    grid = torch.linspace(-3, 3, 6001, dtype=torch.double)
    for threshold in (0.0, 0.3, 1.0, 5.0):
        moved = shrink({"w": v[None]}, threshold)["w"][0]
        objective = (grid - v[:, None]).square() / 2 + threshold * grid.abs()
        torch.testing.assert_close(moved, grid[objective.argmin(1)], rtol=0, atol=1.1e-3)
        reference = nn.functional.softshrink(v, threshold)
        torch.testing.assert_close(moved, reference)


def test_shrink_gives_exact_zeros_and_spares_vectors():
    params = params_of(small_net())
    moved = shrink(params, 0.2)
    assert list(moved) == list(params)
    for name, p in params.items():
        if p.ndim >= 2:
            assert ((moved[name] == 0) == (p.abs() <= 0.2)).all()
            assert (moved[name] == 0).any()
        else:
            assert moved[name] is p


def test_only_the_proximal_step_reaches_zero():
    """Least squares with L1: ISTA against the same penalty by gradient; same minimum."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(60, 8, generator=rng, dtype=torch.double)
    y = x[:, :2] @ torch.tensor([2.0, -1.0], dtype=torch.double) + 0.1 * torch.randn(
        60, generator=rng, dtype=torch.double
    )

    def loss(w):
        return (x @ w[0] - y).square().mean() / 2

    def descend(step, lr, n):
        w = torch.full((1, 8), 0.5, dtype=torch.double)
        for _ in range(n):
            w.requires_grad_()
            w = step(w, lr).detach()
        return w

    def proximal(w, lr):
        (g,) = torch.autograd.grad(loss(w), w)
        return shrink({"w": w - lr * g}, lr * 0.2)["w"]

    def subgradient(w, lr):
        (g,) = torch.autograd.grad(loss(w) + l1({"w": w}, 0.2), w)
        return w - lr * g

    exact, jumping = descend(proximal, 0.2, 600), descend(subgradient, 0.003, 5000)
    assert (exact == 0).sum() == 6
    assert (jumping == 0).sum() == 0
    torch.testing.assert_close(exact, jumping, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: l1(p, -1.0), ">= 0, got -1.0"),
        (lambda p: l2(p, float("nan")), ">= 0, got nan"),
        (lambda p: elastic_net(p, 0.1, -0.1), ">= 0, got -0.1"),
        (lambda p: shrink(p, -0.1), ">= 0, got -0.1"),
        (lambda p: l2({"bias": p["0.bias"]}, 0.1), r"two axes or more.*got \['bias'\]"),
        (lambda p: l1({}, 0.1), "got none"),
    ],
)
def test_penalties_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call(params_of(small_net()))


# Dropout: the properties are functions, so that wrong dropouts can be held against them too.


def keeps_the_mean(drop, rate):
    h = torch.rand(400, 200) + 0.5
    sd = (h.square().mean() * rate / (1 - rate) / h.numel()).sqrt()
    return (drop(h, rate, training=True).mean() - h.mean()).abs() < 5 * sd + 1e-6


def drops_its_share(drop, rate):
    n = 80_000
    share = (drop(torch.ones(400, 200), rate, training=True) == 0).double().mean()
    return abs(share - rate) < 5 * np.sqrt(rate * (1 - rate) / n)


def does_nothing_at_test_time(drop, rate):
    h = torch.rand(20, 30)
    return torch.equal(drop(h, rate, training=False), h)


def tosses_a_coin_per_entry(drop, rate):
    """Rows, columns and calls are uncorrelated: each pair within 5 standard errors of 0."""
    n = 20_000
    a, b = (drop(torch.ones(n, 2), rate, training=True) == 0 for _ in range(2))
    pairs = [(a[:, 0], a[:, 1]), (a[:-1, 0], a[1:, 0]), (a[:, 0], b[:, 0])]
    if any(one.float().std() == 0 or two.float().std() == 0 for one, two in pairs):
        return False
    found = [torch.corrcoef(torch.stack(pair).double())[0, 1].abs() for pair in pairs]
    return max(found) < 5 / np.sqrt(n)


def scales_the_survivors(drop, rate):
    out = drop(torch.ones(50, 40), rate, training=True)
    return torch.allclose(out[out != 0], torch.tensor(1 / (1 - rate)))


PROPERTIES = [
    keeps_the_mean,
    drops_its_share,
    does_nothing_at_test_time,
    tosses_a_coin_per_entry,
    scales_the_survivors,
]


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("holds", PROPERTIES)
def test_dropout_does_what_it_says(holds, rate):
    torch.manual_seed(0)
    assert holds(dropout, rate)

    def as_layer(h, rate, *, training):
        return Dropout(rate).train(training)(h)

    assert holds(as_layer, rate)


def reference(h, rate, *, training):
    return nn.functional.dropout(h, rate, training)


@pytest.mark.parametrize("holds", PROPERTIES)
def test_pytorch_has_the_same_properties(holds):
    torch.manual_seed(1)
    assert holds(reference, 0.3)


def scales_by_the_rate(h, rate, *, training):
    return h * (torch.rand_like(h) >= rate) / rate if training else h


def forgets_to_rescale(h, rate, *, training):
    return h * (torch.rand_like(h) >= rate) if training else h


def one_mask_for_the_batch(h, rate, *, training):
    return h * (torch.rand(h.shape[1:]) >= rate) / (1 - rate) if training else h


def one_coin_per_row(h, rate, *, training):
    return h * (torch.rand(len(h), 1) >= rate) / (1 - rate) if training else h


def always_the_same_mask(h, rate, *, training):
    mask = torch.rand(h.shape, generator=torch.Generator().manual_seed(0)) >= rate
    return h * mask / (1 - rate) if training else h


def keeps_with_the_rate(h, rate, *, training):
    return h * (torch.rand_like(h) < rate) / rate if training else h


def drops_at_test_time(h, rate, *, training):
    return h * (torch.rand_like(h) >= rate) / (1 - rate)


def scales_at_test_time(h, rate, *, training):
    return h * (torch.rand_like(h) >= rate) / (1 - rate) if training else h * (1 - rate)


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        (scales_by_the_rate, keeps_the_mean),
        (forgets_to_rescale, keeps_the_mean),
        (one_mask_for_the_batch, tosses_a_coin_per_entry),
        (one_coin_per_row, tosses_a_coin_per_entry),
        (always_the_same_mask, tosses_a_coin_per_entry),
        (keeps_with_the_rate, drops_its_share),
        (drops_at_test_time, does_nothing_at_test_time),
        (scales_at_test_time, does_nothing_at_test_time),
        (scales_by_the_rate, scales_the_survivors),
    ],
)
def test_the_properties_catch_classic_mistakes(wrong, caught_by):
    torch.manual_seed(2)
    assert not caught_by(wrong, 0.3)


def test_at_test_time_the_input_itself_comes_back():
    h = torch.rand(3, 4)
    assert dropout(h, 0.5, training=False) is h
    assert dropout(h, 0.0, training=True) is h
    assert Dropout(0.5).eval()(h) is h


def test_two_calls_differ_and_a_seed_repeats_them():
    h = torch.ones(10, 10)
    torch.manual_seed(3)
    first, second = (dropout(h, 0.5, training=True) for _ in range(2))
    torch.manual_seed(3)
    assert not torch.equal(first, second)
    assert torch.equal(dropout(h, 0.5, training=True), first)


def test_the_gradient_passes_where_the_signal_passed():
    h = torch.ones(50, 40, requires_grad=True)
    out = dropout(h, 0.3, training=True)
    out.sum().backward()
    torch.testing.assert_close(h.grad, out.detach())
    assert ((h.grad == 0) == (out == 0)).all()


def test_networks_side_by_side_toss_their_own_coins():
    drop = torch.func.vmap(lambda h: dropout(h, 0.5, training=True), randomness="different")
    out = drop(torch.ones(2, 30, 30))
    assert not torch.equal(out[0], out[1])


@pytest.mark.parametrize("rate", [1.0, -0.1, 1.5, float("nan")])
def test_dropout_refuses_other_rates(rate):
    with pytest.raises(ValueError, match=r"dropout rate in \[0, 1\), got"):
        dropout(torch.ones(2), rate, training=False)
    with pytest.raises(ValueError, match=r"dropout rate in \[0, 1\), got"):
        Dropout(rate)


def test_the_layer_prints_its_rate():
    assert str(Dropout(0.25)) == "Dropout(rate=0.25)"
