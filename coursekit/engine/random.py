"""Random numbers while training: every network draws from streams of its own.

What a network draws for a dropout mask or an augmentation depends on its seed, on the place that
draws, and on how much that place has drawn before: not on the networks beside it, on the layers
before it, or on the kind of device. So a network alone equals the same network in company, a CPU
equals a GPU, and two arms of a comparison share as much chance as they can. (Apple's GPUs have no
float64: there, normal and gamma variates are rounded earlier, and differ in the last digits.)

The numbers are no state that moves on but a function of a counter, so that a few operations
element by element draw for all networks at once, and a recorded GPU step draws anew each time.
Axes: S networks, n words or numbers per network.

References
----------
Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, for the idea;
Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, for the hash.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import pi, prod

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import _functorch as functorch
from torch.overrides import TorchFunctionMode

from coursekit.datasets.tasks import seed_word
from coursekit.engine.devices import widest
from coursekit.regularizers.mixing import log_gamma


def _signed(word: int) -> int:
    """Wrap to 64 bits with a sign, as PyTorch's integers are."""
    return (word + 2**63) % 2**64 - 2**63


GAMMA = 0x9E3779B97F4A7C15  # odd, near 2^64 times the golden ratio: a counter in such steps
MIX = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)
# Words that a place draws ahead for all its networks: fewer calls, and they stay in the cache.
BLOCK = 2**16
BITS = {torch.bfloat16: 8, torch.float16: 11}  # of their fractions
TRIES = 8  # of the gamma sampler, made at once: each fits with at least 95 %


def mix(x: Tensor) -> Tensor:
    """Turn counters into random words, in place: int64 to int64, one to one (SplitMix64)."""
    # The shift of a signed number copies its sign; the mask removes the copies.
    for shift, factor in ((30, MIX[0]), (27, MIX[1]), (31, None)):
        x ^= (x >> shift).bitwise_and_(2 ** (64 - shift) - 1)
        if factor is not None:
            x *= factor
    return x


@dataclass
class _Place:
    """Where the S streams of a place stand, and what they have drawn ahead."""

    start: Tensor  # (S, 1) int64: the counters behind the words that are drawn
    words: Tensor  # (S, n) int64
    numbers: Tensor | None = None  # the same as (S, 2n) float32, once somebody asks
    used: int = 0


