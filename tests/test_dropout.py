"""Classic dropout, its conversion, Monte-Carlo prediction, and the ensemble, against references."""

from functools import partial

import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.regularizers.dropout import (
    ClassicDropout,
    Dropout,
    SpatialDropout,
    classic_dropout,
    convert_classic_weights,
    dropout,
    dropout_layers,
    is_dropout_active,
    mc_predict,
    only_dropout,
)
from coursekit.regularizers.ensemble import enumerate_masks
from coursekit.sweep import sweep
from coursekit.train import Recipe, fit


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def layer_and_inputs(n_inputs=6, n_classes=3, n=5):
    g = draws()
    shapes = ((n_classes, n_inputs), (n_classes,), (n, n_inputs))
    return [torch.randn(shape, generator=g, dtype=torch.double) for shape in shapes]


def net_with(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), *layers, nn.Linear(8, 3))


# Classic dropout


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_classic_and_inverted_dropout_differ_by_the_chance_to_keep(rate):
    h = torch.randn(40, 30, requires_grad=True)
    classic = classic_dropout(h, rate, training=True, generator=draws())
    inverted = dropout(h, rate, training=True, generator=draws())
    torch.testing.assert_close(classic, (1 - rate) * inverted)
    assert torch.equal(classic[classic != 0], h[classic != 0])
    (gradient,) = torch.autograd.grad(classic.sum(), h)
    assert torch.equal(gradient, (classic != 0).float())
    at_test = classic_dropout(h, rate, training=False)
    torch.testing.assert_close(at_test, (1 - rate) * nn.functional.dropout(h, rate, False))


def multiplies_by_the_rate(h, rate, *, training, generator=None):
    if training:
        return classic_dropout(h, rate, training=True, generator=generator)
    return h * rate


def does_nothing_at_test_time(h, rate, *, training, generator=None):
    return classic_dropout(h, rate, training=True, generator=generator) if training else h


def test_error(drop, rate):
    """Distance of the output at test time from the mean in training, in standard errors."""
    n = 40_000
    at_train = drop(torch.ones(n), rate, training=True, generator=draws()).double().mean()
    at_test = drop(torch.ones(1), rate, training=False).double()
    return ((at_train - at_test).abs() / (rate * (1 - rate) / n) ** 0.5).item()


test_error.__test__ = False  # a measurement that happens to be called so


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_at_test_time_classic_dropout_gives_the_mean_of_training(rate):
    assert test_error(classic_dropout, rate) < 5
    assert test_error(does_nothing_at_test_time, rate) > 50


def test_multiplying_by_the_rate_is_found_everywhere_but_at_one_half():
    assert test_error(multiplies_by_the_rate, 0.2) > 50
    assert test_error(multiplies_by_the_rate, 0.8) > 50
    assert test_error(multiplies_by_the_rate, 0.5) < 5


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_converted_weights_serve_the_whole_network_and_inverted_dropout(rate):
    weight, bias, x = layer_and_inputs()
    converted = convert_classic_weights(weight, rate)
    classic = nn.Sequential(ClassicDropout(rate), nn.Linear(6, 3)).double().eval()
    with torch.no_grad():
        classic[1].weight.copy_(weight)
        classic[1].bias.copy_(bias)
    torch.testing.assert_close(nn.functional.linear(x, converted, bias), classic(x).detach())
    masked = classic_dropout(x, rate, training=True, generator=draws()) @ weight.T
    scaled = dropout(x, rate, training=True, generator=draws()) @ converted.T
    torch.testing.assert_close(masked, scaled)


@pytest.mark.parametrize("call", [classic_dropout, convert_classic_weights])
@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan")])
def test_other_rates_are_refused(call, rate):
    how = {"training": False} if call is classic_dropout else {}
    with pytest.raises(ValueError, match=r"dropout rate in \[0, 1\), got"):
        call(torch.ones(2, 2), rate, **how)
    with pytest.raises(ValueError, match=r"dropout rate in \[0, 1\), got"):
        ClassicDropout(rate)


# Spatial dropout


