"""Claims: a sentence that somebody asserts, the evidence, and what became of it.

The judgement follows from the evidence by a fixed rule. Evidence is a verdict over seeds, or a
fact that one assertion decides (an identity, a counterexample), per regime:

    confirmed                  every regime supports it
    refuted                    no regime supports it, and none is undecided
    confirmed with conditions  some support it, and some show no difference or the opposite
    undecided                  otherwise
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from coursekit.judge import Verdict, together

JUDGEMENTS = ("confirmed", "confirmed with conditions", "refuted", "undecided")


@dataclass(frozen=True)
class Claim:
    """A settled claim; printing it gives the judgement and the evidence behind it.

    Attributes
    ----------
    id : str
        Its number in the course, as in "C04".
    sentence : str
        What is claimed.
    evidence : dict of str to Verdict or bool
        By regime. A bool is an exact fact: whether the claim holds there.
    """

    id: str
    sentence: str
    evidence: Mapping[str, Verdict | bool]

    @property
    def judgement(self) -> str:
        outcomes = [_outcome(item) for item in self.evidence.values()]
        supported = "supported" in outcomes
        if supported and {"no difference", "contradicted"} & set(outcomes):
            return "confirmed with conditions"  # whatever becomes of the undecided regimes
        if "undecided" in outcomes:
            return "undecided"
        return "confirmed" if supported else "refuted"

    def __str__(self) -> str:
        lines = [f"{self.id} {self.sentence}: {self.judgement.upper()}"]
        for regime, item in self.evidence.items():
            exact = "holds (exact)" if item else "fails (exact)"
            text = f"{item.outcome} ({item.evidence})" if isinstance(item, Verdict) else exact
            lines.append(f"    {regime}: {text}")
        n_verdicts = sum(isinstance(item, Verdict) for item in self.evidence.values())
        if n_verdicts > 1:
            lines.append(
                f"    ({n_verdicts} verdicts, intervals corrected together by Holm's method)"
            )
        return "\n".join(lines)

    __repr__ = __str__


@cache
def ledger() -> dict[str, dict]:
    """Return all claims of the course by id: sentence, sources (article numbers) and lesson."""
    return tomllib.loads(files("coursekit").joinpath("ledger.toml").read_text(encoding="utf-8"))


def settle(id: str, evidence: Mapping[str, Verdict | bool]) -> Claim:
    """Judge a claim of the ledger from its evidence.

    Parameters
    ----------
    id : str
        As in "C04".
    evidence : mapping of str to Verdict or bool
        By regime; verdicts are corrected for being several (Holm).

    Returns
    -------
    Claim

    Raises
    ------
    ValueError
        If the ledger has no such claim, there is no evidence, or it is neither verdict nor fact.
    """
    if id not in ledger():
        raise ValueError(
            f"expected a claim of the ledger, got {id!r}; it has {', '.join(ledger())}"
        )
    if not evidence:
        raise ValueError(f"expected evidence for {id}, got none")
    for regime, item in evidence.items():
        # numpy's own bool is welcome; a number that happens to be 0 or 1 is not.
        if not isinstance(item, Verdict) and type(item).__name__ not in ("bool", "bool_"):
            raise ValueError(
                f"expected a Verdict or a bool for {id}, {regime!r}, got {type(item).__name__}"
            )
    [claim] = _corrected([Claim(id, ledger()[id]["sentence"], dict(evidence))])
    return claim


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
    """
    claims = list(claims)
    lines = []
    for alone, corrected in zip(claims, _corrected(claims), strict=True):
        changed = f" (alone: {alone.judgement})" if alone.judgement != corrected.judgement else ""
        lines.append(f"{alone.id:<4}{corrected.judgement:<27}{alone.sentence}{changed}")
    n_verdicts = sum(isinstance(e, Verdict) for claim in claims for e in claim.evidence.values())
    lines.append(f"{len(claims)} claims, {n_verdicts} verdicts corrected together")
    return "\n".join(lines)


def _outcome(item: Verdict | bool) -> str:
    if isinstance(item, Verdict):
        return item.outcome
    return "supported" if item else "contradicted"


def _corrected(claims: list[Claim]) -> list[Claim]:
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
