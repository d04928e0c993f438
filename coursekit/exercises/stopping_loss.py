"""Exercise to lesson 09: the number that is watched."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.measure import nll


def _classifier(x: torch.Tensor, mode: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(x.shape[0])
        net = nn.Sequential(nn.Linear(x.shape[1], 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
    net[1].running_mean += 0.5
    net[1].running_var *= 2.0
    return net.to(x.dtype).train(mode == "train")


def _loss_driver(answer, x, y, batch_size, mode):
    net, batches, recorded = _classifier(x, mode), [], []

    def watch(_, inputs, __):
        batches.append(inputs[0].detach().clone())
        recorded.append(torch.is_grad_enabled())

    net.register_forward_hook(watch)
    state = {f"the model's {name}": value for name, value in net.state_dict().items()}
    given = {"x": x, "y": y} | state
    before = {name: value.clone() for name, value in given.items()}
    with torch.enable_grad():
        loss = answer(net, x, y, batch_size)
        recording = torch.is_grad_enabled()
    kind = "float" if isinstance(loss, float) else type(loss).__name__
    modes = ["train" if module.training else "eval" for module in net.modules()]
    return {
        "the loss": loss,
        "the type of the loss": kind,
        "the size of the largest batch": max(map(len, batches), default=0),
        "the number of batches": len(batches),
        "whether all examples came in their order": torch.equal(torch.cat([x[:0], *batches]), x),
        "batches with a gradient recorded": sum(recorded),
        "torch.is_grad_enabled() at the end": recording,
        "the modes of the model and its layers at the end": " ".join(modes),
    } | {f"{name} afterwards": value.equal(before[name]) for name, value in given.items()}


def _loss_probes(rng: np.random.Generator) -> list[Probe]:
    cases = ((6, 3, "eval"), (11, 4, "eval"), (10, 4, "train"), (2, 5, "train"))
    return [
        Probe(
            f"{n} examples in batches of {size}, a model in {mode} mode",
            {
                "x": rng.normal(0, 2.0, (n, 3)),
                "y": rng.integers(0, 3, n),
                "batch_size": size,
                "mode": mode,
            },
        )
        for n, size, mode in cases
    ]


def _library_loss(model, x, y, batch_size):
    was = model.training
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in x.split(batch_size)])
    model.train(was)
    return float(nll(logits, y))


validation_loss = Exercise(
    name="validation_loss",
    lesson="09",
    points=3,
    signature="(model, x, y, batch_size)",
    task="""
The number that an early stopper watches. `model` is a network that turns inputs (B, D) into logits
(B, C), `x` (N, D) are inputs and `y` (N,) int64 their classes. Return the mean cross-entropy **over
all N examples**, in nats, as a Python float. Feed the model `batch_size` examples at a time, in
their order; the last batch may be smaller. Compute in evaluation mode and without recording
gradients; afterwards the model is in the mode, training or evaluation, in which it came.
""",
    probes=_loss_probes,
    reference=_library_loss,
    driver=_loss_driver,
    hints=(
        "11 examples in batches of 4: how many examples does each batch mean stand for?",
        '`F.cross_entropy(logits, y, reduction="sum")` adds up; divide by N at the very end.',
        "`was = model.training`, `model.eval()`, `with torch.no_grad():`, and `model.train(was)`.",
    ),
    why="""\
