"""The shape of the repository: which way imports point, what they cost, what is promised."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import coursekit
from coursekit.course import notebook

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "coursekit"
SOURCES = sorted(PACKAGE.rglob("*.py"))
# The start of a path on somebody's machine, and hosts from which only some networks install.
MACHINE = re.compile(
    r"(?<![\w./:])/(?:home|Users|root|work|opt)/\w|\b[A-Z]:\\\w"
    r"|(?i:artifactory|nexus\.|jfrog|devpi|pypi-mirror|/simple/|extra-index-url)"
)
DEFINES_THE_RULE = {"tests/test_layout.py", "tests/test_notebooks.py"}


# Families and modules from the ground up: each imports its own layer and those below.
LAYERS = (
    {"datasets", "data"},
    {"regularizers", "linear", "models", "schedules", "stopping", "recipe"},
    {"engine"},
    {"results"},
    {"train", "sweep"},
    {"measure", "intervals", "judge"},
    {"course"},
    {
        *("claims", "ledger", "plots", "widgets", "explorers", "playground", "exercises"),
        *("rosetta", "start", "declaration"),
    },
    {"grading"},
    {"commands", "__main__"},
)
FAMILIES = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}


def family(path):
    """The folder or the flat module that a source file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source):
    """Families of the package that a source text imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append("coursekit.<relative>")
    parts = [name.split(".") for name in names]
    return {p[1] for p in parts if p[0] == "coursekit" and len(p) > 1 and not p[1].startswith("__")}


def upward(own, source):
    """Imports that point to a higher layer, or to nothing that has a layer."""
    [height] = [i for i, layer in enumerate(LAYERS) if own in layer]
    below = set().union(*LAYERS[: height + 1])
    return sorted(imported(source) - below)


def python(code, **env):
    """Run code in a fresh interpreter; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tracked():
    """Text files of the repository, tracked or about to be."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, capture_output=True, text=True)
    if shutil.which("git") is None or listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def without_pictures(text):
    return re.sub(r'"image/png": "[^"]*"|' + notebook.DRAWING, "", text)


# Imports


def test_imports_point_down():
    defects = {
        str(path.relative_to(PACKAGE)): found
        for path in SOURCES
        if family(path) != "__init__"
        and (found := upward(family(path), path.read_text(encoding="utf-8")))
    }
    assert defects == {}


@pytest.mark.parametrize(
    "source",
    [
        "from coursekit import claims",
        "import coursekit.commands.cli",
        "def f():\n    from coursekit.grading.sandbox.box import Box",
        "from .claims import claim",
        "from coursekit import nowhere",
    ],
)
def test_the_import_check_catches(source):
    assert upward("data", source)


def test_every_part_has_one_layer():
    parts = sorted(part for layer in LAYERS for part in layer)
    assert parts == sorted({family(path) for path in SOURCES} - {"__init__"})


def test_what_a_notebook_imports_is_flat_or_a_public_family():
    # A reader of a lesson looks for a name where its import says, and finds no machinery there.
    allowed = {*coursekit.PUBLIC}
    used = {
        name
        for path in (ROOT / "notebooks").rglob("*.ipynb")
        for name in re.findall(
            r"(?:from|import) coursekit\.(\w+)", path.read_text(encoding="utf-8")
        )
    }
    assert used <= allowed, used - allowed


def test_no_module_is_a_drawer():
    assert not {p.stem for p in SOURCES} & {"utils", "util", "common", "helpers", "misc"}


def test_import_coursekit_is_light():
    heavy = {"torch", "numpy", "matplotlib", "sklearn", "IPython", "nbformat"}
    loaded = set(python("import sys, coursekit; print(*sys.modules)").split())
    assert not heavy & loaded


def test_what_every_notebook_of_exercises_waits_for_is_light():
    # So does each worker that grades. The schemas of nbformat alone take two seconds.
    heavy = {"nbformat", "matplotlib", "IPython", "coursekit.claims"}
    code = "from coursekit.exercises import exercises; exercises(); import sys; print(*sys.modules)"
    assert not heavy & set(python(code).split())


def test_each_module_can_be_imported_first():
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in SOURCES]
    wanted = [n.removesuffix(".__init__") for n in names if n.rpartition(".")[2] != "__main__"]
    code = f"""
