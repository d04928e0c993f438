"""Deletion of random words from texts, as a published helper does it."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from coursekit.ledger.evidence import Exact, plain
from coursekit.ledger.experiments import experiment

RATE, N_COPIES = 0.1, 3  # of the helper
GOOD = ("good", "great", "lovely", "clever", "funny", "bright", "warm", "brilliant")
BAD = ("bad", "awful", "dull", "silly", "sad", "weak", "cold", "boring")
N_VAL, N_TEST = 200, 400


@experiment("S18", "S18b")
def word_deletion(seeds):
    """Chances over all ways to delete; and made-up reviews with and without negations, on which a
    classifier learns from the texts alone or also from three copies of each.
    """
    praise = chance("not a good film", lambda copy: "not" not in copy and "good" in copy)
    empty = 1 - (1 - chance("superb", lambda copy: not copy)) ** N_COPIES
    s18b = {
        "no text is emptied": Exact(
            empty == 0, f'"superb" has an empty one among its three copies in {empty:.0%} of cases'
        ),
        "a negation stays": Exact(
            praise == 0, f'"not a good film" becomes praise in {praise:.0%} of cases'
        ),
    }
    s18 = {
        f"reviews {kind} negations, {n} texts": pair(seeds, negations=kind == "with", n=n)
        for kind, n in product(("with", "without"), (40, 160))
    }
    return {"S18": s18, "S18b": s18b}


def chance(text: str, event: Callable[[list[str]], bool]) -> float:
    """Probability that a copy of the text has a property, over all masks of its words."""
    words, found = text.split(), 0.0
    for mask in product([True, False], repeat=len(words)):
        copy = [word for word, kept in zip(words, mask, strict=True) if kept]
        found += event(copy) * (1 - RATE) ** sum(mask) * RATE ** (len(words) - sum(mask))
    return found


def pair(seeds: Sequence[int], *, negations: bool, n: int):
    """Accuracy of each seed, with the texts alone and with copies; each seed has its own exam."""
    found = [
        [_accuracy(seed, deletes, negations, n) for deletes in (False, True)] for seed in seeds
    ]
    without, with_copies = np.array(found).T
    return plain(without), plain(with_copies)


def _accuracy(seed: int, deletes: bool, negations: bool, n: int) -> float:
    """Test accuracy at the penalty that is best on validation reviews."""
    draws = np.random.default_rng([seed, n, negations])
    make_reviews = _with_negations if negations else _without_negations
    (texts, y), (val, y_val), (exam, y_exam) = (make_reviews(m, draws) for m in (n, N_VAL, N_TEST))
    make = _deleter(seed) if deletes else None
    copies = [
        copy for t in texts for copy in ([t, *(make(t) for _ in range(N_COPIES))] if make else [t])
    ]
    labels = np.repeat(y, len(copies) // n)
    weights = np.full(len(copies), n / len(copies))  # a text counts once, not each of its copies
    count = CountVectorizer(ngram_range=(1, 2))
    rows, val, exam = count.fit_transform(copies), count.transform(val), count.transform(exam)
    best = -1.0, 0.0
    for strength in (0.1, 1.0, 10.0, 100.0):
        model = LogisticRegression(C=strength, max_iter=2000).fit(rows, labels, weights)
        best = max(best, (model.score(val, y_val), model.score(exam, y_exam)), key=lambda s: s[0])
    return best[1]


def _deleter(seed: int) -> Callable[[str], str]:
    draws = np.random.default_rng([seed, 18])
    return lambda text: " ".join(w for w in text.split() if draws.random() >= RATE)


def _with_negations(n: int, draws: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Reviews with one opinion; half of them have a "not" before it, which turns it around."""
    good, no = draws.random((2, n)) < 0.5
    opinion = np.where(good, draws.choice(GOOD, n), draws.choice(BAD, n))
    parts = zip(*_frames(n, draws), no, opinion, strict=True)
    return [f"the {f} {i} {'not ' * bool(x)}{o} {e}" for f, i, e, x, o in parts], good != no


def _without_negations(n: int, draws: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Reviews with six opinions, of which each agrees with the writer's with probability 0.7."""
    good = draws.random(n) < 0.5
    praises = good[:, None] == (draws.random((n, 6)) < 0.7)
    opinions = np.where(praises, draws.choice(GOOD, (n, 6)), draws.choice(BAD, (n, 6)))
    parts = zip(*_frames(n, draws), opinions, strict=True)
    return [f"the {f} {i} {' '.join(o)} {e}" for f, i, e, o in parts], good


def _frames(n: int, draws: np.random.Generator):
    words = ("film", "plot", "music"), ("is", "was", "felt"), ("overall", "again", "tonight")
    return (draws.choice(some, n) for some in words)