A mean of batch means gives an example in a small last batch more weight, so the loss changes with
the batch size. In training mode batch norm would mix the examples of a batch and even learn from
the validation data; and a model that is left in evaluation mode trains on without dropout, and
nobody is told.""",
)


@validation_loss.right
def by_sums(model, x, y, batch_size):
    was, total = model.training, 0.0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(x), batch_size):
            logits = model(x[start : start + batch_size])
            target = y[start : start + batch_size]
            total += F.cross_entropy(logits, target, reduction="sum").item()
    model.train(was)
    return total / len(x)


@validation_loss.right
def by_weights(model, x, y, batch_size):
    was = model.training
    model.train(False)
    losses = []
    for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
        with torch.no_grad():
            losses.append(len(a) * nn.CrossEntropyLoss()(model(a), b))
    if was:
        model.train()
    return (sum(losses) / len(x)).item()


@validation_loss.right
def by_a_loader(model, x, y, batch_size):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size)
    was = model.training
    try:
        with torch.inference_mode():
            model.eval()
            rows = [model(a).log_softmax(1).gather(1, b[:, None]) for a, b in loader]
            return float(-torch.cat(rows).mean())
    finally:
        model.train(was)


def _mean(model, x, y, batch_size, weigh, *, last=True):
    was, total, count = model.training, 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
            if last or len(a) == batch_size:
                total += F.cross_entropy(model(a), b).item() * weigh(a)
                count += weigh(a)
    model.train(was)
    return total / max(count, 1)


@validation_loss.wrong(
    "You take the mean of batch means, which gives a small last batch too much weight: add up over "
    "examples, and divide by N."
)
def mean_of_means(model, x, y, batch_size):
    return _mean(model, x, y, batch_size, lambda batch: 1)


@validation_loss.wrong("The last batch is left out if it is smaller: all N examples count.")
def last_batch_dropped(model, x, y, batch_size):
    return _mean(model, x, y, batch_size, len, last=False)


@validation_loss.wrong(
    "Each batch mean counts batch_size times, also that of a smaller last batch: weight it by its "
    "own number of examples."
)
def last_batch_as_full(model, x, y, batch_size):
    batches = -(-len(x) // batch_size)
    return _mean(model, x, y, batch_size, lambda batch: 1) * batches * batch_size / len(x)


@validation_loss.wrong("You return the sum of the losses: divide by the number of examples.")
def only_the_sum(model, x, y, batch_size):
    return _mean(model, x, y, batch_size, len) * len(x)


@validation_loss.wrong(
    "You divide the sum of the losses by the number of batches, not of examples."
)
def sum_over_batches(model, x, y, batch_size):
    return _mean(model, x, y, batch_size, len) * len(x) / -(-len(x) // batch_size)


@validation_loss.wrong(
    "The model's mode is left as it came: an untouched model in training mode uses the statistics "
    "of the batch. Call model.eval() first."
)
def mode_untouched(model, x, y, batch_size):
    with torch.no_grad():
        losses = [
            F.cross_entropy(model(a), b, reduction="sum").item()
            for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True)
        ]
    return sum(losses) / len(x)


@validation_loss.wrong(
    "You evaluate in training mode: batch norm then uses, and learns from, the validation batch. "
    "Call model.eval() first."
)
def in_training_mode(model, x, y, batch_size):
    was, total = model.training, 0.0
    model.train()
    with torch.no_grad():
        for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
            total += F.cross_entropy(model(a), b, reduction="sum").item()
    model.train(was)
    return total / len(x)


@validation_loss.wrong(
    "The model stays in evaluation mode, so the next epoch trains without dropout: put it back "
    "into the mode that it had."
)
def left_in_eval(model, x, y, batch_size):
    loss = _mean(model, x, y, batch_size, len)
    model.eval()
    return loss


@validation_loss.wrong(
    "The model is always put into training mode at the end: it may have come in evaluation mode."
)
def always_back_to_train(model, x, y, batch_size):
    loss = _mean(model, x, y, batch_size, len)
    model.train()
    return loss


@validation_loss.wrong(
    "All examples go through the model at once: feed it at most batch_size of them, or a large "
    "validation set fills the memory."
)
def all_at_once(model, x, y, batch_size):
    return _mean(model, x, y, len(x), len)


@validation_loss.wrong(
    "Gradients are recorded, which costs memory for nothing: wrap the loop in torch.no_grad()."
)
def with_gradients(model, x, y, batch_size):
    was, total = model.training, 0.0
    model.eval()
    for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
        total += F.cross_entropy(model(a), b, reduction="sum").item()
    model.train(was)
    return total / len(x)


@validation_loss.wrong("You return a tensor: `.item()` or `float()` makes a Python number of it.")
def still_a_tensor(model, x, y, batch_size):
    return torch.tensor(_mean(model, x, y, batch_size, len), dtype=x.dtype)


@validation_loss.wrong("Softmax is applied twice: cross_entropy takes logits and does it itself.")
def softmax_twice(model, x, y, batch_size):
    was, total = model.training, 0.0
    model.eval()
    with torch.no_grad():
        for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True):
            total += F.cross_entropy(model(a).softmax(1), b, reduction="sum").item()
    model.train(was)
    return total / len(x)
