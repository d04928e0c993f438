"""A session in the playground: one training at a time, in a thread, and a list of what was tried.

Whoever watches (a widget, a test) is called back after every change, from whatever thread it came.
What is handed out are plain lists and words, so that it can be sent to a browser as it is.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from coursekit.engine.devices import kept_pages
from coursekit.intervals import paired_interval, t_interval
from coursekit.judge import METRICS
from coursekit.playground.setting import STRENGTHS, Setting, told
from coursekit.playground.training import Training
from coursekit.plots import word
from coursekit.results.runs import Runs

METRIC = {"acc": METRICS["accuracy"], "loss": METRICS["nll"]}
BETTER = {"acc": +1, "loss": -1}
COMPARED = ("to the end", "both stopped", "early stopping alone")
PAUSE = 0.1  # seconds from one picture to the next
MOST_PLAIN = 16  # plain networks whose curves are kept


@dataclass(frozen=True)
class Curves:
    """What training left behind of one side: (S, T) arrays by name."""

    values: dict[str, np.ndarray]

    @classmethod
    def of(cls, rows: Sequence[dict[str, np.ndarray]]) -> "Curves":
        names = ("train_loss", "train_acc", "val_loss", "val_acc")
        return cls({name: np.stack([row[name] for row in rows], 1) for name in names})

    @property
    def n_epochs(self) -> int:
        return self.values["val_loss"].shape[1]

    def until(self, epoch: int) -> "Curves":
        return Curves({name: curve[:, :epoch] for name, curve in self.values.items()})

    @property
    def best(self) -> np.ndarray:
        """Epoch of the lowest validation loss of each seed, counted from 0: (S,)."""
        return np.where(np.isfinite(v := self.values["val_loss"]), v, np.inf).argmin(1)

    def at_end(self, metric: str) -> np.ndarray:
        return self.values[f"val_{metric}"][:, -1]

    def at_best(self, metric: str) -> np.ndarray:
        return np.take_along_axis(self.values[f"val_{metric}"], self.best[:, None], 1)[:, 0]

    @property
    def diverged(self) -> int:
        """How many networks have a loss that stopped being finite."""
        return int((~np.isfinite(self.values["train_loss"])).any(1).sum())


class Session:
    """What is tried, one training after another.

    Attributes
    ----------
    tried : list of dict
        One row per training: what was switched on, on which data and seeds, and what came out.
    plain, treated : Runs or None
        Trained networks of the last training, without and with what was switched on.
    say : str
        The last sentence about it.
    """

    def __init__(self, watch: Callable[[], None] = lambda: None, tried: Sequence[dict] = ()):
        self.watch = watch
        self.tried = counted(tried)
        self.plain: Runs | None = None
        self.treated: Runs | None = None
        self.say = "Switch something on, and train."
        self.run: dict = {}
        self._kept: dict[Setting, Runs] = {}
        self._lock = threading.RLock()
        self._wanted: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None

    def start(self, setting: Setting) -> None:
        """Begin to train; `wait` waits for the end.

        Raises
        ------
        RuntimeError
            If something trains already.
        """
        with self._lock:
            if self.busy:
                raise RuntimeError("expected an idle playground, got one that trains; try stop()")
            self._wanted, self._stop = {}, threading.Event()
            self._thread = threading.Thread(target=self._guarded, args=(setting,), daemon=True)
            self._thread.start()

    def change(self, **strengths: float) -> None:
        """Change strengths of what trains now, from the next epoch on; of several the last counts.

        Raises
        ------
        ValueError
            If there is no such strength, or it is fixed while something trains.
        """
        for name in strengths:
            if name not in STRENGTHS or not STRENGTHS[name].live:
                live = ", ".join(n for n, strength in STRENGTHS.items() if strength.live)
                raise ValueError(
                    f"expected strengths that can change while it trains ({live}), got {name!r}; "
                    "stop first"
                )
        with self._lock:
            self._wanted |= strengths

    def stop(self) -> None:
        """End the training after the epoch that is under way."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until nothing trains."""
        if thread := self._thread:
            thread.join(seconds)

    # In the thread

    def _guarded(self, setting: Setting) -> None:
        try:
            with kept_pages():
                self._train(setting)
        except Exception as error:  # a thread that dies would leave a page that waits for ever
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            self._tell(f"It could not be trained: {reason}", status="failed")
        finally:
            with self._lock:
                self._thread = None
            self.watch()

    def _train(self, setting: Setting) -> None:
        kept = self._kept.get(setting.plain)
        n = setting.n_seeds
        self.run = {"epochs": setting.epochs, "status": "training", "done": 0}
        self._tell(
            f"Training {n} networks without and {n} with {_switched(setting)}, on the same rows."
            if kept is None
            else f"Training {n} networks with {_switched(setting)}; those without are trained."
        )
        plain = None if kept else Training(setting.plain)
        treated = Training(setting)
        shown, told_at = 0.0, 0
        while not treated.done and not self._stop.is_set():
            changed = self._take_wishes(treated)
            if plain is not None:
                plain.epoch()
            treated.epoch()
            now, done = time.monotonic(), treated.n_epochs
            if changed or now - shown > PAUSE or treated.done:
                shown = now
                sides = self._sides(plain, kept, treated)
                self._show(treated, *sides)
                quarter = 4 * done // setting.epochs
                if quarter > told_at or changed:
                    told_at = quarter
                    self.say = _progress(treated, *sides)
                self.watch()
        if treated.n_epochs == 0:
            self._tell("Stopped before the first epoch was over.", status="stopped")
            return
        self._finish(treated, *self._sides(plain, kept, treated))
        self.treated = treated.runs()
        self.plain = plain.runs() if plain is not None else kept
        if plain is not None and plain.done:
            self._kept[setting.plain] = self.plain
            if len(self._kept) > MOST_PLAIN:
                self._kept.pop(next(iter(self._kept)))

    def _take_wishes(self, treated: Training) -> bool:
        """Apply what was asked for since the last epoch; whether something changed."""
        with self._lock:
            wanted, self._wanted = self._wanted, {}
        before = treated.setting
        try:
            treated.change(**wanted)
        except ValueError as error:
            self._tell(f"Left as it was: {error}")
        return treated.setting != before

    def _sides(self, plain, kept, treated) -> tuple[Curves, Curves]:
        """Curves without and with; those without go to the end if they were trained before."""
        without = Curves.of(plain.history.curves) if kept is None else Curves(kept.curves)
        return without, Curves.of(treated.history.curves)

    def _show(self, treated: Training, without: Curves, with_it: Curves) -> None:
        done = with_it.n_epochs
        self.run = {
            "epochs": treated.setting.epochs,
            "done": done,
            "status": "training",
            "words": treated.setting.words,
            "seeds": _seeds(treated.setting),
            "changes": [
                [epoch, ", ".join(told(n, v) for n, v in values.items())]
                for epoch, values in sorted(treated.changes.items())
            ],
            "plain": _summary(without),
            "treated": _summary(with_it),
            "difference": _difference(without.until(done), with_it),
            "code": treated.start.code(treated.changes),
        }

    def _finish(self, treated: Training, without: Curves, with_it: Curves) -> None:
        setting, done = treated.setting, with_it.n_epochs
        self._show(treated, without, with_it)
        without = without.until(done)
        verdicts, effects = _verdicts(without, with_it)
        start = replace(treated.start, epochs=done) if done < setting.epochs else treated.start
        self.run |= {
            "status": "done" if treated.done else "stopped",
            "verdicts": verdicts,
            "code": start.code(treated.changes),
        }
        self.say = _conclusion(treated, verdicts, with_it)
        if treated.start.on or treated.changes:  # else there is nothing that was tried
            self._add_row(treated, start, without, with_it, effects)

    def _add_row(self, treated, start, without, with_it, effects) -> None:
        words = start.words
        for epoch, values in sorted(treated.changes.items()):
            words += f"; from epoch {epoch} {', '.join(told(n, v) for n, v in values.items())}"
        percent = 100 * with_it.at_end("acc").mean(), 100 * with_it.at_best("acc").mean()
        row = {
            "try": len(self.tried) + 1,
            "with": words,
            "data": start.data,
            "n_train": start.n_train,
            "label_noise": start.label_noise,
            "model": start.model,
            "epochs": start.epochs,
            "seeds": _seeds(start),
            "plain_accuracy": round(100 * float(without.at_end("acc").mean()), 2),
            "accuracy": round(float(percent[0]), 2),
            "accuracy_stopped": round(float(percent[1]), 2),
            "best_epoch": float(np.median(with_it.best)) + 1,
            "diverged": with_it.diverged,
        }
        row |= _effect_words("", effects["to the end"])
        row |= _effect_words("stopped_", effects["both stopped"])
        row["differences"] = [round(float(d), 3) for d in effects["to the end"]]
        row["setting"] = vars(treated.start)
        row["code"] = start.code(treated.changes)
        self.tried = counted([*self.tried, row])

    def _tell(self, say: str, **run: object) -> None:
        self.say = say
        self.run = self.run | run
        self.watch()


