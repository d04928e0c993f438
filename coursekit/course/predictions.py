"""What became of a prediction: the guess beside the measurement, and how far apart they are.

A lesson asks (`coursekit.widgets`), the file of predictions keeps, and the start page tells. What
counts is the first guess that met a measurement: a later one knows the answer.
"""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nbformat import NotebookNode

ASK = {"predict", "predict_number", "predict_curve"}
ON_THE_CURVE = 0.03  # of the axis: nearer than this, two curves are drawn over each other


@dataclass(frozen=True)
class Choice:
    """One of several options beside the right one. `among` says how many there were."""

    guess: str | None
    measured: str
    among: int

    @property
    def hit(self) -> bool:
        return self.guess == self.measured

    @property
    def guess_text(self) -> str:
        return self.guess or ""

    @property
    def measured_text(self) -> str:
        return self.measured

    @property
    def gap_text(self) -> str:
        return "as you said" if self.hit else "something else"


@dataclass(frozen=True)
class Number:
    """A number beside the measured one, with its interval if there is one.

    `axis` holds the ends of what could be said, and `step` what one step of the slider is worth.
    """

    guess: float | None
    measured: float
    low: float | None
    high: float | None
    axis: tuple[float, float]
    unit: str
    step: float

    @property
    def inside(self) -> bool:
        return self.low is not None and self.low <= self.guess <= self.high

    @property
    def hit(self) -> bool:
        return self.inside or (self.low is None and self._apart <= self.step / 2)

    @property
    def distance(self) -> float:
        """How far the guess was from the measurement, as a share of the axis."""
        return self._apart / (self.axis[1] - self.axis[0])

    @property
    def guess_text(self) -> str:
        return in_words(self.guess, self.unit, decimals(self.step))

    @property
    def measured_text(self) -> str:
        text = in_words(self.measured, self.unit, self._digits)
        if self.low is None:
            return text
        low, high = (in_words(end, digits=self._digits) for end in (self.low, self.high))
        return f"{text} ({low} to {high})"

    @property
    def gap_text(self) -> str:
        if self.hit:
            return "inside the interval" if self.inside else "exactly"
        unit = "points" if self.unit == "%" else self.unit
        more = "more" if self.measured > self.guess else "less"
        return f"{in_words(self._apart, unit, self._digits)} {more}"

    @property
    def _apart(self) -> float:
        return abs(self.measured - self.guess)

    @property
    def _digits(self) -> int:
        digits = decimals(self.step)
        if self.low is not None and self.high > self.low:
            # Enough digits that the two ends of a narrow interval can be told apart.
            digits = max(digits, decimals((self.high - self.low) / 2))
        return digits


@dataclass(frozen=True)
class Curve:
    """A drawn curve beside the measured one; None where nothing was drawn."""

    guess: tuple[float | None, ...] | None
    measured: tuple[float, ...]
    axis: tuple[float, float]
    unit: str

    @property
    def distances(self) -> np.ndarray:
        """How far apart the two are at each point, (T,); NaN where nothing was drawn."""
        drawn = np.array([np.nan if v is None else v for v in self.guess], float)
        return np.abs(drawn - np.array(self.measured))

    @property
    def hit(self) -> bool:
        return bool(np.nanmax(self.distances) <= ON_THE_CURVE * (self.axis[1] - self.axis[0]))

    @property
    def guess_text(self) -> str:
        return "a curve"

    @property
    def measured_text(self) -> str:
        return "a curve"

    @property
    def gap_text(self) -> str:
        digits = decimals((self.axis[1] - self.axis[0]) / 100)
        mean = in_words(float(np.nanmean(self.distances)), digits=digits)
        return f"{mean}{f' of {self.unit}' if self.unit else ''} away on average"


Outcome = Choice | Number | Curve
KINDS = {"choice": Choice, "number": Number, "curve": Curve}


def facts(outcome: Outcome) -> dict[str, object]:
    """Return what a file keeps of an outcome."""
    return {"kind": type(outcome).__name__.lower(), **asdict(outcome)}


def outcome(entry: Mapping) -> Outcome | None:
    """Return what became of a prediction that a file kept, or None if nothing that makes sense."""
    kept = entry.get("outcome")
    if not isinstance(kept, dict) or kept.get("guess") is None:
        return None
    own = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items() if k != "kind"}
    try:
        made = KINDS[kept.get("kind")](**own)
        # A file may hold anything: whatever cannot be told in words is no outcome.
        words = made.guess_text and made.measured_text and made.gap_text
        fits = made.among > 1 if isinstance(made, Choice) else made.axis[0] < made.axis[1]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return made if words and fits else None


def asked(nb: "NotebookNode") -> list[re.Pattern]:
    """Return what a lesson asks to predict, in order.

    Read from the code, so that it does not depend on what was run. A number that the lesson puts
    into a question may be any.

    Parameters
    ----------
    nb : NotebookNode
        As `notebook.read` returns it.

    Returns
    -------
    list of re.Pattern
        To be compared with the whole question.
    """
    names: dict[str, str | None] = {}
    patterns = []
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:  # a learner may write what they like, magics too
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names[node.targets[0].id] = _pattern(node.value, names)
            elif isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                pattern = _pattern(node.args[0], names) if name in ASK else None
                patterns += [] if pattern is None else [re.compile(pattern, re.DOTALL)]
    return patterns


def _pattern(node: ast.expr, names: Mapping[str, str | None]) -> str | None:
    """A text in the code as a regular expression, or None if it is no text."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (_pattern(part, names) for part in node.values)
        return "".join(".+?" if part is None else part for part in parts)
    return None


# Words and numbers


def decimals(step: float) -> int:
    """Decimals that a step needs: 0 for 1 and above, 2 for 0.05."""
    return max(0, -math.floor(math.log10(step) + 1e-9))


def in_words(value: float, unit: str = "", digits: int | None = None) -> str:
    """Write a number: a real minus sign, no "-0", its unit behind it."""
    text = f"{value:g}" if digits is None else f"{value:.{digits}f}"
    text = text.replace("-", "−") if float(text) else text.removeprefix("-")
    return f"{text} {unit}".rstrip()
