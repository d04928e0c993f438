"""Batch norm: what its layers compute, in PyTorch and in Keras. Axes: B batch, C channels."""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from coursekit.ledger.evidence import Exact
from coursekit.ledger.experiments import experiment
from coursekit.regularizers.normalization import standardize, torch_momentum


def drawn(*shape: int, shift: float = 0.0) -> Tensor:
    """The same numbers at each call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + shift


def distance(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference."""
    return float((a - b).detach().abs().max())


def equal(*pair: Tensor, what: str = "largest difference") -> Exact:
    """Whether two tensors are equal to five digits."""
    off = distance(*pair)
    return Exact(off < 1e-5, f"{what} {off:.1g}")


def differ(*pair: Tensor) -> Exact:
    """Whether two tensors differ visibly."""
    off = distance(*pair)
    return Exact(off > 1e-2, f"largest difference {off:.2g}")


@cache
def keras_outputs() -> dict[str, Tensor]:
    """What layers of Keras return, computed by a process of its own: Keras keeps global state.

    Raises
    ------
    ValueError
        If Keras is not installed.
    """
    if find_spec("keras") is None:
        raise ValueError(
            "expected Keras for what is claimed about it, got none; "
            'install it with: pip install "coursekit[keras]"'
        )
    code = f"from {__name__} import {in_keras.__name__} as run; run()"
    with tempfile.TemporaryDirectory() as home:
        own = {"KERAS_BACKEND": "torch", "KERAS_HOME": home, "CUDA_VISIBLE_DEVICES": ""}
        own["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | own, capture_output=True, text=True
        )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ValueError(f"expected Keras to run on PyTorch, got {last}; try a newer keras")
    found = json.loads(done.stdout.strip().rpartition("\n")[2])
    return {name: torch.tensor(values) for name, values in found.items()}


def in_keras() -> None:
    """Print outputs and statistics of layers as JSON. Runs in the process of `keras_outputs`."""
    import keras

    def layer(**settings):
        norm = keras.layers.BatchNormalization(**settings)
        norm.build((None, 4))
        return norm

    def now(value) -> list:  # a copy: statistics go on moving
        return keras.ops.convert_to_numpy(value).tolist()

    x = drawn(6, 4, shift=2.0)
    other = torch.cat([x[:1], x[1:] ** 2])
    norm, frozen = layer(momentum=0.9), layer()
    frozen.trainable = False
    found = {
        "evaluation": now(norm(x, training=False)),
        "evaluation, first alone": now(norm(x[:1], training=False)),
        "training": now(norm(x, training=True)),
        "mean": now(norm.moving_mean),
        "variance": now(norm.moving_variance),
        "training, other company": now(norm(other, training=True)),
        "training, one example": now(norm(x[:1], training=True)),
        "training, another example": now(norm(x[1:2], training=True)),
        "frozen, training": now(frozen(x, training=True)),
        "frozen, mean": now(frozen.moving_mean),
    }
    print(json.dumps(found))


@experiment("C59")
def moments():
    """Mean and variance in front of and behind scale and shift; shape: kurtosis of two peaks."""
    x = torch.cat([torch.full((500, 1), -1.0), torch.full((500, 1), 5.0)])
    out, learned = standardize(x, (0,)), nn.BatchNorm1d(1)
    nn.init.constant_(learned.weight, 3.0)
    kurtosis = float(out.pow(4).mean() / out.var(correction=0) ** 2)
    zero_one = torch.tensor([0.0, 1.0])

    def both(t: Tensor) -> Tensor:
        return torch.stack([t.mean(), t.var(correction=0)]).detach()

    def of(t: Tensor) -> Exact:
        mean, variance = both(t).tolist()
        close = distance(both(t), zero_one) < 1e-5
        return Exact(close, f"mean {abs(mean):.2f}, variance {variance:.2f}")

    return {
        "C59": {
            "in front of scale and shift": of(out),
            "behind a learned scale of 3": of(learned(x)),
            "two peaks become one": Exact(
                abs(kurtosis - 3) < 0.5, f"kurtosis {kurtosis:.3g}, a Gaussian has 3"
            ),
        }
    }


