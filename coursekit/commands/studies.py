"""Many experiments at once: settle claims, rerun lessons, here or on a cluster.

What one worker does is a function of plain values, so joblib may send it to any process.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from coursekit.claims.claim import Claim, ledger, read
from coursekit.claims.experiments import experiments, settle_all
from coursekit.course import lessons
from coursekit.datasets.tasks import seeds as study_seeds
from coursekit.results.store import machine

CONNECT = 60  # seconds that a cluster may take to answer


class Settled(NamedTuple):
    """What became of one experiment: its claims, or one sentence about what went wrong."""

    label: str
    seconds: float
    claims: list[Claim]
    error: str | None


@contextmanager
def workers(jobs: int, scheduler: str | None) -> Iterator[None]:
    """Where joblib works inside the block: processes of this machine, or a Dask cluster.

    Raises
    ------
    ValueError
        If a cluster is wanted and Dask is not installed.
    OSError
        If the cluster does not answer.
    """
    from joblib import parallel_config

    if scheduler is None:
        with parallel_config(n_jobs=jobs):
            yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            'expected Dask for --scheduler, got none; try pip install "coursekit[cluster]"'
        ) from None
    with Client(scheduler, timeout=CONNECT), parallel_config(backend="dask"):
        yield


def select(ids: Iterable[str] = (), topics: Sequence[str] = ()) -> list[str]:
    """Choose claims by id, by topic ("dropout") or by lesson ("04"); nothing means all.

    Raises
    ------
    ValueError
        If a claim or topic is unknown.
    """
    known, chosen = ledger(), list(ids)
    for id in chosen:
        if id not in known:
            raise ValueError(f"expected a claim of the ledger, got {id!r}; try `claims list`")
    for topic in topics:
        found = [id for id in known if topic in (known[id]["lesson"], _topic(id))]
        if not found:
            raise ValueError(f"expected a topic or a lesson, got {topic!r}; try `claims list`")
        chosen += found
    return list(dict.fromkeys(chosen)) if chosen or topics else list(known)


def _topic(id: str) -> str:
    return experiments()[id].topic if id in experiments() else ""


def settle_many(
    ids: Sequence[str], *, first_seed: int | None = None, n_seeds: int | None = None
) -> Iterator[Settled]:
    """Settle claims anew, each experiment once, in the order of their end.

    Where and how many at once is joblib's affair: see `workers`.

    Parameters
    ----------
    ids : sequence of str
        As `select` returns them.
    first_seed, n_seeds : int, optional
        Instead of 0 (or `COURSEKIT_FIRST_SEED`) and the experiment's own number. A lesson takes
        its own number of seeds.

    Yields
    ------
    Settled
        With all claims of the experiment, also those that were not asked for.
    """
    from joblib import Parallel, delayed

    own = {experiments()[id].ids[0]: None for id in ids if id in experiments()}
    lessons = {ledger()[id]["lesson"]: None for id in ids if id not in experiments()}
    jobs = [delayed(_lesson)(name, first_seed) for name in lessons]
    jobs += [delayed(_experiment)(id, first_seed, n_seeds) for id in own]
    yield from Parallel(return_as="generator_unordered")(jobs)


def n_experiments(ids: Sequence[str]) -> int:
    """Number of results that `settle_many` yields."""
    return len({_key(id) for id in ids})


def _key(id: str) -> str:
    return experiments()[id].ids[0] if id in experiments() else ledger()[id]["lesson"]


def _experiment(id: str, first_seed: int | None, n_seeds: int | None) -> Settled:
    chosen = experiments()[id]
    label = f"{chosen.topic}.{chosen.function.__name__}"
    seeds = None
    if chosen.n_seeds and not first_seed is n_seeds is None:
        seeds = study_seeds(n_seeds or chosen.n_seeds, first_seed)
    try:
        claims = settle_all(id, seeds)
    except Exception as error:  # one experiment must not take the others down
        return Settled(label, 0.0, [], f"{type(error).__name__}: {error}")
    return Settled(label, claims[0].origin["seconds"], claims, None)


def _lesson(name: str, first_seed: int | None) -> Settled:
    [path] = lessons.select([name])
    with tempfile.TemporaryDirectory() as kept:
        done = lessons.execute(
            path, Path(kept) / path.name, first_seed=first_seed, record=Path(kept)
        )
        found = [read(file) for file in sorted(Path(kept).glob("*.json"))]
    label = f"lesson {path.stem}"
    here = [claim for claim in found if claim.id not in experiments()]
    start = first_seed or 0
    origin = {"experiment": label, "first seed": start, "seconds": round(done.seconds, 1)}
    claims = [Claim(c.id, c.sentence, c.evidence, origin | machine()) for c in here]
    return Settled(label, done.seconds, claims, done.error)
