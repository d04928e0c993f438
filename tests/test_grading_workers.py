"""Workers that die, hang or fail lose no job but their own, and that one is tried again."""

import json
import multiprocessing
import os
import signal
import time
from functools import partial

import pytest

from coursekit.grading import workers
from coursekit.grading.sandbox.bubblewrap import NoSandbox

FAULT = "grader fault"


class Room:
    """Stands for a box: counts in a folder how often one was opened and closed."""

    def __init__(self, folder, fails=None):
        self.folder, self.fails = folder, fails

    def begin(self):
        pass

    def __enter__(self):
        if self.fails:
            raise self.fails
        mark(self.folder, "opened")
        return self

    def __exit__(self, *_):
        mark(self.folder, "closed")


def mark(folder, name):
    with open(folder / name, "a") as file:
        file.write("x")


def marks(folder, name):
    return len((folder / name).read_text()) if (folder / name).exists() else 0


def work(job, room):
    """Do what the submission says."""
    order, _, name = job["raw"].decode().partition(" ")
    mark(room.folder, f"tried {name}")
    if order == "die" or (order == "die-once" and marks(room.folder, f"tried {name}") == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "hang":
        time.sleep(600)
    if order == "raise":
        raise KeyError(name)
    if order == "fault-once" and marks(room.folder, f"tried {name}") == 1:
        return {"status": FAULT, "reason": "not yet"}
    if order == "no-box":
        raise NoSandbox("no bubblewrap here")
    return {"status": "graded", "name": name}


def jobs(folder, *orders):
    made = []
    for number, order in enumerate(orders):
        path = folder / f"{number}.job"
        path.write_text(f"{order} {number}")
        made.append({"path": str(path), "number": number})
    return made


def processes():
    """Processes of the pool; joblib keeps idle ones of its own, of tests that ran before."""
    found = multiprocessing.active_children()
    return [process for process in found if "Loky" not in type(process).__name__]


def done(folder, *orders, n_workers=2, fails=None):
    """Number to status and attempts."""
    given = jobs(folder, *orders)
    results = list(workers.local(given, work, partial(Room, folder, fails), n_workers))
    assert sorted(job["number"] for job, _, _ in results) == list(range(len(orders)))
    assert not processes()
    return {job["number"]: (reply["status"], attempts) for job, reply, attempts in results}


def test_each_job_is_done_once_and_comes_back(tmp_path):
    assert done(tmp_path, *["do"] * 20) == dict.fromkeys(range(20), ("graded", 1))
    assert {marks(tmp_path, f"tried {n}") for n in range(20)} == {1}


def test_a_few_jobs_need_few_workers(tmp_path):
    assert done(tmp_path, "do", n_workers=8) == {0: ("graded", 1)}
    assert marks(tmp_path, "opened") == marks(tmp_path, "closed") == 1
    assert done(tmp_path, n_workers=8) == {}


def test_a_job_that_kills_its_worker_takes_no_other_with_it(tmp_path):
    found = done(tmp_path, "do", "die", "do", "die-once", "do")
    good = ("graded", 1)
    assert found == {0: good, 1: (FAULT, 3), 2: good, 3: ("graded", 2), 4: good}
    assert marks(tmp_path, "tried 1") == 3


def test_faults_are_tried_again_in_a_fresh_box(tmp_path):
    found = done(tmp_path, "raise", "fault-once", "do", n_workers=1)
    assert found == {0: (FAULT, 3), 1: ("graded", 2), 2: ("graded", 1)}
    # The first one, and after each of four faults; the last of them nobody waits for.
    assert marks(tmp_path, "opened") in (4, 5)


def test_a_worker_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1)
    given = jobs(tmp_path, "hang")
    [(_, reply, attempts)] = workers.local(given, work, partial(Room, tmp_path), 1)
    assert (reply["status"], reply["reason"], attempts) == (FAULT, workers.HUNG, 3)


@pytest.mark.parametrize("orders", [["no-box"], ["do"]])
def test_without_a_sandbox_nothing_is_graded(tmp_path, orders):
    fails = NoSandbox("no bubblewrap here") if orders == ["do"] else None
    with pytest.raises(NoSandbox, match="no bubblewrap here"):
        done(tmp_path, *orders, "do", fails=fails)
    assert not processes()


def test_workers_that_never_start_are_given_up(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="expected workers that start, got 3"):
        done(tmp_path, "do", fails=MemoryError("too little"), n_workers=1)
    assert "too little" in capfd.readouterr().err


def test_stopping_in_the_middle_ends_the_workers(tmp_path):
    coming = workers.local(jobs(tmp_path, "hang", "do"), work, partial(Room, tmp_path), 2)
    assert next(coming)[1]["name"] == "1"
    while not marks(tmp_path, "tried 0"):
        time.sleep(0.02)
    coming.close()
    assert not processes()
    assert marks(tmp_path, "opened") == marks(tmp_path, "closed")


@pytest.mark.filterwarnings("ignore")  # of Dask's own, from its many threads
def test_a_cluster_does_the_same(tmp_path):
    distributed = pytest.importorskip("distributed")
    import dask

    given = jobs(tmp_path, "do", "raise", "fault-once", "die-once", "do")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(**options) as cluster,
    ):
        address = cluster.scheduler_address
        results = list(workers.cluster(given, work, partial(Room, tmp_path), address))
        # A worker's death is blamed on a job that only waited there, too: attempts may differ.
        found = {job["number"]: reply["status"] for job, reply, _ in results}
        assert found == dict.fromkeys([0, 2, 3, 4], "graded") | {1: FAULT}
        assert next(n for job, _, n in results if job["number"] == 1) == 3
        with pytest.raises(NoSandbox, match="here"):
            list(workers.cluster(jobs(tmp_path, "no-box"), work, partial(Room, tmp_path), address))


def test_replies_are_json_and_never_pickles(tmp_path):
    [job] = jobs(tmp_path, "do")
    assert (
        json.loads(workers.task(work, partial(Room, tmp_path), workers.with_content(job)))["name"]
        == "0"
    )
    workers._here.box = None
