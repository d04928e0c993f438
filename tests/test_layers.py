"""S networks side by side against each network alone, computed by PyTorch's own modules."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit.engine import layers
from coursekit.engine.layers import side_by_side
from coursekit.regularizers.depth import Residual
from coursekit.regularizers.dropout import Dropout

S, B = 3, 5
TABLE, SIGNAL, IMAGE = (B, 8), (B, 4, 8), (B, 4, 8, 6)
EXACT = {"rtol": 1e-9, "atol": 1e-11}
close = torch.testing.assert_close


class Doubled(nn.Linear):
    def forward(self, h):
        return 2 * super().forward(h)


class Chain(nn.Sequential):
    """Not in the table, although it computes what its parent does."""


class Attention(nn.Module):
    """Unknown to the table, with parameters of its own and of its children."""

    def __init__(self, width):
        super().__init__()
        self.keys, self.gain = nn.Linear(width, width), nn.Parameter(torch.ones(width))
        self.norm = nn.Sequential(nn.LayerNorm(width), nn.BatchNorm1d(width))

    def forward(self, h):
        return self.norm((self.keys(h) @ h.mT).softmax(-1) @ h * self.gain)


class Centered(nn.Module):
    """Keeps a statistic by writing into its buffer, and only while training."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, h):
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
        return h - self.mean


def hooked(layer, before=None, after=None):
    if before:
        layer.register_forward_pre_hook(lambda _, inputs: (before(inputs[0]),))
    if after:
        layer.register_forward_hook(lambda _, __, out: after(out))
    return layer


def tied(kind):
    net = kind(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3))
    net[2].weight = net[0].weight
    return net


def twice(kind, layer):
    return kind(layer, nn.Tanh(), layer)


def frozen_statistics():
    return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4).eval())


def randomized(make_net):
    """A network whose parameters and running statistics are not those that it starts with."""
    net = make_net().double()  # so that rounding cannot hide a mistake
    ranges = {"running_mean": (-1, 1), "running_var": (0.5, 2), "num_batches_tracked": (3, 9)}
    with torch.no_grad():
        for p in net.parameters():
            p.uniform_(-1, 1)
        for name, b in net.named_buffers():
            low, high = ranges.get(name.rpartition(".")[2], (0, 0))
            if high:
                b.copy_(low + (high - low) * torch.rand(b.shape))
    return net


def assert_same_as_alone(make_net, shape=None, *, training=None, x=None):
    """Outputs, gradients of inputs and parameters, and buffers, in two batches."""
    torch.manual_seed(0)
    nets = [randomized(make_net) for _ in range(S)]
    for net in nets if training is not None else []:
        net.train(training)
    call = side_by_side(deepcopy(nets[0]))
    params = {name: [] for name, _ in nets[0].named_parameters()}
    params = {n: torch.stack([dict(net.named_parameters())[n] for net in nets]) for n in params}
    params = {n: p.detach().requires_grad_() for n, p in params.items()}
    buffers = {name: [] for name, _ in nets[0].named_buffers()}
    buffers = {n: torch.stack([dict(net.named_buffers())[n] for net in nets]) for n in buffers}
    for _ in range(2):
        at_once = (torch.randn(S, *shape).double() if x is None else x.double()).requires_grad_()
        alone = at_once.detach().clone().requires_grad_()
        # Times one: a layer may write into its input.
        out = call(params | buffers, at_once * 1, None)
        expected = torch.stack([net(row * 1) for net, row in zip(nets, alone, strict=True)])
        close(out, expected, **EXACT)
        factors = torch.randn_like(out)
        for tensor in [*params.values(), *(p for net in nets for p in net.parameters())]:
            tensor.grad = torch.zeros_like(tensor)
        (out * factors).sum().backward()
        (expected * factors).sum().backward()
        close(at_once.grad, alone.grad, **EXACT)
        for s, net in enumerate(nets):
            for n, p in net.named_parameters():
                close(params[n].grad[s], p.grad, **EXACT)
            for n, b in net.named_buffers():
                close(buffers[n][s], b, **EXACT)


