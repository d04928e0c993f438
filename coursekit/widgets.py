"""Prediction prompts: commit yourself before you see the result.

In JupyterLab a prompt can be moved, drawn in or clicked, all of it by keyboard too (`predict.js`).
Where nobody can do that (a web page, a test), it is a line of text, and everything after it works
the same: `against` then tells what was measured.
"""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from coursekit import plots
from coursekit.course import learner
from coursekit.course.predictions import (
    Choice,
    Curve,
    Number,
    Outcome,
    decimals,
    facts,
    in_words,
)
from coursekit.judge import OUTCOMES, Verdict


def interactive() -> bool:
    """Return whether somebody may be there to click: a kernel, and not a batch run."""
    if os.environ.get("COURSEKIT_STATIC"):
        return False
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def predictions_file() -> Path:
    """Return where predictions are kept: `$COURSEKIT_HOME`, or `.coursekit` in the home folder."""
    return learner.file("predictions.json")


class Guess:
    """A recorded prediction: one of several options.

    Attributes
    ----------
    question : str
    options : tuple of str
    choice : str or None
        None until somebody chose.

    Examples
    --------
    >>> from coursekit.widgets import predict
    >>> guess = predict("Will dropout help?", ["yes", "no"], choice="yes")
    Predict first: Will dropout help?
        yes  |  no
    >>> guess.against("no")
    Measured: no, you predicted yes.
    """

    def __init__(self, question: str, options: tuple[str, ...], choice: str | None = None):
        self.question, self.options, self.choice = question, options, choice

    def choose(self, choice: str) -> None:
        """Record a choice; it survives restarts. Raises ValueError for an unknown option."""
        if choice not in self.options:
            raise ValueError(f"expected one of {', '.join(self.options)}, got {choice!r}")
        self.choice = choice
        _remember(self.question, choice)

    def against(self, measured: "Verdict | str") -> None:
        """Tell the measurement, beside the prediction if there is one.

        Parameters
        ----------
        measured : Verdict or str
            A string must be one of the options.

        Raises
        ------
        ValueError
            If the measurement is not among the options.
        """
        if isinstance(measured, Verdict):
            print(measured)
        answer = measured.outcome if isinstance(measured, Verdict) else measured
        if answer not in self.options:
            raise ValueError(f"expected one of {', '.join(self.options)}, got {answer!r}")
        if self.choice is None:
            plots.sentence(f"Measured: {answer}.{_no_guess()}")
        else:
            _keep(self.question, Choice(self.choice, answer, len(self.options)))
            right = "as you predicted" if self.choice == answer else f"you predicted {self.choice}"
            plots.sentence(f"Measured: {answer}, {right}.")


class NumberGuess:
    """A recorded prediction: a number.

    Attributes
    ----------
    question : str
    low, high : float
        Ends of the axis.
    unit : str
    step : float
        What one step of the slider is worth.
    choice : float or None
        None until somebody chose.

    Examples
    --------
    >>> from coursekit.widgets import predict_number
    >>> guess = predict_number("How many digits are right?", unit="%", choice=60)
    Predict first: How many digits are right? (a number from 0 to 100 %)
    >>> guess.against(81.2, 79.1, 83.3)
    You said 60 %. Measured: 81 % (79 to 83), 21 points more.
    """

    def __init__(self, question: str, low: float, high: float, unit: str, step: float):
        self.question, self.low, self.high, self.unit, self.step = question, low, high, unit, step
        self.choice: float | None = None

    def choose(self, choice: float) -> None:
        """Record a number; it survives restarts. Raises ValueError beyond the axis."""
        if not _is_number(choice) or not self.low <= choice <= self.high:
            raise ValueError(
                f"expected a number from {in_words(self.low)} to {in_words(self.high, self.unit)}, "
                f"got {choice!r}; try choice={in_words((self.low + self.high) / 2)}"
            )
        self.choice = float(choice)
        _remember(self.question, self.choice)

    def against(self, value: float, low: float | None = None, high: float | None = None) -> None:
        """Tell the measurement with its interval, and how far the prediction was from it.

        Parameters
        ----------
        value : float
            In the unit of the axis.
        low, high : float, optional
            Ends of its interval.

        Raises
        ------
        ValueError
            If a number is not finite, or the value lies outside its interval.
        """
        value, low, high = _estimate(value, low, high)
        axis = (self.low, self.high)
        outcome = Number(self.choice, value, low, high, axis, self.unit, self.step)
        measured = f"Measured: {outcome.measured_text}"
        if self.choice is None:
            plots.sentence(f"{measured}.{_no_guess()}")
            return
        _keep(self.question, outcome)
        gap = outcome.gap_text
        end = f": {gap}, well predicted!" if outcome.hit else f", {gap}."
        plots.sentence(f"You said {outcome.guess_text}. {measured}{end}")


