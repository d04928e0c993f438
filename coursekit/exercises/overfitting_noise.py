"""Exercises to lesson 01: what wrong labels allow, and how to choose a configuration."""

import numpy as np

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant

# --- the ceiling -----------------------------------------------------------------------------


def _label_probes(rng: np.random.Generator) -> list[Probe]:
    pairs = [(rng.uniform(0.1, 0.45), 10), (rng.uniform(0.5, 0.7), 3), (0.0, 7), (1.0, 4)]
    return [
        Probe(f"rate={rate:.3g} and {k} classes", {"rate": float(rate), "n_classes": k})
        for rate, k in pairs
    ]


def _share_kept(rate: float, n_classes: int) -> float:
    # Told by counting: the share of draws, of all that are possible, that leave a label as it is.
    kept = np.eye(n_classes).mean()
    return float((1 - rate) + rate * kept)


best_accuracy = Exercise(
    name="best_accuracy",
    lesson="01",
    points=2,
    signature="(rate, n_classes)",
    task="""
An exam with a noisy key: a share `rate` of its labels (0 to 1) is replaced by labels drawn
uniformly from **all** `n_classes` classes, blindly. Return the accuracy, 0 to 1, that a classifier
which always knows the true class can expect on it.
""",
    probes=_label_probes,
    reference=_share_kept,
    hints=(
        "Is every replaced label a wrong one?",
        "A drawn label is right by chance once in n_classes.",
        "Add two shares: labels that were left alone, and labels drawn right by chance.",
    ),
    why="""\
1 - rate labels are left alone, and of the drawn ones 1 / n_classes hit the true class again. No
regularizer gets above this ceiling: the gap that it leaves is in the key, not in the network. With
40 % replaced and ten classes, 36 % are wrong and 64 % is perfect.""",
    variants=(
        Variant(
            "A replaced label is drawn uniformly from the **other** classes only.",
            "plain(rate * n_classes / (n_classes - 1), n_classes)",
        ),
    ),
)


@best_accuracy.right
def two_shares(rate, n_classes):
    return (1 - rate) + rate / n_classes


@best_accuracy.right
def minus_the_wrong(rate, n_classes):
    wrong = rate * (n_classes - 1) / n_classes
    return 1 - wrong


@best_accuracy.right
def by_counting(rate, n_classes):
    drawn = np.arange(n_classes)
    chance = np.mean(drawn == 0)
    return np.average([1.0, chance], weights=[1 - rate, rate])


@best_accuracy.wrong(
    "You counted every replaced label as wrong; a drawn one is right by chance once in n_classes."
)
def all_replaced_wrong(rate, n_classes):
    return 1 - rate


@best_accuracy.wrong(
    "You let a replaced label hit the true class once in n_classes - 1; it is drawn from all "
    "n_classes."
)
def one_class_less(rate, n_classes):
    return (1 - rate) + rate / (n_classes - 1)


@best_accuracy.wrong("This is the share of wrong labels; asked is the accuracy, 1 minus it.")
def share_of_wrong(rate, n_classes):
    return rate * (n_classes - 1) / n_classes


@best_accuracy.wrong(
    "You took off only those labels that are replaced and right by chance; take off those that "
    "are replaced and wrong."
)
def takes_off_the_lucky(rate, n_classes):
    return 1 - rate / n_classes


@best_accuracy.wrong(
    "Knowing the true class does not help against a wrong key: it counts true answers as errors."
)
def perfect(rate, n_classes):
    return 1.0


@best_accuracy.wrong("You squared the share; only the key is noisy, the classifier is not.")
def twice_noisy(rate, n_classes):
    return (1 - rate + rate / n_classes) ** 2


@best_accuracy.wrong("This is in percent: return a share between 0 and 1.")
def in_percent(rate, n_classes):
    return 100 * (1 - rate + rate / n_classes)


@best_accuracy.wrong(
    "You weighted the lucky draws by the labels that were left alone; they come from the replaced "
    "ones."
)
def lucky_elsewhere(rate, n_classes):
    return (1 - rate) + (1 - rate) / n_classes


# --- choosing --------------------------------------------------------------------------------


def _table_probes(rng: np.random.Generator) -> list[Probe]:
    def probe(name: str, n_tables: int, n: int) -> Probe:
        val = rng.integers(75, 90, (n_tables, n)) / 100
        size = np.array([rng.permutation(np.arange(1, n + 1)) * 100 for _ in range(n_tables)])
        for row in val:  # three share the first place
            row[rng.permutation(n)[:3]] = 0.9
        if n > 3:  # nearly as good is not equally good, however small
            val[0, size[0].argmin()] = 0.8999
        for row, sizes, place in zip(
            val, size, rng.permutation(max(n, n_tables)) % n, strict=False
        ):
            move = place - _best_then_smallest(None, row, None, sizes)  # so that every place wins
            row[:], sizes[:] = np.roll(row, move), np.roll(sizes, move)
        # Unlike validation, so that every other rule chooses differently in some table.
        train, test = rng.uniform(0.8, 1.0, val.shape), rng.uniform(0.6, 0.95, val.shape)
        arrays = {"train": train, "val": val, "test": test, "size": size}
        return Probe(name, {key: array.tolist() for key, array in arrays.items()})

    return [probe("tables of 9 configurations", 12, 9), probe("a table of 3, all tied", 1, 3)]


