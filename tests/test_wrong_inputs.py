"""What people pass by mistake, to every public function: the right numbers, or one sentence.

A row of the table calls one function and names the kind of each argument. A kind is a list of
variants of an argument, each with what has to come of it:

    same      the result of the valid argument (to the digits that the type has)
    refused   a ValueError that says what was expected, what came, and what to try
    shows     refused, or not-a-number in the result: nothing that looks right
    runs      any result, or such a sentence
"""

import copy
import re
import warnings
from dataclasses import fields, is_dataclass
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import sparse
from test_docstrings import public
from torch import nn

from coursekit import data, judge, linear
from coursekit.linear import proximal
from coursekit.regularizers import (
    decay,
    depth,
    dropout,
    normalization,
    penalties,
)

REGULARIZERS = (
    "augmentation", "decay", "depth", "dropout", "ensemble", "mixing", "normalization", "penalties",
)  # fmt: skip
MODULES = [
    *(f"regularizers.{name}" for name in REGULARIZERS),
    *("measure", "judge", "intervals", "linear", "linear.proximal", "linear.strengths", "data"),
]
SENTENCE = re.compile(r"expected [^\n]+, got [^\n]+(; | try )|unknown .+; expected one of ")
DIGITS = {torch.bfloat16: 2e-2, torch.float16: 2e-3}
WRONG = {"None": None, "text": "many", "a function": len}


def same(change):
    return change, "same"


def refused(change):
    return change, "refused"


def shows(change):
    return change, "shows"


def runs(change):
    return change, "runs"


def instead(value):
    return refused(lambda _: value)


def types(*others):
    """Things that are no numbers, to be refused."""
    more = {repr(other): other for other in others}
    return {name: instead(value) for name, value in {**WRONG, **more}.items()}


def with_gradient(t):
    return t.clone().requires_grad_()


def strided(t):
    """The same numbers, every second place of a larger memory."""
    wide = t.new_zeros(*t.shape[:-1], 2 * t.shape[-1])
    wide[..., ::2] = t
    return wide[..., ::2]


def spoiled(value):
    """Put a value at the first place."""

    def change(t):
        t = t.clone() if isinstance(t, torch.Tensor) else np.array(t, float)
        t[(0,) * t.ndim] = value
        return t

    return change


IN_OTHER_FORM = {
    "carries a gradient": same(with_gradient),
    "not contiguous": same(strided),
    "bfloat16": same(lambda t: t.bfloat16()),
    "float16": same(lambda t: t.half()),
    "float64": same(lambda t: t.double()),
}
NO_TENSOR = {
    "a list": refused(lambda t: t.tolist()),
    "an array": refused(lambda t: t.numpy()),
    **types(),
}
FLOATS = {
    **IN_OTHER_FORM,
    **NO_TENSOR,
    "whole numbers": refused(lambda t: (9 * t).long()),
    "NaN": shows(spoiled(torch.nan)),
}
ANY = {
    **IN_OTHER_FORM,
    **NO_TENSOR,
    "whole numbers": runs(lambda t: (9 * t).long()),
    "NaN": shows(spoiled(torch.nan)),
}
# A layer is called in every step, and looks at no more than it has to.
IN_A_LAYER = {name: variant for name, variant in ANY.items() if name not in NO_TENSOR}
IMAGE_SHAPES = {
    "one image": refused(lambda x: x[0]),
    "no channel": refused(lambda x: x[:, 0]),
    "flat": refused(lambda x: x.flatten(1)),
    "a video": refused(lambda x: x[None]),
    "one row": runs(lambda x: x[:1]),
    "empty": runs(lambda x: x[:0]),
}
IMAGES = {**FLOATS, **IMAGE_SHAPES, "bytes": refused(lambda x: (255 * x).byte())}
UNIT_IMAGES = {
    **IMAGES,
    "0 to 255": refused(lambda x: 255 * x),
    "standardized": refused(lambda x: (x - x.mean()) / x.std()),
    "NaN": refused(spoiled(torch.nan)),
}
PIXELS = {**ANY, **IMAGE_SHAPES, "bytes": runs(lambda x: (255 * x).byte())}
# The first pixel, which is NaN, may be erased or move out.
PARTS = {**PIXELS, "NaN": runs(spoiled(torch.nan))}
# `randn_like` draws other numbers for another type.
NOISY = {
    **FLOATS,
    **{name: runs(IN_OTHER_FORM[name][0]) for name in ("bfloat16", "float16", "float64")},
}


