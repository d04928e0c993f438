"""Experiments: functions from seeds (and a world) to evidence on one or more claims.

    @experiment("C44", "C45", recipe=RECIPE)
    def rates(seeds, world): ...        # {"C44": {condition: (control, treated)}, "C45": ...}

    @experiment("C42")
    def scaling(): ...                  # exact facts need no seeds

An experiment measures and never judges. Each condition that it returns is declared in a record.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pkgutil import iter_modules

from coursekit.ledger import evidence, record
from coursekit.ledger.evidence import Evidence
from coursekit.ledger.worlds import WORLDS, World
from coursekit.results.fingerprint import fingerprint
from coursekit.train import ENGINE, Recipe


@dataclass(frozen=True)
class Experiment:
    """What measures some claims.

    Attributes
    ----------
    ids : tuple of str
    function : callable
        Of `seeds` and `world`, of `seeds`, or of nothing.
    recipe : Recipe or None
        Of its plain side; the others change it in the code.
    """

    ids: tuple[str, ...]
    function: Callable[..., dict[str, Evidence]]
    recipe: Recipe | None = None

    @property
    def takes(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.function).parameters)

    @property
    def name(self) -> str:
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    @cached_property
    def code(self) -> str:
        """Eight digits that change with whatever decides a number, but not with comments."""
        own = [World, WORLDS] if "world" in self.takes else []
        return fingerprint(self.function, self.recipe, ENGINE, *own, text=True)[:8]

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds that the records of its claims agree on; () if it is exact."""
        if not self.takes:
            return ()
        found = {record.find(id).looks for id in self.ids}
        if len(found) > 1:
            raise ValueError(f"expected equal looks of {self.ids}, got {found}")
        return found.pop()

    def __call__(self, seeds: Sequence[int], world: World) -> dict[str, Evidence]:
        """Measure.

        Raises
        ------
        ValueError
            If the evidence is not on the announced claims, or is no evidence.
        """
        given = {"seeds": seeds, "world": world}
        found = self.function(**{name: given[name] for name in self.takes})
        if set(found) != set(self.ids):
            raise ValueError(f"expected evidence on {self.ids}, got it on {tuple(found)}")
        for id, conditions in found.items():
            declared = record.find(id)
            for name, measured in conditions.items():
                declared.condition(name)
                evidence.check(f"{id}, {name}", measured)
            absent = [
                c.name for c in declared.conditions if c.name not in conditions and not c.untested
            ]
            if absent and world.is_first:
                raise ValueError(f"expected evidence on all of {id}, got none on {absent}")
        return found


def experiment(*ids: str, recipe: Recipe | None = None):
    """Make an experiment of a function that measures the claims `ids`."""

    def decorate(function: Callable) -> Experiment:
        chosen = Experiment(ids, function, recipe)
        if chosen.takes not in ((), ("seeds",), ("seeds", "world")):
            raise ValueError(
                f"expected a function of (seeds, world), (seeds) or (), got {chosen.takes}"
            )
        return chosen

    return decorate


@cache
def experiments() -> dict[str, Experiment]:
    """Return all experiments by the claims that they measure.

    Raises
    ------
    ValueError
        If two measure one claim.
    """
    found: dict[str, Experiment] = {}
    for module in iter_modules(__path__):
        topic = import_module(f"{__name__}.{module.name}")
        for value in vars(topic).values():
            if isinstance(value, Experiment) and value.function.__module__ == topic.__name__:
                for id in value.ids:
                    if found.setdefault(id, value) is not value:
                        raise ValueError(f"expected one experiment on {id}, got two")
    return found


def find(id: str) -> Experiment:
    """Return the experiment that measures a claim.

    Raises
    ------
    ValueError
        If there is no such claim, or nothing measures it yet.
    """
    record.find(id)
    if id not in experiments():
        raise ValueError(
            f"expected a claim with an experiment, got {id}, which is declared and not built yet"
        )
    return experiments()[id]
