"""A right answer with one small change is wrong, and the check notices; or it is told why not."""

import signal

import pytest
from mutants import equivalents, survivors

from coursekit.exercises import bank


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing ends an endless mutant here")
@pytest.mark.parametrize("name", bank.exercises())
def test_a_small_change_to_a_right_answer_is_noticed(name):
    _, alive = survivors(name)
    known = equivalents(name)
    assert {"passes": set(alive) - known, "no longer passes": known - set(alive)} == {
        "passes": set(),
        "no longer passes": set(),
    }
