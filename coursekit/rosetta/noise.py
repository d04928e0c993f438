"""Rows on noise in the network: dropout, its flags and its relatives."""

import torch
import torch.nn.functional as F
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from torch import nn

from coursekit.rosetta.row import row
from coursekit.rosetta.shared import images, keras, x

GROUP = "Dropout and noise"
NONE = "No equivalent: there is no noise in its networks, and no layer can be added."


def no_noise() -> bool:
    names = {*MLPClassifier().get_params(), *SGDClassifier().get_params()}
    return not [name for name in names if "drop" in name or "noise" in name]


@row(GROUP, "Dropout in training")
class Dropout:
    """Both rates are the probability to *drop*, and the survivors are divided by 1 − rate. The
    masks of two libraries are never the same, so what is compared is each output with its input,
    given the mask that was drawn."""

    short = {"keras": "Dropout(0.3)", "torch": "nn.Dropout(0.3)", "sklearn": None}
    lacks = {"sklearn": NONE}
    trap = """In papers, and in TensorFlow before its second version, the number was the probability
    to *keep*. The wrong line takes it so; at 0.5 nobody would notice."""
    missing = no_noise

    def keras():
        h = x + 5  # nothing is zero by itself
        out = keras.layers.Dropout(0.3, seed=0)(h, training=True)
        return torch.where(out == 0, h / 0.7, out)

    def torch():
        torch.manual_seed(0)
        h = x + 5
        out = nn.Dropout(0.3).train()(h)
        return torch.where(out == 0, h / 0.7, out)

    def wrong():
        torch.manual_seed(0)
        h = x + 5
        out = nn.Dropout(1 - 0.3)(h)
        return torch.where(out == 0, h / 0.7, out)


@row(GROUP, "Dropout that was just made")
class JustMade:
    """A layer of Keras that is called drops nothing, unless it is told `training=True` or is inside
    of `fit`. A module of PyTorch is in training mode from birth, until `eval()`."""

    short = {"keras": "layer(h)", "torch": "net.eval()(h)", "sklearn": None}
    also = ("Dropout", "training", "train")
    lacks = {"sklearn": NONE}
    trap = """Translate the call as it stands, and PyTorch drops units while you evaluate. Nothing
    is said about it."""
    missing = no_noise

    def keras():
        return keras.layers.Dropout(0.3)(x)

    def torch():
        return nn.Dropout(0.3).eval()(x)

    def wrong():
        torch.manual_seed(0)
        return nn.Dropout(0.3)(x)


@row(GROUP, "Dropout that should stay on")
class StaysOn:
    """Masks while predicting, for a mean over many: `training=True` in the call, which beats
    whatever surrounds it; in PyTorch the function `F.dropout`, whose flag is True by default and
    which has never heard of `eval()`. Compared as above, given the masks."""

    short = {
        "keras": "layer(h, training=True)",
        "torch": "F.dropout(h, 0.3)",
        "sklearn": None,
    }
    also = ("Dropout",)
    lacks = {"sklearn": NONE}
    trap = """The same line is a bug where nobody wanted it: `F.dropout(h, 0.3)` inside `forward`
    keeps dropping after `eval()` (lesson 04). It needs `training=self.training`. The wrong line
    asks the module."""
    missing = no_noise

    def keras():
        h = x + 5
        out = keras.layers.Dropout(0.3, seed=0)(h, training=True)
        return torch.where(out == 0, h / 0.7, out)

    def torch():
        torch.manual_seed(0)
        h = x + 5
        out = F.dropout(h, 0.3)
        return torch.where(out == 0, h / 0.7, out)

    def wrong():
        h = x + 5
        out = nn.Dropout(0.3).eval()(h)
        return torch.where(out == 0, h / 0.7, out)


@row(GROUP, "Dropout that is frozen")
class Frozen:
    """`trainable = False` freezes weights, and dropout has none, so it goes on dropping; so does
    PyTorch after `requires_grad_(False)`. What silences it is the mode. Compared is the share of
    zeros in a million numbers, rounded to two digits."""

    short = {
        "keras": "layer.trainable = False  # still drops",
        "torch": "layer.requires_grad_(False)  # still drops",
        "sklearn": None,
    }
    also = ("Dropout",)
    lacks = {"sklearn": NONE}
    trap = """Batch norm in Keras is different: there the same attribute changes what the layer
    computes (see below). The wrong line freezes PyTorch's by its mode."""
    missing = no_noise

    def keras():
        layer = keras.layers.Dropout(0.3, seed=0)
        layer.trainable = False
        out = layer(torch.ones(1000, 1000), training=True)
        return (out == 0).float().mean().round(decimals=2)

    def torch():
        torch.manual_seed(0)
        layer = nn.Dropout(0.3).requires_grad_(False)
        out = layer(torch.ones(1000, 1000))
        return (out == 0).float().mean().round(decimals=2)

    def wrong():
        out = nn.Dropout(0.3).eval()(torch.ones(1000, 1000))
        return (out == 0).float().mean().round(decimals=2)


