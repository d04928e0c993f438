"""Print what became of each situation in situations.toml: `make situations`.

python tests/situations.py             # all, at most 15 minutes
python tests/situations.py intake      # one part
"""

import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def table() -> dict[str, dict[str, list[str]]]:
    """Return part to situation to tests, as "file" or "file::function"."""
    return tomllib.loads((HERE / "situations.toml").read_text(encoding="utf-8"))


class Listener:
    """Counts outcomes of tests by "file" and "file::function"."""

    def __init__(self):
        self.outcomes: dict[str, Counter] = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            file, _, rest = report.nodeid.partition("::")
            name = f"{Path(file).name}::{rest.split('[')[0]}"
            for key in (Path(file).name, name):
                self.outcomes.setdefault(key, Counter())[report.outcome] += 1


def main(parts: list[str]) -> int:
    """Run the tests of some parts, by default all, and print a line for each situation."""
    known = table()
    if unknown := set(parts) - set(known):
        raise SystemExit(f"expected parts among {', '.join(known)}, got {', '.join(unknown)}")
    wanted = {name: known[name] for name in parts or known}
    ids = {test for part in wanted.values() for tests in part.values() for test in tests}
    listener = Listener()
    options = ["-q", "-n", "2", "--dist", "loadfile"]
    paths = [f"{HERE}/{test}" for test in sorted(ids)]
    code = pytest.main([*options, *paths], plugins=[listener])
    for part, situations in wanted.items():
        print(f"\n{part}")
        for situation, tests in situations.items():
            total = sum((listener.outcomes.get(test, Counter()) for test in tests), Counter())
            held = total["passed"] and not total["failed"]
            word = "held" if held else "FAILED" if total["failed"] else "not tried"
            print(f"  {word:10} {situation} ({total['passed']} tests, {total['skipped']} skipped)")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
