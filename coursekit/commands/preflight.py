"""`coursekit doctor --workshop`: is this machine ready for the room?

In under a minute and without a network everything is tried that a day needs: packages are imported,
files written, JupyterLab and a kernel started, networks trained. What is wrong comes with the
command that mends it, or is named as an administrator's work.
"""

import errno
import os
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from shlex import quote

from coursekit import __version__

SKIPPED, READY, FIX, ADMIN = -1, 0, 1, 2  # the exit status is the worst of all
SIGNS = {SKIPPED: "-", READY: "ok", FIX: "FIX", ADMIN: "ADMIN"}
VERDICTS = {
    READY: "READY: this machine can come to the workshop.",
    FIX: "NOT READY: you can mend it yourself. Do what stands after FIX, then run this again.",
    ADMIN: "NOT READY: somebody who administers this machine has to do what stands after ADMIN.",
}
MEMORY, DISK = 1.0, 0.2  # GB that must be free for trainings, and for a day's notebooks
SAMPLE = b"coursekit" * 200_000  # written for trial: a quota shows only when one writes
# What a lesson takes, as a multiple of the trial training below: both measured on one core.
TIMES = {"00": 80, "01": 60, "02": 52, "03": 80, "04": 110, "06": 59, "07": 100, "09": 64}
TIMES |= {"10": 82, "16": 58}
BROWSERS = (
    *("firefox", "firefox-esr", "google-chrome", "google-chrome-stable", "chromium"),
    *("chromium-browser", "microsoft-edge", "brave-browser", "epiphany", "opera", "konqueror"),
)


@dataclass(frozen=True)
class Finding:
    """What one look found. `fix` is a command or a sentence; `level` says who can follow it.

    `seconds` is what the trial training took, where it was tried.
    """

    name: str
    said: str
    level: int = READY
    fix: str = ""
    seconds: float = 0


def act(plan_name: str) -> int:
    """Look at everything, say it, and return 0 if ready, 1 to mend it oneself, 2 if others must."""
    from coursekit.course import plans

    plan = plans.find(plan_name)  # an unknown name ends here, before a minute has passed
    findings: list[Finding] = []
    for finding in examine():
        findings.append(finding)
        print(f"{SIGNS[finding.level]:6} {finding.name:11} {finding.said}", flush=True)
        if finding.fix:
            print(f"{'':18} {finding.fix}", flush=True)
    level = max(finding.level for finding in findings)
    lasts = predicted(findings, plans.of_plan(plan))
    if lasts:
        print(f"\nThe lessons of “{plan.title}”, run from top to bottom on this machine today:")
        for number, seconds in lasts.items():
            print(f"  lesson {number}  about {_minutes(seconds)}")
        if max(lasts.values()) > 300:
            print("  That is long for a room: run them the evening before with `coursekit run`.")
    print(f"\n{VERDICTS[level]}\n")
    print(report(findings, plan.name, lasts))
    return level


def examine() -> Iterator[Finding]:
    """All findings, in an order in which what comes later needs what came before."""
    worst = READY
    for name, look in (("python", python), ("folders", folders), ("packages", packages)):
        if name == "packages" and worst > READY:  # several fail to import where nothing is written
            look = partial(packages, imports=False)
        for finding in _guarded(name, look):
            worst = max(worst, finding.level)
            yield finding
    for name, look in (("machine", machine), ("browser", browser)):
        yield from _guarded(name, look)
    for name, look in (("JupyterLab", lab), ("kernel", kernel), ("training", training)):
        if worst > READY:
            yield Finding(name, "not tried: it needs what is to be mended above", SKIPPED)
        else:
            yield from _guarded(name, look)