@row(GROUP, "Whole channels")
class Spatial:
    """One coin for each channel of each image. Keras expects channels last, PyTorch channels
    second. Compared is, given the mask, what becomes of each channel, and how many images lose a
    part of a channel: none."""

    short = {
        "keras": "SpatialDropout2D(0.3)  # (N, H, W, C)",
        "torch": "nn.Dropout2d(0.3)  # (N, C, H, W)",
        "sklearn": None,
    }
    lacks = {"sklearn": NONE}
    trap = """Give PyTorch's layer the images of Keras, and it silences whole *rows of the picture*,
    in all colors, without a warning. The wrong line counts the channels that lost a part."""
    missing = no_noise

    def keras():
        h = images + 9
        out = keras.layers.SpatialDropout2D(0.3, seed=0)(h, training=True)
        gone = (out == 0).float().mean((1, 2))  # of each channel, 0 or 1
        return [float(((gone > 0) & (gone < 1)).sum()), float((out / h).max())]

    def torch():
        torch.manual_seed(0)
        h = images + 9
        out = nn.Dropout2d(0.3)(h.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        gone = (out == 0).float().mean((1, 2))
        return [float(((gone > 0) & (gone < 1)).sum()), float((out / h).max())]

    def wrong():
        torch.manual_seed(0)
        h = images + 9
        out = nn.Dropout2d(0.3)(h)
        gone = (out == 0).float().mean((1, 2))
        return [float(((gone > 0) & (gone < 1)).sum()), float((out / h).max())]


@row(GROUP, "One mask for all steps of a sequence", tolerance=1e-5)
class Sequence:
    """`SpatialDropout1D`, or `noise_shape`, silences a feature at all steps of a sequence.
    PyTorch's `Dropout1d` does this for sequences whose features stand second. Compared as for
    channels."""

    short = {
        "keras": "Dropout(0.3, noise_shape=(None, 1, None))  # (N, steps, features)",
        "torch": "nn.Dropout1d(0.3)  # (N, features, steps)",
        "sklearn": None,
    }
    also = ("SpatialDropout1D",)
    lacks = {"sklearn": NONE}
    trap = """Sequences in PyTorch are often (N, steps, features), as with `batch_first=True`.
    `Dropout1d` then silences whole moments instead of features."""
    missing = no_noise

    def keras():
        h = images[:, 0] + 9  # 8 sequences of 6 steps with 3 features
        out = keras.layers.Dropout(0.3, noise_shape=(None, 1, None), seed=0)(h, training=True)
        gone = (out == 0).float().mean(1)
        return [float(((gone > 0) & (gone < 1)).sum()), float((out / h).max())]

    def torch():
        torch.manual_seed(0)
        h = images[:, 0] + 9
        out = nn.Dropout1d(0.3)(h.transpose(1, 2)).transpose(1, 2)
        gone = (out == 0).float().mean(1)
        return [float(((gone > 0) & (gone < 1)).sum()), float((out / h).max())]

    def wrong():
        torch.manual_seed(0)
        h = images[:, 0] + 9
        out = nn.Dropout1d(0.3)(h)
        gone = (out == 0).float().mean(1)
        return [float(((gone > 0) & (gone < 1)).sum()), float((out / h).max())]


@row(GROUP, "Gaussian dropout", tolerance=5, unit="standard errors")
class Gaussian:
    """Each number is multiplied by a draw with mean 1 and variance rate / (1 − rate), which is the
    spread of ordinary dropout. PyTorch has no layer for it. Equal in law: compared are mean and
    spread of a million draws, in standard errors."""

    short = {
        "keras": "GaussianDropout(0.3)",
        "torch": "h * (1 + (0.3 / 0.7) ** 0.5 * torch.randn_like(h))",
        "sklearn": None,
    }
    lacks = {"sklearn": NONE}
    trap = """The rate is not the spread: 0.3 is a standard deviation of 0.65. The wrong line takes
    it for the spread."""
    missing = no_noise

    def keras():
        h = torch.ones(1000, 1000)
        out = keras.layers.GaussianDropout(0.3, seed=0)(h, training=True)
        return torch.stack([out.mean(), out.std()]) / (0.65 / 1000)

    def torch():
        torch.manual_seed(1)
        h = torch.ones(1000, 1000)
        out = h * (1 + (0.3 / 0.7) ** 0.5 * torch.randn_like(h))
        return torch.stack([out.mean(), out.std()]) / (0.65 / 1000)

    def wrong():
        torch.manual_seed(1)
        h = torch.ones(1000, 1000)
        out = h * (1 + 0.3 * torch.randn_like(h))
        return torch.stack([out.mean(), out.std()]) / (0.65 / 1000)


@row(GROUP, "Gaussian noise", tolerance=5, unit="standard errors")
class Noise:
    """A draw of mean 0 is added, and its spread is the number that you give. Equal in law, as
    above; both add it in training only."""

    short = {
        "keras": "GaussianNoise(0.3)",
        "torch": "h + 0.3 * torch.randn_like(h)  # if self.training",
        "sklearn": None,
    }
    lacks = {"sklearn": NONE}
    trap = """By hand nothing switches it off: the wrong line adds noise where Keras adds none, in
    evaluation."""
    missing = no_noise

    def keras():
        layer, h = keras.layers.GaussianNoise(0.3, seed=0), torch.zeros(1000, 1000)
        out = layer(h, training=True)
        quiet = layer(h)  # evaluation
        return torch.stack([out.mean(), out.std(), quiet.std()]) / (0.3 / 1000)

    def torch():
        torch.manual_seed(1)
        h = torch.zeros(1000, 1000)

        def layer(h, training=False):
            return h + 0.3 * torch.randn_like(h) if training else h

        out = layer(h, training=True)
        quiet = layer(h)
        return torch.stack([out.mean(), out.std(), quiet.std()]) / (0.3 / 1000)

    def wrong():
        torch.manual_seed(1)
        h = torch.zeros(1000, 1000)
        out = h + 0.3 * torch.randn_like(h)
        quiet = h + 0.3 * torch.randn_like(h)
        return torch.stack([out.mean(), out.std(), quiet.std()]) / (0.3 / 1000)
