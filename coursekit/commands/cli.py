"""The commands of the course: `coursekit lab`, `update`, `run`, `check`, `claims`, and others.

Heavy imports stand inside the commands, so that `coursekit --help` answers at once.
"""

import argparse
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from coursekit import __version__
from coursekit.grading import commands as grading_commands

PATIENCE = 60  # seconds that JupyterLab may take to answer
PATIENCE_AT_END = 15  # seconds that it may take to stop
# Settings of JupyterLab for learners: no news, and nothing of nbgrader, which their teachers need.
LEARNER = Path(__file__).resolve().parent / "learner"


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 failed, 130 interrupted, 141 not read."""
    args = _parser().parse_args(argv)
    try:
        status = args.command(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("\nStopped. What was finished before is kept.", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            return 128 + 13  # as of a program that SIGPIPE ended
        print(f"coursekit: {error}", file=sys.stderr)
        return 1


def _reader_left() -> bool:
    """Whether nobody reads what is printed any more, as in `coursekit claims show C44 | head`."""
    try:
        asked = select.poll()
        asked.register(sys.stdout.fileno(), select.POLLERR)
        left = any(event & select.POLLERR for _, event in asked.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll, or a stdout that is no file
        return False
    if left:  # Python flushes once more when it ends, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left


def lab(args: argparse.Namespace) -> int:
    """Serve your own copies of the lessons in JupyterLab until Ctrl-C."""
    from coursekit.course import copies, lessons

    # A user's own kernel named python3 must not win over this environment's.
    env = {"JUPYTER_TOKEN": secrets.token_hex(24), **os.environ, "JUPYTER_PREFER_ENV_PATH": "1"}
    if args.edit:
        where, page = _originals_to_edit(), lessons.START
        options = ["--Application.log_level=WARN"]
    else:
        where, copied = copies.make()
        if copied:
            print(f"Copied {copied} files to {where}; what was there is untouched.", flush=True)
        if waiting := len(copies.update(dry_run=True)):
            print(f"A newer course has {waiting} other files: see `coursekit update --dry-run`.")
        tabs = where / copies.OWN / "tabs"
        page = "" if any(tabs.glob("*")) else lessons.START  # without a page the tabs come back
        options = ["--Application.log_level=ERROR", f"--LabApp.workspaces_dir={tabs}"]
        own = [str(LEARNER), os.environ.get("JUPYTER_CONFIG_PATH", "")]
        env["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, own))
    page = f"/tree/{page}" if page and (where / page).is_file() else ""
    options += _lab_options(args, where, page)
    command = [sys.executable, "-m", "jupyterlab", *options, *args.options]
    for ending in ("SIGTERM", "SIGHUP"):  # a closed terminal must not leave a server behind
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), lambda number, _: sys.exit(128 + number))
    # In a session of its own Ctrl-C reaches us alone, and the server ends without asking twice.
    server = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        print(f"\n  The course: {address(server, page)}\n  Ctrl-C stops it.\n", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        print("\nStopping JupyterLab; saved notebooks are kept.", file=sys.stderr)
        return 130
    finally:
        if server.poll() is None:
            _stop(server)


def update(args: argparse.Namespace) -> int:
    """Bring your copies of the lessons up to date; what you changed stays as it is."""
    from coursekit.course import copies

    updates = copies.update(dry_run=args.dry_run)
    if args.dry_run:
        print("Nothing is changed. An update does this:")
    print("\n".join(map(str, updates)) or "Your copies are up to date.")
    return 0


def run(args: argparse.Namespace) -> int:
    """Execute notebooks one by one, each in a fresh kernel."""
    from coursekit.course import lessons

    notebooks, failed = _selected(args.notebooks), 0
    for number, path in enumerate(notebooks, 1):
        print(f"[{number}/{len(notebooks)}] {path.stem} ... ", end="", flush=True)
        out = path if args.in_place else Path(args.out) / path.name
        done = lessons.execute(
            path, out, timeout=args.timeout, first_seed=args.first_seed, threads=args.threads
        )
        print(
            f"{done.seconds:.1f} s" + (f", FAILED: {done.error}" if done.error else ""), flush=True
        )
        failed += done.error is not None
    return int(failed > 0)


def check(args: argparse.Namespace) -> int:
    """Run notebooks and compare the words of their marked cells, or look at their form only."""
    from coursekit.course import lessons, notebook

    notebooks = _selected(args.notebooks)
    root = lessons.checkout()
    if not notebooks:
        return 0
    if args.hygiene and root is None:
        raise ValueError(
            "expected a checkout for --hygiene, got an installed copy; try a git clone"
        )
    try:
        metadata.version("nbval")
    except metadata.PackageNotFoundError:
        raise ValueError('expected nbval, got none; try pip install "coursekit[dev]"') from None
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if args.hygiene:
        chosen = " or ".join(path.stem for path in notebooks)
        return subprocess.call([*command, str(root / "tests" / "test_notebooks.py"), "-k", chosen])
    env = {**os.environ, "COURSEKIT_STATIC": "1"}
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "sanitize.cfg"
        rules.write_text(notebook.sanitize_rules(), encoding="utf-8")
        command += ["--nbval-lax", "--nbval-current-env", f"--nbval-sanitize-with={rules}"]
        return subprocess.call([*command, *map(str, notebooks)], env=env)


def verdicts(args: argparse.Namespace) -> int:
    """Rerun notebooks on other seeds and thread counts; print the verdicts that change."""
    from joblib import Parallel, delayed

    from coursekit.commands.workers import workers
    from coursekit.course import lessons

    shifts = range(1, args.runs + 1)
    settings = [{"first_seed": n * args.seeds_shift, "threads": 1 + n % 2} for n in shifts]
    reruns = [(path, setting) for path in _selected(args.notebooks) for setting in settings]
    jobs = (delayed(lessons.rerun)(path, timeout=args.timeout, **own) for path, own in reruns)
    worst = 0
    with workers(args.jobs, args.scheduler):
        results = Parallel(return_as="generator")(jobs)
        for (path, own), (done, n_marked, found) in zip(reruns, results, strict=True):
            label = f"{path.stem}, first seed {own['first_seed']}, {own['threads']} thread(s)"
            held = f"{n_marked - len(found)} of {n_marked} verdicts hold"
            print(f"{label} ... {done.seconds:.1f} s, {done.error or held}", flush=True)
            for flip in found:
                print(f"  cell {flip.cell}")
                for line in flip.changed_lines():
                    print(f"    {line}")
            worst |= bool(found) or done.error is not None
    return int(worst)


def claims(args: argparse.Namespace) -> int:
    """List, show, register and run claims; write their pages and tables."""
    from coursekit.commands import claims as commands

    return commands.act(args)


def explorers(args: argparse.Namespace) -> int:
    """Pictures that can be moved: list them, train their data anew, write them as pages."""
    from coursekit.commands import explorers as commands

    return commands.act(args)


def data(args: argparse.Namespace) -> int:
    """List the data sets, or download one that is not embedded."""
    from coursekit.data import names
    from coursekit.datasets import download

    known = names()
    if args.action == "fetch":
        if args.name not in known:
            raise ValueError(
                f"expected one of {', '.join(known)}, got {args.name!r}; try `data list`"
            )
        if args.name not in download.SOURCES:
            print(f"{args.name} is embedded: nothing to download.")
            return 0
        for path in download.fetch(args.name):
            print(path)
        return 0
    for name, note in known.items():
        files = download.SOURCES[name].registry if name in download.SOURCES else ()
        missing = [f for f in files if not (download.cache_dir() / name / f).exists()]
        state = f"`coursekit data fetch {name}`" if missing else "here"
        print(f"{name:15} {note:60} {state}")
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Say what this machine offers the course, what was chosen, and what is wrong."""
    if args.workshop:
        from coursekit.commands import preflight

        return preflight.act(args.workshop)
    from coursekit.commands.doctor import examine

    found, problems = examine()
    for name, value in found:
        print(f"{name:13} {value}")
    for problem in problems:
        print(f"PROBLEM       {problem}")
    return int(bool(problems))


