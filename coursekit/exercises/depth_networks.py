"""Exercise to lesson 10: the mean of all sub-networks."""

import itertools

import numpy as np
import torch

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers.depth import residual


def _stack_probes(rng: np.random.Generator) -> list[Probe]:
    found = []
    for n_blocks, b, h in ((2, 3, 2), (4, 2, 3), (1, 2, 3)):
        inputs = {
            "h": rng.normal(size=(b, h)),
            "weights": rng.normal(0, 1.5, (n_blocks, h, h)),
            "survival": np.sort(rng.uniform(0.15, 0.9, n_blocks))[::-1].copy(),
        }
        found.append(Probe(f"{n_blocks} blocks on inputs ({b}, {h})", inputs))
    return found


def _all_subnetworks(h, weights, survival):
    total = torch.zeros_like(h)
    for coins in itertools.product((0.0, 1.0), repeat=len(weights)):
        out, chance = h, 1.0
        for weight, p, coin in zip(weights, survival.tolist(), coins, strict=True):
            # A survival of 0 or 1 in place of the coin: then nothing is random.
            out = residual(out, lambda x, w=weight: torch.tanh(x @ w), coin, training=False)
            chance *= p if coin else 1 - p
        total += chance * out
    return total


mean_of_subnetworks = Exercise(
    name="mean_of_subnetworks",
    lesson="10",
    points=4,
    signature="(h, weights, survival)",
    task="""
The exact mean output of all sub-networks, which the scaled network only approximates. `h` (B, H) is
the input of a stack of L blocks, `weights` (L, H, H), `survival` (L,): float tensors. Block `l`
turns `h` into `h + torch.tanh(h @ weights[l])` if it is kept, which happens with probability
`survival[l]`, independently of the others, and leaves `h` alone if it is skipped. Return the mean
of the stack's output (B, H) over all 2^L cases, each with its probability; L is at most 6. Nothing
is drawn.
""",
    probes=_stack_probes,
    reference=_all_subnetworks,
    hints=(
        "For two blocks, write down the four cases and the probability of each.",
        "`itertools.product([0, 1], repeat=L)` gives all cases; a case has the probability of its "
        "coins, multiplied.",
        "Or recursively: the mean from block l on is p times that with the block, plus 1 - p times "
        "that without it.",
    ),
    why="""\
Two to the L networks share these weights, and training draws one of them in each step. Their mean
costs 2^L passes. The scaled network costs one, and equals the mean for a single block only: it puts
the *mean* of h into the next tanh, and the tanh of a mean is not the mean of the tanh.""",
)


@mean_of_subnetworks.right
def by_all_cases(h, weights, survival):
    from itertools import product

    total = torch.zeros_like(h)
    for case in product([0, 1], repeat=len(weights)):
        out, chance = h, 1.0
        for kept, weight, p in zip(case, weights, survival, strict=True):
            out = out + kept * torch.tanh(out @ weight)
            chance = chance * (p if kept else 1 - p)
        total = total + chance * out
    return total


@mean_of_subnetworks.right
def by_recursion(h, weights, survival):
    def mean_from(block, h):
        if block == len(weights):
            return h
        kept = mean_from(block + 1, h + torch.tanh(h @ weights[block]))
        skipped = mean_from(block + 1, h)
        return survival[block] * kept + (1 - survival[block]) * skipped

    return mean_from(0, h)


@mean_of_subnetworks.right
def by_branching(h, weights, survival):
    states, chances = h[None], torch.ones(1, dtype=h.dtype)
    for weight, p in zip(weights, survival, strict=True):
        states = torch.cat([states, states + torch.tanh(states @ weight)])
        chances = torch.cat([chances * (1 - p), chances * p])
    return torch.einsum("n,nbh->bh", chances, states)


def _cases(n_blocks):
    return itertools.product([0, 1], repeat=n_blocks)