def numbers(*bad, whole=False, tensors=True):
    """A number, with some that are out of range: one of them is mostly a percentage."""
    return {
        **types(1j),
        **{
            f"{value!r}": instead(value) for value in (float("nan"), float("inf"), [1.0, 2.0], *bad)
        },
        **({"a fraction": instead(1.5)} if whole else {}),
        "a vector": instead(torch.tensor([0.1, 0.2])),
        "of numpy": same(lambda v: np.asarray(v)[()]),
        "of numpy, in single precision": same(np.float32),
        **({"a tensor": same(torch.as_tensor)} if tensors else {}),
        **({"a wrong tensor": instead(torch.tensor(float(bad[0])))} if tensors and bad else {}),
    }


def wholes(*bad, tensors=False):
    return numbers(*bad, whole=True, tensors=tensors)


def choices(*bad):
    return types(*bad, 3)


PER_IMAGE = {  # whole numbers
    **NO_TENSOR,
    "int32": same(lambda t: t.int()),
    "bytes": same(lambda t: t.byte()),
    "fractions": refused(lambda t: t + 0.5),
    "too few": refused(lambda t: t[:2]),
    "a column": refused(lambda t: t[:, None]),
}
ORDER = {**PER_IMAGE, "beyond the rows": refused(lambda t: t + 1)}
SHARE = {**FLOATS, "percent": refused(lambda t: 100 * t), "too few": refused(lambda t: t[:2])}
LABEL_SHARES = {
    **SHARE,
    "classes": refused(lambda t: t.argmax(1)),
    "classes as floats": refused(lambda t: t.argmax(1).float()),
}
SHARES_OR_CLASSES = {
    **NO_TENSOR,
    "int32": same(lambda y: y.int()),
    "bytes": same(lambda y: y.byte()),
    "floats": refused(lambda y: y.float()),
    "one too many": refused(lambda y: y + 1),
    "negative": refused(lambda y: y - 1),
    "one-hot": runs(lambda y: torch.eye(3)[y]),
    "percent": refused(lambda y: 100 * torch.eye(3)[y]),
}
MODULE = types(nn.Linear, [nn.Linear(2, 2)])
PARAMS = {
    **types(),
    "a network": instead(nn.Linear(2, 2)),
    "a list": refused(lambda params: list(params.values())),
    "empty": runs(lambda params: {}),
    "lists": refused(lambda params: {name: p.tolist() for name, p in params.items()}),
    "bfloat16": same(lambda params: {name: p.bfloat16() for name, p in params.items()}),
    "gradients": same(lambda params: {name: with_gradient(p) for name, p in params.items()}),
    "NaN": shows(lambda params: {name: p * torch.nan for name, p in params.items()}),
}

# Arrays, in any form that holds numbers

ARRAY = {
    "a list": same(lambda a: a.tolist()),
    "a tensor": same(torch.from_numpy),
    "carries a gradient": same(lambda a: with_gradient(torch.from_numpy(a))),
    "bfloat16": same(lambda a: torch.from_numpy(a).bfloat16()),
    "float16": same(lambda a: a.astype(np.float16)),
    "rows as tensors": same(lambda a: list(with_gradient(torch.from_numpy(a)))),
    "not contiguous": same(lambda a: strided(torch.from_numpy(a)).numpy()),
    "of words": refused(lambda a: a.astype(str)),
    "complex": refused(lambda a: a + 1j),
    "NaN": refused(spoiled(np.nan)),
    "infinite": refused(spoiled(np.inf)),
    "empty": refused(lambda a: a[:0]),
    "ragged": instead([[1.0, 2.0], [3.0]]),
    **types(),
}
VALUES = {
    **ARRAY,
    "a table": refused(lambda a: np.stack([a, a])),
    "one seed": refused(lambda a: a[:1]),
}
SHARES = {**VALUES, "percent": refused(lambda a: 100 * a)}
LOGITS = {
    **ARRAY,
    "one row": refused(lambda a: a[0]),
    "one logit": refused(lambda a: a[:, :1]),
    "fewer rows": refused(lambda a: a[:-1]),
}
NO_PROBS = {
    **LOGITS,
    "probabilities": refused(lambda a: torch.from_numpy(a).softmax(-1)),
    "their halves": refused(lambda a: torch.from_numpy(a).softmax(-1).bfloat16()),
    "percent": refused(lambda a: 100 * torch.from_numpy(a).softmax(-1)),
    "their logarithm": same(lambda a: torch.from_numpy(a).log_softmax(-1)),
}
LABELS = {
    **types(),
    "a list": same(lambda y: y.tolist()),
    "a tensor": same(torch.from_numpy),
    "bytes": same(lambda y: y.astype(np.uint8)),
    "floats": refused(lambda y: y.astype(float)),
    "bools": refused(lambda y: y > 0),
    "words": refused(lambda y: y.astype(str)),
    "one-hot": refused(lambda y: np.eye(3, dtype=int)[y]),
    "one too many": refused(lambda y: y + 1),
    "negative": refused(lambda y: y - 1),
    "empty": refused(lambda y: y[:0]),
}
TABLE = {
    **ARRAY,
    "sparse": same(sparse.csr_matrix),
    "a sparse array": same(sparse.coo_array),
    "a sparse tensor": same(lambda a: torch.from_numpy(a).to_sparse()),
    "one column, flat": refused(lambda a: a[:, 0]),
    "more axes": refused(lambda a: a[None]),
}
TARGETS = {**ARRAY, "one number": refused(lambda a: a[0]), "too few": refused(lambda a: a[:3])}
TARGETS["several"] = runs(lambda a: np.stack([a, a], 1))
ROW_WEIGHTS = {
    **TARGETS,
    "several": refused(lambda a: np.stack([a, a], 1)),
    "negative": refused(lambda a: -a),
}
STRENGTHS = {**ARRAY, "one": refused(lambda a: a[0]), "negative": refused(lambda a: -a)}

