"""What an experiment returns: for each condition two sides with a score per seed, or a fact.

Axes: S seeds, N test examples.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coursekit.datasets.tasks import Task
from coursekit.results.runs import Runs, outputs


class Side(NamedTuple):
    """The scores of one side of a comparison.

    Attributes
    ----------
    scores : (S,) array
        One per seed, in the metric's own unit: an accuracy is a share in [0, 1].
    examples : (N,) array or None
        The score of each test example, its mean over the seeds. None where no test set is drawn
        from (a number of epochs, a norm of weights).
    """

    scores: np.ndarray
    examples: np.ndarray | None = None


class Exact(NamedTuple):
    """A deterministic fact: an identity, a counterexample, a behavior of a library.

    Attributes
    ----------
    holds : bool
        Whether the claim is true of it.
    shown : str
        The number that shows it, as in "largest difference 3e-16".
    """

    holds: bool
    shown: str


SIDES = ("control", "treated")
Evidence = Mapping[str, tuple[Side, Side] | Exact]  # by condition; of sides: control, treated


def crossed(values: np.ndarray | Tensor) -> Side:
    """Make a side of the scores (S, N) of every seed on every test example."""
    values = _array(values)
    if values.ndim != 2:
        raise ValueError(f"expected scores (seeds, examples), got shape {values.shape}")
    return Side(values.mean(1), values.mean(0))


def plain(
    scores: Sequence[float] | np.ndarray | Tensor | float, n_seeds: int | None = None
) -> Side:
    """Make a side of one score per seed, where no test examples are involved.

    A number stands for that number at each of `n_seeds` seeds: a bar that is to be passed.
    """
    scores = _array(scores)
    if scores.ndim == 0 and n_seeds:
        scores = np.full(n_seeds, float(scores))
    if scores.ndim != 1:
        raise ValueError(f"expected one score per seed, got shape {scores.shape}")
    return Side(scores)


def correct(
    runs: Runs, task: Task, *, weights: str = "best", part: str = "test", x: Tensor | None = None
) -> np.ndarray:
    """Return whether each seed is right about each example of a part, (S, N) of 0 and 1.

    `x` takes the place of the part's inputs: the same examples in another light.
    """
    y, logits = _answers(runs, task, weights, part, x)
    return (logits.argmax(-1) == y).cpu().double().numpy()


def losses(
    runs: Runs, task: Task, *, weights: str = "best", part: str = "test", x: Tensor | None = None
) -> np.ndarray:
    """Return the negative log likelihood of each example of a part, (S, N) in nats."""
    y, logits = _answers(runs, task, weights, part, x)
    logs = logits.double().log_softmax(-1)
    return -logs.gather(-1, y.unsqueeze(-1)).squeeze(-1).cpu().numpy()


def _answers(runs: Runs, task: Task, weights: str, part: str, x: Tensor | None):
    if part == "test":
        inputs, y = task.x_test, task.y_test
        logits = outputs(runs, inputs if x is None else x, weights=weights)
        return y.expand(logits.shape[:-1]), logits
    dealt = task.deal(runs.seeds)
    rows = dealt.val_rows if part == "val" else dealt.train_rows
    y = task.y[rows] if part == "val" else dealt.y_train
    every = outputs(runs, task.x, weights=weights)  # (S, pool, C)
    return y, every.gather(1, rows.unsqueeze(-1).expand(-1, -1, every.shape[-1]))


def chosen(val: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the test scores (S, N) of the arm that each seed's validation score prefers.

    Parameters
    ----------
    val : (A, S) array
        A validation score of each of A arms, higher is better; of equals the first is taken.
    test : (A, S, N) array
    """
    return test[val.argmax(0), np.arange(val.shape[1])]


def join(blocks: Sequence[Evidence]) -> dict[str, tuple[Side, Side] | Exact]:
    """Join evidence on consecutive blocks of seeds.

    Raises
    ------
    ValueError
        If the blocks do not hold the same conditions, or an exact fact changed.
    """
    first = blocks[0]
    if any(set(block) != set(first) for block in blocks):
        raise ValueError("expected the same conditions for each block of seeds, got others")
    joined: dict[str, tuple[Side, Side] | Exact] = {}
    for name, found in first.items():
        if isinstance(found, Exact):
            if any(block[name].holds != found.holds for block in blocks):
                raise ValueError(f"expected an exact fact for {name!r}, got one that seeds decide")
            joined[name] = found
        else:
            control, treated = (_join([block[name][i] for block in blocks]) for i in (0, 1))
            joined[name] = control, treated
    return joined


def _join(sides: Sequence[Side]) -> Side:
    scores = np.concatenate([side.scores for side in sides])
    if sides[0].examples is None:
        return Side(scores)
    shares = np.array([len(side.scores) for side in sides]) / len(scores)
    # Rounded here, so that what is judged now and what is read from a file are the same.
    return Side(scores, np.round(shares @ np.array([side.examples for side in sides]), 4))


def pack(found: tuple[Side, Side] | Exact) -> dict:
    """Turn evidence on one condition into plain JSON values; `unpack` turns it back."""
    if isinstance(found, Exact):
        return found._asdict()
    return {name: _packed(side) for name, side in zip(SIDES, found, strict=True)}


def unpack(stored: Mapping) -> tuple[Side, Side] | Exact:
    """Turn what `pack` made, and perhaps more beside it, back into evidence."""
    if "holds" in stored:
        return Exact(stored["holds"], stored["shown"])
    arrays = ([stored[name][part] for part in Side._fields] for name in SIDES)
    return tuple(
        Side(np.array(scores), None if examples is None else np.array(examples))
        for scores, examples in arrays
    )


def _packed(side: Side) -> dict[str, list[float] | None]:
    return {
        part: None if values is None else [digits(v) for v in values]
        for part, values in side._asdict().items()
    }


def digits(value: float) -> float | None:
    """Nine digits of a number, which are more than any rule can see; None for NaN."""
    return float(f"{value:.9g}") if value == value else None


def check(name: str, found: object) -> None:
    """Refuse evidence that is no pair of sides or fact.

    Raises
    ------
    ValueError
        If it is something else, sides do not pair up, or a score is not finite.
    """
    if isinstance(found, Exact):
        if not isinstance(found.holds, bool):
            raise ValueError(f"expected True or False for {name!r}, got {found.holds!r}")
        return
    if not (
        isinstance(found, tuple) and len(found) == 2 and all(isinstance(s, Side) for s in found)
    ):
        raise ValueError(f"expected two sides or an exact fact for {name!r}, got {found!r:.80}")
    shapes = [s.scores.shape for s in found]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise ValueError(f"expected sides of the same seeds for {name!r}, got {shapes}")
    of = [None if s.examples is None else s.examples.shape for s in found]
    if None not in of and of[0] != of[1]:
        raise ValueError(f"expected sides on the same examples for {name!r}, got {of}")
    for side in found:
        numbers = [side.scores] if side.examples is None else [side.scores, side.examples]
        if not all(np.isfinite(n).all() for n in numbers):
            raise ValueError(f"expected finite scores for {name!r}, got NaN or infinity")


def _array(values) -> np.ndarray:
    values = values.detach().cpu() if isinstance(values, torch.Tensor) else values
    return np.asarray(values, dtype=np.float64)