def _run(h, weights, coins):
    for coin, weight in zip(coins, weights, strict=True):
        h = h + coin * torch.tanh(h @ weight)
    return h


def _weighted(h, weights, survival, output):
    total = torch.zeros_like(h)
    for case in _cases(len(weights)):
        coins = torch.tensor(case, dtype=h.dtype)
        chance = torch.where(coins > 0, survival, 1 - survival).prod()
        total = total + chance * output(h, weights, coins)
    return total


@mean_of_subnetworks.wrong("All cases count the same: weight each of them with its probability.")
def equal_weights(h, weights, survival):
    return _weighted(h, weights, torch.full_like(survival, 0.5), _run)


@mean_of_subnetworks.wrong(
    "This is the scaled network, in one pass: near the mean, but not equal to it beyond one block."
)
def scaled_network(h, weights, survival):
    return _run(h, weights, survival)


@mean_of_subnetworks.wrong("This is the network with all blocks: the skipped ones count as well.")
def intact_network(h, weights, survival):
    return _run(h, weights, torch.ones_like(survival))


@mean_of_subnetworks.wrong(
    "Sub-networks are drawn: the mean over all 2^L cases needs no draw, and is exact."
)
def drawn(h, weights, survival):
    runs = [_run(h, weights, (torch.rand_like(survival) < survival).to(h)) for _ in range(50)]
    return torch.stack(runs).mean(0)


@mean_of_subnetworks.wrong(
    "You took survival for the rate of dropping: a block is *kept* with this probability."
)
def rate_for_survival(h, weights, survival):
    return _weighted(h, weights, 1 - survival, _run)


@mean_of_subnetworks.wrong(
    "The probability of a case counts the kept blocks only: each skipped one brings a factor "
    "1 - survival."
)
def kept_only(h, weights, survival):
    total = torch.zeros_like(h)
    for case in _cases(len(weights)):
        coins = torch.tensor(case, dtype=h.dtype)
        chance = torch.where(coins > 0, survival, 1.0).prod()
        total = total + chance * _run(h, weights, coins)
    return total


@mean_of_subnetworks.wrong(
    "All branches see the input of the stack: each block gets what the blocks before it made of h."
)
def side_by_side(h, weights, survival):
    def parallel(h, weights, coins):
        branches = zip(coins, weights, strict=True)
        return h + sum(coin * torch.tanh(h @ weight) for coin, weight in branches)

    return _weighted(h, weights, survival, parallel)


@mean_of_subnetworks.wrong("The shortcut is missing: a kept block returns h *plus* its branch.")
def without_shortcut(h, weights, survival):
    def chain(h, weights, coins):
        for coin, weight in zip(coins, weights, strict=True):
            h = torch.tanh(h @ weight) if coin else h
        return h

    return _weighted(h, weights, survival, chain)


@mean_of_subnetworks.wrong(
    "A skipped block returns 0 here, and cuts the stack: skipped is the branch, h goes on."
)
def cut_through(h, weights, survival):
    def chain(h, weights, coins):
        for coin, weight in zip(coins, weights, strict=True):
            h = coin * (h + torch.tanh(h @ weight))
        return h

    return _weighted(h, weights, survival, chain)


@mean_of_subnetworks.wrong(
    "The blocks run backwards: weights[0] belongs to the block that sees h first."
)
def backwards(h, weights, survival):
    return _weighted(h, weights.flip(0), survival.flip(0), _run)


@mean_of_subnetworks.wrong(
    "Survivals and blocks are paired in opposite order: survival[l] belongs to weights[l]."
)
def survivals_turned(h, weights, survival):
    return _weighted(h, weights, survival.flip(0), _run)


@mean_of_subnetworks.wrong(
    "The case in which all blocks are skipped is missing: it has a probability, too, and returns h."
)
def without_the_empty(h, weights, survival):
    return _weighted(h, weights, survival, _run) - (1 - survival).prod() * h
