"""The sandbox: attacks that it must survive, each graded as its code deserves."""

import os
import re
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coursekit.grading.sandbox import box as box_module
from coursekit.grading.sandbox import (
    bubblewrap,
    cgroup,
    confine,
    frames,
    protocol,
    transcript,
    zygote,
)
from coursekit.grading.sandbox.box import Box, Limits, NoSandbox
from coursekit.grading.sandbox.selftest import ProvenBox, selftest

ATTACKS = Path(__file__).parent / "attacks"
LIMITS = Limits(
    seconds=2,
    cell_seconds=0.7,
    exercise_seconds=0.9,
    memory=2**29,
    processes=30,
    output=2000,
    files=2**24,
    reply=2**20,
)
GOOD = ["import torch", "def double(x):\n    return 2 * x"]
X = np.array([[1.0, 2.0, -3.0], [0.5, 0.0, 4.0]])
QUESTION = {"name": "double", "inputs": {"x": X}}


def attacks():
    """Read name, cells, expected status, and what becomes of the answer."""
    for path in sorted(ATTACKS.glob("*.txt")):
        for part in path.read_text(encoding="utf-8").split("=== ")[1:]:
            head, code = part.split("\n", 1)
            name, status, answer = head.split(" | ")
            yield pytest.param(code.split("\n---\n"), status, answer, id=name)


def sandbox(limits=LIMITS, **options):
    """Open a box, or skip where none can run, unless that is what is tested."""
    try:
        box = Box(limits, readable=[ATTACKS], driver="fake_driver:drive", **options)
        box.open()
    except NoSandbox as error:
        if os.environ.get("COURSEKIT_REQUIRE_SANDBOX") == "1":
            raise
        pytest.skip(f"no sandbox: {str(error).splitlines()[0]}")
    return box


@pytest.fixture(scope="module")
def box():
    os.environ["COURSEKIT_TEST_SECRET"] = "secret"
    with sandbox() as opened:
        yield opened
    del os.environ["COURSEKIT_TEST_SECRET"]


@pytest.fixture(scope="module")
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def became(reply):
    """Say what became of an answer: "right", "wrong" or its status."""
    if reply.status != "answered":
        return reply.status
    result = reply.arrays["result"]
    return "right" if result.shape == X.shape and np.allclose(result, 2 * X) else "wrong"


def printed(outcome):
    return "\n".join(cell.text for cell in outcome.cells)


@pytest.mark.parametrize(("cells", "status", "answer"), [*attacks()])
def test_attack(box, server, tmp_path, cells, status, answer):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    port = str(server.getsockname()[1])
    cells = [c.replace("@SECRET@", str(secret)).replace("@PORT@", port) for c in cells]
    process = box._process.pid
    outcome = box.run(cells, [QUESTION])
    assert (outcome.status, became(outcome.replies[0])) == (status, answer), printed(outcome)
    assert "ESCAPED" not in printed(outcome)
    assert (outcome.reason == "") == (status == "graded")
    assert max(len(cell.text) for cell in outcome.cells) <= 2000 + len(transcript.CUT)
    with pytest.raises(BlockingIOError):
        server.accept()
    after = box.run(GOOD, [QUESTION])
    assert (after.status, became(after.replies[0])) == ("graded", "right")
    assert box._process.pid == process, "the box had to be restarted"


def test_every_answer_before_a_crash_is_kept(box):
    cells = [
        "import os, time\n"
        "def double(x): return 2 * x\n"
        "def dies(n):\n    if n == 2: os._exit(1)\n    return n\n"
        "def loops(n):\n    while n == 2: time.sleep(1)\n    return n\n"
    ]
    probes = [{"name": name, "inputs": {"n": n}} for name in ("dies", "loops") for n in (1, 2, 3)]
    outcome = box.run(cells, [*probes, QUESTION])
    statuses = [reply.status for reply in outcome.replies]
    assert statuses == [
        *("answered", "crashed", "crashed"),
        *("answered", "time limit", "time limit"),
        "answered",
    ]
    assert outcome.status == "graded"


