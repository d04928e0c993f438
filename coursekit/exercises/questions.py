"""Questions that are answered in words: what one writes is read by a person."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """Something to explain, perhaps after predicting what was measured.

    Attributes
    ----------
    name : str
        A Python name, as in "why_not_both".
    lesson : str
        Two digits.
    points : int
        For the explanation, given by a person; a prediction costs nothing.
    prompt : str
        Markdown.
    options : tuple of str
        To predict; none where there is nothing to predict.
    measure : callable or None
        No argument; returns one of `options`, from the ledger or from a quick experiment.
    guide : str
        For whoever grades, and for the learner afterwards: what a good explanation says.
    rubric : str
        Markdown that the learner sees before: what earns how many points.
    kind : {"predict", "conclude"}
    level, minutes, skill, section
        As of an `Exercise`.
    """

    name: str
    lesson: str
    points: int
    prompt: str
    options: tuple[str, ...]
    measure: Callable[[], str] | None
    guide: str
    rubric: str = ""
    kind: str = "predict"
    level: int = 1
    minutes: int = 10
    skill: str = ""
    section: str = ""