# Valid arguments. Numbers are eighths, which every type holds exactly.

DRAWS = torch.Generator().manual_seed(0)


def eighths(*shape):
    return torch.randint(1, 8, shape, generator=DRAWS) / 8


X = eighths(4, 2, 6, 5)
H = eighths(4, 3)
W = torch.tensor([0, 1, 2, 1])
SINGLE = ("of numpy", "of numpy, in single precision")
FLIPS = {**NO_TENSOR, "numbers": refused(lambda t: t.int()), "too few": refused(lambda t: t[:2])}
PLACES = {**PER_IMAGE, "a column": runs(lambda t: t[..., None])}
Y = torch.tensor([0, 2, 1, 0])
ONE_HOT = torch.eye(3)[Y]
NET = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
NAMED = {"weight": eighths(2, 3) - 0.5, "bias": eighths(2)}
RNG = np.random.default_rng(0)
A = RNG.integers(-16, 16, (8, 3)) / 8
B = RNG.integers(-16, 16, 8) / 8
OUT, CLASSES = RNG.integers(-16, 16, (6, 3)) / 8, np.array([0, 2, 1, 0, 1, 2])
ACC = np.array([0.5, 0.625, 0.75]), np.array([0.625, 0.75, 1.0])
GRAM, CORR = A.T @ A / 8, A.T @ B / 8
PENALTY = numbers(-1.0)
STEP = {
    "gradient": (FLOATS, H / 2),
    "lr": (numbers(-0.1), 0.125),
    "weight_decay": (numbers(-0.1), 0.5),
}
VERDICT = judge.raises("", *ACC, smallest=0.1)


def narrower(h):
    return h[:, :1]


def nothing(h):
    return None


def without(kind, *names):
    """A kind without some variants that the function takes."""
    return {name: variant for name, variant in kind.items() if name not in names}


def layer(make):
    """A layer as a function of its settings and its input."""
    return lambda h, **settings: make(**settings)(h)


def fixed(value):
    """An argument that the row does not vary."""
    return {}, value


def images(kind=PIXELS, **others):
    return {"x": (kind, X), **others}


CORNER = {"top": (PER_IMAGE, W), "left": (PER_IMAGE, W)}
SIDES = {"height": (PER_IMAGE, W), "width": (wholes(-1), 2)}
LIMITS = {"low": (types([1, 2]), 0), "high": (types([1, 2]), 2)}
RATE = numbers(1.0, 50.0, -0.1)
KEEP = numbers(0.0, 1.5, 80.0)
FIT = {
    "x": (TABLE, A),
    "y": (TARGETS, B),
    "sample_weight": (without(ROW_WEIGHTS, "None"), np.arange(1.0, 9.0)),
}
FIT_ALPHA = {**FIT, "alpha": (numbers(-1.0), 0.25)}
PATH = {**FIT, "alphas": (STRENGTHS, np.array([0.5, 0.125]))}
SCORED = {"labels": (LABELS, CLASSES)}

NOT_FRACTIONS = without(wholes(0, 10_000), "None", *SINGLE)

