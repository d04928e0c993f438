"""Exercises to lesson 07: data augmentation."""

import numpy as np
import torch

from coursekit.exercises.augmentation_images import paste, random_shift
from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.exercises.questions import Question
from coursekit.linear import ridge
from coursekit.regularizers.augmentation import word_dropout as library_word_dropout

__all__ = ["nearest_mirror", "noise_as_ridge", "paste", "random_shift", "word_dropout"]

# --- noise is a penalty ----------------------------------------------------------------------


def _noise_probes(rng: np.random.Generator) -> list[Probe]:
    found = []
    for n, d, sigma in ((9, 3, 0.0), (12, 2, rng.uniform(0.3, 0.7)), (7, 5, rng.uniform(1.5, 2.5))):
        x = rng.normal(0.5, 1.0, (n, d)) * np.linspace(1, 2, d)
        y = x @ rng.normal(size=d) + rng.normal(1.0, 1.0, n)
        name = f"{n} rows, {d} columns, sigma={sigma:.2g}"
        found.append(Probe(name, {"x": x, "y": y, "sigma": float(sigma)}))
    return found


def _noisy_least_squares(x, y, sigma):
    return ridge(x, y, len(x) * sigma**2, intercept=False).coef


noise_as_ridge = Exercise(
    name="noise_as_ridge",
    lesson="07",
    points=2,
    arrays="numpy",
    signature="(x, y, sigma)",
    task="""
Least squares without an intercept, on inputs with noise that is drawn anew without end. `x` (n, d)
and `y` (n,) are NumPy arrays, `sigma` is the standard deviation of independent Gaussian noise `N`
(n, d) with mean 0. Return the weights `w` (d,) that minimize the *expected* sum of squares,
the mean of `|y - (x + N) w|^2` over the noise, exactly: without drawing anything. (n > d, and the
columns of x are independent.)
""",
    probes=_noise_probes,
    reference=_noisy_least_squares,
    hints=(
        "Write out |y - xw - Nw|^2. Which of the terms have mean 0?",
        "What is the mean of N.T @ N? It is d by d, and each entry is a sum over n rows.",
        "Solve (x.T @ x + n * sigma**2 * I) w = x.T @ y.",
    ),
    why="""\
The mixed term has mean 0, and the mean of N'N is n sigma^2 on the diagonal: each of the n rows adds
its own noise. So the expected loss is least squares plus n sigma^2 |w|^2, which is ridge.""",
    variants=(
        Variant(
            "`sigma` is the **variance** of the noise, not its standard deviation.",
            "plain(x, y, sigma ** 0.5)",
        ),
        Variant(
            "The noise is not Gaussian but **uniform between -sigma and sigma**.",
            "plain(x, y, sigma / 3 ** 0.5)",
        ),
    ),
)