def _switched(setting: Setting) -> str:
    return setting.words if setting.on else "the same: nothing is switched on yet"


def _seeds(setting: Setting) -> str:
    return f"{setting.first_seed} to {setting.first_seed + setting.n_seeds - 1}"


def _list(values: np.ndarray) -> list[float | None]:
    """Numbers as JSON knows them."""
    return [round(float(v), 5) if np.isfinite(v) else None for v in values]


def _summary(curves: Curves) -> dict:
    """Mean, lowest and highest seed of every curve, and where the validation loss was lowest."""
    shown: dict = {
        name: [_list(v) for v in (curve.mean(0), curve.min(0), curve.max(0))]
        for name, curve in curves.values.items()
    }
    best = curves.best + 1
    return shown | {"best": [float(np.median(best)), int(best.min()), int(best.max())]}


def _difference(without: Curves, with_it: Curves) -> dict:
    """Mean paired difference of every epoch with its interval, in the printed unit."""
    out = {}
    for metric, (_, scale, *_) in METRIC.items():
        d = scale * (with_it.values[f"val_{metric}"] - without.values[f"val_{metric}"])
        rows = [t_interval(v, 0.95) if np.isfinite(v).all() else (np.nan,) * 3 for v in d.T]
        out[metric] = [_list(v) for v in np.array(rows).T]
    return out


