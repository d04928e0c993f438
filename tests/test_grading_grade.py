"""One submission from bytes to record: who decides, with which inputs, and in whose words."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from test_grading_fake import Chatty, FakeBox, handed_in

from coursekit.exercises import bank
from coursekit.exercises.exercise import OPEN, RIGHT, WRONG
from coursekit.grading import grade as grading
from coursekit.grading.book import records
from coursekit.grading.sandbox.transcript import (
    CRASHED,
    MEMORY,
    NOT_RUN,
    RAISED,
    REFUSED,
    TIME,
    Error,
    Reply,
)

NAME, RANDOM = "classic_weights", "inverted_dropout"
POINTS = sum(e.points for e in bank.of_lesson("04"))
VERSION = "0123456789ab"


def graded(raw, box=None, key=None, sha256="ab" * 32):
    job = {
        "sha256": sha256,
        "raw": raw,
        "lesson": "04",
        "key": key,
        "version": VERSION,
        "salt": "s",
    }
    record = grading.grade(job, box or FakeBox())
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    return record


def of(record, name=NAME):
    return next(row for row in record["exercises"] if row["name"] == name)


def test_right_answers_get_all_points_and_a_complete_record():
    record = graded(handed_in(text="Because."))
    assert (record["status"], record["points"]) == ("graded", POINTS)
    assert record["out_of"] == POINTS + sum(q.points for q in bank.questions_of("04"))
    asked = {"name": "best_rate", "out_of": 3, "explanation": "Because."}
    assert asked in record["questions"]
    assert {row["status"] for row in record["exercises"]} == {RIGHT}
    assert record["machine"]["coursekit"]
    assert record["date"].startswith("20")


def test_right_answers_to_a_classs_conventions_fit_that_class_only():
    keys = [f"class-{n}" for n in range(9)]
    key = next(k for k in keys if bank.find(RANDOM, k).variant)
    assert of(graded(handed_in(key=key), key=key), RANDOM)["status"] == RIGHT
    assert of(graded(handed_in(), key=key), RANDOM)["status"] == WRONG


def test_a_stub_is_not_attempted_and_an_unreadable_file_has_no_points():
    record = graded(handed_in(empty=True))
    assert (record["status"], record["points"]) == ("graded", 0)
    for row in record["exercises"]:  # a bug hunt's stub is its bug
        assert row["status"] == (WRONG if bank.find(row["name"]).kind == "repair" else OPEN)
    record = graded(b"{}")
    assert (record["status"], record["rule"]) == ("unreadable", "not a notebook")
    assert record["points"] is None


def test_wrong_answers_are_told_the_slip():
    slip = bank.find(NAME).slips[0]
    record = graded(handed_in(classic_weights=slip.code.text))
    assert of(record)["status"] == WRONG
    assert slip.sentence in of(record)["sentence"]
    assert record["points"] == POINTS - bank.find(NAME).points


# Seeds


def test_inputs_follow_from_the_submission_and_the_version():
    assert records.seed("s", "a", "b") == records.seed("s", "a", "b")
    assert len({records.seed(*who) for who in ["sab", "sbb", "sac", "tab"]}) == 4
    record = graded(handed_in())
    assert of(record)["seed"] == records.seed("s", "ab" * 32, VERSION)
    assert of(graded(handed_in(), sha256="cd" * 32))["seed"] != of(record)["seed"]


def test_the_version_follows_key_and_exercises(monkeypatch):
    assert records.version("04") == records.version("04")
    assert records.version("04") != records.version("04", "a")
    before = records.version("04")
    monkeypatch.setattr(records, "RULES", records.RULES + 1)
    assert records.version("04") != before


class Unlucky(FakeBox):
    """Its first run has draws that are off."""

    runs = 0

    def run(self, cells, probes=(), helpers=None):
        self.runs += 1
        self.seen = [probe["inputs"]["seed"] for probe in probes if probe["inputs"]["draws"]]
        self.asked = {probe["name"] for probe in probes}
        return super().run(cells, probes)

    def answer(self, names, probe):
        reply = super().answer(names, probe)
        if probe["inputs"]["draws"] and self.runs == 1:
            arrays = {k: np.zeros_like(v) for k, v in reply.arrays.items()}
            return replace(reply, arrays=arrays)
        return reply


def test_what_fails_by_chance_is_asked_once_more_with_another_seed():
    box = Unlucky()
    row = of(graded(handed_in(), box), RANDOM)
    assert box.runs == 2
    assert NAME not in box.asked
    assert row["status"] == RIGHT
    assert row["seeds"] == [records.seed("s", "ab" * 32, VERSION, n) for n in (0, 1)]
    assert row["seed"] == row["seeds"][-1]


def test_what_is_wrong_twice_is_wrong_and_plain_slips_get_no_second_try():
    wrong = "def inverted_dropout(x, rate, training):\n    return x * {}"
    box = Unlucky()
    twice = wrong.format("(torch.rand_like(x) >= rate) if training else x")
    row = of(graded(handed_in(inverted_dropout=twice), box), RANDOM)
    assert (box.runs, row["status"], len(row["seeds"])) == (2, WRONG, 2)
    box = Unlucky()
    box.runs = 1  # lucky from the start
    row = of(graded(handed_in(inverted_dropout=wrong.format("2")), box), RANDOM)
    assert (box.runs, row["status"], len(row["seeds"])) == (2, WRONG, 1)


# Where things go wrong


def test_a_cell_that_raises_is_named_as_the_student_counts_cells():
    raw = handed_in(classic_weights="import nothing_here\ndef classic_weights(w, r): return w")
    told = of(graded(raw))
    assert told["status"] == WRONG
    codes = [c for c in json.loads(raw)["cells"] if c["cell_type"] == "code"]
    number = 1 + [c["id"] for c in codes].index("classic-weights-answer")
    assert f"code cell {number} in line 1 raised ModuleNotFoundError" in told["sentence"]
    record = graded(handed_in(classic_weights="# late"))
    assert record["status"] == TIME
    assert record["reason"] == f"code cell {number} took too long and was stopped"


def test_no_function_at_all_is_told():
    raw = handed_in(classic_weights="x = 1")
    assert "was there after all cells had run" in of(graded(raw))["sentence"]
    raw = json.loads(raw)
    raw["cells"] = [c for c in raw["cells"] if c["id"] != "classic-weights-answer"]
    told = of(graded(json.dumps(raw).encode()))
    assert (told["status"], "no cell defines it" in told["sentence"]) == (OPEN, True)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(TIME, error=Error(TIME, "took too long")), "took too long and was stopped"),
        (Reply(MEMORY, error=Error(MEMORY, "too much")), "needed more memory than there is"),
        (Reply(CRASHED, error=Error(CRASHED, "was killed by SIGSEGV")), "killed by SIGSEGV"),
        (Reply(RAISED, error=Error("ValueError", "oh")), "it raised ValueError: oh"),
        (Reply(REFUSED, error=Error("Garbage", "an object")), "cannot be compared: an object"),
        (Reply(RAISED, error=Error("KeyError", "oh", 3, 2)), "KeyError: oh (code cell 8, line 2)"),
    ],
)
def test_an_exercise_without_an_answer_says_why_and_spoils_no_other(reply, words):
    def change(given):
        return reply if set(given.arrays) & {"weight afterwards"} else given

    record = graded(handed_in(), Chatty(change))
    assert words in of(record)["sentence"]
    assert of(record)["status"] == WRONG
    assert of(record, RANDOM)["status"] == RIGHT


def test_files_beside_the_notebook_reach_the_box_or_are_told():
    class Curious(FakeBox):
        def run(self, cells, probes=(), helpers=None):
            self.helpers = helpers
            return super().run(cells, probes)

    box = Curious()
    job = {"sha256": "ab" * 32, "raw": handed_in(), "lesson": "04", "key": None}
    job |= {"version": VERSION, "salt": "s", "helpers": {"mine.py": b"x = 1"}}
    assert grading.grade(job, box)["notes"] == []
    assert box.helpers == {"mine.py": b"x = 1"}
    record = grading.grade(job | {"helpers": {"../mine.py": b""}}, box)
    assert record["points"] == POINTS
    assert "were left out: expected a file beside the notebook" in record["notes"][0]
    assert box.helpers == {}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("mine.py", b"import torch\nfrom coursekit.regularizers import dropout", True),
        ("lib/mine.py", b"if True:\n\timport os, coursekit.linear as l", True),
        ("mine.py", b"# from coursekit import x\nimport coursekitten\nx = 'coursekit'", False),
        ("mine.csv", b"import coursekit", False),
    ],
)
def test_a_module_beside_that_imports_the_course_is_marked(name, content, told):
    job = {"sha256": "ab" * 32, "raw": handed_in(), "lesson": "04", "key": None}
    job |= {"version": VERSION, "salt": "s", "helpers": {name: content}}
    record = grading.grade(job, FakeBox())
    assert record["marks"] == [grading.OF_THE_COURSE] * told
    assert record["beside"] == {name: hashlib.sha256(content).hexdigest()}


def test_a_stub_is_open_and_an_error_of_a_library_is_wrong():
    lacks = "import torch\ndef classic_weights(weight, rate):\n    return {}"
    for code in ("torch.nn.Module()(weight)", "weight.to('meta')", "weight.to_sparse().median()"):
        row = of(graded(handed_in(classic_weights=lacks.format(code))))
        assert row["status"] == WRONG, code
    own = "def classic_weights(weight, rate):\n    raise NotImplementedError()"
    assert of(graded(handed_in(classic_weights=own)))["status"] == OPEN


def test_long_floats_are_numbers():
    code = "import numpy as np\ndef holm(p_values):\n    {}    return adjusted.astype({})"
    body = "order = np.argsort(p_values)\n    factors = np.arange(len(p_values), 0, -1)\n"
    body += "    adjusted = np.empty(len(p_values))\n"
    body += "    steps = np.maximum.accumulate(p_values[order] * factors)\n"
    body += "    adjusted[order] = np.minimum(steps, 1)\n"
    task = bank.find("holm")
    for kind in ("np.longdouble", "np.float64"):
        space = {}
        exec(code.format(body, kind), space)
        assert task.check(space["holm"]).status == RIGHT
        reply = task.drive(space["holm"], task.ask(0)[0])
        assert reply.values["the result"].array.dtype == np.float64


def test_what_was_answered_before_the_end_counts():
    class Short(FakeBox):
        def answer(self, names, probe):
            known = probe["name"] == RANDOM
            return super().answer(names, probe) if known else Reply(NOT_RUN)

        def run(self, cells, probes=(), helpers=None):
            return replace(super().run(cells, probes), status=MEMORY, reason="too much memory")

    record = graded(handed_in(), Short())
    assert record["status"] == MEMORY
    assert record["points"] == of(record, RANDOM)["points"] == bank.find(RANDOM).points
    assert "not reached, since the notebook was stopped: too much memory" in of(record)["sentence"]


def test_a_fault_of_the_box_is_no_grade():
    record = graded(handed_in(classic_weights="# fault"))
    assert (record["status"], record["reason"]) == ("grader fault", "the box is broken")
    assert record["points"] is None


def test_a_broken_reference_is_our_fault_and_not_a_wrong_answer(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(bank.exercises()[NAME], "reference", broken)
    assert graded(handed_in())["status"] == "grader fault"


# What a submission says is not believed


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"kinds": 3},
        {"kinds": {"the result": ["Tensor"]}},
        {"kinds": {"x" * 300: "y" * 9000}},
        {"error": {"type": None}},
        {"kinds": {}, "error": {"message": ["\x1b[2J" * 9000]}},
    ],
)
def test_forged_notes_are_wrong_answers_and_stay_short(notes):
    record = graded(handed_in(), Chatty(lambda reply: replace(reply, notes=notes)))
    assert of(record)["status"] == WRONG
    assert len(of(record)["sentence"]) <= grading.LONGEST
    assert "\x1b" not in of(record)["sentence"]


@pytest.mark.parametrize("dtype", [np.complex64, np.bool_, np.int8, np.float16, np.uint64])
def test_arrays_of_any_type_are_judged(dtype):
    def change(reply):
        return replace(reply, arrays={k: v.astype(dtype) for k, v in reply.arrays.items()})

    assert of(graded(handed_in(), Chatty(change)))["status"] == WRONG


def test_a_reply_that_cannot_be_compared_goes_to_a_person(monkeypatch):
    monkeypatch.setattr(grading, "_answer", lambda reply: None)
    record = graded(handed_in())
    assert record["status"] == "needs review"
    assert of(record)["status"] == "needs review"
    assert record["points"] == 0


def test_messages_do_not_carry_the_hidden_inputs_out():
    leak = (
        "def classic_weights(weight, rate):\n    raise ValueError(f'{weight[0].tolist()} {rate}')"
    )
    told = of(graded(handed_in(classic_weights=leak)))["sentence"]
    assert "it raised ValueError" in told
    message = told.split("ValueError", 1)[1].rsplit(":", 1)[1]
    assert not any(sign.isdigit() for sign in message)
