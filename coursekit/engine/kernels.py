"""Operations on S networks: two with a backward pass written by hand, and changes of shape.

Axes: S networks, B rows, C channels, D inputs, H outputs.
"""

import torch
from torch import Tensor


class Linear(torch.autograd.Function):
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
        if wide(w.shape[1]):
            return _product(h, w.mT, None if b is None else b.unsqueeze(1))
        return _product(w, h.mT, None if b is None else b.unsqueeze(2))

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


def fold(h: Tensor) -> Tensor:
    """(S, B, C, ...) to (B, S * C, ...): S networks as S times as many channels."""
    return h.transpose(0, 1).flatten(1, 2)


def unfold(h: Tensor, n: int) -> Tensor:
    """(B, S * C, ...) to (S, B, C, ...), without a copy; `fold` takes it back without one."""
    return h.unflatten(1, (n, -1)).transpose(0, 1)


def across(value: Tensor, h: Tensor) -> Tensor:
    """(S, ...) to a shape that multiplies (S, B, ..., ...): one value per network, for all rows."""
    return value.view(len(value), *[1] * (h.ndim - value.ndim), *value.shape[1:])
