"""One network per seed, and whether networks may be trained side by side."""

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import Parameter, signature
from itertools import chain
from types import FunctionType

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
        _seed(generators, seed)
        yield generators
    finally:
        random.setstate(others[0])
        np.random.set_state(others[1])  # noqa: NPY002
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _seed(generators: Iterable[torch.Generator], seed: int) -> None:
    for generator in generators:
        generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


def initial_net(make_net: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Make the network of one seed: the same initial weights, whoever is trained beside it.

    Raises
    ------
    ValueError
        If `make_net` does not return a network with something to train.
    """
    return initial_nets([(make_net, seed)])[0]


def initial_nets(wanted: Iterable[tuple[Callable[[], nn.Module], int]]) -> list[nn.Module]:
    """Make the networks of several functions and seeds; raises as `initial_net`."""
    nets = []
    with private_rng(0) as generators:  # once for all: to keep NumPy's state takes its time
        for make_net, seed in wanted:
            _require_maker(make_net)
            _seed(generators, seed)
            nets.append(make_net())
    for net in nets:
        _require_net(net)
    return nets


def _require_maker(make_net: Callable[[], nn.Module]) -> None:
    advice = "pass a function that makes one: fit(lambda: MyNet(10), task, recipe)"
    if isinstance(make_net, nn.Module):
        got = f"a network ({type(make_net).__name__})"
        raise ValueError(f"expected a function that makes a network per seed, got {got}; {advice}")
    required = [
        name
        for name, parameter in parameters(make_net).items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise ValueError(
            f"expected a function without parameters, got one that needs {', '.join(required)}; "
            "a builder is called first, as in fit(models.mlp(task), task, recipe)"
        )


def _require_net(net: nn.Module) -> None:
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"expected make_net() to return an nn.Module, got {type(net).__name__}; "
            "pass the function itself, as in fit(models.mlp(task), task, recipe)"
        )
    params = [p for part in net.modules() for p in part._parameters.values() if p is not None]
    buffers = (b for part in net.modules() for b in part._buffers.values() if b is not None)
    if any(is_lazy(t) for t in chain(params, buffers)):
        tensors = chain(net.named_parameters(), net.named_buffers())
        lazy = ", ".join(name for name, t in tensors if is_lazy(t))
        raise ValueError(
            f"expected layers that know their sizes, got lazy ones ({lazy}); name the sizes, as in "
            "nn.Linear(64, 10)"
        )
    if not any(p.requires_grad for p in params):
        raise ValueError("expected a network with parameters to train, got none")


def parameters(function: Callable) -> dict[str, Parameter]:
    """A function's parameters by name; none for a function written in C, which does not tell."""
    try:
        return dict(signature(function).parameters)
    except ValueError:
        return {}


def structure(net: nn.Module) -> tuple:
    """What networks must share to be trained side by side; numbers in buffers are left out.

    Whatever a layer holds beside its parameters and buffers counts by content: a function, a list
    of columns, a random matrix that is no buffer.
    """
    layers = [
        (name, type(layer).__qualname__, sorted(
            (key, repr(_content(value))) for key, value in vars(layer).items()
            if key not in OWN and not isinstance(value, nn.Module)
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


def alike(nets: Sequence[nn.Module]) -> bool:
    """Whether networks have one structure."""
    shared = structure(nets[0])
    return all(structure(net) == shared for net in nets[1:])


OWN = {*vars(nn.Module()), "generator"}  # what every module has


def _content(value: object) -> object:
    if isinstance(value, nn.Parameter):  # counts as such, under its name
        return tuple(value.shape)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, Mapping):
        return [(repr(key), _content(own)) for key, own in value.items()]
    if isinstance(value, list | tuple):
        return [_content(own) for own in value]
    if isinstance(value, partial):
        return _content((value.func, value.args, value.keywords))
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        code = value.__code__
        return code.co_code, repr(code.co_consts), _content([value.__defaults__ or (), cells])
    if isinstance(value, torch.Generator):
        return _content(value.get_state())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | set):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def require_own_parts(nets: Sequence[nn.Module]) -> None:
    """Raise ValueError if two networks share something that training changes."""
    if len(nets) < 2:
        return
    parts = [
        {id(t): name for name, t in chain(net.named_parameters(), net.named_buffers())
         if t.requires_grad or not isinstance(t, nn.Parameter)}
        for net in nets[:2]
    ]  # fmt: skip
    if shared := sorted(name for key, name in parts[0].items() if key in parts[1]):
        raise ValueError(
            f"expected make_net to make a new network each time, got one that shares {shared[0]}; "
            "build the layers inside of it, or copy.deepcopy what it takes from outside"
        )