class CurveGuess:
    """A recorded prediction: a curve.

    Attributes
    ----------
    question : str
    x : tuple of float
        Where the curve has its points.
    low, high : float
        Ends of the vertical axis.
    xlabel, ylabel : str
    log : bool
        Whether the horizontal axis is logarithmic.
    choice : tuple of float or None, or None
        One value per point, None where the reader drew nothing; None until somebody drew.

    Examples
    --------
    >>> from coursekit.widgets import predict_curve
    >>> guess = predict_curve("How does the error fall?", x=[1, 10, 100], high=1, ylabel="error")
    Predict first: How does the error fall? (draw error from 0 to 1)
    >>> guess.against([0.8, 0.3, 0.1], [0.7, 0.2, 0.1], [0.9, 0.4, 0.1])
    Measured, error: 0.80 at 1, 0.30 at 10, 0.10 at 100; lowest at 100, highest at 1.
    """

    def __init__(
        self,
        question: str,
        x: tuple[float, ...],
        low: float,
        high: float,
        xlabel: str,
        ylabel: str,
        log: bool,
    ):
        self.question, self.x, self.low, self.high = question, x, low, high
        self.xlabel, self.ylabel, self.log = xlabel, ylabel, log
        self.choice: tuple[float | None, ...] | None = None

    def choose(self, choice: Sequence[float | None]) -> None:
        """Record a curve; it survives restarts. Raises ValueError if it does not fit the frame."""
        if not self._fits(choice):
            raise ValueError(
                f"expected {len(self.x)} numbers from {in_words(self.low)} to "
                f"{in_words(self.high)} "
                f"(None leaves a point open), got {choice!r}; try one number per point of x"
            )
        self.choice = _curve(choice)
        _remember(self.question, list(choice))

    def _fits(self, choice: object) -> bool:
        return (
            isinstance(choice, list | tuple | np.ndarray)
            and len(choice) == len(self.x)
            and all(v is None or (_is_number(v) and self.low <= v <= self.high) for v in choice)
        )

    def against(
        self, ys, low=None, high=None, *, title: str = "", alt: str = "", role: str = "treated"
    ) -> None:
        """Draw the measured curve with its band, the drawn one over it, and tell their distance.

        Parameters
        ----------
        ys : (T,) array
            One measured value per point of `x`.
        low, high : (T,) arrays, optional
            Ends of the band.
        title : str
            The finding; above the figure.
        alt : str
            For those who cannot see it; made from the values by default.
        role : str
            Whose color the measured curve gets, a key of `plots.COLORS`.

        Raises
        ------
        ValueError
            If the curves do not have one value per point of `x`, or the band does not hold them.
        """
        ys = self._measured(ys, "measured values")
        if (low is None) != (high is None):
            raise ValueError("expected both ends of the band or none, got one; try low=, high=")
        band = None
        if low is not None:
            band = self._measured(low, "lower ends"), self._measured(high, "upper ends")
            if not ((band[0] <= ys) & (ys <= band[1])).all():
                raise ValueError(
                    "expected a band that holds the measured values, got one that does not; "
                    "try against(ys, low, high)"
                )
        alt = alt or self._alt(ys)
        drawn = None
        if self.choice is not None:
            drawn = np.array([np.nan if v is None else v for v in self.choice], float)
            if np.isnan(drawn).all():
                drawn = None
        with plots.figure(alt) as ax:
            self._draw(ax, ys, band, drawn, role)
            ax.set_title(title)
        if drawn is not None:
            outcome = Curve(self.choice, tuple(ys.tolist()), (self.low, self.high), self.ylabel)
            _keep(self.question, outcome)
            plots.sentence(self._distance(outcome, ys, drawn))
        elif interactive():
            plots.sentence(_no_guess().strip())

    def _measured(self, values, name: str) -> np.ndarray:
        values = np.asarray(values, float)
        if values.shape != (len(self.x),) or not np.isfinite(values).all():
            raise ValueError(
                f"expected {len(self.x)} finite {name}, one per point of x, got an array of shape "
                f"{values.shape}; try the mean over the seeds"
            )
        return values

    def _draw(self, ax, ys, band, drawn, role) -> None:
        own, other = plots.COLORS[role], plots.COLORS["other"]
        if band is not None:
            ax.fill_between(self.x, *band, color=own, alpha=0.2, linewidth=0)
        markers = {"marker": "o", "markersize": 5} if len(self.x) <= plots.FEW else {}
        if self.log:
            ax.set_xscale("log")
        ax.plot(self.x, ys, color=own, **markers)
        plots.beside(ax, "measured", (self.x[-1], ys[-1]), role)
        if drawn is not None:
            ax.plot(self.x, drawn, "--", color=other, **(markers and {**markers, "marker": "s"}))
            last = int(np.flatnonzero(~np.isnan(drawn))[-1])
            near = abs(drawn[last] - ys[-1]) < 0.07 * (self.high - self.low)
            below = drawn[last] < ys[-1] or (drawn[last] == ys[-1] and ys[-1] > self.low)
            shift = (0 if not near else -12 if below else 12) if last == len(self.x) - 1 else 0
            plots.beside(ax, "your guess", (self.x[last], drawn[last]), "other", shift=shift)
        ax.set_ylim(self.low, self.high)
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel)

    def _alt(self, ys: np.ndarray) -> str:
        digits = decimals((self.high - self.low) / 100)
        places = dict.fromkeys((0, len(ys) // 2, len(ys) - 1))
        values = ", ".join(
            f"{in_words(ys[i], digits=digits)} at {in_words(self.x[i])}" for i in places
        )
        name = f"Measured, {self.ylabel}" if self.ylabel else "Measured"
        lowest, highest = (in_words(self.x[int(i)]) for i in (ys.argmin(), ys.argmax()))
        return f"{name}: {values}; lowest at {lowest}, highest at {highest}."

    def _distance(self, outcome: Curve, ys: np.ndarray, drawn: np.ndarray) -> str:
        digits = decimals((self.high - self.low) / 100)
        most = int(np.nanargmax(outcome.distances))
        open_points = int(np.isnan(drawn).sum())
        rest = f" ({open_points} points were left open.)" if open_points else ""
        if outcome.hit:
            return f"Your curve lies on the measured one: {outcome.gap_text}.{rest}"
        return (
            f"Your curve is {outcome.gap_text.replace(' away', ' away from the measured one')}, "
            f"and furthest at {in_words(self.x[most])}: you drew "
            f"{in_words(drawn[most], digits=digits)}, "
            f"measured was {in_words(ys[most], digits=digits)}.{rest}"
        )


def predict(
    question: str,
    options: "Sequence[str] | Mapping[str, str | tuple[str, str]]" = OUTCOMES,
    *,
    choice: str | None = None,
) -> Guess:
    """Ask for a prediction among several words or pictures.

    Parameters
    ----------
    question : str
        It is also the name under which the choice is kept.
    options : sequence of str, or mapping of str to SVG or to (SVG, alt)
        At least two different ones; the outcomes of a verdict by default. A mapping shows a picture
        (see `plots.svg`) per label; its alternative text is the label unless given.
    choice : str, optional
        For those who would rather type than click.

    Returns
    -------
    Guess
        Its `against` tells the measurement beside it.

    Raises
    ------
    ValueError
        If there are fewer than two options, a picture is no SVG, or `choice` is none of them.

    Examples
    --------
    >>> from coursekit.widgets import predict
    >>> guess = predict("Will dropout help?", ["yes", "no"])
    Predict first: Will dropout help?
        yes  |  no
    >>> guess.against("yes")
    Measured: yes.
    """
    labels = tuple(options)
    if len(set(labels)) < 2:
        raise ValueError(f"expected at least two different options, got {labels}")
    pictures = _pictures(options) if isinstance(options, Mapping) else {}
    guess = Guess(question, labels)
    if choice is not None:
        guess.choose(choice)
    elif (earlier := _recalled(question)) in labels:
        guess.choice = earlier
    if interactive():
        shown = [
            {"label": name}
            | ({"svg": pictures[name][0], "alt": pictures[name][1]} if pictures else {})
            for name in labels
        ]
        _show_prompt("choice", guess, options=shown)
        return guess
    words = f"Predict first: {question}\n    " + "  |  ".join(labels)
    if pictures:
        plots.rich(_side_by_side(question, pictures), words)
    else:
        plots.rich(_listed(question, labels), words, kind="text/markdown")
    return guess


def predict_number(
    question: str,
    *,
    low: float = 0,
    high: float = 100,
    unit: str = "",
    step: float | None = None,
    choice: float | None = None,
) -> NumberGuess:
    """Ask for a prediction of a number on an axis.

    Parameters
    ----------
    question : str
        It is also the name under which the number is kept.
    low, high : float
        Ends of the axis.
    unit : str
        Such as "%" or "epochs".
    step : float, optional
        Of the slider; about a hundredth of the axis by default.
    choice : float, optional
        For those who would rather type than slide.

    Returns
    -------
    NumberGuess
        Its `against(value, low, high)` tells the measurement, its interval and how far it was.

    Raises
    ------
    ValueError
        If the axis has no length, the step does not fit, or `choice` lies beyond the axis.

    Examples
    --------
    >>> from coursekit.widgets import predict_number
    >>> guess = predict_number("How many digits are right?", unit="%")
    Predict first: How many digits are right? (a number from 0 to 100 %)
    >>> guess.against(81.2, 79.1, 83.3)
    Measured: 81 % (79 to 83).
    """
    _check_axis(low, high)
    step = _nice((high - low) / 100) if step is None else step
    if not _is_number(step) or not 0 < step <= high - low:
        raise ValueError(
            f"expected a step above 0 and at most {in_words(high - low)}, got {step!r}; "
            f"try step={in_words(_nice((high - low) / 100))}"
        )
    guess = NumberGuess(question, float(low), float(high), unit, float(step))
    if choice is not None:
        guess.choose(choice)
    elif _is_number(earlier := _recalled(question)) and low <= earlier <= high:
        guess.choice = float(earlier)
    if interactive():
        _show_prompt("number", guess, low=low, high=high, step=step, unit=unit)
    else:
        _show_line(question, f"a number from {in_words(low)} to {in_words(high, unit)}")
    return guess


def predict_curve(
    question: str,
    *,
    x: Sequence[float],
    low: float = 0,
    high: float = 1,
    xlabel: str = "",
    ylabel: str = "",
    log: bool = False,
    choice: Sequence[float] | None = None,
) -> CurveGuess:
    """Ask for a prediction of a curve, to be drawn into an empty frame.

    Parameters
    ----------
    question : str
        It is also the name under which the curve is kept.
    x : (T,) sequence of float
        Where the curve has its points, rising; two to about twenty.
    low, high : float
        Ends of the vertical axis.
    xlabel, ylabel : str
        With units.
    log : bool
        Whether the horizontal axis is logarithmic.
    choice : (T,) sequence of float, optional
        For those who would rather type than draw.

    Returns
    -------
    CurveGuess
        Its `against(ys, low, high)` draws the measured curve under it.

    Raises
    ------
    ValueError
        If `x` does not rise, the axis has no length, or `choice` does not fit the frame.

    Examples
    --------
    >>> from coursekit.widgets import predict_curve
    >>> guess = predict_curve("How does the error fall?", x=[1, 10, 100], high=1, ylabel="error")
    Predict first: How does the error fall? (draw error from 0 to 1)
    """
    x = tuple(float(v) for v in x)
    rising = all(a < b for a, b in pairwise(x)) and all(map(math.isfinite, x))
    if len(x) < 2 or not rising or (log and x[0] <= 0):
        above = " above 0" if log else ""
        raise ValueError(
            f"expected at least two rising points{above}, got x={x}; try x=[0, 0.25, 0.5, 0.75, 1]"
        )
    _check_axis(low, high)
    guess = CurveGuess(question, x, float(low), float(high), xlabel, ylabel, log)
    if choice is not None:
        guess.choose(choice)
    elif guess._fits(earlier := _recalled(question)):
        guess.choice = _curve(earlier)
    if interactive():
        frame = {"xlabel": xlabel, "ylabel": ylabel, "log": log}
        _show_prompt("curve", guess, x=list(x), low=low, high=high, **frame)
    else:
        over = f" over {xlabel}" if xlabel else ""
        what = ylabel or "a curve"
        _show_line(question, f"draw {what} from {in_words(low)} to {in_words(high)}{over}")
    return guess


# Prompts


@cache
def _prompt() -> type:
    """The widget of all prompts; built when somebody is there, as its packages take a second."""
    import anywidget
    import traitlets

    from coursekit.explorers import with_kit

    class Prompt(anywidget.AnyWidget):
        _esm = with_kit(Path(__file__).with_name("predict.js"))
        kind = traitlets.Unicode().tag(sync=True)
        question = traitlets.Unicode().tag(sync=True)
        value = traitlets.Any(None, allow_none=True).tag(sync=True)
        options = traitlets.List().tag(sync=True)
        x = traitlets.List().tag(sync=True)
        low = traitlets.Float(0).tag(sync=True)
        high = traitlets.Float(1).tag(sync=True)
        step = traitlets.Float(0.01).tag(sync=True)
        unit = traitlets.Unicode().tag(sync=True)
        xlabel = traitlets.Unicode().tag(sync=True)
        ylabel = traitlets.Unicode().tag(sync=True)
        log = traitlets.Bool(False).tag(sync=True)

        def __repr__(self) -> str:
            return f"Predict first: {self.question}"

    return Prompt


def _show_prompt(kind: str, guess: "Guess | NumberGuess | CurveGuess", **settings) -> None:
    from IPython.display import display

    value = list(guess.choice) if isinstance(guess.choice, tuple) else guess.choice
    prompt = _prompt()(kind=kind, question=guess.question, value=value, **settings)
    prompt.observe(lambda change: guess.choose(change["new"]), "value")
    display(prompt)


def _show_line(question: str, how: str) -> None:
    plots.rich(
        f"**Predict first:** {question} ({how})",
        f"Predict first: {question} ({how})",
        kind="text/markdown",
    )


def _listed(question: str, labels: Sequence[str]) -> str:
    return "\n".join([f"**Predict first:** {question}", "", *(f"- {name}" for name in labels)])


def _pictures(options: Mapping[str, "str | tuple[str, str]"]) -> dict[str, tuple[str, str]]:
    pictures = {}
    for label, picture in options.items():
        svg, alt = (picture, label) if isinstance(picture, str) else picture
        start = svg.find("<svg")
        if start < 0:
            raise ValueError(
                f"expected an SVG picture for {label!r}, got {svg[:40]!r}; try plots.svg(figure)"
            )
        pictures[label] = svg[start:], alt
    return pictures


def _side_by_side(question: str, pictures: Mapping[str, tuple[str, str]]) -> str:
    figures = "".join(
        f'<figure style="margin:0 12px 12px 0;display:inline-block;width:30%;min-width:200px">'
        f"{plots.image(svg, alt)}<figcaption>{escape(label)}</figcaption></figure>"
        for label, (svg, alt) in pictures.items()
    )
    return f"<p><strong>Predict first:</strong> {escape(question)}</p><div>{figures}</div>"


# Memory


def _recalled(question: str) -> object:
    """What was kept of an earlier session; a stored output must not depend on who ran it."""
    return (
        learner.recall(predictions_file()).get(question, {}).get("choice")
        if interactive()
        else None
    )


def _remember(question: str, choice: object) -> None:
    path = predictions_file()
    try:
        learner.remember(path, question, choice=choice)
    except OSError as error:
        warnings.warn(
            f"the prediction counts in this session but was not kept: {path} ({error}); "
            "set COURSEKIT_HOME to a folder that you may write",
            stacklevel=3,
        )


def _keep(question: str, outcome: Outcome) -> None:
    """Keep what was measured beside the first guess that meets it: a later one knows the answer."""
    path = predictions_file()
    if "outcome" not in learner.recall(path).get(question, {}):
        with suppress(OSError):  # `choose` has told that nothing can be kept
            learner.remember(path, question, outcome=facts(outcome))


# Words and numbers


def _no_guess() -> str:
    """What is said where somebody could have guessed; a page has no reader to blame."""
    return " (You made no guess.)" if interactive() else ""


def _curve(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if v is None else float(v) for v in values)


def _is_number(value: object) -> bool:
    kinds = int | float | np.integer | np.floating
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)


def _check_axis(low: float, high: float) -> None:
    if not (_is_number(low) and _is_number(high) and low < high):
        raise ValueError(
            f"expected an axis with low below high, got low={low!r}, high={high!r}; "
            "try low=0, high=100"
        )


def _estimate(value, low, high) -> tuple[float, float | None, float | None]:
    if (low is None) != (high is None):
        raise ValueError("expected both ends of the interval or none, got one; try low=, high=")
    given = [value] if low is None else [value, low, high]
    if not all(_is_number(v) for v in given):
        raise ValueError(f"expected finite numbers, got {given}; try float(...)")
    if low is not None and not low <= value <= high:
        raise ValueError(
            f"expected a value inside its interval, got {value} and {low} to {high}; "
            "try against(value, low, high)"
        )
    return tuple(map(float, given)) if low is not None else (float(value), None, None)


def _nice(width: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    ten = 10 ** math.floor(math.log10(width) + 1e-9)
    return next(m * ten for m in (1, 2, 5, 10) if m * ten >= width * 0.999)
