"""What all tests share: no window opens, and no test depends on who runs it."""

import os

import matplotlib

# Not through MPLBACKEND: kernels that nbval starts inherit it, and need their inline figures.
matplotlib.use("agg")
for name in ("COURSEKIT_FIRST_SEED", "COURSEKIT_MIRROR"):
    os.environ.pop(name, None)


def pytest_make_parametrize_id(val, argname):
    # Bytes are a poor name, and where they hold a time the two processes of a run disagree on it.
    return argname if isinstance(val, bytes) else None
