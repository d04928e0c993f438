"""The optional last section of a lesson: the same question on real photographs and a GPU.

Where data set or GPU are missing, what somebody stored is shown with its machine and date; where
nobody has stored anything, that is said.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from coursekit import data
from coursekit.datasets import download
from coursekit.datasets.tasks import Task, pick_device
from coursekit.results.files import replace_file
from coursekit.results.store import machine

Study = Callable[[Task], Mapping[str, np.ndarray]]


def folder() -> Path:
    """Folder of the stored results: the checkout's `data/full_size`, or the package's own."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "data"
    return (checkout if checkout.is_dir() else package / "_course") / "full_size"


def missing(name: str) -> list[str]:
    """What a run at full size lacks here, each with what to do about it."""
    found = []
    if pick_device().type != "cuda":
        found.append("no NVIDIA GPU (`coursekit doctor` says what is here)")
    files = download.SOURCES[name].registry if name in download.SOURCES else ()
    if any(not (download.cache_dir() / name / file).exists() for file in files):
        found.append(f"{name} is not downloaded (`coursekit data fetch {name}`)")
    return found


def show(lesson: str, name: str, study: Study) -> None:
    """Run a study at full size where that is possible, and print what it or an earlier run found.

    Parameters
    ----------
    lesson : str
        Name under which the result is stored.
    name : str
        Data set, as `data.load` knows it.
    study : callable
        Task on the GPU to accuracies by arm, each (S,). A fresh result is stored.

    Raises
    ------
    ValueError
        If the study returns no arms, or the stored file is damaged.
    """
    path, lacks = folder() / f"{lesson}.json", missing(name)
    if lacks:
        print(f"Not run at full size here: {'; '.join(lacks)}.")
    else:
        task = data.load(name, device=pick_device())
        arms = {arm: np.asarray(found, float).tolist() for arm, found in study(task).items()}
        if not arms:
            raise ValueError("expected a study to return accuracies by arm, got none")
        content = {"data": name, "arms": arms, **machine()}
        replace_file(path, (json.dumps(content, indent=1) + "\n").encode())
    if not path.exists():
        print("No results are stored yet.")
        return
    print(_report(path))


def _report(path: Path) -> str:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        arms = {arm: np.array(found) for arm, found in content["arms"].items()}
        lines = [f"{content['data']} on {content['device']}, {content['date'][:10]}:"]
        for arm, found in arms.items():
            spread = f" (from {found.min():.1%} to {found.max():.1%}, {len(found)} seeds)"
            lines.append(f"    {arm}: {found.mean():.1%} right{spread}")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"expected results in {path}, got a file that was cut short or altered; remove it"
        ) from None
    return "\n".join(lines)
