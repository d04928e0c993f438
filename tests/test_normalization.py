"""Normalization from scratch against PyTorch's: values, gradients, running statistics, slips."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit import data
from coursekit.engine.networks import initial_net
from coursekit.regularizers import normalization
from coursekit.regularizers.normalization import (
    BatchNorm,
    batch_norm,
    fold,
    freeze,
    group_norm,
    layer_norm,
    recalibrate,
    standardize,
    torch_momentum,
)
from coursekit.train import Recipe, fit, outputs

SHAPES = [(7, 4), (5, 4, 6), (3, 4, 5, 2)]
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}


def drawn(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double() * 3 + 1


def gradients(function, *tensors):
    """Values and gradients of a loss that weighs every output differently."""
    leaves = [t.clone().requires_grad_() for t in tensors]
    out = function(*leaves)
    (out * drawn(out.shape, seed=9)).sum().backward()
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def both_layers(shape, **options):
    pair = [TORCH[len(shape)](4, **options).double(), BatchNorm(4, **options).double()]
    for layer in pair:
        nn.init.uniform_(layer.weight, generator=torch.Generator().manual_seed(3))
        nn.init.uniform_(layer.bias, generator=torch.Generator().manual_seed(4))
    return pair


def small_net(norm=nn.BatchNorm1d, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 4), norm(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))


@pytest.mark.parametrize("momentum", [0.1, 0.6, None])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_equals_pytorch_in_training_and_in_evaluation(shape, momentum):
    theirs, ours = both_layers(shape, momentum=momentum, eps=1e-3)
    for mode in (True, True, False):  # twice, so that momentum counts
        for seed in range(2):
            x = drawn(shape, seed)
            pairs = (gradients(layer.train(mode), x) for layer in (theirs, ours))
            for want, got in zip(*pairs, strict=True):
                torch.testing.assert_close(got, want)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for want, got in zip(theirs.buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(got, want)
    for want, got in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad)


@pytest.mark.parametrize("n_axes", [1, 2])
def test_layer_norm_equals_pytorch(n_axes):
    x, weight, bias = (drawn((3, 4, 5)[k:], k) for k in (0, 3 - n_axes, 3 - n_axes))
    ours = gradients(lambda x, w, b: layer_norm(x, n_axes, w, b), x, weight, bias)
    theirs = gradients(lambda x, w, b: F.layer_norm(x, w.shape, w, b), x, weight, bias)
    for want, got in zip(theirs, ours, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(
    ("shape", "n_groups"), [((7, 4), 1), ((7, 4), 2), ((1, 4, 3), 4), ((3, 4, 5, 2), 2)]
)
def test_group_norm_equals_pytorch(shape, n_groups):
    ours = gradients(lambda *a: group_norm(a[0], n_groups, *a[1:]), drawn(shape), *drawn((2, 4)))
    theirs = gradients(
        lambda *a: F.group_norm(a[0], n_groups, *a[1:]), drawn(shape), *drawn((2, 4))
    )
    for want, got in zip(theirs, ours, strict=True):
        torch.testing.assert_close(got, want)


def test_the_gradient_by_hand_is_right_twice():
    x = drawn((5, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: standardize(x, (0,)), x)
    assert torch.autograd.gradgradcheck(lambda x: standardize(x, (0,)), x)


def test_the_gradient_has_no_part_along_a_shift_or_a_stretch():
    x = drawn((50, 3))
    _, grad = gradients(lambda x: standardize(x, (0,), 0.0), x)
    zero = torch.zeros(3).double()
    torch.testing.assert_close(grad.sum(0), zero)
    torch.testing.assert_close((grad * (x - x.mean(0))).sum(0), zero)


def test_the_output_has_mean_0_and_the_variance_that_eps_leaves():
    x = drawn((40, 3))
    out, v = standardize(x, (0,), 0.5), x.var(0, correction=0)
    torch.testing.assert_close(out.mean(0), torch.zeros(3).double())
    torch.testing.assert_close(out.var(0, correction=0), v / (v + 0.5))


def test_running_statistics_estimate_mean_and_variance_without_bias():
    batches, size = 4000, 4
    layer, x = BatchNorm(1, momentum=None), torch.Generator().manual_seed(0)
    for _ in range(batches):
        layer(torch.randn(size, 1, generator=x) * 2 + 3)
    # Of 4000 independent means (variance 4/4) and unbiased variances (variance 2 * 4² / 3).
    errors = np.sqrt(np.array([4 / size, 2 * 16 / (size - 1)]) / batches)
    found = np.array([layer.running_mean.item(), layer.running_var.item()])
    assert (np.abs(found - [3, 4]) < 4 * errors).all()


def after_one_batch(step):
    """Output and running statistics of a batch norm, as given by `step`."""
    mean, var = torch.zeros(4).double(), torch.ones(4).double()
    return step(drawn((6, 4)), mean, var), mean, var


def keras_momentum(x, mean, var):
    return batch_norm(x, mean, var, training=True, momentum=0.9)


def biased_running_variance(x, mean, var):
    var.mul_(0.9).add_(0.1 * x.var(0, correction=0))
    return batch_norm(x, mean, torch.ones(4).double(), training=True)


def normalizes_by_the_unbiased_variance(x, mean, var):
    return batch_norm(x, mean, var, training=True) * (5 / 6) ** 0.5


def normalizes_over_features(x, mean, var):
    batch_norm(x, mean, var, training=True)
    return layer_norm(x)


def normalizes_by_running_statistics(x, mean, var):
    batch_norm(x, mean, var, training=True)
    return batch_norm(x, mean, var, training=False)


def right(x, mean, var):
    return batch_norm(x, mean, var, training=True)


WRONG = [
    keras_momentum,
    biased_running_variance,
    normalizes_by_the_unbiased_variance,
    normalizes_over_features,
    normalizes_by_running_statistics,
]


@pytest.mark.parametrize("step", [right, *WRONG])
def test_the_comparison_catches_classic_mistakes(step):
    want = after_one_batch(lambda x, mean, var: F.batch_norm(x, mean, var, training=True))
    pairs = zip(after_one_batch(step), want, strict=True)
    assert all(torch.allclose(*pair) for pair in pairs) == (step is right)


def test_a_gradient_that_takes_the_statistics_for_constants_is_caught():
    x = drawn((6, 4))
    _, ours = gradients(lambda x: standardize(x, (0,)), x)
    _, constant = gradients(
        lambda x: (x - x.mean(0).detach()) / (x.var(0, correction=0).detach() + 1e-5).sqrt(), x
    )
    assert not torch.allclose(ours, constant, rtol=0.1)


def test_momenta_of_keras_and_pytorch_are_complements():
    assert torch_momentum(0.99) == pytest.approx(0.01)
    old, new, keras = drawn(4), drawn((6, 4)), 0.8
    running = old.clone()
    batch_norm(new, running, torch.ones(4), training=True, momentum=torch_momentum(keras))
    torch.testing.assert_close(running, old * keras + new.mean(0) * (1 - keras))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear, (6, 3)), (nn.Conv1d, (6, 3, 9)), (nn.Conv2d, (2, 3, 5, 5))]
)
def test_folding_computes_the_same_in_one_layer(layer, shape, bias):
    torch.manual_seed(0)
    size = () if layer is nn.Linear else (3,)
    first, (theirs, ours) = layer(3, 4, *size, bias=bias).double(), both_layers(shape)
    for norm in (theirs, ours):
        for seed in range(3):
            norm.train()(first(drawn(shape, seed)).detach())
        one, x = fold(first, norm.eval()), drawn(shape, 7)
        torch.testing.assert_close(one(x), norm(first(x)))
    assert (first.bias is not None) == bias


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, BatchNorm])
def test_frozen_layers_stay_frozen_in_training_and_in_copies(norm):
    net = freeze(small_net(norm))
    for copy in (net, deepcopy(net)):
        copy.train()
        before = {name: value.clone() for name, value in copy.state_dict().items()}
        optimizer = torch.optim.SGD([p for p in copy.parameters() if p.requires_grad], lr=0.1)
        copy(drawn((8, 6)).float()).square().sum().backward()
        optimizer.step()
        moved = {n for n, v in copy.state_dict().items() if not torch.equal(v, before[n])}
        assert moved == {"0.weight", "0.bias", "4.weight", "4.bias"}
        assert copy[3].training


def test_fixing_parameters_alone_freezes_nothing():
    net = small_net()
    net[1].requires_grad_(False)
    net.train()(drawn((8, 6)).float())
    assert net[1].running_mean.any()


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, BatchNorm])
def test_recalibration_gives_plain_averages_without_dropout(norm):
    net, batches = small_net(norm), [drawn((8, 6), seed).float() for seed in range(3)]
    net = nn.Sequential(nn.Dropout(0.9), net)  # in front of the batch norm, where it would tell
    reference = deepcopy(net[1])
    torch.optim.swa_utils.update_bn(batches, reference) if norm is nn.BatchNorm1d else None
    net(100 * batches[0])  # old statistics, of which nothing may be left
    modes = [layer.training for layer in net.modules()]
    recalibrate(net, batches)
    hidden = torch.stack([net[1][0](x) for x in batches])  # (batches, B, H)
    torch.testing.assert_close(net[1][1].running_mean, hidden.mean((0, 1)))
    torch.testing.assert_close(net[1][1].running_var, hidden.var(1).mean(0))
    if norm is nn.BatchNorm1d:
        torch.testing.assert_close(net[1][1].running_var, reference[1].running_var)
    assert net[1][1].momentum == 0.1
    assert [layer.training for layer in net.modules()] == modes


def test_recalibration_leaves_frozen_layers_alone():
    net = nn.Sequential(freeze(small_net()), nn.BatchNorm1d(2))
    before = deepcopy(net[0][1].num_batches_tracked.add_(5)), net[0][1].running_mean.clone()
    recalibrate(net, [drawn((8, 6)).float()])
    assert before[0] == net[0][1].num_batches_tracked
    torch.testing.assert_close(net[0][1].running_mean, before[1])
    assert net[1].running_mean.any()


def test_networks_side_by_side_train_as_with_pytorchs_layer():
    task = data.load("digits", n_train=40)
    recipe = Recipe(epochs=2, batch_size=20, n_seeds=2, optimizer="sgd", lr=0.1)

    def build(norm):
        return lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), norm(8), nn.Linear(8, 10))

    theirs, ours = (fit(build(norm), task, recipe) for norm in (nn.BatchNorm1d, BatchNorm))
    for name, value in theirs.final.items():
        torch.testing.assert_close(ours.final[name], value, rtol=1e-4, atol=1e-5)
    alone = freeze(initial_net(build(nn.BatchNorm1d), 0))
    frozen = fit(lambda: freeze(build(BatchNorm)()), task, recipe)
    assert torch.equal(frozen.final["2.running_mean"][0], alone[2].running_mean)
    assert outputs(frozen, task.x_test).isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BatchNorm(4)(torch.ones(1, 4)), "more than one value per channel"),
        (lambda: BatchNorm(4)(torch.ones(4)), r"\(B, C, ...\), got shape \(4,\)"),
        (lambda: standardize(torch.ones(2, 4), (0,), -1.0), "eps >= 0, got -1.0"),
        (lambda: torch_momentum(1.5), r"\[0, 1\], got 1.5"),
        (lambda: layer_norm(torch.ones(2, 4), 3), r"n_axes, a whole number in \[1, 2\], got 3"),
        (lambda: group_norm(torch.ones(2, 4), 3), "a multiple of 3 groups"),
        (lambda: fold(nn.ReLU(), BatchNorm(4)), "a convolution, got ReLU"),
        (lambda: fold(nn.Linear(2, 3), BatchNorm(4)), "of 3 channels, got 4"),
        (lambda: recalibrate(nn.Linear(2, 3), [torch.ones(2, 2)]), "got 0 and 1"),
        (lambda: recalibrate(small_net(), []), "got 1 and 0"),
    ],
)
def test_wrong_arguments_get_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_example_will_do_in_evaluation_and_with_several_positions():
    assert BatchNorm(4).eval()(torch.ones(1, 4)).shape == (1, 4)
    assert BatchNorm(4)(torch.randn(1, 4, 5)).isfinite().all()
    assert "momentum=0.1" in str(BatchNorm(4))


def test_all_functions_are_documented():
    public = [v for k, v in vars(normalization).items() if k[0] != "_" and callable(v)]
    assert all(v.__doc__ for v in public if v.__module__ == normalization.__name__)
