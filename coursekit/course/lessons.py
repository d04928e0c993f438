"""The lessons as files: find them, run them in a fresh kernel, store them in a stable form.

A notebook runs in a kernel of *this* interpreter, whatever kernels the user has registered.
"""

import asyncio
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coursekit.course.notebook import Flip, flips, is_marked, read, strip, write

if TYPE_CHECKING:
    from nbformat import NotebookNode

COPY = "coursekit-course"  # folder of a learner's own copies, see `copies`
NEW = "_new"  # ends the name of a lesson that was put beside a copy that the learner has changed
START, PLAYGROUND = "start.ipynb", "playground.ipynb"


@dataclass(frozen=True)
class Execution:
    """What became of one notebook. `error` is None, or one sentence that names the cell."""

    path: Path
    seconds: float
    error: str | None


def checkout() -> Path | None:
    """Root of the checkout that this package is imported from, or None for an installed copy."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def folder() -> Path:
    """Folder of the lessons: the checkout's, else the learner's copy, else the originals."""
    here = Path(COPY)
    return here.resolve() if here.is_dir() and not checkout() else originals()


def originals() -> Path:
    """Folder of the lessons as the course brings them: the checkout's, or the package's."""
    return root / "notebooks" if (root := checkout()) else _installed()


def lessons() -> list[Path]:
    """Notebooks of the course in reading order, without its start page and its playground."""
    found = sorted(folder().glob("[0-9]*.ipynb"))
    return [path for path in found if not re.search(rf"{NEW}\d*$", path.stem)]


def start_page() -> list[Path]:
    """The notebook that a learner sees first, as a list of one, or of none."""
    return [path for path in [folder() / START] if path.is_file()]


def playground_page() -> list[Path]:
    """The notebook in which everything can be tried, as a list of one, or of none."""
    return [path for path in [folder() / PLAYGROUND] if path.is_file()]


def select(names: Iterable[str | Path]) -> list[Path]:
    """Turn paths, or beginnings of lesson names such as "01", into notebooks; nothing means all.

    Raises
    ------
    ValueError
        If a name is neither an .ipynb file nor the beginning of exactly one lesson.
    """
    known, chosen = start_page() + lessons() + playground_page(), []
    for name in names:
        if Path(name).is_file() and Path(name).suffix == ".ipynb":
            chosen.append(Path(name).resolve())
            continue
        found = [p for p in known if p.stem.startswith(str(name))]
        if len(found) != 1:
            listed = ", ".join(p.stem for p in found or known) or f"none in {folder()}"
            raise ValueError(
                f"expected an .ipynb file or the beginning of one lesson's name, "
                f"got {str(name)!r}; lessons that fit: {listed}"
            )
        chosen += found
    return chosen or known


def execute(
    path: str | Path,
    out: str | Path,
    *,
    timeout: float = 900.0,
    first_seed: int | None = None,
    threads: int | None = None,
) -> Execution:
    """Run a notebook in a fresh kernel and store the result, outputs included, as `out`.

    The kernel works in the folder of `path`. `COURSEKIT_STATIC=1` in its environment turns
    interactive widgets into text and progress bars off, so that the stored form reads anywhere.

    Parameters
    ----------
    path, out : path
        Notebook to run, and the file to write. When they are the same file, a run that fails
        leaves it as it was; elsewhere `out` then shows how far the run came.
    timeout : float
        Seconds that one cell may take.
    first_seed : int, optional
        Value of `COURSEKIT_FIRST_SEED`: the first seed of every experiment, at least 0.
    threads : int, optional
        Value of `OMP_NUM_THREADS`, at least 1.

    Returns
    -------
    Execution
        Errors of the notebook are told here, not raised: one that cannot be read must not keep the
        next one from running.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    path, out = Path(path).resolve(), Path(out).resolve()
    if not timeout > 0:
        raise ValueError(f"expected timeout > 0 seconds, got {timeout}; try 900")
    env = _environment(first_seed, threads)
    start = time.perf_counter()
    try:
        nb = read(path)
    except ValueError as error:
        return Execution(path, time.perf_counter() - start, str(error))
    error = asyncio.run(_play(nb, path.parent, env, timeout))
    seconds = time.perf_counter() - start
    if error is None or out != path:
        write(strip(nb), out)
    return Execution(path, seconds, error)


