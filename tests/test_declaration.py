"""A declaration of a study of one's own: frozen before it is run, and never changed in silence."""

import json

import pytest

from coursekit import declaration
from coursekit.course import lessons, notebook
from coursekit.declaration import declarations_file, declare

STRENGTH = 0.1


def sides():
    return [0.50, 0.40, 0.60], [0.10 * STRENGTH, 0.10, 0.20]


def others():
    return [0.50, 0.40, 0.60], [0.10, 0.10, 0.20]


ASKED = {
    "question": "Does it lower the error?",
    "control": "without",
    "treated": "with",
    "prediction": "it lowers the error",
    "better": "lower",
    "smallest": 0.05,
    "unit": "degrees",
    "because": "nobody would notice less",
    "expects": "supported",
    "would_change": "an interval that holds zero",
    "seeds": range(100, 103),
    "code": [sides],
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSEKIT_STATIC", raising=False)
    new_session(monkeypatch)


@pytest.fixture
def new(monkeypatch):
    return lambda: new_session(monkeypatch)


def new_session(monkeypatch):
    monkeypatch.setattr(declaration, "_memory", {})


def test_the_same_declaration_may_be_made_again_in_another_session(new):
    first = declare("study", **ASKED)
    new()
    again = declare("study", **ASKED | {"seeds": [100, 101, 102]})
    assert (again.hash, len(again.versions)) == (first.hash, 1)
    assert again.versions[0]["when"] == first.versions[0]["when"] != ""
    assert f"Declared on {first.versions[0]['when']} as {first.hash}." in repr(again)


CHANGES = [
    ({"smallest": 0.04}, r"smallest \(0\.05, now 0\.04\)"),
    ({"better": "higher"}, r"better \(lower, now higher\)"),
    ({"seeds": range(100, 104)}, r"seeds \(\[100, 101, 102\], now \[100, 101, 102, 103\]\)"),
    ({"question": "Does it help?"}, r"question \(.*\)"),
    ({"metric": "nll"}, r"metric"),
    ({"code": [others]}, r"code and data"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_a_change_is_refused_and_named(new, change, named):
    first = declare("study", **ASKED)
    new()
    with pytest.raises(ValueError, match=rf"{first.hash}\), got another .*{named}.*deviation="):
        declare("study", **ASKED | change)
    assert declare("another study", **ASKED | change).hash != first.hash


def test_what_the_code_names_is_frozen_too(monkeypatch):
    declare("study", **ASKED)
    monkeypatch.setitem(globals(), "STRENGTH", 0.2)
    with pytest.raises(ValueError, match="code and data"):
        declare("study", **ASKED)


def test_a_change_with_a_reason_is_a_version_that_says_when(new):
    first = declare("study", **ASKED)
    before = declare("study", **ASKED | {"smallest": 0.04}, deviation="I had mistaken the unit.")
    before.verdict(*sides())
    new()
    after = declare("study", **ASKED | {"smallest": 0.03}, deviation="It came out so close.")
    told = repr(after)
    assert [one["hash"] for one in after.versions] == [first.hash, before.hash, after.hash]
    assert "before any verdict: I had mistaken the unit." in told
    assert "after a verdict had been seen: It came out so close." in told
    # Going back is a change as well.
    with pytest.raises(ValueError, match="got another smallest"):
        declare("study", **ASKED)


def test_the_verdict_is_by_what_was_declared():
    declared = declare("study", **ASKED)
    verdict = declared.verdict(*sides())
    assert (verdict.outcome, verdict.direction, verdict.smallest) == ("supported", -1, 0.05)
    assert str(verdict).startswith("it lowers the error: supported (")
    assert "degrees" in str(verdict)
    raised = declare("up", **ASKED | {"better": "higher"}).verdict(*sides())
    assert raised.outcome == "contradicted"
    with pytest.raises(ValueError, match="expected one score for each of the 3 declared seeds"):
        declared.verdict([0.5, 0.4], [0.1, 0.1])


def test_a_metric_brings_its_unit_and_margin():
    declared = declare("study", **ASKED | {"metric": "accuracy", "smallest": None})
    assert (declared.facts["smallest"], declared.facts["unit"]) == (1.0, "points")
    assert declared.verdict(*sides()).effect == pytest.approx(-39.7, abs=0.1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"question": "..."}, "expected a sentence for question"),
        ({"because": ""}, "expected a sentence for because"),
        ({"smallest": None}, "expected the smallest effect that matters"),
        ({"smallest": 0}, "expected the smallest effect that matters"),
        ({"better": "good"}, "unknown better 'good'"),
        ({"expects": "yes"}, "unknown expects 'yes'"),
        ({"seeds": [1, 1]}, "expected two seeds or more, each once"),
        ({"code": []}, "expected functions that train"),
        ({"code": [[0.1]]}, "expected functions that train"),
    ],
)
def test_what_is_missing_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        declare("study", **ASKED | change)
    assert not declarations_file().exists()


@pytest.mark.parametrize("content", ["{", '{"study": {"versions": [3]}}', '{"study": {}}'])
def test_a_damaged_file_begins_anew(content):
    declarations_file().parent.mkdir(parents=True)
    declarations_file().write_text(content)
    assert len(declare("study", **ASKED).versions) == 1
    assert "versions" in json.loads(declarations_file().read_text())["study"]


def test_what_cannot_be_kept_holds_in_this_session(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="set COURSEKIT_HOME to a folder that you may write"):
        declare("study", **ASKED)
    with pytest.raises(ValueError, match="got another smallest"):
        declare("study", **ASKED | {"smallest": 0.04})


def test_a_page_that_is_stored_for_everybody_knows_no_time_and_no_file(monkeypatch):
    declare("study", **ASKED | {"smallest": 0.04})
    new_session(monkeypatch)
    monkeypatch.setenv("COURSEKIT_STATIC", "1")
    kept = declarations_file().read_text()
    declared = declare("study", **ASKED)
    declared.verdict(*sides())
    assert repr(declared).startswith(f"Declared as {declared.hash}.")
    assert declarations_file().read_text() == kept
    with pytest.raises(ValueError, match="as it was declared \\("):
        declare("study", **ASKED | {"smallest": 0.03})


def test_the_project_adds_up_and_says_so():
    cells = notebook.read(lessons.folder() / "exercises" / "project.ipynb").cells
    [table] = [c.source for c in cells if c.source.startswith("## What a reader will look for")]
    lines = [line for line in table.splitlines() if line.startswith("| **")]
    assert f"**{4 * len(lines)} points, given by a person**" in cells[0].source
    assert all(line.count("|") == table.count("|---") + 1 for line in lines)
