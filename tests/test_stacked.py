"""One memory for S networks: what is shared, what is a copy, and what is refused."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from coursekit.engine import stack as engine_stack
from coursekit.engine.networks import initial_net, private_rng, structure
from coursekit.engine.random import Streams
from coursekit.engine.side_by_side import optimizer_of
from coursekit.engine.stack import Snapshot, Stack, _together, forward
from coursekit.recipe import Recipe
from coursekit.regularizers.depth import Residual
from coursekit.regularizers.dropout import Dropout

CPU = torch.device("cpu")
close = torch.testing.assert_close


class Unused(nn.Module):
    """Parameters of every kind, some of which do not matter for the output."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(6, 16), nn.Linear(5, 32)
        self.shift = nn.Parameter(torch.randn(16))
        self.spare = nn.Parameter(torch.randn(3))

    def forward(self, h):
        return self.used(h) + self.shift


# No bias before batch norm: its gradient is rounding alone, which Adam would enlarge to full steps.
def convolutional():
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3, padding=1, bias=False), nn.BatchNorm1d(4),
        nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3),
    )  # fmt: skip


def plain():
    hidden = [nn.Linear(6, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(16, 10), nn.Linear(10, 3))


def tied():
    net = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.LayerNorm(6))
    net[2].weight = net[0].weight
    return net


def large():  # two matrices have rows of their own; the last is large, but no whole cache lines
    hidden = [nn.Linear(6, 352), nn.ReLU(), nn.Linear(352, 64), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(64, 33), nn.Linear(33, 3))


def nets_of(make, n=3):
    return [initial_net(make, seed) for seed in range(n)]


MAKERS = [
    plain, convolutional, tied, large, Unused, lambda: nn.BatchNorm1d(6), lambda: nn.Linear(6, 32),
]  # fmt: skip


def by_name(stack, which):
    """The stack's own rows (or their gradients), cut into (S, ...) tensors by hand."""
    found = {}
    for kind, places in stack.layout.items():
        for name, start, stop, shape, turned in places:
            flat = getattr(stack.rows[kind], which)[:, start:stop]
            turn = tuple(reversed(shape)) if turned else tuple(shape)
            cut = flat.reshape(len(flat), *turn)
            found[name] = cut.mT if turned else cut
    return found


@pytest.mark.parametrize("make", MAKERS)
def test_a_stack_holds_the_networks(make):
    nets = nets_of(make)
    stack = Stack(nets, CPU)
    named = dict(nets[0].named_parameters())
    assert set(stack.params) == set(named)
    for name, p in by_name(stack, "data").items():
        close(p, torch.stack([dict(net.named_parameters())[name] for net in nets]))
        assert torch.equal(stack.params[name], p)
        assert stack.params[name].requires_grad
        [kind] = [k for k, places in stack.layout.items() if name in [q.name for q in places]]
        own = named[name].numel() >= 2048 and named[name].numel() % 16 == 0
        packed = "matrices" if named[name].ndim > 1 else "vectors"
        assert kind == (f"matrix {name}" if own and packed == "matrices" else packed)
    buffers = dict(nets[0].named_buffers())
    assert set(stack.state) == set(named) | set(buffers)
    assert not any(t.requires_grad for t in stack.state.values())
    # Whole cache lines, filled up with zeros that nothing else uses.
    assert all(rows.shape[1] % 16 == 0 for rows in stack.rows.values())


def test_rows_parameters_and_state_are_one_memory_and_the_passed_networks_another():
    nets = nets_of(plain)
    stack, weights = Stack(nets, CPU), [p.clone() for net in nets for p in net.parameters()]
    with torch.no_grad():
        for rows in stack.rows.values():
            rows.copy_(torch.randn_like(rows))
    for name, p in by_name(stack, "data").items():
        assert torch.equal(stack.params[name], p)
        assert torch.equal(stack.state[name], p)
    stack.state["3.weight"].zero_()
    assert not stack.params["3.weight"].any()
    assert not by_name(stack, "data")["3.weight"].any()
    before = stack.buffers["1.running_mean"].clone()
    stack(torch.randn(3, 5, 6))
    assert not torch.equal(stack.state["1.running_mean"], before)
    assert all(map(torch.equal, weights, (p for net in nets for p in net.parameters())))


@pytest.mark.parametrize("make", MAKERS)
def test_backward_writes_the_gradient_of_each_loss_for_its_own_network(make):
    nets, x = nets_of(make), torch.randn(3, 5, 6)
    stack = Stack(nets_of(make), CPU)
    for round_ in range(2):  # the second one must not add to the first
        stack.backward((stack(x) + round_).square().flatten(1).mean(1))
        for s, net in enumerate(nets):
            net.zero_grad()
            (net(x[s]) + round_).square().mean().backward()
            for name, p in net.named_parameters():
                expected = torch.zeros_like(p) if p.grad is None else p.grad
                close(by_name(stack, "grad")[name][s], expected, rtol=1e-4, atol=1e-5)
    for kind, places in stack.layout.items():
        assert not stack.rows[kind].grad[:, places[-1].stop :].any()


