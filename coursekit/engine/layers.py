"""Layers for S networks at once: the small place where the speed comes from.

Small networks spend their time on calls, not on arithmetic. So each layer of the table below does
the work of S networks in one call: one batched product for S linear layers, one grouped
convolution for S convolutions (on a GPU, one product with all patches), one batch norm over S x C
channels. A layer that is not in the table is mapped over the networks by `torch.func.vmap`: slower,
and as right.

Axes: S networks, B rows, C channels, H hidden. Hidden activations are (S, B, ...).
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain, cycle
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.dropout import _DropoutNd

from coursekit.engine.random import OwnDraws, Streams
from coursekit.regularizers.depth import Residual
from coursekit.regularizers.dropout import Dropout

State = Mapping[str, Tensor]
# From the state of S networks, activations (S, B, ...), and streams (None: torch's own state).
Call = Callable[[State, Tensor, Streams | None], Tensor]


def side_by_side(net: nn.Module) -> Call:
    """Return a function that computes S networks of this structure at once.

    Parameters
    ----------
    net : nn.Module
        The structure; its own weights are not used. `net.train()` and `net.eval()` are obeyed.

    Returns
    -------
    callable
        (state, x, streams) to (S, B, ...): `state` maps the names of parameters and buffers to
        (S, ...) tensors, `x` is (S, B, ...), and `streams` give each network its own random draws.
    """
    # By identity, so that weights shared by two layers keep their one name.
    return _build(net, "", {id(t): name for name, t in _tensors(net)})


@contextmanager
def own_draws(net: nn.Module, streams: Streams):
    """Inside the block, let *one* network draw what it would draw side by side with others.

    Every layer that draws does so from the first of the streams, at the place that `side_by_side`
    gives it. A layer that stands at several places draws for them in turn.
    """
    places: dict[nn.Module, list[str]] = {}
    for layer, place in _drawing(net, ""):
        places.setdefault(layer, []).append(place)
    handles = []
    for layer, own in places.items():
        if hasattr(layer, "generator") and type(layer) in TABLE and len(own) == 1:
            layer.generator = partial(streams.alone, own[0])  # a mode would cost time
        else:
            handles += _surround(layer, streams, own)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in places:
            if hasattr(layer, "generator") and type(layer) in TABLE:
                layer.generator = None


def draws_in_branches(net: nn.Module) -> bool:
    """Whether a layer draws inside a branch that is skipped at random.

    Alone, a skipped branch draws nothing; side by side, it draws for those who keep it. So the next
    draws of such a network depend on its company, unless it is always trained in a stack.
    """
    return any(
        isinstance(layer, Residual) and not layer.per_sample and any(_drawing(layer.branch, ""))
        for layer in net.modules()
    )


def _surround(layer: nn.Module, streams: Streams, places: list[str]):
    modes: list[OwnDraws | None] = []
    turns, quiet = cycle(places), False

    def enter(layer, args):
        # Every operation under the mode costs time, so evaluation, which draws nothing, goes
        # without, and so does a layer that drew nothing in its first batch. One that begins to
        # draw later does so from torch's own state, which is the seed's own as well.
        if quiet or not layer.training:
            modes.append(None)
            return
        modes.append(OwnDraws(streams, next(turns)))
        modes[-1].__enter__()

    def leave(layer, args, output):
        nonlocal quiet
        if modes and (mode := modes.pop()) is not None:
            mode.__exit__(None, None, None)
            quiet = not mode.drew and len(places) == 1

    yield layer.register_forward_pre_hook(enter)
    yield layer.register_forward_hook(leave, always_call=True)


def _drawing(layer: nn.Module, place: str) -> Iterator[tuple[nn.Module, str]]:
    """Layers that may draw random numbers, with their places; as `_build` walks."""
    kind = type(layer)
    if not _is_changed(layer):
        if kind is nn.Sequential:
            for key, child in layer._modules.items():
                yield from _drawing(child, f"{place}.{key}")
            return
        if kind is Residual:
            yield layer, place
            yield from _drawing(layer.branch, f"{place}.branch")
            return
        if kind in POINTWISE or (kind in TABLE and kind not in (Dropout, nn.Dropout)):
            return
    if not _is_quiet(layer):
        yield layer, place


def _is_quiet(layer: nn.Module) -> bool:
    """Whether a layer is PyTorch's own, with nothing in it that draws."""
    return all(
        type(part).__module__.startswith("torch.nn.modules.")
        and not isinstance(part, _DropoutNd | nn.RReLU)
        and not getattr(part, "dropout", 0)
        and not _is_changed(part)
        for part in layer.modules()
    )


