"""`coursekit doctor --workshop`: each thing that can be wrong with a laptop, made wrong once."""

import ast
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from coursekit.__main__ import too_old
from coursekit.commands import cli, preflight
from coursekit.commands.preflight import ADMIN, FIX, READY, Finding
from coursekit.course import lessons, plans

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("python", "folders", "packages", "machine", "browser", "lab", "kernel", "training")


def only(look, **more):
    [finding] = look(**more)
    return finding


# A whole examination


def test_a_good_machine_is_ready_without_a_network(monkeypatch, capsys):
    """Everything really starts; whoever asks for another machine is refused."""
    asked = []
    connect = socket.socket.connect

    def inside(own, address):
        if own.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
        ):
            asked.append(address)
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return connect(own, address)

    monkeypatch.setattr(socket.socket, "connect", inside)
    monkeypatch.setenv("http_proxy", "http://10.255.255.1:3128")
    monkeypatch.setattr(preflight, "trial", lambda: 0.5)
    monkeypatch.setattr(preflight, "PATIENCE", 200)  # other tests keep this machine busy
    assert cli.main(["doctor", "--workshop", "90-minutes"]) == READY
    said = capsys.readouterr().out
    assert asked == []
    for words in (
        "READY",
        "JupyterLab  answers after",
        "kernel      runs a cell",
        "lesson 04  about",
    ):
        assert words in said
    pasted = said.partition("----- paste from here -----")[2]
    assert "workshop 90-minutes: ok" in pasted
    assert str(Path.home()) not in pasted
    assert "lessons: 00 " in pasted


def test_an_unknown_plan_ends_before_anything_is_tried(monkeypatch, capsys):
    monkeypatch.setattr(preflight, "examine", lambda: pytest.fail("was tried"))
    assert cli.main(["doctor", "--workshop", "a-week"]) == 1
    assert "expected one of 90-minutes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("levels", "status", "words"),
    [
        ([READY, READY], 0, "READY: this machine"),
        ([READY, FIX], 1, "you can mend it yourself"),
        ([FIX, ADMIN], 2, "somebody who administers"),
        ([preflight.SKIPPED, READY], 0, "READY: this machine"),
    ],
)
def test_the_worst_finding_is_the_exit_status(monkeypatch, capsys, levels, status, words):
    own = [Finding("thing", "is so", level, "run: this") for level in levels]
    monkeypatch.setattr(preflight, "examine", lambda: iter(own))
    assert cli.main(["doctor", "--workshop"]) == status
    assert words in capsys.readouterr().out


@pytest.fixture
def nothing_else(monkeypatch):
    """Every look finds all well; a test puts back the one that it is about."""

    def quiet(name):
        return lambda **_: iter([Finding(name, "well")])

    for name in PARTS:
        monkeypatch.setattr(preflight, name, quiet(name))
    return lambda name, look: monkeypatch.setattr(preflight, name, look)


def test_what_needs_something_broken_is_not_tried(nothing_else):
    nothing_else("folders", lambda: iter([Finding("folders", "full", FIX, "run: this")]))
    levels = {finding.name: finding.level for finding in preflight.examine()}
    skipped = {name for name, level in levels.items() if level == preflight.SKIPPED}
    assert skipped == {"JupyterLab", "kernel", "training"}


def test_a_look_that_fails_itself_does_not_end_the_others(nothing_else):
    def broken():
        raise RuntimeError("libfoo.so: cannot open\nmore")

    nothing_else("machine", broken)
    findings = {finding.name: finding for finding in preflight.examine()}
    assert findings["machine"] == Finding(
        "machine", "libfoo.so: cannot open", FIX, findings["machine"].fix
    )
    assert findings["training"].level == READY


def test_minutes_follow_the_machine_of_today():
    slow, fast = (
        preflight.predicted([Finding("training", "", seconds=s)], ["00", "04"]) for s in (5.0, 0.5)
    )
    assert slow["04"] == pytest.approx(10 * fast["04"])
    assert 20 < fast["04"] < 120  # a quiet core trains the sixteen networks in half a second
    assert preflight.predicted([Finding("training", "failed", FIX)], ["00"]) == {}


def test_every_lesson_of_a_plan_has_a_time():
    assert set(preflight.TIMES) == {path.stem[:2] for path in lessons.lessons()}
    for plan in plans.PLANS.values():
        assert set(plans.of_plan(plan)) <= set(preflight.TIMES)


# An old Python


