"""S networks of one structure as one: row s of a few matrices holds the parameters of network s.

This is where the course's speed comes from: one call for S networks costs little more than one call
for one of them, because small networks spend their time on calls.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.engine import networks
from coursekit.engine.devices import Allocations, free_memory, matmul_precision, send
from coursekit.engine.layers import Call, as_in_company, side_by_side, wide
from coursekit.engine.random import Streams

State = dict[str, Tensor]
# Rows per evaluation call on a CPU: the activations of so many stay in its cache.
EVAL_ROWS = 3072
# Floats per cache line. Vectorized code treats the rest of an array apart, and rounds differently
# there; with rows of whole lines, a network is computed to the same bit in any company.
LINE = 16
# From so many numbers on, a matrix has rows of its own, and its gradient stays where autograd put
# it; those of smaller parameters are copied side by side, so that one call moves all of them.
# Copying all of them took an eighth of the time of W1 with 64 networks, benchmarks/workloads.py.
OWN_ROWS = 2048
PACKED = VECTORS, MATRICES = "vectors", "matrices"


class Stack:
    """S networks side by side. Calling it computes all of them: (S, B, ...) to (S, B, C).

    Parameters
    ----------
    nets : sequence of S nn.Module
        Of one structure. They are copied, and stay where they are.
    device : torch.device
    alike : bool
        Whether somebody has seen that the structures are the same: with many layers that takes as
        long as to make them.

    Attributes
    ----------
    net : nn.Module
        The structure.
    rows : dict of str to (S, P) float32 tensor
        All parameters: "vectors" together, because weight decay may spare them, small "matrices"
        (two axes or more) together, and each large one by itself. `rows[kind].grad` holds their
        gradients.
    params : dict of str to (S, ...) tensor
        The same memory by name, with a gradient.
    buffers : dict of str to (S, ...) tensor
        Running statistics, frozen parameters, and settings that differ between networks.

    Raises
    ------
    ValueError
        If the networks differ in structure, or a parameter is not float32.
    """

    def __init__(self, nets: Sequence[nn.Module], device: torch.device, *, alike: bool = False):
        if not (alike or networks.alike(nets)):
            raise ValueError("expected make_net() to return the same structure every time")
        wrong = {str(p.dtype) for p in nets[0].parameters()} - {"torch.float32"}
        if wrong:
            raise ValueError(f"expected float32 parameters, got {', '.join(wrong)}; try .float()")
        self.layout = _layout(nets[0])
        own = [dict(trained(net)) for net in nets]
        self.rows = {kind: _rows(own, places).to(device) for kind, places in self.layout.items()}
        self.params = {n: p.requires_grad_() for n, p in _views(self.rows, self.layout).items()}
        still = [dict(fixed(net)) for net in nets]
        self.buffers = {
            name: torch.stack([own[name].detach().cpu() for own in still]).to(device)
            for name in still[0]
        }
        self.net = nets[0]
        self._call = side_by_side(self.net)
        for rows in self.rows.values():
            rows.grad = torch.zeros_like(rows)
        self._moved: list[tuple[Tensor, str, slice]] = []  # blocks that optimizers change
        held = chain(self.rows.values(), self.buffers.values())
        self._held = {t.untyped_storage().data_ptr() for t in held}

    def __call__(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        return self._call(self.params | self.buffers, x, streams)

    def compile(self) -> None:
        """Translate the computation with `torch.compile`; takes a C++ compiler, or a GPU's."""
        self._call = torch.compile(self._call, dynamic=False)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(iter(self.rows.values())).device

    @property
    def state(self) -> State:
        """Parameters and buffers by name, (S, ...) each: the memory itself, not a copy."""
        return {name: p.detach() for name, p in self.params.items()} | self.buffers

    def backward(self, losses: Tensor) -> None:
        """Write the gradients of losses (S,), each for its own network alone, to `rows[kind].grad`.

        The networks share no parameter, so the gradient of the sum of losses is all that is needed.
        """
        ones = torch.ones_like(losses)
        leaves = list(self.params.values())
        grads = torch.autograd.grad(losses, leaves, ones, materialize_grads=True)
        by_name = dict(zip(self.params, grads, strict=True))
        taken = set(self._held)
        for kind, places in self.layout.items():
            found = [_flat(by_name[place.name], place.turned) for place in places]
            if kind in PACKED:
                torch.cat(found, 1, out=self.rows[kind].grad[:, : places[-1].stop])
                continue
            grad = found[0].detach()
            # An optimizer may write into a gradient, and autograd may give one memory to two
            # parameters, one number to all entries, or the parameter itself.
            if not grad.is_contiguous() or grad.untyped_storage().data_ptr() in taken:
                grad = grad.clone(memory_format=torch.contiguous_format)
            taken.add(grad.untyped_storage().data_ptr())
            self.rows[kind].grad = grad
        for block, kind, which in self._moved:
            block.grad = self.rows[kind].grad[which]

    def snapshot(self) -> "Snapshot":
        """A copy that can be renewed network by network."""
        return Snapshot(self)

    def block(self, kind: str, start: int, stop: int) -> list[Tensor]:
        """The tensors, gradients included, that an optimizer changes for networks start to stop."""
        which = slice(start, stop)
        block = self.rows[kind][which]
        block.grad = self.rows[kind].grad[which]
        if kind not in PACKED:  # whose gradients always lie in the same place
            self._moved.append((block, kind, which))
        return [block]


