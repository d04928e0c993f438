"""Batch norm: what it does for the optimizer, and what it does not do for generalization."""

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from coursekit import judge
from coursekit.claims import normalized_nets as lab
from coursekit.claims.experiments import exact, experiment
from coursekit.regularizers.normalization import standardize, torch_momentum
from coursekit.train import evaluate, fit


@experiment("C52", "C54", n_seeds=24, recipe=lab.STEEP)
def depths(seeds):
    """With and without batch norm: clean digits, SGD, 2 and 6 layers, five learning rates.

    C52: accuracy of the last epoch at a high learning rate (0.3), and at 0.03 with initial weights
    ten times too small and four times too large; epochs to 80 % at the learning rate that
    validation chooses per arm (smallest effect: one epoch).
    C54: the gain in accuracy at the chosen rates, from 2 and 6 layers, against one point:
    "only from ten layers on" says that it is smaller; a quarter of a point around one is open.
    Deeper networks (12 or 20 layers, as the source names them) are not measured for C54.
    """
    task = lab.bench("clean digits")
    norms = {"without": None, "with": nn.BatchNorm1d}
    grid = {d: [lab.over_lrs(task, seeds, d, norm) for norm in norms.values()] for d in (2, 6)}
    better = partial(judge.raises, "batch norm is better", metric="accuracy")
    speed, gain = {}, {}
    for depth, pair in grid.items():
        best = [lab.fastest(study) for study in pair]
        steep = [evaluate(s.at(lr=0.3), task, weights="final").acc for s in pair]
        speed[f"learning rate 0.3, {depth} layers"] = better(*steep)
        slow = [lab.epochs_to(runs, 0.8) for runs in best]
        faster = judge.lowers("faster", *slow, smallest=1, unit="epochs")
        speed[f"epochs to 80 %, best rate each, {depth} layers"] = faster
        points = [100 * evaluate(runs, task).acc for runs in best]
        little = judge.lowers("gain", 1.0, points[1] - points[0], smallest=0.25, unit="points")
        gain[f"{depth} layers: gain below one point (printed: gain - 1)"] = little
    for scale in (0.1, 4.0):
        arms = [lab.over_lrs(task, seeds, 6, norm, [0.03], scale=scale) for norm in norms.values()]
        found = [evaluate(arm.runs[0], task, weights="final").acc for arm in arms]
        speed[f"initial weights times {scale:g}, 6 layers"] = better(*found)
    return {"C52": speed, "C54": gain}


@experiment("C53", n_seeds=20, recipe=lab.STEEP)
def shift(seeds):
    """Batch norm with its work undone: a jolt behind each one moves the inputs of the next layer.

    Clean digits, SGD, 6 and 12 layers, learning rate chosen by validation per arm. If steadier
    inputs were the reason, a net whose inputs move more than without batch norm would train slower
    than without: a lower training accuracy, mean over 30 epochs. Jolts are noise, which by itself
    slows a net; so this errs in favor of the claim. Nothing is tested where they move too little.
    """
    task, evidence = lab.bench("clean digits"), {}
    for depth in (6, 12):
        curves, moved = [], []
        for norm in (None, lab.jolted):
            runs = lab.fastest(lab.over_lrs(task, seeds, depth, norm, lab.LRS[:4]))
            curves.append(100 * runs.train_acc.mean(1))
            moved.append(lab.drift(lab.block_net(task, depth, 64, norm), task, runs.recipe))
        more = judge.raises("the jolts move more", *moved, smallest=0.05)
        slower = lab.lower(*curves)
        tested = more.outcome == "supported"
        evidence[f"{depth} layers: batch norm with jolts is slower than none"] = (
            slower if tested else "not testable here: the jolts moved too little"
        )
    return {"C53": evidence}


@experiment("C55", n_seeds=24, recipe=lab.RECIPE)
def placement(seeds):
    """Before or behind the ReLU: three benches, 2 layers, and 6 layers on two of them; Adam.

    Accuracy at the best epoch, each arm and seed at the rate of highest validation accuracy among
    four. That before is better is judged; no difference counts against it.
    """
    evidence = {}
    for name, depth in [(b, 2) for b in lab.BENCHES] + [(b, 6) for b in lab.BENCHES[:2]]:
        task = lab.bench(name)
        width = 128 if depth == 2 else 64
        how = {"depth": depth, "width": width, "norm": nn.BatchNorm1d}
        acc = {k: lab.at_best_rates(task, seeds, after=k, **how) for k in (True, False)}
        evidence[f"{name}, {depth} layers"] = lab.higher(acc[True], acc[False])
    return {"C55": evidence}