@pytest.mark.parametrize("layer", [SpatialDropout(0.3), nn.Dropout2d(0.3)], ids=["ours", "torch"])
def test_spatial_dropout_silences_whole_channels_of_single_examples(layer):
    torch.manual_seed(0)
    out = layer(torch.ones(200, 50, 3, 4))
    assert torch.equal(out, out[..., :1, :1].expand_as(out))
    dropped = (out[..., 0, 0] == 0).double()
    assert abs(dropped.mean() - 0.3) < 5 * (0.21 / 10_000) ** 0.5
    assert dropped.std(0).min() > 0  # an example differs from another
    assert dropped.std(1).min() > 0  # a channel differs from another
    torch.testing.assert_close(out.max(), torch.tensor(1 / 0.7))
    h = torch.rand(2, 3, 4, 4)
    assert torch.equal(layer.eval()(h), h)


def test_one_image_is_not_taken_for_a_batch_of_signals():
    for h in (torch.ones(3, 8, 8), torch.ones(3, 8)):
        for layer in (SpatialDropout(0.5), SpatialDropout(0.5).eval()):
            with pytest.raises(ValueError, match=r"2 axes behind .*try h\[None\].*n_axes=1"):
                layer(h)
    signals = SpatialDropout(0.5, n_axes=1)(torch.ones(200, 4, 5))
    assert torch.equal(signals, signals[..., :1].expand_as(signals))
    with pytest.raises(ValueError, match="1 axes behind the channels"):
        SpatialDropout(0.5, n_axes=1)(torch.ones(2, 3, 4, 4))


# Flags


@pytest.mark.parametrize("kind", [Dropout, ClassicDropout, nn.Dropout, nn.Dropout2d])
def test_only_the_training_flag_of_dropout_layers_decides(kind):
    net = net_with(kind(0.5))
    assert is_dropout_active(net)
    net.requires_grad_(False)
    with torch.no_grad():
        assert is_dropout_active(net)
    net.eval()
    assert not is_dropout_active(net)
    net.train()
    net[3].eval()
    assert not is_dropout_active(net)
    assert not is_dropout_active(net_with(kind(0.0)))
    assert not is_dropout_active(net_with())


def test_only_dropout_is_switched_on_and_all_flags_come_back():
    net = net_with(Dropout(0.5), nn.Dropout(0.1))
    net[1].eval()
    before = [module.training for module in net.modules()]
    with only_dropout(net):
        assert {m for m in net.modules() if m.training} == set(dropout_layers(net))
    assert [module.training for module in net.modules()] == before
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        mc_predict(net, torch.ones(2, 5))
    assert [module.training for module in net.modules()] == before
    with pytest.raises(ValueError, match=r"with a dropout layer, got Sequential without one"):
        mc_predict(net_with(), torch.ones(2, 6))


# Monte-Carlo prediction


def averages_logits(model, x, n_samples):
    with only_dropout(model), torch.no_grad():
        return torch.stack([model(x) for _ in range(n_samples)]).mean(0).softmax(1)


def one_layer(rate, kind=Dropout):
    weight, bias, x = layer_and_inputs()
    weight = 3 * weight  # so that sub-networks disagree
    net = nn.Sequential(kind(rate), nn.Linear(6, 3)).double()
    with torch.no_grad():
        net[1].weight.copy_(weight)
        net[1].bias.copy_(bias)
    return net, x, enumerate_masks(weight, bias, x, rate)


def standard_errors(predicted, every, n_samples):
    mean = every.arithmetic_mean()
    square = torch.einsum("m,mnc->nc", every.chance, every.log_p.exp().square())
    return (predicted - mean).abs() / ((square - mean.square()) / n_samples).sqrt()


@pytest.mark.parametrize("kind", [Dropout, nn.Dropout])
def test_monte_carlo_agrees_with_the_exact_ensemble(kind):
    torch.manual_seed(0)
    net, x, every = one_layer(0.3, kind)
    p = mc_predict(net, x, 4000)
    torch.testing.assert_close(p.sum(1), torch.ones(5, dtype=torch.double))
    assert standard_errors(p, every, 4000).max() < 5
    assert standard_errors(averages_logits(net, x, 4000), every, 4000).max() > 10


