"""Two operations on S networks whose backward pass is written by hand, for speed.

Axes: S networks, B rows, D inputs, H outputs.
"""

import torch
from torch import Tensor


class Linear(torch.autograd.Function):
    """S linear layers: rows (S, B, D), weights (S, H, D) and biases (S, H) to (S, B, H).

    Autograd would do, but computes some gradients in an order of axes that the next step copies.
    """

    @staticmethod
    def forward(ctx, h: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        ctx.save_for_backward(h, w)
        ctx.has_bias = b is not None
        if wide(w.shape[1]):
            return _product(h, w.mT, None if b is None else b.unsqueeze(1))
        return _product(w, h.mT, None if b is None else b.unsqueeze(2)).mT

    @staticmethod
    def backward(ctx, g: Tensor):
        h, w = (tensor.to(g.dtype) for tensor in ctx.saved_tensors)  # bfloat16 under autocast
        needs_h, needs_w, _ = ctx.needs_input_grad
        to_h = torch.bmm(g, w) if needs_h else None
        to_w = (
            (torch.bmm(h.mT, g).mT if wide(w.shape[1]) else torch.bmm(g.mT, h)) if needs_w else None
        )
        return to_h, to_w, g.sum(1) if ctx.has_bias else None


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
