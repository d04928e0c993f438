"""JAX: S networks in one compiled program, the whole training a scan over epochs and steps."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.workloads import Rows, Workload


def initial(key, w: Workload) -> list[tuple]:
    """Weights and biases from PyTorch's default distribution."""
    sizes, params = (64, w.width, w.width, 10), []
    for n_in, n_out in pairwise(sizes):
        key, for_w, for_b = jax.random.split(key, 3)
        draw = partial(jax.random.uniform, minval=-(n_in**-0.5), maxval=n_in**-0.5)
        params.append((draw(for_w, (n_in, n_out)), draw(for_b, (n_out,))))
    return params


def logits(params: list[tuple], x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def loss(params: list[tuple], x, y):
    scores = jax.nn.log_softmax(logits(params, x))
    return -jnp.take_along_axis(scores, y[:, None], 1).mean()


def train(w: Workload, seed, x, y, x_val, y_val):
    """Train one network; returns its validation accuracies, one per epoch."""
    for_params, for_order = jax.random.split(jax.random.key(seed))
    n_steps = w.n_train // w.batch_size

    def step(carry, batch):
        params, velocity = carry
        grads = jax.grad(loss)(params, *batch)
        velocity = jax.tree.map(lambda v, g: w.momentum * v + g, velocity, grads)
        params = jax.tree.map(lambda p, v: p - w.lr * v, params, velocity)
        return (params, velocity), None

    def epoch(carry, key):
        order = jax.random.permutation(key, w.n_train)[: n_steps * w.batch_size]
        batches = x[order].reshape(n_steps, w.batch_size, -1), y[order].reshape(n_steps, -1)
        carry, _ = jax.lax.scan(step, carry, batches)
        return carry, (logits(carry[0], x_val).argmax(1) == y_val).mean()

    params = initial(for_params, w)
    zeros = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(epoch, (params, zeros), jax.random.split(for_order, w.epochs))[1]


def jitted(w: Workload, rows: Rows) -> Callable:
    """Compiled at the first job of each number of networks."""
    if w.n_train % w.batch_size:
        raise ValueError(f"expected whole batches, got {w.n_train} rows in {w.batch_size}s")
    run = jax.jit(jax.vmap(partial(train, w)))

    def prepare(seeds):
        parts = (np.stack(part) for part in zip(*map(rows, seeds), strict=True))
        data = jax.block_until_ready([jnp.asarray(part) for part in parts])
        keys = jnp.asarray(list(seeds))
        return lambda: run(keys, *data)[:, -1].tolist()

    return prepare
