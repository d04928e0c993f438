"""A study of your own, declared before it is run: what it asks, and what will count as an answer.

The ledger registers the claims of the course; this does the same for one question of yours. Nobody
is kept from cheating. But whoever changes a question, a margin or the code after the fact has to
say so, and the reason stays beside the verdict.
"""

import hashlib
import json
import os
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from coursekit import judge
from coursekit.course import learner
from coursekit.datasets.values import choose, expect
from coursekit.judge import METRICS, OUTCOMES, Verdict
from coursekit.results.fingerprint import fingerprint

# Versions by name: all that a page remembers that is stored for everybody, else what the file says.
_memory: dict[str, list[dict]] = {}
IN_WORDS = {
    "question": "question",
    "control": "without",
    "treated": "with",
    "prediction": "prediction",
    "better": "that means",
    "metric": "measured as",
    "smallest": "matters from",
    "because": "because",
    "expects": "you expect",
    "would_change": "your mind would change",
    "seeds": "seeds",
    "code": "code and data",
}


def declarations_file() -> Path:
    """Return where declarations are kept: beside predictions and progress."""
    return learner.file("declarations.json")


@dataclass(frozen=True)
class Declaration:
    """What was declared, and its history. Printed, it is what a reader of the study needs.

    Attributes
    ----------
    name : str
    facts : dict of str to str, float or list of int
        What was declared.
    versions : list of dict
        Each with its `hash`, `when` it was declared, the `deviation` in words that made it, and
        when it was `judged` first, if so.
    """

    name: str
    facts: dict[str, object]
    versions: list[dict]

    @property
    def hash(self) -> str:
        """Twelve digits that change with whatever was declared, code and data included."""
        return _hash(self.facts)

    @property
    def seeds(self) -> list[int]:
        """Of the runs that count."""
        return self.facts["seeds"]

    def verdict(self, control, treated) -> Verdict:
        """Judge the prediction as it was declared: by its metric, its margin and its seeds.

        Parameters
        ----------
        control, treated : (S,) arrays
            One score per declared seed, paired, such as `evaluate(runs, task).loss`.

        Returns
        -------
        Verdict

        Raises
        ------
        ValueError
            If there are more or fewer scores than declared seeds, or as `judge.raises`.
        """
        for side in (control, treated):
            got, n = len(side), len(self.facts["seeds"])
            advice = "the runs of all declared seeds, or a new version with other seeds"
            expect(got == n, f"one score for each of the {n} declared seeds", got, advice)
        verdict = (judge.raises if self.facts["better"] == "higher" else judge.lowers)(
            self.facts["prediction"],
            control,
            treated,
            self.facts["metric"] or None,
            smallest=self.facts["smallest"],
            unit=self.facts["unit"],
        )
        if "judged" not in self.versions[-1]:
            self.versions[-1]["judged"] = _now()
            _keep(self.name, self.versions)
        return verdict

    def __repr__(self) -> str:
        first, *later = self.versions
        lines = [f"Declared{_on(first)} as {first['hash']}."]
        for number, one in enumerate(later, 2):
            seen = "after a verdict had been seen" if one["seen"] else "before any verdict"
            lines.append(f"Version {number}{_on(one)}, {one['hash']}, {seen}: {one['deviation']}")
        facts = dict(self.facts)
        seeds, unit = facts["seeds"], facts.pop("unit")
        facts["better"] = f"{facts['better']} with than without"
        facts["metric"] = facts["metric"] or unit
        facts["smallest"] = f"{facts['smallest']:g} {unit}".rstrip()
        facts["seeds"] = f"{len(seeds)}, {seeds[0]} to {seeds[-1]}"
        width = max(map(len, IN_WORDS.values()))
        lines += [f"  {words:{width}}  {facts[key]}" for key, words in IN_WORDS.items()]
        return "\n".join(lines)


