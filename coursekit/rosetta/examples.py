"""Rows on labels, weights of examples, and augmentation."""

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

from coursekit.rosetta.row import row
from coursekit.rosetta.shared import X, fit_keras, fit_torch, images, keras, labels, linear, x

LABELS = "Labels and weights of examples"
IMAGES = "Augmentation"


def settings() -> set[str]:
    return {*MLPClassifier().get_params(), *LogisticRegression().get_params()}


@row(LABELS, "Label smoothing")
class Smoothing:
    """Both move a share s of each label to all classes alike, the right one included: 1 − s + s/K
    for the right class, s/K for each other."""

    short = {
        "keras": "CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)",
        "torch": "nn.CrossEntropyLoss(label_smoothing=0.1)",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: its classifiers take names of classes, not shares of them."}
    trap = """Some papers and codes share s among the *other* classes only, 1 − s for the right one.
    With three classes, as in the wrong line, their 0.1 is 0.15 here."""

    def missing():
        return not {name for name in settings() if "smooth" in name}

    def keras():
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        return loss(F.one_hot(labels, 3).float(), x[:, :3])

    def torch():
        return nn.CrossEntropyLoss(label_smoothing=0.1)(x[:, :3], labels)

    def wrong():
        right = F.one_hot(labels, 3).float()
        return nn.CrossEntropyLoss()(x[:, :3], 0.9 * right + 0.1 / 2 * (1 - right))


@row(LABELS, "Label smoothing, two classes")
class BinarySmoothing:
    """`BinaryCrossentropy` moves a label by s towards one half. PyTorch's has no such setting, but
    takes labels between 0 and 1."""

    short = {
        "keras": "BinaryCrossentropy(from_logits=True, label_smoothing=0.1)",
        "torch": "binary_cross_entropy_with_logits(z, y * (1 - 0.1) + 0.1 / 2)",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: labels between two classes are refused."}
    trap = "Not 1 becomes 0.9 and 0 becomes 0.1, as in the wrong line, but 0.95 and 0.05."

    def missing():
        return not {name for name in settings() if "smooth" in name}

    def keras():
        loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)
        return loss(labels[:, None].float(), x[:, :1])

    def torch():
        target = labels.float() * (1 - 0.1) + 0.1 / 2
        return F.binary_cross_entropy_with_logits(x[:, 0], target)

    def wrong():
        target = labels.float() * 0.9 + (1 - labels.float()) * 0.1
        return F.binary_cross_entropy_with_logits(x[:, 0], target)


@row(LABELS, "Logits or probabilities")
class Logits:
    """Keras' losses expect probabilities unless they are told `from_logits=True`; PyTorch's
    `CrossEntropyLoss` expects logits, always."""

    short = {
        "keras": "SparseCategoricalCrossentropy(from_logits=True)",
        "torch": "nn.CrossEntropyLoss()",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: the loss of its classifiers cannot be called or chosen."}
    trap = """A softmax too many is no error. The wrong line has one in the network *and* one in
    PyTorch's loss, which then cannot fall below a floor (0.31 for two classes), and learns
    slowly."""

    def missing():
        return not {name for name in settings() if "loss" in name or "logits" in name}

    def keras():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return loss(labels, x[:, :3])

    def torch():
        return nn.CrossEntropyLoss()(x[:, :3], labels)

    def wrong():
        return nn.CrossEntropyLoss()(x[:, :3].softmax(1), labels)


@row(LABELS, "Weights of classes")
class ClassWeights:
    """Keras multiplies each example's loss by the weight of its class and divides by the *number of
    examples*. PyTorch's `CrossEntropyLoss(weight=...)` divides by the *sum of their weights*; with
    `reduction="sum"` and a division of one's own it is the same, as long as labels are not smoothed
    (see the next row). scikit-learn weighs each term of a sum. Compared at the minimum of a
    logistic regression with c = 0.05."""

    short = {
        "keras": "model.fit(class_weight={0: 1, 1: 3})",
        "torch": 'CrossEntropyLoss(weight, reduction="sum")(z, y) / n',
        "sklearn": "LogisticRegression(class_weight={0: 1, 1: 3})",
    }
    also = ("weight",)
    trap = """Divided by the sum of weights, the loss is smaller, and everything beside it is
    larger in proportion: the penalty here, and any limit on slopes too. A batch with few
    examples of the heavy class gives each of them more."""

    def keras():
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.05))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(1.0), keras.losses.BinaryCrossentropy(from_logits=True))
        return fit_keras(model, 150, labels[:, None].float(), class_weight={0: 1.0, 1: 3.0})

    def torch():
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 2 * 0.05}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=1.0)
        count = nn.CrossEntropyLoss(torch.tensor([1.0, 3.0]), reduction="sum")

        def loss():
            z = torch.cat([torch.zeros(64, 1), net(x)], 1)  # two classes, one of them at 0
            return count(z, labels) / 64

        return fit_torch(net, optimizer, 150, loss)

    def sklearn():
        c, weight = 1 / (2 * 0.05 * 64), {0: 1, 1: 3}
        model = LogisticRegression(C=c, class_weight=weight, solver="newton-cholesky", tol=1e-9)
        model.fit(X, labels.numpy())
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong():
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 2 * 0.05}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=1.0)
        mean = nn.CrossEntropyLoss(torch.tensor([1.0, 3.0]))

        def loss():
            z = torch.cat([torch.zeros(64, 1), net(x)], 1)
            return mean(z, labels)

        return fit_torch(net, optimizer, 150, loss)


