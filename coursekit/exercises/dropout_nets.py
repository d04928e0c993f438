"""Exercise to lesson 04: dropout sampled on purpose."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import dropout as ours
from coursekit.regularizers.ensemble import enumerate_masks

N_SAMPLES = 5


def _mc_probes(rng: np.random.Generator) -> list[Probe]:
    inputs = {
        "w1": rng.normal(size=(6, 3)).astype(np.float32),
        "w2": (2 * rng.normal(size=(4, 6))).astype(np.float32),
        "x": rng.normal(size=(40, 3)).astype(np.float32),
    }
    exact = inputs | {"rate": 0.0, "draws": 0}
    rate, seed = float(rng.uniform(0.25, 0.45)), int(rng.integers(2**31))
    sampled = inputs | {"mode": "evaluation", "rate": rate, "draws": 60}
    return [
        Probe(
            "a network in evaluation mode, its dropout of rate 0", exact | {"mode": "evaluation"}
        ),
        Probe("a network in training mode, its dropout of rate 0", exact | {"mode": "training"}),
        Probe("a network in training mode but for its batch norm", exact | {"mode": "mixed"}),
        Probe(f"dropout of rate {rate:.2f} before and behind", sampled, draws=60, seed=seed),
    ]


def _hidden(w1, w2, rate):
    norm = nn.BatchNorm1d(len(w1))
    norm.running_mean.copy_(torch.linspace(-0.5, 0.5, len(w1)))
    # One dropout at the top and one deeper: behind each other, both have to let a unit pass.
    parts = nn.Linear(3, 6), norm, nn.ReLU(), nn.Dropout(rate), nn.Sequential(nn.Dropout(rate))
    net = nn.Sequential(*parts, nn.Linear(6, len(w2))).to(w1.dtype)
    net[0].weight.data, net[5].weight.data = w1, w2
    net[0].bias.data.fill_(0.3)
    net[5].bias.data.fill_(0.1)
    return net


def _predict(answer, w1, w2, x, rate, draws, mode):
    net = _hidden(w1, w2, rate)
    net.train(mode != "evaluation")
    if mode == "mixed":
        net[1].eval()
    if draws:
        results = [answer(net, x, N_SAMPLES) for _ in range(2 * draws)]
        if not all(isinstance(r, torch.Tensor) and r.shape == results[0].shape for r in results):
            return {"the draws": results[0], "the draws again": results[0]}
        results = torch.stack(results).detach()
        return {"the draws": results[:draws], "the draws again": results[draws:]}
    before = x.clone()
    with torch.enable_grad():
        result = answer(net, x, 3)
        recording = torch.is_grad_enabled()
    training = [type(layer).__name__ for layer in net.modules() if layer.training]
    return {
        "the probabilities": result,
        "the running mean of batch norm at the end": net[1].running_mean,
        "the running variance of batch norm at the end": net[1].running_var,
        "the layers in training mode at the end": ", ".join(training) or "none",
        "a gradient in the result": str(getattr(result, "requires_grad", False)),
        "torch.is_grad_enabled() at the end": recording,
        "x afterwards": x.equal(before),
    }


def _mc_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    w1, w2, x = (torch.from_numpy(inputs[k].astype(float)) for k in ("w1", "w2", "x"))
    net = _hidden(w1, w2, inputs["rate"]).eval()
    with torch.no_grad():
        units, bias = net[2](net[1](net[0](x))), net[5].bias
        nets = enumerate_masks(w2, bias, units, 1 - (1 - inputs["rate"]) ** 2)
        p, chance = nets.log_p.exp().numpy(), nets.chance.numpy()
    mean = np.einsum("m,mnc->nc", chance, p)
    variance = np.einsum("m,mnc->nc", chance, (p - mean) ** 2)
    # Of the class that is most likely on average, in all examples: wrong means are off there most.
    rows, top = np.arange(len(mean)), mean.argmax(1)
    n = len(draws) * N_SAMPLES
    sure = draws[:, rows, top].mean()
    sure_se = np.sqrt(variance[rows, top].sum() / n) / len(rows)
    apart = ((draws[1::2] - draws[::2]) ** 2).sum(2) / 2  # (calls / 2, examples)
    total = variance.sum(1).mean() / N_SAMPLES
    return [
        Fact("the mean probability of the likeliest class", sure, mean[rows, top].mean(), sure_se),
        Fact(
            f"the variance between two calls with n_samples={N_SAMPLES}",
            apart.mean(),
            total,
            # Squares of nearly normal numbers, of few classes, spread by at most twice their mean.
            max(apart.std(), total) / np.sqrt(apart.size),
        ),
    ]


mc_predict = Exercise(
    name="mc_predict",
    lesson="04",
    points=4,
    signature="(net, x, n_samples)",
    task="""
Monte-Carlo dropout. `net` maps `x` (examples, features) to logits (examples, classes). It
contains `nn.Dropout` layers at any depth, and may contain batch norm. Call it `n_samples` times
with its dropout layers switched on and everything else as in evaluation, and return the mean of
the predicted **probabilities**, a tensor (examples, classes) without gradient. Afterwards every
layer is in the mode in which it was before, and the running statistics of batch norm are
untouched.
""",
    probes=_mc_probes,
    reference=ours.mc_predict,
    driver=_predict,
    facts=_mc_facts,
    hints=(
        "`net.train()` switches on too much. Which layers should be in training mode, which not?",
        "`for layer in net.modules()` visits every layer; `layer.training` is its mode, and "
        "`layer.training = flag` sets it for this layer alone.",
        "Keep a list of (layer, mode) first; then net.eval(), the dropout layers to train(); "
        "average `net(x).softmax(1)` under torch.no_grad(); put the modes back.",
    ),
    why="""\
