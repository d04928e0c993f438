"""One network per seed, and whether networks may be trained side by side."""

import random
from collections.abc import Callable
from contextlib import contextmanager
from inspect import signature
from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy


@contextmanager
def private_rng(seed: int):
    """Seed PyTorch, NumPy and Python inside the block; leave the caller's states as they were."""
    # Of generators that exist: `torch.manual_seed` would note a call for every GPU to come.
    ready = torch.cuda.is_available() and torch.cuda.is_initialized()
    generators = [torch.default_generator, *(torch.cuda.default_generators if ready else ())]
    states = [generator.get_state() for generator in generators]
    others = random.getstate(), np.random.get_state()  # noqa: NPY002, what others draw from
    try:
        for generator in generators:
            generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        yield
    finally:
        random.setstate(others[0])
        np.random.set_state(others[1])  # noqa: NPY002
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def initial_net(make_net: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Make the network of one seed: the same initial weights, whoever is trained beside it.

    Raises
    ------
    ValueError
        If `make_net` does not return a network with something to train.
    """
    advice = "pass a function that makes one: fit(lambda: MyNet(10), task, recipe)"
    if isinstance(make_net, nn.Module):
        got = f"a network ({type(make_net).__name__})"
        raise ValueError(f"expected a function that makes a network per seed, got {got}; {advice}")
    required = [
        name
        for name, parameter in _parameters(make_net).items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise ValueError(
            f"expected a function without parameters, got one that needs {', '.join(required)}; "
            "a builder is called first, as in fit(models.mlp(task), task, recipe)"
        )
    with private_rng(seed):
        net = make_net()
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"expected make_net() to return an nn.Module, got {type(net).__name__}; "
            "pass the function itself, as in fit(models.mlp(task), task, recipe)"
        )
    lazy = [name for name, t in chain(net.named_parameters(), net.named_buffers()) if is_lazy(t)]
    if lazy:
        raise ValueError(
            f"expected layers that know their sizes, got lazy ones ({', '.join(lazy)}); name the "
            "sizes, as in nn.Linear(64, 10)"
        )
    if not any(p.requires_grad for p in net.parameters()):
        raise ValueError("expected a network with parameters to train, got none")
    return net


def _parameters(function: Callable) -> dict:
    try:
        return dict(signature(function).parameters)
    except (TypeError, ValueError):  # written in C
        return {}


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