def test_cells_keep_their_own_output_and_errors(box):
    cells = [
        "print('one')",
        "1 / 0",
        "x = 1\n\nprint('three')\nx.y",
        "def double(x):\n  return x.z",
    ]
    outcome = box.run(cells, [QUESTION])
    assert [c.status for c in outcome.cells] == ["ran", "raised", "raised", "ran"]
    assert outcome.cells[0].text == "one\n"
    assert "three" in outcome.cells[2].text
    assert "one" not in outcome.cells[2].text
    assert (outcome.cells[2].error.name, outcome.cells[2].error.line) == ("AttributeError", 4)
    error = outcome.replies[0].error
    assert (error.name, error.cell, error.line) == ("AttributeError", 3, 2)
    assert "code cell 4, line 2" in str(error)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV (segmentation fault)"),
        ("os.abort()", "was killed by SIGABRT (aborted)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL (killed)"),
        ("os.kill(os.getpid(), 40)", "was killed by signal 40 (real-time signal 6)"),
        ("os._exit(3)", "ended the process with exit code 3"),
        ("os._exit(139)", "ended the process with exit code 127 or more"),
    ],
)
def test_how_a_process_ended_is_told_in_cells_and_answers(box, code, words):
    assert box.run(["import os, signal", code]).reason == f"code cell 2 {words}"
    dies = f"import os, signal\ndef double(x):\n    {code}\ndef twice(x):\n    return 2 * x"
    outcome = box.run([dies], [QUESTION, {**QUESTION, "name": "twice"}])
    assert (outcome.status, outcome.replies[0].error.message) == ("graded", words)
    assert became(outcome.replies[1]) == "right"


@pytest.mark.parametrize("executed", [False, True])
def test_a_kill_for_memory_is_a_memory_limit(executed):
    script = transcript.start(1, 1, 1000, 1000)
    script.began, script.executed = True, executed
    told = protocol.status(script, "", {"ended": 128 + 9}, short_of_memory=True)
    assert told[0] == "memory limit"
    assert protocol.status(script, "", {"ended": 128 + 9}, short_of_memory=False)[0] == "crashed"


AS_IN_JUPYTER = {
    "a class of the notebook goes through pickle": """
import pickle
class Point: x = 1
assert pickle.loads(pickle.dumps(Point())).x == 1""",
    "the notebook is the main module": """
import __main__, dataclasses, typing
@dataclasses.dataclass
class Point: x: "typing.Optional[int]" = 1
assert typing.get_type_hints(Point) == {"x": typing.Optional[int]}
assert __main__.Point is Point""",
    "a file that a cell wrote is imported": """
%%writefile written.py
def half(x): return x / 2
---
from written import half
assert half(4) == 2""",
    "a folder that a cell made is imported": """
import os
os.mkdir("parts")
with open("parts/one.py", "w") as file: file.write("n = 1")
---
from parts.one import n
assert n == 1""",
    "figures are drawn under any backend": """
%matplotlib widget
import matplotlib.pyplot as plt
plt.plot([1]); plt.show()
import matplotlib; matplotlib.use("agg")""",
}


@pytest.mark.parametrize("code", AS_IN_JUPYTER.values(), ids=AS_IN_JUPYTER)
def test_what_runs_in_jupyter_runs_here(box, code):
    outcome = box.run(code.strip().split("\n---\n"))
    assert [cell.error for cell in outcome.cells] == [None] * len(outcome.cells)


def test_pip_does_not_wait_for_a_network():
    patient = replace(LIMITS, seconds=30, cell_seconds=20)
    with sandbox(patient) as box:
        outcome = box.run(["!pip install a_missing_one\nx = 1", "assert x == 1"])
    assert [cell.error for cell in outcome.cells] == [None, None]
    assert "Retrying" not in outcome.cells[0].text
    assert "No matching distribution" in outcome.cells[0].text


def test_an_error_below_an_unknown_magic_is_on_its_line(box):
    [cell] = box.run(["%%heat\n\nx = 1\n1 / 0"]).cells
    assert (cell.error.name, cell.error.cell, cell.error.line) == ("ZeroDivisionError", 0, 4)
    assert "%%heat is unknown here" in cell.text