def _chosen(answer, train, val, test, size) -> dict[str, object]:
    tables = zip(train, val, test, size, strict=True)
    return {
        f"the choice in table {number}": answer(*(np.array(column) for column in table))
        for number, table in enumerate(tables, 1)
    }


def _best_then_smallest(train, val, test, size) -> int:
    return int(np.lexsort((size, -val))[0])


choose_config = Exercise(
    name="choose_config",
    lesson="01",
    points=2,
    arrays="numpy",
    signature="(train, val, test, size)",
    task="""
A table of tried configurations: arrays (configurations,) of their accuracies on `train`, `val` and
`test`, and `size`, their numbers of parameters (all different). Return the index of the
configuration that you would deploy by the house rule of the course; among several that are equally
good by it, that of the smallest network. (Leave `test` for the report.)
""",
    probes=_table_probes,
    reference=_best_then_smallest,
    driver=_chosen,
    hints=(
        "`train` fits, `val` chooses, `test` is opened once. Who chooses?",
        "Find the best validation accuracy, then all configurations that reach it.",
        "Among those take the one with the smallest `size`; return its index in the whole table.",
    ),
    why="""\
Validation chooses: the gap is smallest for networks that learned nothing, and a choice by test
would wear out the only clean number. Among equals the smaller network is cheaper, nothing more.""",
)


@choose_config.right
def by_mask(train, val, test, size):
    best = np.flatnonzero(val == val.max())
    return best[size[best].argmin()]


@choose_config.right
def by_key(train, val, test, size):
    return min(range(len(val)), key=lambda i: (-val[i], size[i]))


@choose_config.right
def by_loop(train, val, test, size):
    chosen = 0
    for i in range(1, len(val)):
        if val[i] > val[chosen] or (val[i] == val[chosen] and size[i] < size[chosen]):
            chosen = i
    return chosen


@choose_config.right
def by_where(train, val, test, size):
    return int(np.argmin(np.where(val < val.max(), np.inf, size)))


@choose_config.wrong(
    "You chose by the smallest gap: networks that learned little have small ones. Choose by `val`."
)
def by_gap(train, val, test, size):
    return int(np.argmin(np.abs(train - val)))


@choose_config.wrong(
    "You chose by `test`: then it is no test any more, and its number is too good."
)
def by_test(train, val, test, size):
    return int(np.argmax(test))


@choose_config.wrong("You chose by `train`, where memorizing wins: choose by `val`.")
def by_train(train, val, test, size):
    return int(np.argmax(train))


@choose_config.wrong("You took the smallest network of all; size decides only among equals.")
def the_smallest(train, val, test, size):
    return int(np.argmin(size))


@choose_config.wrong(
    "You took the first of the best: `argmax` does not look at size. Among equals, the smallest."
)
def first_of_equals(train, val, test, size):
    return int(np.argmax(val))


@choose_config.wrong("Among equals you took the largest network: take the smallest.")
def largest_of_equals(train, val, test, size):
    return int(np.lexsort((-size, -val))[0])


@choose_config.wrong(
    "You took the lowest validation value, as for a loss; these are accuracies, higher is better."
)
def lowest(train, val, test, size):
    return int(np.lexsort((size, val))[0])


@choose_config.wrong(
    "You let `test` decide among equals: that is choosing by it, too. Take the smallest."
)
def test_among_equals(train, val, test, size):
    return int(np.lexsort((-test, -val))[0])


@choose_config.wrong(
    "You let `train` or the gap decide among equals: the task asks for the smallest network."
)
def gap_among_equals(train, val, test, size):
    return int(np.lexsort((train - val, -val))[0])


@choose_config.wrong("You averaged `train` and `val`: the part from training rewards memorizing.")
def by_average(train, val, test, size):
    return int(np.argmax((train + val) / 2))


@choose_config.wrong(
    "You took off the gap from the validation accuracy: `val` alone says what to expect."
)
def minus_gap(train, val, test, size):
    return int(np.argmax(val - np.abs(train - val)))


@choose_config.wrong(
    "You returned a position among the best ones; return the index in the whole table."
)
def position_among_best(train, val, test, size):
    return int(size[val == val.max()].argmin())