def _verdicts(without: Curves, with_it: Curves) -> tuple[dict, dict]:
    """Three comparisons per metric, and the differences of every seed in points of accuracy."""
    found: dict = {}
    effects = {}
    for metric, (unit, scale, smallest, *_) in METRIC.items():
        sides = (
            (without.at_end(metric), with_it.at_end(metric)),
            (without.at_best(metric), with_it.at_best(metric)),
            (without.at_end(metric), without.at_best(metric)),
        )
        found[metric] = []
        for name, (control, treated) in zip(COMPARED, sides, strict=True):
            if metric == "acc":
                effects[name] = scale * (treated - control)
            if not np.isfinite([control, treated]).all():
                found[metric].append({"name": name, "word": "diverged"})
                continue
            if np.array_equal(control, treated):
                found[metric].append({"name": name, "word": "the same"})
                continue
            mean, low, high = paired_interval(scale * control, scale * treated)
            said = word(low, high, smallest, BETTER[metric])
            ends = _list(np.array([mean, low, high]))
            found[metric].append(
                {"name": name, "word": said, "effect": ends, "unit": unit, "smallest": smallest}
            )
    return found, effects


def counted(rows: Sequence[dict]) -> list[dict]:
    """Rows with the interval of each widened by the number of tries on its question and seeds.

    Bonferroni: all intervals of such a group hold together with 95 %, if what was tried had been
    chosen beforehand. A row whose seeds nobody has looked at stands for itself.
    """

    def asked(row: dict) -> tuple[tuple, set[int]]:
        setting = row["setting"]
        first = setting["first_seed"]
        question = tuple(setting[k] for k in ("data", "n_train", "label_noise", "model"))
        return question, set(range(first, first + setting["n_seeds"]))

    out = []
    for row in rows:
        question, seeds = asked(row)
        n = sum(q == question and bool(s & seeds) for q, s in map(asked, rows))
        wide = _effect_words("together_", np.array(row["differences"]), n)
        out.append(row | wide | {"tries_on_these_seeds": n})
    return out


def _effect_words(prefix: str, differences: np.ndarray, n: int = 1) -> dict:
    """A row's interval in points of accuracy, wide enough to hold among n, and its word."""
    mean, low, high = t_interval(differences, 1 - 0.05 / n)
    ends = {"low": round(low, 2), "high": round(high, 2)}
    ends |= {"word": word(low, high, METRIC["acc"].smallest)}
    ends |= {} if n > 1 or prefix == "together_" else {"difference": round(mean, 2)}
    return {f"{prefix}{name}": value for name, value in ends.items()}


def _signed(value: float, digits: int = 1) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def _progress(treated: Training, without: Curves, with_it: Curves) -> str:
    done, setting = with_it.n_epochs, treated.setting
    now = f"Epoch {done} of {setting.epochs}"
    if latest := treated.changes.get(done):
        now += f", with {', '.join(told(n, v) for n, v in latest.items())} from here on"
    a, b = (100 * side.until(done).at_end("acc").mean() for side in (without, with_it))
    return f"{now}: {a:.0f} % right without, {b:.0f} % with it, on validation data."


def _conclusion(treated: Training, verdicts: dict, with_it: Curves) -> str:
    setting, done = treated.setting, with_it.n_epochs
    if with_it.diverged:
        return (
            f"The loss of {with_it.diverged} of {setting.n_seeds} networks stopped being finite: "
            "there is nothing to compare. Try weaker strengths."
        )
    end, stopped, alone = verdicts["acc"]
    if not treated.start.on and not treated.changes:
        return (
            "Nothing was switched on, so both sides are the same. "
            f"What early stopping alone does to them: {alone['word']}{_numbers(alone, ' points')}."
        )
    name = treated.start.words if treated.start.on and not treated.changes else "what you did"
    when = f"After {done} epochs" if treated.done else f"Stopped after epoch {done}"
    n = f"95 % interval, {setting.n_seeds} seeds"
    return (
        f"{when}, {_SAID[end['word']].format(name)}{_numbers(end, ' points of accuracy', n, ':')}. "
        f"With both sides stopped at their best epoch: {stopped['word']}{_numbers(stopped)}."
    )


_SAID = {
    "helps": "{} helps",
    "hurts": "{} hurts",
    "too small to matter": "the effect of {} is too small to matter",
    "helps, size open": "{} helps, but how much is open",
    "hurts, size open": "{} hurts, but how much is open",
    "not yet known": "it is not yet known what {} does",
    "the same": "{} makes no difference at any seed",
}


def _numbers(verdict: dict, unit: str = "", more: str = "", mark: str = ",") -> str:
    if "effect" not in verdict:
        return ""
    mean, low, high = map(_signed, verdict["effect"])
    return f"{mark} {mean}{unit} ({low} to {high}{'; ' if more else ''}{more})"