def test_files_beside_the_notebook_are_there(box):
    helpers = {"mine.py": b"def half(x): return x / 2", "data/my table.csv": b"1,2", "empty": b""}
    code = "from mine import half\nassert half(4) == 2\nassert open('empty').read() == ''"
    outcome = box.run([code, "assert open('data/my table.csv').read() == '1,2'"], helpers=helpers)
    assert [cell.error for cell in outcome.cells] == [None, None]
    [cell] = box.run(["import mine"]).cells
    assert cell.error.name == "ModuleNotFoundError", "files of one submission reach the next"


def test_a_cell_that_writes_a_file_overwrites_the_one_beside_the_notebook(box):
    # As in Jupyter: the file is there from the start, until the cell writes another.
    cells = [
        "from mine import half\nassert half(4) == 2",
        "%%writefile mine.py\ndef half(x): return x - 1",
        "import importlib, mine\nhalf = importlib.reload(mine).half\nassert half(4) == 3",
        "%%writefile table.csv\nnew",
        "assert open('table.csv').read() == 'new\\n'",
    ]
    helpers = {"mine.py": b"def half(x): return x / 2", "table.csv": b"the old table"}
    assert [cell.error for cell in box.run(cells, helpers=helpers).cells] == [None] * 5
    assert [cell.error for cell in box.run(cells[1:], helpers=helpers).cells] == [None] * 4


@pytest.mark.parametrize("name", ["helpers", "utils", "data", "plots", "model", "layers", "test"])
def test_a_module_of_any_common_name_is_the_students(box, name):
    code = f"from {name} import own\nassert own == {name!r}"
    [cell] = box.run([code], helpers={f"{name}.py": f"own = {name!r}".encode()}).cells
    assert cell.error is None


def test_a_file_named_like_a_library_changes_nothing_of_it(box):
    code = "import torch, numpy, coursekit\nassert torch.ones(2).sum() == 2"
    files = {"torch.py": b"1 / 0", "numpy/__init__.py": b"1 / 0", "coursekit.py": b"1 / 0"}
    assert [cell.error for cell in box.run([code], helpers=files).cells] == [None]


@pytest.mark.parametrize(
    "helpers",
    [
        {"../x.py": b""},
        {"/x.py": b""},
        {"a/../../x.py": b""},
        {".hidden": b""},
        {"a\nb": b""},
        {"": b""},
        {"a/b/c/d/e.py": b""},
        {"large.bin": bytes(box_module.HELPERS), "one.bin": b"1"},
    ],
    ids=lambda helpers: repr([*helpers]),
)
def test_files_from_elsewhere_and_too_many_bytes_are_refused(helpers):
    with pytest.raises(ValueError, match=r"expected .* beside the notebook"):
        Box(LIMITS, trusted=True).run([], helpers=helpers)


TOO_MUCH = {
    "expected at most 256 parts, got 5000": "{str(n): np.zeros(1) for n in range(5000)}",
    "expected short names of its parts": "{str(n) * 1000: np.zeros(1) for n in range(99, 199)}",
    "expected at most 1.05 MB of numbers, got 2.1": "{'a': np.zeros(2**18)}",
}


@pytest.mark.parametrize(("words", "result"), TOO_MUCH.items(), ids=TOO_MUCH)
def test_an_answer_that_is_too_long_costs_no_other(box, words, result):
    probes = [{"name": "as it is", "function": "f", "inputs": {}}, QUESTION]
    outcome = box.run([*GOOD, f"import numpy as np\ndef f(): return {result}"], probes)
    assert (outcome.status, outcome.replies[0].status) == ("graded", "refused")
    assert words in outcome.replies[0].error.message
    assert became(outcome.replies[1]) == "right"


def test_answers_that_are_too_long_together_cost_no_other(box):
    probes = [{"name": "as it is", "function": "f", "inputs": {}}] * 3
    outcome = box.run(
        [*GOOD, "import numpy as np\ndef f(): return {'a': np.zeros(2**16 + 2**15)}"],
        [*probes, QUESTION],
    )
    assert [reply.status for reply in outcome.replies] == ["answered", *["refused"] * 2, "answered"]
    assert "1.05 MB of numbers in all answers" in outcome.replies[1].error.message