def progress(args: argparse.Namespace) -> int:
    """Say what you have done of each lesson, how good your predictions were, and what is next."""
    from coursekit import start

    print(start.progress())
    return 0


def lecture(args: argparse.Namespace) -> int:
    """Show a lecturer's path through lessons: cells that carry an hour, minutes, and notes."""
    from coursekit.course import lecture as paths
    from coursekit.course import notebook, slides

    if args.slides:
        if len(args.notebooks) != 1:
            got = " ".join(args.notebooks) or "all"
            raise ValueError(
                f"expected one lesson for --slides, got {got}; try lecture 04 --slides 04.html"
            )
        print(slides.write(_selected(args.notebooks)[0], args.slides))
        return 0
    for number, path in enumerate(_selected(args.notebooks)):
        title = notebook.title(notebook.read(path))
        print(("\n\n" if number else "") + f"{title}\n\n{paths.told(path)}")
    return 0


def room(args: argparse.Namespace) -> int:
    """A workshop's room as one study: train the seeds of a seat, join the seats in a figure."""
    from coursekit.commands import room as commands

    return commands.act(args)


def workshop(args: argparse.Namespace) -> int:
    """Show the plan of a workshop with its minutes, or write its handout as a page to print."""
    from coursekit.course import plans
    from coursekit.results.files import replace_file

    if args.plan is None:
        for name, plan in plans.PLANS.items():
            print(f"{name:12} {plan.title}")
        return 0
    plan = plans.find(args.plan)
    if args.handout:
        replace_file(Path(args.handout), plans.handout(plan).encode())
        print(args.handout)
        return 0
    print(f"# {plan.title}\n\n{plans.table(plan)}")
    return 0