Each pass is one sub-network; the mean of their probabilities is the vote of the ensemble. Averaging
logits would give the geometric mean, which the whole network computes without sampling. net.train()
would let batch norm normalize by the test batch and learn from it.""",
)


@mc_predict.right
def by_saved_modes(net, x, n_samples):
    modes = [(layer, layer.training) for layer in net.modules()]
    net.eval()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.train()
    with torch.no_grad():
        total = sum(net(x).softmax(1) for _ in range(n_samples))
    for layer, mode in modes:
        layer.training = mode
    return total / n_samples


@mc_predict.right
def by_one_large_batch(net, x, n_samples):
    before = {layer: layer.training for layer in net.modules()}
    try:
        for layer in before:
            layer.training = isinstance(layer, nn.Dropout)
        p = F.softmax(net(x.detach().repeat(n_samples, 1)), dim=1).detach()
        return p.reshape(n_samples, len(x), -1).mean(0)
    finally:
        for layer, mode in before.items():
            layer.training = mode


@mc_predict.right
def by_hooks(net, x, n_samples):
    modes = [layer.training for layer in net.modules()]

    def drop(layer, inputs, output):
        return F.dropout(output, layer.p, training=True)

    net.eval()
    hooks = [
        layer.register_forward_hook(drop)
        for layer in net.modules()
        if isinstance(layer, nn.Dropout)
    ]
    passes = [torch.softmax(net(x), -1).detach() for _ in range(n_samples)]
    for hook in hooks:
        hook.remove()
    for layer, mode in zip(net.modules(), modes, strict=True):
        layer.training = mode
    return torch.stack(passes).mean(0)


@mc_predict.wrong("Dropout is off: after net.eval(), switch on the dropout layers again.")
@torch.no_grad()
def always_off(net, x, n_samples):
    with ours.only_dropout(net):
        net.eval()
        return sum(net(x).softmax(1) for _ in range(n_samples)) / n_samples


@mc_predict.wrong(
    "net.train() switches on batch norm as well: it normalizes by this batch and moves its running "
    "statistics. Switch on the dropout layers only."
)
@torch.no_grad()
def all_in_training(net, x, n_samples):
    with ours.only_dropout(net):
        net.train()
        return sum(net(x).softmax(1) for _ in range(n_samples)) / n_samples


@mc_predict.wrong(
    "The modes are not put back: dropout stays on after the call, in the next evaluation too."
)
@torch.no_grad()
def left_on(net, x, n_samples):
    net.eval()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.train()
    return sum(net(x).softmax(1) for _ in range(n_samples)) / n_samples


@mc_predict.wrong(
    "You ended with net.eval(): if the network was in training mode before, it must be so again."
)
@torch.no_grad()
def ends_in_evaluation(net, x, n_samples):
    net.eval()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.train()
    total = sum(net(x).softmax(1) for _ in range(n_samples))
    net.eval()
    return total / n_samples


@mc_predict.wrong(
    "You put back the mode of the network as a whole; layers may differ, as a frozen batch norm "
    "does."
)
@torch.no_grad()
def one_mode_for_all(net, x, n_samples):
    mode = net.training
    net.eval()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.train()
    total = sum(net(x).softmax(1) for _ in range(n_samples))
    net.train(mode)
    return total / n_samples


@mc_predict.wrong(
    "You looked for dropout among the direct children only; it may sit deeper: use net.modules()."
)
@torch.no_grad()
def children_only(net, x, n_samples):
    with ours.only_dropout(net):
        net.eval()
        for layer in net.children():
            layer.training = isinstance(layer, nn.Dropout)
        return sum(net(x).softmax(1) for _ in range(n_samples)) / n_samples


@mc_predict.wrong("You averaged logits and took the softmax afterwards; average the probabilities.")
@torch.no_grad()
def averages_logits(net, x, n_samples):
    with ours.only_dropout(net):
        return (sum(net(x) for _ in range(n_samples)) / n_samples).softmax(1)


@mc_predict.wrong("You returned logits; probabilities are their softmax.")
@torch.no_grad()
def returns_logits(net, x, n_samples):
    with ours.only_dropout(net):
        return sum(net(x) for _ in range(n_samples)) / n_samples


@mc_predict.wrong("The softmax runs over examples; probabilities add up over the classes.")
@torch.no_grad()
def over_examples(net, x, n_samples):
    with ours.only_dropout(net):
        return sum(net(x).softmax(0) for _ in range(n_samples)) / n_samples


@mc_predict.wrong("You returned the sum over passes: divide by n_samples.")
@torch.no_grad()
def the_sum(net, x, n_samples):
    with ours.only_dropout(net):
        return sum(net(x).softmax(1) for _ in range(n_samples))


@mc_predict.wrong("One pass only: call the network n_samples times, each with new masks.")
@torch.no_grad()
def one_pass(net, x, n_samples):
    with ours.only_dropout(net):
        return net(x).softmax(1)


@mc_predict.wrong(
    "You averaged votes for the likeliest class of each pass; average the probabilities."
)
@torch.no_grad()
def votes(net, x, n_samples):
    with ours.only_dropout(net):
        passes = [F.one_hot(net(x).argmax(1), 4).to(x.dtype) for _ in range(n_samples)]
    return torch.stack(passes).mean(0)


@mc_predict.wrong("The result drags all passes' gradients along: compute under torch.no_grad().")
def with_gradient(net, x, n_samples):
    with ours.only_dropout(net):
        return sum(net(x).softmax(1) for _ in range(n_samples)) / n_samples
