"""Settled claims on disk, one JSON file each, with what they depend on."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from coursekit.claims.claim import UNTESTED, Claim, corrected, ledger, read
from coursekit.results.files import data_folder


def folder() -> Path:
    """Folder of the stored claims: the checkout's `data/claims`, or what the package brought."""
    return data_folder("claims")


def stored(id: str) -> Claim:
    """Return a claim as it was settled and stored, with its origin.

    Raises
    ------
    ValueError
        If the ledger has no such claim, or no result of it is stored.

    Examples
    --------
    >>> from coursekit import claims
    >>> claims.stored("C62").judgement
    'refuted'
    """
    if id not in ledger():
        raise ValueError(
            f"expected a claim of the ledger, got {id!r}; it has {', '.join(ledger())}"
        )
    return read(folder() / f"{id}.json")


def table(ids: Iterable[str] = ()) -> str:
    """List claims of the ledger, all by default: lesson, stored judgement, seeds and sentence.

    A star marks a judgement that does not survive when all verdicts of the claim's lesson are
    corrected together, as on the board at the end of the lesson.

    Parameters
    ----------
    ids : iterable of str
        As in "C42".

    Raises
    ------
    ValueError
        If the ledger has no such claim, or a stored one is damaged.

    Examples
    --------
    >>> from coursekit import claims
    >>> len(claims.table(["C12", "C62"]).splitlines())  # one line each, and the tally
    3
    """
    lines, tally, starred = [], Counter(), False
    for id in ids or ledger():
        known = id not in ledger() or (folder() / f"{id}.json").exists()
        claim = stored(id) if known else None  # raises for a claim that the ledger has not
        word, seeds = (claim.judgement, _seeds(claim)) if claim else ("not stored", "")
        tally[word] += 1
        entry = ledger()[id]
        changed = claim is not None and together(claim) != word
        starred |= changed
        told = word + "*" * changed
        lines.append(f"{id}  {entry['lesson']:<4}{told:<27}{seeds:>8}  {entry['sentence']}")
    words = ", ".join(f"{n} {word}" for word, n in tally.most_common())
    if starred:
        words += "\n* undecided when all verdicts of its lesson are corrected together"
    return "\n".join([*lines, f"{len(lines)} claims: {words}"])


def together(claim: Claim) -> str:
    """Return a stored claim's judgement when all of its lesson are corrected together (Holm)."""
    lesson = ledger()[claim.id]["lesson"]
    return _board(lesson, folder()).get(claim.id, claim.judgement)


@cache
def _board(lesson: str, where: Path) -> dict[str, str]:
    ids = [id for id, entry in ledger().items() if entry["lesson"] == lesson]
    claims = [read(where / f"{id}.json") for id in ids if (where / f"{id}.json").exists()]
    return {claim.id: claim.judgement for claim in corrected(claims)}


def _seeds(claim: Claim) -> str:
    if claim.judgement == UNTESTED:
        return ""
    counts = [getattr(item, "n_seeds", 0) for item in claim.evidence.values()]
    return f"{max(counts)} seeds" if max(counts) else "exact"


def card(claim: Claim) -> str:
    """Print a stored claim with its sources and its origin."""
    entry = ledger()[claim.id]
    asserted = ", ".join(entry["sources"])
    origin = "; ".join(f"{key} {value}" for key, value in claim.origin.items() if key != "recipe")
    stricter = together(claim)
    if stricter != claim.judgement:
        stricter = f"    {stricter} when all verdicts of the lesson are corrected together\n"
    else:
        stricter = ""
    return f"{claim}\n{stricter}    asserted by {asserted}; lesson {entry['lesson']}\n    {origin}"