def test_long_messages_are_cut(box):
    outcome = box.run(["raise ValueError('x' * 10**6)"])
    assert len(outcome.cells[0].error.message) == 300


def test_inputs_and_notes_cross_as_they_are(box):
    code = (
        "def same(a, b):\n    assert b == [1, None, 'x', float('inf')], b\n    return a['deep'][0]"
    )
    inputs = {"a": {"deep": [X]}, "b": [1, None, "x", float("inf")]}
    code = code.replace("a['deep'][0]", "a['deep'][0].astype('f4')")
    [reply] = box.run([code], [{"name": "same", "inputs": inputs}]).replies
    assert reply.error is None
    assert reply.arrays["result"].dtype == np.float32
    np.testing.assert_array_equal(reply.arrays["result"], X.astype("f4"))
    assert reply.notes == {"kind": "ndarray"}


def test_a_variant_reaches_the_driver_and_bad_notes_are_refused(box):
    probes = [{"name": "as it is", "function": "f", "variant": "key", "inputs": {}}]
    [reply] = box.run(["def f(): return {}"], probes).replies
    assert reply.notes == {"variant": "key"}


def test_a_killed_box_is_a_fault_of_the_grader_and_is_restarted():
    with sandbox() as box:
        box._process.kill()
        outcome = box.run(GOOD, [QUESTION])
        assert (outcome.status, became(outcome.replies[0])) == ("graded", "right")


def test_a_box_that_keeps_failing_gives_no_zero(monkeypatch):
    def fail(*_, **__):
        raise protocol.BoxFault("on purpose")

    with sandbox() as box:
        monkeypatch.setattr(protocol, "run", fail)
        outcome = box.run(GOOD, [QUESTION])
    assert (outcome.status, outcome.reason) == ("grader fault", "on purpose")
    assert outcome.replies[0].status == "not run"


HARD = ("fork bomb |", "kill of everything", "files of the", "daemon left")


def hard_attacks():
    return [a for a in attacks() if any(a.id.startswith(name.rstrip(" |")) for name in HARD)]


@pytest.mark.parametrize("options", [{"nested": False}, {"grouped": False}], ids=str)
def test_other_ways_to_confine_hold_as_well(options, server, tmp_path):
    with sandbox(**options) as box:
        for attack in hard_attacks():
            if not options.get("nested", True) and "fork bomb" in attack.id:
                continue
            cells, status, _ = attack.values
            outcome = box.run([cell.replace("@SECRET@", "/none") for cell in cells], [QUESTION])
            assert outcome.status == status, (attack.id, outcome)
            if "kill" not in attack.id:
                assert "ESCAPED" not in printed(outcome)
        assert became(box.run(GOOD, [QUESTION]).replies[0]) == "right"


MANY = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(b"x") * 60_000_000
        time.sleep(100)
time.sleep(100)
"""


SHARED = """
import mmap, os, time
for _ in range(8):
    if os.fork() == 0:
        shared = mmap.mmap(-1, 60_000_000)
        shared.write(bytes(60_000_000))
        time.sleep(100)
time.sleep(100)
"""
UNMAPPED = """
import os
n, held = 0, []
try:
    for _ in range(60):
        held.append(os.memfd_create("x"))
        n += os.write(held[-1], bytes(10_000_000))
