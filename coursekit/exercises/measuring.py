"""Exercises to lesson 00: how to measure a claim."""

import numpy as np
import scipy  # loads its parts when they are first used: `stats` takes a second
import torch
from torch.nn import functional as F

from coursekit import measure
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.exercises.measuring_intervals import paired_interval
from coursekit.exercises.measuring_rules import verdict
from coursekit.exercises.measuring_several import holm
from coursekit.exercises.measuring_signs import wrong_sign
from coursekit.exercises.questions import Question

__all__ = [
    "holm", "loss_and_accuracy", "one_more_seed", "paired_interval", "verdict", "wrong_sign",
]  # fmt: skip

# --- evaluation in batches -------------------------------------------------------------------


def _batch_probes(rng: np.random.Generator) -> list[Probe]:
    def probe(name: str, n: int, batch_size: int) -> Probe:
        weight = rng.normal(size=(3, 5)).astype(np.float32)
        bias = rng.normal(size=3).astype(np.float32)
        x = rng.normal(size=(n, 5)).astype(np.float32)
        y = (x @ weight.T + bias).argmax(1)
        # Wrong labels where the smaller last batch lies, so that its weight is felt; and one in
        # four elsewhere, so that no accuracy is 0 or 1.
        y[-(n % batch_size or 1) :] += 1
        y[::4] += 1
        inputs = {"weight": weight, "bias": bias, "x": x, "y": y % 3, "batch_size": batch_size}
        return Probe(name, inputs)

    return [
        probe("11 examples in batches of 4", 11, 4),
        probe("12 examples in batches of 5", 12, 5),
        probe("7 examples in one batch", 7, 9),
        probe("10 examples in batches of 5", 10, 5),
    ]


def _evaluated(answer, weight, bias, x, y, batch_size) -> dict[str, object]:
    sizes = []

    def net(batch):
        sizes.append(len(batch))
        return batch @ weight.T + bias

    before = x.clone(), y.clone()
    result = answer(net, x, y, batch_size)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(f"expected (loss, accuracy) to be returned, got {type(result).__name__}")
    return {
        "the loss": result[0],
        "the accuracy": result[1],
        "the largest batch that the network got": max(sizes, default=0),
        "x afterwards": x.equal(before[0]),
        "y afterwards": y.equal(before[1]),
    }


def _in_batches(net, x, y, batch_size) -> tuple[float, float]:
    logits = torch.cat([net(part) for part in x.split(batch_size)])
    return float(measure.nll(logits, y)), float(measure.accuracy(logits, y))


loss_and_accuracy = Exercise(
    name="loss_and_accuracy",
    lesson="00",
    points=3,
    signature="(net, x, y, batch_size)",
    task="""
An evaluation in batches. `net` is a function from a batch of inputs to logits (batch, classes), `x`
a tensor (examples, features), `y` a tensor (examples,) of class numbers. The memory holds
`batch_size` examples, so `net` must never get more at once; the last batch may be smaller. Return
two numbers over **all examples**: the mean cross-entropy and the share of right answers, 0 to 1.

The code below runs, and its loss is right. Yet the accuracy that it reports moves with the batch
size. A relative was published, too: `karpathy/lecun1989-repro` (pull request 3) once printed one
and the same loss for training and test.
""",
    probes=_batch_probes,
    reference=_in_batches,
    driver=_evaluated,
    bug="with_the_last_batch",
    hints=(
        "Call it on the same data with two batch sizes. Which of the two numbers moves?",
        "Which batch do `logits` and `labels` belong to when the loop is over?",
        "Count the right answers inside the loop: `right += ...`.",
    ),
    why="""\
Every example must count once and equally: add up over examples, in the loop, and divide by their
number at the end. A name that outlives its loop is legal Python and raises no error, and neither
does an average of the averages of unequal batches.""",
)


@loss_and_accuracy.right
def adding_up(net, x, y, batch_size):
    total, right = 0.0, 0
    for start in range(0, len(x), batch_size):
        logits = net(x[start : start + batch_size])
        labels = y[start : start + batch_size]
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        right += (logits.argmax(1) == labels).sum().item()
    return total / len(x), right / len(x)


@loss_and_accuracy.right
def logits_first(net, x, y, batch_size):
    logits = torch.cat([net(part) for part in x.split(batch_size)])
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()


@loss_and_accuracy.right
def weighted_means(net, x, y, batch_size):
    parts = []
    for a, b in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
        logits = net(a)
        hit = logits.max(dim=1).indices.eq(b).float().mean()
        parts.append((F.cross_entropy(logits, b) * len(b), hit * len(b)))
    return tuple(float(sum(column)) / y.numel() for column in zip(*parts, strict=True))


@loss_and_accuracy.wrong(
    "The loss is that of all examples, the accuracy is not: the smaller the batches, the smaller "
    "it gets."
)
def with_the_last_batch(net, x, y, batch_size):
    total = 0.0
    for start in range(0, len(x), batch_size):
        logits = net(x[start : start + batch_size])
        labels = y[start : start + batch_size]
        total += F.cross_entropy(logits, labels, reduction="sum").item()
    right = (logits.argmax(1) == labels).sum().item()
    return total / len(x), right / len(x)


