"""Rows on normalization."""

from sklearn.neural_network import MLPClassifier
from torch import nn

from coursekit.rosetta.row import row
from coursekit.rosetta.shared import images, keras, x

GROUP = "Normalization"
NONE = """No equivalent: nothing is normalized inside its networks. `StandardScaler` in front of one
does it once, with the statistics of the training rows."""


def no_norm() -> bool:
    return not [name for name in MLPClassifier().get_params() if "norm" in name]


@row(GROUP, "Batch norm in training")
class BatchTraining:
    """Subtract the batch's mean, divide by its spread. Equal once the small number under the root
    is: 0.001 by default in Keras, 0.00001 in PyTorch."""

    short = {
        "keras": "BatchNormalization(epsilon=1e-5)",
        "torch": "nn.BatchNorm1d(5)",
        "sklearn": None,
    }
    also = ("eps",)
    lacks = {"sklearn": NONE}
    trap = """For features with a spread near 1 the defaults differ in the fourth digit; for
    features with a spread of 0.03, as here, by a lot."""
    missing = no_norm

    def keras():
        layer = keras.layers.BatchNormalization(epsilon=1e-5)
        return layer(0.03 * x, training=True)

    def torch():
        return nn.BatchNorm1d(5).train()(0.03 * x)

    def wrong():
        return keras.layers.BatchNormalization()(0.03 * x, training=True)


@row(GROUP, "Momentum of the stored mean")
class BatchMomentum:
    """Keras' momentum is the share of the *old* statistics that stays, PyTorch's the share of the
    *new* ones that comes in: 0.99 there is 0.01 here. By default PyTorch's mean moves ten times as
    fast."""

    short = {
        "keras": "BatchNormalization(momentum=0.9)",
        "torch": "nn.BatchNorm1d(5, momentum=0.1)",
        "sklearn": None,
    }
    also = ("running_mean", "moving_mean")
    lacks = {"sklearn": NONE}
    trap = """Copy 0.99 into PyTorch, and evaluation uses the statistics of the last batch and of
    hardly any other. The wrong line copies 0.9."""
    missing = no_norm

    def keras():
        layer = keras.layers.BatchNormalization(momentum=0.9)
        for batch in (x + 1).split(16):
            layer(batch, training=True)
        return layer.moving_mean

    def torch():
        layer = nn.BatchNorm1d(5, momentum=1 - 0.9)
        for batch in (x + 1).split(16):
            layer(batch)
        return layer.running_mean

    def wrong():
        layer = nn.BatchNorm1d(5, momentum=0.9)
        for batch in (x + 1).split(16):
            layer(batch)
        return layer.running_mean


@row(GROUP, "The stored variance")
class BatchVariance:
    """Both normalize with the variance divided by n. What PyTorch *stores* is divided by n − 1,
    what Keras stores by n. So what each batch adds has to be made smaller by (n − 1)/n, in each
    step. Here n counts rows, behind a convolution rows times height times width. If all batches are
    equally large, once at the end is enough: take off the 1 with which both begin, of which
    `0.9**steps` is left, multiply, and put it back. *All together* does so."""

    short = {
        "keras": "layer.moving_variance",
        "torch": "old + (layer.running_var - old) * (n - 1) / n  # old: momentum * last",
        "sklearn": None,
    }
    also = ("BatchNormalization", "BatchNorm1d")
    lacks = {"sklearn": NONE}
    trap = """Left as it is (the wrong line), the stored variance is too large, by a seventh for
    batches of eight and by less than one percent for batches of 128, and what the network says in
    evaluation is off with it. The cure writes over `running_var`: where it stands at the end, do it
    once, or on a copy."""
    missing = no_norm

    def keras():
        layer = keras.layers.BatchNormalization(momentum=0.9)
        for batch in x[:60].split(8):
            layer(batch, training=True)
        return layer.moving_variance

    def torch():
        layer = nn.BatchNorm1d(5, momentum=1 - 0.9)
        for batch in x[:60].split(8):  # seven of 8, and the last of 4
            old, n = 0.9 * layer.running_var, len(batch)
            layer(batch)
            layer.running_var.copy_(old + (layer.running_var - old) * (n - 1) / n)
        return layer.running_var

    def wrong():
        layer = nn.BatchNorm1d(5, momentum=1 - 0.9)
        for batch in x[:60].split(8):
            layer(batch)
        return layer.running_var


