"""Exercises to lesson 09: early stopping, and what it does."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.exercises.questions import Question
from coursekit.exercises.stopping_rules import pick_epoch
from coursekit.exercises.stopping_stopper import Stopper
from coursekit.measure import nll
from coursekit.stopping import gd_filter, patience

__all__ = ["Stopper", "patience_on_noise", "pick_epoch", "stopped_weights", "validation_loss"]

# --- what stopping does to a linear model ----------------------------------------------------


def _descent_probes(rng: np.random.Generator) -> list[Probe]:
    found = []
    for n, d, steps in (
        (6, 2, 0),
        (5, 3, 2),
        (8, 3, 3),
        (4, 6, int(rng.integers(5, 9))),
        (7, 3, 60),
    ):
        x = rng.normal(0.3, 1.0, (n, d)) * np.linspace(1.5, 0.5, d)
        y = x @ rng.normal(size=d) + rng.normal(0.5, 1.0, n)
        # So small that summed losses, too, converge with it.
        lr = float(rng.uniform(0.5, 0.9) / np.linalg.norm(x, 2) ** 2)
        name = f"{n} rows, {d} columns, lr={lr:.2g}, {steps} steps"
        found.append(Probe(name, {"x": x, "y": y, "lr": lr, "steps": steps}))
    return found


def _filtered(x, y, lr, steps):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return vt.T @ (gd_filter(s**2, 2 * lr / len(x), steps) * (u.T @ y) / s)


stopped_weights = Exercise(
    name="stopped_weights",
    lesson="09",
    points=3,
    arrays="numpy",
    signature="(x, y, lr, steps)",
    task="""
Full-batch gradient descent on least squares, stopped. `x` (n, d) and `y` (n,) are NumPy arrays of
float64. The loss is the **mean** over the n rows of the squared error, `np.mean((x @ w - y) ** 2)`,
as in `mse_loss`; there is no intercept. Start at `w = 0`, take `steps` steps (an int, 0 or more)
with the rate `lr`, and return the weights (d,) after the last one. A loop and a formula are both
fine.
""",
    probes=_descent_probes,
    reference=_filtered,
    hints=(
        "What is the gradient of (x @ w - y) ** 2 in one row? And of the mean over rows?",
        "`2 / n * x.T @ (x @ w - y)`. Where do the 2 and the n come from?",
        "Repeat `w = w - lr * gradient`, `steps` times. With 0 steps, w is 0.",
    ),
    why="""\