def case(shape, kind, *args, **kwargs):
    values = [*map(named, args), *(f"{key}={named(value)}" for key, value in kwargs.items())]
    make = lambda: kind(*deepcopy(args), **deepcopy(kwargs))  # noqa: E731
    return pytest.param(make, shape, id=f"{kind.__name__}({','.join(values)})")


def named(value):
    plain = isinstance(value, int | float | str | tuple | None)
    return str(value) if plain else getattr(value, "__name__", type(value).__name__)


KNOWN = [
    *[case(TABLE, kind) for kind in layers.POINTWISE],
    *[case(IMAGE, kind) for kind in layers.POINTWISE],
    case(TABLE, nn.LeakyReLU, 0.3), case(TABLE, nn.ELU, 2.0), case(TABLE, nn.Hardtanh, -0.2, 0.5),
    case(TABLE, nn.GELU, "tanh"), case(TABLE, nn.Softplus, 2, 1), case(IMAGE, nn.ReLU, True),
    case(SIGNAL, nn.AvgPool1d, 2), case(SIGNAL, nn.AvgPool1d, 3, 2, 1, True, False),
    case(IMAGE, nn.AvgPool2d, 2), case(IMAGE, nn.AvgPool2d, (3, 2), (2, 1), 1),
    case(IMAGE, nn.AvgPool2d, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    case(IMAGE, nn.AvgPool2d, 3, divisor_override=4),
    case(SIGNAL, nn.AdaptiveAvgPool1d, 3), case(IMAGE, nn.AdaptiveAvgPool2d, (None, 1)),
    case(SIGNAL, nn.AdaptiveMaxPool1d, 3), case(IMAGE, nn.AdaptiveMaxPool2d, (3, 2)),
    case(TABLE, nn.Flatten), case(IMAGE, nn.Flatten),
    case(TABLE, nn.Linear, 8, 3), case(TABLE, nn.Linear, 8, 16), case((1, 8), nn.Linear, 8, 32),
    case(TABLE, nn.Linear, 8, 3, bias=False), case(TABLE, nn.Linear, 8, 16, bias=False),
    case(SIGNAL, nn.Linear, 8, 3), case(IMAGE, nn.Linear, 6, 16), case(TABLE, nn.Linear, 8, 1),
    case(SIGNAL, nn.Conv1d, 4, 6, 3), case(SIGNAL, nn.Conv1d, 4, 6, 3, padding="same", dilation=2),
    case(SIGNAL, nn.Conv1d, 4, 8, 2, stride=2, groups=4, bias=False),
    case(IMAGE, nn.Conv2d, 4, 5, 3, padding=1), case(IMAGE, nn.Conv2d, 4, 5, 1, bias=False),
    case(IMAGE, nn.Conv2d, 4, 6, (2, 3), (2, 1), (1, 0), (1, 2), groups=2),
    case(IMAGE, nn.Conv2d, 4, 6, (5, 3), padding="same", groups=2),
    case(IMAGE, nn.Conv2d, 4, 6, 3, padding="valid", stride=2),
    case(SIGNAL, nn.MaxPool1d, 2), case((B, 4, 7), nn.MaxPool1d, 2), case(SIGNAL, nn.MaxPool1d, 3),
    case((B, 4, 7), nn.MaxPool1d, 2, ceil_mode=True), case(SIGNAL, nn.MaxPool1d, 2, 1),
    case(SIGNAL, nn.MaxPool1d, 2, padding=1), case(SIGNAL, nn.MaxPool1d, 2, dilation=3),
    case(SIGNAL, nn.MaxPool1d, (2,), (2,)), case(IMAGE, nn.MaxPool2d, 2),
    case(IMAGE, nn.MaxPool2d, (2, 2), 2), case((B, 4, 7, 6), nn.MaxPool2d, 2),
    case((B, 4, 8, 5), nn.MaxPool2d, 2, ceil_mode=True), case(IMAGE, nn.MaxPool2d, (2, 3)),
    case(IMAGE, nn.MaxPool2d, 2, 1), case(IMAGE, nn.MaxPool2d, 2, (2, 1)),
    case(IMAGE, nn.MaxPool2d, 2, padding=1), case(IMAGE, nn.MaxPool2d, 2, padding=(0, 1)),
    case(IMAGE, nn.MaxPool2d, 2, dilation=(2, 1)), case(IMAGE, nn.MaxPool2d, 3, 2, 1),
    case(TABLE, nn.BatchNorm1d, 8), case(SIGNAL, nn.BatchNorm1d, 4), case(IMAGE, nn.BatchNorm2d, 4),
    case(TABLE, nn.BatchNorm1d, 8, affine=False), case(TABLE, nn.BatchNorm1d, 8, 0.1, 0.7),
    case(TABLE, nn.LayerNorm, 8), case(SIGNAL, nn.LayerNorm, 8), case(SIGNAL, nn.LayerNorm, (4, 8)),
    case(IMAGE, nn.LayerNorm, (8, 6), 0.1), case(TABLE, nn.LayerNorm, 8, bias=False),
    case(SIGNAL, nn.LayerNorm, (4, 8), elementwise_affine=False),
    case((B, 3, 16, 6), nn.LayerNorm, (16, 6)),
    case(TABLE, Dropout, 0.0), case(TABLE, nn.Dropout, 0.0), case(IMAGE, nn.Dropout, 0.0),
    case(TABLE, Residual, nn.Linear(8, 8)),
    case(TABLE, Residual, nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8))),
    case(IMAGE, Residual, nn.Conv2d(4, 4, 3, padding=1), per_sample=True),
    case(IMAGE, nn.Sequential, nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(True),
         nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)),
    case(TABLE, nn.Sequential, nn.Linear(8, 4), nn.Sequential(nn.Tanh(), nn.Sequential())),
    case(TABLE, tied, nn.Sequential), case(TABLE, twice, nn.Sequential, nn.Linear(8, 8)),
    case(TABLE, frozen_statistics),
]  # fmt: skip
UNUSUAL = [
    case(IMAGE, nn.Flatten, 2), case(IMAGE, nn.Flatten, 1, 2),
    case(IMAGE, nn.Conv2d, 4, 6, 3, padding=1, padding_mode="circular", groups=2),
    case(SIGNAL, nn.Conv1d, 4, 6, 3, padding=1, padding_mode="reflect"),
    case(TABLE, nn.BatchNorm1d, 8, track_running_stats=False), case(TABLE, nn.Dropout, 1.0),
    case(IMAGE, nn.BatchNorm2d, 4, affine=False, track_running_stats=False),
    case((B, 2, 4, 4, 4), nn.Conv3d, 2, 3, 2), case(IMAGE, nn.ConvTranspose2d, 4, 3, 3, stride=2),
    case(IMAGE, nn.GroupNorm, 2, 4), case(IMAGE, nn.PReLU, 4), case(TABLE, nn.Softmax, -1),
    case(IMAGE, nn.InstanceNorm2d, 4, affine=True, track_running_stats=True),
    case((B, 4, 3, 3, 3), nn.BatchNorm3d, 4), case(IMAGE, nn.Upsample, scale_factor=2),
    case(TABLE, Doubled, 8, 3), case(TABLE, Attention, 8), case(TABLE, Centered, 8),
    case(TABLE, Chain, nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(True)),
    case(TABLE, tied, Chain), case(TABLE, twice, Chain, nn.Linear(8, 8)),
    case(TABLE, hooked, nn.Linear(8, 3), before=torch.tanh),
    case(TABLE, hooked, nn.ReLU(), after=torch.tanh),
    case(TABLE, hooked, nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), after=torch.sin),
]  # fmt: skip


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("make", "shape"), KNOWN + UNUSUAL)
def test_side_by_side_equals_alone(make, shape, training):
    assert_same_as_alone(make, shape, training=training)


