"""Measure what other texts assert: the support package of the course on regularization.

Submodules load on first use, so `import coursekit` costs milliseconds and does not touch torch.
"""

from importlib import import_module

__version__ = "0.1.0"

# In import order: a module uses only those before it, and a test holds it to that.
MODULES = (
    "files",
    "learner",
    "download",
    "tasks",
    "data",
    "regularizers",
    "machine",
    "noise",
    "kernels",
    "layers",
    "models",
    "proximal",
    "linear",
    "strengths",
    "stopping",
    "schedules",
    "networks",
    "stacked",
    "runs",
    "recipes",
    "hooks",
    "train",
    "large",
    "measure",
    "intervals",
    "judge",
    "store",
    "fingerprint",
    "sweep",
    "full_size",
    "notebook",
    "course",
    "claims",
    "studies",
    "plots",
    "widgets",
    "exercises",
    "grading",
    "doctor",
    "cli",
)


def __getattr__(name: str):
    if name in MODULES:
        return import_module(f"coursekit.{name}")
    raise AttributeError(f"coursekit has no {name!r}; it has {', '.join(MODULES)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *MODULES})
