"""The playground as one sees it: a form, live curves, verdicts and the list of what was tried."""

import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from coursekit.course import learner
from coursekit.playground.session import Session
from coursekit.playground.setting import MODELS, NOISE, OFF, POOLS, STRENGTHS, Setting, unavailable
from coursekit.results.runs import Runs

HOME = Path(__file__).resolve().parent
SEEDS, EPOCHS = (8, 4, 16, 24), (60, 30, 120, 240)
STATIC = (
    "The playground is alive in JupyterLab only: open this page there, click on the cell, and "
    "press Shift + Enter."
)


def tried_file() -> Path:
    """Return where the list of what was tried is kept."""
    return learner.file("playground.json")


class Playground:
    """A form to set regularizers, and what comes of it; the last line of a cell shows it.

    Attributes
    ----------
    setting : Setting
        What the form says.
    tried : list of dict
        One row per training; `pandas.DataFrame(play.tried)` is a table. Kept from one day to the
        next.
    plain, treated : Runs or None
        Trained networks of the last training, without and with what was switched on.
    """

    def __init__(self, setting: Setting):
        self.setting = setting
        kept = [] if os.environ.get("COURSEKIT_STATIC") else _recalled()
        self._session = Session(self._changed, kept)
        self._n_kept = len(kept)
        self._widget = None
        self._lock = threading.RLock()  # the page and the training both change what is shown

    @property
    def tried(self) -> list[dict]:
        return [dict(row) for row in self._session.tried]

    @property
    def plain(self) -> Runs | None:
        return self._session.plain

    @property
    def treated(self) -> Runs | None:
        return self._session.treated

    @property
    def code(self) -> str:
        """Lines of Python that do the same: of what was trained last, until the form is changed."""
        return self._session.run.get("code") or self.setting.code()

    @property
    def say(self) -> str:
        """The last sentence about what trains or was trained."""
        return self._session.say

    def start(self, **changes) -> None:
        """Begin to train the setting, with `changes` to it; the kernel stays free meanwhile.

        Raises
        ------
        ValueError
            If the setting does not fit together.
        RuntimeError
            If something trains already.
        """
        setting = replace(self.setting, **changes)
        self._session.start(setting)
        self.setting = setting

    def change(self, **strengths: float) -> None:
        """Change strengths while it trains, from the next epoch on; of several the last counts.

        Raises
        ------
        ValueError
            If there is no such strength, it does not fit, or it is fixed while something trains.
        """
        setting = replace(self.setting, **strengths)
        self._session.change(**strengths)
        self.setting = setting

    def stop(self) -> None:
        """Stop after the epoch that is under way."""
        self._session.stop()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until nothing trains."""
        self._session.wait(seconds)

    def forget(self) -> None:
        """Empty the list of what was tried. The seeds that you looked at do not become new."""
        self._session.tried, self._n_kept = [], 0
        tried_file().unlink(missing_ok=True)
        self._changed()

    def __repr__(self) -> str:
        given = repr(self.setting).removeprefix("Setting")
        return f"playground.show{given}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        from coursekit.widgets import interactive

        if not interactive():
            return {"text/plain": STATIC, "text/html": f"<p>{STATIC}</p>"}
        if self._widget is None:
            self._widget = _widget()(facts=facts(self.setting), form=_form(self.setting))
            self._widget.on_msg(self._heard)
            self._changed()
        live = self._widget._repr_mimebundle_()
        shown = dict(live[0] if isinstance(live, tuple) else live or {})
        return shown | {"text/plain": STATIC}

    def _changed(self) -> None:
        """Keep new rows, and send what there is to see."""
        with self._lock:
            rows = self._session.tried
            for row in rows[self._n_kept :]:
                _keep(row)
            self._n_kept = len(rows)
            if (widget := self._widget) is None:
                return
            hidden = ("differences", "code")
            with widget.hold_sync():
                widget.tried = [{k: v for k, v in row.items() if k not in hidden} for row in rows]
                widget.run, widget.say = self._session.run, self._session.say
                widget.busy, widget.code = self._session.busy, self.code

    def _heard(self, widget, content: Mapping, buffers) -> None:
        """Do what the page asks for; what does not fit is answered with a sentence."""
        do = content.get("do")
        try:
            if do == "train":
                setting = Setting(**content["form"])
                self._session.start(setting)
                self.setting = setting
            elif do == "form" and not self._session.busy:
                self.setting = Setting(**content["form"])
                self._session.run = self._session.run | {"code": None}
                self._widget.form = _form(self.setting)
                self._changed()
            elif do == "change":
                self.change(**content["strengths"])
            elif do == "stop":
                self.stop()
            elif do == "forget":
                self.forget()
            elif do == "code":
                self._widget.code = self._session.tried[content["row"]]["code"]
        except (ValueError, TypeError, RuntimeError) as error:
            self._session.say = f"{str(error)[:1].upper()}{str(error)[1:]}."
            self._changed()


def show(**setting) -> Playground:
    """Show the playground; in JupyterLab one sets, trains, and watches.

    Parameters
    ----------
    **setting
        How the form opens, as for `Setting`: `playground.show(data="moons", dropout=0.5)`.

    Returns
    -------
    Playground
        What was tried can be read from it: `play = playground.show()`, then `play`, and later
        `play.tried`.

    Raises
    ------
    ValueError
        If the setting does not fit together.

    Examples
    --------
    >>> from coursekit import playground
    >>> playground.show(dropout=0.5)
    playground.show(dropout=0.5)
    """
    return Playground(Setting(**setting))


def facts(setting: Setting) -> dict:
    """What the form offers; what a setting asks for beyond the usual is offered, too."""

    def with_own(stops: tuple, own: float) -> list:
        # In the order of growing strength: survival falls.
        down = len(stops) > 1 and stops[0] > stops[-1]
        return sorted({*stops, own}, reverse=down)

    pools = {
        name: {
            "words": pool.words,
            "n_train": sorted({*pool.n_train, *([setting.n_train] * (name == setting.data))}),
            "usual": pool.n_train[0],
            "n_val": pool.n_val,
            "models": {model: unavailable(name, model) for model in pool.models},
        }
        for name, pool in POOLS.items()
    }
    strengths = {
        name: {
            "words": own.words,
            "stops": with_own(own.stops, getattr(setting, name)),
            "live": own.live,
            "off": OFF[name],
        }
        for name, own in STRENGTHS.items()
    }
    return {
        "pools": pools,
        "models": MODELS,
        "strengths": strengths,
        "label_noise": sorted({*NOISE, setting.label_noise}),
        "n_seeds": sorted({*SEEDS, setting.n_seeds}),
        "epochs": sorted({*EPOCHS, setting.epochs}),
    }


def _form(setting: Setting) -> dict:
    return dict(vars(setting))


def _recalled() -> list[dict]:
    kept = learner.recall(tried_file())
    rows = [{k: v for k, v in kept[name].items() if k != "when"} for name in sorted(kept)]
    return [row for row in rows if {"differences", "setting", "code"} <= row.keys()]


def _keep(row: dict) -> None:
    path = tried_file()
    n = len(learner.recall(path))
    try:
        learner.remember(path, f"{n:06}", **row)
    except OSError as error:
        warnings.warn(
            f"this try counts in this session but was not kept: {path} ({error}); set "
            "COURSEKIT_HOME to a folder that you may write",
            stacklevel=2,
        )


@cache
def _widget() -> type:
    import anywidget
    import traitlets

    from coursekit.explorers import with_kit

    class Board(anywidget.AnyWidget):
        _esm = with_kit(HOME / "board.js")
        facts = traitlets.Dict().tag(sync=True)
        form = traitlets.Dict().tag(sync=True)
        run = traitlets.Dict().tag(sync=True)
        tried = traitlets.List().tag(sync=True)
        busy = traitlets.Bool(False).tag(sync=True)
        say = traitlets.Unicode().tag(sync=True)
        code = traitlets.Unicode().tag(sync=True)

    return Board