@row(LABELS, "Smoothing and class weights")
class SmoothedWeights:
    """Keras weighs the whole loss of an example by the weight of its own class, smoothed or not. In
    PyTorch take the smoothed losses one by one, multiply them by `weight[y]`, and take the mean."""

    short = {
        "keras": "CategoricalCrossentropy(label_smoothing=0.1), fit(class_weight={...})",
        "torch": '(weight[y] * each).mean()  # each: CrossEntropyLoss(reduction="none")',
        "sklearn": None,
    }
    also = ("weight", "CrossEntropyLoss", "reduction")
    lacks = {"sklearn": "No equivalent: it has the weights, and no smoothing."}
    trap = """With both flags in one call, as in the wrong line, PyTorch weighs each *share* of a
    smoothed label by the class to which the share has gone. Each flag alone has its row above, and
    both rows are equal; together they are not."""

    def missing():
        return not {name for name in settings() if "smooth" in name}

    def keras(steps):
        target = F.one_hot(labels + (x[:, 1] > 0), 3).float()  # three classes
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        model = keras.Sequential([keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.5), loss)
        return fit_keras(model, steps, target, class_weight={0: 1.0, 1: 2.0, 2: 0.5})

    def torch(steps):
        net, target, weight = linear(3), labels + (x[:, 1] > 0), torch.tensor([1.0, 2.0, 0.5])
        each = nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

        def loss():
            return (weight[target] * each(net(x), target)).mean()

        return fit_torch(net, optimizer, steps, loss)

    def wrong(steps):
        net, target, weight = linear(3), labels + (x[:, 1] > 0), torch.tensor([1.0, 2.0, 0.5])
        total = nn.CrossEntropyLoss(weight, reduction="sum", label_smoothing=0.1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

        def loss():
            return total(net(x), target) / 64

        return fit_torch(net, optimizer, steps, loss)


@row(LABELS, "Weights of examples")
class ExampleWeights:
    """`sample_weight` in Keras multiplies each example's loss and divides by their number. In
    PyTorch it is a product and a mean; in scikit-learn a weight counts an example so many times in
    the sum. Compared as in *Weights of classes*."""

    short = {
        "keras": "model.fit(x, y, sample_weight=v)",
        "torch": "(v * each).mean()  # each: losses of the examples",
        "sklearn": "LogisticRegression().fit(X, y, sample_weight=v)",
    }
    trap = """scikit-learn's *networks* divide by the sum of weights instead (those that take
    weights, since version 1.7), as the wrong line does: unpenalized, twice all weights
    changes nothing; in Keras it doubles the learning rate."""

    def keras():
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.05))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(1.0), keras.losses.BinaryCrossentropy(from_logits=True))
        v = x[:, 0].abs()
        return fit_keras(model, 300, labels[:, None].float(), sample_weight=v)

    def torch():
        net, v = linear(), x[:, 0].abs()
        kernels = {"params": [net.weight], "weight_decay": 2 * 0.05}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=1.0)

        def loss():
            z, target = net(x)[:, 0], labels.float()
            each = F.binary_cross_entropy_with_logits(z, target, reduction="none")
            return (v * each).mean()

        return fit_torch(net, optimizer, 300, loss)

    def sklearn():
        model = LogisticRegression(C=1 / (2 * 0.05 * 64), solver="newton-cholesky", tol=1e-9)
        model.fit(X, labels.numpy(), sample_weight=abs(X[:, 0]))
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong():
        net, v = linear(), x[:, 0].abs()
        kernels = {"params": [net.weight], "weight_decay": 2 * 0.05}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=1.0)

        def loss():
            z, target = net(x)[:, 0], labels.float()
            each = F.binary_cross_entropy_with_logits(z, target, reduction="none")
            return (v * each).sum() / v.sum()

        return fit_torch(net, optimizer, 300, loss)


NO_IMAGES = (
    "No equivalent: it knows tables, and what is done to rows is done once, in front of `fit`."
)


def no_images() -> bool:
    return not {name for name in settings() if "flip" in name or "augment" in name}


