"""One network per seed, and whether networks may be trained side by side."""

from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def private_rng(seed: int):
    """Seed torch inside the block and leave the caller's random state as it was."""
    # Of generators that exist: `torch.manual_seed` would note a call for every GPU to come.
    ready = torch.cuda.is_available() and torch.cuda.is_initialized()
    generators = [torch.default_generator, *(torch.cuda.default_generators if ready else ())]
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def initial_net(make_net: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Make the network of one seed: the same initial weights, whoever is trained beside it.

    Raises
    ------
    ValueError
        If `make_net` does not return a network with something to train.
    """
    with private_rng(seed):
        net = make_net()
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"expected make_net() to return an nn.Module, got {type(net).__name__}; "
            "pass the function itself, as in fit(models.mlp(task), task, recipe)"
        )
    if not any(p.requires_grad for p in net.parameters()):
        raise ValueError("expected a network with parameters to train, got none")
    return net


def structure(net: nn.Module) -> tuple:
    """What networks must share to be trained side by side; settings in buffers are left out."""
    plain = bool | int | float | str | tuple | None
    layers = [
        (name, type(layer).__qualname__, sorted(
            (key, repr(value)) for key, value in vars(layer).items()
            if isinstance(value, plain) and key != "training" and not key.startswith("_")
        ))
        for name, layer in net.named_modules()
    ]  # fmt: skip
    first: dict[int, str] = {}  # layers may share a parameter
    params = [
        (name, first.setdefault(id(p), name), tuple(p.shape), str(p.dtype), p.requires_grad)
        for name, p in net.named_parameters(remove_duplicate=False)
    ]
    buffers = [(name, tuple(b.shape), str(b.dtype)) for name, b in net.named_buffers()]
    return layers, params, buffers
