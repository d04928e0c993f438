"""Run an experiment: blocks of seeds until it is precise, each kept, so that a run resumes.

The looks at 32, 48 and 64 seeds see how *wide* the intervals are, never where they lie.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from coursekit.ledger import evidence, record, results, rule, worlds
from coursekit.ledger.evidence import Evidence, Exact
from coursekit.ledger.experiments import Experiment, experiments
from coursekit.results.files import replace_file
from coursekit.results.store import machine

FIRST_SEED = 20_000  # seeds below were used while experiments and conditions were chosen
SEEDS_OF_A_VERSION = 1_000  # a later version takes seeds that no earlier one has looked at


class Done(NamedTuple):
    """What became of one experiment in one world: its results, or what went wrong."""

    name: str
    world: str
    seconds: float
    results: list[results.Result]
    error: str | None


class Block(NamedTuple):
    """What an experiment measured on some seeds, how long it took, and when it began."""

    evidence: dict[str, Evidence]
    seconds: float
    date: str


def measure(chosen: Experiment, world: worlds.World, kept: Path) -> tuple[Block, list[dict]]:
    """Measure block by block until all comparisons are precise, or the last look is reached.

    Returns
    -------
    Block
        All blocks together, those included that an earlier run kept.
    list of dict
        A look each: seeds, and the widest half width in units of the smallest effect.
    """
    if not chosen.takes:
        return _block(chosen, world, range(0), kept), []
    first = first_seed(chosen)
    looks = world.looks if chosen.looks == record.LOOKS else chosen.looks
    blocks, told, start = [], [], 0
    for n in looks:
        seeds = range(first + start, first + n)
        blocks.append(_block(chosen, world, seeds, kept))
        joined = {id: evidence.join([block.evidence[id] for block in blocks]) for id in chosen.ids}
        start, widest = n, _widest(joined)
        told.append({"seeds": n, "widest": widest})
        if widest <= 0.5:
            break
    seconds, date = sum(b.seconds for b in blocks), min(b.date for b in blocks)
    return Block(joined, seconds, date), told


def first_seed(chosen: Experiment) -> int:
    """The first seed of an experiment, by the latest version among the records of its claims."""
    version = max(record.find(id).version for id in chosen.ids)
    return FIRST_SEED + SEEDS_OF_A_VERSION * (version - 1)


def _widest(found: dict[str, Evidence]) -> float:
    """The widest half width over seeds, as a share of the smallest effect of its condition."""
    widths = [0.0]
    for id, conditions in found.items():
        declared = record.find(id)
        for name, pair in conditions.items():
            if not isinstance(pair, Exact):
                widths.append(rule.precise(declared.condition(name), *pair))
    return round(max(widths), 3)


def _block(chosen: Experiment, world: worlds.World, seeds: Sequence[int], kept: Path) -> Block:
    span = f"{seeds[0]}-{seeds[-1]}" if len(seeds) else "exact"
    path = kept / world.name.replace(" ", "_") / f"{chosen.name}.{chosen.code}.{span}.json"
    # Another card, or another torch, measures anew: its results must not be named for this one.
    now = machine()
    here = {key: now[key] for key in ("torch", "device")}
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if stored is None or stored.get("machine", here) != here:
        date, start = now["date"], time.perf_counter()
        found = chosen(seeds, world)
        seconds = round(time.perf_counter() - start, 2)
        packed = _of_each(found, evidence.pack)
        stored = {"seconds": seconds, "date": date, "machine": here, "evidence": packed}
        replace_file(path, json.dumps(stored).encode())
    unpacked = _of_each(stored["evidence"], evidence.unpack)
    return Block(unpacked, stored["seconds"], stored["date"])


def _of_each(found: Mapping, function: Callable) -> dict:
    """Apply a function to every condition of every claim."""
    return {
        id: {name: function(one) for name, one in conditions.items()}
        for id, conditions in found.items()
    }


def settle(chosen: Experiment, world: worlds.World, kept: Path) -> list[results.Result]:
    """Measure and judge all claims of an experiment."""
    measured, looks = measure(chosen, world, kept)
    first = first_seed(chosen)
    last = first + looks[-1]["seeds"] - 1 if looks else None
    origin = {
        "experiment": chosen.name,
        "code": chosen.code,
        "world": world.name,
        "seeds": f"{first} to {last}" if looks else "none",
        "looks": looks,
        "seconds": round(measured.seconds, 1),
        "commit": results.commit(),
        **machine(),
        "date": measured.date,  # of the first block: nothing may be older than its registration
    }
    made = []
    for id in chosen.ids:
        declared = record.find(id)
        own = {"record": declared.hash, "version": declared.version, "rule": results.rule_code()}
        judged = tuple(rule.compare(declared, measured.evidence[id]))
        made.append(results.Result(declared, judged, origin | own))
    return made


def selected(ids: Iterable[str], world: worlds.World) -> list[Experiment]:
    """The experiments on these claims that can run in a world, each once."""
    found = {}
    for id in ids:
        chosen = experiments().get(id)
        fits = chosen is not None and (world.is_first or "world" in chosen.takes)
        if fits and (record.find(id).headline or not world.headline):
            found[chosen.name] = chosen
    return list(found.values())


def run(ids: Iterable[str], world: worlds.World, kept: Path) -> Iterator[Done]:
    """Settle claims, each experiment once, in the order of their end.

    Where and how many at once is joblib's affair: any of its backends serves.
    """
    from joblib import Parallel, delayed

    jobs = [delayed(_one)(chosen.ids[0], world.name, kept) for chosen in selected(ids, world)]
    yield from Parallel(return_as="generator_unordered")(jobs)


def _one(id: str, world: str, kept: Path) -> Done:
    chosen, start = experiments()[id], time.perf_counter()
    try:
        made = settle(chosen, worlds.find(world), kept)
    except Exception as error:  # one experiment must not take the others down
        return Done(chosen.name, world, 0.0, [], f"{type(error).__name__}: {error}")
    return Done(chosen.name, world, time.perf_counter() - start, made, None)