@row(IMAGES, "A mirror by chance")
class Flip:
    """Each image is mirrored or not, by a coin of its own, in training only. Compared given the
    coins: every image is itself or its mirror image, and in evaluation itself."""

    short = {
        "keras": 'RandomFlip("horizontal")  # (N, H, W, C)',
        "torch": "torch.where(coin, h.flip(-1), h)  # (N, C, H, W)",
        "sklearn": None,
    }
    lacks = {"sklearn": NO_IMAGES}
    trap = """`flip(-1)` mirrors columns where channels stand second. With channels last, as in the
    wrong line, it exchanges red and blue, and no shape complains."""
    missing = no_images

    def keras():
        layer = keras.layers.RandomFlip("horizontal", seed=0)
        out, mirror = layer(images, training=True), images.flip(2)
        own = [
            min((o - h).abs().max(), (o - m).abs().max())
            for o, h, m in zip(out, images, mirror, strict=True)
        ]
        return [float(max(own)), float((layer(images, training=False) - images).abs().max())]

    def torch():
        torch.manual_seed(0)
        h = images.permute(0, 3, 1, 2)
        coin = torch.rand(8, 1, 1, 1) < 0.5
        out, mirror = torch.where(coin, h.flip(-1), h), h.flip(3)
        own = [
            min((o - i).abs().max(), (o - m).abs().max())
            for o, i, m in zip(out, h, mirror, strict=True)
        ]
        return [float(max(own)), 0.0]

    def wrong():
        torch.manual_seed(0)
        coin = torch.rand(8, 1, 1, 1) < 0.5
        out, mirror = torch.where(coin, images.flip(-1), images), images.flip(2)
        own = [
            min((o - h).abs().max(), (o - m).abs().max())
            for o, h, m in zip(out, images, mirror, strict=True)
        ]
        return [float(max(own)), 0.0]


@row(IMAGES, "A shift")
class Shift:
    """The factor is a share of the picture: 1/6 of six points is one. Positive moves down and to
    the right. To compare, the range is made a point; what comes in at the border is made zero."""

    short = {
        "keras": 'RandomTranslation((1/6, 1/6), 0, fill_mode="constant")',
        "torch": "F.pad(h, (0, 0, 1, 0))[..., :-1, :]",
        "sklearn": None,
    }
    lacks = {"sklearn": NO_IMAGES}
    trap = """By default Keras fills the border with the *mirrored picture* ("reflect"); most codes
    for PyTorch fill it with zeros. The wrong line keeps the default."""
    missing = no_images

    def keras():
        layer = keras.layers.RandomTranslation((1 / 6, 1 / 6), 0.0, fill_mode="constant")
        return layer(images, training=True)

    def torch():
        h = images.permute(0, 3, 1, 2)
        return F.pad(h, (0, 0, 1, 0))[:, :, :-1].permute(0, 2, 3, 1)

    def wrong():
        return keras.layers.RandomTranslation((1 / 6, 1 / 6), 0.0)(images, training=True)


@row(IMAGES, "A rotation")
class Rotation:
    """The factor of Keras is a share of a *full turn*: 0.1 means up to 36 degrees either way. Where
    PyTorch's companions speak of degrees, divide by 360. Compared on a quarter of a turn, for
    which nothing has to be guessed between points."""

    short = {
        "keras": "RandomRotation((0.25, 0.25))",
        "torch": "torch.rot90(h, dims=(-2, -1))",
        "sklearn": None,
    }
    lacks = {"sklearn": NO_IMAGES}
    trap = """A factor of 15, meant as degrees, is taken without a word: it is any angle at all. A
    factor of 0.25, meant as a small angle, is a quarter of a turn; the wrong line is what was
    meant: nearly no turn."""
    missing = no_images

    def keras():
        return keras.layers.RandomRotation((0.25, 0.25))(images, training=True)

    def torch():
        return torch.rot90(images, dims=(1, 2))

    def wrong():
        return images


@row(IMAGES, "Brightness and its range")
class Brightness:
    """Keras adds a share of the *value range*, which it takes to be 0 to 255, to every point and
    cuts what leaves the range. By hand it is a sum and a `clamp`."""

    short = {
        "keras": "RandomBrightness((0.2, 0.2), value_range=(0, 1))",
        "torch": "(h + 0.2).clamp(0, 1)",
        "sklearn": None,
    }
    lacks = {"sklearn": NO_IMAGES}
    trap = """For images between 0 and 1 the default range adds 51 to every point, and all is white.
    The wrong line keeps the default."""
    missing = no_images

    def keras():
        layer = keras.layers.RandomBrightness((0.2, 0.2), value_range=(0, 1))
        return layer(images.sigmoid(), training=True)

    def torch():
        return (images.sigmoid() + 0.2).clamp(0, 1)

    def wrong():
        return keras.layers.RandomBrightness((0.2, 0.2))(images.sigmoid(), training=True)
