"""An exercise to lesson 02: what libraries call one and the same strength."""

import numpy as np

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.linear import strengths

KINDS = {
    "Ridge": "sklearn Ridge alpha",
    "Lasso": "sklearn Lasso alpha",
    "SGD": "torch weight_decay",
}


def _strength_probes(rng: np.random.Generator) -> list[Probe]:
    return [
        Probe(f"lam={lam:.3g} and n={n}", {"lam": float(lam), "n": int(n)})
        for lam, n in ((rng.uniform(0.1, 3.0), rng.integers(20, 90)), (0.05, 1), (0.0, 50))
    ]


def _by_kind(answer, lam, n) -> dict[str, object]:
    return {f'the strength for kind="{kind}"': answer(lam, n, kind) for kind in KINDS}


def _converted(lam: float, n: int, kind: str) -> float:
    source = "MSE + lambda ||w||_1" if kind == "Lasso" else "MSE + lambda ||w||^2"
    return strengths.convert(lam, source, KINDS[kind], n)


alpha_from_lambda = Exercise(
    name="alpha_from_lambda",
    lesson="02",
    points=2,
    signature="(lam, n, kind)",
    task="""
Somebody's `lam` belongs to *mean squared error over n examples + lam * penalty*, where the penalty
is the sum of squared weights (or, for the lasso, of absolute weights) without a half. Return the
number that gives the same minimum in a library, by `kind`:

- `"Ridge"`: scikit-learn's `Ridge(alpha)`, *sum of squared errors + alpha * sum of squares*;
- `"Lasso"`: scikit-learn's `Lasso(alpha)`, *half the mean squared error + alpha * sum of sizes*;
- `"SGD"`: `weight_decay` of `torch.optim.SGD` with `nn.MSELoss` as the loss; the optimizer adds
  `weight_decay * w` to the slope of the loss.
""",
    probes=_strength_probes,
    reference=_converted,
    driver=_by_kind,
    hints=(
        "An objective may be multiplied by any number above 0 without moving its minimum.",
        "Multiply yours until its squared errors look like those of the library; then read off the "
        "factor of the penalty.",
        "weight_decay is a slope. What is the slope of lam * w^2?",
    ),
    why="""\
Multiply *MSE + lam * penalty* by n to get Ridge's sum of squares: alpha = n * lam. Multiply it by a
half for Lasso's half of a mean: alpha = lam / 2. And the slope of lam * w^2 is 2 * lam * w, so
weight_decay = 2 * lam. A strength without its objective says nothing.""",
    variants=(
        Variant(
            "`lam` belongs to the **sum** of squared errors + lam * penalty.",
            "plain(lam / n, n, kind)",
        ),
    ),
)


@alpha_from_lambda.right
def by_cases(lam, n, kind):
    if kind == "Ridge":
        return n * lam
    if kind == "Lasso":
        return lam / 2
    return 2 * lam


@alpha_from_lambda.right
def by_dictionary(lam, n, kind):
    return {"Ridge": n, "Lasso": 0.5, "SGD": 2}[kind] * lam


@alpha_from_lambda.right
def by_match(lam, n, kind):
    match kind:
        case "Ridge":
            squares, slope = n, 1  # how often the library counts the mean squared error
        case "Lasso":
            squares, slope = 1 / 2, 1
        case _:
            squares, slope = 1, 2
    return lam * squares * slope


@alpha_from_lambda.wrong(
    "You returned the strength as it came; each library has another objective, so another number."
)
def as_it_came(lam, n, kind):
    return lam


@alpha_from_lambda.wrong(
    "For Ridge you divided by n: its squares are a sum, n times the mean, so the penalty must grow "
    "with n."
)
def ridge_divided(lam, n, kind):
    return {"Ridge": lam / n, "Lasso": lam / 2, "SGD": 2 * lam}[kind]


@alpha_from_lambda.wrong("For Ridge you left n out: it adds squared errors up, without a mean.")
def ridge_without_n(lam, n, kind):
    return {"Ridge": lam, "Lasso": lam / 2, "SGD": 2 * lam}[kind]


@alpha_from_lambda.wrong(
    "For Lasso you multiplied by 2; its squares are half as large, so the penalty is halved too."
)
def lasso_doubled(lam, n, kind):
    return {"Ridge": lam * n, "Lasso": 2 * lam, "SGD": 2 * lam}[kind]


@alpha_from_lambda.wrong("For Lasso you left out the half in front of its mean squared error.")
def lasso_without_half(lam, n, kind):
    return {"Ridge": lam * n, "Lasso": lam, "SGD": 2 * lam}[kind]


@alpha_from_lambda.wrong(
    "For Lasso you took Ridge's sum of squares; its objective has half the mean."
)
def lasso_like_ridge(lam, n, kind):
    return {"Ridge": lam * n, "Lasso": lam * n, "SGD": 2 * lam}[kind]


@alpha_from_lambda.wrong(
    "For SGD you left out the 2: weight_decay is a slope, and the slope of w^2 is 2 w."
)
def decay_as_penalty(lam, n, kind):
    return {"Ridge": lam * n, "Lasso": lam / 2, "SGD": lam}[kind]


@alpha_from_lambda.wrong(
    "For SGD you halved: the penalty has no half to begin with, so its slope is twice its strength."
)
def decay_halved(lam, n, kind):
    return {"Ridge": lam * n, "Lasso": lam / 2, "SGD": lam / 2}[kind]


@alpha_from_lambda.wrong(
    "For SGD you multiplied by n: `nn.MSELoss` is a mean, so n does not come in."
)
def decay_with_n(lam, n, kind):
    return {"Ridge": lam * n, "Lasso": lam / 2, "SGD": 2 * lam * n}[kind]


@alpha_from_lambda.wrong(
    "You gave Ridge half of its squares, as Lasso has them; in Ridge there is no half."
)
def ridge_halved(lam, n, kind):
    return {"Ridge": lam * n / 2, "Lasso": lam / 2, "SGD": 2 * lam}[kind]
