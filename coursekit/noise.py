"""Random numbers while training: every network draws from streams of its own.

What a network draws for a dropout mask or an augmentation depends on its seed and on the place
that draws, not on the networks beside it or on the layers before it. So a network alone equals the
same network in company, and two arms of a comparison share as much chance as they can.
"""

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from coursekit.tasks import stream


class Streams:
    """Random streams of S networks, one for each network and place.

    Parameters
    ----------
    seeds : iterable of int
        The networks' seeds; two networks of one seed draw the same numbers.
    device : torch.device
    """

    def __init__(self, seeds: Iterable[int], device: torch.device | str = "cpu"):
        self.seeds, self.device = list(seeds), torch.device(device)
        self._places: dict[str, list[torch.Generator]] = {}

    def generators(self, place: str) -> list[torch.Generator]:
        """The S generators of a place, made at its first draw."""
        if place not in self._places:
            name = f"noise/{place}"
            self._places[place] = [stream(seed, name, self.device) for seed in self.seeds]
        return self._places[place]

    def all(self) -> list[torch.Generator]:
        """Every generator made so far."""
        return [generator for place in self._places.values() for generator in place]

    def uniform(self, place: str, shape: Iterable[int]) -> Tensor:
        """Draw from [0, 1) for each network: (S, *shape) float32."""
        drawn = torch.empty(len(self.seeds), *shape, device=self.device)
        for row, generator in zip(drawn.unbind(), self.generators(place), strict=True):
            row.uniform_(generator=generator)
        return drawn


class OwnDraws(TorchFunctionMode):
    """Inside a function under `vmap`, give each network the draws of its own streams.

    Covers `torch.rand`, `randn`, `randint`, `randperm`, `normal`, `bernoulli`, their `_like` and
    in-place forms, dropout and gamma variates. Other draws use torch's global state, and
    then depend on the company.

    Parameters
    ----------
    streams : Streams or None
        None leaves every draw as it is.
    place : str
        Who draws.
    member : tensor
        Any mapped tensor, (S, ...) outside: tells that there is one call per network.
    """

    def __init__(self, streams: Streams | None, place: str, member: Tensor):
        super().__init__()
        self.streams, self.place, self.member = streams, place, member

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        draw = None if self.streams is None or kwargs.get("generator") else DRAWS.get(func)
        return func(*args, **kwargs) if draw is None else draw(self, *args, **kwargs)

    def rows(self, make: Callable[..., Tensor], *values: Tensor) -> Tensor:
        """Call `make(*values, generator=...)` once per network; each one sees its own result."""
        with torch._C.DisableTorchFunction():  # `apply` would come back to this mode
            return _Rows.apply(self, make, self.member, *values)


class _Rows(torch.autograd.Function):
    """A function that says itself how it is mapped: one call per network.

    `vmap` would draw for all networks from one generator.
    """

    @staticmethod
    def forward(mode: OwnDraws, make: Callable[..., Tensor], member: Tensor, *values: Tensor):
        raise RuntimeError("expected to be called under vmap; wrap the function in torch.func.vmap")

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def vmap(info, in_dims, mode: OwnDraws, make: Callable[..., Tensor], member: Tensor, *values):
        dims = in_dims[3:]
        columns = [
            value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            for value, dim in zip(values, dims, strict=True)
        ]
        drawn = [
            make(*(column[s] for column in columns), generator=generator)
            for s, generator in enumerate(mode.streams.generators(mode.place))
        ]
        return torch.stack(drawn), 0


def _sized(kind: Callable[..., Tensor]):
    return lambda mode, *args, **kwargs: mode.rows(partial(kind, *args, **kwargs))


def _like(kind: Callable[..., Tensor]):
    def draw(mode: OwnDraws, h: Tensor, *args, dtype=None, device=None, **kwargs) -> Tensor:
        options = {"dtype": dtype or h.dtype, "device": device or h.device} | kwargs
        options.pop("memory_format", None)
        return mode.rows(partial(kind, *args, size=h.shape, **options))

    return draw


_normal_like = _like(torch.randn)


def _uniform_like(mode: OwnDraws, h: Tensor, *, dtype=None, **kwargs) -> Tensor:
    dtype = dtype or (h.dtype if h.is_floating_point() else torch.get_default_dtype())
    return _like(torch.rand)(mode, h, dtype=dtype, **kwargs)


def _bernoulli(mode: OwnDraws, h: Tensor, p=None, **_) -> Tensor:
    return (_uniform_like(mode, h) < (h if p is None else p)).to(h.dtype)


def _normal(mode: OwnDraws, mean, std=1.0, *args, **kwargs) -> Tensor:
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        return mode.rows(partial(torch.normal, mean, std, *args, **kwargs))
    return mean + std * _normal_like(mode, mean if isinstance(mean, Tensor) else std)


def _dropout(
    mode: OwnDraws, input: Tensor, p=0.5, training=True, inplace=False, *, train=None
) -> Tensor:
    if not p or not (training if train is None else train):
        return input
    # With p = 1 nothing survives, and the scale would be infinite.
    kept = (_uniform_like(mode, input) >= p) / (1 - p) if p < 1 else 0.0
    return input.mul_(kept) if inplace else input * kept


def _in_place(shape: Callable[..., Tensor], draws=_uniform_like):
    return lambda mode, h, *args, **kwargs: h.copy_(shape(draws(mode, h), *args, **kwargs))


def _between(u: Tensor, low=0.0, high=1.0, **named) -> Tensor:
    low, high = named.get("from", low), named.get("to", high)
    return low + (high - low) * u


DRAWS = {
    torch.rand: _sized(torch.rand),
    torch.randn: _sized(torch.randn),
    torch.randint: _sized(torch.randint),
    torch.randperm: _sized(torch.randperm),
    torch.rand_like: _uniform_like,
    torch.randn_like: _normal_like,
    torch.randint_like: _like(torch.randint),
    torch.normal: _normal,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    torch.dropout: _dropout,
    F.dropout: _dropout,
    Tensor.uniform_: _in_place(_between),
    Tensor.bernoulli_: _in_place(lambda u, p=0.5: u < p),
    Tensor.normal_: _in_place(lambda z, mean=0.0, std=1.0: mean + std * z, _normal_like),
    torch._standard_gamma: lambda mode, a, **_: mode.rows(torch._standard_gamma, a.detach()),
}
