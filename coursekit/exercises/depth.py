"""Exercises to lesson 10: stochastic depth."""

import numpy as np

from coursekit.exercises import depth_block, depth_networks, depth_rows, depth_rule
from coursekit.exercises.questions import Question
from coursekit.regularizers.depth import survivals

# In the order of the notebook.
skip_block = depth_block.skip_block
drop_rows = depth_rows.drop_rows
mean_of_subnetworks = depth_networks.mean_of_subnetworks
survival_rule = depth_rule.survival_rule

_EXACT, _NEAR, _FAR = "exactly", "to a few percent", "not even that"


def _linear_stack() -> str:
    rng = np.random.default_rng(0)
    h, weights = rng.normal(size=5), rng.normal(0, 0.5, (10, 5, 5))
    kept = np.array(survivals(10, 0.5))
    states, chances = h[None], np.ones(1)
    for weight, p in zip(weights, kept, strict=True):
        states = np.concatenate([states, states + states @ weight])
        chances = np.concatenate([chances * (1 - p), chances * p])
    scaled = h
    for weight, p in zip(weights, kept, strict=True):
        scaled = scaled + p * (scaled @ weight)
    mean = chances @ states
    off = np.linalg.norm(scaled - mean) / np.linalg.norm(mean)
    return _EXACT if off < 1e-9 else _NEAR if off < 0.05 else _FAR


linear_stack = Question(
    name="linear_stack",
    lesson="10",
    points=3,
    prompt="""
Ten residual blocks whose branches are *linear*: block `l` turns `h` into `h + h @ W_l`, with random
matrices `W_l`. They are skipped independently, by the linear rule with a last survival of 0.5. The
network at test adds `p_l * (h @ W_l)` instead. Does its output agree with the mean output of all
1,024 sub-networks?""",
    options=(_EXACT, _NEAR, _FAR),
    measure=_linear_stack,
    guide="""\
A good explanation says that h after a block is linear in that block's coin, that the coins are
independent, and that the mean of a product of independent factors is the product of their means; so
each coin may be replaced by its mean, block after block, however deep the stack. It then says what
breaks this in a real network: a nonlinearity sees a random input, and the mean of f(h) is not f of
the mean. Whoever adds that *dependent* coins would break it, too, has understood it.""",
)
