"""A row on a whole network in which several regularizers meet."""

import torch
import torch.nn.functional as F
from sklearn.neural_network import MLPClassifier
from torch import nn

from coursekit.rosetta.row import row
from coursekit.rosetta.shared import keras, labels, numbers, x

GROUP = "All together"


@row(GROUP, "A network with L2, batch norm, dropout and Adam")
class Network:
    """The template of an article on Keras, in both libraries, from the same first weights: L2 on
    the hidden kernel, batch norm, dropout, a logistic output, Adam. Compared are the probabilities
    for all rows in evaluation after training. Masks of two libraries differ, so the rate is 0 here.
    Two things are put right by hand: the stored variance, once, at the end (all batches are equally
    large), and in each step Adam's small number, which batch norm would magnify."""

    short = {
        "keras": "six settings",
        "torch": "six settings, five of them others",
        "sklearn": None,
    }
    also = (
        "Adam",
        "BatchNormalization",
        "BatchNorm1d",
        "Dropout",
        "eps",
        "epsilon",
        "kernel_regularizer",
        "running_var",
        "weight_decay",
    )
    lacks = {"sklearn": "No equivalent: `MLPClassifier` has L2, early stopping, and nothing else."}
    trap = """The wrong line copies all six settings as they stand: `weight_decay` without the 2 and
    on everything, `momentum`, the small numbers, and neither `train()` nor `eval()`."""

    def missing():
        return not [name for name in MLPClassifier().get_params() if "drop" in name]

    def keras(steps):
        torch.manual_seed(0)
        first, last = torch.randn(5, 8) / 2, torch.randn(8, 1) / 2
        penalty = keras.regularizers.L2(1e-2)
        layers = [
            keras.layers.Dense(8, use_bias=False, kernel_regularizer=penalty),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.0),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
        model = keras.Sequential(layers)
        model.build((None, 5))
        layers[0].kernel.assign(first)
        layers[-1].kernel.assign(last)
        model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
        model.fit(x, labels.numpy(), batch_size=64, epochs=steps, verbose=0)
        return numbers(model(x))

    def torch(steps):
        torch.manual_seed(0)
        first, last = torch.randn(5, 8) / 2, torch.randn(8, 1) / 2
        norm = nn.BatchNorm1d(8, eps=1e-3, momentum=1 - 0.9)
        hidden, out = nn.Linear(5, 8, bias=False), nn.Linear(8, 1)
        net = nn.Sequential(hidden, norm, nn.ReLU(), nn.Dropout(0.0), out)
        with torch.no_grad():
            hidden.weight.copy_(first.T), out.weight.copy_(last.T), out.bias.zero_()
        rest = [*norm.parameters(), *out.parameters()]
        groups = [{"params": [hidden.weight], "weight_decay": 2 * 1e-2}, {"params": rest}]
        optimizer = torch.optim.Adam(groups, lr=0.01)
        for t in range(1, steps + 1):
            net.train()
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(net(x)[:, 0], labels.float()).backward()
            for group in optimizer.param_groups:
                group["eps"] = 1e-7 / (1 - 0.999**t) ** 0.5
            optimizer.step()
        net.eval()
        with torch.no_grad():
            start = 0.9**steps  # of the 1 with which it begins; the rest is too large by 64/63
            norm.running_var.sub_(start).mul_(63 / 64).add_(start)
            return net(x).sigmoid()

    def wrong(steps):
        torch.manual_seed(0)
        first, last = torch.randn(5, 8) / 2, torch.randn(8, 1) / 2
        norm = nn.BatchNorm1d(8, momentum=0.9)
        hidden, out = nn.Linear(5, 8, bias=False), nn.Linear(8, 1)
        net = nn.Sequential(hidden, norm, nn.ReLU(), nn.Dropout(0.0), out)
        with torch.no_grad():
            hidden.weight.copy_(first.T), out.weight.copy_(last.T), out.bias.zero_()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-2)
        for _ in range(steps):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(net(x)[:, 0], labels.float()).backward()
            optimizer.step()
        return net(x).sigmoid()
