"""Settled claims on disk, one JSON file each, and the registration that came before them."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from coursekit.ledger import evidence, record, rule
from coursekit.ledger.record import Record
from coursekit.results.files import data_folder, replace_file
from coursekit.results.fingerprint import fingerprint

SCHEMA = 2  # of the stored files; the first edition's had none


@dataclass(frozen=True)
class Result:
    """A claim, settled in one world.

    Attributes
    ----------
    record : Record
    comparisons : tuple of Comparison
        One per condition, in the record's order.
    origin : dict
        Experiment, code, rule and record it was made by; world, seeds, looks, seconds, machine.
    """

    record: Record
    comparisons: tuple[rule.Comparison, ...]
    origin: Mapping[str, object]

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def answer(self) -> str:
        return rule.answers(self.record, self.comparisons)[0]

    @property
    def said(self) -> str:
        """The answer as readers see it."""
        return plainly(self.answer, self.comparisons)

    @property
    def parts(self) -> dict[str, str]:
        return rule.answers(self.record, self.comparisons)[1]

    @property
    def counts(self) -> tuple[int, int]:
        """How many comparisons speak for the claim, and how many were measured."""
        told = [c.standing for c in self.comparisons if c.standing != "untested"]
        return told.count("for"), len(told)


def plainly(answer: str, comparisons: Iterable[rule.Comparison]) -> str:
    """An answer as readers see it: a plain "no" where no effect has the other sign."""
    effects = [c for c in comparisons if c.condition.wants == "helps"]
    turned = any(c.standing == "against" for c in effects)
    return "no" if answer == "the opposite" and not turned else answer


@cache
def rule_code() -> str:
    """Eight digits that change with whatever turns evidence into an answer."""
    return fingerprint(rule.compare, rule.answers, evidence.join, text=True)[:8]


def commit() -> str:
    """The commit that the checkout stands at, "" outside of one; with + if files differ."""
    root = Path(__file__).resolve().parents[2]
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=root, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()


def folder(world: str = "digits") -> Path:
    """Folder of the stored results of a world."""
    return _root() / world.replace(" ", "_")


def _root() -> Path:
    return data_folder("ledger")


def write(result: Result, file: Path) -> None:
    """Store a result: every score of every side, so that anybody can judge again."""
    sides = {}
    for c in result.comparisons:
        if c.standing == "untested" and c.control is None:
            sides[c.condition.name] = {"untested": c.note}
        elif c.condition.wants == "exact":
            sides[c.condition.name] = evidence.pack(evidence.Exact(c.word == "holds", c.note))
        else:
            numbers = [evidence.digits(v) for v in (c.difference, c.low, c.high, c.level)]
            sides[c.condition.name] = {
                "word": c.word,
                "difference": numbers[0],
                "interval": numbers[1:3],
                "level": numbers[3],
                **evidence.pack((c.control, c.treated)),
            }
    content = {
        "schema": SCHEMA,
        "id": result.id,
        "question": result.record.question,
        "answer": result.answer,
        "origin": dict(result.origin),
        "record": asdict(result.record),
        "conditions": sides,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # A line per side: a change of one condition is a change of a few lines.
    text = text.replace('"control":', '\n"control":').replace('"treated":', '\n"treated":')
    replace_file(file, (text + "\n").encode())


def read(file: Path) -> Result:
    """Read a stored result, judged by the rule of today from the record of today.

    Raises
    ------
    ValueError
        If the file is missing, cut short or altered, or its record has changed since.
    """
    if not file.exists():
        raise ValueError(
            f"expected a stored result in {file}, got no such file; "
            f"try `coursekit claims run {file.stem}`"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        declared = record.find(content["id"])
        sides = content["conditions"].items()
        found = {name: evidence.unpack(one) for name, one in sides if "untested" not in one}
        result = Result(declared, tuple(rule.compare(declared, found)), content["origin"])
        intact = content["id"] == file.stem
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expected a stored result in {file}, got a file that was cut short, altered or made "
            f"by another record ({error}); try `coursekit claims run {file.stem}`"
        ) from error
    if not intact or result.answer != content["answer"]:
        raise ValueError(
            f"expected {file} to hold its answer, got {content['answer']!r} stored and "
            f"{result.answer!r} by the rule; try `coursekit claims run {file.stem}`"
        )
    return result


def stored(id: str, world: str = "digits") -> Result:
    """Return a claim as it was settled and stored.

    Raises
    ------
    ValueError
        If there is no such claim, or no result of it in that world.
    """
    record.find(id)
    return read(path(id, world))


def known(id: str, world: str = "digits") -> Result | None:
    """Return a claim as it was stored, or None if it was not run in that world."""
    record.find(id)
    return read(path(id, world)) if path(id, world).exists() else None


def path(id: str, world: str) -> Path:
    """Where the result of a claim is stored."""
    return folder(world) / f"{id}.json"


def measured(c: rule.Comparison) -> bool:
    """Whether a comparison has an interval: it is no exact fact, and was not refused."""
    return c.control is not None and c.standing != "untested"


def n_examples(c: rule.Comparison) -> int:
    """Number of test examples that a comparison crosses; 0 where none are involved."""
    sides = [s for s in (c.control, c.treated) if s is not None and s.examples is not None]
    return len(sides[0].examples) if sides else 0


# Registration


def registry() -> dict[str, list[dict]]:
    """What was registered, by claim, the last entry last: record, rule, code, version, date."""
    file = _root() / "registered.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def entry(declared: Record) -> dict:
    """What a registration of this record would say now."""
    from coursekit.ledger.experiments import experiments

    chosen = experiments().get(declared.id)
    return {
        "record": declared.hash,
        "rule": rule_code(),
        "code": chosen.code if chosen else "",
        "version": declared.version,
    }


def register(ids: list[str]) -> list[str]:
    """Write down, with the date, what these claims are before they are run; return the new ones.

    Raises
    ------
    ValueError
        If a record changed since a result of it was stored, and its version did not.
    """
    from coursekit.ledger.worlds import WORLDS

    known, new = registry(), []
    for id in ids:
        declared = record.find(id)
        now, before = entry(declared), known.get(id, [])
        if before and {k: before[-1][k] for k in now} == now:
            continue
        settled = any(path(id, world).exists() for world in WORLDS)
        changed = bool(before) and before[-1]["record"] != now["record"]
        if settled and changed and before[-1]["version"] == now["version"]:
            raise ValueError(
                f"expected a new version and a deviation in words for {id}, whose record changed "
                "after it was settled, got the old version"
            )
        date = datetime.now(UTC).isoformat(timespec="seconds")
        known[id] = [*before, now | {"date": date, "deviation": declared.deviation}]
        new.append(id)
    if new:
        text = json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n"
        replace_file(_root() / "registered.json", text.encode())
    return new


def objection(result: Result) -> str | None:
    """Why a stored result does not stand, or None.

    It stands if record, rule and code are those of today, and were registered before it was run.
    """
    now, origin = entry(result.record), result.origin
    for what in ("record", "rule", "code"):
        if origin.get(what) != now[what]:
            return f"{result.id} was made by another {what} ({origin.get(what)}, now {now[what]})"
    found = [
        e
        for e in registry().get(result.id, ())
        if all(e[k] == now[k] for k in ("record", "rule", "code"))
    ]
    if not found:
        return f"{result.id} was not registered"
    if min(e["date"] for e in found) > origin["date"]:
        return f"{result.id} was run before it was registered"
    return None
