"""Prediction prompts: commit yourself before you see the result.

In JupyterLab a prompt is a row of buttons. Where nobody can click (a web page, a test), it is a
line of text, and everything after it works the same.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from coursekit.claims import Claim
from coursekit.course import learner
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
    """A recorded prediction.

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

    def against(self, measured: "Verdict | Claim | str") -> None:
        """Print the measurement beside the prediction.

        Parameters
        ----------
        measured : Verdict, Claim or str
            A string must be one of the options.

        Raises
        ------
        ValueError
            If the measurement is not among the options.
        """
        if isinstance(measured, Verdict | Claim):
            print(measured)
        answer = _answer(measured)
        if answer not in self.options:
            raise ValueError(f"expected one of {', '.join(self.options)}, got {answer!r}")
        if self.choice is None:
            print(f"Measured: {answer}. (No prediction recorded.)")
        else:
            right = "as you predicted" if self.choice == answer else f"you predicted {self.choice}"
            print(f"Measured: {answer}, {right}.")


def predict(
    question: str, options: Sequence[str] = OUTCOMES, *, choice: str | None = None
) -> Guess:
    """Ask for a prediction and keep it.

    Parameters
    ----------
    question : str
        Also the key under which the choice is kept, so ask each question once.
    options : sequence of str
        The outcomes of a verdict by default.
    choice : str, optional
        For those who would rather type than click.

    Returns
    -------
    Guess
        Its `against` prints the measurement beside it.

    Raises
    ------
    ValueError
        If there are fewer than two options, or `choice` is none of them.

    Examples
    --------
    >>> from coursekit.widgets import predict
    >>> guess = predict("Will dropout help?", ["yes", "no"])
    Predict first: Will dropout help?
        yes  |  no
    >>> guess.against("yes")
    Measured: yes. (No prediction recorded.)
    """
    options = tuple(options)
    if len(set(options)) < 2:
        raise ValueError(f"expected at least two different options, got {options}")
    guess = Guess(question, options)
    if choice is not None:
        guess.choose(choice)
    elif interactive():
        earlier = learner.recall(predictions_file()).get(question, {}).get("choice")
        guess.choice = earlier if earlier in options else None
    if interactive():
        _show_buttons(guess)
    else:
        print(f"Predict first: {question}\n    " + "  |  ".join(options))
    return guess


def _show_buttons(guess: Guess) -> None:
    import ipywidgets
    from IPython.display import display

    buttons = ipywidgets.ToggleButtons(
        options=list(guess.options),
        value=guess.choice,
        style=ipywidgets.ToggleButtonsStyle(button_width="auto"),
    )
    buttons.observe(lambda change: guess.choose(change["new"]) if change["new"] else None, "value")
    label = ipywidgets.HTML(f"<b>Predict first:</b> {guess.question}")
    display(ipywidgets.VBox([label, buttons]))


def _answer(measured: "Verdict | Claim | str") -> str:
    if isinstance(measured, Verdict):
        return measured.outcome
    return measured.judgement if isinstance(measured, Claim) else measured


def _remember(question: str, choice: str) -> None:
    path = predictions_file()
    try:
        learner.remember(path, question, choice=choice)
    except OSError as error:
        warnings.warn(
            f"the prediction counts in this session but was not kept: {path} ({error}); "
            "set COURSEKIT_HOME to a folder that you may write",
            stacklevel=3,
        )
