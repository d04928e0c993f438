"""Measure what other texts assert: the support package of the course on regularization.

A notebook imports the modules that lie flat in this folder, and `regularizers`, `linear`, `ledger`,
`explorers`, `playground`, `rosetta` and `exercises`; what lies in the other folders is
machinery behind them. Submodules load on first use, so `import coursekit` costs milliseconds and
does not touch torch.
"""

from importlib import import_module

__version__ = "0.1.0"

# What a lesson or a study imports, each by its short name: `from coursekit import data, models`.
PUBLIC = (
    "data",
    "models",
    "recipe",
    "train",
    "sweep",
    "regularizers",
    "linear",
    "schedules",
    "stopping",
    "measure",
    "intervals",
    "judge",
    "declaration",
    "plots",
    "widgets",
    "explorers",
    "playground",
    "claims",
    "ledger",
    "rosetta",
    "exercises",
    "start",
)


def __getattr__(name: str):
    if name in PUBLIC:
        return import_module(f"coursekit.{name}")
    raise AttributeError(f"coursekit has no {name!r}; it has {', '.join(PUBLIC)}")


def __dir__() -> "list[str]":  # quoted: an old Python must come as far as __main__
    return sorted({*globals(), *PUBLIC})
