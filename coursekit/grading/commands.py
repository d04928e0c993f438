"""`coursekit course` and `coursekit grade`: exercises for a class, and their grades.

Heavy imports stand inside the commands, so that `coursekit --help` answers at once.
"""

import argparse
import os


def add_parsers(commands) -> None:
    """Add `course` and `grade` to the subcommands of `coursekit`.

    Parameters
    ----------
    commands : argparse subparsers
        What `ArgumentParser.add_subparsers` returns.
    """
    about = course.__doc__.splitlines()[0]
    sub = commands.add_parser("course", help=about, description=about)
    sub.set_defaults(command=course)
    sub.add_argument("action", choices=["init", "notebooks"])
    where = "for init: the folder to make; for notebooks: default notebooks/exercises"
    sub.add_argument("folder", nargs="?", metavar="DIR", help=where)
    sub.add_argument("--lessons", nargs="+", default=[], metavar="NN", help="default: all")
    sub.add_argument("--key", help="key of the class, which chooses conventions")
    about = exercise.__doc__.splitlines()[0]
    sub = commands.add_parser("exercise", help=about, description=about)
    sub.set_defaults(command=exercise)
    what = "Markdown file of an exercise, or the name of one of the course's"
    sub.add_argument("files", nargs="+", metavar="FILE", help=what)
    sub.add_argument("--brief", action="store_true", help="only what is to be mended")
    about = grade.__doc__.splitlines()[0]
    sub = commands.add_parser("grade", help=about, description=about)
    sub.set_defaults(command=grade)
    what = "folder of a class, zip files, or notebooks"
    sub.add_argument("submissions", nargs="+", metavar="PATH", help=what)
    sub.add_argument("--lesson", required=True, metavar="NN", help='as in "04"')
    sub.add_argument("--key", help="key of the class, which chooses conventions")
    sub.add_argument("--out", default="grades", metavar="DIR", help="default: grades")
    until = 'as in "2026-12-01 23:59", local time, or "2026-12-01 23:59 Europe/Berlin"'
    sub.add_argument("--deadline", metavar="TIME", help=until)
    cost = 'what being late costs, as in "10%% per day, at most 50%%"; default: nothing'
    sub.add_argument("--late", metavar="RULE", help=cost)
    who = "class list as CSV, where columns extension and group are optional"
    sub.add_argument("--students", metavar="CSV", help=who)
    pattern = "regular expression for files' names, with a group (?P<student>...)"
    sub.add_argument("--names", metavar="PATTERN", help=pattern)
    back = "also write grades and feedback as this platform imports them"
    sub.add_argument("--for", dest="platform", choices=["canvas", "moodle"], help=back)
    what = "what Canvas calls the assignment; default: the lesson's name"
    sub.add_argument("--column", metavar="NAME", help=what)
    sub.add_argument("--jobs", type=int, metavar="N", help="processes; default: one per core")
    sub.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, tcp://host:8786")
    sub.add_argument("--review", action="store_true", help="list what a person must look at")
    trust = "run without a sandbox: for your own notebooks only"
    sub.add_argument("--trust", action="store_true", help=trust)


def course(args: argparse.Namespace) -> int:
    """Make an nbgrader course from the exercises, or write their notebooks for learners."""
    from pathlib import Path

    from coursekit.course.lessons import folder
    from coursekit.grading import assignments

    if args.action == "notebooks":
        target = Path(args.folder) if args.folder else folder() / "exercises"
        for path in assignments.write_pages(target, args.lessons, args.key):
            print(path)
        return 0
    if args.folder is None:
        raise ValueError("expected a folder, as in `coursekit course init my-course`, got none")
    target, new_files = assignments.init(args.folder, args.lessons, args.key)
    for path in new_files:
        print(f"wrote {path}")
    print(f"{target}: {len(new_files)} new files; what was there is untouched.")
    print(f"Next: cd {target} && nbgrader generate_assignment NAME, a folder in source")
    return 0


def exercise(args: argparse.Namespace) -> int:
    """Show an exercise as its author wants to see it: page, checks, and what they miss."""
    from pathlib import Path

    from coursekit.exercises import author, bank

    worst = 0
    for name in args.files:
        known = bank.files(name)
        path = known[0] if known and not Path(name).exists() else Path(name)
        page, faults = author.review(path)
        told = [f"- {fault}" for fault in faults] or ["Nothing is to be mended."]
        heading = f"{path.stem}: {len(faults)} to mend"
        print("\n".join([*([] if args.brief else [page, ""]), heading, *told]))
        worst = max(worst, bool(faults))
    return worst


def grade(args: argparse.Namespace) -> int:
    """Grade submissions in a sandbox; write records, feedback and a table of grades."""
    from functools import partial
    from pathlib import Path

    from coursekit.exercises import bank, pages
    from coursekit.grading.book import export, gradebook, platforms
    from coursekit.grading.coordinator import grade_all
    from coursekit.grading.intake import classlist
    from coursekit.grading.sandbox.box import Box
    from coursekit.grading.sandbox.selftest import ProvenBox

    jobs = (os.cpu_count() or 1) if args.jobs is None else args.jobs
    if jobs < 1:
        raise ValueError(f"expected at least one process, got --jobs {jobs}")
    deadline = None if args.deadline is None else classlist.moment(args.deadline)
    late = None if args.late is None else gradebook.penalty(args.late)
    preload = bank.IMPORTS.get(args.lesson, ())
    rows = grade_all(
        args.submissions,
        args.lesson,
        partial(Box if args.trust else ProvenBox, trusted=args.trust, preload=preload),
        key=args.key,
        out=args.out,
        jobs=jobs,
        scheduler=args.scheduler,
        deadline=deadline,
        late=late,
        students=args.students,
        names=args.names,
    )
    print(export.summary(rows))
    if args.review:
        print(f"\n{export.to_review(rows)}")
    out = Path(args.out)
    print(f"{out / 'grades.csv'}; explanations get their points in {out / 'review.csv'}")
    print(f"{out / 'intake.csv'} says of each file what became of it")
    if args.platform:
        asked = [*bank.of_lesson(args.lesson, args.key), *bank.questions_of(args.lesson)]
        column = args.column or pages.title(args.lesson)[0].removesuffix(".ipynb")
        most = sum(one.points for one in asked)
        print(*platforms.write(out, rows, args.platform, column, most), sep="\n")
    return 0
