"""Exercise to lesson 04: the average of all sub-networks, exactly."""

import numpy as np
import torch

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers.ensemble import enumerate_masks


def _mask_probes(rng: np.random.Generator) -> list[Probe]:
    # No rate near 0.5, where keeping and dropping are one.
    rates = rng.permutation([0.2, 0.3, 0.7, 0.8]).tolist()

    def probe(name: str, n: int, n_inputs: int, n_classes: int) -> Probe:
        inputs = {
            "weight": 1.5 * rng.normal(size=(n_classes, n_inputs)),
            "bias": rng.normal(size=n_classes),
            "x": rng.normal(1.0, 1.0, (n, n_inputs)),
            "rate": rates.pop(),
        }
        return Probe(f"{name}, rate={inputs['rate']}", inputs)

    return [
        probe("2 examples, 4 inputs, 3 classes", 2, 4, 3),
        probe("5 examples, 1 input, 2 classes", 5, 1, 2),
        probe("1 example, 7 inputs, 4 classes", 1, 7, 4),
    ]


def _tested_average(weight, bias, x, rate):
    return enumerate_masks(weight, bias, x, rate).arithmetic_mean()


average_of_masks = Exercise(
    name="average_of_masks",
    lesson="04",
    points=4,
    signature="(weight, bias, x, rate)",
    task="""
One softmax layer reads inputs behind inverted dropout: under a mask m of zeros and ones it
predicts `softmax(weight @ (row * m / (1 - rate)) + bias)` for a row of `x`. `weight` is
(classes, inputs), `bias` (classes,), `x` (examples, inputs), at most 10 inputs. Each input is
dropped with probability `rate`, strictly between 0 and 1, independently of the others. Return,
as a tensor (examples, classes), the **exact** mean of the predicted probabilities over all
masks, each with the chance that it is drawn. All tensors are float64. Nothing is random here.
""",
    probes=_mask_probes,
    reference=_tested_average,
    tolerance=1e-6,  # forgives a constant in float32
    hints=(
        "How many masks are there for D inputs, and how do you list them? The bits of a number are "
        "a mask.",
        "A mask that keeps k of D inputs is drawn with probability (1 - rate)**k * rate**(D - k).",
        "Softmax first, over the classes; then add up probability times prediction. In the other "
        "order you get the geometric mean.",
    ),
    why="""\
The mean of probabilities is what Monte-Carlo dropout samples; with few inputs it can be summed up.
It differs from the whole network used once, which is the geometric mean of the same sub-networks:
the average of the logits, because the mean of m / (1 - rate) is 1.""",
    variants=(
        Variant(
            "`rate` is the probability to **keep** an input; survivors are divided by it.",
            "plain(weight, bias, x, 1 - rate)",
        ),
    ),
)


@average_of_masks.right
def by_bits(weight, bias, x, rate):
    d = x.shape[1]
    total = 0
    for number in range(2**d):
        mask = torch.tensor([(number >> i) & 1 for i in range(d)], dtype=x.dtype)
        kept = int(mask.sum())
        chance = (1 - rate) ** kept * rate ** (d - kept)
        total = total + chance * ((x * mask / (1 - rate)) @ weight.T + bias).softmax(1)
    return total


@average_of_masks.right
def by_recursion(weight, bias, x, rate):
    def average(logits, left):
        if left == 0:
            return torch.softmax(logits, dim=1)
        i = left - 1
        with_it = logits + x[:, i : i + 1] * weight[:, i] / (1 - rate)
        return rate * average(logits, i) + (1 - rate) * average(with_it, i)

    return average(bias.expand(len(x), -1), x.shape[1])


