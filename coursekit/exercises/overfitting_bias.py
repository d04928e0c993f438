"""An exercise to lesson 01: bias and variance."""

import numpy as np
import torch

from coursekit import measure
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant


def _probes(rng: np.random.Generator) -> list[Probe]:
    def probe(n_sets: int, n: int, classes: int) -> Probe:
        truth = rng.normal(size=(n, classes))
        miss = rng.normal(size=(n, classes))  # of the mean prediction: the bias
        scatter = rng.uniform(0.5, 2.0, (n, 1)) * rng.normal(size=(n_sets, n, classes))
        shape = f"{n_sets} training sets, {n} inputs and {classes} classes"
        return Probe(shape, {"predictions": truth + miss + scatter, "truth": truth})

    return [probe(4, 3, 5), probe(7, 6, 2), probe(2, 5, 3)]


def _two_numbers(answer, predictions, truth) -> dict[str, object]:
    before = predictions.copy(), truth.copy()
    result = answer(predictions, truth)
    if not isinstance(result, tuple | list | np.ndarray) or len(result) != 2:
        raise TypeError(f"expected two numbers to be returned, got {type(result).__name__}")
    return {
        "the first number": result[0],
        "the second number": result[1],
        "predictions afterwards": np.array_equal(predictions, before[0]),
        "truth afterwards": np.array_equal(truth, before[1]),
    }


def _two_parts(predictions: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    parts = measure.bias_variance(predictions, truth)
    return parts.bias2, parts.variance


bias_variance = Exercise(
    name="bias_variance",
    lesson="01",
    points=3,
    arrays="numpy",
    signature="(predictions, truth)",
    task="""
`predictions` is an array (training sets, inputs, classes): what networks trained on different
training sets answer at the same inputs. `truth` (inputs, classes) is the noise-free target. Return
two numbers, `(bias2, variance)`, each a **sum over classes and a mean over inputs**, so that they
add up exactly to the mean squared distance of a prediction from the truth. Hence the variance
divides by the number of training sets.
""",
    probes=_probes,
    reference=_two_parts,
    driver=_two_numbers,
    hints=(
        "Which of the three axes is the one that an expectation over training sets averages away?",
        "Bias: how far is the *mean prediction* from the truth? Variance: how far is a prediction "
        "from the mean prediction?",
        "`mean = predictions.mean(0)`; then square, sum over classes, and average over the rest.",
    ),
    why="""\
A prediction misses the truth by (prediction - mean) + (mean - truth). Squared and averaged over
training sets, the mixed term vanishes, because the first bracket averages to zero. What is left is
variance plus squared bias, input by input.""",
    variants=(
        Variant(
            "Return `(error, variance)`, the error being the sum of both parts.",
            "(lambda bias2, variance: (bias2 + variance, variance))(*plain(predictions, truth))",
        ),
    ),
)


@bias_variance.right
def by_the_mean(predictions, truth):
    mean = predictions.mean(0)
    bias2 = ((mean - truth) ** 2).sum(1).mean()
    variance = ((predictions - mean) ** 2).sum(2).mean()
    return bias2, variance


@bias_variance.right
def by_numpy_var(predictions, truth):
    inputs = len(truth)
    error = np.sum((predictions - truth) ** 2) / (len(predictions) * inputs)
    variance = np.var(predictions, axis=0).sum() / inputs
    return error - variance, variance


@bias_variance.right
def input_by_input(predictions, truth):
    bias2, variance = [], []
    for i, target in enumerate(truth):
        answers = [p[i] for p in predictions]
        mean = sum(answers) / len(answers)
        bias2.append(sum((mean - target) ** 2))
        variance.append(sum(sum((a - mean) ** 2) for a in answers) / len(answers))
    return sum(bias2) / len(bias2), sum(variance) / len(variance)


@bias_variance.right
def in_torch(predictions, truth):
    p, f = torch.as_tensor(predictions), torch.as_tensor(truth)
    variance, mean = torch.var_mean(p, dim=0, correction=0)
    return float((mean - f).square().sum(-1).mean()), float(variance.sum(-1).mean())


@bias_variance.wrong(
    "You averaged predictions over the inputs; variance is the scatter between training sets, at "
    "each input."
)
def over_inputs(predictions, truth):
    mean = predictions.mean(1, keepdims=True)
    bias2 = ((mean - truth[None]) ** 2).sum(2).mean()
    return bias2, ((predictions - mean) ** 2).sum(2).mean()


@bias_variance.wrong(
    "Your variance divides by one less than the number of training sets; then the two parts do not "
    "add up to the error. Divide by their number."
)
def one_set_less(predictions, truth):
    bias2 = ((predictions.mean(0) - truth) ** 2).sum(1).mean()
    return bias2, predictions.var(0, ddof=1).sum(1).mean()


@bias_variance.wrong("You averaged over classes; here they are summed, and inputs are averaged.")
def mean_over_classes(predictions, truth):
    return ((predictions.mean(0) - truth) ** 2).mean(), predictions.var(0).mean()


@bias_variance.wrong("You summed over the inputs as well; they are averaged.")
def sum_over_inputs(predictions, truth):
    return ((predictions.mean(0) - truth) ** 2).sum(), predictions.var(0).sum()


@bias_variance.wrong(
    "Your bias2 is the whole error: you squared before averaging over training sets. Average the "
    "predictions first, then take the distance."
)
def error_as_bias(predictions, truth):
    return ((predictions - truth) ** 2).sum(2).mean(), predictions.var(0).sum(1).mean()


@bias_variance.wrong(
    "Your variance measures the distance from the truth, which is the whole error; measure from "
    "the mean prediction."
)
def error_as_variance(predictions, truth):
    bias2 = ((predictions.mean(0) - truth) ** 2).sum(1).mean()
    return bias2, ((predictions - truth) ** 2).sum(2).mean()


@bias_variance.wrong(
    "You averaged the bias over inputs and classes before squaring, so misses in opposite "
    "directions cancel: square first."
)
def bias_cancels(predictions, truth):
    bias = (predictions.mean(0) - truth).mean()
    return bias**2 * truth.shape[1], predictions.var(0).sum(1).mean()


@bias_variance.wrong("You did not square the bias.")
def not_squared(predictions, truth):
    bias = np.abs(predictions.mean(0) - truth).sum(1).mean()
    return bias, predictions.var(0).sum(1).mean()


@bias_variance.wrong("You returned a standard deviation; a variance is its square.")
def a_deviation(predictions, truth):
    bias2 = ((predictions.mean(0) - truth) ** 2).sum(1).mean()
    return bias2, predictions.std(0).sum(1).mean()


@bias_variance.wrong("Variance and squared bias have changed places.")
def variance_first(predictions, truth):
    bias2 = ((predictions.mean(0) - truth) ** 2).sum(1).mean()
    return predictions.var(0).sum(1).mean(), bias2


@bias_variance.wrong(
    "You took the variance of the predictions over classes too, so differences between classes "
    "count as variance: take it over training sets only, then sum over classes."
)
def over_classes_too(predictions, truth):
    bias2 = ((predictions.mean(0) - truth) ** 2).sum(1).mean()
    centered = predictions - predictions.mean((0, 2), keepdims=True)
    return bias2, (centered**2).sum(2).mean()