def _guarded(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    # A machine can be broken in ways that nobody has thought of; the other looks still matter.
    try:
        yield from look()
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        yield Finding(name, reason, FIX, "send this line with the block below to your leader")


# Looks


def python() -> Iterator[Finding]:
    """Version and place of the interpreter; one that is too old never comes as far as this."""
    bits = 64 if sys.maxsize > 2**32 else 32
    said = f"{platform.python_version()}, {bits} bits, {platform.system()} {platform.machine()}"
    if bits == 32:
        fix = "torch needs a 64-bit Python: install one from python.org, or by conda"
        yield Finding("python", said, FIX, fix)
    else:
        yield Finding("python", said)


def packages(*, imports: bool = True) -> Iterator[Finding]:
    """Everything the course imports: there, new enough, and (with `imports`) not damaged."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # a bare Python, and not the environment that was set up
        said = "the course's environment is not active, or was never set up"
        yield Finding("packages", said, FIX, f"run: {_environment()}")
        return
    missing, told = [], []
    needed = [Requirement(text) for text in _requirements()]
    for need in needed:
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            missing.append(need)
            told.append(f"{need.name} is missing")
            continue
        if not need.specifier.contains(version, prereleases=True):
            missing.append(need)
            told.append(f"{need.name} {version} is too old")
            continue
        if not imports:
            continue
        try:
            import_module(_module(need.name))
        except Exception as error:  # a broken library raises what it likes
            missing.append(need)
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            told.append(f"{need.name} {version} cannot be imported ({reason})")
    if not missing:
        yield Finding("packages", f"coursekit {__version__} and the {len(needed)} that it needs")
        return
    command = _pip(missing, again=any("imported" in one for one in told))
    if _is_managed():
        yield Finding("packages", "; ".join(told), FIX, f"run: {_environment()}")
    elif os.access(sysconfig.get_path("purelib"), os.W_OK):
        yield Finding("packages", "; ".join(told), FIX, f"run: {command}")
    else:
        fix = f"this Python belongs to the system; run as its owner: {command}"
        yield Finding("packages", "; ".join(told), ADMIN, fix)


def _module(name: str) -> str:
    """What a package is imported as: its own name, or that of a folder that it brought."""
    own = name.replace("-", "_")
    parts = [file.parts for file in metadata.files(name) or ()]
    tops = sorted(two[0] for two in parts if len(two) == 2 and two[1] == "__init__.py")
    return own if own in tops or not tops else tops[0]


def _requirements() -> list[str]:
    from coursekit.course.lessons import checkout

    if root := checkout():  # what was installed may be older than what is here
        import tomllib

        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return project["dependencies"]
    return [text for text in metadata.requires("coursekit") or [] if "extra ==" not in text]


def _is_managed() -> bool:
    """Whether this Python is the system's own, into which pip refuses to install (PEP 668)."""
    mark = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and mark.is_file()


def _environment() -> str:
    """The command that makes the environment, or enters the one that is there."""
    from coursekit.course.lessons import checkout

    root = checkout() or Path.cwd()
    windows = os.name == "nt"
    inside = root / (".venv/Scripts" if windows else ".venv/bin")
    if (inside / ("python.exe" if windows else "python")).is_file():
        return str(inside / "activate") if windows else f"source {quote(str(inside / 'activate'))}"
    what = "-c constraints.txt -e ." if checkout() else "coursekit"
    steps = [f"cd {quote(str(root))}", f"{quote(sys.executable)} -m venv .venv"]
    steps += [str(Path(".venv") / inside.name / "pip") + f" install {what}"]
    return (" & " if windows else " && ").join(steps)


def _pip(needed, *, again: bool) -> str:
    from coursekit.course.lessons import checkout

    root = checkout()
    pins = root and root / "constraints.txt"
    words = [sys.executable, "-m", "pip", "install"]
    words += ["--force-reinstall"] if again else []
    words += ["-c", str(pins)] if pins and pins.is_file() else []
    return " ".join(quote(word) for word in [*words, *map(str, needed)])


def folders() -> Iterator[Finding]:
    """Where a day's work is written: each place is written to, as a quota shows in no other way."""
    places = _places()
    wrong = {name: why for name, place in places.items() if (why := _unfit(place))}
    if not wrong:
        room = min(shutil.disk_usage(_existing(place)).free for place in places.values()) / 1e9
        yield Finding("folders", f"all can be written, {room:.0f} GB free")
        return
    tried = [Path.cwd(), places["temporary files"], Path("/var/tmp"), Path("/dev/shm")]
    spare = next((place for place in tried if place and not _unfit(place)), None)
    told: dict[tuple[str, str], list[str]] = {}  # one command may mend several places
    for name, why in wrong.items():
        fix = "make room for this user: no other folder can be written either"
        if spare is not None:
            fix = f"run: {_elsewhere(name, spare)}"
            fix = f"delete what you do not need, or {fix}" if "full" in why else fix
        told.setdefault((fix, why), []).append(f"{name} ({places[name] or 'no folder'})")
    for (fix, why), names in told.items():
        said = f"{', '.join(names)}: {why}"
        yield Finding("folders", said, ADMIN if spare is None else FIX, fix)


def _places() -> dict[str, Path | None]:
    from coursekit.course import learner, lessons

    inside = Path(lessons.COPY).resolve()
    found: dict[str, Path | None] = {"your notes": learner.file("x").parent, "the lessons": inside}
    try:
        from jupyter_core import paths

        found["Jupyter"] = Path(paths.jupyter_runtime_dir())
        found["Jupyter's settings"] = Path(paths.jupyter_config_dir())
        found["Jupyter's data"] = Path(paths.jupyter_data_dir())
    except ImportError:
        pass  # told under packages
    try:
        found["temporary files"] = Path(tempfile.gettempdir())
    except OSError:  # Python has tried all usual places
        found["temporary files"] = None
    return found


def _unfit(place: Path | None) -> str:
    """Why a day's work cannot be written there; empty if it can."""
    if place is None:
        return "cannot be written"
    place = _existing(place)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(SAMPLE)
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(place).free / 1e9
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
        return "is full" if full else f"cannot be written ({error.strerror})"
    return "" if free >= DISK else f"has only {free:.2f} GB free, {DISK:g} are needed"


def _existing(place: Path) -> Path:
    # Nothing is made for trial: an empty folder of copies would be a course without lessons.
    return next(one for one in (place, *place.parents) if one.exists())


def _elsewhere(name: str, spare: Path) -> str:
    """The command that puts one of the places where it can be written."""
    windows = os.name == "nt"
    new = str(spare / "coursekit-workshop")
    path = new if windows else quote(new)
    if name == "the lessons":  # they are copied to wherever one is
        return f"cd {spare if windows else quote(str(spare))}"
    if name == "temporary files":
        variable = "TEMP" if windows else "TMPDIR"
    elif name == "your notes" and os.environ.get("COURSEKIT_HOME"):
        variable = "COURSEKIT_HOME"
    else:  # everything that lies in the home folder moves at once
        variable = "USERPROFILE" if windows else "HOME"
    if windows:
        return f"mkdir {path} & set {variable}={path}"
    return f"mkdir -p {path}; export {variable}={path}"


def machine() -> Iterator[Finding]:
    """Cores, memory and graphics card. A card is a gift: the course needs none."""
    from coursekit.commands.doctor import gpu_advice, gpu_problems

    yield Finding("cores", f"{os.cpu_count() or 1}")
    try:
        import psutil  # comes with ipykernel
    except ImportError:  # told under packages
        return
    free = psutil.virtual_memory().available / 1e9
    said = f"{free:.1f} GB free of {psutil.virtual_memory().total / 1e9:.1f}"
    if free < MEMORY:
        fix = f"close programs until {MEMORY:g} GB are free: browser windows first"
        yield Finding("memory", said, FIX, fix)
    else:
        yield Finding("memory", said)
    try:
        import torch
    except Exception:  # told under packages
        return
    usable = torch.cuda.is_available()
    if problems := gpu_problems():
        hide = "set CUDA_VISIBLE_DEVICES=" if os.name == "nt" else "export CUDA_VISIBLE_DEVICES="
        yield Finding("GPU", problems[0], FIX, f"run: {hide}")
    elif usable:
        yield Finding("GPU", torch.cuda.get_device_name(0))
    else:
        yield Finding(
            "GPU", gpu_advice(torch.version.cuda, usable=False) or "none, and none needed"
        )


def browser() -> Iterator[Finding]:
    """A browser, or a machine without a screen, whose address is opened elsewhere."""
    linux = sys.platform.startswith("linux")
    screen = not linux or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not linux:
        yield Finding("browser", "the system's own")
        return
    known = next(filter(None, map(shutil.which, BROWSERS)), None)
    if known is None and "BROWSER" in os.environ:
        try:
            known = webbrowser.get().name
        except (webbrowser.Error, AttributeError):
            known = None
    if known:
        yield Finding("browser", Path(known).name)
    elif screen:
        fix = "run: sudo apt install firefox-esr   (Fedora: sudo dnf install firefox)"
        yield Finding("browser", "none was found", ADMIN, fix)
    else:
        said = "none, and no screen: open the address that `coursekit lab` prints elsewhere"
        yield Finding("browser", said)


PATIENCE = 40  # seconds for a JupyterLab to begin to answer


def lab() -> Iterator[Finding]:
    """Start JupyterLab as `coursekit lab` does, ask it for its page, and stop it."""
    from coursekit.commands.cli import address

    with tempfile.TemporaryDirectory() as folder:
        options = [f"--ServerApp.root_dir={folder}", "--no-browser", "--ServerApp.port=0"]
        options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        env = {**os.environ, "JUPYTER_TOKEN": "preflight", "JUPYTER_PREFER_ENV_PATH": "1"}
        said = Path(folder) / "said.txt"
        start = time.perf_counter()
        with said.open("wb") as log:
            command = [sys.executable, "-m", "jupyterlab", *options]
            server = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, start_new_session=True
            )
            try:
                where = address(server, "", patience=PATIENCE)
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(where, timeout=20) as answer:
                    answer.read()
            except (RuntimeError, OSError) as error:
                lines = said.read_text(errors="replace").strip().splitlines()
                reason = lines[-1] if lines and server.poll() is not None else str(error)
                fix = f"run: {quote(sys.executable)} -m jupyterlab   and send what it says"
                yield Finding("JupyterLab", f"does not start: {reason}", FIX, fix)
                return
            finally:
                server.terminate()
                server.wait()
        yield Finding("JupyterLab", f"answers after {time.perf_counter() - start:.0f} seconds")


