"""Grade the same submissions with nbgrader's own autograde and in the box: `make bench-grading`.

Both are run from the command line, one after the other and one process each, on the same notebooks
of lesson 04. Nbgrader executes each notebook in a kernel with the rights of whoever calls it; ours
first tries to break out of its own box, then isolates each submission.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import nbformat

from coursekit.course import notebook
from coursekit.grading import assignments
from coursekit.grading.book import records
from coursekit.results.files import replace_file
from coursekit.results.store import machine

RESULTS = Path(__file__).resolve().parent / "results" / "grading.json"
LESSON, N, TARGET = "04", 40, 8.0
OWN = "c = get_config()\nc.CourseDirectory.course_id = 'own'\nc.Execute.timeout = 120\n"


def main() -> None:
    """Measure, print, and write results/grading.json."""
    with tempfile.TemporaryDirectory() as folder:
        result = measured(Path(folder))
    replace_file(RESULTS, (json.dumps(result, indent=1) + "\n").encode())
    print(summary(result))


def measured(folder: Path) -> dict:
    """Return seconds and memory of both ways, and whether they give the same points."""
    name = assignments.assignment(LESSON)
    assignments.init(folder, [LESSON])
    nbgrader(folder, "generate_assignment", name)
    hand_in(folder, name)
    # Nbgrader with its own settings: its own Execute, in the same folder.
    (folder / "nbgrader_config.py").write_text(OWN)
    began = time.perf_counter()
    nbgrader(folder, "autograde", name)
    theirs = time.perf_counter() - began
    began = time.perf_counter()
    grade = ["grade", "submitted", "--lesson", LESSON, "--jobs", "1", "--out", "grades"]
    run(folder, [Path(sys.executable).with_name("coursekit"), *grade])
    ours = time.perf_counter() - began
    kept = [json.loads(p.read_text()) for p in (folder / "grades" / "records").glob("*.json")]
    statuses = {record["status"] for record in kept}
    if len(kept) != N or statuses != {"graded"}:
        raise RuntimeError(f"expected {N} graded submissions, got {len(kept)}: {statuses}")
    return {
        "lesson": LESSON,
        "version": records.version(LESSON),
        "salt": "",
        "submissions": N,
        "nbgrader_seconds_each": theirs / N,
        "box_seconds_each": ours / N,
        "box_seconds_inside": sorted(record["seconds"] for record in kept)[N // 2],
        "ratio": theirs / ours,
        "box_peak_bytes_each": max(record["memory"] for record in kept),
        "all_points": sorted({record["points"] for record in kept}),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def hand_in(folder: Path, name: str) -> None:
    """Hand in N solved notebooks, no two of them equal: equal ones are graded once."""
    nb = notebook.read(folder / "source" / name / f"{name}.ipynb")
    [setup] = [cell for cell in nb.cells if cell["id"] == "setup"]
    plain = setup.source
    for number in range(N):
        setup.source = f"{plain}\n# student {number}"
        target = folder / "submitted" / f"student{number:02}" / name
        target.mkdir(parents=True)
        nbformat.write(nb, target / f"{name}.ipynb")


def nbgrader(folder: Path, *command: str) -> None:
    run(folder, [sys.executable, "-m", "nbgrader", *command])
    shutil.rmtree(folder / ".ipynb_checkpoints", ignore_errors=True)


def run(folder: Path, line: list) -> None:
    env = {**os.environ, "HOME": str(folder), "PYTHONWARNINGS": "ignore"}
    env |= {"COURSEKIT_STATIC": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"  # it calls alembic
    subprocess.run(line, cwd=folder, env=env, check=True, capture_output=True)


def summary(result: dict) -> str:
    """Return the comparison in words, with the target and whether it is met."""
    met = "met" if result["ratio"] >= TARGET else "missed"
    return (
        f"{result['submissions']} submissions of lesson {result['lesson']}, one process each way:\n"
        f"  nbgrader's autograde  {result['nbgrader_seconds_each']:.2f} s each, not isolated\n"
        f"  coursekit grade       {result['box_seconds_each']:.2f} s each, isolated, "
        f"start and self-test included "
        f"({result['box_seconds_inside']:.2f} s in the median inside)\n"
        f"  ratio {result['ratio']:.1f}; target {TARGET:.0f}: {met}\n"
        f"  largest submission {result['box_peak_bytes_each'] / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main()
