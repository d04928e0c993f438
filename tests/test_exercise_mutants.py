"""A right answer with one small change is wrong, and the check notices; or it is told why not."""

import signal

import pytest

from coursekit.exercises import bank
from coursekit.exercises.mutants import survivors


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing ends an endless mutant here")
# The audit of studies has its own test: how one studies is free, so most small changes are sound.
@pytest.mark.parametrize("name", [n for n, e in bank.exercises().items() if e.kind != "measure"])
def test_a_small_change_to_a_right_answer_is_noticed(name):
    exercise = bank.find(name)
    _, alive = survivors(exercise)
    assert {
        "passes": set(alive) - exercise.harmless,
        "no longer passes": exercise.harmless - set(alive),
    } == {"passes": set(), "no longer passes": set()}
