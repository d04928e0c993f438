"""Exercises to lesson 10: stochastic depth."""

import itertools

import numpy as np
import torch

from coursekit.exercises.depth_random import drop_rows, skip_block
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.exercises.questions import Question
from coursekit.regularizers.depth import residual, survivals

__all__ = ["drop_rows", "linear_stack", "mean_of_subnetworks", "skip_block", "survival_rule"]

# --- who survives how often ------------------------------------------------------------------


def _rule_probes(rng: np.random.Generator) -> list[Probe]:
    lasts = rng.uniform([0.6, 0.1, 0.3], [0.9, 0.4, 0.8]).tolist()
    cases = [(2, lasts[1]), (int(rng.integers(5, 12)), lasts[2]), (4, 0.99), (1, lasts[0])]
    return [
        Probe(f"n_blocks={n}, last={last:.3g}", {"n_blocks": n, "last": last}) for n, last in cases
    ]


survival_rule = Exercise(
    name="survival_rule",
    lesson="10",
    points=2,
    arrays="numpy",
    signature="(n_blocks, last)",
    task="""
The linear rule, rebuilt from the EfficientNets of `keras.applications`. Block `l` of `L = n_blocks`
(an int of at least 1) is dropped with a probability that grows in proportion to `l`, **counted from
1**, and the last block survives with probability `last` (above 0, below 1), as in the paper of
Huang et al. Return the survival probabilities of all blocks, the first one first: a list of floats,
or an array. The code looks right, and the networks are good. What is wrong?
""",
    probes=_rule_probes,
    reference=survivals,
    bug="counted_from_zero",
    tolerance=1e-5,  # float32 will do
    hints=(
        "Print the list for 4 blocks and last=0.5. How often is the first block dropped?",
        "What does the last block get, and what should it get?",
        "Let the block's number run from 1 to n_blocks.",
    ),
    why="""\
The paper counts blocks from 1: what is number 0 is the input, which always survives. Counted from
0, the first block takes the place of the input, no block ever reaches `last`, and training is
deeper than intended by (1 - last) / 2 blocks on average. With 39 blocks nobody notices, and with a
few it matters; a score does not tell.""",
    variants=(
        Variant(
            "`last` is the **rate of dropping** the last block, as in torchvision and timm; "
            "returned are survival probabilities all the same.",
            "plain(n_blocks, 1 - last)",
        ),
        Variant(
            "Return the **rates of dropping**, not the survival probabilities; `last` is still a "
            "survival probability.",
            "[1 - float(p) for p in plain(n_blocks, last)]",
        ),
    ),
)


@survival_rule.right
def from_one(n_blocks, last):
    return [1 - block / n_blocks * (1 - last) for block in range(1, n_blocks + 1)]


@survival_rule.right
def by_linspace(n_blocks, last):
    return np.linspace(1, last, n_blocks + 1)[1:]


@survival_rule.right
def by_adding_up(n_blocks, last):
    rate, found = 0.0, []
    for _ in range(n_blocks):
        rate += (1 - last) / n_blocks
        found.append(1 - rate)
    return found


@survival_rule.right
def by_tensors(n_blocks, last):
    share = torch.arange(1, n_blocks + 1, dtype=torch.float64) / n_blocks
    return torch.lerp(torch.tensor(1.0), torch.tensor(last), share.float()).tolist()


@survival_rule.wrong("The first block is never dropped, and the last one survives too often.")
def counted_from_zero(n_blocks, last):
    rates = [(1 - last) * block / n_blocks for block in range(n_blocks)]
    return [1 - rate for rate in rates]


@survival_rule.wrong(
    "You go from 1 for the first block to `last`: the 1 belongs to the input, block number 0."
)
def first_is_sure(n_blocks, last):
    return np.linspace(1, last, n_blocks) if n_blocks > 1 else np.array([1.0])


@survival_rule.wrong(
    "The first block is dropped most often: later ones are, because fewer blocks build on them."
)
def turned_round(n_blocks, last):
    return [1 - block / n_blocks * (1 - last) for block in range(n_blocks, 0, -1)]


@survival_rule.wrong("These are rates of dropping: return the probabilities to survive, 1 - rate.")
def rates(n_blocks, last):
    return [block / n_blocks * (1 - last) for block in range(1, n_blocks + 1)]


@survival_rule.wrong(
    "You took `last` for a rate of dropping: it is the probability of the last block to survive."
)
def last_as_rate(n_blocks, last):
    return [1 - block / n_blocks * last for block in range(1, n_blocks + 1)]


@survival_rule.wrong("All blocks get the same: that is the uniform rule, not the linear one.")
def uniform(n_blocks, last):
    return [last] * n_blocks


@survival_rule.wrong(
    "You multiply from block to block, so the survivals fall by equal *factors*: they must fall by "
    "equal steps."
)
def by_factors(n_blocks, last):
    return [last ** (block / n_blocks) for block in range(1, n_blocks + 1)]


@survival_rule.wrong(
    "The survivals fall to 0 and are only multiplied by `last`: they must fall from just under 1 "
    "to `last`."
)
def down_to_zero(n_blocks, last):
    return [last * (1 - block / n_blocks) for block in range(1, n_blocks + 1)]


@survival_rule.wrong("You divide by n_blocks + 1, so no block reaches `last`: divide by n_blocks.")
def one_step_short(n_blocks, last):
    return [1 - block / (n_blocks + 1) * (1 - last) for block in range(1, n_blocks + 1)]


# --- one network or many ---------------------------------------------------------------------


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


# --- predict and explain ---------------------------------------------------------------------

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
