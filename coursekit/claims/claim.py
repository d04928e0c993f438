"""Claims: a sentence that somebody asserts, the evidence, and what became of it.

The judgement follows from the evidence by a fixed rule. Evidence is a verdict over seeds, or a
fact that one assertion decides (an identity, a counterexample), per regime:

    confirmed                  every regime supports it
    refuted                    no regime supports it, and none is undecided
    confirmed with conditions  some support it, and some show no difference or the opposite
    undecided                  otherwise
    not testable here          nothing could be measured: each regime tells why

A regime that cannot be tested here does not count where another one was measured.
"""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from coursekit.judge import Verdict, together
from coursekit.results.files import replace_file

JUDGEMENTS = ("confirmed", "confirmed with conditions", "refuted", "undecided")
UNTESTED = "not testable here"
RECORD = "COURSEKIT_RECORD"  # in the environment: folder that keeps every claim that is settled

Evidence = Mapping[str, Verdict | bool | str]  # by regime


@dataclass(frozen=True)
class Claim:
    """A settled claim; printing it gives the judgement and the evidence behind it.

    Attributes
    ----------
    id : str
        Its number in the course, as in "C04".
    sentence : str
        What is claimed.
    evidence : dict of str to Verdict, bool or str
        By regime. A bool is an exact fact: whether the claim holds there. A text says why the
        regime cannot be tested here.
    origin : dict of str to str
        Of a stored claim: experiment, versions, machine, date.

    Examples
    --------
    >>> from coursekit.claims import Claim
    >>> claim = Claim("C00", "Two and two is four", {"in arithmetic": True, "in a joke": False})
    >>> claim
    C00 Two and two is four: CONFIRMED WITH CONDITIONS
        in arithmetic: holds (exact)
        in a joke: fails (exact)
    >>> claim.judgement
    'confirmed with conditions'
    """

    id: str
    sentence: str
    evidence: Evidence
    origin: Mapping[str, object] = field(default_factory=dict, compare=False)

    @property
    def judgement(self) -> str:
        outcomes = [outcome(item) for item in self.evidence.values() if not isinstance(item, str)]
        if not outcomes:
            return UNTESTED
        supported = "supported" in outcomes
        if supported and {"no difference", "contradicted"} & set(outcomes):
            return "confirmed with conditions"  # whatever becomes of the undecided regimes
        if "undecided" in outcomes:
            return "undecided"
        return "confirmed" if supported else "refuted"

    def __str__(self) -> str:
        lines = [f"{self.id} {self.sentence}: {self.judgement.upper()}"]
        for regime, item in self.evidence.items():
            lines.append(f"    {regime}: {_told(item)}")
        n_verdicts = sum(isinstance(item, Verdict) for item in self.evidence.values())
        if n_verdicts > 1:
            lines.append(
                f"    ({n_verdicts} verdicts, intervals corrected together by Holm's method)"
            )
        return "\n".join(lines)

    __repr__ = __str__


@cache
def ledger() -> dict[str, dict]:
    """Return all claims of the course by id: sentence, sources (article numbers) and lesson.

    Raises
    ------
    ValueError
        If two files of the ledger hold one claim.

    Examples
    --------
    >>> from coursekit import claims
    >>> claims.ledger()["C12"]["sentence"]
    'A validation set that is consulted repeatedly is no clean exam'
    """
    entries: dict[str, dict] = {}
    folder = files("coursekit").joinpath("claims", "ledger")
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".toml"):
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            if twice := entries.keys() & found.keys():
                raise ValueError(f"expected each claim once, got {sorted(twice)} in {path.name}")
            entries |= found
    return entries


def settle(id: str, evidence: Evidence) -> Claim:
    """Judge a claim of the ledger from its evidence.

    Parameters
    ----------
    id : str
        As in "C04".
    evidence : mapping of str to Verdict, bool or str
        By regime; verdicts are corrected for being several (Holm). A text is the reason why that
        regime cannot be tested here.

    Returns
    -------
    Claim

    Raises
    ------
    ValueError
        If the ledger has no such claim, there is no evidence, or it is no verdict, fact or reason.

    Examples
    --------
    >>> from coursekit import claims
    >>> claims.settle("C12", {"this bench": True})
    C12 A validation set that is consulted repeatedly is no clean exam: CONFIRMED
        this bench: holds (exact)
    """
    if id not in ledger():
        raise ValueError(
            f"expected a claim of the ledger, got {id!r}; it has {', '.join(ledger())}"
        )
    if not evidence:
        raise ValueError(f"expected evidence for {id}, got none")
    for regime, item in evidence.items():
        # numpy's own bool is welcome; a number that happens to be 0 or 1 is not.
        fact = isinstance(item, Verdict) or type(item).__name__ in ("bool", "bool_")
        if not fact and not (isinstance(item, str) and item.startswith(UNTESTED)):
            raise ValueError(
                f"expected a Verdict or a bool for {id}, {regime!r}, got {type(item).__name__}; "
                f'what cannot be tested is a text that begins with "{UNTESTED}"'
            )
    [claim] = corrected([Claim(id, ledger()[id]["sentence"], dict(evidence))])
    if folder := os.environ.get(RECORD):
        write(claim, Path(folder) / f"{id}.json")
    return claim