def _stop(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(PATIENCE_AT_END)
    except subprocess.TimeoutExpired:
        server.kill()  # asked while a kernel starts, it may wait for ever; kernels end with it
        server.wait()


def _originals_to_edit() -> Path:
    from coursekit.course import lessons

    if lessons.checkout() is None:
        raise ValueError("expected a checkout for --edit, got an installed copy; try a git clone")
    return lessons.originals()


def _lab_options(args: argparse.Namespace, where: Path, page: str) -> list[str]:
    options = [
        f"--ServerApp.root_dir={where}",
        f"--LabApp.default_url=/lab{page}",
        "--KernelManager.transport_encryption=auto",
    ]
    headless = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    options += ["--no-browser"] if args.no_browser or headless else []
    options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    options += [] if args.port is None else [f"--ServerApp.port={args.port}"]
    return options


def address(server: subprocess.Popen, page: str, patience: float = PATIENCE) -> str:
    """Wait for a JupyterLab that was started, and return its address with its token.

    Raises
    ------
    RuntimeError
        If it ends, or does not answer in `patience` seconds.
    """
    # JupyterLab takes the next port when one is busy; only its own record tells which.
    from jupyter_server.serverapp import list_running_servers

    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(
                f"expected JupyterLab to start, got exit status {server.returncode}; "
                "its own message stands above"
            )
        for info in list_running_servers():
            if info["pid"] == server.pid:
                return f"{info['url']}lab{page}?token={info['token']}"
        time.sleep(0.2)
    raise RuntimeError(f"expected JupyterLab to answer within {patience:g} seconds; try again")


def _selected(names: list[str]) -> list[Path]:
    from coursekit.course import lessons

    notebooks = lessons.select(names)
    if not notebooks:
        print(f"No notebooks in {lessons.folder()}.")
    return notebooks


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("coursekit", description="A course that measures its claims.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(command=lambda _: parser.print_help() or 0)
    commands = parser.add_subparsers(metavar="COMMAND")

    def command(function, *, notebooks: bool = False) -> argparse.ArgumentParser:
        about = function.__doc__.splitlines()[0]
        sub = commands.add_parser(function.__name__, help=about, description=about)
        sub.set_defaults(command=function)
        if notebooks:
            about = 'files or beginnings of lesson names such as "01"; default: all lessons'
            sub.add_argument("notebooks", nargs="*", metavar="NB", help=about)
        return sub

    sub = command(lab)
    sub.add_argument("--no-browser", action="store_true", help="only print the address")
    sub.add_argument("--port", type=int, help="default: 8888, or the next free one")
    sub.add_argument("options", nargs="*", help="options for JupyterLab, after --")
    about = "the originals of a checkout, with all that JupyterLab has installed here"
    sub.add_argument("--edit", action="store_true", help=about)
    sub = command(update)
    sub.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    sub = command(run, notebooks=True)
    sub.add_argument("--in-place", action="store_true", help="refresh the stored outputs")
    sub.add_argument("--out", default="build", help="folder for the executed notebooks")
    sub.add_argument("--first-seed", type=int, metavar="N", help="first seed of every experiment")
    sub.add_argument("--threads", type=int, metavar="N", help="CPU threads (OMP_NUM_THREADS)")
    sub.add_argument("--timeout", type=float, default=900, metavar="S", help="seconds per cell")
    sub = command(check, notebooks=True)
    sub.add_argument("--hygiene", action="store_true", help="look at the stored form, run nothing")
    command(progress)
    sub = command(lecture, notebooks=True)
    about = "write slides of one lesson instead: one file, with notes and live explorers"
    sub.add_argument("--slides", metavar="FILE", help=about)
    sub = command(verdicts, notebooks=True)
    sub.add_argument("--seeds-shift", type=int, default=100, metavar="K", help="default: 100")
    sub.add_argument("--runs", type=int, default=2, metavar="R", help="default: 2")
    sub.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; default: 1")
    sub.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, tcp://host:8786")
    sub.add_argument("--timeout", type=float, default=900, metavar="S", help="seconds per cell")
    sub = command(claims)
    actions = ["list", "show", "register", "run", "agree", "rates", "pages", "export"]
    sub.add_argument("action", nargs="?", choices=actions, default="list")
    sub.add_argument("ids", nargs="*", metavar="ID", help='as in "C44"; default: all')
    sub.add_argument("--lesson", metavar="NN", help='claims of one lesson, as in "04"')
    sub.add_argument("--headline", action="store_true", help="headline claims only")
    sub.add_argument("--all", action="store_true", help="run everything")
    about = '"digits" (default), "other writers", "mnist" or "mnist1d"'
    sub.add_argument("--world", default="digits", metavar="W", help=about)
    about = "folder of what is written; default: data/ledger, or build/ledger for pages and tables"
    sub.add_argument("--out", metavar="DIR", help=about)
    about = "for agree: folder of your own results, to compare with the stored ones of that world"
    sub.add_argument("--mine", metavar="DIR", help=about)
    about = "folder of finished blocks of seeds, by which a run resumes; default: build/ledger/runs"
    sub.add_argument("--kept", default="build/ledger/runs", metavar="DIR", help=about)
    sub.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; default: 1")
    sub.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, tcp://host:8786")
    sub = command(explorers)
    actions = ["list", "data", "picture", "film", "page"]
    sub.add_argument("action", nargs="?", choices=actions, default="list")
    sub.add_argument("names", nargs="*", metavar="NAME", help='as in "dance"; default: all')
    sub.add_argument("--out", default="build/explorers", metavar="DIR", help="folder of the pages")
    sub = command(data)
    sub.add_argument("action", nargs="?", choices=["list", "fetch"], default="list")
    sub.add_argument("name", nargs="?", help="data set to fetch")
    sub = command(doctor)
    about = "is it ready for a room? Tries everything for a minute; plans: see `workshop`"
    sub.add_argument("--workshop", nargs="?", const="half-day", metavar="PLAN", help=about)
    sub = command(workshop)
    sub.add_argument("plan", nargs="?", metavar="PLAN", help="default: list the plans")
    sub.add_argument("--handout", metavar="FILE", help="write one page for each participant")
    sub = command(room)
    sub.add_argument("action", choices=["train", "join"])
    sub.add_argument("files", nargs="*", metavar="FILE", help="to join; default: what is pasted")
    sub.add_argument("--seat", type=int, metavar="N", help="number of your seat, from 1")
    sub.add_argument("--out", default="room.html", metavar="FILE", help="page, or figure as .svg")
    grading_commands.add_parsers(commands)
    return parser
