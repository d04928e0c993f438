"""Records: what a claim asks, how it is measured and judged, written down before it is run.

A record is a table of `records/*.toml`. It says the question in plain words, who asserts it, what
is compared, what is tuned for both sides and what is held still, the smallest effect that matters
and why, and for each condition what is expected. An experiment only measures; the rule judges.

    [C44]
    question = "Does dropout raise the accuracy on new data?"
    lesson = "04"
    said_by = ["review", "pytorch"]                    # keys of articles.toml
    compares = "no dropout with dropout at a rate above 0"
    tuned = "the rate, 0.1 to 0.8, by each seed's validation accuracy"
    fixed = "learning rate, width, 240 steps"
    setting = "MLP 64-128-128-10 on 200 digits, Adam 0.003, batches of 50"
    control = "no dropout"
    treated = "dropout, tuned"
    metric = "accuracy"
    because = "a point is nine of 900 digits"
    [C44.conditions]
    "clean digits, last epoch" = "too small to matter" # the expectation
    "noisy digits, last epoch" = "helps"

A condition that differs from its record is a table with `expect` and what differs: `metric`,
`smallest`, `unit`, `better`, `wants`, `words`, `control`, `treated`, `part`; or `untested`, the
reason why it cannot be measured here. A sentence with "and" is two questions: `[C57.parts]` names
them, and each condition says to which it belongs.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib.resources import files

# Numbers of seeds at which the precision, and only that, is looked at. With 16 as the first one, a
# study in which one network in seven dies would often be over before one did.
LOOKS = (32, 48, 64)
WANTS = ("helps", "same", "not worse", "exact")
EXPECTED = (
    "helps",
    "hurts",
    "too small to matter",
    "not worse",
    "worse",
    "holds",
    "fails",
    "unknown",
)


@dataclass(frozen=True)
class Scale:
    """How a metric is counted, and the smallest change of it that matters, in its printed unit."""

    unit: str
    factor: float
    smallest: float | None
    better: str | None


METRICS = {
    "accuracy": Scale("points", 100.0, 1.0, "higher"),
    "nll": Scale("nats", 1.0, 0.02, "lower"),
    "r2": Scale("of R2", 1.0, 0.01, "higher"),
    "other": Scale("", 1.0, None, None),  # its unit, smallest effect and better side are declared
}


@dataclass(frozen=True)
class Condition:
    """One comparison of a claim, as it was declared.

    Attributes
    ----------
    name : str
        Data and moment, as in "noisy digits, last epoch".
    expect : str
        What was expected before the run, one of `EXPECTED`.
    wants : {"helps", "same", "not worse", "exact"}
        What the claim asserts here: the treated side is better by more than the smallest effect;
        both are the same within it; the treated side is not worse by more than it; an exact fact.
    metric, unit, factor, smallest, better
        Scores times `factor` are in `unit`; `better` is "higher" or "lower".
    words : pair of str
        How "helps" and "hurts" are called for this metric, such as ("larger", "smaller").
    control, treated : str
        Names of the two sides.
    part : str
        The question to which it belongs, "" if the claim has one.
    untested : str
        Why it cannot be measured here, "" if it can.
    published : float or None
        The difference that a source promises here, in the printed unit.
    """

    name: str
    expect: str
    wants: str
    metric: str
    unit: str
    factor: float
    smallest: float
    better: str
    words: tuple[str, str]
    control: str
    treated: str
    part: str = ""
    untested: str = ""
    published: float | None = None

    @property
    def direction(self) -> int:
        return 1 if self.better == "higher" else -1


@dataclass(frozen=True)
class Record:
    """A declared claim. `register` fixes its hash before the run.

    Attributes
    ----------
    id, question, lesson : str
    said_by : tuple of str
        Keys of `articles()`, or a citation.
    said : str
        What they say, in the course's own words, if the question does not tell.
    compares, tuned, fixed, setting, because : str
        What is compared; what is tuned for both sides alike, and how; what is held still, and so
        is a caveat; data, model, size and budget; why the smallest effect is what it is.
    looks : tuple of int
        Numbers of seeds at which the precision is looked at.
    headline : bool
        Whether it is also run on other data and networks.
    version : int
        Raised whenever the rule changes; `deviation` says in words what changed and why.
    would_change : str
        What would change this answer.
    """

    id: str
    question: str
    lesson: str
    said_by: tuple[str, ...]
    compares: str
    tuned: str
    fixed: str
    setting: str
    because: str
    conditions: tuple[Condition, ...]
    said: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    looks: tuple[int, ...] = LOOKS
    headline: bool = False
    version: int = 1
    deviation: str = ""
    would_change: str = ""

    @property
    def hash(self) -> str:
        """Twelve digits that change with whatever was declared, but not with where it is taught."""
        told = {k: v for k, v in asdict(self).items() if k not in ("lesson", "would_change")}
        plain = json.dumps(told, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(plain.encode()).hexdigest()[:12]

    def condition(self, name: str) -> Condition:
        """Return a condition by its name."""
        found = {c.name: c for c in self.conditions}
        if name not in found:
            raise ValueError(
                f"expected a declared condition of {self.id}, got {name!r}; "
                f"it has {', '.join(map(repr, found))}"
            )
        return found[name]


_CONDITION_KEYS = {f.name for f in fields(Condition)} - {"name", "factor"}
_INHERITED = (
    "wants", "metric", "unit", "smallest", "better", "words", "control", "treated", "factor",
)  # fmt: skip


def parse(id: str, table: Mapping) -> Record:
    """Make a record of a table of TOML.

    Raises
    ------
    ValueError
        If something is missing, unknown or does not fit.
    """
    known = {f.name for f in fields(Record)} - {"id"} | set(_INHERITED)
    _no_others(id, table, known)
    needed = {"question", "lesson", "said_by", "because", "conditions", "setting"}
    needed |= {"compares", "tuned", "fixed"}
    if missing := sorted(needed - set(table)):
        raise ValueError(f"expected {', '.join(missing)} in the record of {id}, got nothing")
    own = {k: v for k, v in table.items() if k not in _INHERITED}
    defaults = {k: table[k] for k in _INHERITED if k in table}
    parts = dict(table.get("parts", {}))
    conditions = tuple(
        _condition(id, name, entry, defaults, parts) for name, entry in table["conditions"].items()
    )
    if not conditions:
        raise ValueError(f"expected a condition of {id}, got none")
    for part in parts:
        if part not in {c.part for c in conditions}:
            raise ValueError(f"expected a condition for part {part!r} of {id}, got none")
    looks = tuple(table.get("looks", LOOKS))
    if any(n < 2 for n in looks) or list(looks) != sorted(set(looks)):
        raise ValueError(f"expected rising numbers of seeds of 2 or more for {id}, got {looks}")
    version, deviation = table.get("version", 1), table.get("deviation", "")
    if version > 1 and not deviation:
        raise ValueError(f"expected a deviation in words for {id}, whose version is {version}")
    own |= {"conditions": conditions, "parts": parts, "looks": looks}
    return Record(id, **own | {"said_by": tuple(table["said_by"])})


def _condition(id: str, name: str, entry: object, defaults: Mapping, parts: Mapping) -> Condition:
    entry = {"expect": entry} if isinstance(entry, str) else dict(entry)
    _no_others(f"{id}, {name!r}", entry, _CONDITION_KEYS | {"factor"})
    told = defaults | entry
    metric, wants = told.get("metric", "accuracy"), told.get("wants", "helps")
    for what, value, allowed in (("metric", metric, METRICS), ("wants", wants, WANTS)):
        if value not in allowed:
            raise ValueError(f"expected a {what} among {', '.join(allowed)}, got {value!r} in {id}")
    usual = METRICS[metric]
    exact, untested = wants == "exact", told.get("untested", "")
    if exact or untested:  # what the other conditions are measured in does not concern it
        told |= {"smallest": 0.0, "better": "higher", "unit": ""} | entry
    smallest = told.get("smallest", usual.smallest)
    better = told.get("better", usual.better)
    if (
        smallest is None
        or better not in ("higher", "lower")
        or (smallest <= 0) != bool(exact or untested)
    ):
        raise ValueError(
            f"expected a smallest effect above 0 and better = 'higher' or 'lower' for {id}, "
            f"{name!r}, got {smallest} and {better}"
        )
    expect, part = told.get("expect", "unknown"), told.get("part", "")
    if expect not in EXPECTED:
        raise ValueError(f"expected one of {', '.join(EXPECTED)} for {id}, {name!r}, got {expect}")
    if (part not in parts) if parts else part:
        raise ValueError(f"expected a part of {id} among {list(parts)}, got {part!r} in {name!r}")
    words = tuple(told.get("words", ("helps", "hurts")))
    if len(words) != 2:
        raise ValueError(f"expected two words for {id}, {name!r}, got {words}")
    sides = {side: told.get(side, "") for side in ("control", "treated")}
    if not (exact or untested or all(sides.values())):
        raise ValueError(f"expected names of both sides for {id}, {name!r}, got {sides}")
    return Condition(
        name=name,
        expect=expect,
        wants=wants,
        metric=metric,
        unit=told.get("unit", usual.unit),
        factor=float(told.get("factor", usual.factor)),
        smallest=float(smallest),
        better=better,
        words=words,
        part=part,
        untested=untested,
        published=told.get("published"),
        **sides,
    )


def _no_others(where: str, table: Mapping, known: set[str]) -> None:
    if others := sorted(set(table) - known):
        raise ValueError(f"expected only {', '.join(sorted(known))} in {where}, got {others}")


@cache
def records() -> dict[str, Record]:
    """Return all declared claims by id.

    Raises
    ------
    ValueError
        If a record is not whole, or two have one id.
    """
    found: dict[str, Record] = {}
    for id, table in _tables("records"):
        if id in found:
            raise ValueError(f"expected each claim once, got {id} twice")
        found[id] = parse(id, table)
    return dict(sorted(found.items()))


@cache
def articles() -> dict[str, dict]:
    """Return the examined articles by their short names: title, author, link, short."""
    folder = files("coursekit").joinpath("ledger")
    return tomllib.loads(folder.joinpath("articles.toml").read_text(encoding="utf-8"))


@cache
def of_lesson(number: str) -> list[str]:
    """Ids of the claims of a lesson, as in "04".

    Raises
    ------
    ValueError
        If no claim belongs to it.
    """
    found = [own.id for own in records().values() if own.lesson == number]
    if not found:
        known = sorted({own.lesson for own in records().values()})
        raise ValueError(f"expected a lesson among {', '.join(known)}, got {number!r}")
    return found


def conditions_of_yes() -> dict[str, str]:
    """Return, by claim, the sentence that says when an answer of "depends" holds.

    It is written after the run, so it is no part of a record.
    """
    folder = files("coursekit").joinpath("ledger")
    return tomllib.loads(folder.joinpath("depends.toml").read_text(encoding="utf-8"))


def _tables(name: str) -> Iterator[tuple[str, dict]]:
    folder = files("coursekit").joinpath("ledger", name)
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".toml"):
            yield from tomllib.loads(path.read_text(encoding="utf-8")).items()


def find(id: str) -> Record:
    """Return the record of a claim.

    Raises
    ------
    ValueError
        If there is none.
    """
    if id not in records():
        raise ValueError(
            f"expected a claim of the ledger, got {id!r}; it has {', '.join(records())}"
        )
    return records()[id]