def test_a_layer_that_is_left_in_evaluation_mode_stays_there():
    assert_same_as_alone(frozen_statistics, TABLE)


def test_the_cases_cover_every_layer_of_the_table():
    tried = {type(layer) for make, _ in (c.values for c in KNOWN) for layer in make().modules()}
    assert tried == {*layers.TABLE, *layers.POINTWISE}


@pytest.mark.parametrize(("make", "shape"), KNOWN)
def test_layers_of_the_table_are_not_mapped(make, shape, monkeypatch):
    monkeypatch.setattr(layers, "_mapped", lambda *_: pytest.fail("slow"))
    side_by_side(make())


@pytest.mark.parametrize(("make", "shape"), UNUSUAL)
def test_unusual_layers_are_mapped(make, shape, monkeypatch):
    seen = []
    monkeypatch.setattr(layers, "_mapped", lambda layer, *_: seen.append(layer))
    side_by_side(make())
    assert seen


@pytest.mark.parametrize("values", [(0, 1, 2), (1, 1, 1), (float("-inf"), 0, float("inf"))])
@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(2, 1), nn.MaxPool2d(3, 2, 1), nn.MaxPool1d(2)], ids=str
)
def test_among_equals_the_gradient_of_a_max_pool_goes_where_torch_sends_it(pool, values):
    shape = (S, *(SIGNAL if isinstance(pool, nn.MaxPool1d) else IMAGE))
    x = torch.tensor(values)[torch.randint(3, shape, generator=torch.Generator().manual_seed(0))]
    assert_same_as_alone(lambda: deepcopy(pool), x=x.float().nan_to_num(posinf=9, neginf=-9))
    h = x.float()
    close(side_by_side(pool)({}, h, None), torch.stack([pool(row) for row in h]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_number_spoils_what_it_spoils_alone_and_no_other_network(bad):
    def make():
        return nn.Sequential(
            nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(72, 16), nn.LayerNorm(16), nn.Linear(16, 3),
        )  # fmt: skip

    nets = [make().eval() for _ in range(S)]
    state = {n: torch.stack([net.state_dict()[n] for net in nets]) for n in nets[0].state_dict()}
    x = torch.randn(S, *IMAGE)
    x[1, 2, 0, 3, 3] = bad
    out = side_by_side(nets[0])(state, x, None)
    assert out[1, 2].isnan().all()
    assert out.isnan().sum() == 3
    close(out, torch.stack([n(row) for n, row in zip(nets, x, strict=True)]), equal_nan=True)


def test_linear_weights_are_those_of_the_state_and_not_of_the_structure():
    net, weight = nn.Linear(2, 3, bias=False), torch.randn(S, 3, 2)
    x = torch.randn(S, B, 2)
    close(
        side_by_side(net)({"weight": weight}, x, None), torch.stack(list(map(F.linear, x, weight)))
    )


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [
        (nn.Conv1d, (3, 11), {"padding": 1}),
        (nn.Conv1d, (1, 12), {"padding": "valid", "stride": 2, "bias": False}),
        (nn.Conv2d, (2, 9, 8), {"padding": 1, "stride": 2}),
        (nn.Conv2d, (2, 6, 7), {"padding": (1, 0), "stride": (1, 2), "kernel_size": (3, 1)}),
    ],
)
def test_convolutions_by_products_equal_each_alone(kind, shape, settings):
    torch.manual_seed(0)
    own = [kind(shape[0], 4, **{"kernel_size": 3} | settings).double() for _ in range(S)]
    h = torch.randn(S, B, *shape, dtype=torch.float64, requires_grad=True)
    weights = torch.stack([layer.weight for layer in own])
    biases = None if own[0].bias is None else torch.stack([layer.bias for layer in own])
    found = layers.products_of_patches(own[0], h, weights, biases)
    alone = torch.stack([layer(x) for layer, x in zip(own, h, strict=True)])
    close(found, alone, **EXACT)
    wanted = [h, *(p for layer in own for p in layer.parameters())]
    weighted = torch.randn_like(alone)
    for one, other in zip(
        *(torch.autograd.grad((out * weighted).sum(), wanted) for out in (found, alone)),
        strict=True,
    ):
        close(one, other, **EXACT)
