"""S networks of one structure as one: every parameter and buffer gets a leading S axis.

This is where the course's speed comes from: one batched matrix product for S networks costs little
more than one product for one of them, because small products are dominated by overhead.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

State = dict[str, Tensor]
EVAL_ROWS = 1024  # rows per evaluation batch: bounds the memory, does not change the result


@contextmanager
def private_rng(seed: int):
    """Seed torch inside the block and leave the caller's random state as it was."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def initial_net(make_net: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Make the network of one seed: the same initial weights, whoever is trained beside it."""
    with private_rng(seed):
        return make_net()


def stack(
    make_net: Callable[[], nn.Module], seeds: Iterable[int], device: torch.device
) -> tuple[nn.Module, State, State]:
    """Make one network per seed and stack them.

    Parameters
    ----------
    make_net : callable
        Makes one network; called once per seed with torch seeded by it.
    seeds : iterable of int
        S seeds.
    device : torch.device

    Returns
    -------
    net : nn.Module
        The structure; its own weights are not used.
    params : dict of str to (S, ...) tensor
        Leaves that require a gradient.
    buffers : dict of str to (S, ...) tensor
        Running statistics and the like.

    Raises
    ------
    ValueError
        If `make_net` does not return networks of one structure with something to train.
    """
    nets = [initial_net(make_net, seed) for seed in seeds]
    if not all(isinstance(net, nn.Module) for net in nets):
        raise ValueError(
            f"expected make_net() to return an nn.Module, got {type(nets[0]).__name__}; "
            "pass the function itself, as in fit(models.mlp(task), task, recipe)"
        )
    if not any(True for _ in nets[0].parameters()):
        raise ValueError("expected a network with parameters to train, got none")
    shapes = [[tuple(p.shape) for p in net.parameters()] for net in nets]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("expected make_net() to return the same structure every time")
    params, buffers = stack_module_state(nets)
    params = {name: p.detach().to(device).requires_grad_() for name, p in params.items()}
    buffers = {name: b.detach().clone().to(device) for name, b in buffers.items()}
    return nets[0].to(device), params, buffers


@torch.no_grad()
def forward(net: nn.Module, state: Mapping[str, Tensor], x: Tensor, *, shared: bool) -> Tensor:
    """Outputs of all networks in evaluation mode.

    Parameters
    ----------
    net : nn.Module
        The structure.
    state : mapping of str to (S, ...) tensor
        Parameters and buffers.
    x : (N, ...) tensor if `shared`, else (S, N, ...)

    Returns
    -------
    (S, N, C) tensor
    """
    was_training = net.training
    net.eval()
    rows = 0 if shared else 1
    call = vmap(
        lambda state, x: functional_call(net, state, (x,)),
        in_dims=(0, None if shared else 0),
        randomness="different",  # a network may draw at test time too, as in Monte-Carlo dropout
    )
    outputs = [call(dict(state), part) for part in x.split(EVAL_ROWS, dim=rows)]
    net.train(was_training)
    return torch.cat(outputs, dim=1)


@torch.no_grad()
def keep(kept: State, state: Mapping[str, Tensor], which: Tensor) -> None:
    """Copy the networks marked in `which`, (S,) bool, from `state` into `kept`, in place.

    A real copy. The published slip is `best = net.state_dict().copy()`: a new dictionary that
    holds the *same* tensors, which the optimizer goes on changing.
    """
    for name, value in state.items():
        kept[name][which] = value.detach()[which]
