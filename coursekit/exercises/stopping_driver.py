"""What drives a stopper in the exercise to lesson 09: epochs that change a small network."""

import numpy as np
import torch
from torch import nn

from coursekit.exercises.driving import Probe
from coursekit.stopping import EarlyStopping


def _network() -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.5)
    return net


def drive(answer, values, patience, mode):
    net = _network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    stopper = answer(net, patience, mode)
    told = []
    for epoch, value in enumerate(values, start=1):
        with torch.no_grad():  # what an optimizer and a batch norm do: change tensors in place
            for tensor in net.state_dict().values():
                tensor.fill_(epoch)
        told.append(stopper.update(value))
        if told[-1]:
            break
    kind = "True or False" if isinstance(told[-1], bool | np.bool_) else type(told[-1]).__name__
    found = {
        "the answer of an update": kind,
        "the epoch whose update said stop (0: none)": len(told) if told[-1] else 0,
        "best_epoch": stopper.best_epoch,
    }
    stopper.restore()
    state = net.state_dict()
    found["the weights after restore"] = state["0.weight"].clone()
    found["the running mean after restore"] = state["1.running_mean"].clone()
    found["the count of batches after restore"] = state["1.num_batches_tracked"].clone()
    # Training goes on after a restore, and must not reach what is kept.
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            tensor.copy_(before[name])
    stopper.restore()
    found["the weights after a second restore"] = net.state_dict()["0.weight"]
    return found


def probes(rng: np.random.Generator) -> list[Probe]:
    nan, inf = float("nan"), float("inf")
    a, b, c, d, e = sorted(rng.uniform(0.4, 0.9, 5).round(3).tolist(), reverse=True)
    cases = {
        "losses with a minimum": ([a, c, b, d, c, b, a], 3, "min"),
        "epochs that run out before patience": ([a, c, b], 3, "min"),
        "a tie with the best loss": ([a, b, b, a, a], 3, "min"),
        "accuracies": ([d, b, c, c, d, e], 4, "max"),
        "NaN after the best loss": ([b, c, nan, a + 1, a + 2, a], 3, "min"),
        "a first loss of NaN": ([nan, b, c, d], 3, "min"),
        "NaN accuracies": ([c, nan, e, b, d], 3, "max"),
        "a tie with the best accuracy": ([d, b, b, c, c], 3, "max"),
        "infinite accuracies": ([inf, c, b, d], 3, "max"),
        "nothing but NaN": ([nan, nan], 2, "min"),
        "losses of the size of 1e12": ([1e12 * value for value in (b, c, b, a, a)], 3, "min"),
        "scores below 0": ([-b, -c, -b, -a, -a], 3, "max"),
        "losses that fall by a millionth each": ([a, a - 1e-6, a - 2e-6, a - 3e-6], 2, "min"),
        "nothing but infinity": ([inf, inf], 2, "min"),
        "a loss of minus infinity": ([d, -inf, c, b, c], 3, "min"),
        "losses with patience 1": ([b, c, d, d, e], 1, "min"),
    }
    return [
        Probe(f"{name}", {"values": values, "patience": wait, "mode": mode})
        for name, (values, wait, mode) in cases.items()
    ]


def library(model, patience, mode):
    return EarlyStopping(model, patience, mode=mode)
