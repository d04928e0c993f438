"""Exercise to lesson 10, a bug hunt: who survives how often."""

import numpy as np
import torch

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers.depth import survivals


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