class Snapshot:
    """A real copy of S networks, renewed network by network.

    The published slip is `best = net.state_dict().copy()`: a new dictionary that holds the *same*
    tensors, which the optimizer goes on changing.

    Attributes
    ----------
    state : dict of str to (S, ...) tensor
    """

    def __init__(self, stack: Stack):
        self.rows = {kind: rows.clone() for kind, rows in stack.rows.items()}
        self.buffers = {name: b.clone() for name, b in stack.buffers.items()}
        self.state = _views(self.rows, stack.layout) | self.buffers

    def keep(self, source: "Stack | Snapshot", which: np.ndarray) -> None:
        """Copy the networks marked in `which`, (S,) bool."""
        if not which.any():
            return
        pairs = [(self.rows, source.rows), (self.buffers, source.buffers)]
        tensors = [(tensor, now[name]) for own, now in pairs for name, tensor in own.items()]
        if which.all():
            for tensor, new in tensors:
                tensor.copy_(new)
            return
        # By number: with a mask, a GPU would be waited for to count what is marked.
        marked = send(torch.from_numpy(np.flatnonzero(which)), tensors[0][0].device)
        for tensor, new in tensors:
            tensor.index_copy_(0, marked, new.index_select(0, marked))


class Place(NamedTuple):
    """Where a parameter lies in its network's row."""

    name: str
    start: int
    stop: int
    shape: torch.Size
    turned: bool  # stored as its transpose


@torch.no_grad()
@matmul_precision("float32")
def forward(net: nn.Module, state: Mapping[str, Tensor], inputs, n_rows: int) -> Tensor:
    """Outputs of S networks in evaluation mode, in float32 whatever they were trained in.

    Parameters
    ----------
    net : nn.Module
        The structure.
    state : mapping of str to (S, ...) tensor
        Parameters and buffers.
    inputs : callable
        (slice of networks, slice of rows) to their inputs (s, n, ...): all at once may not fit.
    n_rows : int
        N.

    Returns
    -------
    (S, N, C) tensor
    """
    first = next(iter(state.values()))
    call, was_training = side_by_side(net), net.training
    net.eval()
    outputs = []
    try:
        limit = _rows_at_once(net, call, state, inputs)
        n_at_once = max(1, limit // n_rows)
        for nets in _together(len(first), n_at_once):
            part = {name: tensor[nets] for name, tensor in state.items()}
            rows = [slice(r, r + limit) for r in range(0, n_rows, limit)]
            outputs.append(torch.cat([call(part, inputs(nets, r), None) for r in rows], dim=1))
    finally:
        net.train(was_training)
    return torch.cat(outputs)


def _rows_at_once(net: nn.Module, call: Call, state: Mapping[str, Tensor], inputs) -> int:
    """How many rows one call may compute: on a GPU, what half of the free memory has room for.

    Not more than 8 GiB: neighbors on the same card want some, and several of PyTorch's kernels
    count the numbers of a tensor in 32 bits.
    """
    device = next(iter(state.values())).device
    if device.type == "cpu":
        return EVAL_ROWS
    one = slice(0, 1)

    def compute(row: Tensor) -> None:
        with as_in_company():
            call({name: tensor[one] for name, tensor in state.items()}, row, None)

    return rows_in_memory(net, inputs(one, one), compute)


def rows_in_memory(net: nn.Module, row: Tensor, compute: Callable[[Tensor], object]) -> int:
    """How many such rows a GPU has room for, as `_rows_at_once` tells, if `compute` takes one."""
    known = _row_bytes.setdefault(net, {})
    if row.shape not in known:
        # Counts also what is freed in between: the allocator and libraries want room as well.
        with Allocations() as taken:
            compute(row)
        known[row.shape] = max(1, row.nbytes + taken.bytes)  # rows of the pool are copied
    return max(1, min(free_memory(row.device), 2**33) // known[row.shape])


_row_bytes: WeakKeyDictionary[nn.Module, dict[torch.Size, int]] = WeakKeyDictionary()


def _together(n: int, most: int) -> list[slice]:
    starts = list(range(0, n, most))
    # A product of one pair of matrices rounds differently, so the last network joins the others.
    if most > 1 and len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], n], strict=True)]


def trained(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((name, p) for name, p in net.named_parameters() if p.requires_grad)


def fixed(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    frozen = ((name, p) for name, p in net.named_parameters() if not p.requires_grad)
    return chain(net.named_buffers(), frozen)


def _layout(net: nn.Module) -> dict[str, list[Place]]:
    layout: dict[str, list[Place]] = {}
    for name, p in trained(net):
        kind = VECTORS if p.ndim < 2 else MATRICES
        if kind == MATRICES and p.numel() >= OWN_ROWS and p.numel() % LINE == 0:
            kind = f"matrix {name}"
        places = layout.setdefault(kind, [])
        start = places[-1].stop if places else 0
        # In the order in which `layers` multiplies: gradients come that way, and need no copy.
        turned = p.ndim == 2 and wide(len(p))
        places.append(Place(name, start, start + p.numel(), p.shape, turned))
    return layout


def _flat(tensor: Tensor, turned: bool) -> Tensor:
    return (tensor.mT if turned else tensor).reshape(len(tensor), -1)


def _rows(own: Sequence[Mapping[str, Tensor]], places: Sequence[Place]) -> Tensor:
    """The parameters (S, P) of S networks, given by name, at these places; whole cache lines."""
    blocks = (
        _flat(torch.stack([params[place.name].detach().cpu() for params in own]), place.turned)
        for place in places
    )
    used = torch.cat(list(blocks), 1)
    return F.pad(used, (0, -used.shape[1] % LINE))


def _views(rows: Mapping[str, Tensor], layout: Mapping[str, Sequence[Place]]) -> State:
    views = {}
    for kind, places in layout.items():
        for name, start, stop, shape, turned in places:
            flat = rows[kind].detach()[:, start:stop]
            view = flat.view(len(flat), *(shape[::-1] if turned else shape))
            views[name] = view.mT if turned else view
    return views
