"""The networks: sizes by hand, shapes on real tasks, and what their docstrings promise."""

import itertools

import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.regularizers.depth import Residual
from coursekit.regularizers.dropout import Dropout

SIZES = {"digits": (64, 10), "canvas_digits": (144, 10), "mnist1d": (40, 10), "diabetes": (10, 1)}


@pytest.fixture(scope="module")
def tasks():
    return {name: data.load(name, device="cpu") for name in SIZES}


def count(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_shapes_of_mlps(tasks, name):
    n_in, n_out = SIZES[name]
    task, x = tasks[name], tasks[name].x[:5]
    assert count(models.linear(task)()) == n_in * n_out + n_out
    net = models.mlp(task, hidden=(7, 6))()
    assert count(net) == (n_in + 1) * 7 + (7 + 1) * 6 + (6 + 1) * n_out
    # Batch norm: no bias before it, a scale and a shift after it.
    normed = models.mlp(task, hidden=(7, 6), batch_norm=True)()
    assert count(normed) == count(net) + 7 + 6
    for make in (models.linear(task), lambda: net, lambda: normed):
        assert make()(x).shape == (5, n_out)
    assert count(models.mlp(task)()) == (n_in + 1) * 128 + 129 * 128 + 129 * n_out


@pytest.mark.parametrize(("name", "kernel"), [("digits", 9), ("canvas_digits", 9), ("mnist1d", 3)])
def test_sizes_and_shapes_of_cnns(tasks, name, kernel):
    task = tasks[name]
    net = models.cnn(task, channels=(4, 6))()
    assert count(net) == (kernel + 1) * 4 + (4 * kernel + 1) * 6 + 7 * 10
    assert net(task.x[:5]).shape == (5, 10)
    normed = models.cnn(task, channels=(4, 6), batch_norm=True)()
    assert count(normed) == count(net) + 4 + 6
    assert normed(task.x[:5]).shape == (5, 10)


@pytest.mark.parametrize("build", [models.mlp, models.cnn])
def test_no_bias_right_before_batch_norm(tasks, build):
    layers = list(build(tasks["digits"], batch_norm=True)())
    for before, after in itertools.pairwise(layers):
        if isinstance(after, nn.BatchNorm1d | nn.BatchNorm2d):
            assert before.bias is None
    assert sum(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in layers) == 2
    assert layers[-1].bias is not None


def test_a_bias_before_batch_norm_would_change_nothing(tasks):
    net = models.mlp(tasks["digits"], hidden=(5,), batch_norm=True)()
    x = tasks["digits"].x[:20]
    plain = net(x)
    net[1].bias = nn.Parameter(torch.full((5,), 3.0))
    torch.testing.assert_close(net(x), plain, rtol=1e-3, atol=1e-4)


def test_the_linear_model_is_linear_and_the_others_are_not(tasks):
    task = tasks["digits"]
    x, y = task.x[:8], task.x[8:16]
    for build, linear in [(models.linear, True), (models.mlp, False), (models.cnn, False)]:
        net = build(task)().eval()
        straight = torch.allclose(net((x + y) / 2), (net(x) + net(y)) / 2, atol=1e-6)
        assert straight == linear


def test_dropout_after_every_hidden_layer_and_only_if_asked(tasks):
    net = models.mlp(tasks["digits"], hidden=(9, 8), dropout=0.4)()
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    assert [layer.rate for layer in net if isinstance(layer, Dropout)] == [0.4, 0.4]
    assert not any(isinstance(layer, Dropout) for layer in models.mlp(tasks["digits"])())
    kinds = [type(layer).__name__ for layer in models.mlp(tasks["digits"], batch_norm=True)()]
    assert kinds[1:4] == ["Linear", "BatchNorm1d", "ReLU"]


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_a_cnn_drops_numbers_only_right_before_its_last_layer(tasks, name):
    layers = list(models.cnn(tasks[name], channels=(4, 6), dropout=0.4)())
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds[-3:] == ["Flatten", "Dropout", "Linear"]
    assert [layer.rate for layer in layers if isinstance(layer, Dropout)] == [0.4]
    assert not any(isinstance(layer, Dropout) for layer in models.cnn(tasks[name])())
    net, x = models.cnn(tasks[name], channels=(4, 6), dropout=0.4)(), tasks[name].x[:5]
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_shapes_of_resnets(tasks, name):
    n_in, n_out = SIZES[name]
    net = models.resnet(tasks[name], n_blocks=3, width=8)()
    block = 8 + 8 + 8 * 8  # batch norm, then a linear layer without a bias
    assert count(net) == n_in * 8 + 3 * block + 16 + 9 * n_out
    assert net(tasks[name].x[:5]).shape == (5, n_out)
    layers = models.resnet(tasks[name])()
    blocks = [layer for layer in layers if isinstance(layer, Residual)]
    assert [len(blocks), blocks[0].branch[2].in_features] == [24, 64]


def test_a_resnet_computes_what_its_formula_says(tasks):
    net = models.resnet(tasks["digits"], n_blocks=2, width=8, survival=0.4)().eval()
    with torch.no_grad():
        h = net[1](tasks["digits"].x[:6].flatten(1))
        for block, survival in ((net[2], 0.7), (net[3], 0.4)):
            norm, linear = block.branch[0], block.branch[2]
            norm.running_mean.normal_()
            h = h + survival * linear(norm(h).relu())
        torch.testing.assert_close(net(tasks["digits"].x[:6]), net[6](net[4](h).relu()))


@pytest.mark.parametrize("per_sample", [False, True])
def test_survival_in_resnets_follows_the_rule(tasks, per_sample):
    def kept(**settings):
        net = models.resnet(tasks["digits"], n_blocks=4, width=4, **settings)()
        blocks = [layer for layer in net if isinstance(layer, Residual)]
        assert {block.per_sample for block in blocks} == {settings.get("per_sample", False)}
        return [block.survival.item() for block in blocks]

    linear = kept(survival=0.2, per_sample=per_sample)
    assert linear == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert kept(survival=0.2, rule="uniform") == pytest.approx([0.2] * 4)
    assert kept() == [1.0] * 4


@pytest.mark.parametrize("build", [models.linear, models.mlp, models.cnn, models.resnet])
def test_every_call_makes_a_fresh_network(tasks, build):
    make = build(tasks["digits"])
    first, second = make(), make()
    assert first is not second
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    torch.manual_seed(1)
    one = make()
    torch.manual_seed(1)
    again = make()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))