def declare(
    name: str,
    *,
    question: str,
    control: str,
    treated: str,
    prediction: str,
    better: str,
    because: str,
    expects: str,
    would_change: str,
    seeds: Sequence[int],
    code: Sequence[Callable],
    metric: str | None = None,
    smallest: float | None = None,
    unit: str = "",
    deviation: str = "",
) -> Declaration:
    """Freeze what a study asks and what will count as an answer, before it is run.

    The same declaration may be made again and again; another one under the same name is refused,
    unless `deviation` says why. Then it is a new version, and the reason stays on record.

    Parameters
    ----------
    name : str
        Of the study; another study is another name.
    question : str
        In plain words.
    control, treated : str
        The two sides, in words: what is the same is left out, what differs is named.
    prediction : str
        The sentence that the verdict is about.
    better : {"higher", "lower"}
        Where the treated side's score lies, if the prediction is right.
    because : str
        Why the smallest effect that matters is what it is.
    expects : {"supported", "contradicted", "no difference", "undecided"}
        The verdict that you expect.
    would_change : str
        Which result would change your mind, and about what.
    seeds : sequence of int
        Of the runs that count. What you try before uses others.
    code : sequence of callable
        Functions that train the two sides. They are frozen by content, with the data, the recipe
        and the functions that they name; comments do not count.
    metric : {"accuracy", "nll", "r2"}, optional
        Sets unit and smallest effect, as in `judge`.
    smallest : float, optional
        The smallest effect that matters, in the printed unit; needed without a metric.
    unit : str
        Of your own metric.
    deviation : str
        Why this declaration differs from the one before.

    Returns
    -------
    Declaration
        Its `verdict` judges by what was declared, and by nothing else.

    Raises
    ------
    ValueError
        If something is missing or does not fit, or was declared otherwise before.

    Warns
    -----
    UserWarning
        If the declaration cannot be kept for the next session.

    Examples
    --------
    >>> from coursekit.declaration import declare
    >>> def sides():
    ...     return [0.5, 0.4, 0.6], [0.1, 0.1, 0.2]
    >>> declared = declare(
    ...     "an example",
    ...     question="Does it lower the error?",
    ...     control="without",
    ...     treated="with",
    ...     prediction="it lowers the error",
    ...     better="lower",
    ...     smallest=0.05,
    ...     because="less than that nobody would notice",
    ...     expects="supported",
    ...     would_change="an interval that holds zero",
    ...     seeds=range(3),
    ...     code=[sides],
    ... )
    >>> print(declared.verdict(*sides()))
    it lowers the error: supported (-0.367, 95 % interval [-0.510, -0.223], 3 seeds)
    """
    if metric is not None:
        choose("metric", metric, tuple(METRICS))
        unit = METRICS[metric].unit
        smallest = METRICS[metric].smallest if smallest is None else smallest
    if not isinstance(smallest, int | float) or not smallest > 0:
        raise ValueError(
            "expected the smallest effect that matters, above 0, got "
            f"{smallest!r}; name a metric ({', '.join(METRICS)}) or pass smallest="
        )
    choose("better", better, ("higher", "lower"))
    choose("expects", expects, OUTCOMES)
    seeds = [int(seed) for seed in seeds]
    expect(len(set(seeds)) == len(seeds) >= 2, "two seeds or more, each once", seeds, "range(16)")
    expect(all(map(callable, code)) and len(code) > 0, "functions that train", code, "code=[f, g]")
    words = {"question": question, "control": control, "treated": treated}
    words |= {"prediction": prediction, "because": because, "would_change": would_change}
    for key, text in words.items():
        fits = isinstance(text, str) and text.strip().strip(".… ")
        expect(fits, f"a sentence for {key}", repr(text), f"to say it in words: {key}=...")
    facts = {**words, "better": better, "expects": expects, "metric": metric or "", "unit": unit}
    facts |= {"smallest": float(smallest), "seeds": seeds}
    facts["code"] = fingerprint(*code, text=True)
    versions = _versions(name)
    if not versions or versions[-1]["hash"] != _hash(facts):
        if versions and not deviation.strip():
            raise ValueError(_refusal(name, versions[-1], facts))
        made = {"hash": _hash(facts), "when": _now(), "facts": facts, "deviation": deviation}
        made["seen"] = any("judged" in one for one in versions)
        versions = [*versions, made]
        _keep(name, versions)
    return Declaration(name, facts, versions)


def _refusal(name: str, last: dict, facts: dict) -> str:
    before = last["facts"]
    changed = [
        IN_WORDS[key] if key == "code" else f"{key} ({_short(before.get(key))}, now {_short(new)})"
        for key, new in facts.items()
        if new != before.get(key)
    ]
    return (
        f"expected {name!r} as it was declared{_on(last)} ({last['hash']}), got another "
        f"{', '.join(changed)}; go back to what was declared, give a new question a name of its "
        'own, or keep the change on record: deviation="why it changed"'
    )


def _short(value: object) -> str:
    return textwrap.shorten(str(value), 60, placeholder=" ...")


def _hash(facts: dict) -> str:
    plain = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def _on(version: dict) -> str:
    return f" on {version['when']}" if version["when"] else ""


def _now() -> str:
    """The time in words; a page that is stored for everybody has none."""
    now = datetime.now(UTC)
    return "" if os.environ.get("COURSEKIT_STATIC") else f"{now:%Y-%m-%d at %H:%M} UTC"


def _versions(name: str) -> list[dict]:
    if name in _memory:
        return _memory[name]
    if os.environ.get("COURSEKIT_STATIC"):
        return []
    kept = learner.recall(declarations_file()).get(name, {}).get("versions")
    needed = {"hash", "when", "facts", "deviation", "seen"}
    fits = isinstance(kept, list) and all(isinstance(v, dict) and needed <= {*v} for v in kept)
    return kept if fits else []


def _keep(name: str, versions: list[dict]) -> None:
    _memory[name] = versions
    if os.environ.get("COURSEKIT_STATIC"):
        return
    try:
        learner.remember(declarations_file(), name, versions=versions)
    except OSError as error:
        warnings.warn(
            f"the declaration holds in this session but was not kept: {declarations_file()} "
            f"({error}); set COURSEKIT_HOME to a folder that you may write",
            stacklevel=3,
        )