import os
import IPython, matplotlib.pyplot, nbformat, scipy.stats, sklearn.linear_model, torch
for name in {wanted}:
    child = os.fork()  # what others import takes seconds, and is not the question
    if child == 0:
        try:
            __import__(name)
        except BaseException as error:
            print(name, repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    assert python(code, OMP_NUM_THREADS="1") == ""


def test_import_and_help_are_quick():
    # The least of three, minus a bare interpreter: a busy machine must not fail this.
    def least(code):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            python(code)
            times.append(time.perf_counter() - start)
        return min(times)

    bare = least("pass")
    assert least("import coursekit") - bare < 0.3
    assert (
        least(
            "from coursekit.commands.cli import main\ntry: main(['--help'])\nexcept SystemExit: 0"
        )
        < bare + 0.3
    )


def test_importing_everything_touches_no_network_no_gpu_no_display():
    code = f"""
import importlib, socket
def refuse(*_, **__): raise AssertionError("a module opened a connection while it was imported")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
for name in {sorted(family(p) for p in SOURCES if family(p) not in ("__init__", "__main__"))}:
    importlib.import_module("coursekit." + name)
import torch, sys
assert not torch.cuda.is_initialized(), "a module started CUDA"
if "matplotlib" in sys.modules:
    import matplotlib
    chosen = dict.__getitem__(matplotlib.rcParams, "backend")
    assert not isinstance(chosen, str), "a module chose the backend " + chosen
assert "tkinter" not in sys.modules
print("quiet")
"""
    assert python(code, MPLBACKEND="") == "quiet"


def test_unknown_attribute_names_the_modules():
    with pytest.raises(AttributeError, match=r"nothing.*train"):
        coursekit.nothing  # noqa: B018


# README


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_draws_every_part():
    missing = [p for p in {*coursekit.PUBLIC, *FAMILIES} if not re.search(rf"\b{p}\b", readme())]
    assert missing == []


def test_readme_names_every_lesson():
    names = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert [name for name in names if name not in readme()] == []


def test_readme_shows_pictures_that_exist():
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme())
    assert "data/explorers/dance.film.svg" in shown
    assert [path for path in shown if not (ROOT / path).is_file()] == []


def test_readme_examples_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    example = "".join(re.findall(r"```python\n(.+?)```", readme(), re.DOTALL))
    exec(compile(example, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert re.search(r"weight decay raises the accuracy: \w+", said)
    assert "6 settings of 12 seeds" in said
    assert list(tmp_path.glob("build/study/*.npz"))


def test_documents_name_only_make_targets_and_commands_that_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    help_text = python("from coursekit.commands.cli import main; main([])")
    commands = set(re.findall(r"^    ([a-z]+)\b", help_text, re.MULTILINE))
    assert {"lab", "test"} <= targets
    assert {"lab", "run", "doctor"} <= commands
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        said = {"make": targets, "coursekit": commands}
        for tool, known in said.items():
            used = set(re.findall(rf"(?:`|^|\$ ){tool} ([a-z]+)", text, re.MULTILINE))
            assert used <= known, f"{name} speaks of {tool} {used - known}"


# What the tests say


def test_a_missing_sandbox_is_told_at_the_end(tmp_path):
    environ = {k: v for k, v in os.environ.items() if k != "COURSEKIT_REQUIRE_SANDBOX"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "test_attack"]
    done = subprocess.run(
        [*command, ROOT / "tests/test_box.py"],
        cwd=ROOT,
        env=environ | {"PATH": str(tmp_path)},  # where there is no bwrap
        capture_output=True,
        text=True,
    )
    *_, last_section = done.stdout.split("THE SANDBOX WAS NOT TESTED")
    assert re.search(r"\d\d tests were skipped: the sandbox needs bubblewrap", last_section)
    assert "apt install bubblewrap" in last_section


# What is shipped


def test_no_file_knows_a_machine():
    defects = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in tracked()
        if path.relative_to(ROOT).as_posix() not in DEFINES_THE_RULE
        for found in MACHINE.findall(without_pictures(path.read_text(encoding="utf-8")))
    ]
    assert defects == []


@pytest.mark.parametrize("text", ["see /home/ada", r"C:\data", "--extra-index-url=x"])
def test_the_machine_check_catches(text):
    assert MACHINE.search(text)