def test_monte_carlo_leaves_batch_norm_alone_and_draws_anew():
    net, x = net_with(Dropout(0.5)), torch.randn(20, 6)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    one, two = mc_predict(net, x, 2), mc_predict(net, x, 2)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
    assert not one.requires_grad
    assert not torch.equal(one, two)
    # A row's prediction does not depend on the other rows: batch norm did not see the batch.
    net[3].rate.fill_(1e-9)
    torch.testing.assert_close(mc_predict(net, x, 1)[:1], mc_predict(net, x[:1], 1))


def test_monte_carlo_refuses_what_it_cannot_average():
    net = nn.Sequential(Dropout(0.5), nn.Linear(6, 1))
    with pytest.raises(ValueError, match=r"at least two classes, got \(2, 1\)"):
        mc_predict(net, torch.ones(2, 6))
    with pytest.raises(ValueError, match="n_samples, a whole number >= 1, got 0"):
        mc_predict(net, torch.ones(2, 6), 0)
    assert net.training


# The ensemble of one layer


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.8])
def test_the_whole_softmax_layer_is_the_geometric_mean_of_its_sub_networks(rate):
    weight, bias, x = layer_and_inputs()
    every = enumerate_masks(weight, bias, x, rate)
    whole = nn.functional.linear(x, weight, bias).softmax(1)
    torch.testing.assert_close(every.chance.sum(), torch.tensor(1.0, dtype=torch.double))
    torch.testing.assert_close(every.geometric_mean(), whole, rtol=0, atol=1e-12)
    apart = (every.arithmetic_mean() - whole).abs().max()
    assert apart < 1e-12 if rate == 0 else apart > 0.01
    # Known wrong: the whole network multiplied by the chance to drop.
    wrong = nn.functional.linear(x, rate * weight, bias).softmax(1)
    assert (every.geometric_mean() - wrong).abs().max() > 0.01


def test_each_sub_network_is_the_layer_behind_its_mask():
    weight, bias, x = layer_and_inputs(n_inputs=4)
    every = enumerate_masks(weight, bias, x, 0.2)
    assert len(every.masks.unique(dim=0)) == 16
    for mask, chance, log_p in zip(*every, strict=True):
        kept = int(mask.sum())
        assert chance.item() == pytest.approx(0.8**kept * 0.2 ** (4 - kept))
        logits = nn.functional.linear(x * mask / 0.8, weight, bias)
        torch.testing.assert_close(log_p, logits.log_softmax(1))


def test_a_logistic_layer_has_two_classes():
    weight, bias, x = layer_and_inputs(n_classes=1)
    whole = nn.functional.linear(x, weight, bias).sigmoid()
    both = enumerate_masks(weight, bias, x, 0.3).geometric_mean()
    torch.testing.assert_close(both, torch.cat([1 - whole, whole], 1))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 6), (3,), (5, 4)), r"x \(N, D\), got \(3, 6\), \(3,\) and \(5, 4\)"),
        (((3, 6), (2,), (5, 6)), r"got \(3, 6\), \(2,\) and"),
        (((3, 17), (3,), (5, 17)), r"at most 16 inputs, got 17, which have 2\^17"),
    ],
)
def test_the_ensemble_refuses(shapes, message):
    with pytest.raises(ValueError, match=message):
        enumerate_masks(*(torch.ones(shape) for shape in shapes), 0.5)


# Side by side


def with_layer(kind):
    def build(task, rate):
        rest = models.mlp(task, hidden=(16,))
        return lambda: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 16)), kind(rate), rest())

    return build


@pytest.mark.parametrize("kind", [ClassicDropout, partial(SpatialDropout, n_axes=1)])
def test_networks_train_side_by_side_as_alone_at_rates_of_their_own(kind):
    task = data.load("digits", device="cpu")
    recipe = Recipe(epochs=2, batch_size=100, n_seeds=3)
    study = sweep(with_layer(kind), task, recipe, {"rate": [0.0, 0.5]})
    for rate in (0.0, 0.5):
        alone = fit(with_layer(kind)(task, rate), task, Recipe(2, 100, n_seeds=2, first_seed=1))
        together = study.at(rate=rate).final
        for name, value in alone.final.items():
            torch.testing.assert_close(together[name][1:], value, rtol=0, atol=1e-5)
    assert abs(study.runs[0].train_loss - study.runs[1].train_loss).min() > 1e-3
