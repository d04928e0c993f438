"""Do fresh seeds say what the stored ones said?"""

from collections.abc import Iterable
from typing import NamedTuple

import scipy  # loads its parts when they are first used: `stats` takes a second

from coursekit.claims import results
from coursekit.claims.claim import Claim, outcome
from coursekit.judge import Verdict

OPPOSITE = {"supported", "contradicted"}


class Pair(NamedTuple):
    """Evidence on one regime of a claim, from the stored seeds and from fresh ones."""

    regime: str
    stored: Verdict | bool | str
    fresh: Verdict | bool | str

    @property
    def outcomes(self) -> tuple[str, str]:
        return outcome(self.stored), outcome(self.fresh)


def against(fresh: Iterable[Claim]) -> str:
    """Tell how far claims that were settled on other seeds agree with what is stored.

    Beside the words, the numbers: of two means over different seeds 5 % should be further apart
    than Welch's test allows at that level. If more are, the intervals promise too much.

    Parameters
    ----------
    fresh : iterable of Claim
        Those of which nothing is stored are passed over.

    Returns
    -------
    str
        What has another outcome, a line each, and at last the counts.
    """
    lines, judgements, pairs = [], [], []
    for claim in fresh:
        if not (results.folder() / f"{claim.id}.json").exists():
            continue
        before = results.stored(claim.id)
        judgements.append((before.judgement, claim.judgement))
        if before.judgement != claim.judgement:
            lines.append(f"{claim.id} {before.judgement} -> {claim.judgement}")
        for pair in _pairs(before, claim):
            pairs.append(pair)
            if pair.outcomes[0] != pair.outcomes[1]:
                lines.append(f"{claim.id}   {pair.regime}: {' -> '.join(pair.outcomes)}")
    same = sum(a == b for a, b in judgements)
    held = sum(len(set(pair.outcomes)) == 1 for pair in pairs)
    turned = sum(set(pair.outcomes) == OPPOSITE for pair in pairs)
    chances = [chance for pair in pairs if (chance := _chance(pair)) is not None]
    far = sum(chance < 0.05 for chance in chances)
    return "\n".join(
        [
            *lines,
            f"As stored: {same} of {len(judgements)} judgements and {held} of {len(pairs)} "
            f"verdicts; turned into their opposite: {turned}.",
            f"Means too far apart for 95 % of repetitions: {far} of {len(chances)}; "
            f"{0.05 * len(chances):.0f} would be usual.",
        ]
    )


def _pairs(before: Claim, now: Claim) -> list[Pair]:
    # Which part of an "and" is the weakest may differ from run to run.
    stored = {regime.partition(", weakest part")[0]: e for regime, e in before.evidence.items()}
    return [
        Pair(regime, stored[name], evidence)
        for regime, evidence in now.evidence.items()
        if (name := regime.partition(", weakest part")[0]) in stored
    ]


def _chance(pair: Pair) -> float | None:
    """Chance that two means of one law are as far apart, or None where there are none."""
    both = (pair.stored, pair.fresh)
    weakest = "weakest part" in pair.regime  # perhaps of another part
    if weakest or not all(isinstance(e, Verdict) and len(set(e.differences)) > 1 for e in both):
        return None
    samples = (e.differences for e in both)
    return float(scipy.stats.ttest_ind(*samples, equal_var=False).pvalue)
