"""`python -m coursekit`: the same as the `coursekit` command.

These lines alone must run on an old Python too, which then learns what it lacks.
"""

import sys

OLDEST = (3, 11)


def too_old(version):
    """Return what to print and the exit status for a Python that is too old, else (None, 0)."""
    if tuple(version[:2]) >= OLDEST:
        return None, 0
    from shutil import which

    said = "expected Python {}.{} or newer, got {}.{}; ".format(*(OLDEST + tuple(version[:2])))
    newer = next(filter(which, ("python3." + str(minor) for minor in range(11, 16))), None)
    if newer is None:
        ask = "ask an administrator for one, or install it for yourself from python.org or by conda"
        return "coursekit: " + said + ask, 2
    make = "{0} -m venv .venv && .venv/bin/python -m pip install -c constraints.txt -e ."
    return "coursekit: " + said + "in the course's folder, try: " + make.format(newer), 1


def start():
    """Run the command, if this Python can."""
    sentence, status = too_old(sys.version_info)
    if sentence:
        print(sentence, file=sys.stderr)
        return status
    from coursekit.commands.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(start())