@row(GROUP, "Batch norm that is frozen")
class BatchFrozen:
    """In Keras `trainable = False` on a batch norm does two things: scale and shift rest, and the
    layer computes as in evaluation, also inside of `fit`, and its statistics rest. In PyTorch the
    first is `requires_grad_(False)` and the second is `eval()`."""

    short = {
        "keras": "layer.trainable = False",
        "torch": "layer.requires_grad_(False).eval()",
        "sklearn": None,
    }
    also = ("BatchNormalization", "BatchNorm1d", "train")
    lacks = {"sklearn": NONE}
    trap = """`requires_grad_(False)` alone goes on normalizing by the batch and goes on moving the
    statistics, and `net.train()` in your loop undoes `eval()` in every epoch. The wrong line leaves
    `eval()` out."""
    missing = no_norm

    def keras():
        layer = keras.layers.BatchNormalization(epsilon=1e-5)
        layer.build((None, 5))
        layer.trainable = False
        out = layer(3 * x + 1, training=True)
        return {"out": out, "mean": layer.moving_mean}

    def torch():
        layer = nn.BatchNorm1d(5).requires_grad_(False).eval()
        out = layer(3 * x + 1)
        return {"out": out, "mean": layer.running_mean}

    def wrong():
        layer = nn.BatchNorm1d(5).requires_grad_(False)
        out = layer(3 * x + 1)
        return {"out": out, "mean": layer.running_mean}


@row(GROUP, "Batch norm behind a convolution")
class BatchImages:
    """One mean and one spread per channel. Keras expects channels last, PyTorch second."""

    short = {
        "keras": "BatchNormalization(epsilon=1e-5)  # (N, H, W, C)",
        "torch": "nn.BatchNorm2d(3)  # (N, C, H, W)",
        "sklearn": None,
    }
    also = ("data_format",)
    lacks = {"sklearn": NONE}
    trap = """A model of Keras with channels in the second place (`data_format="channels_first"` in
    its convolutions) needs `axis=1` in its batch norm too, or it normalizes columns of pixels."""
    missing = no_norm

    def keras():
        return keras.layers.BatchNormalization(epsilon=1e-5)(images, training=True)

    def torch():
        out = nn.BatchNorm2d(3)(images.permute(0, 3, 1, 2))
        return out.permute(0, 2, 3, 1)

    def wrong():
        layer = keras.layers.BatchNormalization(epsilon=1e-5)
        out = layer(images.permute(0, 3, 1, 2), training=True)
        return out.permute(0, 2, 3, 1)


@row(GROUP, "Layer norm")
class Layer:
    """Each row is normalized by itself, in training and in evaluation alike. Again only the small
    number differs: 0.001 and 0.00001."""

    short = {
        "keras": "LayerNormalization(epsilon=1e-5)",
        "torch": "nn.LayerNorm(5)",
        "sklearn": None,
    }
    also = ("eps",)
    lacks = {"sklearn": NONE}
    trap = """`nn.LayerNorm` wants the shape over which it normalizes, Keras the axis: for images,
    axis=-1 is a norm over the colors of one point, and `nn.LayerNorm([C, H, W])` one over the
    picture. The wrong line keeps the default of Keras."""
    missing = no_norm

    def keras():
        return keras.layers.LayerNormalization(epsilon=1e-5)(0.03 * x)

    def torch():
        return nn.LayerNorm(5)(0.03 * x)

    def wrong():
        return keras.layers.LayerNormalization()(0.03 * x)


@row(GROUP, "Group norm")
class Group:
    """Channels in groups, each image by itself. `groups=-1` in Keras is one group per channel,
    which others call instance norm."""

    short = {
        "keras": "GroupNormalization(groups=3, epsilon=1e-5)  # (N, H, W, C)",
        "torch": "nn.GroupNorm(3, 3)  # (N, C, H, W)",
        "sklearn": None,
    }
    also = ("eps",)
    lacks = {"sklearn": NONE}
    trap = """Keras makes 32 groups unless you say otherwise; PyTorch has no default. The wrong line
    makes one group of three channels."""
    missing = no_norm

    def keras():
        return keras.layers.GroupNormalization(groups=3, epsilon=1e-5)(images)

    def torch():
        return nn.GroupNorm(3, 3)(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def wrong():
        return nn.GroupNorm(1, 3)(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