Along a singular direction a step multiplies the distance to least squares by 1 - 2 lr s^2 / n, so
after t steps a share 1 - (1 - 2 lr s^2 / n)^t is reached: strong directions first. Ridge with
alpha = n / (2 lr t) resembles it, for scikit-learn's loss. Which factors stand there, 2 and 1/n or
none, depends on the loss alone; forget one, and you stop at another place.""",
    variants=(
        Variant(
            "The loss is **half the sum** over the rows, `((x @ w - y) ** 2).sum() / 2`.",
            "plain(x, y, lr * len(x) / 2, steps)",
        ),
        Variant(
            "The loss is the **sum** over the rows, `((x @ w - y) ** 2).sum()`.",
            "plain(x, y, lr * len(x), steps)",
        ),
    ),
)


@stopped_weights.right
def by_a_loop(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * 2 / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.right
def by_filtering(x, y, lr, steps):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    share = 1 - (1 - 2 * lr * s**2 / len(x)) ** steps
    return (share / s * (y @ u)) @ vt


@stopped_weights.right
def by_powers(x, y, lr, steps):
    # One step is a matrix: (w, 1) to (w', 1).
    n, d = x.shape
    step = np.eye(d + 1)
    step[:d, :d] -= 2 * lr / n * x.T @ x
    step[:d, d] = 2 * lr / n * x.T @ y
    return np.linalg.matrix_power(step, steps)[:d, d]


@stopped_weights.right
def by_autograd(x, y, lr, steps):
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(torch.from_numpy(x) @ w, torch.from_numpy(y)).backward()
        optimizer.step()
    return w.detach().numpy()


@stopped_weights.wrong("The gradient of a square has a factor of 2, which is missing.")
def without_two(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You follow the sum over the rows: the loss is their mean, so divide by n.")
def of_the_sum(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * 2 * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong(
    "You follow half the sum over the rows: the loss is the mean of the squares, which has the "
    "factor 2/n."
)
def of_half_the_sum(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You divide by the number of columns: the mean is over the n rows.")
def over_columns(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * 2 / x.shape[1] * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You take one step too many: with steps=0 the weights are still 0.")
def one_step_more(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps + 1):
        w = w - lr * 2 / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You climb: subtract the gradient, do not add it.")
def uphill(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w + lr * 2 / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("These are the weights of least squares: so far you get without stopping.")
def without_stopping(x, y, lr, steps):
    return np.linalg.lstsq(x, y, rcond=None)[0]


@stopped_weights.wrong(
    "This is ridge with a strength of matching size: it resembles stopping, and is not the same."
)
def ridge_instead(x, y, lr, steps):
    if steps == 0:
        return np.zeros(x.shape[1])
    alpha = len(x) / (2 * lr * steps)
    return np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)


@stopped_weights.wrong(
    "You take a step for each row: here each step uses the gradient of all rows together."
)
def row_by_row(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        for row, target in zip(x, y, strict=True):
            w = w - lr * 2 * row * (row @ w - target) / len(x)
    return w


@stopped_weights.wrong(
    "Within a step, later weights see earlier ones already changed: compute the whole gradient "
    "first."
)
def weight_by_weight(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        for j in range(len(w)):
            w[j] -= lr * 2 / len(x) * x[:, j] @ (x @ w - y)
    return w


@stopped_weights.wrong("You return the mean of all weights on the way: return the last ones.")
def averaged(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    path = [w]
    for _ in range(steps):
        w = w - lr * 2 / len(x) * x.T @ (x @ w - y)
        path.append(w)
    return np.mean(path, axis=0)


# --- the number that is watched --------------------------------------------------------------


def _classifier(x: torch.Tensor, mode: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(x.shape[0])
        net = nn.Sequential(nn.Linear(x.shape[1], 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
    net[1].running_mean += 0.5
    net[1].running_var *= 2.0
    return net.to(x.dtype).train(mode == "train")


def _loss_driver(answer, x, y, batch_size, mode):
    net, sizes, recorded = _classifier(x, mode), [], []

    def watch(_, inputs, __):
        sizes.append(len(inputs[0]))
        recorded.append(torch.is_grad_enabled())

    net.register_forward_hook(watch)
    statistics = net[1].running_mean.clone()
    loss = answer(net, x, y, batch_size)
    kind = "float" if isinstance(loss, float) else type(loss).__name__
    return {
        "the loss": loss,
        "the type of the loss": kind,
        "the size of the largest batch": max(sizes, default=0),
        "batches with a gradient recorded": sum(recorded),
        "whether the running mean stayed (1: yes)": torch.equal(statistics, net[1].running_mean),
        "the mode of the model afterwards": "train" if net.training else "eval",
    }


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


# --- predict and explain ---------------------------------------------------------------------

_AT_ONCE, _SOON, _LATE = "about 11 epochs", "12 to 25 epochs", "more than 25 epochs"


def _wait_on_noise() -> str:
    loss = 1 + 0.05 * np.random.default_rng(0).normal(size=(2000, 400))
    last = np.median(patience(loss, 10).last)
    return _AT_ONCE if last < 12 else _SOON if last <= 25 else _LATE


patience_on_noise = Question(
    name="patience_on_noise",
    lesson="09",
    points=3,
    prompt="""
A network has nothing more to learn. Its validation loss is 1 in every epoch, plus noise that is
independent from epoch to epoch (Gaussian, with a standard deviation of 0.05). Early stopping with
patience 10 watches it from epoch 1. After how many epochs does training stop, at the median over
many such runs?""",
    options=(_AT_ONCE, _SOON, _LATE),
    measure=_wait_on_noise,
    guide="""\
A good explanation says that an epoch counts as progress when it is the luckiest so far, that the
k-th epoch is the luckiest of k with probability 1/k, so new records come soon at first and then
seldom; that a record is safe for ten epochs with probability k/(k + 10), so the wait is about twice
the patience and grows with it; that the level of the noise does not matter without a threshold. And
that the "best" loss is below 1 for all that: the lowest of many noisy values is no clean estimate,
and its epoch is arbitrary.""",
)
