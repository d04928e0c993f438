"""Exercise to lesson 07: delete words without changing what a text says."""

import numpy as np
import torch

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers.augmentation import word_dropout as library_word_dropout

_PLAIN = ["the", "plot", "again", "tonight", "rather", "film", "end"]
_HOLDING = ["knows", "nobody", "nothing", "notable"]  # negations as parts of words
_RULED = ("not", "no", "never")
_CALLS = 300


def _words_probes(rng: np.random.Generator) -> list[Probe]:
    def some(n: int, words: list[str]) -> list[str]:
        return rng.choice(words, n, replace=False).tolist()

    rates = rng.permutation([0.3, 0.65]).tolist()
    marked = ["Never", "knew", "not", "nonsense,", "no,", "No.", "...never", "Film."]
    long = [*some(4, _PLAIN), *some(2, _HOLDING), *marked]
    first, other = some(2, _PLAIN)
    texts = {
        "a short text with a negation": (f"not {some(1, _PLAIN)[0]}", 0.7),
        "a text of one word": (some(1, _PLAIN)[0], 0.8),
        "a text of two words": (" ".join(some(2, _PLAIN)), 0.9),
        "a text with negations": (" ".join(long), rates[0]),
        "another text": (" ".join(["NOT", *some(5, _PLAIN + _HOLDING)]), rates[1]),
        "a text with a word that comes four times": (
            f"{first} {other} no {other} {other} {other}",
            rates[0],
        ),
        "a text with two spaces and a new line": ("\n".join(["  ".join(long[:5]), "no"]), rates[1]),
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
            there, left = [], kept.split()
            for word in words:
                there.append(word in left[:1])
                left = left[there[-1] :]
            same = not left and kept == " ".join(kept.split())
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
    comma, stop = (np.array([word[-1] == mark for word in words]) for mark in ",.")
    behind = np.array([word[0] in ",." for word in words])
    gone, m = 1 - draws[:, :-1], int((~ruled).sum())
    # If all words may go, one of them comes back where all have gone.
    rest = rate if ruled.any() else rate - rate**m / m

    def whether(name: str, found: bool) -> Fact:
        return Fact(f"whether {name}", float(found), 0, 0)

    def deleted(which: np.ndarray) -> bool:
        return bool(gone[:, which].any())

    def share(name: str, found: np.ndarray, expected: float) -> Fact:
        se = np.sqrt(expected * (1 - expected) / found.size)
        return Fact(name, found.mean(), expected, se)

    told = [
        whether("all words can go", gone.all(1).any()),
        whether("a text comes in another order, or with something else", (draws[:, -1] < 1).any()),
        whether("a plain negation can go", deleted(ruled & ~(large | comma | stop | behind))),
        whether("a negation with a capital letter can go", deleted(ruled & large & ~stop)),
        whether("a negation with a comma can go", deleted(ruled & comma)),
        whether("a negation with a full stop can go", deleted(ruled & stop)),
        whether("a negation behind full stops can go", deleted(ruled & behind)),
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


@word_dropout.wrong(
    "A full stop hides the negation from your comparison: take full stops off as well as commas."
)
def stops_kept(text, rate):
    words = text.split()
    safe = {"not", "no", "never"}
    kept = [w for w in words if w.lower().strip(",") in safe or torch.rand(1).item() >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    "You take commas and full stops off at the end of a word only: they may stand before it, too."
)
def only_behind(text, rate):
    words = text.split()
    safe = {"not", "no", "never"}
    kept = [w for w in words if w.lower().rstrip(",.") in safe or torch.rand(1).item() >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    "A word that comes several times goes or stays at all its places: toss a coin for each place."
)
def one_coin_per_word(text, rate):
    words = text.split()
    coins = {word: torch.rand(1).item() for word in words}
    safe = {"not", "no", "never"}
    kept = [w for w in words if w.lower().strip(",.") in safe or coins[w] >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])


@word_dropout.wrong(
    'With split(" "), two spaces hold an empty word, and a new line stays inside a word: words are '
    "what `text.split()` gives."
)
def split_at_spaces(text, rate):
    words = text.split(" ")
    safe = {"not", "no", "never"}
    kept = [w for w in words if w.lower().strip(",.") in safe or torch.rand(1).item() >= rate]
    return " ".join(kept or [words[torch.randint(len(words), (1,)).item()]])
