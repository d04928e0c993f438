"""Exercise to lesson 09: which epoch."""

import numpy as np

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.stopping import patience


def _curve_probes(rng: np.random.Generator) -> list[Probe]:
    nan = float("nan")
    a, b, c, d, e, f = sorted(rng.uniform(0.5, 1.0, 6).round(3).tolist(), reverse=True)
    low = a / 2 - 0.2
    # A wrong rule finds another best epoch or stops elsewhere, each rule elsewhere.
    curves = {
        "one epoch": ([a], 3),
        "losses that fall until the end": ([a, b, c, d, e], 2),
        "losses with a minimum": ([b, c, a, a + 0.1, low], 2),
        "a tie with the best": ([a, b, b, a, a + 0.1, a + 0.2, a + 0.3, low], 3),
        "losses that rise from the start": ([c, b, a, a, low], 2),
        "ups and downs": ([a, b, a, c, b, d, a, e, b, b + 1, a, f, a], 4),
        "a small rise above the best": ([a, e, c, d, d, f - 0.01, a, b], 2),
        "a first loss of NaN": ([nan, a, nan, b, c + 0.5, c + 0.6, c + 0.7, low], 3),
        "NaN after the best": ([b, c, nan, a + 1, a + 1.1, a + 1.2, a + 1.3, a + 1.4], 3),
        "NaN only": ([nan, nan, nan, nan], 2),
        "losses of the size of 1e12": ([1e12 * value for value in (b, c, b, a, a)], 3),
        "losses that fall by a millionth each": ([a - k / 1e6 for k in range(5)], 2),
    }
    noisy = 1 + np.exp(-np.arange(40) / rng.uniform(3, 8)) + rng.normal(0, 0.05, 40)
    curves["a noisy curve"] = (noisy.tolist(), int(rng.integers(4, 9)))
    return [
        Probe(f"{name}, patience={wait}", {"losses": np.array(losses), "patience": wait})
        for name, (losses, wait) in curves.items()
    ]


def _library_epochs(losses, wait):
    stop = patience(np.asarray(losses)[None], wait)
    return int(stop.best[0]), int(stop.last[0])


pick_epoch = Exercise(
    name="pick_epoch",
    lesson="09",
    points=3,
    arrays="numpy",
    signature="(losses, patience)",
    task="""
Early stopping, judged from a recorded curve. `losses` is a NumPy array (T,) with the validation
loss after each epoch, T at least 1; `patience` is an int of at least 1. Epochs are counted **from
1**. The best epoch is the one with the lowest loss so far (with a tie, the earlier one). Training
stops after `patience` epochs **in a row** that did not beat the best one: best epoch 4 with
patience 3 stops after epoch 7. A loss may be NaN, which beats nothing; it is never infinite. Return
`(best, last)`, two ints: the best epoch and the last one trained, which is T if patience never runs
out. If no loss was a number, `best` is 0; patience counts from the start, as if epoch 0 had been
best.
""",
    probes=_curve_probes,
    reference=_library_epochs,
    hints=(
        "Which two or three numbers must be remembered from one epoch to the next?",
        "Keep the best loss, start it at infinity, and the epoch of it, starting at 0.",
        "`loss < best` is False for a tie and for NaN. Stop when epoch - best_epoch equals "
        "patience.",
    ),
    why="""\
Two epochs come out of a stopped run: the last one, which was paid for, and the best one, which is
kept. They are `patience` apart unless the run ended first. Comparing with `<` makes ties and NaN
bad epochs at no extra cost, and the difference of two epochs is the count of bad ones in a row.""",
    variants=(
        Variant(
            "Epochs are counted **from 0**, as `enumerate` does; `best` is -1 if no loss was a "
            "number.",
            "tuple(epoch - 1 for epoch in plain(losses, patience))",
        ),
        Variant(
            "`patience` bad epochs are **tolerated**, as by PyTorch's `ReduceLROnPlateau`: "
            "training stops after one more.",
            "plain(losses, patience + 1)",
        ),
    ),
)


@pick_epoch.right
def by_differences(losses, patience):
    best, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return best_epoch, epoch


@pick_epoch.right
def by_a_counter(losses, patience):
    best_epoch, waited, epoch = 0, 0, 0
    while epoch < len(losses) and waited < patience:
        loss, epoch, waited = losses[epoch], epoch + 1, waited + 1
        if not np.isnan(loss) and (best_epoch == 0 or loss < losses[best_epoch - 1]):
            best_epoch, waited = epoch, 0
    return best_epoch, epoch