@experiment("C56", n_seeds=48, recipe=lab.RECIPE)
def noise_of_statistics(seeds):
    """Does batch norm raise the accuracy, and does more noise in its statistics raise it further?

    Two benches, at the last and the best epoch. More noise: statistics of 10 examples instead of
    50, with the same batches, on noisy digits. At an equal fit: noisy digits, first epoch with 80 %
    of the training labels learned. Running statistics move by half per step (`lab.MOMENTUM`).
    """
    evidence = {}
    for name in lab.BENCHES[:2]:
        task, recipe = lab.bench(name), replace(lab.RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
        norms = {"none": None, "batch": lab.batch_norm, "ghost": lab.Ghost}
        nets = {k: lab.block_net(task, norm=norm) for k, norm in norms.items()}
        parts = ("train", "val", "test")
        runs = {k: fit(net, task, recipe, record=parts) for k, net in nets.items()}
        for when, weights in lab.WHEN.items():
            acc = {k: 100 * evaluate(r, task, weights=weights).acc for k, r in runs.items()}
            evidence[f"{name}, {when}"] = lab.higher(acc["none"], acc["batch"])
            if name == "noisy digits":
                more = lab.higher(acc["batch"], acc["ghost"])
                evidence[f"{name}, noisier statistics, {when}"] = more
        if name == "noisy digits":
            same = [100 * lab.at_fit(runs[k], 0.8) for k in ("none", "batch")]
            evidence[f"{name}, with 80 % of the labels learned"] = lab.higher(*same)
    return {"C56": evidence}


@experiment("C57", "C58", n_seeds=48, recipe=lab.RECIPE)
def with_dropout(seeds):
    """Batch norm, dropout, and both, on three benches; the rate (0.2 or 0.5) chosen by validation.

    C57: batch norm against dropout, at the best and the last epoch; and what dropout adds to batch
    norm at the best epoch, against one point ("superfluous" says less; a quarter of a point is
    open). C58: both in every block against dropout only behind the last batch norm, each at its
    rate, best and last epoch; and the variance that the second batch norm meets in evaluation over
    its running variance, at rate 0.5 (a conflict: below 1, smallest effect 0.05). Running
    statistics move by half per step (`lab.MOMENTUM`).
    """
    c57, c58 = {}, {}
    for name in lab.BENCHES:
        task, recipe = lab.bench(name), replace(lab.RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
        arms = {
            "batch": {"norm": lab.batch_norm},
            "drop": {"rate": "dropout"},
            "both": {"norm": lab.batch_norm, "rate": "dropout"},
            "apart": {"norm": lab.batch_norm, "rate": "last"},
        }
        runs = {k: lab.tuned(task, recipe, **how) for k, how in arms.items()}
        acc = {
            w: {k: 100 * evaluate(r, task, weights=v).acc for k, r in runs.items()}
            for w, v in lab.WHEN.items()
        }
        for when, found in acc.items():
            better, apart = (found["drop"], found["batch"]), (found["both"], found["apart"])
            c57[f"{name}, {when}: better than dropout"] = lab.higher(*better)
            c58[f"{name}, {when}: better apart"] = lab.higher(*apart)
        added = acc["best epoch"]["both"] - acc["best epoch"]["batch"]
        little = judge.lowers("adds", 1.0, added, smallest=0.25, unit="points")
        c57[f"{name}, best epoch: dropout adds less than a point (printed: gain - 1)"] = little
    ratio = lab.variance_ratio(0.5, seeds)
    less = judge.lowers("below 1", 1.0, ratio, smallest=0.05)
    c58["rate 0.5: less variance in evaluation than stored (ratio - 1)"] = less
    return {"C57": c57, "C58": c58}


@experiment("C63", n_seeds=16, recipe=lab.RECIPE)
def small_batches(seeds):
    """Batches of 2 and 4 against 32, with equal steps (400), layer norm as the yardstick; Adam.

    Judged is how batch norm stands to layer norm, which knows no batch: lower with small batches
    than with 32; batches of 8 are not measured. Clean and noisy digits, last epoch. Exact: of two
    examples, batch norm returns plus and minus one, whatever they were.
    """
    x = torch.randn(2, 5, dtype=torch.float64)
    signs = nn.BatchNorm1d(5, eps=1e-12).double()(x)
    evidence = {"2 examples become +1 and -1": torch.allclose(signs.abs(), torch.ones_like(x))}
    for name in lab.BENCHES[:2]:
        task, stands = lab.bench(name), {}
        for size in (2, 4, 32):
            recipe = replace(lab.RECIPE, batch_size=size, lr=1e-3, epochs=400 // -(-200 // size))
            nets = {n: lab.block_net(task, norm=n) for n in (nn.BatchNorm1d, nn.LayerNorm)}
            acc = lab.accuracies(nets, task, seeds, recipe, weights=("final",))
            stands[size] = acc[nn.BatchNorm1d, "final"] - acc[nn.LayerNorm, "final"]
        for size in (2, 4):
            loses = lab.lower(stands[32], stands[size])
            evidence[f"{name}, batches of {size} against 32"] = loses
    return {"C63": evidence}


@experiment("C38", n_seeds=48, recipe=lab.RECIPE)
def l2_before_batch_norm(seeds):
    """L2 in front of batch norm: exact identities, then Adam with L2 of 0.01 on two benches.

    Exact: a weight of any length computes the same, with a gradient that has no part along the
    weight and shrinks with its length. Measured: what L2 adds to the accuracy of the last epoch is
    less with batch norm than without. Not measured: other strengths, a rescaled learning rate.
    """
    evidence = {"the function ignores the length of the weights": lab.scale_is_ignored()}
    for name in lab.BENCHES[:2]:
        task, added = lab.bench(name), {}
        for norm in (None, nn.BatchNorm1d):
            net, how = lab.block_net(task, norm=norm), {"weights": ("final",)}
            with_l2 = replace(lab.RECIPE, weight_decay=0.01)
            pair = [
                lab.accuracies({"net": net}, task, seeds, recipe, **how)["net", "final"]
                for recipe in (lab.RECIPE, with_l2)
            ]
            added[norm] = pair[1] - pair[0]
        less = lab.lower(*added.values())
        evidence[f"{name}: L2 0.01 adds less than without batch norm"] = less
    return {"C38": evidence}


@exact("C59")
def moments():
    """Mean and variance of each unit in front of scale and shift; shape: kurtosis of two peaks."""
    x = torch.cat([torch.full((500, 1), -1.0), torch.full((500, 1), 5.0)])
    out = standardize(x, (0,))
    kurtosis = out.pow(4).mean() / out.var(0, correction=0) ** 2  # 3 if Gaussian
    learned = nn.BatchNorm1d(1)
    nn.init.constant_(learned.weight, 3.0)
    zero, one = torch.zeros(()), torch.ones(())
    unit = lab.close(out.mean(), zero) and lab.close(out.var(correction=0), one)
    return {
        "C59": {
            "mean 0 and variance 1, in front of scale and shift": unit,
            "mean 0 and variance 1, behind a scale of 3": lab.close(learned(x).var(), one),
            "Gaussian: two peaks become one (kurtosis 3)": abs(kurtosis.item() - 3) < 0.5,
        }
    }


@exact("C60")
def two_faces():
    """Whether a row's output depends on the other rows, in each mode, and what one row does."""
    norm, x = nn.BatchNorm1d(4), torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    depends = not lab.close(norm(x)[0], norm(torch.cat([x[:1], x[1:] + 1]))[0])
    norm.eval()
    alone = lab.close(norm(x)[:1], norm(x[:1]))
    try:
        norm.train()(x[:1])
        refused = False
    except ValueError:
        refused = True
    return {
        "C60": {
            "training: the output depends on the rest of the batch": depends,
            "evaluation: it does not": alone,
            "PyTorch refuses to train on one example": refused,
            "Keras": lab.KERAS,
        }
    }


@exact("C61")
def momenta():
    """The sentence as it stands, on a running mean of 0 and a momentum of 0.9, and translated."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 2
    literal, translated = (nn.BatchNorm1d(4, momentum=m) for m in (0.9, torch_momentum(0.9)))
    for norm in (literal, translated):
        norm(x)
    want = 0.1 * x.mean(0)
    stored = 0.9 + 0.1 * x.var(0, correction=0)  # with the variance that normalizes
    return {
        "C61": {
            "PyTorch, momentum as it defines it": lab.close(literal.running_mean, want),
            "PyTorch, given 1 - momentum": lab.close(translated.running_mean, want),
            "PyTorch, given 1 - momentum, variance": lab.close(translated.running_var, stored),
            "Keras": lab.KERAS,
        }
    }


@exact("C62")
def frozen():
    """Whether the output is that of evaluation mode, and the running mean rests."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 2
    norm = nn.BatchNorm1d(4).requires_grad_(False)
    want, got = norm.eval()(x), norm.train()(x)
    rests = lab.close(got, want) and not norm.running_mean.any()
    keras = (
        "not testable here: Keras is no dependency; "
        "its documentation says that trainable=False runs in inference mode"
    )
    return {"C62": {"PyTorch, requires_grad_(False)": rests, "Keras": keras}}


@exact("S15")
def bias_in_front():
    """Gradient of a bias in front of batch norm, and what another bias changes."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, eps=1e-12)).double()
    x, weight = torch.randn(30, 5).double(), torch.randn(30, 4).double()
    before = net(x)
    (before * weight).sum().backward()
    bias, matrix = net[0].bias.grad.abs().max(), net[0].weight.grad.abs().max()
    net[0].bias.data += 10
    return {
        "S15": {
            "its gradient is 0": bool(bias < 1e-9 * matrix),
            "another bias computes the same": lab.close(net(x), before),
        }
    }
