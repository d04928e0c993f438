"""What all tests share: no window opens, no test depends on who runs it, and no gap is silent."""

import os
import re
from collections import Counter

import matplotlib
import pytest

# Not through MPLBACKEND: kernels that nbval starts inherit it, and need their inline figures.
matplotlib.use("agg")
for name in ("COURSEKIT_FIRST_SEED", "COURSEKIT_MIRROR"):
    os.environ.pop(name, None)

INSTALL = """
So it is not known whether a submission could harm this machine. On Linux, install bubblewrap, and
run the tests again:
  Debian, Ubuntu: sudo apt install bubblewrap
  Fedora:         sudo dnf install bubblewrap
With COURSEKIT_REQUIRE_SANDBOX=1 in the environment, as in CI, a missing sandbox is an error."""


def pytest_make_parametrize_id(val, argname):
    # Bytes are a poor name, and where they hold a time the two processes of a run disagree on it.
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """Say after all else, where nobody overlooks it, what a missing sandbox left untested."""
    yield
    skips = terminalreporter.stats.get("skipped", [])
    skips = [report for report in skips if "no sandbox: " in str(report.longrepr)]
    if not skips:
        return
    files = Counter(report.nodeid.partition("::")[0] for report in skips)
    reason = re.search("no sandbox: ([^;\n]*)", str(skips[0].longrepr[-1]))[1]
    terminalreporter.section("THE SANDBOX WAS NOT TESTED", sep="!", red=True, bold=True)
    terminalreporter.line(f"{len(skips)} tests were skipped: {reason}")
    for file, n in files.items():
        terminalreporter.line(f"  {n:3} of {file}")
    terminalreporter.line(INSTALL.strip())


# Not for the whole session: while it is open, nothing else in the process may run an event loop.
@pytest.fixture(scope="module")
def browser():
    """Chromium, once for all tests of a module."""
    from browsing import CHROMIUM

    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as tool:
        one = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()
