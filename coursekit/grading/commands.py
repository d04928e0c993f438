"""`coursekit grade`: the grader from a terminal."""

import argparse
import os


def add_parsers(commands) -> None:
    """Add `grade` to the subcommands of `coursekit`.

    Parameters
    ----------
    commands : argparse subparsers
        What `ArgumentParser.add_subparsers` returns.
    """
    about = grade.__doc__.splitlines()[0]
    sub = commands.add_parser("grade", help=about, description=about)
    sub.set_defaults(command=grade)
    what = "folder of a class, zip files, or notebooks"
    sub.add_argument("submissions", nargs="+", metavar="PATH", help=what)
    sub.add_argument("--lesson", required=True, metavar="NN", help='as in "04"')
    sub.add_argument("--key", help="key of the class, which chooses conventions")
    sub.add_argument("--out", default="grades", metavar="DIR", help="default: grades")
    sub.add_argument("--deadline", metavar="TIME", help='as in "2027-01-31T23:59", local time')
    sub.add_argument("--jobs", type=int, metavar="N", help="processes; default: one per core")
    sub.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, tcp://host:8786")
    sub.add_argument("--review", action="store_true", help="list what a person must look at")
    trust = "run without a sandbox: for your own notebooks only"
    sub.add_argument("--trust", action="store_true", help=trust)


def grade(args: argparse.Namespace) -> int:
    """Grade submissions in a sandbox; write records, feedback and a table of grades."""
    from datetime import datetime
    from functools import partial
    from pathlib import Path

    from coursekit.grading import export
    from coursekit.grading.box import Box
    from coursekit.grading.coordinator import grade_all

    jobs = (os.cpu_count() or 1) if args.jobs is None else args.jobs
    if jobs < 1:
        raise ValueError(f"expected at least one process, got --jobs {jobs}")
    deadline = None
    if args.deadline is not None:
        deadline = datetime.fromisoformat(args.deadline).astimezone()
    rows = grade_all(
        args.submissions,
        args.lesson,
        partial(Box, trusted=args.trust),
        key=args.key,
        out=args.out,
        jobs=jobs,
        scheduler=args.scheduler,
        deadline=deadline,
    )
    print(export.summary(rows))
    if args.review:
        print(f"\n{export.to_review(rows)}")
    out = Path(args.out)
    print(f"{out / 'grades.csv'}; explanations get their points in {out / 'review.csv'}")
    return 0
