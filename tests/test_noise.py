"""Random draws side by side: whose they are, how they are distributed, and what they leave alone.

A law is tested with five standard errors, on fixed seeds.
"""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vmap

from coursekit.datasets.tasks import seed_word
from coursekit.engine.layers import side_by_side
from coursekit.engine.random import DRAWS, GAMMA, OwnDraws, Streams, _signed, mix, normal
from coursekit.regularizers.depth import Residual
from coursekit.regularizers.dropout import Dropout
from coursekit.regularizers.mixing import log_gamma

SEEDS = [3, 4, 9]
N = 20_000
HALVES = torch.full((len(SEEDS), N), 0.5)


def each(f, *values, seeds=SEEDS, place="here", streams=True):
    """Call `f` once per network, on its row of the values, with the networks' own draws."""
    own = Streams(seeds) if streams else None

    def one(position, *values):
        with OwnDraws(own, place, position):
            return f(*values)

    return vmap(one, randomness="different")(torch.arange(len(seeds)), *values)


def published(start, n):
    """SplitMix64 in Python's own numbers, as its authors wrote it down."""
    words, state = [], start
    for _ in range(n):
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        words.append(z ^ (z >> 31))
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    return words


def start_of(seed, place="here"):
    """Where the stream of a seed and place begins: two words of NumPy's, hashed together."""
    both = seed_word(seed, "noise") + seed_word(0, f"noise/{place}")
    return published(both % 2**64, 1)[0]


def unsigned(words):
    return [[word % 2**64 for word in row] for row in words.tolist()]


