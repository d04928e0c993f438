"""Exercises to lesson 09: early stopping, and what it does."""

import numpy as np

from coursekit.exercises import stopping_loss, stopping_rules, stopping_stopper, stopping_weights
from coursekit.exercises.questions import Question
from coursekit.stopping import patience

# In the order of the notebook.
pick_epoch = stopping_rules.pick_epoch
validation_loss = stopping_loss.validation_loss
stopped_weights = stopping_weights.stopped_weights
Stopper = stopping_stopper.Stopper

_AT_ONCE, _SOON, _LATE = "about 11 epochs", "12 to 25 epochs", "more than 25 epochs"


def _wait_on_noise() -> str:
    loss = 1 + 0.05 * np.random.default_rng(0).normal(size=(2000, 400))
    last = np.median(patience(loss, 10).last)
    return _AT_ONCE if last < 12 else _SOON if last <= 25 else _LATE


patience_on_noise = Question(
    name="patience_on_noise",
    lesson="09",
    points=3,
    prompt="""
A network has nothing more to learn. Its validation loss is 1 in every epoch, plus noise that is
independent from epoch to epoch (Gaussian, with a standard deviation of 0.05). Early stopping with
patience 10 watches it from epoch 1. After how many epochs does training stop, at the median over
many such runs?""",
    options=(_AT_ONCE, _SOON, _LATE),
    measure=_wait_on_noise,
    guide="""\
A good explanation says that an epoch counts as progress when it is the luckiest so far, that the
k-th epoch is the luckiest of k with probability 1/k, so new records come soon at first and then
seldom; that a record is safe for ten epochs with probability k/(k + 10), so the wait is about twice
the patience and grows with it; that the level of the noise does not matter without a threshold. And
that the "best" loss is below 1 for all that: the lowest of many noisy values is no clean estimate,
and its epoch is arbitrary.""",
)