@pytest.mark.parametrize(
    ("there", "status", "words"),
    [("/usr/bin/python3.12", 1, "python3.12 -m venv .venv"), (None, 2, "ask an administrator")],
)
def test_an_old_python_says_what_it_lacks(monkeypatch, there, status, words):
    monkeypatch.setattr(shutil, "which", lambda name: there if there and name in there else None)
    sentence, code = too_old((3, 9, 2))
    assert code == status
    assert "expected Python 3.11 or newer, got 3.9" in sentence
    assert words in sentence
    assert too_old((3, 11, 0)) == (None, 0)


def test_the_first_lines_are_read_by_an_old_python():
    for name in ("__init__.py", "__main__.py"):
        source = (ROOT / "coursekit" / name).read_text(encoding="utf-8")
        tree = ast.parse(source, feature_version=(3, 6))
        hints = [n.returns for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.returns]
        assert not any(isinstance(hint, ast.Subscript) for hint in hints), name  # list[str]


def test_an_old_python_that_is_here_says_so():
    old = next(filter(None, map(shutil.which, ("python3.10", "python3.9", "python3.8"))), None)
    if old is None or subprocess.run([old, "-c", ""], capture_output=True).returncode:
        pytest.skip("no old Python")
    done = subprocess.run(
        [old, "-m", "coursekit", "doctor", "--workshop"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("coursekit: expected Python 3.11 or newer, got 3.")


# Packages


def without(monkeypatch, name):
    version = metadata.version

    def missing(wanted):
        if wanted == name:
            raise metadata.PackageNotFoundError(wanted)
        return version(wanted)

    monkeypatch.setattr(metadata, "version", missing)


def test_a_missing_package_comes_with_its_command(monkeypatch):
    without(monkeypatch, "anywidget")
    finding = only(preflight.packages)
    assert (finding.level, finding.said) == (FIX, "anywidget is missing")
    assert finding.fix.startswith(f"run: {sys.executable} -m pip install -c ")
    assert "anywidget>=" in finding.fix
    assert "torch" not in finding.fix


def test_an_old_package_is_replaced(monkeypatch):
    version = metadata.version
    old = {"matplotlib": "3.1.0"}
    monkeypatch.setattr(metadata, "version", lambda name: old.get(name) or version(name))
    finding = only(preflight.packages)
    assert finding.said == "matplotlib 3.1.0 is too old"
    assert "matplotlib>=" in finding.fix


def test_a_damaged_package_is_installed_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    finding = only(preflight.packages)
    assert finding.level == FIX
    assert "mnist1d" in finding.said
    assert "cannot be imported" in finding.said
    assert "--force-reinstall" in finding.fix
    assert only(preflight.packages, imports=False).level == READY


def test_a_python_of_the_system_needs_its_administrator(monkeypatch):
    without(monkeypatch, "anywidget")
    library = sysconfig.get_path("purelib")
    monkeypatch.setattr(os, "access", lambda path, mode: path != library)
    finding = only(preflight.packages)
    assert finding.level == ADMIN
    assert "pip install" in finding.fix


@pytest.mark.parametrize("there", [False, True], ids=["none yet", "not active"])
def test_a_bare_python_is_led_to_the_environment(tmp_path, monkeypatch, there):
    monkeypatch.setattr(lessons, "checkout", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    if there:
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/bin/python").touch()
    finding = only(preflight.packages)
    assert finding.level == FIX
    if there:
        assert finding.fix == f"run: source {tmp_path}/.venv/bin/activate"
    else:
        assert "-m venv .venv && .venv/bin/pip install -c constraints.txt -e ." in finding.fix


def test_a_python_into_which_pip_installs_nothing_gets_an_environment(monkeypatch):
    without(monkeypatch, "anywidget")
    monkeypatch.setattr(preflight, "_is_managed", lambda: True)
    finding = only(preflight.packages)
    assert finding.said == "anywidget is missing"
    assert ".venv" in finding.fix
    assert "anywidget" not in finding.fix


def test_all_packages_are_looked_at():
    assert only(preflight.packages).level == READY
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(need in text for need in preflight._requirements())


# Folders


def failing(monkeypatch, number, *places):
    """Writing fails in some places, as on a full disk or a read-only one."""
    real = preflight.tempfile.TemporaryFile

    def refuse(dir):
        if any(Path(dir).is_relative_to(place) for place in places):
            raise OSError(number, os.strerror(number))
        return real(dir=dir)

    monkeypatch.setattr(preflight.tempfile, "TemporaryFile", refuse)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of one's own; what was set elsewhere does not count."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in list(os.environ):
        if name.startswith(("JUPYTER_", "XDG_")) or name == "COURSEKIT_HOME":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_folders_that_can_be_written_are_well(home):
    assert only(preflight.folders).level == READY
    assert list(home.iterdir()) == list(Path.cwd().iterdir()) == []  # nothing is left of the trial


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EROFS, "cannot be written")],
)
def test_a_home_that_is_full_or_read_only_moves(home, monkeypatch, number, words):
    failing(monkeypatch, number, home)
    finding = only(preflight.folders)
    assert finding.level == FIX
    assert words in finding.said
    assert "your notes" in finding.said
    command = finding.fix.partition("run: ")[2]
    assert (
        command
        == f"mkdir -p {Path.cwd()}/coursekit-workshop; export HOME={Path.cwd()}/coursekit-workshop"
    )
    assert finding.fix.startswith(
        "delete what you do not need" if number != errno.EROFS else "run:"
    )
    monkeypatch.setenv("HOME", f"{Path.cwd()}/coursekit-workshop")  # as the command does
    assert only(preflight.folders).level == READY