def kernel() -> Iterator[Finding]:
    """Run a cell in a kernel, as a lesson does."""
    from nbformat import v4

    from coursekit.course import lessons, notebook

    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.ipynb"
        cell = v4.new_code_cell("from coursekit import data\nprint(6 * 7)")
        notebook.write(v4.new_notebook(cells=[cell]), trial)
        done = lessons.execute(trial, trial, timeout=40)
        if done.error:
            fix = f"run: {quote(sys.executable)} -m ipykernel install --sys-prefix   and look again"
            yield Finding("kernel", done.error, FIX, fix)
        else:
            yield Finding("kernel", f"runs a cell after {done.seconds:.0f} seconds")


def training() -> Iterator[Finding]:
    """Train for a few seconds: what one seat of the room trains, once to warm up and then again."""
    seconds = trial()
    yield Finding("training", f"16 networks in {seconds:.1f} seconds", seconds=seconds)


def trial(budget: float = 3.0) -> float:
    """Seconds that sixteen small networks take, the median over about `budget` seconds."""
    from coursekit.commands import room

    room.right(room.FIRST)
    times = []
    while sum(times) < budget and len(times) < 9:
        start = time.perf_counter()
        room.right(room.FIRST)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


# What is told


def predicted(findings: list[Finding], lessons: list[str]) -> dict[str, float]:
    """Seconds that each lesson will take here, if something was trained."""
    seconds = sum(finding.seconds for finding in findings)
    return {number: TIMES[number] * seconds for number in lessons} if seconds else {}


def _minutes(seconds: float) -> str:
    return (
        f"{10 * round(seconds / 10) or 10} seconds"
        if seconds < 95
        else f"{seconds / 60:.0f} minutes"
    )


def report(findings: list[Finding], plan: str, lasts: dict[str, float]) -> str:
    """What is pasted back to the leader; it names neither the user nor the machine."""
    level = max(finding.level for finding in findings)
    lines = [f"workshop {plan}: {SIGNS[level]}, coursekit {__version__}"]
    for finding in findings:
        said = finding.said.replace(str(Path.home()), "~")
        lines.append(f"{SIGNS[finding.level]:6} {finding.name}: {said}")
    if lasts:
        told = ", ".join(f"{number} {_minutes(seconds)}" for number, seconds in lasts.items())
        lines.append(f"lessons: {told}")
    return "\n".join(["----- paste from here -----", *lines, "----- to here -----"])