ROWS = {
    # Augmentation
    "pick": {
        "x": (PIXELS, X),
        "rows": (PLACES, W.view(4, 1, 1)),
        "columns": (PLACES, W.view(4, 1, 1)),
    },
    "crop": images(**CORNER, size=(types(3, (2, 3, 4), (0, 2)), (3, 2))),
    "shift": images(down=(PER_IMAGE, W), right=(PER_IMAGE, W)),
    "flip": images(which=(FLIPS, W > 0), axis=(choices(0, 1), -1)),
    "affine": images(
        IMAGES,
        degrees=(numbers(), 90.0),
        scale=(numbers(0.0), 1.5),
        down=(numbers(), 0.5),
        right=(numbers(), 1.0),
    ),
    "adjust": images(UNIT_IMAGES, brightness=(numbers(), 0.125), contrast=(numbers(-0.5), 0.5)),
    "rectangle": images(PARTS, **CORNER, **SIDES),
    "erase": images(PARTS, **CORNER, **SIDES, value=(types(), 0.0)),
    "between": {"x": ({**types(), "NaN": runs(spoiled(torch.nan))}, X), **LIMITS},
    "whole": {"x": (types(), X), **LIMITS},
    "random_shift": images(PARTS, pixels=(wholes(-1, tensors=True), 1)),
    "random_crop": images(PARTS, size=(wholes(0, 50), 4), padding=(wholes(-1, tensors=True), 1)),
    "random_flip": images(rate=(numbers(-0.1, 50.0), 0.5), axis=(choices(0, 1), -1)),
    "random_rotate": images(IMAGES, degrees=(numbers(-1.0), 10.0)),
    "random_scale": images(IMAGES, factor=(numbers(0.5), 1.25)),
    "random_light": images(
        UNIT_IMAGES, brightness=(numbers(-0.1, 20.0), 0.25), contrast=(numbers(-0.1, 20.0), 0.25)
    ),
    "random_erase": images(PARTS, size=(wholes(-1, 6, tensors=True), 2)),
    "random_noise": {"x": (NOISY, X), "sigma": (numbers(-0.1), 0.125)},
    "word_dropout": {
        "text": (without(types(["not", "good"]), "text"), "not a good film"),
        "rate": (RATE, 0.5),
        "protect": (types(3), {"not"}),
    },
    # Mixing
    "shares": {"y": (SHARES_OR_CLASSES, Y), "n_classes": (wholes(0, 2), 3)},
    "blend": {
        "a": ({**FLOATS, "bytes": refused(lambda a: (255 * a).byte())}, X),
        "order": (ORDER, Y.argsort()),
        "share": (SHARE, eighths(4)),
    },
    "mixup": {
        "x": (FLOATS, X),
        "y": (LABEL_SHARES, ONE_HOT),
        "order": (ORDER, Y.argsort()),
        "share": (SHARE, eighths(4)),
    },
    "cutmix": images(
        PARTS,
        y=(LABEL_SHARES, ONE_HOT),
        order=(ORDER, Y.argsort()),
        **CORNER,
        **SIDES,
    ),
    "beta": {"alpha": (numbers(-0.1), 0.5), "n": (wholes(-1), 5)},
    "random_mixup": {
        "x": (FLOATS, X),
        "y": (SHARES_OR_CLASSES, Y),
        "alpha": (numbers(-0.1), 0.5),
        "n_classes": (wholes(0, 2), 3),
    },
    "random_cutmix": images(
        PARTS,
        y=(SHARES_OR_CLASSES, Y),
        alpha=(numbers(-0.1), 0.5),
        n_classes=(wholes(0, 2), 3),
    ),
    # Dropout
    "dropout": {"h": (ANY, H), "rate": (RATE, 0.25), "training": fixed(True)},
    "classic_dropout": {"h": (ANY, H), "rate": (RATE, 0.25), "training": fixed(False)},
    "convert_classic_weights": {"weight": (ANY, H), "rate": (RATE, 0.25)},
    "Dropout": (layer(dropout.Dropout), {"h": (IN_A_LAYER, H), "rate": (RATE, 0.25)}),
    "ClassicDropout": (layer(dropout.ClassicDropout), {"h": (IN_A_LAYER, H), "rate": (RATE, 0.25)}),
    "SpatialDropout": (
        layer(dropout.SpatialDropout),
        {"h": ({**IN_A_LAYER, **IMAGE_SHAPES}, X), "rate": (RATE, 0.25), "n_axes": (wholes(0), 2)},
    ),
    "dropout_layers": {"model": (MODULE, NET)},
    "is_dropout_active": {"model": (MODULE, NET)},
    "only_dropout": (
        lambda model: dropout.only_dropout(model).__enter__() and None,
        {"model": (MODULE, NET)},
    ),
    "mc_predict": {
        "model": (MODULE, nn.Sequential(nn.Dropout(0.0), nn.Linear(3, 2))),
        "x": (
            {
                **NO_TENSOR,
                "NaN": shows(spoiled(torch.nan)),
                "carries a gradient": same(with_gradient),
            },
            H,
        ),
        "n_samples": (wholes(0), 3),
    },
    "enumerate_masks": {
        "weight": (ANY, eighths(2, 3)),
        "bias": (ANY, eighths(2)),
        "x": ({**ANY, "one row": refused(lambda x: x[0])}, H),
        "rate": (RATE, 0.25),
    },
    # Depth
    "survivals": {
        "n_blocks": (wholes(0), 4),
        "last": (KEEP, 0.5),
        "rule": (choices("cubic"), "linear"),
    },
    "expected_depth": {
        "kept": ({**ARRAY, "percent": refused(lambda a: 100 * a)}, np.array([0.875, 0.75]))
    },
    "residual": {
        "h": (
            {
                **ANY,
                "bfloat16": runs(lambda h: h.bfloat16()),
                "whole numbers": runs(lambda h: h.long()),
            },
            H,
        ),
        "branch": (types(2.0, narrower, nothing), lambda h: 2 * h),
        "survival": (numbers(-0.5, 1.5, 80.0), 0.5),
        "training": fixed(False),
    },
    "drop_path": {"added": (ANY, H), "survival": (KEEP, 0.5), "training": fixed(True)},
    "Residual": (
        layer(depth.Residual),
        {"h": (fixed(H)[0], H), "branch": (types(2.0), nn.Identity()), "survival": (KEEP, 0.5)},
    ),
    # Normalization
    "standardize": {
        "x": (FLOATS, H),
        "axes": (types((5,), (0, 0), ()), (0,)),
        "eps": (numbers(-1.0, tensors=False), 1e-5),
    },
    "batch_norm": {
        "x": (
            {
                **FLOATS,
                "one row": refused(lambda x: x[:1]),
                "flat": refused(lambda x: x[0]),
                "one image": instead(torch.ones(3, 4, 4)),
            },
            H,
        ),
        "running_mean": ({**NO_TENSOR, "one for all": refused(lambda t: t[:1])}, torch.zeros(3)),
        "running_var": ({**NO_TENSOR, "one for all": refused(lambda t: t[:1])}, torch.ones(3)),
        "weight": (
            {**without(NO_TENSOR, "None"), "one for all": refused(lambda t: t[:1])},
            torch.ones(3),
        ),
        "training": fixed(True),
        "momentum": (numbers(-0.1, 99.0), 0.125),
        "eps": (numbers(-1.0, tensors=False), 1e-5),
    },
    "torch_momentum": {"keras": (numbers(-0.1, 99.0), 0.75)},
    "BatchNorm": (
        lambda x, **settings: normalization.BatchNorm(**settings)(x),
        {
            "x": (
                {
                    "one row": refused(lambda x: x[:1]),
                    "one image": instead(torch.ones(3, 4, 4)),
                    **NO_TENSOR,
                },
                H,
            ),
            "n_channels": (wholes(0, 4), 3),
            "momentum": (without(numbers(-0.1, 99.0), "None"), 0.125),
            "eps": (numbers(-1.0, tensors=False), 1e-5),
        },
    ),
    "layer_norm": {
        "x": (FLOATS, H),
        "n_axes": (wholes(0, 3), 1),
        "weight": (
            {**without(NO_TENSOR, "None"), "one for all": refused(lambda t: t[:1])},
            torch.ones(3),
        ),
    },
    "group_norm": {
        "x": ({**FLOATS, "flat": refused(lambda x: x[0])}, H),
        "n_groups": (wholes(0, 2), 3),
        "weight": (without(NO_TENSOR, "None"), torch.ones(3)),
    },
    "batch_norms": {"net": (MODULE, NET)},
    "fold": {
        "layer": (types(nn.ReLU()), nn.Linear(3, 4)),
        "norm": (types(nn.LayerNorm(4), nn.BatchNorm1d(3)), nn.BatchNorm1d(4)),
    },
    "freeze": {"net": (MODULE, NET)},
    "recalibrate": {"net": (MODULE, NET), "batches": (types(3, [[1.0, 2.0]], []), [H])},
    # Penalties
    "weights": {"params": (PARAMS, NAMED)},
    "l1": {"params": (PARAMS, NAMED), "strength": (PENALTY, 0.125)},
    "l2": {"params": (PARAMS, NAMED), "strength": (PENALTY, 0.125)},
    "elastic_net of penalties": (
        penalties.elastic_net,
        {
            "params": (PARAMS, NAMED),
            "l1_strength": (PENALTY, 0.125),
            "l2_strength": (PENALTY, 0.125),
        },
    ),
    "shrink": {"params": (PARAMS, NAMED), "threshold": (PENALTY, 0.125)},
    # Decay
    "no_moments": {"w": (without(FLOATS, "NaN"), H)},
    "sgd_step": {
        "w": (FLOATS, H),
        **STEP,
        "velocity": ({**without(FLOATS, "None"), "flat": refused(lambda t: t.flatten())}, H / 4),
        "momentum": (numbers(-0.1), 0.5),
    },
    "adam_step": {
        "w": (FLOATS, H),
        **STEP,
        "moments": (types((1, 2, 3)), decay.Moments(H, H, 1)),
        "decoupled": fixed(True),
        "betas": (types((0.9,), (0.9, 99.9), 0.9), (0.5, 0.75)),
        "eps": (numbers(-1.0, tensors=False), 0.125),
    },
    "param_groups": {
        "module": (MODULE, NET),
        "weight_decay": (numbers(-0.1), 0.125),
        "exceptions": (
            without(types(["0.weight"], {"nothing": 0.0}, {"0.weight": -1.0}), "None"),
            {"0.weight": 0.0},
        ),
    },
    "check_groups": {
        "module": (MODULE, NET),
        "groups": (types(list(NET.parameters()), [{}]), [{"params": list(NET.parameters())}]),
    },
    "keras_l2_to_torch": {"l2": (numbers(-0.1), 0.125)},
    "share_left": {
        "lr": (numbers(-0.1), 0.125),
        "weight_decay": (numbers(-0.1, 50.0), 0.5),
        "steps": (numbers(-1.0), 8),
    },
    "one_standard_error": {
        "strengths": (
            {**ARRAY, "rows as tensors": same(lambda a: list(torch.from_numpy(a)))},
            np.array([0.0, 0.5]),
        ),
        "errors": (
            {
                **ARRAY,
                "infinite": runs(spoiled(np.inf)),
                "one repetition": refused(lambda a: a[:, :1]),
                "flat": refused(lambda a: a.ravel()),
            },
            np.array([[0.5, 0.75], [0.25, 0.5]]),
        ),
    },
    # Measures
    "accuracy": {"logits": (LOGITS, OUT), **SCORED},
    "nll": {"logits": (NO_PROBS, OUT), **SCORED},
    "brier": {"logits": (NO_PROBS, OUT), **SCORED},
    "ece": {"logits": (NO_PROBS, OUT), **SCORED, "bins": (wholes(0), 15)},
    "bias_variance": {
        "predictions": ({**ARRAY, "one set": refused(lambda a: a[:1])}, OUT.T),
        "truth": (ARRAY, OUT[:, 0]),
    },
    # Verdicts and intervals
    "Verdict": {
        "prediction": fixed(""),
        "differences": (VALUES, ACC[0]),
        "direction": (choices(0, 2), 1),
        "smallest": (numbers(0.0, -1.0), 0.125),
        "confidence": (numbers(0.0, 95.0), 0.95),
    },
    "raises": {
        "prediction": fixed(""),
        "control": (SHARES, ACC[0]),
        "treated": (SHARES, ACC[1]),
        "metric": (without(choices("acc"), "None"), "accuracy"),
        "smallest": (without(numbers(0.0, -1.0), "None"), 0.5),
    },
    "lowers": {
        "prediction": fixed(""),
        "control": (VALUES, ACC[0]),
        "treated": (VALUES, ACC[1]),
        "smallest": (numbers(0.0, -1.0), 0.5),
    },
    "both": (
        lambda a, b: judge.both(a, b),
        {"a": (types(0.5), VERDICT), "b": (types(0.5), VERDICT)},
    ),
    "together": {"verdicts": (types(VERDICT, [0.5]), [VERDICT, VERDICT])},
    "paired_interval": {
        "control": (VALUES, ACC[0]),
        "treated": (VALUES, ACC[1]),
        "confidence": (numbers(0.0, 95.0), 0.9),
    },
    "bootstrap_interval": {
        "control": (VALUES, ACC[0]),
        "treated": (VALUES, ACC[1]),
        "confidence": (numbers(0.0, 95.0), 0.9),
        "resamples": (wholes(0), 99),
    },
    "jackknife": {
        "statistic": (
            {**types(0.5), "a function": instead(lambda a: a), "NaN": instead(lambda a: np.nan)},
            np.std,
        ),
        "samples": ({**ARRAY, "two": refused(lambda a: a[:2])}, ACC[0]),
    },
    "holm": {
        "p_values": (
            {**ARRAY, "percent": refused(lambda a: 100 * a), "a table": refused(lambda a: a[None])},
            ACC[0],
        )
    },
    "p_wrong_sign": {
        "effect": (numbers(), 1.0),
        "sd": (numbers(0.0, -1.0), 2.0),
        "n_seeds": (wholes(0), 4),
    },
    "differences": {"control": (VALUES, ACC[0]), "treated": (VALUES, ACC[1])},
    "t_interval": {"d": (VALUES, ACC[0]), "confidence": (numbers(0.0, 95.0), 0.9)},
    "crossed_interval": {
        "d": (
            {
                **ARRAY,
                "one value per seed": refused(lambda a: a[:, 0]),
                "one seed": refused(lambda a: a[:1]),
                "one example": refused(lambda a: a[:, :1]),
            },
            np.stack([*ACC, ACC[0]]),
        ),
        "confidence": (numbers(0.0, 95.0), 0.9),
    },
    # Linear models
    "least_squares": FIT,
    "ridge": {**FIT_ALPHA, "solver": (choices("qr"), "cholesky")},
    "ridge_path": PATH,
    "filter_factors": {"x": (TABLE, A), "alpha": (numbers(-1.0), 0.25)},
    "lasso": FIT_ALPHA,
    "elastic_net": {
        **FIT_ALPHA,
        "l1_ratio": (numbers(-0.1, 50.0), 0.5),
        "solver": (choices("lars"), "cd"),
        "tol": (numbers(0.0, 1.0, tensors=False), 1e-9),
        "max_iter": (wholes(0), 500),
    },
    "lasso_path": {
        **PATH,
        "alphas": ({**STRENGTHS, "zero": refused(lambda a: 0 * a)}, np.array([0.5, 0.125])),
    },
    "alpha_max": FIT,
    "Linear": (
        lambda x, y: linear.ridge(A, B, 1.0).r2(x, y),
        {
            "x": ({**TABLE, "other columns": refused(lambda a: a[:, :2])}, A),
            "y": (
                {
                    **TARGETS,
                    "several": refused(lambda a: np.stack([a, a], 1)),
                    "constant": refused(lambda a: 0 * a),
                },
                B,
            ),
        },
    ),
    "soft_threshold": {
        "z": ({**ARRAY, "empty": runs(lambda a: a[:0])}, B),
        "t": (
            {
                **types(-1.0, float("nan"), [1.0, 2.0]),
                "one for each": runs(lambda t: np.full(8, t)),
            },
            0.5,
        ),
    },
    "minimize": {
        "gram": ({**ARRAY, "not square": refused(lambda a: a[:2])}, GRAM),
        "corr": (ARRAY, CORR),
        "power": (numbers(-1.0, tensors=False), B @ B / 8),
        "l1": (numbers(0.0, tensors=False), 0.125),
        "start": (ARRAY, np.zeros(3)),
    },
    "duality_gap": {
        "gram": ({**ARRAY, "not square": refused(lambda a: a[:2])}, GRAM),
        "corr": (ARRAY, CORR),
        "power": (numbers(-1.0, tensors=False), B @ B / 8),
        "l1": (numbers(0.0, tensors=False), 0.125),
        "w": (ARRAY, np.zeros(3)),
    },
    "check_solver": {
        "solver": (choices("lars"), "cd"),
        "tol": (numbers(0.0, 1.0), 1e-9),
        "max_iter": (wholes(0), 500),
    },
    "finite": (lambda values: proximal.finite("x", values, 2), {"values": (TABLE, A)}),
    "convert": {
        "value": (numbers(-1.0), 0.125),
        "source": (choices("sklearn"), "keras L2"),
        "target": (choices("keras L1"), "torch weight_decay"),
        "n": (wholes(0), 100),
    },
    # Data
    "load": (
        lambda **options: data.load("canvas_digits", device="cpu", **options).x_test,
        {
            "n_train": (NOT_FRACTIONS, 20),
            "n_val": (NOT_FRACTIONS, 20),
            "label_noise": (numbers(-0.1, 40.0), 0.5),
            "seed": (without(wholes(-1), *SINGLE), 1),
            "size": (wholes(7), 12),
        },
    ),
    "seeds": {
        "n": (without(wholes(0), *SINGLE), 3),
        "first": (without(wholes(-1), "None", *SINGLE), 0),
    },
    "Reader": (
        lambda source: data.Reader(source).read(torch.arange(2)),
        {"source": (types(3, {"a": 1}, []), list(A))},
    ),
    "Task": (
        lambda x, y, **options: data.Task.from_arrays(x, y, device="cpu", **options).x,
        {
            "x": (
                {**without(ARRAY, "rows as tensors"), "flat": refused(lambda a: a[:, 0])},
                np.concatenate([A, -A]),
            ),
            "y": (
                {
                    **types(),
                    "too few": refused(lambda y: y[:3]),
                    "one number": instead(1),
                    "one-hot": refused(lambda y: np.eye(2, dtype=int)[y]),
                    "complex": refused(lambda y: y + 1j),
                    "NaN": refused(lambda y: np.where(y > 0, np.nan, 1.0)),
                    "a list": same(lambda y: y.tolist()),
                    "a tensor": same(torch.from_numpy),
                    "words": same(lambda y: np.where(y > 0, "b", "a")),
                },
                np.arange(16) % 2,
            ),
            "label_noise": (numbers(-0.1, 40.0), 0.5),
            "n_train": (without(NOT_FRACTIONS, "None"), 4),
            "test": (without(types(0.0, 1.0, 20.0, "a quarter"), "None"), 0.25),
        },
    ),
    "pick_device": {"name": (without(types(1.5), "None"), "cpu")},
}
NO_INPUT = {
    "decay.Moments", "ensemble.SubNetworks", "measure.Decomposition", "judge.Metric",
    "intervals.Interval", "mixing.log_gamma", "dropout.uniform", "dropout.check_rate", "data.names",
    "data.Arrays", "data.Deal",
}  # fmt: skip


