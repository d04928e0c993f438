"""Weight decay by hand against torch.optim, against its laws, and against classic slips."""

import math

import pytest
import torch
from torch import nn
from torch.func import vmap

from coursekit.linear import strengths
from coursekit.regularizers import decay
from coursekit.regularizers.decay import adam_step, no_moments, one_standard_error, sgd_step
from coursekit.regularizers.penalties import l2

STEPS, LR = 30, 0.05


def start(dtype=torch.float64):
    return torch.linspace(-2, 2, 12, dtype=dtype).reshape(3, 4)


def slope(w, t):
    """Of a loss that is not quadratic, and another one at every step, with sizes far apart."""
    scale = 10.0 ** torch.arange(-10, 2, dtype=torch.float64).reshape(3, 4).div(2)
    return (torch.sin(w) + math.cos(t)) * scale.to(w)


def by_torch(make, dtype):
    w = nn.Parameter(start(dtype))
    optimizer = make([w])
    for t in range(STEPS):
        w.grad = slope(w.detach(), t)
        optimizer.step()
    return w.detach()


def by_sgd(dtype=torch.float64, gradient=slope, **settings):
    w, velocity = start(dtype), None
    for t in range(STEPS):
        w, velocity = sgd_step(w, gradient(w, t), velocity, lr=LR, **settings)
    return w


def by_adam(dtype=torch.float64, gradient=slope, step=adam_step, **settings):
    w = start(dtype)
    moments = no_moments(w)
    for t in range(STEPS):
        w, moments = step(w, gradient(w, t), moments, lr=LR, **settings)
    return w


