"""The least that W1 costs: its matrix products alone, each in the fastest layout found here.

Axes: S networks, B rows, D inputs, H outputs. No loss, no ReLU, no bias, no optimizer: what remains
is arithmetic that any program must do that trains these networks with these libraries.
"""

import time
from collections.abc import Callable
from itertools import product

import torch

from benchmarks.workloads import Rows, Workload

Call = Callable[[], object]
CHUNKS = (1, 2, 4, 16, 64)  # networks per evaluation call: some fit the cache better


def layouts(n: int, rows: int, inner: int, columns: int) -> list[Call]:
    """Ways to compute n products (rows, inner) x (inner, columns), by library and storage."""

    def stored(a: int, b: int, turned: bool) -> torch.Tensor:
        return torch.randn(n, b, a).mT if turned else torch.randn(n, a, b)

    ways = []
    for turn_a, turn_b, turn_out in product((False, True), repeat=3):
        a, b = stored(rows, inner, turn_a), stored(inner, columns, turn_b)
        factors = (b.mT, a.mT) if turn_out else (a, b)
        shape = (n, columns, rows) if turn_out else (n, rows, columns)
        out = torch.empty(shape)
        ways.append(lambda factors=factors, out=out: torch.bmm(*factors, out=out))
    # oneDNN, one network after the other: twice as fast as MKL on some processors with AVX-512.
    one_dnn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # not a public name
    if one_dnn:
        a, b = torch.randn(n, rows, inner).unbind(), torch.randn(n, columns, inner).unbind()
        ways.append(
            lambda: [one_dnn(x, w, None, "none", [], "") for x, w in zip(a, b, strict=True)]
        )
    return ways


def fastest(ways: list[Call], rounds: int = 5) -> tuple[Call, float]:
    """The way with the smallest least time, and that time in seconds."""
    times = [float("inf")] * len(ways)
    for _ in range(rounds):
        for i, way in enumerate(ways):
            start = time.perf_counter()
            way()
            times[i] = min(times[i], time.perf_counter() - start)
    best = min(range(len(ways)), key=times.__getitem__)
    return ways[best], times[best]


def floor(w: Workload, rows: Rows) -> Callable:
    """The products of forward, both backward passes, and evaluation, for S networks."""
    sizes = ((64, w.width), (w.width, w.width), (w.width, 10))
    known: dict[int, tuple[list[Call], list[Call]]] = {}

    def choose(n: int) -> tuple[list[Call], list[Call]]:
        step = []
        for layer, (d, h) in enumerate(sizes):
            step.append((n, w.batch_size, d, h))  # forward
            step.append((n, d, w.batch_size, h))  # to the weights
            if layer:
                step.append((n, w.batch_size, h, d))  # to the inputs
        steps = [fastest(layouts(*shape))[0] for shape in step]
        evaluation = []
        for d, h in sizes:
            found = []
            for chunk in (c for c in CHUNKS if n % c == 0):
                way, seconds = fastest(layouts(chunk, w.n_val, d, h), rounds=3)
                found.append((seconds / chunk, chunk, way))
            _, chunk, way = min(found, key=lambda entry: entry[0])
            evaluation += [way] * (n // chunk)
        return steps, evaluation

    def prepare(seeds):
        n = len(seeds)
        if n not in known:
            known[n] = choose(n)
        steps, evaluation = known[n]
        n_steps = -(-w.n_train // w.batch_size)

        def job() -> list[float]:
            for _ in range(w.epochs):
                for _ in range(n_steps):
                    for way in steps:
                        way()
                for way in evaluation:
                    way()
            return []

        return job

    return prepare
