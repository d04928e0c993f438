"""The command as a person types it."""

import os
import re
import shutil
import stat
import subprocess
import sys

import pytest
from nbformat import v4

from coursekit.commands import cli
from coursekit.commands.doctor import gpu_advice
from coursekit.course import lessons, notebook
from coursekit.data import names
from coursekit.datasets.download import DownloadError


def make(path, *sources):
    notebook.write(v4.new_notebook(cells=[v4.new_code_cell(s) for s in sources]), path)
    return str(path)


# NBVAL compares the words; the number is one that a machine may give otherwise.
SAYS_BY_SEED = (
    "# NBVAL_CHECK_OUTPUT\nimport os, time\nseed = int(os.environ.get('COURSEKIT_FIRST_SEED', 0))\n"
    "print('supported' if seed < {limit} else 'undecided', f'({{time.time():.3f}}, 16 seeds)')"
)


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], *([c, "--help"] for c in ("lab", "run", "data"))]
)
def test_help_exits_with_0(argv, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(argv)
    assert capsys.readouterr().out


def test_no_command_prints_help(capsys):
    assert cli.main([]) == 0
    assert "doctor" in capsys.readouterr().out


def test_unknown_command_names_the_known_ones(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["nope"])
    assert "'lab', 'update', 'run', 'check'" in capsys.readouterr().err


def test_module_and_command_are_the_same():
    said = subprocess.check_output([sys.executable, "-m", "coursekit", "--version"], text=True)
    assert said.strip() == cli.__version__


def test_interrupt_is_one_sentence(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(lessons, "select", interrupted)
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err.strip() == "Stopped. What was finished before is kept."


def test_a_reader_who_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "coursekit", "claims", "show", "C55"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_another_broken_pipe_is_told(monkeypatch, capsys):
    def broken(*_, **__):
        raise BrokenPipeError("the sandbox's pipe")

    monkeypatch.setattr(lessons, "select", broken)
    assert cli.main(["run"]) == 1
    assert "the sandbox's pipe" in capsys.readouterr().err


# run, check, verdicts


def test_run_prints_a_line_per_notebook_and_goes_on_after_a_failure(tmp_path, capsys):
    bad, good = make(tmp_path / "a.ipynb", "1/0"), make(tmp_path / "b.ipynb", "print(1)")
    assert cli.main(["run", bad, good, "--out", str(tmp_path / "build")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[1/2] a ... ")
    assert lines[0].endswith("FAILED: cell 1 of 1 (1/0): ZeroDivisionError: division by zero")
    assert lines[1].startswith("[2/2] b ... ")
    assert lines[1].endswith(" s")
    assert (tmp_path / "build" / "b.ipynb").is_file()


def test_run_and_verdicts_go_on_after_a_file_that_cannot_be_read(tmp_path, capsys):
    bad, good = tmp_path / "a.ipynb", make(tmp_path / "b.ipynb", "print(1)")
    bad.write_text("no notebook", encoding="utf-8")
    assert cli.main(["run", str(bad), good, "--out", str(tmp_path / "build")]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "FAILED: expected a notebook (nbformat 4), got " in first
    assert second.endswith(" s")
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["b.ipynb"]
    assert cli.main(["verdicts", str(bad), good, "--runs", "1"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "expected a notebook" in first
    assert second.endswith("0 of 0 verdicts hold")


def test_run_in_place_with_another_first_seed(tmp_path):
    path = make(tmp_path / "a.ipynb", SAYS_BY_SEED.format(limit=50))
    assert cli.main(["run", path, "--in-place", "--first-seed", "99"]) == 0
    assert "undecided" in notebook.printed(notebook.read(path).cells[0])


@pytest.mark.parametrize("argv", [["run", "99_x"], ["run", "--threads", "0"], ["check", "x.ipynb"]])
def test_wrong_arguments_are_one_sentence(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lessons, "lessons", lambda: [tmp_path / "a.ipynb"])
    make(tmp_path / "a.ipynb", "1")
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 1
    assert capsys.readouterr().err.startswith("coursekit: expected ")


def test_check_passes_other_decimals_and_catches_other_words(tmp_path, capfd):
    path = make(tmp_path / "a.ipynb", SAYS_BY_SEED.format(limit=50))
    assert cli.main(["run", path, "--in-place"]) == 0
    assert cli.main(["check", path]) == 0
    nb = notebook.read(path)
    nb.cells[0].outputs[0].text = nb.cells[0].outputs[0].text.replace("supported", "refuted")
    notebook.write(nb, path)
    assert cli.main(["check", path]) == 1
    assert "Cell outputs differ" in capfd.readouterr().out


def test_verdicts_prints_which_flip(tmp_path, capsys):
    stable = make(tmp_path / "stable.ipynb", "1", SAYS_BY_SEED.format(limit=1000))
    shaky = make(tmp_path / "shaky.ipynb", "1", SAYS_BY_SEED.format(limit=150))
    assert cli.main(["run", stable, shaky, "--in-place"]) == 0
    capsys.readouterr()
    assert cli.main(["verdicts", stable, "--seeds-shift", "100", "--runs", "2"]) == 0
    assert capsys.readouterr().out.count("1 of 1 verdicts hold") == 2
    assert cli.main(["verdicts", stable, "--runs", "2", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.count("1 of 1 verdicts hold") == 2
    assert cli.main(["verdicts", shaky, "--seeds-shift", "100", "--runs", "2"]) == 1
    said = capsys.readouterr().out
    assert "first seed 200, 1 thread(s)" in said
    assert said.count("cell 2\n") == 1


# data, doctor


def test_data_lists_every_set(capsys):
    assert cli.main(["data"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(names())


def test_data_fetch(monkeypatch, capsys):
    from coursekit.datasets import download

    def offline(name):
        raise DownloadError("expected a file, got no network; use the stand-in")

    monkeypatch.setattr(download, "fetch", offline)
    assert cli.main(["data", "fetch", "digits"]) == 0
    assert "embedded" in capsys.readouterr().out
    assert cli.main(["data", "fetch", "cifar10"]) == 1
    assert "got no network" in capsys.readouterr().err
    for argv in (["data", "fetch", "imagenet"], ["data", "fetch"]):
        assert cli.main(argv) == 1
        assert "expected one of digits" in capsys.readouterr().err


def test_doctor_reports(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lessons, "lessons", lambda: [tmp_path / "a.ipynb"])
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("python", "torch", "device", "threads", "memory", "precision", "1 in "):
        assert word in said
    monkeypatch.setattr(lessons, "lessons", list)
    assert cli.main(["doctor"]) == 1
    assert "PROBLEM       no lesson was found" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="writes a shell script")
@pytest.mark.parametrize(
    ("script", "built_for", "words"),
    [
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", None, "GPU 0: NVIDIA H200, but .* CPU build"),
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", "13.0", "the driver is older"),
        ("exit 9", None, "finds no GPU"),
    ],
)
def test_doctor_says_why_a_gpu_is_idle(tmp_path, monkeypatch, script, built_for, words):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    advice = gpu_advice(built_for, usable=False)
    assert re.search(words, advice)
    assert gpu_advice(built_for, usable=True) == ""


# make


def test_make_tells_when_python_is_too_old(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("no make")
    old = tmp_path / "bin"
    old.mkdir()
    for name in ("python3.11", "python3.12", "python3.13", "python3", "python"):
        (old / name).write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2\nexit 1\n')
        (old / name).chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(lessons.checkout() / name, tmp_path)
    path = f"{old}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    done = subprocess.run(
        ["make", "lab"], cwd=tmp_path, env={**env, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "found: Python 3.9.2" in done.stderr
    assert not (tmp_path / ".venv").exists()
