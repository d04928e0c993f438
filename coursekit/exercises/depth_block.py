"""Exercise to lesson 10: a block that is skipped at random."""

import numpy as np
import torch

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import REPEATABLE, Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers.depth import residual

_CALLS = 150


def _block_driver(answer, h, branch, survival, training):
    weight, ran, given = branch, [0], h.clone()

    def counted(inputs):
        ran[0] += 1
        return torch.tanh(inputs @ weight) + 0.5

    if not training:
        out = answer(h, counted, survival, training)
        found = {"the result": out, "h afterwards": torch.equal(h, given)}
        again = [answer(given.clone(), counted, survival, training) for _ in range(40)]
        # One call would hide a coin that happens to fall well.
        return found | {REPEATABLE: all(torch.equal(again[0], other) for other in again)}

    def steps():  # what is added, in units of the branch, and whether the branch was computed
        for _ in range(_CALLS):
            ran[0] = 0
            out = answer(h, counted, survival, training)
            calls = torch.full((len(h), 1), float(ran[0]), dtype=h.dtype)
            yield torch.cat([(out - given) / (torch.tanh(given @ weight) + 0.5), calls], 1)

    first, again = torch.stack(list(steps())), torch.stack(list(steps()))
    return {
        "the draws": first,
        "the draws again": again,
        "h afterwards": torch.equal(h, given),
    }


def _block_probes(rng: np.random.Generator) -> list[Probe]:
    seed = int(rng.integers(2**31))

    def given(survival: float, training: bool) -> dict:
        return {
            "h": rng.uniform(0.5, 2.0, (3, 5)),
            "branch": np.abs(rng.normal(size=(5, 5))) * 0.3,
            "survival": survival,
            "training": training,
        }

    low, high = float(rng.uniform(0.15, 0.35)), float(rng.uniform(0.6, 0.8))
    probes = [Probe(f"survival={p:.2f}, training=False", given(p, False)) for p in (low, high)]
    return probes + [
        Probe(f"survival={p:.2g}, training=True", given(p, True), draws=_CALLS, seed=seed + 7 * i)
        for i, p in enumerate((low, high))
    ]


def _block_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    p, n = inputs["survival"], len(draws)
    added, calls = draws[..., :-1], draws[:, 0, -1]
    kept = np.abs(added) > 1e-9  # (n, B, H)
    whole = float((kept == kept[:, :1, :1]).all())
    rows = float((kept == kept[..., :1]).all())
    factor = added[kept].mean() if kept.any() else np.nan
    bare = float((calls[~kept.any((1, 2))] > 0).any())
    return [
        Fact("whether the coin is one for the whole batch", whole, 1, 0),
        Fact("whether a row is kept or skipped as a whole", rows, 1, 0),
        Fact("the factor of a branch that is kept", factor, 1, 0),
        Fact("the share of kept branches", kept.mean(), p, np.sqrt(p * (1 - p) / n)),
        Fact("whether a skipped branch is computed", bare, 0, 0),
        Fact("the most often that a branch is computed in one call", calls.max(), 1, 0),
    ]


def _library_block(h, branch, survival, training):
    return residual(h, branch, survival, training=training)


skip_block = Exercise(
    name="skip_block",
    lesson="10",
    points=3,
    signature="(h, branch, survival, training)",
    task="""
A residual block with stochastic depth, as in the paper. `h` is a float tensor (B, H), `branch` a
function that turns it into another (B, H), `survival` (above 0, up to 1) the probability to
**keep** the branch. While training, **one coin for the whole batch** decides between
`h + branch(h)` and `h`; a skipped branch is not computed at all, or no time is saved. Not while
training, return the mean of that over the coins: nothing is random then. Return a tensor (B, H) and
leave `h` alone.
""",
    probes=_block_probes,
    reference=_library_block,
    driver=_block_driver,
    facts=_block_facts,
    hints=(
        "Three cases, three lines: not training, kept, skipped.",
        "`torch.rand(()) < survival` is True with probability survival.",
        "The mean of a coin is survival, so the test adds survival * branch(h).",
    ),
    why="""\
The coin is 1 with probability p, so the mean of h + b f(h) is h + p f(h): that is what the next
block saw on average, and what the test must give it. A skipped block is the identity and not 0, or
the whole network would be cut. The `if` is not style: only what is not called takes no time.""",
    variants=(
        Variant(
            "The third argument is the **rate of dropping** the branch (0 up to, not including, "
            "1), as in torchvision and timm.",
            "plain(h, branch, 1 - survival, training)",
        ),
    ),
)


@skip_block.right
def three_cases(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    if torch.rand(()) < survival:
        return h + branch(h)
    return h


@skip_block.right
def by_a_factor(h, branch, survival, training):
    factor = torch.bernoulli(torch.tensor(survival)).item() if training else survival
    return h + factor * branch(h) if factor else h.clone()


@skip_block.right
def by_numpy(h, branch, survival, training):
    out = h.clone()
    if training and np.random.rand() >= survival:  # noqa: NPY002 - a learner's way
        return out
    return out.add_(branch(h), alpha=1 if training else survival)


@skip_block.wrong(
    "At test the branch is added whole: it was there with probability survival only, so multiply "
    "it by that."
)
def intact_at_test(h, branch, survival, training):
    return h + branch(h) if not training or torch.rand(()) < survival else h


@skip_block.wrong(
    "You scaled twice: divided in training and multiplied at test. Here the test alone is scaled."
)
def scaled_twice(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + branch(h) / survival if torch.rand(()) < survival else h


@skip_block.wrong(
    "In training, the coin keeps where it should skip: keep where the random number is below "
    "survival."
)
def coin_turned(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + branch(h) if torch.rand(()) > survival else h


@skip_block.wrong(
    "You took survival for the rate of dropping: here it is the probability to keep the branch."
)
def rate_for_survival(h, branch, survival, training):
    if not training:
        return h + (1 - survival) * branch(h)
    return h + branch(h) if torch.rand(()) >= survival else h


@skip_block.wrong("Each row has a coin of its own: here one coin decides for the whole batch.")
def coin_per_row(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    kept = torch.rand(len(h), 1) < survival
    return h + kept * branch(h) if kept.any() else h


@skip_block.wrong(
    "Each number has a coin of its own: that is dropout. Here one coin decides for the whole batch."
)
def coin_per_unit(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    kept = torch.rand_like(h) < survival
    return h + kept * branch(h) if kept.any() else h


@skip_block.wrong(
    "The branch is computed and then multiplied by 0: toss the coin first, and do not call it."
)
def computed_in_vain(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + (torch.rand(()) < survival) * branch(h)


@skip_block.wrong("A skipped block returns h, not 0: skipped is the branch, not the input.")
def nothing_left(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + branch(h) if torch.rand(()) < survival else torch.zeros_like(h)


@skip_block.wrong("At test, h is scaled as well: survival belongs to the branch alone.")
def input_scaled(h, branch, survival, training):
    if not training:
        return survival * (h + branch(h))
    return h + branch(h) if torch.rand(()) < survival else h


@skip_block.wrong("The test still tosses a coin: without training nothing is random.")
def always_random(h, branch, survival, training):
    return h + branch(h) if torch.rand(()) < survival else h


@skip_block.wrong("You added to h itself: make a new tensor, for others still read the old one.")
def in_place(h, branch, survival, training):
    if not training:
        return h.add_(survival * branch(h))
    return h + branch(h) if torch.rand(()) < survival else h
