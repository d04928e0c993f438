"""What a submission may use, and what became of it."""

from dataclasses import dataclass

from coursekit.grading.transcript import Cell, Output


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes
    ----------
    seconds : float
        For all cells together, by the clock.
    cell_seconds : float
        After this long a cell is interrupted, and the next one runs.
    exercise_seconds : float
        For all questions of one exercise.
    memory : int
        Bytes: of each process, and where a cgroup can be had of all together.
    processes : int
        Processes and threads at a time.
    output : int
        Bytes of a cell's output that are kept.
    files : int
        Bytes of the working folder, of /tmp, and of /dev/shm, each.
    open_files : int
    reply : int
        Bytes of all answers together.
    """

    seconds: float = 60
    cell_seconds: float = 30
    exercise_seconds: float = 20
    memory: int = 2 * 2**30
    processes: int = 64
    output: int = 20_000
    files: int = 64 * 2**20
    open_files: int = 256
    reply: int = 16 * 2**20


@dataclass(frozen=True)
class Outcome:
    """What became of a submission.

    Attributes
    ----------
    status : str
        "graded" (it came to its end), "time limit", "memory limit", "crashed" or "grader fault"
        (says nothing about the submission: try again).
    reason : str
        A sentence, empty when graded.
    cells : list of Cell
    outputs : list of Output
        One for each probe, also where the submission did not come to its end.
    seconds : float
        By the clock.
    memory : int
        Bytes of its largest process, libraries included.
    """

    status: str
    reason: str
    cells: list[Cell]
    outputs: list[Output]
    seconds: float
    memory: int
