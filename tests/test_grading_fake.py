"""A box without walls for the tests of the grader: it runs submissions in this process.

Fast and harmless only with what the tests themselves hand in. Orders in a cell's first line, such
as `# crash`, stand for what a real box would see.
"""

import inspect
import json
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from coursekit.exercises import bank, driving, pages
from coursekit.grading.sandbox import box as real
from coursekit.grading.sandbox import zygote
from coursekit.grading.sandbox.transcript import (
    ANSWERED,
    MISSING,
    NOT_RUN,
    TIME,
    CellRun,
    Error,
    Reply,
)

RIGHT = "def classic_weights(weight, rate):\n    return weight * (1 - rate)"


@cache
def _drive():
    return zygote.driver_of(driving.kit(bank.exercises()))


class FakeBox:
    """Answers like `Box`; `log` names a file that gets a line for each run.

    Files beside the notebook are in a dict `FILES`.
    """

    def __init__(self, log=None):
        self.log, self.faults = log, 0

    def begin(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, cells, probes=(), helpers=None):
        text = "\n".join(cells)
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()}\n")
        if "# slow" in text:
            time.sleep(0.02)
        if "# die" in text:
            os._exit(1)
        if "# bug" in text:
            raise KeyError("a slip in the box")
        if "# fault" in text:
            return outcome("grader fault", "the box is broken", cells, probes)
        if "# late" in text:
            return outcome(TIME, "code cell 2 took too long and was stopped", cells, probes)
        names, told = {"FILES": dict(helpers or {})}, []
        for source in cells:
            try:
                exec(source, names)
                told.append(CellRun("ran"))
            except Exception as error:
                line = getattr(error, "lineno", 1)
                told.append(CellRun("raised", Error(type(error).__name__, str(error), 0, line)))
        replies = [self.answer(names, probe) for probe in probes]
        return real.Outcome("graded", "", told, replies, 0.1, 1 << 20)

    def answer(self, names, probe):
        if probe["function"] not in names:
            return Reply(MISSING)
        given = names[probe["function"]]
        arrays, notes = _drive()(probe["name"], probe["variant"], given, probe["inputs"])
        return Reply(ANSWERED, arrays, notes)


class Chatty(FakeBox):
    """Alters the first answers of a run, as `self.change(reply)` says."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def answer(self, names, probe):
        return self.change(super().answer(names, probe))


def outcome(status, reason, cells, probes):
    """What a box tells that did not come to the end."""
    replies = [Reply(NOT_RUN) for _ in probes]
    return real.Outcome(status, reason, [CellRun() for _ in cells], replies, 1.0, 0)


def handed_in(lesson="04", key=None, *, text=None, strip=False, empty=False, **answers):
    """Bytes of a notebook as a student saves it: by default with the bank's right answers."""
    notebook = json.loads(json.dumps(pages.page(lesson, key, solved=not empty)))
    released = {cell["id"]: cell["source"] for cell in pages.page(lesson, key).cells}
    for cell in notebook["cells"]:
        name = cell["id"].removesuffix("-answer").replace("-", "_")
        if cell["id"].endswith("-explain"):
            cell["source"] = text or released[cell["id"]]
        elif name in answers:
            cell["source"] = answers[name]
    if strip:
        for cell in notebook["cells"]:
            cell.pop("id"), cell.pop("metadata")
    return json.dumps(notebook).encode()


def changed(raw, change):
    """Bytes of a notebook after `change(cells)`."""
    notebook = json.loads(raw)
    change(notebook["cells"])
    return json.dumps(notebook).encode()


def put(path, content):
    """Write a file and the folders around it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("method", ["run", "begin", "__enter__", "__exit__"])
def test_the_fake_box_is_called_like_the_real_one(method):
    theirs = inspect.signature(getattr(real.Box, method)).parameters
    ours = inspect.signature(getattr(FakeBox, method)).parameters
    assert list(theirs) == list(ours)


def test_the_fake_box_answers_in_arrays():
    probe = {"name": "classic_weights", "variant": None, "function": "classic_weights"}
    inputs = {"weight": np.ones((2, 3), np.float32), "rate": 0.5}
    asked = {**probe, "inputs": {"name": "p", "inputs": inputs}}
    told = FakeBox().run([RIGHT], [asked])
    np.testing.assert_array_equal(told.replies[0].arrays["the result"], np.full((2, 3), 0.5))