@pick_epoch.right
def by_the_running_minimum(losses, patience):
    lowest = np.minimum.accumulate(np.where(np.isnan(losses), np.inf, losses))
    improved = lowest < np.concatenate([[np.inf], lowest[:-1]])
    epochs = np.arange(1, len(losses) + 1)
    best = np.maximum.accumulate(np.where(improved, epochs, 0))
    stops = epochs[epochs - best >= patience]
    last = stops[0] if len(stops) else len(losses)
    return int(best[last - 1]), int(last)


@pick_epoch.right
def by_searching(losses, patience):
    for last in range(1, len(losses) + 1):
        seen = [(loss, epoch) for epoch, loss in enumerate(losses[:last], 1) if loss == loss]
        best = min(seen)[1] if seen else 0
        if last - best >= patience:
            return best, last
    return best, last


@pick_epoch.wrong(
    "You return the last epoch twice: the weights to keep are those of the best epoch, before the "
    "waiting."
)
def last_is_best(losses, patience):
    best, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return epoch if best_epoch else 0, epoch


@pick_epoch.wrong(
    "A tie with the best loss counts as progress here: only a lower loss beats it, so compare "
    "with <, not <=."
)
def ties_count(losses, patience):
    best, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss <= best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return best_epoch, epoch


@pick_epoch.wrong("You add up all bad epochs: with every improvement the count starts again at 0.")
def never_reset(losses, patience):
    best, best_epoch, bad = float("inf"), 0, 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        else:
            bad += 1
        if bad == patience:
            break
    return best_epoch, epoch


@pick_epoch.wrong(
    "After a first loss of NaN nothing is lower: start the best loss at infinity, not at the first "
    "loss."
)
def starts_at_the_first(losses, patience):
    best, best_epoch = losses[0], 0 if np.isnan(losses[0]) else 1
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return best_epoch, epoch


@pick_epoch.wrong(
    "You compare with the epoch before: an epoch is good if it beats the *best* one so far."
)
def against_the_previous(losses, patience):
    previous, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < previous:
            best_epoch = epoch
        if epoch - best_epoch == patience:
            break
        previous = loss
    return best_epoch, epoch


@pick_epoch.wrong("You count epochs from 0: here the first epoch is epoch 1.")
def from_zero(losses, patience):
    best, best_epoch = float("inf"), -1
    for epoch, loss in enumerate(losses):
        if loss < best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return best_epoch, epoch


@pick_epoch.wrong(
    "You take the lowest loss of the whole curve: what comes after the stop was never trained."
)
def looks_ahead(losses, patience):
    best, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return (0 if np.isnan(losses).all() else int(np.nanargmin(losses)) + 1), epoch


@pick_epoch.wrong(
    "You return to where the loss first rises: that may be noise. Wait for `patience` bad epochs, "
    "and keep the best."
)
def first_rise(losses, patience):
    for epoch in range(1, len(losses)):
        if not losses[epoch] < losses[epoch - 1]:
            return epoch, min(epoch + patience, len(losses))
    return len(losses), len(losses)


@pick_epoch.wrong(
    "NaN becomes the best loss, and then nothing is compared rightly any more: `loss >= best` is "
    "False for NaN as well."
)
def nan_is_progress(losses, patience):
    best, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if not loss >= best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return best_epoch, epoch


@pick_epoch.wrong(
    "You wait for the loss to rise `patience` times in a row: an epoch is bad if it does not beat "
    "the best one, also while the loss falls."
)
def rises_in_a_row(losses, patience):
    best, best_epoch, rises = float("inf"), 0, 0
    previous = float("inf")
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        rises = 0 if loss < previous else rises + 1
        if rises == patience:
            break
        previous = loss
    return best_epoch, epoch


@pick_epoch.wrong(
    "You stop one epoch too late: when `patience` epochs in a row were bad, it is over."
)
def one_too_late(losses, patience):
    best, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch > patience:
            break
    return best_epoch, epoch


@pick_epoch.wrong(
    "You ask for an improvement of some size: here any lower loss beats the best one, however "
    "little lower it is."
)
def with_slack(losses, patience):
    best, best_epoch = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best - 1e-3:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return best_epoch, epoch


@pick_epoch.wrong(
    "Your best loss starts at a number that some losses never get below: start at infinity, which "
    "every number beats."
)
def starts_at_a_number(losses, patience):
    best, best_epoch = 1e9, 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch = loss, epoch
        if epoch - best_epoch == patience:
            break
    return best_epoch, epoch