def flat(result):
    """All numbers of a result, one after the other."""
    if isinstance(result, nn.Module) or callable(result):
        return []
    if isinstance(result, torch.Tensor):
        return result.detach().double().flatten().tolist()
    if isinstance(result, np.ndarray | np.generic):
        return np.ravel(result).astype(float).tolist()
    if isinstance(result, dict):
        return [n for value in result.values() for n in flat(value)]
    if is_dataclass(result):
        return [n for field in fields(result) for n in flat(getattr(result, field.name))]
    if isinstance(result, bool | int | float):
        return [float(result)]
    if result is None or isinstance(result, str | torch.device):
        return []
    return [n for r in result for n in flat(r)]


def outcome(function, arguments):
    """All numbers of the result, or the error."""
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("error")
        try:
            return flat(function(**arguments))
        except Exception as error:
            return error


def defect(found, wanted, valid, variant):
    """What is wrong with the outcome of a variant, or None."""
    if isinstance(found, Exception):
        if wanted == "same":
            return f"should be taken, got {type(found).__name__}: {found}"
        if not isinstance(found, ValueError):
            return f"{type(found).__name__}: {found}"
        return None if SENTENCE.match(str(found)) else f"no sentence: {found}"
    if wanted == "refused":
        return f"should be refused, got {found[:3]}"
    if wanted == "shows":
        return None if np.isnan(found).any() else f"hides NaN: {found[:3]}"
    digits = DIGITS.get(getattr(variant, "dtype", None), 1e-5)
    if isinstance(variant, dict):
        digits = 1e-2
    if wanted == "same" and not np.allclose(found, valid, rtol=digits, atol=digits):
        return f"other numbers: {found[:3]} instead of {valid[:3]}"
    return None