@experiment("C60")
def two_faces():
    """Whether a row's output depends on the other rows, in each mode, and what one row gets."""
    norm, x, keras = nn.BatchNorm1d(4), drawn(6, 4), keras_outputs()
    norm.eval()
    with torch.no_grad():
        evaluation = equal(norm(x)[:1], norm(x[:1]))
        norm.train()
        training = differ(norm(x)[0], norm(torch.cat([x[:1], x[1:] ** 2]))[0])
    try:
        norm(x[:1])
        refused = Exact(False, "an output")
    except ValueError as error:
        refused = Exact(True, str(error).split(",")[0])
    alone = [keras[f"training, {which} example"] for which in ("one", "another")]
    company = keras["training"][0], keras["training, other company"][0]
    return {
        "C60": {
            "PyTorch, training: depends on the batch": training,
            "PyTorch, evaluation: does not": evaluation,
            "Keras, training: depends on the batch": differ(*company),
            "Keras, evaluation: does not": equal(
                keras["evaluation"][:1], keras["evaluation, first alone"]
            ),
            "PyTorch, training: one example is refused": refused,
            "Keras, training: one example says nothing": equal(
                *alone, what="two different examples, outputs differ by"
            ),
        }
    }


@experiment("C61")
def momenta():
    """The formula with a momentum of 0.9, from a running mean of 0 and a running variance of 1."""
    x, keras = drawn(6, 4, shift=2.0), keras_outputs()
    literal, translated = (nn.BatchNorm1d(4, momentum=m) for m in (0.9, torch_momentum(0.9)))
    for norm in (literal, translated):
        norm(x)
    mean, variance = 0.1 * x.mean(0), 0.9 + 0.1 * x.var(0, correction=0)
    return {
        "C61": {
            "Keras, mean": equal(keras["mean"], mean),
            "Keras, variance": equal(keras["variance"], variance),
            "PyTorch, momentum as it defines it": equal(literal.running_mean, mean),
            "PyTorch, given 1 - momentum, mean": equal(translated.running_mean, mean),
            "PyTorch, given 1 - momentum, variance": equal(translated.running_var, variance),
        }
    }


@experiment("C62")
def frozen():
    """Whether, in training, a frozen layer's output is that of evaluation and its mean rests."""
    x, keras = drawn(6, 4, shift=2.0), keras_outputs()
    norm = nn.BatchNorm1d(4).requires_grad_(False)
    want, got = norm.eval()(x), norm.train()(x)

    def rests(got: Tensor, want: Tensor, mean: Tensor) -> Exact:
        off, moved = distance(got, want), float(mean.abs().max())
        shown = f"outputs differ by {off:.2g}, the running mean moved by {moved:.2g}"
        return Exact(max(off, moved) < 1e-5, shown)

    inference = keras["evaluation"]
    return {
        "C62": {
            "Keras, trainable = False": rests(
                keras["frozen, training"], inference, keras["frozen, mean"]
            ),
            "PyTorch, requires_grad_(False)": rests(got, want, norm.running_mean),
        }
    }


@experiment("S15")
def bias_in_front():
    """Gradient of a bias in front of batch norm, and what another bias changes in training."""
    draws = torch.Generator().manual_seed(0)
    x, pull, weight = (
        torch.randn(*shape, dtype=torch.float64, generator=draws)
        for shape in ((30, 5), (30, 4), (4, 5))
    )
    weight, bias = weight.requires_grad_(), torch.zeros(4, dtype=torch.float64, requires_grad=True)
    norm = nn.BatchNorm1d(4, eps=1e-12).double()
    before = norm(x @ weight.T + bias)
    of_weight, of_bias = torch.autograd.grad((before * pull).sum(), (weight, bias))
    share = float(of_bias.abs().max() / of_weight.abs().max())
    return {
        "S15": {
            "its gradient is 0": Exact(share < 1e-9, f"{share:.0e} of that of the weights"),
            "another bias computes the same": equal(before, norm(x @ weight.T + bias + 10)),
        }
    }
