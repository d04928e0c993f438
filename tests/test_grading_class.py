"""A whole class: every output is there, nothing is lost to a kill, nobody is graded twice."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import pytest
from test_grading_fake import RIGHT, FakeBox, handed_in, put

from coursekit.exercises import bank
from coursekit.grading import commands
from coursekit.grading.book import records
from coursekit.grading.coordinator import grade_all

N = 300
POINTS = sum(e.points for e in bank.of_lesson("04"))


def run(tmp_path, **options):
    make_box = partial(FakeBox, str(tmp_path / "log"))
    options = {"out": tmp_path / "grades", "jobs": 2, **options}
    return {r.student: r for r in grade_all([tmp_path / "in"], "04", make_box, **options)}


def lines(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {line["student"]: line for line in csv.DictReader(file)}


def n_runs(tmp_path):
    return len((tmp_path / "log").read_text().splitlines())


def test_a_class_is_graded_and_a_rerun_does_only_what_is_missing(tmp_path):
    folder = tmp_path / "in"
    put(folder / "ada" / "x.ipynb", handed_in(text="Because of noise."))
    put(folder / "bob" / "x.ipynb", handed_in(text="Because of noise."))  # the same bytes
    put(folder / "eve" / "x.ipynb", handed_in(empty=True, strip=True))
    put(folder / "../x" / "bad.ipynb", b"")
    put(folder / "empty.ipynb", b"")
    put(folder / "sid.ipynb", handed_in(classic_weights="# fault"))
    put(folder / "tom.ipynb", handed_in(classic_weights="# bug"))
    rows = run(tmp_path)
    out = tmp_path / "grades"
    assert {s: (r.status, r.total) for s, r in rows.items()} == {
        "ada": ("graded", POINTS),
        "bob": ("graded", POINTS),
        "eve": ("graded", 0),
        "empty": ("unreadable", None),
        "sid": ("grader fault", None),
        "tom": ("grader fault", None),
    }
    assert [rows[s].record["attempts"] for s in ("ada", "sid", "tom")] == [1, 3, 3]
    assert rows["ada"].same_as == ("bob",)
    assert n_runs(tmp_path) == 2 + 2 * 3
    assert set(lines(out / "grades.csv")) == set(rows)
    assert (
        len(list((out / "feedback").iterdir()))
        == len(json.loads((out / "grades.json").read_text()))
        == len(rows)
    )
    assert len(list((out / "records").iterdir())) == len(rows) - 1
    assert "bob" not in (out / "feedback" / "ada.html").read_text()

    review = (out / "review.csv").read_text(encoding="utf-8-sig")
    review = review.replace("Because of noise.,,", "Because of noise.,2,well seen", 1)
    (out / "review.csv").write_text(review)
    again = run(tmp_path)
    assert n_runs(tmp_path) == 2 + 2 * 2 * 3  # faults only
    assert again["ada"].total == POINTS + 2
    assert again["bob"].total == POINTS
    assert "well seen" in (out / "feedback" / "ada.html").read_text()
    assert again["ada"].record["date"] == rows["ada"].record["date"]
    assert again["sid"].record["attempts"] == 6


def test_a_record_that_was_damaged_or_is_of_another_version_is_made_anew(tmp_path):
    path = put(tmp_path / "in" / "ada.ipynb", handed_in(empty=True))
    run(tmp_path, jobs=1)
    [record] = (tmp_path / "grades" / "records").iterdir()
    record.write_bytes(record.read_bytes()[:50])
    run(tmp_path, jobs=1)
    assert n_runs(tmp_path) == 2
    run(tmp_path, jobs=1, key="another class")
    assert n_runs(tmp_path) == 3
    path.write_bytes(path.read_bytes() + b" ")
    run(tmp_path, jobs=1)
    assert n_runs(tmp_path) == 4
    assert len(list((tmp_path / "grades" / "records").iterdir())) == 3


def test_a_slip_in_the_reviews_stops_before_anything_is_graded_or_overwritten(tmp_path):
    put(tmp_path / "in" / "ada.ipynb", handed_in(text="A."))
    table = put(
        tmp_path / "grades" / "review.csv",
        b"student,question,explanation,points,comment\nada,best_rate,A.,99,\n",
    )
    before = table.read_bytes()
    with pytest.raises(ValueError, match="line 2: expected points from 0 to 3"):
        run(tmp_path)
    assert table.read_bytes() == before
    assert not (tmp_path / "log").exists()


def test_two_gradings_do_not_share_a_folder_and_leftovers_of_a_killed_one_go(tmp_path):
    put(tmp_path / "in" / "ada.ipynb", b"")
    left = put(tmp_path / "grades" / "records" / ".ab-cd.json.xyz", b"half")
    other = put(tmp_path / "grades" / ".somebody.yaml", b"theirs")
    raised = pytest.raises(RuntimeError, match="another grading")
    with records.lock(tmp_path / "grades"), raised:
        run(tmp_path)
    assert not left.exists()
    assert other.exists()


SCRIPT = """
import sys
from functools import partial
from test_grading_fake import FakeBox
from coursekit.grading.coordinator import grade_all