def row(full):
    """The function of a row and its arguments: kinds and valid values."""
    module, _, name = full.rpartition(".")
    short = "elastic_net of penalties" if full == "regularizers.penalties.elastic_net" else name
    entry = ROWS[short]
    if isinstance(entry, tuple):
        return entry
    return getattr(import_module(f"coursekit.{module}"), name), entry


def offered(module):
    if module != "data":
        return public(module)
    return {f"data.{name}": getattr(data, name) for name in data.__all__}


NAMES = [
    full
    for module in MODULES
    for full in offered(module)
    if full.removeprefix("regularizers.") not in NO_INPUT
]


@pytest.mark.parametrize("full", NAMES)
def test_every_input_gives_the_right_numbers_or_a_sentence(full):
    function, arguments = row(full)
    valid = {name: value for name, (_, value) in arguments.items()}
    reference = outcome(function, copy.deepcopy(valid))
    assert not isinstance(reference, Exception), reference
    defects = {}
    for name, (kind, value) in arguments.items():
        for variant, (change, wanted) in kind.items():
            changed = change(copy.deepcopy(value))
            found = outcome(function, {**copy.deepcopy(valid), name: changed})
            if (wrong := defect(found, wanted, reference, changed)) is not None:
                defects[f"{name}, {variant}"] = wrong[:200]
    assert defects == {}


def test_every_row_is_a_public_function():
    used = {full.rpartition(".")[2] for full in NAMES} | {"elastic_net of penalties"}
    assert ROWS.keys() == used