@loss_and_accuracy.wrong(
    "You averaged the means of batches, as article 003 does: the examples of the small last batch "
    "count for more than others. Weight each batch by its size."
)
def mean_of_means(net, x, y, batch_size):
    losses, hits = [], []
    for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
        logits = net(a)
        losses.append(F.cross_entropy(logits, b).item())
        hits.append((logits.argmax(1) == b).float().mean().item())
    return sum(losses) / len(losses), sum(hits) / len(hits)


@loss_and_accuracy.wrong(
    "The loss averages the means of batches, so the small last batch counts for too much; the "
    "accuracy is right."
)
def loss_of_means(net, x, y, batch_size):
    losses, right = [], 0
    for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
        logits = net(a)
        losses.append(F.cross_entropy(logits, b).item())
        right += (logits.argmax(1) == b).sum().item()
    return sum(losses) / len(losses), right / len(x)


@loss_and_accuracy.wrong(
    "The smaller last batch is left out: the loop must go on until no example is left."
)
def full_batches_only(net, x, y, batch_size):
    whole = max(len(x) // batch_size * batch_size, min(len(x), batch_size))
    logits = torch.cat([net(part) for part in x[:whole].split(batch_size)])
    hit = logits.argmax(1) == y[:whole]
    return F.cross_entropy(logits, y[:whole]).item(), hit.float().mean().item()


@loss_and_accuracy.wrong(
    "The numbers are right, but the network got all examples at once: pass at most batch_size."
)
def all_at_once(net, x, y, batch_size):
    logits = net(x)
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


@loss_and_accuracy.wrong(
    "You divided sums over examples by the number of batches; divide by the number of examples."
)
def divided_by_batches(net, x, y, batch_size):
    total, right, n = 0.0, 0, 0
    for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
        logits, n = net(a), n + 1
        total += F.cross_entropy(logits, b, reduction="sum").item()
        right += (logits.argmax(1) == b).sum().item()
    return total / n, right / n


@loss_and_accuracy.wrong(
    "You added means of batches and divided by the number of examples: add the losses of examples "
    '(reduction="sum"), or multiply each mean by the size of its batch.'
)
def means_over_examples(net, x, y, batch_size):
    total, right = 0.0, 0
    for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
        logits = net(a)
        total += F.cross_entropy(logits, b).item()
        right += (logits.argmax(1) == b).sum().item()
    return total / len(x), right / len(x)


@loss_and_accuracy.wrong("The accuracy is in percent: return a share between 0 and 1.")
def in_percent(net, x, y, batch_size):
    logits = torch.cat([net(part) for part in x.split(batch_size)])
    return F.cross_entropy(logits, y).item(), 100 * (logits.argmax(1) == y).float().mean().item()


@loss_and_accuracy.wrong("The order is turned around: first the loss, then the accuracy.")
def accuracy_first(net, x, y, batch_size):
    logits = torch.cat([net(part) for part in x.split(batch_size)])
    return (logits.argmax(1) == y).float().mean().item(), F.cross_entropy(logits, y).item()


@loss_and_accuracy.wrong(
    "You took a softmax before the cross-entropy, which takes one itself: pass the logits."
)
def softmax_twice(net, x, y, batch_size):
    p = torch.cat([net(part).softmax(1) for part in x.split(batch_size)])
    return F.cross_entropy(p, y).item(), (p.argmax(1) == y).float().mean().item()


@loss_and_accuracy.wrong("You counted the errors; asked is the share of right answers.")
def error_rate(net, x, y, batch_size):
    logits = torch.cat([net(part) for part in x.split(batch_size)])
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) != y).float().mean().item()


# --- predict and explain ---------------------------------------------------------------------


def _found_by_waiting() -> str:
    d = np.random.default_rng(0).normal(size=(4000, 48))  # studies in which nothing is true
    n = np.arange(1, 49)
    mean = d.cumsum(1) / n
    spread = np.sqrt(((d**2).cumsum(1) - n * mean**2)[:, 3:] / (n[3:] - 1))
    half = scipy.stats.t.ppf(0.975, n[3:] - 1) * spread / np.sqrt(n[3:])
    share = (np.abs(mean[:, 3:]) > half).any(1).mean()
    return "more than 20 %" if share > 0.2 else "about 10 %" if share > 0.075 else "about 5 %"


one_more_seed = Question(
    name="one_more_seed",
    lesson="00",
    points=3,
    prompt="""
"Undecided: run more seeds." Somebody does so one seed at a time: from 4 seeds on, they look at the
95 % interval after every seed, up to 48, and stop as soon as it excludes zero. The method that they
test does nothing. In how many of 4,000 simulated studies do they stop with a "discovery"?""",
    options=("about 5 %", "about 10 %", "more than 20 %"),
    measure=_found_by_waiting,
    guide="""\
A good explanation says that each look is one more chance to be fooled and that 5 % is the risk of a
single look, planned in advance; that 45 looks are still not 45 independent ones, because they share
most of their seeds, so the risk is far below 1 - 0.95^45 (90 %). It names a remedy: fix the number
of seeds before the first run, pay for the looks (as Holm does for questions), or decide from the
first seeds how many new ones to run and judge those alone. Worth a remark: looking again is
harmless as long as it cannot end the study.""",
)