def write(claim: Claim, path: Path) -> None:
    """Store a claim as JSON: the differences of each seed, so that anybody can judge again."""
    evidence = {regime: _plain(item) for regime, item in claim.evidence.items()}
    head = {"id": claim.id, "sentence": claim.sentence, "judgement": claim.judgement}
    content = {**head, "origin": dict(claim.origin), "evidence": evidence}
    replace_file(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> Claim:
    """Read a stored claim. Its judgement follows from the evidence, whatever the file says.

    Raises
    ------
    ValueError
        If the file is missing, cut short or altered.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        evidence = {regime: _item(item) for regime, item in content["evidence"].items()}
        claim = Claim(content["id"], content["sentence"], evidence, content["origin"])
        intact = claim.id == path.stem and claim.judgement == content["judgement"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        state = "a file that was cut short or altered" if path.exists() else "no such file"
        raise ValueError(
            f"expected a stored claim in {path}, got {state}; "
            f"try `coursekit claims run {path.stem}`"
        )
    return claim


def _plain(item: Verdict | bool | str) -> object:
    if isinstance(item, Verdict):
        # Nine digits are far more than the rule can see, and keep the files small.
        return asdict(item) | {"differences": [float(f"{d:.9g}") for d in item.differences]}
    return item if isinstance(item, str) else bool(item)


def _item(stored: object) -> Verdict | bool | str:
    if isinstance(stored, dict):
        return Verdict(**stored | {"differences": tuple(stored["differences"])})
    if not isinstance(stored, bool | str):
        raise ValueError(stored)
    return stored


def board(claims: Iterable[Claim]) -> str:
    """List the claims of a lesson, with all their verdicts corrected together (Holm).

    Parameters
    ----------
    claims : iterable of Claim

    Returns
    -------
    str
        One line per claim, and the tally. A judgement that the stricter correction changes is
        followed by what it was alone.

    Examples
    --------
    >>> from coursekit import claims
    >>> print(claims.board([claims.settle("C12", {"this bench": True})]))
    C12 confirmed                  A validation set that is consulted repeatedly is no clean exam
    1 claims, 0 verdicts corrected together
    """
    claims = list(claims)
    lines = []
    for alone, strict in zip(claims, corrected(claims), strict=True):
        changed = f" (alone: {alone.judgement})" if alone.judgement != strict.judgement else ""
        lines.append(f"{alone.id:<4}{strict.judgement:<27}{alone.sentence}{changed}")
    n_verdicts = sum(isinstance(e, Verdict) for claim in claims for e in claim.evidence.values())
    lines.append(f"{len(claims)} claims, {n_verdicts} verdicts corrected together")
    return "\n".join(lines)


def _told(item: Verdict | bool | str) -> str:
    if isinstance(item, Verdict):
        return f"{item.outcome} ({item.evidence})"
    return item if isinstance(item, str) else "holds (exact)" if item else "fails (exact)"


def outcome(item: Verdict | bool | str) -> str:
    """Return the outcome of a piece of evidence: of a verdict, an exact fact, or no test at all."""
    if isinstance(item, Verdict):
        return item.outcome
    if isinstance(item, str):
        return UNTESTED
    return "supported" if item else "contradicted"


def corrected(claims: list[Claim]) -> list[Claim]:
    """Return claims with all their verdicts corrected together, as one family (Holm)."""
    keys = [
        (i, regime)
        for i, claim in enumerate(claims)
        for regime, item in claim.evidence.items()
        if isinstance(item, Verdict)
    ]
    if not keys:
        return claims
    evidence = [dict(claim.evidence) for claim in claims]
    # Undo an earlier correction first: each verdict is corrected once, for the family at hand.
    plain = [replace(evidence[i][regime], confidence=0.95, family=1) for i, regime in keys]
    for (i, regime), verdict in zip(keys, together(plain), strict=True):
        evidence[i][regime] = verdict
    return [replace(claim, evidence=e) for claim, e in zip(claims, evidence, strict=True)]
