"""An exercise to lesson 00: the risk of trusting few runs."""

import math

import numpy as np

from coursekit import intervals
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise


def _sign_probes(rng: np.random.Generator) -> list[Probe]:
    def probe(name: str, sign: int, n: int) -> Probe:
        # Neither too sure nor a coin toss, and away from 1, where squares and roots coincide.
        sd = float(rng.uniform(1.7, 3.0))
        effect = sign * sd / np.sqrt(n) * float(rng.uniform(0.5, 1.2))
        return Probe(name, {"effect": float(effect), "sd": sd, "n_seeds": n})

    several = int(rng.integers(5, 10))
    return [
        probe(f"{several} seeds and a gain", +1, several),
        probe("3 seeds and a loss", -1, 3),
        probe("25 seeds and a small loss", -1, 25),
        probe("one seed", +1, 1),
        Probe("effect=0", {"effect": 0.0, "sd": 2.0, "n_seeds": 4}),
    ]


wrong_sign = Exercise(
    name="wrong_sign",
    lesson="00",
    points=2,
    signature="(effect, sd, n_seeds)",
    task="""
Paired differences are normal with mean `effect` (of either sign) and standard deviation `sd`.
Return the probability that the mean of `n_seeds` of them has the other sign than `effect`. The
normal distribution function is `(1 + math.erf(z / math.sqrt(2))) / 2`. For `effect=0` return 0.5.
""",
    probes=_sign_probes,
    reference=intervals.p_wrong_sign,
    hints=(
        "What is the standard deviation of a mean of n numbers?",
        "How many of these standard deviations does the true mean lie away from 0? That is z.",
        "The chance is the normal distribution function at -|effect| * sqrt(n_seeds) / sd.",
    ),
    why="""\
A mean of n differences has standard deviation sd / sqrt(n), so it lands on the wrong side of zero
with the probability that a normal variable exceeds |effect| * sqrt(n) / sd. Halving that risk's
scale takes four times the seeds.""",
)


@wrong_sign.right
def by_erf(effect, sd, n_seeds):
    z = -abs(effect) * math.sqrt(n_seeds) / sd
    return (1 + math.erf(z / math.sqrt(2))) / 2


@wrong_sign.right
def by_library(effect, sd, n_seeds):
    from scipy import stats

    away = stats.norm(loc=abs(effect), scale=sd / n_seeds**0.5)
    return float(away.cdf(0))


@wrong_sign.right
def by_tail(effect, sd, n_seeds):
    spread = np.sqrt(np.square(sd) / n_seeds)
    if effect < 0:
        effect = -effect
    return math.erfc(effect / spread / 2**0.5) / 2


@wrong_sign.wrong(
    "You divided the spread by n_seeds; the spread of a mean shrinks with the square root of it."
)
def without_root(effect, sd, n_seeds):
    return math.erfc(abs(effect) * n_seeds / sd / math.sqrt(2)) / 2


@wrong_sign.wrong(
    "This is the risk of a single seed: the mean of n_seeds has a smaller spread, sd / sqrt(n)."
)
def of_one_seed(effect, sd, n_seeds):
    return math.erfc(abs(effect) / sd / math.sqrt(2)) / 2


@wrong_sign.wrong(
    "You counted both tails; the wrong sign lies on one side of zero only, so take one tail."
)
def both_tails(effect, sd, n_seeds):
    return math.erfc(abs(effect) * math.sqrt(n_seeds) / sd / math.sqrt(2))


@wrong_sign.wrong(
    "For an effect below 0 you returned the chance of the right sign: only its size matters."
)
def sign_matters(effect, sd, n_seeds):
    return math.erfc(effect * math.sqrt(n_seeds) / sd / math.sqrt(2)) / 2


@wrong_sign.wrong("This is the chance of the right sign; asked is the rest, 1 minus it.")
def right_sign(effect, sd, n_seeds):
    return 1 - math.erfc(abs(effect) * math.sqrt(n_seeds) / sd / math.sqrt(2)) / 2


@wrong_sign.wrong(
    "You returned the height of the normal density; a probability is the area beyond z."
)
def a_density(effect, sd, n_seeds):
    z = abs(effect) * math.sqrt(n_seeds) / sd
    return math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


@wrong_sign.wrong("You took the root of sd: it is a standard deviation already, not a variance.")
def root_of_sd(effect, sd, n_seeds):
    return math.erfc(abs(effect) * math.sqrt(n_seeds) / math.sqrt(sd) / math.sqrt(2)) / 2


@wrong_sign.wrong(
    "You divided by the variance, sd squared; z counts standard deviations, so divide by sd."
)
def by_variance(effect, sd, n_seeds):
    return math.erfc(abs(effect) * math.sqrt(n_seeds) / sd**2 / math.sqrt(2)) / 2


@wrong_sign.wrong(
    "You passed z to erf as it is; the normal distribution function takes erf at z / sqrt(2)."
)
def erf_of_z(effect, sd, n_seeds):
    return (1 - math.erf(abs(effect) * math.sqrt(n_seeds) / sd)) / 2


@wrong_sign.wrong(
    "You used n_seeds - 1: that belongs to an estimated spread, and here sd is known; use n_seeds."
)
def one_seed_less(effect, sd, n_seeds):
    return math.erfc(abs(effect) * math.sqrt(n_seeds - 1) / sd / math.sqrt(2)) / 2
