"""The command line of the sandbox, and whether this machine can run it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import coursekit
from coursekit.grading.sandbox import confine, launcher

OLDEST = (0, 8)  # of bubblewrap: the first that can forbid further user namespaces
INSTALL = """the sandbox needs bubblewrap 0.8 or newer, which is not here; install it:
  Debian, Ubuntu: sudo apt install bubblewrap
  Fedora: sudo dnf install bubblewrap
It exists for Linux only: on macOS grade in a Linux virtual machine, on Windows in WSL2."""
FORBIDDEN = """the sandbox cannot start here: {}
It needs user namespaces that ordinary users may create. Look at
  sysctl kernel.unprivileged_userns_clone               (Debian: expected 1)
  sysctl user.max_user_namespaces                       (expected more than 0)
  sysctl kernel.apparmor_restrict_unprivileged_userns   (Ubuntu: expected 0)
In a Docker container it also takes --security-opt seccomp=unconfined and
--security-opt systempaths=unconfined."""
SETTINGS = {
    "HOME": confine.WORK,
    "PWD": confine.WORK,
    "USER": "student",
    "LOGNAME": "student",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "IPYTHONDIR": "/tmp/ipython",
}
EVERYWHERE = {
    "MPLBACKEND": "agg",
    "PYTHONDONTWRITEBYTECODE": "1",
    "COURSEKIT_STATIC": "1",
    "CUDA_VISIBLE_DEVICES": "",
    # A process with threads cannot be forked.
    **dict.fromkeys(
        ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"], "1"
    ),
}
START = (
    "import sys; sys.path[:0] = {path!r}; "
    "from coursekit.grading.sandbox.zygote import main; main{args!r}"
)


class NoSandbox(RuntimeError):
    """This machine cannot confine a submission. The message says what to install or switch on."""


def executable() -> str:
    """Return the path of bubblewrap, or raise NoSandbox."""
    path = shutil.which("bwrap")
    if not sys.platform.startswith("linux") or path is None:
        raise NoSandbox(INSTALL)
    text = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    version = tuple(int(n) for n in re.findall(r"\d+", text)[:2])
    if version < OLDEST:
        raise NoSandbox(f"{INSTALL}\n(here is {text.strip() or path})")
    return path


def python(args: tuple, readable: tuple[Path, ...]) -> list[str]:
    """Return the command that runs the inside of a box, in isolated mode."""
    path = [str(p if p.is_dir() else p.parent) for p in readable]
    path.append(str(Path(coursekit.__file__).parent.parent))
    return [sys.executable, "-I", "-c", START.format(path=path, args=args)]


def command(inner: list[str], readable: tuple[Path, ...], files: int, *, nested: bool) -> list[str]:
    """Return the command that starts a sandbox.

    Parameters
    ----------
    inner : list of str
        What runs inside.
    readable : tuple of Path
        Shown inside, read-only, at the same place.
    files : int
        Bytes of each writable folder.
    nested : bool
        Whether the inside makes namespaces for each submission, and needs the right to.
    """
    visible = visible_paths(readable)
    _refuse_too_much(visible)
    flags = "--unshare-all --unshare-user --uid 65534 --gid 65534 --disable-userns --cap-drop ALL"
    flags += " --die-with-parent --new-session --clearenv --hostname box"
    parts = [executable(), *flags.split()]
    parts += ["--cap-add", "CAP_SYS_ADMIN"] if nested else []
    for name, value in (SETTINGS | EVERYWHERE | {"PATH": _path()}).items():
        parts += ["--setenv", name, value]
    parts += _system(visible)
    parts += ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/tmp", "/dev/shm", confine.WORK):
        parts += ["--size", str(files), "--perms", "0700", "--tmpfs", folder]
    for path in visible:  # after /tmp: one of them may lie in it
        parts += ["--ro-bind", "{}", str(path)]
    for path in _answers():  # nobody inside needs them, and they would answer everything
        parts += ["--size", "4096", "--perms", "0500", "--tmpfs", path, "--remount-ro", path]
    parts += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", confine.WORK]
    order = {"command": [*parts, *inner], "stage": [str(p) for p in visible]}
    return [sys.executable, "-I", "-S", launcher.__file__, json.dumps(order)]


def with_order(line: list[str], **more: object) -> list[str]:
    """Add to the order for the launcher in a command of `command`."""
    return [*line[:-1], json.dumps({**json.loads(line[-1]), **more})]


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])


def _system(visible: list[Path]) -> list[str]:
    parts = ["--ro-bind", "/usr", "/usr"]
    # What an administrator has put there is no part of the system, and may be anything.
    if not any(path.is_relative_to("/usr/local") for path in visible):
        parts += ["--tmpfs", "/usr/local", "--remount-ro", "/usr/local"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            parts += ["--symlink", os.readlink(name), name]
        else:
            parts += ["--ro-bind-try", name, name]
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/fonts"):
        parts += ["--ro-bind-try", name, name]
    return [*parts, "--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]


def visible_paths(readable: tuple[Path, ...]) -> list[Path]:
    """Return what a sandbox shows besides the system, read-only."""
    return [*_interpreter(), *readable]


def _interpreter() -> list[Path]:
    """Folders of the interpreter, its environment and this package, outside /usr."""
    package = Path(coursekit.__file__).parent
    folders = [Path(sys.base_prefix), Path(sys.prefix), Path(sys.executable).parent.parent, package]
    both = {path for folder in folders for path in (folder.absolute(), folder.resolve())}
    outside = [p for p in both if not p.is_relative_to("/usr") or p.is_relative_to("/usr/local")]
    # Shorter first: a folder inside another one is shown with it.
    outermost: list[Path] = []
    for path in sorted(outside, key=lambda p: len(p.parts)):
        if not any(path.is_relative_to(other) for other in outermost):
            outermost.append(path)
    return outermost


def _answers() -> list[str]:
    """Folders with the exercises' references and solutions."""
    folder = Path(coursekit.__file__).parent / "exercises"
    return sorted({str(folder.absolute()), str(folder.resolve())})


def _refuse_too_much(visible: list[Path]) -> None:
    for path in visible:
        if Path.home().is_relative_to(path) or Path("/etc").is_relative_to(path):
            raise NoSandbox(
                f"expected an environment in a folder of its own, got {path}, which the sandbox "
                "would have to show as a whole; make one with python -m venv"
            )