class Streams:
    """Random streams of S networks, one for each network and place.

    Parameters
    ----------
    seeds : iterable of int
        The networks' seeds; two networks of one seed draw the same numbers.
    device : torch.device
    ahead : bool
        Draw blocks and hand out their parts: the same numbers in fewer calls. Not for a step that
        is recorded, since where a part begins would be recorded with it.
    compiled : bool
        Whether a compiled network draws: the compiler is told not to look inside.
    """

    def __init__(
        self,
        seeds: Iterable[int],
        device: torch.device | str = "cpu",
        *,
        ahead: bool = True,
        compiled: bool = False,
    ):
        self.seeds, self.device, self.ahead = list(seeds), torch.device(device), ahead
        origins = [[_signed(seed_word(seed, "noise"))] for seed in self.seeds]
        self._origins = torch.tensor(origins, device=self.device)  # (S, 1)
        self._places: dict[str, _Place] = {}
        self._steps: dict[int, Tensor] = {}  # never replaced: a recorded step goes on reading them
        if compiled:  # it would compile anew for each position in a block
            self.words = torch.compiler.disable(self.words)
            self.uniform = torch.compiler.disable(self.uniform)

    def words(self, place: str, n: int) -> Tensor:
        """Draw n random words for each network: (S, n) int64."""
        own, first = self._take(place, n)
        return own.words[:, first : first + n]

    def uniform(self, place: str, shape: Sequence[int]) -> Tensor:
        """Draw from [0, 1) for each network: (S, *shape) float32, multiples of 2^-24."""
        n = prod(shape)
        own, first = self._take(place, -(-n // 2))
        if own.numbers is None:
            # Every operation is exact: 24 bits with a sign, to [-0.5, 0.5), to [0, 1).
            halves = own.words.view(torch.int32) >> 8
            own.numbers = halves.to(torch.float32).mul_(2**-24).add_(0.5)
        return _shaped(own.numbers[:, 2 * first : 2 * first + n], shape)

    def alone(self, place: str, shape: Sequence[int]) -> Tensor:
        """What the first network draws, (*shape): for layers of one network that run by itself."""
        return self.uniform(place, shape)[0]

    @property
    def bytes(self) -> int:
        """Memory of the blocks that were drawn last."""
        blocks = [(own.words, own.numbers) for own in self._places.values()]
        return sum(t.nbytes for pair in blocks for t in pair if t is not None)

    def _take(self, place: str, n: int) -> tuple[_Place, int]:
        """The place, with n words ready from the returned position on."""
        if (own := self._places.get(place)) is None:
            start = mix(self._origins + _signed(seed_word(0, f"noise/{place}")))
            own = self._places[place] = _Place(start, start[:, :0])
        left = own.words.shape[1] - own.used
        if left < n:
            if left:
                own.start -= _signed(left * GAMMA)  # they are drawn again, in front of the next
            draws = max(1, BLOCK // (len(self.seeds) * max(n, 1))) if self.ahead else 1
            size = draws * n  # whole draws: most are as large as the one before
            own.words, own.numbers, own.used = mix(own.start + self._counted(size)), None, 0
            own.start += _signed(size * GAMMA)
        own.used += n
        return own, own.used - n

    def _counted(self, n: int) -> Tensor:
        if n not in self._steps:
            self._steps[n] = (self._origins.new_ones(n).cumsum(0) - 1) * _signed(GAMMA)
        return self._steps[n]


def _shaped(drawn: Tensor, shape: Sequence[int]) -> Tensor:
    return drawn.unflatten(1, shape) if shape else drawn[:, 0]


# Other distributions. Each takes streams, a place and the shape of one network's draw.


def uniform(streams: Streams, place: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Draw from [0, 1): (S, *shape)."""
    if dtype == torch.float64:
        words = streams.words(place, prod(shape))
        return _shaped((words >> 11).to(dtype).mul_(2**-53).add_(0.5), shape)
    drawn = streams.uniform(place, shape)
    if dtype in BITS:  # rounded, 24 bits would reach 1
        drawn = (drawn * 2 ** BITS[dtype]).floor_() / 2 ** BITS[dtype]
    return drawn.to(dtype)


def normal(streams: Streams, place: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Draw from the standard normal distribution: (S, *shape), two numbers of each word.

    References
    ----------
    Box and Muller, Annals of Mathematical Statistics 29, 1958.
    """
    n = prod(shape)
    words = streams.words(place, -(-n // 2))
    # Rounded only at the end, so that all devices with float64, and all companies, round alike.
    kind = widest(streams.device)
    share = ((words >> 32).to(kind) + (2**31 + 0.5)).mul_(2**-32).clamp_(min=2**-33)  # float32: 0
    radius = share.log_().mul_(-2).sqrt_()
    angle = (words & (2**32 - 1)).to(kind).mul_(2 * pi / 2**32)
    pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
    return _shaped(pairs[:, :n].to(dtype), shape)


def integers(
    streams: Streams, place: str, shape: Sequence[int], low: int, high: int, dtype: torch.dtype
) -> Tensor:
    """Draw whole numbers from `low` to `high` - 1: (S, *shape)."""
    if not low < high <= low + 2**63 - 1:
        raise ValueError(f"expected whole numbers low < high, got {low} and {high}")
    # 63 bits: the remainder favors small numbers by one part in 2^63 / (high - low).
    drawn = (streams.words(place, prod(shape)) & (2**63 - 1)) % (high - low) + low
    return _shaped(drawn.to(dtype), shape)


def gamma(streams: Streams, place: str, a: Tensor) -> Tensor:
    """Draw gamma variates with the shapes `a`, (S, ...): one each."""
    drawn = log_of_gamma(streams, place, a).exp()
    return drawn.to(a.dtype).clamp(min=torch.finfo(a.dtype).tiny)


def log_of_gamma(streams: Streams, place: str, a: Tensor) -> Tensor:
    """Draw the logarithms of gamma variates, in the widest type: (S, ...).

    A fixed number of tries instead of a loop until one fits; where none does (less than once in
    10^10), the value at which the curve of the tries is centered is taken.

    References
    ----------
    Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26, 2000.
    """
    kind, shape = widest(streams.device), a.shape[1:]
    wide = a.to(kind)
    d = wide + (wide < 1) - 1 / 3
    z = normal(streams, place, (TRIES, *shape), kind).movedim(1, 0)
    u = uniform(streams, place, (TRIES + 1, *shape), torch.float32).to(kind).movedim(1, 0)
    v = (1 + z / (9 * d).sqrt()) ** 3
    fits = (v > 0) & (u[1:].log() < 0.5 * z**2 + d * (1 - v + v.abs().log()))
    first = fits.to(torch.int8).argmax(0, keepdim=True)
    v = torch.where(fits.any(0), v.gather(0, first)[0], 1)
    boost = u[0].clamp(min=2**-25).log() / wide  # the draws are multiples of 2^-24
    return (d * v).log() + torch.where(wide < 1, boost, 0)


class OwnDraws(TorchFunctionMode):
    """Inside a function under `vmap`, give each network the draws of its own streams.

    Outside of any `vmap`, where one network is computed by itself, it gets those of the first.

    Covers `torch.rand`, `randn`, `randint`, `randperm`, `normal`, `bernoulli`, their `_like` and
    in-place forms, dropout and gamma variates. They are made on the streams' device, unless the
    call names another. Other draws use torch's global state, and then depend on the company.
    Inside a `vmap` of the function's own they are refused: one row could not tell which it is.

    Parameters
    ----------
    streams : Streams or None
        None leaves every draw as it is.
    place : str
        Who draws.
    member : tensor, optional
        Any mapped tensor, (S, ...) outside: tells that there is one call per network. None where
        one network is computed by itself.
    """

    def __init__(self, streams: Streams | None, place: str, member: Tensor | None = None):
        super().__init__()
        self.streams, self.place, self.member = streams, place, member
        self.drew = False
        inner = functorch.peek_interpreter_stack()
        self.level = 0 if inner is None else inner.level()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        draw = None if self.streams is None else DRAWS.get(func)
        if draw is not None and kwargs.get("generator") is not None:
            if self.member is not None:
                raise ValueError("it draws from a generator that all networks would share")
            draw = None
        # Checkpointing computes this again in the backward pass, and brings PyTorch's own random
        # state back for it, but not that of the streams.
        checkpointed = torch._C._autograd._top_saved_tensors_default_hooks
        if draw is not None and self.member is None and checkpointed(False) is not None:
            draw = None
        return func(*args, **kwargs) if draw is None else draw(self, *args, **kwargs)

    def rows(self, draw: Callable[..., Tensor], *values: Tensor, device=None) -> Tensor:
        """`draw(streams, place, *values)`, all (S, ...): each network sees its own row."""
        self.drew = True
        inner = functorch.peek_interpreter_stack()
        mapped = inner is not None and inner.key() == functorch.TransformType.Vmap
        if mapped and inner.level() > self.level:  # PyTorch would give all its rows one number
            raise ValueError(
                "expected random draws for all rows at once, got some inside a vmap over rows; "
                "draw before it, as in torch.rand(len(x), ...)"
            )
        if self.member is None:
            drawn = draw(self.streams, self.place, *(value[None] for value in values))[0]
            return drawn if device is None else drawn.to(device)
        # Not with the mode itself among the arguments: it would be asked how to call `apply`.
        drawn = _Rows.apply(partial(draw, self.streams, self.place), self.member, *values)
        return drawn if device is None else drawn.to(device)


class _Rows(torch.autograd.Function):
    """A function that says itself how it is mapped: drawn for all networks at once.

    `vmap` would draw for all networks from one generator.
    """

    @staticmethod
    def forward(draw: Callable[..., Tensor], member: Tensor, *values: Tensor):
        raise RuntimeError("expected to be called under vmap; wrap the function in torch.func.vmap")

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def vmap(info, in_dims, draw: Callable[..., Tensor], member: Tensor, *values: Tensor):
        dims = in_dims[2:]
        rows = [
            value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            for value, dim in zip(values, dims, strict=True)
        ]
        return draw(*rows), 0


def _drawn(mode: OwnDraws, kind, shape, *limits, dtype=None, device=None, **options) -> Tensor:
    dtype = dtype or torch.get_default_dtype()
    if kind is not integers and not dtype.is_floating_point:
        raise ValueError(f"expected a real type to draw in a network or hook, got {dtype}")
    ignored = {"layout", "pin_memory", "memory_format", "generator"}
    asked = [name for name, value in options.items() if value is not None and value is not False]
    if other := [name for name in asked if name not in ignored]:
        raise ValueError(f"expected a random draw without {', '.join(other)} in a network or hook")
    return mode.rows(lambda *where: kind(*where, tuple(shape), *limits, dtype), device=device)


def _shape(sizes: tuple, size=None) -> Sequence[int]:
    if size is not None:
        return size
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], Sequence) else sizes


def _sized(kind):
    def draw(mode: OwnDraws, *sizes, size=None, **options) -> Tensor:
        return _drawn(mode, kind, _shape(sizes, size), **options)

    return draw


def _like(kind):
    def draw(mode: OwnDraws, h: Tensor, *, dtype=None, device=None, **options) -> Tensor:
        dtype = dtype or (h.dtype if h.is_floating_point() else None)
        return _drawn(mode, kind, h.shape, dtype=dtype, device=device or h.device, **options)

    return draw


_uniform_like, _normal_like = _like(uniform), _like(normal)


def _coins(mode: OwnDraws, h: Tensor) -> Tensor:
    """Numbers to compare with probabilities: with all their bits, whatever type `h` has."""
    kind = torch.float64 if h.dtype == torch.float64 else torch.float32
    return _uniform_like(mode, h, dtype=kind)


def _limits(limits: tuple, low=None, high=None) -> tuple[int, int]:
    limits = [*limits, *(limit for limit in (low, high) if limit is not None)]
    return (0, *limits) if len(limits) == 1 else tuple(limits)


def _randint(mode: OwnDraws, *args, size=None, low=None, high=None, dtype=None, **options):
    if size is None:
        *args, size = args
    limits = _limits(tuple(args), low, high)
    return _drawn(mode, integers, size, *limits, dtype=dtype or torch.int64, **options)


def _randint_like(mode: OwnDraws, h: Tensor, *args, low=None, high=None, dtype=None, **options):
    options = {"dtype": dtype or h.dtype, "device": h.device} | options
    return _drawn(mode, integers, h.shape, *_limits(args, low, high), **options)


def _randperm(mode: OwnDraws, n: int, *, dtype=None, device=None, **_) -> Tensor:
    order = mode.rows(lambda streams, place: streams.words(place, n).argsort(1), device=device)
    return order if dtype is None else order.to(dtype)


def _bernoulli(mode: OwnDraws, h: Tensor, p=None, **_) -> Tensor:
    return (_coins(mode, h) < (h if p is None else p)).to(h.dtype)


def _normal(mode: OwnDraws, mean, std=1.0, size=None, **options) -> Tensor:
    given = [t for t in (mean, std) if isinstance(t, Tensor)]
    if given:  # one draw for each entry of both together
        size = torch.broadcast_shapes(*(t.shape for t in given))
        options = {"dtype": given[0].dtype, "device": given[0].device} | options
    return mean + std * _drawn(mode, normal, size, **options)


def _dropout(
    mode: OwnDraws, input: Tensor, p=0.5, training=True, inplace=False, *, train=None
) -> Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"expected a dropout probability in [0, 1], got {p}")
    if not p or not (training if train is None else train):
        return input
    # With p = 1 nothing survives, and the scale would be infinite.
    kept = (_coins(mode, input) < 1 - p).to(input.dtype) / (1 - p) if p < 1 else 0.0
    return input.mul_(kept) if inplace else input * kept


def _in_place(shape: Callable[..., Tensor], draws=_coins):
    def draw(mode: OwnDraws, h: Tensor, *args, generator=None, **named) -> Tensor:
        return h.copy_(shape(draws(mode, h), *args, **named))

    return draw


def _between(u: Tensor, low=0.0, high=1.0, **named) -> Tensor:
    low, high = named.get("from", low), named.get("to", high)
    return low + (high - low) * u


DRAWS = {
    torch.rand: _sized(uniform),
    torch.randn: _sized(normal),
    torch.randint: _randint,
    torch.randperm: _randperm,
    torch.rand_like: _uniform_like,
    torch.randn_like: _normal_like,
    torch.randint_like: _randint_like,
    torch.normal: _normal,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    torch.dropout: _dropout,
    F.dropout: _dropout,
    Tensor.uniform_: _in_place(_between, _uniform_like),
    Tensor.bernoulli_: _in_place(lambda u, p=0.5: u < p),
    Tensor.normal_: _in_place(lambda z, mean=0.0, std=1.0: mean + std * z, _normal_like),
    torch._standard_gamma: lambda mode, a, **_: mode.rows(gamma, a.detach()),
    log_gamma: lambda mode, a: mode.rows(log_of_gamma, a.detach()),
}
