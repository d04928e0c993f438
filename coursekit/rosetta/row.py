"""A row: one regularizer in up to three libraries, as code that is run and code that is shown."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

LIBRARIES = {"keras": "Keras", "torch": "PyTorch", "sklearn": "scikit-learn"}
STEPS = (1, 50)  # training steps after which weights are compared
ROWS: dict[str, "Row"] = {}


@dataclass(frozen=True)
class Row:
    """One regularizer.

    `code` holds a function per library that has it: its body is the snippet, what it returns is
    compared. `lacks` says why a library does not have it, and `missing` checks that. `wrong` is the
    translation that looks right.
    """

    name: str
    group: str
    topic: str
    same: str
    short: Mapping[str, str]
    code: Mapping[str, Callable]
    lacks: Mapping[str, str]
    missing: Callable | None
    trap: str
    wrong: Callable
    tolerance: float = 1e-5
    unit: str = ""
    also: tuple[str, ...] = ()  # names for the index that stand in no line of the table

    @property
    def trains(self) -> bool:
        """Whether weights are compared after 1 and after 50 steps."""
        return "steps" in inspect.signature(self.wrong).parameters

    def source(self, library: str) -> str:
        """What is shown of a snippet: the lines of its function, and of `wrong` for "wrong"."""
        function = self.wrong if library == "wrong" else self.code[library]
        lines = inspect.getsource(function).splitlines()
        while not lines[0].lstrip().startswith("def "):  # decorators
            lines.pop(0)
        body = textwrap.dedent("\n".join(lines[1:]))
        return body.replace("\nreturn ", "\n").removeprefix("return ")


def row(group: str, topic: str, **options) -> Callable[[type], Row]:
    """Make a class a row: its docstring says what is equal, its functions are the snippets.

    `short` gives the one line per library for the table, or None where it has nothing; then `lacks`
    says why, and a function `missing` returns whether that is still so.
    """

    def made(cls: type) -> Row:
        own = vars(cls)
        lacks = own.get("lacks", {})
        one = Row(
            name=cls.__name__,
            group=group,
            topic=topic,
            same=" ".join(cls.__doc__.split()),
            short=own["short"],
            code={library: own[library] for library in LIBRARIES if library in own},
            lacks={k: " ".join(v.split()) for k, v in lacks.items()},
            missing=own.get("missing"),
            trap=" ".join(own["trap"].split()),
            wrong=own["wrong"],
            also=own.get("also", ()),
            **options,
        )
        ROWS[one.name] = one
        return one

    return made


def measured(function: Callable) -> list[np.ndarray]:
    """What a snippet returns, as lists of numbers: after 1 and after 50 steps where it trains."""
    takes = inspect.signature(function).parameters
    found = [function(steps) for steps in STEPS] if "steps" in takes else [function()]
    return [_flat(one) for one in found]


def _flat(found) -> np.ndarray:
    from coursekit.rosetta.shared import numbers

    parts = found.values() if isinstance(found, dict) else [found]
    return np.concatenate([numbers(part).ravel() for part in parts])


def distance(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Largest difference between two snippets' numbers."""
    return max(float(np.abs(p - q).max()) for p, q in zip(one, other, strict=True))
