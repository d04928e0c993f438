"""Runs on disk: written atomically, checked when read, never unpickled.

A stored run is one zip file (`.npz`) of plain arrays, with a JSON header that carries the recipe,
the versions, the machine and the date.
"""

import hashlib
import io
import json
import platform
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from coursekit import __version__
from coursekit.datasets.tasks import pick_device
from coursekit.engine.devices import named
from coursekit.engine.networks import initial_net
from coursekit.engine.stack import fixed, trained
from coursekit.recipe import Recipe
from coursekit.results.files import replace_file
from coursekit.results.runs import Runs

FORMAT = 1
ARRAYS = ("seeds", "best_epoch", "last_epoch", "diverged")


class BrokenFile(RuntimeError):
    """A stored result that cannot be trusted: cut short, altered, or of another format."""


def machine(device: str | None = None) -> dict[str, str]:
    """Return what a stored number depends on: versions, processor, threads, date.

    `device` is where it was computed, as `Runs` have it; by default where tasks are put here.
    """
    return {
        "coursekit": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device or named(pick_device()),
        "threads": str(torch.get_num_threads()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save(runs: Runs, path: str | Path, **note: object) -> Path:
    """Write runs to a file; a crash in the middle leaves the old file, or none.

    Parameters
    ----------
    runs : Runs
    path : path
        Ends in ".npz". Missing folders are made.
    note : JSON values, optional
        Kept in the header, for `describe`.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the name does not end in ".npz".
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"expected a file name ending in .npz, got {path.name!r}")
    arrays = {name: getattr(runs, name) for name in ARRAYS}
    arrays |= {f"curve/{name}": curve for name, curve in runs.curves.items()}
    for kind in ("final", "best"):
        state = getattr(runs, kind)
        arrays |= {f"{kind}/{name}": value.cpu().numpy() for name, value in state.items()}
    header = {
        "format": FORMAT,
        "task": runs.task,
        "recipe": {name: _plain(value) for name, value in vars(runs.recipe).items()},
        "apart": runs.apart,
        "seconds": runs.seconds,
        "machine": machine(runs.device),
        "note": note,
    }
    arrays["header"] = np.array(json.dumps(header))
    arrays["digest"] = np.array(_digest(arrays))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    replace_file(path, content.getvalue())
    return path


def load(path: str | Path, make_net) -> Runs:
    """Read runs back.

    Parameters
    ----------
    path : path
    make_net : callable
        The builder that was passed to `fit`: structure is code, and only numbers are stored.

    Returns
    -------
    Runs

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    BrokenFile
        If it was cut short or altered, or `make_net` makes another structure.
    """
    header, arrays = _read(Path(path))
    states = {
        kind: {
            name.removeprefix(f"{kind}/"): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith(f"{kind}/")
        }
        for kind in ("final", "best")
    }
    net = initial_net(make_net, 0)  # leaves the caller's random state alone
    expected = {name: tuple(t.shape) for name, t in chain(trained(net), fixed(net))}
    stored = {name: tuple(value.shape[1:]) for name, value in states["best"].items()}
    apart = header.get("apart", "")  # then a buffer may have been made or replaced by training
    same = expected.items() <= stored.items() if apart else expected == stored
    if not same:
        raise BrokenFile(f"{path}: expected a network with {stored}, got {expected}")
    curves = {n.removeprefix("curve/"): a for n, a in arrays.items() if n.startswith("curve/")}
    return Runs(
        recipe=Recipe(**{n: _meant(value) for n, value in header["recipe"].items()}),
        apart=apart,
        nets=tuple(initial_net(make_net, seed) for seed in arrays["seeds"].tolist() if apart),
        task=header["task"],
        curves=curves,
        seconds=header["seconds"],
        net=net,
        device=header["machine"]["device"],
        **states,
        **{name: arrays[name] for name in ARRAYS},
    )


def describe(path: str | Path) -> dict:
    """Return the header of a stored run: recipe, task, seconds, machine, date. Raises as `load`."""
    return _read(Path(path))[0]


def _plain(value: object) -> object:
    """A setting as JSON: of a function, its name stays."""
    function = getattr(value, "func", value)  # of functools.partial
    return (
        {"function": getattr(function, "__qualname__", repr(value))} if callable(value) else value
    )


def _meant(value: object) -> object:
    """A setting that was stored; a function is not, and says so when it is called."""
    if not isinstance(value, dict):
        return value

    def unknown(*_):
        raise ValueError(
            f"expected the function {value['function']}, got its name from a stored file; "
            "put it back with dataclasses.replace(runs.recipe, ...)"
        )

    return unknown


def _read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    try:
        # Opened here: numpy would leave a damaged file open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        intact = str(arrays.pop("digest")) == _digest(arrays)
        header = json.loads(str(arrays.pop("header")))
    except FileNotFoundError:
        raise
    except Exception as e:  # damaged bytes make zipfile, zlib and numpy raise almost anything
        raise BrokenFile(f"{path} cannot be read ({e}); delete it and run again") from e
    if not intact:
        raise BrokenFile(f"{path} was altered after it was written; delete it and run again")
    if header.get("format") != FORMAT:
        raise BrokenFile(f"{path}: expected format {FORMAT}, got {header.get('format')}")
    return header, arrays


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