def test_where_lessons_cannot_be_copied_one_works_elsewhere(home, monkeypatch):
    failing(monkeypatch, errno.EACCES, Path.cwd())
    finding = only(preflight.folders)
    assert finding.said.startswith("the lessons")
    assert finding.fix == f"run: cd {preflight.tempfile.gettempdir()}"


def test_a_machine_without_any_place_needs_its_administrator(home, monkeypatch):
    failing(monkeypatch, errno.EROFS, "/")
    assert {finding.level for finding in preflight.folders()} == {ADMIN}


def test_little_room_is_told_before_it_is_none(home, monkeypatch):
    usage = shutil.disk_usage

    def little(place):
        own = usage(place)
        return own._replace(free=10_000_000) if Path(place).is_relative_to(home) else own

    monkeypatch.setattr(shutil, "disk_usage", little)
    finding = only(preflight.folders)
    assert finding.level == FIX
    assert "has only 0.01 GB free" in finding.said


CONDITIONS = {
    "full": (["--size", "1000000", "--tmpfs", "{home}"], "is full"),
    "read-only": (["--ro-bind", "{home}", "{home}"], "cannot be written"),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_disk_that_is_really_full_or_read_only(home, name):
    options, words = CONDITIONS[name]
    options = [option.format(home=home) for option in options]
    box = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc", *options]
    if shutil.which("bwrap") is None or subprocess.run([*box, "true"]).returncode:
        pytest.skip("no bubblewrap")
    code = (
        "import json; from coursekit.commands import preflight;"
        "print(json.dumps([[f.level, f.said] for f in preflight.folders()]))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*box, sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [[level, said]] = json.loads(done.stdout)
    assert level == FIX
    assert words in said


# The machine, the browser, JupyterLab


def test_little_memory_asks_for_closed_programs(monkeypatch):
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=300_000_000))
    findings = {finding.name: finding for finding in preflight.machine()}
    assert findings["memory"].level == FIX
    assert "close programs" in findings["memory"].fix
    assert findings["GPU"].level == READY


@pytest.mark.parametrize(
    ("programs", "display", "level"),
    [(["firefox"], ":0", READY), ([], ":0", ADMIN), ([], "", READY), (["chromium"], "", READY)],
)
def test_a_screen_without_a_browser_needs_one(monkeypatch, programs, display, level):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setenv("DISPLAY", display)
    for name in ("WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    finding = only(preflight.browser)
    assert finding.level == level
    assert ("apt install" in finding.fix) == (level == ADMIN)


def test_a_jupyterlab_that_does_not_start_says_why(tmp_path, monkeypatch):
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab" / "__main__.py").write_text("raise SystemExit('no such extension')")
    (tmp_path / "jupyterlab" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    finding = only(preflight.lab)
    assert finding.level == FIX
    assert finding.said == "does not start: no such extension"


def test_a_kernel_that_fails_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(
        lessons,
        "execute",
        lambda *_, **__: lessons.Execution(Path("x"), 1.0, "cell 1: ImportError"),
    )
    finding = only(preflight.kernel)
    assert (finding.level, finding.said) == (FIX, "cell 1: ImportError")
    assert "ipykernel install" in finding.fix


def test_the_trial_trains(monkeypatch):
    assert 0 < preflight.trial(budget=0.01) < 60
