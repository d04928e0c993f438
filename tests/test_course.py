"""Lessons as files: each run is told in one line, and no failure costs a finished notebook."""

import base64
import configparser
import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat import v4

from coursekit import plots
from coursekit.course import copies, lessons, notebook


def make(path, *sources):
    notebook.write(v4.new_notebook(cells=[v4.new_code_cell(s) for s in sources]), path)
    return path


def printed(path, cell=-1):
    return notebook.printed(notebook.read(path).cells[cell])


@pytest.fixture
def lesson(tmp_path):
    return make(tmp_path / "01_tiny.ipynb", "x = 2", "print(x + 2)")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The module as an installed package sees it: no checkout around, lessons in the package."""
    package = tmp_path / "site" / "coursekit"
    stored = package / "_course" / "notebooks"
    (stored / "exercises").mkdir(parents=True)
    make(stored / "00_first.ipynb", "1")
    make(stored / "01_second.ipynb", "2")
    make(stored / "exercises" / "00_first.ipynb", "3")
    (stored / ".keep").touch()
    monkeypatch.setattr(lessons, "__file__", str(package / "course" / "lessons.py"))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return stored


# Running


def test_execute_stores_outputs_and_leaves_the_source_alone(lesson, tmp_path):
    before = lesson.read_bytes()
    done = lessons.execute(lesson, tmp_path / "build" / "out.ipynb")
    assert done.error is None
    assert 0 < done.seconds < 60
    assert printed(tmp_path / "build" / "out.ipynb") == "4"
    assert lesson.read_bytes() == before


def test_kernel_is_this_python_whatever_is_registered(tmp_path, monkeypatch):
    wrong = tmp_path / "kernels" / "python3"
    wrong.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "Wrong", "language": "python"}
    (wrong / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    path = make(tmp_path / "a.ipynb", "import sys\nprint(sys.executable)")
    assert lessons.execute(path, path).error is None
    assert printed(path) == sys.executable


def test_environment_of_the_kernel(tmp_path):
    names = ["COURSEKIT_STATIC", "COURSEKIT_FIRST_SEED", "OMP_NUM_THREADS"]
    source = f"import os\nprint(*[os.environ.get(n) for n in {names}], os.getcwd())"
    path = make(tmp_path / "a.ipynb", source)
    lessons.execute(path, path, first_seed=7, threads=1)
    assert printed(path) == f"1 7 1 {tmp_path.resolve()}"


@pytest.mark.parametrize(
    ("source", "timeout", "sentence"),
    [
        (
            "raise ValueError('a\\nb')",
            60,
            "cell 2 of 3 (raise ValueError('a\\nb')): ValueError: a b",
        ),
        ("1/0", 60, "cell 2 of 3 (1/0): ZeroDivisionError: division by zero"),
        ("while True: pass", 1, "cell 2 of 3 (while True: pass): took more than 1 seconds"),
        ("import os; os._exit(3)", 60, "cell 2 of 3 (import os; os._exit(3)): Kernel died"),
    ],
)
def test_failure_is_one_sentence_and_spares_the_stored_notebook(
    tmp_path, source, timeout, sentence
):
    path = make(tmp_path / "a.ipynb", "print('so far')", source, "print('never')")
    before = path.read_bytes()
    assert lessons.execute(path, path, timeout=timeout).error == sentence
    assert path.read_bytes() == before
    lessons.execute(path, tmp_path / "out.ipynb", timeout=timeout)
    assert printed(tmp_path / "out.ipynb", 0) == "so far"
    assert list(tmp_path.glob(".*")) == []


def test_figures_are_stored_though_the_caller_draws_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    path = make(tmp_path / "a.ipynb", "import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    lessons.execute(path, path)
    assert any("image/png" in o.get("data", {}) for o in notebook.read(path).cells[0].outputs)


def test_executing_twice_gives_the_same_file(lesson):
    lessons.execute(lesson, lesson)
    first = lesson.read_bytes()
    lessons.execute(lesson, lesson)
    assert lesson.read_bytes() == first


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"first_seed": -1},
        {"threads": 0},
        {"threads": 1.5},
    ],
)
def test_execute_rejects(lesson, wrong):
    with pytest.raises(ValueError, match=r"expected .*got"):
        lessons.execute(lesson, lesson, **wrong)


@pytest.mark.parametrize("content", [None, "", "{}", "no json", '{"cells": 3, "nbformat": 4}'])
def test_what_is_no_notebook_is_named(tmp_path, content):
    path = tmp_path / "a.ipynb"
    if content is not None:
        path.write_text(content)
    done = lessons.execute(path, tmp_path / "b.ipynb")
    assert re.match(r"expected a notebook .*a\.ipynb", done.error)
    assert not (tmp_path / "b.ipynb").exists()
    assert lessons.rerun(path)[0].error == done.error


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_interrupt_keeps_what_is_finished_and_leaves_no_kernel(tmp_path):
    first = make(tmp_path / "00.ipynb", "print('done')")
    note = tmp_path / "pid"
    source = f"import os, time, pathlib\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))"
    second = make(tmp_path / "01.ipynb", source + "\ntime.sleep(60)")
    before = second.read_bytes()
    command = [sys.executable, "-m", "coursekit", "run", "--in-place", str(first), str(second)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == "Stopped. What was finished before is kept."
    assert printed(first) == "done"
    assert second.read_bytes() == before
    assert not is_running(int(note.read_text()))


def is_running(pid):
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


# Finding


def test_a_learner_gets_copies_in_a_checkout_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where, copied = copies.make()
    assert where == tmp_path / lessons.COPY
    assert copied > len(lessons.lessons())
    assert lessons.folder() == lessons.checkout() / "notebooks"
    assert (where / lessons.START).read_bytes() == lessons.start_page()[0].read_bytes()


def test_copies_overwrite_no_edit(installed, tmp_path):
    assert [p.name for p in lessons.lessons()] == ["00_first.ipynb", "01_second.ipynb"]
    where, copied = copies.make()
    assert (where.name, copied) == (lessons.COPY, 3)
    edited = where / "00_first.ipynb"
    edited.write_text("mine")
    (where / "01_second.ipynb").unlink()
    assert copies.make() == (where, 1)
    assert edited.read_text() == "mine"
    assert lessons.folder() == where


def test_an_installation_without_lessons_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "__file__", str(tmp_path / "coursekit" / "course" / "lessons.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"expected the lessons in .*try installing"):
        lessons.lessons()


def test_select(installed, lesson):
    assert [p.stem for p in lessons.select([])] == ["00_first", "01_second"]
    assert [p.stem for p in lessons.select(["01", "00_f"])] == ["01_second", "00_first"]
    assert lessons.select([lesson]) == [lesson]
    for wrong in ("07", "0", "nowhere.ipynb"):
        with pytest.raises(ValueError, match="got '" + wrong):
            lessons.select([wrong])


# The stored form


def test_strip_keeps_content_and_drops_noise():
    result = v4.new_output("execute_result", {"text/plain": "4"}, execution_count=31)
    cell = v4.new_code_cell("2 + 2", outputs=[result], execution_count=31)
    cell.metadata = nbformat.from_dict(
        {
            "tags": ["hint"],
            "execution": {"shell.execute_reply": "t"},
            "jupyter": {"source_hidden": True, "outputs_hidden": False},
            "coursekit": {"minutes": 4},
            "collapsed": True,
        }
    )
    twin = v4.new_code_cell("2 + 2", execution_count=40)
    unrun = v4.new_code_cell("never")
    nb = v4.new_notebook(cells=[v4.new_markdown_cell("# T"), cell, twin, unrun])
    nb.metadata = nbformat.from_dict({"language_info": {"version": "3.11"}, "widgets": {}})
    clean = notebook.strip(nb)
    nbformat.validate(clean)
    assert clean.metadata == {"kernelspec": notebook.KERNELSPEC}
    assert [c.execution_count for c in clean.cells[1:]] == [1, 2, None]
    assert clean.cells[1].outputs[0].execution_count == 1
    assert clean.cells[1].outputs[0].data == {"text/plain": "4"}
    kept = {"tags": ["hint"], "jupyter": {"source_hidden": True}, "coursekit": {"minutes": 4}}
    assert clean.cells[1].metadata == kept
    assert notebook.strip(clean) == clean
    assert nb.cells[1].execution_count == 31, "the caller's notebook was changed"


def test_an_answer_and_what_belongs_to_it_is_folded():
    def cell(tags, source="draw()"):
        return v4.new_code_cell(source, metadata={"tags": tags, "jupyter": {"outputs_hidden": 1}})

    plain, drawn, answer = [], ["hide-input"], ["hide-input", "hide-output"]
    cells = [cell(plain), cell(drawn), cell(answer), cell(drawn), cell(drawn)]
    cells += [cell(drawn, "one = widgets.predict('?', [])"), cell(drawn), cell(["hide-output"])]
    cells += [
        v4.new_markdown_cell("Words end it."),
        cell(drawn),
        cell(answer),
        *(cell(drawn) for _ in range(4)),
    ]
    clean = notebook.strip(v4.new_notebook(cells=cells))
    folded = [c.metadata.get("jupyter", {}).get("outputs_hidden", False) for c in clean.cells]
    assert "".join("·x"[f] for f in folded) == "··xxx··x··xxxx·"
    assert notebook.strip(clean) == clean


def test_cell_ids_follow_the_text_not_the_place():
    cells = [v4.new_code_cell(s) for s in ("a", "b", "a")]
    ids = [c.id for c in notebook.strip(v4.new_notebook(cells=cells)).cells]
    again = [c.id for c in notebook.strip(v4.new_notebook(cells=cells[1:])).cells]
    assert len(set(ids)) == 3
    assert again == [ids[1], ids[0]]


def test_write_leaves_the_old_file_when_it_fails(lesson, monkeypatch):
    before = lesson.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        notebook.write(notebook.read(lesson), lesson)
    assert lesson.read_bytes() == before
    assert [p.name for p in lesson.parent.iterdir()] == [lesson.name]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("-0.2 points, interval [-1.5, +1.2], 16 seeds", "# points, interval [#,#], 16 seeds"),
        ("a 95 % interval over 16 seeds.", "a 95 % interval over 16 seeds."),
        ("1e-05 or 2.5E+3", "# or#"),
        ("error \u22120.25 \u00b10.10", "error##"),
    ],
)
def test_mask_hides_measured_numbers_only(text, masked):
    assert notebook.mask(text) == masked


def test_sanitize_file_is_the_same_rule():
    stored = (lessons.checkout() / "tests" / "nbval_sanitize.cfg").read_text(encoding="utf-8")
    assert stored == notebook.sanitize_rules()


def verdict(text, source="# NBVAL_CHECK_OUTPUT\nprint(v)"):
    cell = v4.new_code_cell(source, outputs=[v4.new_output("stream", text=text)])
    return v4.new_notebook(cells=[v4.new_markdown_cell("# T"), cell])


def test_flips_compares_words_and_counts_of_marked_cells():
    stored = verdict("supported (0.25, 16 seeds)\n")
    assert notebook.flips(stored, verdict("supported (-1.5, 16 seeds)\n")) == []
    flip = notebook.Flip(2, "supported (0.25, 16 seeds)", "undecided (0.25, 16 seeds)")
    assert notebook.flips(stored, verdict("undecided (0.25, 16 seeds)\n")) == [flip]
    assert len(notebook.flips(stored, verdict("supported (0.25, 12 seeds)\n"))) == 1
    tagged, other = verdict("a", "print(v)"), verdict("b", "print(v)")
    tagged.cells[1].metadata["tags"] = [notebook.TAG]
    assert notebook.flips(tagged, other) == [notebook.Flip(2, "a", "b")]
    assert notebook.flips(verdict("a", "print(v)"), verdict("b", "print(v)")) == []
    with pytest.raises(ValueError, match="different cells"):
        notebook.flips(stored, verdict("x", "print(w)"))


def test_a_flip_shows_only_the_lines_that_changed_in_words():
    flip = notebook.Flip(2, "a: yes (0.25)\nb: yes (1.5)", "a: yes (-0.75)\nb: no (1.4)")
    assert flip.changed_lines() == ["- b: yes (1.5)", "+ b: no (1.4)"]


def test_pictures_come_in_their_order():
    def picture(content):
        data = {"image/png": base64.b64encode(content).decode(), "text/plain": "a finding"}
        return v4.new_output("display_data", data)

    drawing = f"<p>{plots.image('<svg>2</svg>', 'a finding')}{plots.image('<svg/>', 'b')}</p>"
    html = v4.new_output("display_data", {"text/html": drawing, "text/plain": "a finding"})
    svg = v4.new_output("display_data", {"image/svg+xml": "<svg>3</svg>"})
    cells = [v4.new_code_cell("", outputs=[picture(b"\x89PNG"), v4.new_output("stream", text="x")])]
    cells += [v4.new_markdown_cell("# no outputs"), v4.new_code_cell("", outputs=[html, svg])]
    pictures = notebook.pictures(v4.new_notebook(cells=cells))
    assert pictures == [b"\x89PNG", b"<svg>2</svg>", b"<svg/>", b"<svg>3</svg>"]
    assert [notebook.kind(one) for one in pictures] == ["png", "svg", "svg", "svg"]


def test_nbval_compares_the_words_of_a_figure_and_not_its_drawing(tmp_path):
    rules = configparser.ConfigParser()
    rules.read_string(notebook.sanitize_rules())
    one, other = (plots.image(f"<svg>{n}</svg>" * 200, "0.5 of them") for n in (1e5, 2.5))
    for section in rules.sections():
        pattern, replace = rules[section]["regex"], rules[section]["replace"]
        one, other = re.sub(pattern, replace, one), re.sub(pattern, replace, other)
    assert one == other == '<img src="#" alt="# of them" style="max-width:100%">'