if __name__ == "__main__":
    folder, out, log = sys.argv[1:]
    try:
        grade_all([folder], "04", partial(FakeBox, log), out=out, jobs=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def start(tmp_path):
    script = put(tmp_path / "script.py", SCRIPT.encode())
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, script, tmp_path / "in", tmp_path / "grades", tmp_path / "log"]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, env=env, start_new_session=True)


def wait_for(condition, process=None):
    for _ in range(6000):
        if condition():
            return
        assert process is None or process.poll() is None, "ended too early"
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def n_records(tmp_path):
    return len(list((tmp_path / "grades" / "records").glob("*.json")))


def workers(tmp_path):
    return {int(pid) for pid in (tmp_path / "log").read_text().split()}


def alive(pid):
    try:
        return b"script.py" in Path(f"/proc/{pid}/cmdline").read_bytes() or (
            b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
def test_killed_at_any_time_it_goes_on_and_each_submission_is_graded_once(tmp_path):
    stub = handed_in(empty=True, classic_weights=f"{RIGHT}  # slow")
    for number in range(N):
        put(tmp_path / "in" / f"s{number:03}.ipynb", stub + b" " * number)
    # The coordinator is killed: its workers must not go on without it.
    process = start(tmp_path)
    wait_for(lambda: n_records(tmp_path) >= 40, process)
    process.kill()
    process.wait()
    wait_for(lambda: not any(map(alive, workers(tmp_path))))
    kept = n_records(tmp_path)
    assert 40 <= kept < N
    # A worker is killed, then Ctrl-C.
    process = start(tmp_path)
    wait_for(lambda: n_records(tmp_path) >= kept + 20, process)
    victim = next(pid for pid in workers(tmp_path) if alive(pid))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: n_records(tmp_path) >= kept + 60, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    wait_for(lambda: not any(map(alive, workers(tmp_path))))
    kept = n_records(tmp_path)
    assert kept < N
    # Left alone it comes to its end.
    assert start(tmp_path).wait(300) == 0
    told = lines(tmp_path / "grades" / "grades.csv")
    assert len(told) == n_records(tmp_path) == N
    assert {(line["status"], line["total"]) for line in told.values()} == {("graded", "2")}
    # Only what was in work when something was killed had to be begun again.
    assert N <= n_runs(tmp_path) <= N + 2 + 1 + 2
    assert not [p for p in (tmp_path / "grades").rglob(".*") if p.name != ".lock"]


def test_the_command_says_what_it_takes():
    parser = ArgumentParser()
    commands.add_parsers(parser.add_subparsers())
    args = parser.parse_args(["grade", "a.zip", "b", "--lesson", "04", "--jobs", "0"])
    assert (args.submissions, args.lesson, args.out) == (["a.zip", "b"], "04", "grades")
    with pytest.raises(ValueError, match="at least one process"):
        args.command(args)
    args = parser.parse_args(["grade", "a.zip", "--lesson", "04", "--deadline", "noon"])
    with pytest.raises(ValueError, match="noon"):
        args.command(args)


def test_the_command_grades_in_the_box_that_it_is_given(tmp_path, monkeypatch, capsys):
    from coursekit.grading.sandbox import box

    monkeypatch.setattr(box, "Box", TrustedFake)
    put(tmp_path / "in" / "ada.ipynb", handed_in(text="A."))
    parser = ArgumentParser()
    commands.add_parsers(parser.add_subparsers())
    out = str(tmp_path / "g")
    line = ["grade", str(tmp_path / "in"), "--lesson", "04", "--out", out, "--trust", "--review"]
    args = parser.parse_args([*line, "--jobs", "1", "--deadline", "2020-01-01"])
    assert args.command(args) == 0
    told = capsys.readouterr().out
    assert "1 students: 1 graded" in told
    assert "ada: explanation of best_rate, late" in told


class TrustedFake(FakeBox):
    def __init__(self, *, trusted, preload):
        assert trusted
        assert preload == ()
        super().__init__()