async def _play(nb: "NotebookNode", cwd: Path, env: dict[str, str], timeout: float) -> str | None:
    """Run all cells of `nb` in place; return one sentence about what went wrong, or None."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    class ThisPython(KernelSpecManager):
        # A kernel "python3" that the user registered elsewhere would run another interpreter.
        def get_kernel_spec(self, kernel_name):
            return KernelSpec(**get_kernel_dict())

    def leave_interrupts_alone(**_):
        # nbclient answers Ctrl-C by killing the kernel, which then looks like a crash.
        with suppress(RuntimeError, NotImplementedError, ValueError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    running = 0

    def remember(cell, cell_index):
        nonlocal running
        running = cell_index

    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    manager = AsyncKernelManager(kernel_spec_manager=ThisPython())
    if "transport_encryption" in AsyncKernelManager.class_trait_names():  # older clients cannot
        manager.transport_encryption = "auto"
    client = NotebookClient(
        nb,
        km=manager,
        timeout=timeout,
        coalesce_streams=True,
        on_notebook_start=leave_interrupts_alone,
        on_cell_execute=remember,
    )
    try:
        await client.async_execute(env=env, cwd=str(cwd))
    except (CellControlSignal, DeadKernelError, RuntimeError) as error:
        return _sentence(nb, running, error, timeout)
    finally:
        if manager.has_kernel:
            await manager.shutdown_kernel(now=True)
        if client.kc is not None:
            client.kc.stop_channels()
    return None


def _sentence(nb: "NotebookNode", index: int, error: Exception, timeout: float) -> str:
    # Not the traceback: it stands in the stored output, and the last line is what one acts on.
    first = next(iter(nb.cells[index].source.strip().splitlines()), "")
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    for output in nb.cells[index].get("outputs", []):
        if output.output_type == "error":
            message = " ".join(output.evalue.split())
            reason = f"{output.ename}: {message}" if message else output.ename
    if isinstance(error, TimeoutError):
        reason = f"took more than {timeout:g} seconds"
    return f"cell {index + 1} of {len(nb.cells)} ({first[:60]}): {reason}"


def _environment(first_seed: int | None, threads: int | None) -> dict[str, str]:
    env = {**os.environ, "COURSEKIT_STATIC": "1"}
    env.pop("MPLBACKEND", None)  # figures go into the notebook, whatever the caller's terminal uses
    for name, value, least in (
        ("COURSEKIT_FIRST_SEED", first_seed, 0),
        ("OMP_NUM_THREADS", threads, 1),
    ):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"expected {name} to be an int >= {least}, got {value!r}; try {least}")
        env[name] = str(value)
    return env


def _installed() -> Path:
    inside = Path(__file__).resolve().parents[1] / "_course" / "notebooks"
    if not inside.is_dir():
        raise ValueError(
            f"expected the lessons in {inside}, got no such folder; "
            "try installing coursekit again, or work in a checkout"
        )
    return inside


def rerun(
    path: Path, *, timeout: float = 900.0, first_seed: int | None = None, threads: int | None = None
) -> tuple[Execution, int, list[Flip]]:
    """Run a notebook elsewhere and compare its verdicts with the stored ones.

    Parameters
    ----------
    path, timeout, first_seed, threads
        As in `execute`; the file itself stays as it is.

    Returns
    -------
    execution : Execution
    n_marked : int
        Number of cells that print verdicts.
    flips : list of Flip
        Those whose words changed; empty if the run failed or `path` is no notebook.
    """
    try:
        stored = read(path)
    except ValueError as error:
        return Execution(path, 0.0, str(error)), 0, []
    with tempfile.TemporaryDirectory() as where:
        now = Path(where) / path.name
        done = execute(path, now, timeout=timeout, first_seed=first_seed, threads=threads)
        found = [] if done.error else flips(stored, read(now))
    return done, sum(map(is_marked, stored.cells)), found