def test_a_gradient_through_another_network_would_show():
    stack, x = Stack(nets_of(plain), CPU), torch.randn(3, 5, 6)
    stack.backward(stack(x).square().mean((1, 2)) * torch.tensor([1.0, 0.0, 0.0]))
    for name, g in by_name(stack, "grad").items():
        assert not g[1:].any(), name


class Product(torch.autograd.Function):
    """The sum of a product, which gives its first factor the second one itself as a gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a, b):
        return (a * b).sum((0, 1))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[1], None


class Pair(nn.Module):
    """Autograd gives both matrices one tensor as their gradient, of one number if "flat".

    If "lent", it gives one the memory of a buffer, and the other that of the first.
    """

    def __init__(self, kind="flat"):
        super().__init__()
        self.kind = kind
        self.a, self.b = (nn.Parameter(torch.randn(40, 64) / 99) for _ in range(2))
        self.register_buffer("fixed", torch.randn(40, 64))

    def forward(self, h):
        total = self.a + self.b
        if self.kind == "lent":
            return (Product.apply(self.a, self.fixed) + Product.apply(self.b, self.a)) * h[:, :1]
        return (total.sin() if self.kind == "bent" else total).sum((0, 1)) * h[:, :1]


@pytest.mark.parametrize("kind", ["flat", "bent", "lent"])
@pytest.mark.parametrize("nesterov", [False, True])  # which writes into the gradients
def test_parameters_that_share_a_gradient_move_as_alone(kind, nesterov):
    def make(groups):
        return torch.optim.SGD(groups, 0.1, momentum=0.9, nesterov=nesterov, foreach=True)

    stack = Stack(nets_of(partial(Pair, kind)), CPU)
    x, fixed = torch.ones(1, 5, 6).expand(3, -1, -1), stack.buffers["fixed"].clone()
    optimizer = optimizer_of(stack, [Recipe(optimizer=make, lr=0.1)] * 3)
    alone = nets_of(partial(Pair, kind))
    for step in range(2):
        stack.backward(stack(x).mean((1, 2)) * (step + 1))
        a, b = (rows.grad for rows in stack.rows.values())
        assert a.is_contiguous()
        assert b.is_contiguous()
        assert a.data_ptr() != b.data_ptr()
        assert not any(g.requires_grad for g in (a, b))
        optimizer.step()
    assert torch.equal(stack.buffers["fixed"], fixed)
    for s, net in enumerate(alone):
        optimizer = make(net.parameters())
        for step in range(2):
            optimizer.zero_grad()
            (net(x[s]).mean() * (step + 1)).backward()
            optimizer.step()
        for name, p in net.named_parameters():
            close(stack.state[name][s], p.detach())


RECIPES = {
    "sgd": Recipe(optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": Recipe(optimizer="adam", lr=0.01, weight_decay=0.1),
    "adamw": Recipe(optimizer="adamw", lr=0.01, weight_decay=0.5, decay_biases=True),
}


def batches(steps=4):
    draws = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 6, generator=draws), torch.randn(8, 1, generator=draws))] * steps


def trained(stack, recipes):
    optimizer = optimizer_of(stack, recipes)
    for x, y in batches():
        x = x.expand(len(recipes), -1, -1)
        stack.backward((stack(x) * y).sin().mean((1, 2)))
        optimizer.step()
    return stack.state


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("make", [plain, convolutional, tied, large])
def test_optimizers_move_what_state_shows_and_each_network_by_its_own_recipe(make, recipe):
    slow = replace(recipe, lr=recipe.lr / 10, weight_decay=0.0)
    recipes = [recipe, recipe, slow]
    stack = Stack(nets_of(make), CPU)
    shown = stack.state
    before = {name: t.clone() for name, t in shown.items()}
    trained(stack, recipes)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    for s, (net, own) in enumerate(zip(nets_of(make), recipes, strict=True)):
        groups = [
            {"params": [p for p in net.parameters() if p.ndim > 1]},
            {"params": [p for p in net.parameters() if p.ndim < 2]},
        ]
        groups[1]["weight_decay"] = own.weight_decay if own.decay_biases else 0.0
        momentum = {"momentum": own.momentum} if own.momentum else {}
        numbers = {"lr": own.lr, "weight_decay": own.weight_decay} | momentum
        optimizer = kinds[own.optimizer](groups, **numbers)
        for x, y in batches():
            optimizer.zero_grad()
            (net(x) * y).sin().mean().backward()
            optimizer.step()
        for name, t in net.state_dict(keep_vars=True).items():
            if name in shown:
                close(shown[name][s], t.detach(), rtol=1e-3, atol=1e-4)
    assert all(not torch.equal(before[n], shown[n]) for n in stack.params)


def test_a_snapshot_is_a_copy_and_keeps_marked_networks_only():
    stack = Stack(nets_of(plain), CPU)
    snapshot, old = Snapshot(stack), {n: t.clone() for n, t in stack.state.items()}
    trained(stack, [RECIPES["adam"]] * 3)
    assert all(torch.equal(snapshot.state[n], t) for n, t in old.items())
    for source in (stack, Snapshot(stack)):
        snapshot.keep(source, np.array([False, True, False]))
        for n, t in snapshot.state.items():
            assert torch.equal(t[[0, 2]], old[n][[0, 2]])
            assert torch.equal(t[1], stack.state[n][1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.Linear(3, 2), nn.Linear(3, 4)),
        (nn.Linear(3, 2), nn.Linear(3, 2, bias=False)),
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Sequential(nn.Linear(3, 2), nn.Tanh())),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=0.5)),
        (nn.MaxPool1d(2), nn.MaxPool1d(2, ceil_mode=True)),
        (nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")),
        (nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3), nn.Identity())),
        (nn.Linear(3, 2), nn.Linear(3, 2).double()),
        (Dropout(0.5), nn.Dropout(0.5)),
    ],
)
def test_networks_of_two_structures_are_refused(one, other):
    assert structure(one) != structure(other)
    with pytest.raises(ValueError, match="the same structure every time"):
        Stack([nn.Sequential(nn.Linear(1, 1), net) for net in (one, other)], CPU)


def test_networks_may_differ_in_settings_that_are_buffers():
    nets = [
        nn.Sequential(nn.Linear(6, 4), Dropout(rate), Residual(nn.Linear(4, 4), 1 - rate)).eval()
        for rate in (0.2, 0.7)
    ]
    assert structure(nets[0]) == structure(nets[1])
    stack, x = Stack(nets, CPU), torch.randn(2, 5, 6)
    close(stack.buffers["1.rate"], torch.tensor([0.2, 0.7]))
    close(stack(x), torch.stack([net(row) for net, row in zip(nets, x, strict=True)]))
    stack.net.train()
    stack.state["0.weight"].zero_()
    stack.state["0.bias"].fill_(1.0)
    for name in ("2.branch.weight", "2.branch.bias"):
        stack.state[name].zero_()
    kept = stack(torch.randn(2, 2000, 6), Streams([0, 1])) != 0
    close(kept.float().mean((1, 2)), torch.tensor([0.8, 0.3]), rtol=0, atol=0.03)  # 5 errors


def test_parameters_of_another_type_are_refused():
    with pytest.raises(ValueError, match=r"float32 parameters, got torch.float64; try .float\(\)"):
        Stack([nn.Linear(2, 2).double()], CPU)


@pytest.mark.parametrize("limit", [1, 4, 7, 10, 25, 1024])
def test_evaluation_in_blocks_equals_evaluation_at_once(limit, monkeypatch):
    stack, x = Stack(nets_of(plain, 4), CPU), torch.randn(4, 10, 6)
    nets = nets_of(plain, 4)
    stack(x), [net(row) for net, row in zip(nets, x, strict=True)]  # fills the running statistics
    buffers = {name: b.clone() for name, b in stack.buffers.items()}
    inputs = lambda nets, rows: x[nets, rows]  # noqa: E731
    monkeypatch.setattr(engine_stack, "EVAL_ROWS", limit)
    stack.net.train()
    out = forward(stack.net, stack.params | stack.buffers, inputs, 10)
    close(out, torch.stack([net.eval()(row) for net, row in zip(nets, x, strict=True)]))
    assert not out.requires_grad
    assert stack.net.training
    assert all(torch.equal(buffers[name], b) for name, b in stack.buffers.items())
    stack.net.eval()
    forward(stack.net, stack.state, inputs, 10)
    assert not stack.net.training


def test_private_randomness_leaves_the_callers_alone():
    torch.manual_seed(1)
    expected = torch.rand(6)
    torch.manual_seed(1)
    first = torch.rand(3)
    with private_rng(5):
        inside = torch.rand(4)
    with private_rng(6), private_rng(5):
        assert torch.equal(torch.rand(4), inside)
    with pytest.raises(KeyError), private_rng(5):
        {}[torch.rand(1)]
    assert torch.equal(torch.cat([first, torch.rand(3)]), expected)


@pytest.mark.parametrize(
    ("n", "most", "sizes"), [(5, 2, [2, 3]), (6, 2, [2, 2, 2]), (3, 1, [1, 1, 1]), (1, 4, [1])]
)
def test_no_network_is_evaluated_alone_where_others_are_together(n, most, sizes):
    pieces = _together(n, most)
    assert [piece.stop - piece.start for piece in pieces] == sizes
    assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
    assert pieces[-1].stop == n