@noise_as_ridge.right
def by_normal_equations(x, y, sigma):
    n, d = x.shape
    return np.linalg.solve(x.T @ x + n * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.right
def by_more_rows(x, y, sigma):
    # d further rows whose target is 0 are the penalty.
    n, d = x.shape
    rows = np.concatenate([x, np.sqrt(n) * sigma * np.eye(d)])
    return np.linalg.lstsq(rows, np.concatenate([y, np.zeros(d)]), rcond=None)[0]


@noise_as_ridge.right
def by_singular_values(x, y, sigma):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return vt.T @ (s / (s**2 + len(x) * sigma**2) * (u.T @ y))


@noise_as_ridge.right
def by_mean_moments(x, y, sigma):
    second = np.cov(x.T, bias=True) + np.outer(x.mean(0), x.mean(0))
    return np.linalg.inv(second + np.diag([sigma**2] * x.shape[1])) @ (x * y[:, None]).mean(0)


@noise_as_ridge.wrong(
    "You added sigma^2 once: each of the n rows has noise of its own, so it is n sigma^2."
)
def one_row_only(x, y, sigma):
    return np.linalg.solve(x.T @ x + sigma**2 * np.eye(x.shape[1]), x.T @ y)


@noise_as_ridge.wrong(
    "You added n^2 sigma^2: the variances of n rows add up, which gives n times one of them."
)
def squared_count(x, y, sigma):
    return np.linalg.solve(x.T @ x + (len(x) * sigma) ** 2 * np.eye(x.shape[1]), x.T @ y)


@noise_as_ridge.wrong(
    "You added n sigma: a sum of squares grows with the variance, so square the deviation."
)
def not_squared(x, y, sigma):
    return np.linalg.solve(x.T @ x + len(x) * sigma * np.eye(x.shape[1]), x.T @ y)


@noise_as_ridge.wrong(
    "You counted columns: N'N sums over the n rows, so the factor of sigma^2 is n, not d."
)
def columns_counted(x, y, sigma):
    d = x.shape[1]
    return np.linalg.solve(x.T @ x + d * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong(
    "You added half of n sigma^2: that belongs to a loss with 1/2 before the penalty alone. Loss "
    "and penalty must be scaled alike."
)
def halved(x, y, sigma):
    n, d = x.shape
    return np.linalg.solve(x.T @ x + n * sigma**2 / 2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong(
    "You subtracted n sigma^2: that undoes noise which the given x already has. Here x has none, "
    "and noise is added."
)
def noise_removed(x, y, sigma):
    n, d = x.shape
    return np.linalg.solve(x.T @ x - n * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong("This is plain least squares: the noise has mean 0, but its square has not.")
def noise_ignored(x, y, sigma):
    return np.linalg.lstsq(x, y, rcond=None)[0]


@noise_as_ridge.wrong(
    "You drew noise: what is asked for is the exact mean over all of it, which needs no draw."
)
def one_draw(x, y, sigma):
    return np.linalg.lstsq(x + sigma * np.random.normal(size=x.shape), y, rcond=None)[0]  # noqa: NPY002


@noise_as_ridge.wrong(
    "You centered the data, which fits an intercept: here there is none, and x and y stay as "
    "they are."
)
def centered(x, y, sigma):
    n, d = x.shape
    x, y = x - x.mean(0), y - y.mean()
    return np.linalg.solve(x.T @ x + n * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong(
    "You shrank the least-squares weights all by one factor: noise shrinks weak directions more."
)
def shrunk_evenly(x, y, sigma):
    return np.linalg.lstsq(x, y, rcond=None)[0] / (1 + sigma**2)


# --- deleting words --------------------------------------------------------------------------

_PLAIN = ["the", "plot", "again", "tonight", "rather", "film", "end"]
_HOLDING = ["knows", "nobody", "nothing", "notable"]  # negations as parts of words
_RULED = ("not", "no", "never")


_CALLS = 300


def _words_probes(rng: np.random.Generator) -> list[Probe]:
    def some(n: int, words: list[str]) -> list[str]:
        return rng.choice(words, n, replace=False).tolist()

    rates = rng.permutation([0.3, 0.65]).tolist()
    long = [*some(4, _PLAIN), *some(2, _HOLDING), "Never", "knew", "not", "nonsense", "no,"]
    texts = {
        "a short text with a negation": (f"not {some(1, _PLAIN)[0]}", 0.7),
        "a text of one word": (some(1, _PLAIN)[0], 0.8),
        "a text of two words": (" ".join(some(2, _PLAIN)), 0.9),
        "a text with negations": (" ".join(long), rates[0]),
        "another text": (" ".join(["NOT", *some(5, _PLAIN + _HOLDING)]), rates[1]),
    }
    seed = int(rng.integers(2**31))
    return [
        Probe(f"{name}, rate={r}", {"text": text, "rate": r}, draws=_CALLS, seed=seed + 7 * i)
        for i, (name, (text, r)) in enumerate(texts.items())
    ]


def _words_driver(answer, text, rate):
    words = text.split()

    def rows():  # for each call: which words stay, and whether nothing else changed
        for _ in range(_CALLS):
            kept = answer(text, rate)
            if not isinstance(kept, str):
                yield type(kept)
                return
            there = [word in kept.split() for word in words]
            same = kept == " ".join(w for w, t in zip(words, there, strict=True) if t)
            yield torch.tensor([*there, same], dtype=torch.float64)

    first, again = list(rows()), list(rows())
    kinds = [row.__name__ for row in (first[-1], again[-1]) if isinstance(row, type)]
    if kinds:
        return {"the type of the result": kinds[0]}
    return {
        "the type of the result": "str",
        "the draws": torch.stack(first),
        "the draws again": torch.stack(again),
    }


def _words_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    words, rate, n = inputs["text"].split(), inputs["rate"], len(draws)
    bare = [word.lower().strip(",.") for word in words]
    ruled = np.array([word in _RULED for word in bare])
    large = np.array([word != word.lower() for word in words])
    comma = np.array([word[-1] in ",." for word in words])
    gone, m = 1 - draws[:, :-1], int((~ruled).sum())
    # If all words may go, one of them comes back where all have gone.
    rest = rate if ruled.any() else rate - rate**m / m

    def whether(name: str, found: bool) -> Fact:
        return Fact(f"whether {name} (1: yes, 0: no)", float(found), 0, 0)

    def deleted(which: np.ndarray) -> bool:
        return bool(gone[:, which].any())

    def share(name: str, found: np.ndarray, expected: float) -> Fact:
        se = np.sqrt(expected * (1 - expected) / found.size)
        return Fact(name, found.mean(), expected, se)

    told = [
        whether("all words can go", gone.all(1).any()),
        whether("a text comes in another order, or with something else", (draws[:, -1] < 1).any()),
        whether("a plain negation can go", deleted(ruled & ~large & ~comma)),
        whether("a negation with a capital letter can go", deleted(ruled & large)),
        whether("a negation with a comma can go", deleted(ruled & comma)),
        share("the share of other words deleted", gone[:, ~ruled], rest),
        share("the share of texts without their first other word", gone[:, ~ruled][:, 0], rest),
    ]
    if ruled.any():
        spread = m * rate * (1 - rate)
        se = spread * np.sqrt(2 / n + (1 - 6 * rate * (1 - rate)) / (n * spread))
        told.append(Fact("the variance of the number deleted", gone.sum(1).var(), spread, se))
        holding = np.array(["no" in word or "never" in word for word in bare]) & ~ruled
        if holding.any():
            name = "the share of words deleted that only contain a negation"
            told.append(share(name, gone[:, holding], rate))
    return told


def _library_words(text, rate):
    return library_word_dropout(text, rate, protect=frozenset(_RULED))


word_dropout = Exercise(
    name="word_dropout",
    lesson="07",
    points=3,
    signature="(text, rate)",
    task="""
Delete words at random without changing what a review says. `text` is a string of at least one word,
words being what `text.split()` gives; each word is deleted with probability `rate` (0 to 1,
exclusive), independently of the others. But the words *not*, *no* and *never* always stay, in small
or capital letters, also with commas or full stops around them ("no,"). If all words would go, one
of them stays, chosen at random, all with equal probability. Return a string: the words that stay,
as written and in their order, joined by one space.
""",
    probes=_words_probes,
    reference=_library_words,
    driver=_words_driver,
    facts=_words_facts,
    hints=(
        "Toss a coin for each word, and then think about which words need none.",
        '`word.strip(",.").lower()` in a set of three words decides who is safe.',
        "`random.random()` or `torch.rand(1).item()` below `rate` deletes. If the list is empty in "
        "the end, draw one of the words.",
    ),
    why="""\
"Not a good film" without its first word is praise with the label of a complaint, and an empty text
has no label at all: such deletions are label noise. Which words carry the answer is knowledge about
the task, and no library has it. The published rule deleted any word, and could delete all.""",
)


@word_dropout.right
def with_a_safe_set(text, rate):
    words = text.split()
    kept = []
    for word in words:
        safe = word.lower().strip(",.") in {"not", "no", "never"}
        if safe or torch.rand(1).item() >= rate:
            kept.append(word)
    if not kept:
        kept = [words[torch.randint(len(words), (1,)).item()]]
    return " ".join(kept)


@word_dropout.right
def with_one_draw(text, rate):
    words = np.array(text.split())
    draws = np.random.rand(len(words))  # noqa: NPY002 - a learner's way
    safe = [w.replace(",", "").replace(".", "").lower() in ("no", "not", "never") for w in words]
    stays = (draws >= rate) | np.array(safe)
    if not stays.any():
        stays[draws.argmax()] = True
    return str(" ".join(words[stays]))


@word_dropout.right
def with_patterns(text, rate):
    import random
    import re

    def stays(word):
        return re.fullmatch(r"[,.]*(no|not|never)[,.]*", word, re.I) or random.random() > rate

    words = text.split()
    return " ".join([word for word in words if stays(word)] or [random.choice(words)])


@word_dropout.wrong("A text without negations can come back empty: keep one of its words then.")
def maybe_empty(text, rate):
    def safe(word):
        return word.lower().strip(",.") in {"not", "no", "never"}

    return " ".join(word for word in text.split() if safe(word) or torch.rand(1).item() >= rate)


@word_dropout.wrong(
    "You delete any word, as article 003 does: negations must stay, and so must at least one word."
)
def published(text, rate):
    return " ".join(word for word in text.split() if torch.rand(1).item() >= rate)


@word_dropout.wrong(
    "Negations are deleted like other words, and the text then says the opposite: keep not, no, "
    "never."
)
def negations_deleted(text, rate):
    words = text.split()
    kept = [word for word in words if torch.rand(1).item() >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    "You compare the letters as written: a negation with capitals is one too, so compare in lower "
    "case."
)
def small_letters_only(text, rate):
    words = text.split()
    safe = {"not", "no", "never"}
    kept = [w for w in words if w.strip(",.") in safe or torch.rand(1).item() >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    "A comma hides the negation from your comparison: take commas and full stops off before it."
)
def commas_kept(text, rate):
    words = text.split()
    safe = {"not", "no", "never"}
    kept = [w for w in words if w.lower() in safe or torch.rand(1).item() >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    "You protect every word that contains a negation, as in nobody and knows: compare whole words."
)
def contained(text, rate):
    words = text.split()
    safe = ("no", "not", "never")
    kept = [w for w in words if any(s in w.lower() for s in safe) or torch.rand(1).item() >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    "Where all words would go you return the whole text: keep one word, or short texts hardly "
    "change."
)
def whole_text_back(text, rate):
    safe = {"not", "no", "never"}
    words = text.split()
    kept = [w for w in words if w.lower().strip(",.") in safe or torch.rand(1).item() >= rate]
    return " ".join(kept or words)


@word_dropout.wrong(
    "Where all words would go you always keep the same one: draw it, each with equal probability."
)
def first_word_back(text, rate):
    safe = {"not", "no", "never"}
    words = text.split()
    kept = [w for w in words if w.lower().strip(",.") in safe or torch.rand(1).item() >= rate]
    return " ".join(kept or words[:1])


@word_dropout.wrong("You keep words with probability rate: here rate is the probability to delete.")
def kept_at_rate(text, rate):
    words = text.split()
    safe = {"not", "no", "never"}
    kept = [w for w in words if w.lower().strip(",.") in safe or torch.rand(1).item() < rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong("One coin decides for the whole text: toss one for each word.")
def one_coin(text, rate):
    safe = {"not", "no", "never"}
    words, u = text.split(), torch.rand(1).item()
    kept = [w for w in words if w.lower().strip(",.") in safe or u >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    "The words lose their order, as in a set or a sorted list: keep them as they stood."
)
def without_order(text, rate):
    safe = {"not", "no", "never"}
    words = text.split()
    kept = [w for w in words if w.lower().strip(",.") in safe or torch.rand(1).item() >= rate]
    return " ".join(sorted(kept, reverse=True) or [words[torch.randint(len(words), (1,)).item()]])


# --- predict and explain ---------------------------------------------------------------------

_LESS, _FEW, _MANY = "less than a point", "1 to 3 points", "more than 3 points"


def _mirrored_neighbors() -> str:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    mirrored = x.reshape(-1, 8, 8)[:, :, ::-1].reshape(len(x), -1)

    def right(known: np.ndarray, labels: np.ndarray, test: np.ndarray) -> float:
        apart = (known**2).sum(1) - 2 * x[test] @ known.T
        return 100 * (labels[apart.argmin(1)] == y[test]).mean()

    lost = []
    for seed in range(20):
        train, test = np.split(np.random.default_rng(seed).permutation(len(x)), [200])
        both = np.concatenate([x[train], mirrored[train]])
        alone = right(x[train], y[train], test)
        lost.append(alone - right(both, np.tile(y[train], 2), test))
    loss = np.mean(lost)
    return _LESS if loss < 1 else _FEW if loss <= 3 else _MANY


nearest_mirror = Question(
    name="nearest_mirror",
    lesson="07",
    points=3,
    prompt="""
Training on mirrored digits cost the network of the lesson accuracy. Now another learner: *one
nearest neighbor*, which answers with the label of the most similar training image. It knows 200
digits. We add the mirror images of all 200 to them, with the labels of the originals. How much
accuracy does it lose on upright test digits, on average over 20 splits?""",
    options=(_LESS, _FEW, _MANY),
    measure=_mirrored_neighbors,
    guide="""\
A good explanation says that all upright images are still there, so a mirror image does damage only
where it is nearer than every one of them; that a network has to give one set of weights to both
kinds, and pays with capacity; and that a small loss here does not make the transformation right:
it adds nothing either, as no test image is mirrored. How much a wrong augmentation costs depends on
the model as well as on the data.""",
)
