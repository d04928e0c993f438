"""Data of the dance of the intervals: paired trainings with and without dropout, two budgets.

The lesson trains 96 seeds. The explorer has ten times as many, the lesson's among them, so that
fifty studies of 96 seeds are still fifty different studies and not one study shown fifty times.
"""

from dataclasses import replace

import numpy as np
import scipy

from coursekit import data, models
from coursekit.explorers import STATES
from coursekit.ledger import rule
from coursekit.ledger.evidence import correct
from coursekit.train import Recipe, fit

N_SEEDS = 960
BLOCK = 96  # seeds that are trained side by side
BUDGETS = STATES["dance"]["epochs"]
RATE = 0.5
STOPS = STATES["dance"]["seeds"]
RECIPE = Recipe(epochs=40, batch_size=50, lr=3e-3, n_seeds=BLOCK)


def right_answers(epochs: int, seeds: range) -> np.ndarray:
    """Which test digits are read rightly, (2, S, N) of bool: without dropout, and with it."""
    task = data.load("digits", label_noise=0.4)
    recipe = replace(RECIPE, epochs=epochs, first_seed=seeds[0], n_seeds=len(seeds))
    runs = (
        fit(models.mlp(task, hidden=(64,), dropout=rate), task, recipe, record=())
        for rate in (0.0, RATE)
    )
    return np.array([correct(r, task, weights="final") > 0.5 for r in runs])


def measure() -> dict:
    """Train everything: what `dance.js` reads. Takes about six minutes on one core."""
    blocks = [range(first, first + BLOCK) for first in range(0, N_SEEDS, BLOCK)]
    right, examples = {}, {}
    for epochs in map(str, BUDGETS):
        answers = np.concatenate([right_answers(int(epochs), b) for b in blocks], 1)  # (2, S, N)
        right[epochs] = answers.sum(2).tolist()
        each = 100 * np.subtract(*answers.mean(1)[::-1])  # (N,) points that a digit gains
        examples[epochs] = round(float(each.std(ddof=1) / len(each) ** 0.5), 2)
    return {
        "right": right,
        "examples": examples,  # standard error that the choice of test digits adds, points
        "n_test": len(data.load("digits").y_test),
        "stops": STOPS,
        "smallest": 1.0,  # point
        # The interval of `ledger.rule`: t by seeds - 1, and what makes up for skewness.
        "t": [round(float(scipy.stats.t.isf(rule.ALPHA / 2, n)), 6) for n in range(1, STOPS[-1])],
        "skew": round(float(rule.widening(1.0, 1, rule.ALPHA)) - 1, 6),  # divided by sqrt(seeds)
        "recipe": (
            "200 handwritten digits of 8 x 8 pixels, 40 % of the training labels replaced at "
            "random; a network of 64 hidden units, dropout 0.5 against none, Adam with a learning "
            f"rate of {RECIPE.lr}, batches of {RECIPE.batch_size}; {N_SEEDS} seeds; "
            "judged after the last epoch by the accuracy on 900 test digits with true labels"
        ),
    }
