"""A right answer with one small thing changed is wrong, and its check notices; or it is known why
the change is none."""

import signal

import pytest
from mutants import equivalents, survivors

from coursekit.exercises import bank


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing ends an endless mutant here")
@pytest.mark.parametrize("name", bank.exercises())
def test_a_small_change_to_a_right_answer_is_noticed(name):
    _, passed = survivors(name)
    known = equivalents(name)
    assert {"passes": set(passed) - known, "no longer passes": known - set(passed)} == {
        "passes": set(),
        "no longer passes": set(),
    }
