"""Questions to predict and then explain: the prediction is free, the explanation is read."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """Something to predict before it is measured.

    Attributes
    ----------
    name : str
        A Python name, as in "why_not_both".
    lesson : str
        Two digits.
    points : int
        For the explanation, given by a person; the prediction costs nothing.
    prompt : str
        Markdown.
    options : tuple of str
    measure : callable
        No argument; returns one of `options`, from the ledger or from a quick experiment.
    guide : str
        For whoever grades, and for the learner afterwards: what a good explanation says.
    """

    name: str
    lesson: str
    points: int
    prompt: str
    options: tuple[str, ...]
    measure: Callable[[], str]
    guide: str