def test_the_cnn_does_not_know_where_a_pattern_was(tasks):
    """Exact for shifts by whole pools, away from the border."""
    task = tasks["digits"]
    net = models.cnn(task)().double().eval()
    canvas = torch.zeros(4, 1, 40, 40, dtype=torch.double)
    canvas[:, :, 12:20, 12:20] = task.x[:4]
    shifted = canvas.roll((4, 8), dims=(2, 3))
    torch.testing.assert_close(net(shifted), net(canvas), rtol=0, atol=1e-12)
    # The known wrong answer: a fully connected network of the same images does know.
    dense = nn.Sequential(nn.Flatten(), nn.Linear(1600, 10).double())
    assert not torch.allclose(dense(shifted), dense(canvas), atol=1e-3)


def test_the_signal_network_does_not_know_either(tasks):
    net = models.cnn(tasks["mnist1d"])().double().eval()
    signal = torch.zeros(1, 1, 64, dtype=torch.double)
    signal[..., 20:28] = torch.linspace(-1, 2, 8, dtype=torch.double)
    torch.testing.assert_close(net(signal.roll(8, dims=2)), net(signal), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: models.mlp(t["digits"], hidden=(5, 0)), r"at least 1, got \(5, 0\)"),
        (lambda t: models.cnn(t["digits"], channels=(0,)), "at least 1"),
        (lambda t: models.mlp(t["digits"], dropout=1.0), r"\[0, 1\), got 1.0"),
        (lambda t: models.mlp(t["digits"], dropout=-0.1), r"\[0, 1\), got -0.1"),
        (lambda t: models.cnn(t["digits"], dropout=1.0), r"\[0, 1\), got 1.0"),
        (lambda t: models.resnet(t["digits"], width=0), r"at least 1, got \(0,\)"),
        (lambda t: models.resnet(t["digits"], n_blocks=0), "n_blocks, a whole number >= 1"),
        (lambda t: models.resnet(t["digits"], survival=0.0), r"last in \(0, 1\]"),
        (lambda t: models.resnet(t["digits"], rule="cubic"), "unknown rule 'cubic'"),
        (lambda t: models.cnn(t["diabetes"]), r"shape \(10,\); use models.mlp"),
        (lambda t: models.cnn(t["digits"], channels=(4,) * 4), "at least 16 positions for 4"),
    ],
)
def test_errors_come_at_once(tasks, call, message):
    with pytest.raises(ValueError, match=message):
        call(tasks)
