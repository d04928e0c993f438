"""Run the rows, in a process of their own: Keras keeps global state, and chooses PyTorch once."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import combinations

import numpy as np

from coursekit.rosetta import examples, noise, norms, optimizers, penalties, stopping, whole
from coursekit.rosetta import row as rows
from coursekit.rosetta.row import LIBRARIES, Row, distance, measured

__all__ = ["GROUPS", "HOW_TO_GET_KERAS", "ROWS", "Outcome", "outcomes", "versions"]

HOW_TO_GET_KERAS = 'pip install "coursekit[keras]"'
MODULES = (
    penalties,
    optimizers,
    noise,
    norms,
    examples,
    stopping,
    whole,
)  # in the order of the table
GROUPS = tuple(
    dict.fromkeys(one.group for m in MODULES for one in vars(m).values() if isinstance(one, Row))
)
ROWS = dict(sorted(rows.ROWS.items(), key=lambda item: GROUPS.index(item[1].group)))
PACKAGES = {"keras": "keras", "torch": "torch", "sklearn": "scikit-learn"}
MOVED = 1e-3  # what the wrong line has to be off by, in the row's unit


@dataclass(frozen=True)
class Outcome:
    """What became of a row.

    `off` holds the largest difference of two libraries, `wrong` the least difference between the
    wrong line and a right one. `lacking` says whether what a library lacks is lacking still;
    `error` is None or what went wrong. Without Keras, `off` may be empty.
    """

    row: Row
    off: dict[tuple[str, str], float]
    wrong: float | None
    lacking: bool
    error: str | None

    @property
    def largest(self) -> float | None:
        return max(self.off.values(), default=None)

    @property
    def holds(self) -> bool:
        """Whether all is as the row says, as far as it could be run."""
        equal = all(off <= self.row.tolerance for off in self.off.values())
        least = max(MOVED, self.row.tolerance)
        return self.error is None and equal and self.lacking and not self.wrong_is_right(least)

    def wrong_is_right(self, least: float) -> bool:
        return self.wrong is not None and self.wrong < least


def versions() -> dict[str, str | None]:
    """Versions of the three libraries; None for one that is not installed."""
    return {
        library: version(package) if find_spec(library) else None
        for library, package in PACKAGES.items()
    }


@cache
def outcomes() -> dict[str, Outcome]:
    """Run all rows once, in about ten seconds.

    Returns
    -------
    dict of Outcome
        By the name of the row.

    Raises
    ------
    ValueError
        If the process in which they run breaks down.
    """
    code = f"import sys; from {__name__} import in_process; in_process(sys.argv[1:])"
    return {name: judged(ROWS[name], found) for name, found in _run(code, list(ROWS)).items()}


def _run(code: str, names: Sequence[str]) -> dict[str, dict]:
    with tempfile.TemporaryDirectory() as home:
        own = {"KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": "cpu", "KERAS_HOME": home}
        own |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        own["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        line = [sys.executable, "-c", code, *names]
        done = subprocess.run(line, env=os.environ | own, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ValueError(f"expected the rows to run, got {last}; try {HOW_TO_GET_KERAS}")
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def in_process(names: Sequence[str]) -> None:
    """Print the numbers of rows as JSON. Runs in the process that `outcomes` starts."""
    import torch

    torch.set_num_threads(1)
    print(json.dumps({name: numbers_of(ROWS[name]) for name in names}))


def numbers_of(row: Row) -> dict:
    """What each snippet of a row returns, what `missing` says, and the first error."""
    found = {"values": {}, "lacking": True, "error": None}
    for library, function in [*row.code.items(), ("wrong", row.wrong)]:
        try:
            found["values"][library] = [one.tolist() for one in measured(function)]
        except ModuleNotFoundError as error:
            if error.name != "keras":
                raise
        except Exception as error:  # of any library and version: the row's name has to be told
            found["error"] = found["error"] or f"{library}: {type(error).__name__}: {error}"
    try:
        found["lacking"] = row.missing is None or bool(row.missing())
    except ModuleNotFoundError:
        pass
    except Exception as error:
        found["error"] = found["error"] or f"missing: {type(error).__name__}: {error}"
    return found


def judged(row: Row, found: dict) -> Outcome:
    """Compare the numbers of a row."""
    values = {k: [np.array(v) for v in parts] for k, parts in found["values"].items()}
    wrong = values.pop("wrong", None)
    off = {(a, b): distance(values[a], values[b]) for a, b in combinations(values, 2)}
    least = min((distance(wrong, v) for v in values.values()), default=None) if wrong else None
    return Outcome(row, off, least, found["lacking"], found["error"])


def names(libraries: Sequence[str]) -> str:
    return " and ".join(LIBRARIES[library] for library in libraries)