# As a network calls it, what that is in other words, mean, and variance.
CALLS = {
    "rand": (lambda h: torch.rand(N), torch.float32, 1 / 2, 1 / 12),
    "rand_shape": (
        lambda h: torch.rand((N // 5, 5), dtype=torch.float64), torch.float64, 1 / 2, 1 / 12,
    ),
    "randn": (lambda h: torch.randn(N), torch.float32, 0, 1),
    "randn_size": (lambda h: torch.randn(size=(N, 1)), torch.float32, 0, 1),
    "randn_double": (lambda h: torch.randn(N, dtype=torch.float64), torch.float64, 0, 1),
    "randint": (lambda h: torch.randint(7, (N,)), torch.int64, 3, 4),
    "randint_low": (lambda h: torch.randint(-1, 2, size=(N,)), torch.int64, 0, 2 / 3),
    "randint_named": (lambda h: torch.randint(low=-1, high=2, size=(N,)), torch.int64, 0, 2 / 3),
    "randperm": (lambda h: torch.randperm(N), torch.int64, None, None),
    "rand_like": (torch.rand_like, torch.float32, 1 / 2, 1 / 12),
    "rand_like_dtype": (
        lambda h: torch.rand_like(h, dtype=torch.float64), torch.float64, 1 / 2, 1 / 12,
    ),
    "randn_like": (torch.randn_like, torch.float32, 0, 1),
    "randint_like": (lambda h: torch.randint_like(h, 2, 5), torch.float32, 3, 2 / 3),
    "normal_numbers": (lambda h: torch.normal(1.0, 2.0, (N,)), torch.float32, 1, 4),
    "normal_mean": (lambda h: torch.normal(h, 3.0), torch.float32, 0.5, 9),
    "normal_std": (lambda h: torch.normal(1.0, h), torch.float32, 1, 1 / 4),
    "normal_both": (lambda h: torch.normal(mean=h, std=h), torch.float32, 0.5, 1 / 4),
    "bernoulli": (lambda h: torch.bernoulli(0.4 * h), torch.float32, 0.2, 0.16),
    "dropout": (lambda h: torch.dropout(h, 0.2, True), torch.float32, 0.5, 0.0625),
    "F.dropout": (lambda h: F.dropout(h, p=0.2), torch.float32, 0.5, 0.0625),
    "uniform_": (lambda h: torch.empty_like(h).uniform_(-1, 2), torch.float32, 0.5, 9 / 12),
    "bernoulli_": (lambda h: torch.empty_like(h).bernoulli_(0.3), torch.float32, 0.3, 0.21),
    "bernoulli_tensor": (
        lambda h: (torch.empty_like(h).bernoulli_(h), h.bernoulli())[0], torch.float32, 0.5, 0.25,
    ),
    "normal_": (lambda h: torch.empty_like(h).normal_(2, std=0.5), torch.float32, 2, 1 / 4),
    "gamma": (torch._standard_gamma, torch.float32, 0.5, 0.5),
    "gamma_large": (lambda h: torch._standard_gamma(7 * h), torch.float32, 3.5, 3.5),
    "log_gamma": (log_gamma, torch.float64, -np.euler_gamma - 2 * np.log(2), np.pi**2 / 2),
}  # fmt: skip


def test_words_are_those_of_the_published_generator():
    # The first five for the state 1234567, as Rosetta Code lists them for many languages.
    counters = torch.tensor([1234567]) + (1 + torch.arange(5)) * _signed(GAMMA)
    assert unsigned(mix(counters)[None]) == [[
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]]  # fmt: skip
    words = Streams(SEEDS).words("here", 40)
    assert unsigned(words) == [published(start_of(seed), 40) for seed in SEEDS]


@pytest.mark.parametrize("ahead", [True, False])
def test_numbers_are_24_bits_of_the_words(ahead):
    [word, other] = published(start_of(4), 2)
    low, high = ((half >> 8) / 2**24 for half in (word % 2**32, word >> 32))
    shifted = [(number + 0.5) % 1 for number in (low, high)]  # the sign bit is the first bit
    streams = Streams([4], ahead=ahead)
    assert streams.uniform("here", (2,))[0].tolist() == shifted
    again = streams.uniform("here", ())[0].item()
    assert again == ((other % 2**32 >> 8) / 2**24 + 0.5) % 1


def test_blocks_drawn_ahead_give_the_same_numbers():
    shapes = [(5,), (), (3, 4), (70_000,), (1,), (6, 2)] * 2
    ahead, each_time = Streams(SEEDS), Streams(SEEDS, ahead=False)
    for shape in shapes:
        assert torch.equal(ahead.uniform("a", shape), each_time.uniform("a", shape))
        kinds = (normal(own, "a", shape, torch.float32) for own in (ahead, each_time))
        assert torch.equal(*kinds)
        assert torch.equal(ahead.words("a", 3), each_time.words("a", 3))


def test_bits_of_neighboring_counters_and_seeds_are_unrelated():
    words = Streams(range(50)).words("here", 400)
    bits = (words[..., None] >> torch.arange(64) & 1).double()  # (50, 400, 64)
    flat = bits.flatten()
    assert abs(flat.mean() - 0.5) < 5 * 0.5 / len(flat) ** 0.5
    signs = 2 * bits - 1
    along = {"counter": signs[:, 1:] * signs[:, :-1], "seed": signs[1:] * signs[:-1]}
    for name, product in along.items():  # 64 bits at once: none may depend on the one before
        error = 1 / (product.numel() / 64) ** 0.5
        assert product.mean((0, 1)).abs().max() < 5 * error, name


@pytest.mark.parametrize("name", CALLS)
def test_a_draw_in_company_is_the_draw_alone_to_the_bit(name):
    call, dtype, *_ = CALLS[name]
    drawn = each(call, HALVES)
    for row, seed in zip(drawn, SEEDS, strict=True):
        [alone] = each(call, HALVES[:1], seeds=[seed])
        assert row.dtype == dtype
        assert torch.equal(row, alone)


@pytest.mark.parametrize("name", [n for n in CALLS if CALLS[n][2] is not None])
def test_every_draw_has_its_distribution(name):
    call, _, mean, variance = CALLS[name]
    drawn = each(call, HALVES).double().flatten(1)
    assert ((drawn.mean(1) - mean).abs() < 5 * (variance / N) ** 0.5).all()
    # The standard error of a variance, from the fourth moment of the sample itself.
    fourth = (drawn - mean).pow(4).mean(1)
    error = ((fourth - variance**2).clamp(min=0) / N).sqrt()
    assert ((drawn.var(1) - variance).abs() < 5 * error + 1e-3 * variance).all()
    # Networks of different seeds are unrelated: their correlation is 0, up to 1 / sqrt(N).
    assert torch.corrcoef(drawn).triu(1).abs().max() < 5 / N**0.5


def test_the_calls_cover_every_function_that_is_replaced(monkeypatch):
    used = set()
    for function, draw in list(DRAWS.items()):
        note = lambda *args, f=function, d=draw, **kwargs: used.add(f) or d(*args, **kwargs)  # noqa: E731
        monkeypatch.setitem(DRAWS, function, note)
    for call, *_ in CALLS.values():
        each(call, HALVES)
    assert used == set(DRAWS)


def test_a_permutation_is_one_of_each():
    orders = each(lambda: torch.randperm(50))
    assert (orders.sort(1).values == torch.arange(50)).all()
    assert not torch.equal(orders[0], orders[1])


@pytest.mark.parametrize("name", CALLS)
def test_draws_depend_on_seed_and_place_and_on_nothing_else(name):
    call = CALLS[name][0]
    torch.manual_seed(0)
    drawn = each(call, HALVES)
    torch.manual_seed(1)
    first, again, other = each(call, HALVES, seeds=[4, 4, 5])
    assert torch.equal(first, again)
    assert torch.equal(first, drawn[1])  # seed 4 in another company
    assert not torch.equal(first, other)
    assert not torch.equal(first, each(call, HALVES, place="there")[1])


def test_what_one_place_draws_does_not_shift_another():
    quiet, busy = Streams(SEEDS), Streams(SEEDS)
    for _ in range(3):
        busy.uniform("layer 1", (7,))
    assert torch.equal(quiet.uniform("layer 2", (5,)), busy.uniform("layer 2", (5,)))
    assert not torch.equal(quiet.uniform("layer 1", (5,)), quiet.uniform("layer 1", (5,)))


def test_a_stream_goes_on_where_it_stopped():
    streams, whole = Streams([3]), Streams([3]).uniform("here", (12,))[0]
    parts = torch.cat([streams.uniform("here", (4,))[0] for _ in range(3)])
    assert torch.equal(parts, whole)
    one, two = each(lambda: (torch.rand(4), torch.rand(4)))
    assert torch.equal(torch.cat([one, two], 1)[0, :8], whole[:8])


def test_an_explicit_generator_is_refused_where_all_networks_would_share_it():
    mine = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="a generator that all networks would share"):
        each(lambda h: torch.rand(N, generator=mine), HALVES)
    own = each(torch.rand_like, HALVES)
    assert torch.equal(each(lambda h: torch.rand(N, generator=None), HALVES), own)
    with OwnDraws(Streams([0]), ""):  # one network by itself
        alone = torch.rand(N, generator=mine.manual_seed(3))
    assert torch.equal(alone, torch.rand(N, generator=mine.manual_seed(3)))


def test_without_streams_every_draw_is_torchs_own():
    for name in ("rand", "normal_", "F.dropout", "randint"):
        torch.manual_seed(7)
        drawn = each(CALLS[name][0], HALVES, streams=False)
        torch.manual_seed(7)
        expected = vmap(CALLS[name][0], randomness="different")(HALVES)
        assert torch.equal(drawn, expected)


def test_dropout_without_training_or_without_a_rate_is_the_identity():
    for call in (lambda h: F.dropout(h, 0.5, training=False), lambda h: F.dropout(h, 0.0)):
        assert torch.equal(each(call, HALVES), HALVES)


def test_the_gradient_of_a_mask_is_the_mask():
    h = torch.ones(3, 100, requires_grad=True)
    out = each(lambda h: F.dropout(h, 0.5) * torch.rand_like(h), h)
    out.sum().backward()
    assert torch.equal(h.grad, out.detach())


def test_gamma_variates_with_a_shape_of_each_network():
    alphas = torch.tensor([0.2, 1.0, 5.0])

    def shares(alpha):
        a, b = (torch._standard_gamma(alpha.expand(N)) for _ in range(2))
        return a / (a + b)

    drawn = each(shares, alphas).double()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    variance = 1 / (4 * (2 * alphas.double() + 1))
    assert ((drawn.mean(1) - 0.5).abs() < 5 * (variance / N).sqrt()).all()
    error = (((drawn - 0.5).pow(4).mean(1) - variance**2) / N).sqrt()
    assert ((drawn.var(1) - variance).abs() < 5 * error).all()
    # A shape that is the same number for all is another way to say so.
    same = each(lambda: torch._standard_gamma(torch.full((N,), 5.0)))
    assert torch.equal(same, each(torch._standard_gamma, torch.full((3, N), 5.0)))


def test_draws_inside_a_map_over_rows_are_refused():
    def per_row(h):
        return vmap(lambda row: row + torch.rand(()), randomness="different")(h)

    with pytest.raises(ValueError, match=r"inside a vmap over rows; draw before it"):
        each(per_row, HALVES)


@pytest.mark.parametrize(
    ("shape", "other"), [((), (4,)), ((4,), ()), ((2, 1), (1, 3)), ((5, 4), (4,))]
)
def test_each_entry_of_a_broadcast_normal_has_a_draw_of_its_own(shape, other):
    call = lambda: torch.normal(torch.zeros(shape), torch.ones(other))  # noqa: E731
    drawn = each(call)
    assert drawn.shape[1:] == torch.broadcast_shapes(shape, other)
    assert len(drawn.unique()) == drawn.numel()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_stay_below_one_and_drop_as_often_as_asked(dtype):
    drawn = each(lambda: torch.rand(N, dtype=dtype))
    assert drawn.dtype == dtype
    assert (drawn >= 0).all()
    assert (drawn < 1).all()
    ones = torch.ones(3, N, dtype=dtype)
    for rate in (0.5, 0.9, 0.99):
        kept = each(lambda h, p=rate: F.dropout(h, p) != 0, ones).double().mean(1)
        error = (rate * (1 - rate) / N) ** 0.5
        assert ((kept - (1 - rate)).abs() < 5 * error).all()
        assert each(lambda h, p=rate: F.dropout(h, p), ones).dtype == dtype


REFUSED = {
    "into a given tensor": (lambda h: torch.rand(4, out=h), "without out"),
    "with a gradient": (lambda h: torch.rand(4, requires_grad=True), "without requires_grad"),
    "complex": (lambda h: torch.randn(4, dtype=torch.complex64), "got torch.complex64"),
    "whole uniforms": (lambda h: torch.rand(4, dtype=torch.int64), "got torch.int64"),
    "nothing between": (lambda h: torch.randint(3, 3, (4,)), "low < high, got 3 and 3"),
    "the wrong way round": (lambda h: torch.randint(5, 2, (4,)), "low < high, got 5 and 2"),
    "too much between": (lambda h: torch.randint(-(2**63), 2**63 - 1, (4,)), "low < high"),
    "a chance above one": (lambda h: F.dropout(h, 2.0), r"in \[0, 1\], got 2.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused(name):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        each(call, HALVES)


def test_a_missing_generator_is_none():
    each(lambda h: torch.empty_like(h).bernoulli_(0.5, generator=None), HALVES)
    drawn = each(lambda h: nn.init.normal_(torch.empty_like(h), std=3.0), HALVES)
    assert 2.9 < drawn.std() < 3.1


def test_the_smallest_word_gives_a_finite_normal(monkeypatch):
    lowest = torch.full((1, 4), -(2**63))
    monkeypatch.setattr(Streams, "words", lambda self, place, n: lowest)
    for kind in (torch.float32, torch.float64):  # as on a device without float64, and with
        monkeypatch.setattr("coursekit.engine.random.widest", lambda device, kind=kind: kind)
        assert normal(Streams([0]), "here", (8,), torch.float32).isfinite().all()


def test_draws_outside_of_a_map_are_refused():
    with (
        OwnDraws(Streams(SEEDS), "here", torch.arange(3)),
        pytest.raises(RuntimeError, match="wrap the function in"),
    ):
        torch.rand(3)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("layer", [Dropout(0.1), nn.Dropout(0.3)], ids=["coursekit", "torch"])
def test_dropout_layers_keep_the_mean_and_their_gradient_is_the_mask(layer, own):
    x, ours = torch.ones(3, 200, 50, requires_grad=True), isinstance(layer, Dropout)
    # Rates per network: the structure's own is not used.
    rates = torch.tensor([0.0, 0.3, 0.8]) if ours else torch.full((3,), 0.3)
    torch.manual_seed(0)
    out = side_by_side(layer)({"rate": rates} if ours else {}, x, Streams(SEEDS) if own else None)
    for masked, rate in zip(out, rates.tolist(), strict=True):
        kept = masked != 0
        torch.testing.assert_close(masked, kept / (1 - rate))
        error = (rate * (1 - rate) / kept.numel()) ** 0.5
        assert abs(kept.float().mean() - (1 - rate)) <= 5 * error
        # Every unit and every row has a mask of its own.
        assert ((kept.float().mean(0) - (1 - rate)).abs() <= 5 * error * 50**0.5).all()
        assert ((kept.float().mean(1) - (1 - rate)).abs() <= 5 * error * 200**0.5).all()
    assert not torch.equal(out[1] != 0, out[2] != 0)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    layer = deepcopy(layer).eval()
    assert side_by_side(layer)({"rate": rates} if ours else {}, x, None) is x


def test_a_layers_mask_does_not_depend_on_the_draws_of_the_layer_before():
    h, last = torch.ones(3, 40, 50), nn.Dropout(0.5)
    quiet, noisy = (
        side_by_side(nn.Sequential(first, last))({}, h, Streams(SEEDS)) != 0
        for first in (nn.Identity(), nn.Dropout(0.2))
    )
    assert not (noisy & ~quiet).any()
    assert 0.7 < noisy.sum() / quiet.sum() < 0.9


class Unknown(nn.Sequential):
    """Not in the table of layers, so it is mapped."""


def test_layers_draw_and_compute_the_same_in_any_company():
    def make():
        return nn.Sequential(
            nn.Linear(8, 16), nn.Dropout(0.5), Residual(nn.Linear(16, 16), 0.5, per_sample=True),
            Unknown(Dropout(0.5), nn.Linear(16, 4), nn.Dropout(0.2)), nn.Linear(4, 3),
        )  # fmt: skip

    nets = [make() for _ in range(4)]
    state = {n: torch.stack([net.state_dict()[n] for net in nets]) for n in nets[0].state_dict()}
    call, x = side_by_side(nets[0]), torch.randn(4, 5, 8)
    together = call(state, x, Streams([5, 6, 7, 8]))
    for s in range(4):
        own = {n: t[[s]] for n, t in state.items()}
        torch.testing.assert_close(call(own, x[[s]], Streams([5 + s])), together[[s]])
    # Twins that differ in nothing but their seeds.
    twins = {n: t[[0, 0, 0]] for n, t in state.items()}
    first, again, other = call(twins, x[[0, 0, 0]], Streams([5, 5, 6]))
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)