@average_of_masks.right
def at_once(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = torch.where(masks == 1, 1 - rate, rate).prod(1)
    logits = torch.einsum("mi,ni,ci->mnc", masks / (1 - rate), x, weight) + bias
    return (chances[:, None, None] * logits.softmax(2)).sum(0).to(x.dtype)


@average_of_masks.wrong(
    "All masks weigh the same here; a mask that keeps k inputs has the chance (1 - rate)**k * "
    "rate**(D - k)."
)
def equal_chances(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    logits = (x * masks[:, None] / (1 - rate)) @ weight.T + bias
    return logits.softmax(2).mean(0)


@average_of_masks.wrong(
    "Chances are swapped: a kept input has probability 1 - rate, a dropped one rate."
)
def swapped_chances(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = (rate**masks * (1 - rate) ** (1 - masks)).prod(1)
    logits = (x * masks[:, None] / (1 - rate)) @ weight.T + bias
    return (chances[:, None, None] * logits.softmax(2)).sum(0)


@average_of_masks.wrong(
    "The chances of your masks do not add up to 1: a dropped input contributes the factor rate."
)
def only_kept_count(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = (1 - rate) ** masks.sum(1)
    logits = (x * masks[:, None] / (1 - rate)) @ weight.T + bias
    return (chances[:, None, None] * logits.softmax(2)).sum(0)


@average_of_masks.wrong(
    "This is the whole network used once. The mean of logits or of log-probabilities over masks "
    "gives it too; here the mean of probabilities is asked for."
)
def geometric(weight, bias, x, rate):
    return (x @ weight.T + bias).softmax(1)


@average_of_masks.wrong("The survivors are not scaled: inverted dropout divides them by 1 - rate.")
def unscaled(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = ((1 - rate) ** masks * rate ** (1 - masks)).prod(1)
    logits = (x * masks[:, None]) @ weight.T + bias
    return (chances[:, None, None] * logits.softmax(2)).sum(0)


@average_of_masks.wrong("You divided the survivors by rate; divide by 1 - rate.")
def divided_by_rate(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = ((1 - rate) ** masks * rate ** (1 - masks)).prod(1)
    logits = (x * masks[:, None] / rate) @ weight.T + bias
    return (chances[:, None, None] * logits.softmax(2)).sum(0)


@average_of_masks.wrong("You divided the bias by 1 - rate too; only dropped inputs are scaled up.")
def bias_scaled(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = ((1 - rate) ** masks * rate ** (1 - masks)).prod(1)
    logits = ((x * masks[:, None]) @ weight.T + bias) / (1 - rate)
    return (chances[:, None, None] * logits.softmax(2)).sum(0)


@average_of_masks.wrong("The bias is missing in the logits.")
def without_bias(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = ((1 - rate) ** masks * rate ** (1 - masks)).prod(1)
    logits = (x * masks[:, None] / (1 - rate)) @ weight.T
    return (chances[:, None, None] * logits.softmax(2)).sum(0)


@average_of_masks.wrong("The mask that drops everything is missing: count from 0, not from 1.")
def without_the_empty_mask(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(1, 2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = ((1 - rate) ** masks * rate ** (1 - masks)).prod(1)
    logits = (x * masks[:, None] / (1 - rate)) @ weight.T + bias
    return (chances[:, None, None] * logits.softmax(2)).sum(0)


@average_of_masks.wrong("The softmax runs over examples; probabilities add up over the classes.")
def over_examples(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = ((1 - rate) ** masks * rate ** (1 - masks)).prod(1)
    logits = (x * masks[:, None] / (1 - rate)) @ weight.T + bias
    return (chances[:, None, None] * logits.softmax(1)).sum(0)


@average_of_masks.wrong("The masks are sampled; go through all of them, so that nothing is random.")
def sampled(weight, bias, x, rate):
    masks = (torch.rand(300, 1, x.shape[1]) >= rate).to(x.dtype)
    return ((x * masks / (1 - rate)) @ weight.T + bias).softmax(2).mean(0)


@average_of_masks.wrong(
    "You averaged votes for the most likely class; average the probabilities themselves."
)
def votes(weight, bias, x, rate):
    d = x.shape[1]
    masks = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).to(x.dtype)
    chances = ((1 - rate) ** masks * rate ** (1 - masks)).prod(1)
    logits = (x * masks[:, None] / (1 - rate)) @ weight.T + bias
    chosen = (logits == logits.amax(2, keepdim=True)).to(x.dtype)
    return (chances[:, None, None] * chosen).sum(0)
