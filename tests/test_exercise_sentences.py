"""What a check says first about a wrong reply: expected, got, in words that a learner can use."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch

from coursekit.exercises import bank, comparing
from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise

KINDS = {
    "tensor": torch.tensor([1.0, 2.0], dtype=torch.float64),
    "pair": (3, 7),
    "number": 2.5,
    "yes": True,
    "word": "ridge",
}


def asked(kind="tensor", **more):
    """An exercise whose right answer to `x` is one of KINDS."""
    probe = Probe("two numbers", {"x": np.array([1.0, 2.0]), "rate": 0.5})
    given = {
        "name": "task",
        "lesson": "04",
        "points": 1,
        "task": "",
        "signature": "(x, rate)",
        "probes": lambda rng: [probe],
        "reference": lambda x, rate: KINDS[kind],
        "hints": (),
        "why": "",
    }
    return Exercise(**(given | more))


def spoil(x, rate):
    x *= 2
    return KINDS["tensor"]


def fails(x, rate):
    raise ValueError("no such rate.")


SAID = [
    ("tensor", lambda x, r: None, "the result: expected a Tensor, got None; is a return missing?"),
    ("tensor", lambda x, r: (x, x), "the result: expected a Tensor, got tuple with Tensor in it."),
    ("tensor", lambda x, r: x.float(), "expected dtype float64 as in the input, got float32."),
    ("tensor", lambda x, r: x[:1], "the result: expected shape (2,), got (1,)."),
    ("tensor", lambda x, r: x * math.nan, "expected finite numbers, got NaN or infinity."),
    ("tensor", lambda x, r: x + torch.tensor([0, 0.5]), "result at [1]: expected 2, got 2.5."),
    ("tensor", spoil, "On two numbers, x was changed; it is to stay as it was"),
    ("tensor", fails, "On two numbers it raised ValueError"),
    ("pair", lambda x, r: (torch.tensor(3), 7), "expected a tuple or list of numbers, got tuple"),
    ("pair", lambda x, r: (3, 8), "the result at [1]: expected 7, got 8."),
    ("pair", lambda x, r: [3, "7"], "the result: expected numbers, got a list."),
    ("number", lambda x, r: "2.5", "the result: expected a number, got text."),
    ("yes", lambda x, r: False, "the result: expected True, got False."),
    ("yes", lambda x, r: 1, "the result: expected a True or False, got number."),
    ("word", lambda x, r: "lasso", "the result: expected 'ridge', got 'lasso'."),
    ("number", lambda x, r: 2.5, ""),
    ("number", lambda x, r: np.longdouble(2.5), ""),
    ("number", lambda x, r: 10**400, "expected a number, got number beyond float64."),
    ("number", lambda x, r: -(2**70), "the result: expected 2.5, got -1.18059e+21."),
    ("number", lambda x, r: Fraction(5, 2), "the result: expected a number, got Fraction."),
    ("number", lambda x, r: 2.5 + 1e-7, "the result: expected 2.5, got 2.5000001."),
    ("number", lambda x, r: torch.tensor(2.5 + 0j), "expected real numbers, got complex ones."),
    ("pair", lambda x, r: (3, 10**400), "the result: expected numbers, got a list."),
    ("word", lambda x, r: "\ud800", "the result: expected 'ridge', got "),
    ("tensor", lambda x, r: x.bfloat16(), "expected a Tensor, got Tensor of dtype bfloat16."),
    ("tensor", lambda x, r: x.to_sparse(), "expected a Tensor, got Tensor (sparse_coo)."),
    ("tensor", lambda x, r: x.to("meta"), "expected a Tensor, got Tensor (meta)."),
    ("tensor", lambda x, r: x.to(torch.complex128), "expected real numbers, got complex ones."),
    (
        "tensor",
        lambda x, r: {f"k{n}": x for n in range(5000)},
        "the result: expected a Tensor, got None; is a return missing?",
    ),
]


@pytest.mark.parametrize(("kind", "answer", "sentence"), SAID)
def test_the_first_difference_is_said_in_one_sentence(kind, answer, sentence):
    result = asked(kind).check(answer)
    assert result.status == ("wrong" if sentence else "right")
    assert sentence in result.sentence


def test_chance_where_none_is_asked_for_is_named():
    task = asked("number", reference=lambda x, rate: 2.5, tolerance=1e9)
    assert "it did not return the same twice" in task.check(lambda x, r: random.random()).sentence


def test_a_fact_of_yes_and_no_says_yes_and_no():
    def probes(rng):
        return [Probe("two numbers", {"x": np.array([1.0, 2.0])}, draws=20, seed=1)]

    def facts(inputs, draws):
        return [Fact("whether numbers go as a whole", float((draws == 0).all()), 1, 0)]

    task = asked(probes=probes, facts=facts, signature="(x)", reference=lambda x: x)
    said = task.check(lambda x: x).sentence
    assert (
        said == "On two numbers, whether numbers go as a whole: expected yes, got no over 20 calls."
    )


@pytest.mark.parametrize("digits", [1, 5, 6, 7, 12, 15])
def test_two_numbers_that_differ_are_told_apart(digits):
    told = comparing.expected_got(0.0926751, 0.0926751 + 10.0**-digits)
    expected, got = told.removeprefix("expected ").split(", got ")
    assert expected != got
    assert float(expected) == pytest.approx(0.0926751, abs=1e-7)


@pytest.mark.parametrize("seed", ["torch.manual_seed(0)", "torch.manual_seed(int(x.sum()))"])
def test_a_seed_set_inside_is_named_and_no_other_slip(seed):
    task = bank.find("inverted_dropout")

    def seeded(x, rate, training):
        exec(seed, {"torch": torch, "x": x})
        return torch.nn.functional.dropout(x, rate, training)

    for number in range(10):
        said = task.check(seeded, number).sentence
        assert said.endswith("returned the same: nothing in it is random, or a seed is set in it.")


def places_for_ranks(p_values):
    factors = len(p_values) - p_values.argsort()
    return np.minimum(np.maximum.accumulate(p_values * factors), 1)


def adds_noise(weight, rate):
    return weight * (1 - rate) + 0.1 * torch.randn_like(weight)


@pytest.mark.parametrize(
    ("name", "answer"), [("holm", places_for_ranks), ("classic_weights", adds_noise)]
)
def test_a_slip_that_is_not_in_the_bank_is_not_told_as_another(name, answer):
    task, seeds = bank.find(name), range(0, 300, 10)
    told = [task.check(answer, seed).sentence for seed in seeds]
    assert all(told)
    # The first questions alone cannot tell for one seed in three.
    assert sum(slip.sentence in said for slip in task.slips for said in told) <= 2


def test_returned_by_the_thousand_is_told_in_one_line():
    task = asked(reference=lambda x, rate: {"a": x})
    said = task.check(lambda x, r: {"a": x, **{f"k{n}": x for n in range(5000)}}).sentence
    assert said.endswith(
        "more than expected: the result['k0'], the result['k1'], the result['k10'] and 4997 more."
    )