def _build(layer: nn.Module, place: str, names: Mapping[int, str]) -> Call:
    kind = type(layer)  # a subclass may compute something else, so it is not looked up
    if _is_changed(layer):
        return _mapped(layer, place, names)
    if kind in POINTWISE:
        return lambda state, h, streams: layer(h)
    call = TABLE[kind](layer, place, names) if kind in TABLE else None
    if call is None or kind not in N_AXES:
        return call or _mapped(layer, place, names)

    def with_channels(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        # Without an axis of channels, rows would be taken for channels.
        usual = h.ndim == 3 + N_AXES[kind]
        return (call if usual else _mapped(layer, place, names))(state, h, streams)

    return with_channels


def _is_plain(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer is just of this kind, and computes what PyTorch wrote for it."""
    return type(layer) is kind and not _is_changed(layer)


def _is_changed(layer: nn.Module) -> bool:
    """Whether somebody hung a hook on this very layer, or gave it another `forward`."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "forward" in vars(layer) or any(getattr(layer, name) for name in hooks)


def _mapped(layer: nn.Module, place: str, names: Mapping[int, str]) -> Call:
    # Each part once: a layer may stand at two places of its class.
    own = {
        f"{prefix}.{key}".lstrip("."): names[id(t)]
        for prefix, part in layer.named_modules()
        for key, t in chain(part._parameters.items(), part._buffers.items())
        if t is not None
    }

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        def one(tensors: State, h: Tensor) -> Tensor:
            with OwnDraws(streams, place, h):
                return functional_call(layer, tensors, (h,), tie_weights=False)

        tensors = {local: state[name] for local, name in own.items()}
        return vmap(one, randomness="different")(tensors, h)

    return call


def _sequential(layer: nn.Sequential, place: str, names: Mapping[int, str]) -> Call:
    calls: list[Call] = []
    before: nn.Module | None = None
    for key, child in layer._modules.items():
        fresh = before is not None and _is_plain(before, nn.Linear) and wide(before.out_features)
        own = fresh and _is_plain(child, nn.ReLU)
        calls.append(_relu_in_place if own else _build(child, f"{place}.{key}", names))
        before = child

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        for child in calls:
            h = child(state, h, streams)
        return h

    return call


def _relu_in_place(state: State, h: Tensor, streams: Streams | None) -> Tensor:
    """ReLU of what a linear layer has just computed: nobody else reads it, so it is overwritten."""
    return h.relu_() if h.ndim == 3 else h.relu()  # through a view, autograd would copy all of it


def _flatten(layer: nn.Flatten, place: str, names: Mapping[int, str]) -> Call | None:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        return None
    return lambda state, h, streams: h.flatten(2)


def _linear(layer: nn.Linear, place: str, names: Mapping[int, str]) -> Call:
    weight, bias = _name(layer, "weight", names), _name(layer, "bias", names)

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        rows = h if h.ndim == 3 else h.flatten(1, -2)  # (S, B, D)
        # Without gradients, a function that has them by hand is nothing but slower.
        multiply = Products.apply if torch.is_grad_enabled() else products
        out = multiply(rows, state[weight], None if bias is None else state[bias])
        out = out if wide(layer.out_features) else out.mT
        return out if h.ndim == 3 else out.unflatten(1, h.shape[1:-1])

    return call


def _convolution(layer: nn.Conv1d | nn.Conv2d, place: str, names: Mapping[int, str]) -> Call | None:
    if layer.padding_mode != "zeros":
        return None
    weight, bias = _name(layer, "weight", names), _name(layer, "bias", names)
    convolve = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    simple = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding != "same"

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        n = len(h)
        if simple and _by_products(layer.in_channels, n, h.device):
            return products_of_patches(
                layer, h, state[weight], None if bias is None else state[bias]
            )
        w = state[weight].flatten(0, 1)  # (S * C_out, C_in, ...)
        b = None if bias is None else state[bias].flatten()
        out = convolve(fold(h), w, b, layer.stride, layer.padding, layer.dilation, n * layer.groups)
        return unfold(out, n)

    return call


def _per_channel(layer: nn.Module, place: str, names: Mapping[int, str]) -> Call | None:
    if getattr(layer, "return_indices", False):
        return None
    return lambda state, h, streams: unfold(layer(fold(h)), len(h))


def _max_pool(layer: nn.MaxPool1d, place: str, names: Mapping[int, str]) -> Call | None:
    if layer.return_indices:
        return None
    n_axes = 1 if isinstance(layer, nn.MaxPool1d) else 2
    halves = all(size in (2, (2,) * n_axes) for size in (layer.kernel_size, layer.stride))
    plain = layer.padding == 0 and layer.dilation == 1

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        if not (halves and plain) or any(size % 2 for size in h.shape[3:]):
            return unfold(layer(fold(h)), len(h))
        # Along the last axis first: among equals the first one in reading order wins, as in torch.
        for axis in range(-1, -1 - n_axes, -1):
            h = PairMax.apply(h, axis)
        return h

    return call


def _batch_norm(layer: nn.BatchNorm1d, place: str, names: Mapping[int, str]) -> Call | None:
    if layer.momentum is None:
        raise ValueError(
            "expected a batch norm with a momentum, got None, a plain average over all batches; "
            "try BatchNorm1d(..., momentum=0.1)"
        )
    if not layer.track_running_stats:
        return None
    weight, bias = _name(layer, "weight", names), _name(layer, "bias", names)
    mean, var = _name(layer, "running_mean", names), _name(layer, "running_var", names)
    count = _name(layer, "num_batches_tracked", names)

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        if layer.training:
            state[count].add_(1)
        # A table (S, B, C) as one signal of B positions: channels then are computed one by one, and
        # round alike in any company; with the channels last they would share vectors.
        table = h.ndim == 3
        folded = h.mT.flatten(0, 1)[None] if table else fold(h)  # (1, S * C, B) or (B, S * C, ...)
        out = F.batch_norm(
            folded, state[mean].view(-1), state[var].view(-1),
            None if weight is None else state[weight].flatten(),
            None if bias is None else state[bias].flatten(),
            layer.training, layer.momentum, layer.eps,
        )  # fmt: skip
        return out[0].unflatten(0, (len(h), -1)).mT if table else unfold(out, len(h))

    return call


def _layer_norm(layer: nn.LayerNorm, place: str, names: Mapping[int, str]) -> Call:
    weight, bias = _name(layer, "weight", names), _name(layer, "bias", names)

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        out = F.layer_norm(h, layer.normalized_shape, eps=layer.eps)
        out = out if weight is None else out * across(state[weight], h)
        return out if bias is None else out + across(state[bias], h)

    return call


def _coursekit_dropout(layer: Dropout, place: str, names: Mapping[int, str]) -> Call:
    rate = _name(layer, "rate", names)

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        return _dropped(h, across(state[rate], h), place, streams) if layer.training else h

    return call


def _torch_dropout(layer: nn.Dropout, place: str, names: Mapping[int, str]) -> Call | None:
    if layer.p == 1:
        return None

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        return _dropped(h, layer.p, place, streams) if layer.training and layer.p else h

    return call


def _residual(layer: Residual, place: str, names: Mapping[int, str]) -> Call:
    survival, branch = (
        _name(layer, "survival", names),
        _build(layer.branch, f"{place}.branch", names),
    )
    written = [names[id(buffer)] for buffer in layer.branch.buffers()]

    def call(state: State, h: Tensor, streams: Streams | None) -> Tensor:
        if not layer.training:
            return torch.addcmul(h, across(state[survival], h), branch(state, h, streams))
        coins = h.shape[1:2] if layer.per_sample else ()
        drawn = _uniform(len(h), coins, place, streams, h.device)  # (S, B) or (S,)
        kept = drawn < across(state[survival], drawn)
        if layer.per_sample:
            gate = kept.view(*kept.shape, *[1] * (h.ndim - 2)).to(h.dtype)
            return torch.addcmul(h, gate, branch(state, h, streams))
        # A network that skips the branch does not compute it when alone: its statistics stay.
        own = {name: state[name].clone() for name in written}
        added = branch(ChainMap(own, state), h, streams)
        for name, value in own.items():
            state[name].copy_(torch.where(across(kept, value), value, state[name]))
        return h + torch.where(across(kept, h), added, 0.0)

    return call


def _dropped(h: Tensor, rate: Tensor | float, place: str, streams: Streams | None) -> Tensor:
    drawn = _uniform(len(h), h.shape[1:], place, streams, h.device)
    keep = 1 - rate
    return h * ((drawn < keep) / keep)


def _uniform(n: int, shape, place: str, streams: Streams | None, device) -> Tensor:
    return (
        torch.rand(n, *shape, device=device) if streams is None else streams.uniform(place, shape)
    )


def _tensors(module: nn.Module):
    return chain(module.named_parameters(), module.named_buffers())


def _name(layer: nn.Module, local: str, names: Mapping[int, str]) -> str | None:
    tensor = getattr(layer, local)
    return None if tensor is None else names[id(tensor)]


# What the layers are made of: two operations with a backward pass by hand, and changes of shape.


class Products(torch.autograd.Function):
    """S linear layers: rows (S, B, D), weights (S, H, D), biases (S, H) to (S, B, H).

    If H is not `wide`, to the transpose (S, H, B), as it was computed. Autograd would do, but finds
    some gradients in an order of axes that the next step copies.
    """

    @staticmethod
    def forward(ctx, h: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        kind = h.device.type
        if torch.is_autocast_enabled(kind):  # once, and not again in the backward pass
            h, w = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (h, w))
        ctx.save_for_backward(h, w)
        ctx.has_bias = b is not None
        return products(h, w, b)

    @staticmethod
    def backward(ctx, g: Tensor):
        h, w = ctx.saved_tensors
        g = g.to(w.dtype)  # bfloat16 under autocast
        needs_h, needs_w, _ = ctx.needs_input_grad
        to_h = to_w = None
        if wide(w.shape[1]):  # g is (S, B, H)
            if needs_h:
                to_h = torch.bmm(g, w)
            if needs_w:
                to_w = torch.bmm(h.mT, g).mT
            return to_h, to_w, g.sum(1) if ctx.has_bias else None
        if needs_h:
            to_h = torch.bmm(g.mT, w)
        if needs_w:
            to_w = torch.bmm(g, h)
        return to_h, to_w, g.sum(2) if ctx.has_bias else None


def products(h: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """What `Products` computes."""
    if wide(w.shape[1]):
        return _product(h, w.mT, None if b is None else b.unsqueeze(1))
    return _product(w, h.mT, None if b is None else b.unsqueeze(2))


def wide(n_outputs: int) -> bool:
    """Whether a linear layer is computed as rows times weights, or turned: weights times columns.

    A product whose number of columns is no multiple of a vector's length is slow: 10 classes cost
    more than 16, and three times more than 10 as rows.
    """
    return n_outputs % 16 == 0


def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return torch.bmm(a, b) if bias is None else torch.baddbmm(bias, a, b)


class PairMax(torch.autograd.Function):
    """The larger one of each pair of neighbors: a max-pool of width 2, several times faster."""

    @staticmethod
    def forward(ctx, h: Tensor, axis: int) -> Tensor:
        first, second = h.unflatten(axis, (-1, 2)).unbind(axis)
        ctx.axis = axis
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(second > first)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, g: Tensor):
        [second_wins] = ctx.saved_tensors
        shares = [g.masked_fill(second_wins, 0.0), g.masked_fill(~second_wins, 0.0)]
        return torch.stack(shares, ctx.axis).flatten(ctx.axis - 1, ctx.axis), None


# From so many networks on, a GPU convolves faster by products. Measured on an H200: the second
# layer of a small CNN on signals took 15 ms grouped and 0.8 ms so with 256 networks, 1.2 and 0.8 ms
# with 16, and the same with 4. For one channel cuDNN has a kernel of its own, which lasts longer.
MANY, MANY_SHALLOW = 16, 128
_measured = False


@contextmanager
def as_in_company():
    """Compute few networks in the way of many inside the block, to see what memory that takes."""
    global _measured
    before, _measured = _measured, True
    try:
        yield
    finally:
        _measured = before


def _by_products(n_channels: int, n: int, device: torch.device) -> bool:
    enough = MANY_SHALLOW if n_channels == 1 else MANY
    return device.type == "cuda" and (_measured or n >= enough)


def products_of_patches(layer: nn.Conv1d | nn.Conv2d, h: Tensor, w: Tensor, b: Tensor | None):
    """S convolutions as one batched product of their weights with all patches of their inputs.

    (S, B, C_in, ...), (S, C_out, C_in, ...), (S, C_out) to (S, B, C_out, ...). Takes memory for
    every patch, which a CPU's cache does not have.
    """
    padding = (0,) * len(layer.stride) if layer.padding == "valid" else layer.padding
    h = F.pad(h, [side for p in reversed(padding) for side in (p, p)])
    for axis, (size, step) in enumerate(zip(layer.kernel_size, layer.stride, strict=True), 3):
        h = h.unfold(axis, size, step)  # the places of the patches stay, their inside goes last
    n, rows, channels, *shape = h.shape
    n_axes = len(padding)
    places, inside = range(3, 3 + n_axes), range(3 + n_axes, 3 + 2 * n_axes)
    patches = h.permute(0, 2, *inside, 1, *places).reshape(
        n, channels * prod(layer.kernel_size), -1
    )
    out = _product(w.flatten(2), patches, None if b is None else b.unsqueeze(2))
    return out.view(n, w.shape[1], rows, *shape[:n_axes]).transpose(1, 2)


def fold(h: Tensor) -> Tensor:
    """(S, B, C, ...) to (B, S * C, ...): S networks as S times as many channels."""
    return h.transpose(0, 1).flatten(1, 2)


def unfold(h: Tensor, n: int) -> Tensor:
    """(B, S * C, ...) to (S, B, C, ...), without a copy; `fold` takes it back without one."""
    return h.unflatten(1, (n, -1)).transpose(0, 1)


def across(value: Tensor, h: Tensor) -> Tensor:
    """(S, ...) to a shape that multiplies (S, B, ..., ...): one value per network, for all rows."""
    return value.view(len(value), *[1] * (h.ndim - value.ndim), *value.shape[1:])


POINTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardswish, nn.Hardtanh,
)  # fmt: skip
# Each entry returns None for an unusual setting, which is then mapped.
TABLE: dict[type, Callable[..., Call | None]] = {
    nn.Sequential: _sequential,
    nn.Flatten: _flatten,
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool1d: _per_channel,
    nn.AvgPool2d: _per_channel,
    nn.AdaptiveAvgPool1d: _per_channel,
    nn.AdaptiveAvgPool2d: _per_channel,
    nn.AdaptiveMaxPool1d: _per_channel,
    nn.AdaptiveMaxPool2d: _per_channel,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.Dropout: _torch_dropout,
    Dropout: _coursekit_dropout,
    Residual: _residual,
}
# Axes that a layer works along, behind that of the channels.
N_AXES = {
    kind: 1 + kind.__name__.endswith("2d")
    for kind in TABLE
    if kind.__name__.endswith(("1d", "2d")) and kind not in (nn.BatchNorm1d, nn.BatchNorm2d)
}