except OSError: pass
print(n)
"""


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("code", [MANY, SHARED, UNMAPPED], ids=["private", "shared", "unmapped"])
def test_processes_together_get_no_more_memory_than_one(code, grouped, monkeypatch):
    monkeypatch.setattr(box_module, "BASE", 300 * 2**20)
    limits = replace(LIMITS, seconds=20, cell_seconds=20, memory=2**27)
    with sandbox(limits, grouped=grouped) as box:
        told = box.run([code])
        assert told.status == "memory limit" or told.cells[0].text.strip() == "0"
        assert became(box.run(GOOD, [QUESTION]).replies[0]) == "right"


BURN = """
import time
began = time.process_time()
while time.process_time() - began < 0.6: pass
"""


def test_busy_neighbors_take_no_time_from_a_notebook():
    limits = replace(LIMITS, seconds=4, cell_seconds=1.2, exercise_seconds=1.2)
    burning = "def double(x):\n" + BURN.replace("\n", "\n    ") + "\n    return 2 * x"
    busy = [sys.executable, "-c", "while True: pass"]
    with sandbox(limits) as box:
        neighbors = [subprocess.Popen(busy) for _ in range(3 * len(os.sched_getaffinity(0)))]
        try:
            told = box.run([BURN, burning], [QUESTION])
        finally:
            for one in neighbors:
                one.kill()
                one.wait()
        assert (told.status, told.cells[0].error) == ("graded", None)
        assert became(told.replies[0]) == "right"


def test_what_a_killed_grader_left_is_buried(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True)  # fmt: skip
    left = tmp_path / f"coursekit-{int(ended.stdout)}-0"
    kept = tmp_path / f"coursekit-{os.getpid()}-0"
    for folder in (left, kept, tmp_path / "coursekit-notes"):
        folder.mkdir()
    cgroup.bury(tmp_path)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [kept.name, "coursekit-notes"]


def test_trusted_runs_without_bubblewrap(monkeypatch):
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: None)
    with Box(LIMITS, trusted=True, readable=[ATTACKS], driver="fake_driver:drive") as box:
        outcome = box.run([*GOOD, "while True: pass"], [QUESTION])
        assert (outcome.status, became(outcome.replies[0])) == ("graded", "right")
        assert box.run(["import os; os._exit(3)"]).status == "crashed"
    with pytest.raises(NoSandbox, match="apt install bubblewrap"):
        Box(LIMITS)


def test_selftest_passes_here_and_fails_without_a_sandbox():
    sandbox().close()
    segments = shared_segments()

    def make(limits, **options):
        return Box(limits, readable=[ATTACKS], driver="fake_driver:drive", **options)

    report = selftest(LIMITS, make_box=make)
    assert report.passed, str(report)
    open_air = selftest(LIMITS, make_box=lambda limits: make(limits, trusted=True))
    assert not open_air.passed
    broke = {name for name, ok in open_air if not ok}
    assert {"network", "a file of the grader", "writing beside a file of the grader"} <= broke
    assert {"nothing reached the server outside", "memory of System V"} <= broke
    assert shared_segments() == segments, "they stay until the machine is started anew"


def shared_segments():
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}


def test_what_answers_import_can_be_there_before():
    sandbox().close()
    given = {"readable": [ATTACKS], "driver": "fake_driver:drive"}
    # A first fork of a large process takes its time where others work: no question of limits here.
    patient = replace(LIMITS, seconds=20, cell_seconds=10)
    for preload in ((), ("scipy.stats",)):
        with Box(patient, preload=preload, **given) as box:
            told = box.run(["import sys", "print('scipy.stats' in sys.modules)"])
            # On a busy machine the first cell's end is heard when the second has printed already.
            assert "".join(cell.text for cell in told.cells).strip() == str(bool(preload))


def test_a_box_proves_itself_before_it_grades():
    sandbox().close()
    options = {"readable": [ATTACKS], "driver": "fake_driver:drive"}
    with ProvenBox(LIMITS, **options) as box:
        assert box.run(["x = 1"]).status == "graded"
        assert box.limits == LIMITS
    open_air = ProvenBox(LIMITS, trusted=True, **options)
    for _ in range(2):  # a second try is no way in
        with pytest.raises(NoSandbox, match=r"expected a sandbox that holds[\s\S]*BROKE network"):
            open_air.open()


def test_a_box_whose_trial_broke_off_is_not_proven(monkeypatch):
    sandbox().close()
    box = ProvenBox(LIMITS, readable=[ATTACKS], driver="fake_driver:drive")
    with monkeypatch.context() as patch:
        patch.setattr("coursekit.grading.sandbox.selftest._attempts", _full)
        with pytest.raises(OSError, match="full"):
            box.open()
    assert not box._proven
    assert box.limits == LIMITS
    with box:
        assert box._proven


def _full(*_):
    raise OSError("disk full")


# The reply channel


def frame(text, body=b""):
    return struct.pack(">II", len(text), len(body)) + text + body


ANSWER = b'{"kind": "answer", "probe": 0, "notes": {}, "arrays": %s}'


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 100,
        frame(b"[]"),
        frame(b"nothing"),
        frame(b'{"kind": "cell", "index": NaN}'),
        frame(b'{"kind": "cell", "index": 1}'),
        frame(b'{"kind": "cell", "index": true}'),
        frame(b'{"kind": "cell", "index": 0, "error": "x"}'),
        frame(b'{"kind": "cell", "index": 0, "error": {"name": 1, "message": ""}}'),
        frame(b'{"kind": "missing", "probe": -1}'),
        frame(b'{"kind": "missing", "probe": "0"}'),
        frame(b'{"kind": "exercise", "probes": 3, "ended": ""}'),
        frame(b'{"kind": []}'),
        frame(b"[" * 100_000),
        frame(b'{"kind": %s}' % (b"1" * 5000)),
        frame(b"\xff\xfe{}"),
        struct.pack(">II", 10, 2**31),
    ],
)
def test_garbage_is_refused(data):
    script = transcript.start(1, 1, 1000, 1000)
    with pytest.raises(frames.Garbage):
        transcript.receive(script, data, lambda: None)


@pytest.mark.parametrize(
    ("listed", "body"),
    [
        (b'[["a", "|O", [1]]]', bytes(8)),
        (b'[["a", "<f8", [2]]]', bytes(8)),
        (b'[["a", "<f8", [1]]]', bytes(9)),
        (b'[["a", "<f8", [-1]]]', bytes(8)),
        (b'[["a", "<f8", [1.0]]]', bytes(8)),
        (b'[["a", "<f8", [true]]]', bytes(8)),
        (b'[["a", "<f8", 1]]', bytes(8)),
        (b'[["a", "<f8"]]', bytes(8)),
        (b'[["a", "f8,f8", [1]]]', bytes(16)),
        (b'[["a", "<f8", [0, 2147483647, 2147483647, 2147483647]]]', b""),
        (b'[["a", "<i4", [1]], ["a", "<i4", [1]]]', bytes(8)),
        (b"null", b""),
    ],
)
def test_arrays_that_do_not_fit_are_refused(listed, body):
    script = transcript.start(0, 1, 1000, 1000)
    transcript.receive(script, frame(ANSWER % listed, body), lambda: None)
    assert script.replies[0].status == "refused"


def test_the_first_answer_counts_and_halves_of_frames_wait():
    script = transcript.start(0, 1, 1000, 1000)
    data = frame(ANSWER % b'[["a", "<f4", []]]', np.float32(3).tobytes())
    for byte in data + frame(b'{"kind": "missing", "probe": 0}'):
        transcript.receive(script, bytes([byte]), lambda: None)
    assert script.replies[0].arrays == {"a": np.float32(3)}


def test_good_frames_before_garbage_are_kept():
    script = transcript.start(0, 1, 1000, 1000)
    with pytest.raises(frames.Garbage):
        transcript.receive(script, frame(ANSWER % b"[]") + b"\xff" * 20, lambda: None)
    assert script.replies[0].status == "answered"


def test_all_answers_together_are_limited():
    script = transcript.start(0, 3, 1000, 1000)
    one = frame(ANSWER % b'[["a", "|u1", [600]]]', bytes(600))
    transcript.receive(script, one, lambda: None)
    transcript.receive(script, one.replace(b'"probe": 0', b'"probe": 1'), lambda: None)
    short = ANSWER % b'[["a", "|u1", [6]]]'
    transcript.receive(script, frame(short.replace(b": 0,", b": 2,"), bytes(6)), lambda: None)
    assert [reply.status for reply in script.replies] == ["answered", "refused", "answered"]
    transcript.receive(script, 4 * one, lambda: None)
    with pytest.raises(frames.Garbage, match="each"):  # a flood is no answer
        transcript.receive(script, one, lambda: None)


def test_frames_carry_every_plain_dtype_and_nothing_else():
    given = {k: np.ones((2, 3), dtype=k) for k in ("?", "b", "H", "<i4", ">f8", "f2", "D")}
    [(header, body)] = frames.pop(bytearray(frames.encode({"kind": "x"}, given)), 10_000)
    back = frames.arrays(header, body)
    for name, array in given.items():
        np.testing.assert_array_equal(back[name], array)
    for bad in (np.array([None]), np.array(["a"]), np.zeros(1, "V3"), np.zeros(1, "M8[s]")):
        with pytest.raises(frames.Garbage):
            frames.encode({}, {"bad": bad})
    with pytest.raises(frames.Garbage):
        frames.encode({"x": float("nan")})


# The machine


@pytest.mark.parametrize(
    ("folder", "below"), [("sandbox", ""), ("intake", "|intake"), ("book", "|intake|book")]
)
def test_the_parts_of_grading_build_on_each_other(folder, below):
    # The sandbox knows nothing of exercises and grades, so it stays small and starts fast.
    for path in Path(box_module.__file__).parents[1].joinpath(folder).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"(?m)^(?:from|import) coursekit\.(\S+)", text)
        allowed = rf"grading\.(sandbox{below})\b" + ("" if folder == "sandbox" else r"|(?!grading)")
        assert [name for name in used if not re.match(allowed, name)] == [], path.name


def test_an_old_or_missing_bubblewrap_is_told(monkeypatch, tmp_path):
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSandbox, match=r"0\.8 or newer[\s\S]*bubblewrap 0\.6\.1"):
        bubblewrap.executable()
    old.write_text("#!/bin/sh\necho bubblewrap 0.10.0\n")
    assert bubblewrap.executable() == str(old)


def test_forbidden_namespaces_name_the_settings_to_look_at(monkeypatch):
    sandbox().close()

    def refused(*args, **_):
        return ["sh", "-c", "echo bwrap: setting up uid map: Permission denied >&2; exit 1"]

    monkeypatch.setattr(bubblewrap, "command", refused)
    monkeypatch.setattr(bubblewrap, "with_order", lambda line, **_: line)
    with pytest.raises(NoSandbox, match=r"Permission denied[\s\S]*apparmor_restrict"):
        Box(LIMITS).open()


def test_an_import_that_fails_inside_is_told():
    sandbox().close()
    with pytest.raises(RuntimeError, match="No module named 'nowhere'"):
        Box(LIMITS, driver="nowhere:drive").open()


def test_an_environment_that_is_a_whole_home_is_refused(monkeypatch):
    monkeypatch.setattr(bubblewrap, "_interpreter", lambda: [Path.home()])
    with pytest.raises(NoSandbox, match="folder of its own"):
        bubblewrap._refuse_too_much(bubblewrap.visible_paths(()))


def test_the_lists_of_refused_calls_are_whole():
    for machine, column in confine.MACHINES.values():
        lines = confine._bpf_program(machine, column)
        assert all(
            0 <= jump < 256 and i + jump < len(lines)
            for i, line in enumerate(lines)
            for jump in line[1:3]
        )
        numbers = [pair[column] for pair in confine.REFUSED.values()]
        assert len(set(numbers)) == len(numbers)


def test_cgroup_of_version_2(tmp_path, monkeypatch):
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids")
    monkeypatch.setattr(cgroup, "_parents", lambda root: [root])
    group = cgroup.make("box", 1000, 10, root=tmp_path)
    assert (tmp_path / "box/memory.max").read_text() == "1000"
    assert (tmp_path / "box/pids.max").read_text() == "10"
    (tmp_path / "box/memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert cgroup.oom_kills(group) == 2


def test_no_cgroup_where_none_can_be_made(tmp_path):
    assert not cgroup.make("box", 1000, 10, root=tmp_path)
    assert cgroup.oom_kills(cgroup.Group()) == 0


def test_exercises_are_driven_by_default():
    pytest.importorskip("coursekit.exercises")
    from dataclasses import asdict

    from coursekit.exercises import driving, exercises

    name, exercise = next(iter(exercises().items()))
    probe = exercise.ask(0)[0]
    drive = zygote.driver_of(driving.kit(exercises()))
    arrays, notes = drive(name, None, exercise.rights[0].function, asdict(probe))
    assert arrays
    assert notes["error"] is None
    assert set(arrays) <= set(notes["kinds"])