OPTIM = torch.optim
PAIRS = {
    "plain SGD": (OPTIM.SGD, {"momentum": 0.0}, by_sgd, {"momentum": 0.0}),
    "SGD with momentum": (OPTIM.SGD, {"momentum": 0.9}, by_sgd, {"momentum": 0.9}),
    "Adam": (OPTIM.Adam, {}, by_adam, {"decoupled": False}),
    "Adam, own betas": (
        OPTIM.Adam,
        {"betas": (0.5, 0.9), "eps": 1e-3},
        by_adam,
        {"decoupled": False, "betas": (0.5, 0.9), "eps": 1e-3},
    ),
    "AdamW": (OPTIM.AdamW, {}, by_adam, {"decoupled": True}),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("name", PAIRS)
def test_every_step_equals_that_of_torch(name, dtype, tolerance, weight_decay):
    optimizer, theirs, ours, settings = PAIRS[name]
    expected = by_torch(lambda w: optimizer(w, LR, weight_decay=weight_decay, **theirs), dtype)
    found = ours(dtype, weight_decay=weight_decay, **settings)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("run", [by_sgd, by_adam])
def test_decay_in_the_gradient_is_the_slope_of_the_l2_penalty(run):
    def penalized(w, t):
        w = w.clone().requires_grad_()
        l2({"w": w}, 0.3).backward()
        return slope(w.detach(), t) + w.grad

    settings = {"momentum": 0.9} if run is by_sgd else {"decoupled": False}
    with_penalty = run(gradient=penalized, **settings)
    torch.testing.assert_close(run(weight_decay=0.3, **settings), with_penalty)
    settings["decoupled"] = True
    assert not torch.allclose(run(weight_decay=0.3, **settings), with_penalty, rtol=1e-3)


def scales_the_decay_down(w, gradient, moments, *, lr, weight_decay, decoupled):
    moved, moments = adam_step(w, gradient, moments, lr=lr, decoupled=True)
    return moved - lr * weight_decay * w / (moments.square.sqrt() + 1e-8), moments


def forgets_the_rate(w, gradient, moments, *, lr, weight_decay, decoupled):
    moved, moments = adam_step(w, gradient, moments, lr=lr, decoupled=True)
    return moved - weight_decay * w, moments


def swaps_the_two(w, gradient, moments, *, decoupled, **settings):
    return adam_step(w, gradient, moments, decoupled=not decoupled, **settings)


def restarts_its_clock(w, gradient, moments, **settings):
    return adam_step(w, gradient, moments._replace(steps=0), **settings)


@pytest.mark.parametrize(
    "slip", [scales_the_decay_down, forgets_the_rate, swaps_the_two, restarts_its_clock]
)
def test_the_comparison_with_torch_catches_classic_slips(slip):
    expected = by_torch(lambda w: OPTIM.AdamW(w, LR, weight_decay=0.3), torch.float64)
    wrong = by_adam(step=slip, weight_decay=0.3, decoupled=True)
    assert not torch.allclose(wrong, expected, rtol=1e-3)


def test_without_momentum_both_places_of_the_decay_are_one_and_with_momentum_two():
    torch.testing.assert_close(
        by_sgd(weight_decay=0.3), by_sgd(weight_decay=0.3, decoupled=True), rtol=1e-12, atol=0
    )
    coupled, apart = (by_sgd(weight_decay=0.3, momentum=0.9, decoupled=d) for d in (False, True))
    assert not torch.allclose(coupled, apart, rtol=1e-2)


def test_momentum_sums_the_decay_up_to_ten_times_the_pull():
    w, velocity = torch.ones(1, dtype=torch.float64), None
    for _ in range(4000):
        w, velocity = sgd_step(
            w, torch.zeros_like(w), velocity, lr=1e-5, momentum=0.9, weight_decay=1.0
        )
    assert w.item() == pytest.approx(decay.share_left(1e-5, 10.0, 4000), rel=1e-3)


def shaken(decoupled, sizes=(1e-2, 10.0), steps=1000):
    """Share of a weight of 1 that is left where the gradient only shakes, by its size."""
    w = torch.ones(len(sizes), dtype=torch.float64)
    moments, size = no_moments(w), torch.tensor(sizes, dtype=torch.float64)
    for t in range(steps):
        w, moments = adam_step(
            w, (-1) ** t * size, moments, lr=1e-3, weight_decay=0.5, decoupled=decoupled
        )
    return w.tolist()


def test_only_decoupled_decay_treats_weights_alike_whatever_their_gradients():
    small, large = shaken(decoupled=True)
    expected = decay.share_left(1e-3, 0.5, 1000)
    assert small == pytest.approx(expected, abs=2e-3)  # two steps of size lr
    assert large == pytest.approx(expected, abs=2e-3)
    small, large = shaken(decoupled=False)
    assert small < expected / 2
    assert large > 0.9


def test_steps_serve_networks_side_by_side_with_numbers_of_their_own():
    w, gradient = torch.randn(2, 5, 3, dtype=torch.float64).unbind()
    rates, decays = torch.rand(2, 5, dtype=torch.float64).unbind()

    def one(w, gradient, lr, weight_decay):
        numbers = {"lr": lr, "weight_decay": weight_decay}
        adam = adam_step(w, gradient, no_moments(w), decoupled=True, **numbers)[0]
        return adam, sgd_step(w, gradient, momentum=0.9, **numbers)[0]

    together = vmap(one)(w, gradient, rates, decays)
    alone = zip(*map(one, w, gradient, rates.tolist(), decays.tolist()), strict=True)
    for found, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(found, torch.stack(expected))


# Who gets decay


class Odd(nn.Module):
    """Every kind of parameter, under names that tell nothing."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Embedding(7, 4), nn.Conv1d(4, 6, 3)
        self.c, self.d = nn.BatchNorm1d(6), nn.LayerNorm((6, 5))  # d has matrices
        self.e, self.f = nn.GroupNorm(2, 6), nn.RMSNorm(5)
        self.g, self.h = nn.GRU(6, 4), nn.Linear(4, 7)
        self.i, self.j = nn.Parameter(torch.zeros(3)), nn.InstanceNorm1d(6, affine=True)
        self.h.weight = self.a.weight  # tied


def names(module, group):
    return {n for n, p in module.named_parameters() if any(p is q for q in group["params"])}


def test_weights_decay_and_biases_and_norms_do_not_whatever_their_names_and_shapes():
    net = Odd()
    decayed, spared = decay.param_groups(net, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    recurrent = {"g.weight_ih_l0", "g.weight_hh_l0"}
    assert names(net, decayed) == {"a.weight", "b.weight"} | recurrent
    assert names(net, spared) == dict(net.named_parameters()).keys() - names(net, decayed)
    assert sum(len(g["params"]) for g in (decayed, spared)) == len(list(net.parameters()))
    fewer, _ = decay.param_groups(net, 0.1, embeddings=False)
    assert names(net, fewer) == {"b.weight"} | recurrent


def test_the_groups_do_in_an_optimizer_what_they_say():
    net = Odd()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = OPTIM.SGD(decay.param_groups(net, 0.5), lr=0.1)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in net.named_parameters():
        kept = 0.95 if name in ("a.weight", "b.weight", "g.weight_ih_l0", "g.weight_hh_l0") else 1
        torch.testing.assert_close(p.detach(), kept * before[name])


def decays(module, groups):
    """The decay of each parameter, by its name."""
    return {
        name: group["weight_decay"]
        for name, p in module.named_parameters()
        for group in groups
        if any(p is q for q in group["params"])
    }


def test_exceptions_by_name_win_over_the_rule_for_matrices_and_vectors():
    net = Odd()
    usual = decays(net, decay.param_groups(net, 0.1))
    # "h.weight" is another name of "a.weight"; "i" is a vector.
    exceptions = {"g.weight_*": 0.0, "h.weight": 0.3, "i": 0.3, "b.weight": 0.1, "e.bias": 0.02}
    groups = decay.param_groups(net, 0.1, exceptions=exceptions)
    own = {"g.weight_ih_l0": 0.0, "g.weight_hh_l0": 0.0, "a.weight": 0.3, "i": 0.3, "e.bias": 0.02}
    assert decays(net, groups) == usual | own
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.3, 0.02]
    assert decays(net, decay.param_groups(net, 0.0, exceptions={"i": 0.5})) == {
        name: 0.5 if name == "i" else 0.0 for name in usual
    }
    optimizer = OPTIM.SGD(groups, lr=0.1)
    before = net.i.detach().clone().add_(1)
    net.i.data.copy_(before)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(net.i.detach(), (1 - 0.1 * 0.3) * before)


@pytest.mark.parametrize(
    ("exceptions", "message"),
    [
        ({"heads.*": 0.0}, r"got 'heads\.\*'; try \w"),
        ({"h.wieght": 0.0}, "got 'h.wieght'; try h.weight"),
        ({"a.weight": 0.1, "h.*": 0.2}, r"one decay per parameter, got 0.1 and 0.2 for h\.weight"),
        ({"i": -1.0}, "decay of 'i' >= 0, got -1"),
        (["i"], "exceptions by name, got list"),
    ],
)
def test_exceptions_that_name_nothing_or_disagree_are_refused(exceptions, message):
    with pytest.raises(ValueError, match=message):
        decay.param_groups(Odd(), 0.1, exceptions=exceptions)


def test_lost_and_doubled_parameters_are_named():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    first, norm = list(net[0].parameters()), list(net[1].parameters())
    decay.check_groups(net, [{"params": first}, {"params": norm}])
    with pytest.raises(ValueError, match=r"got \['1.weight', '1.bias'\] in none and \[\]"):
        decay.check_groups(net, [{"params": first}])
    with pytest.raises(ValueError, match=r"got \[\] in none and \['0.weight'\] in several"):
        decay.check_groups(net, [{"params": [*first, first[0]]}, {"params": norm}])
    with pytest.raises(ValueError, match="0 parameters"):
        decay.param_groups(nn.ReLU(), 0.1)


# How much


def test_the_keras_number_doubles_as_its_slope_says():
    w = torch.linspace(-1, 1, 5, dtype=torch.float64, requires_grad=True)
    (0.3 * w.square().sum()).backward()
    torch.testing.assert_close(w.grad, decay.keras_l2_to_torch(0.3) * w.detach())
    table = strengths.convert(0.3, "keras L2", "torch weight_decay", n=17)
    assert decay.keras_l2_to_torch(0.3) == pytest.approx(table)


def test_the_share_left_is_a_power_and_nearly_the_exponential_of_the_dose():
    w = torch.ones(1, dtype=torch.float64)
    for _ in range(50):
        w, _ = sgd_step(w, torch.zeros_like(w), lr=0.1, weight_decay=0.2)
    assert w.item() == pytest.approx(decay.share_left(0.1, 0.2, 50), rel=1e-12)
    assert decay.share_left(1e-4, 1.0, 10_000) == pytest.approx(math.exp(-1), rel=1e-4)


def test_the_rule_takes_the_largest_strength_within_one_standard_error():
    # Means 3, 1, 1.45, 1.6, 9; the best has standard deviation 1 and K = 4, so its error is 0.5.
    spread = torch.tensor([-1.0, -1.0, 1.0, 1.0]) * math.sqrt(3 / 4)
    errors = (torch.tensor([3.0, 1.0, 1.45, 1.6, 9.0])[:, None] + spread).tolist()
    given = [0.0, 1e-3, 1e-2, 0.1, 1.0]
    assert one_standard_error(given, errors) == 1e-2
    backward = one_standard_error(given[::-1], errors[::-1])
    assert backward == 1e-2
    errors[4][0] = math.inf
    assert one_standard_error(given, errors) == 1e-2
    alike = [[1.0, 1.0]] * 3
    assert one_standard_error([1, 3, 2], alike) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: by_sgd(weight_decay=-1.0), "weight_decay >= 0, got -1.0"),
        (lambda: by_sgd(momentum=math.nan), "momentum >= 0, got nan"),
        (lambda: by_adam(weight_decay=-0.1, decoupled=True), "weight_decay >= 0, got -0.1"),
        (lambda: sgd_step(start(), torch.ones(4), lr=0.1), r"\(3, 4\), got \(4,\)"),
        (
            lambda: adam_step(start(), start(), no_moments(torch.ones(4)), lr=0.1, decoupled=False),
            r"\(3, 4\), got \(4,\)",
        ),
        (lambda: decay.param_groups(nn.Linear(1, 1), -0.1), "weight_decay >= 0, got -0.1"),
        (lambda: decay.keras_l2_to_torch(-1), "l2 >= 0, got -1"),
        (lambda: decay.share_left(0.1, 11, 3), r"lr \* weight_decay <= 1, got 1.1"),
        (lambda: one_standard_error([1, 2], [[1.0], [2.0]]), r"got \(2, 1\) for 2"),
        (lambda: one_standard_error([1], [[math.nan, 1.0]]), "error inf"),
        (lambda: one_standard_error([1], [[math.inf, 1.0]]), "without diverged"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
