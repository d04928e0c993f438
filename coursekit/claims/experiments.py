"""Experiments: functions from seeds to the evidence on one or more claims of the ledger.

An experiment declares its rule in its docstring before it runs, and is found by the claims it
settles. A claim whose experiment stands in the cells of its lesson has none here.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module

from coursekit.claims.claim import Claim, Evidence, corrected, ledger, settle
from coursekit.datasets.tasks import seeds as study_seeds
from coursekit.results.fingerprint import fingerprint
from coursekit.results.store import machine
from coursekit.train import ENGINE, Recipe

TOPICS = (
    "weight_decay",
    "dropout",
    "batch_norm",
    "augmentation",
    "early_stopping",
    "stochastic_depth",
    "mnist1d",
)


@dataclass(frozen=True)
class Experiment:
    """What settles some claims; called with seeds, it returns the evidence by claim.

    Attributes
    ----------
    ids : tuple of str
        The claims, as in "C44".
    function : callable
        Consecutive seeds to {id: {regime: evidence}}; an exact one takes no argument.
    n_seeds : int
        0 for an exact experiment.
    recipe : Recipe or None
        Of its plain arm; the others change it in the code.
    """

    ids: tuple[str, ...]
    function: Callable[..., dict[str, Evidence]]
    n_seeds: int
    recipe: Recipe | None = None

    def __call__(self, seeds: Sequence[int] | None = None) -> dict[str, Evidence]:
        if not self.n_seeds:
            found = self.function()
        else:
            found = self.function(study_seeds(self.n_seeds) if seeds is None else seeds)
        if set(found) != set(self.ids):
            raise ValueError(f"expected evidence on {self.ids}, got it on {tuple(found)}")
        return found

    @property
    def topic(self) -> str:
        return self.function.__module__.rpartition(".")[2]

    @property
    def code(self) -> str:
        """Eight digits that change with whatever decides the result, but not with comments.

        The function and what it names in the course (networks, data, regularizers, measures, the
        rule of judgement), its recipe and number of seeds, how evidence becomes a judgement, and
        the engine's number.
        """
        own = self.function, self.recipe, self.n_seeds
        return fingerprint(own, Claim, corrected, ENGINE, text=True)[:8]


def experiment(*ids: str, n_seeds: int = 16, recipe: Recipe | None = None):
    """Make an experiment of a function from seeds to evidence on the claims `ids`."""
    if n_seeds < 2:
        raise ValueError(f"expected at least 2 seeds for {ids}, got {n_seeds}")
    return lambda function: Experiment(ids, function, n_seeds, recipe)


def exact(*ids: str):
    """Make an experiment of a function without arguments: identities and counterexamples."""
    return lambda function: Experiment(ids, function, 0)


@cache
def experiments() -> dict[str, Experiment]:
    """Return all experiments by the claims they settle."""
    found = {}
    for topic in TOPICS:
        module = import_module(f"coursekit.claims.{topic}")
        for value in vars(module).values():
            if isinstance(value, Experiment) and value.function.__module__ == module.__name__:
                found |= dict.fromkeys(value.ids, value)
    return found


def find(id: str) -> Experiment:
    """Return the experiment that settles a claim.

    Raises
    ------
    ValueError
        If the ledger has no such claim, or its experiment stands in a lesson.
    """
    if id not in ledger():
        raise ValueError(
            f"expected a claim of the ledger, got {id!r}; it has {', '.join(ledger())}"
        )
    if id not in experiments():
        lesson = ledger()[id]["lesson"]
        raise ValueError(
            f"expected a claim with an experiment of its own, got {id}, which stands in the cells "
            f"of lesson {lesson}; try `coursekit claims run {id}`, which runs that lesson"
        )
    return experiments()[id]


def run(id: str, seeds: Sequence[int] | None = None) -> Claim:
    """Settle a claim anew.

    Parameters
    ----------
    id : str
        As in "C42".
    seeds : sequence of int, optional
        By default the experiment's own number of seeds from `COURSEKIT_FIRST_SEED`, else 0.

    Returns
    -------
    Claim

    Raises
    ------
    ValueError
        If the ledger has no such claim, or its experiment stands in a lesson.

    Examples
    --------
    >>> from coursekit import claims
    >>> claims.run("C60").judgement  # an exact one: it needs no seeds
    'confirmed'
    """
    return settle(id, find(id)(seeds)[id])


def settle_all(id: str, seeds: Sequence[int] | None = None) -> list[Claim]:
    """Run the experiment of claim `id`; return all claims that it settles, with their origin."""
    chosen, start = find(id), time.perf_counter()
    evidence = chosen(seeds)
    used = study_seeds(chosen.n_seeds) if chosen.n_seeds and seeds is None else seeds
    origin = {
        "experiment": f"{chosen.topic}.{chosen.function.__name__}",
        "code": chosen.code,
        "seeds": f"{used[0]} to {used[-1]}" if chosen.n_seeds else "none",
        "seconds": round(time.perf_counter() - start, 1),
        **machine(),
        "recipe": asdict(chosen.recipe) if chosen.recipe else {},
    }
    settled = (settle(name, evidence[name]) for name in chosen.ids)
    return [Claim(c.id, c.sentence, c.evidence, origin) for c in settled]


def source(id: str):
    """Show the code of the experiment that settles a claim, as a notebook displays code.

    Parameters
    ----------
    id : str
        As in "C42".

    Raises
    ------
    ValueError
        If the ledger has no such claim, or its experiment stands in a lesson.

    Examples
    --------
    >>> from coursekit import claims
    >>> code = claims.source("C62")
    >>> print(code.data.splitlines()[0])
    @exact("C62")
    """
    from IPython.display import Code

    return Code(inspect.getsource(find(id).function), language="python")
