"""Claims: which evidence makes which judgement, and what a correction for many changes."""

from itertools import product

import numpy as np
import pytest

from coursekit import claims
from coursekit.claims import JUDGEMENTS, Claim, board, claim, ledger
from coursekit.judge import Verdict


def settle(id, sentence, evidence):
    """Settle a claim of a ledger that holds this claim alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "ledger", lambda: {id: {"sentence": sentence}})
        return claims.settle(id, evidence)


def verdict(mean, sd=0.1, n=12, direction=1):
    """A verdict with exactly this mean and standard deviation; the smallest effect is 1."""
    d = np.linspace(-1, 1, n)
    return Verdict("", tuple((mean + sd * d / d.std(ddof=1)).tolist()), direction, 1.0, "points")


EVIDENCE = {
    "S": verdict(5.0),
    "C": verdict(-5.0),
    "N": verdict(0.0),
    "U": verdict(1.0),
    "T": True,
    "F": False,
}


@pytest.mark.parametrize(
    ("regimes", "judgement"),
    [
        ("S", "confirmed"),
        ("SS", "confirmed"),
        ("ST", "confirmed"),
        ("T", "confirmed"),
        ("N", "refuted"),
        ("C", "refuted"),
        ("NC", "refuted"),
        ("F", "refuted"),
        ("FN", "refuted"),
        ("SN", "confirmed with conditions"),
        ("SC", "confirmed with conditions"),
        ("TF", "confirmed with conditions"),
        ("TC", "confirmed with conditions"),
        ("SNU", "confirmed with conditions"),
        ("U", "undecided"),
        ("SU", "undecided"),
        ("TU", "undecided"),
        ("NU", "undecided"),
        ("CU", "undecided"),
        ("FU", "undecided"),
    ],
)
def test_every_pattern_of_evidence(regimes, judgement):
    evidence = {f"regime {i}": EVIDENCE[letter] for i, letter in enumerate(regimes)}
    assert settle("C01", "it helps", evidence).judgement == judgement


def test_a_judgement_holds_whatever_becomes_of_the_undecided():
    """A law: a word other than undecided is the word for every way to decide the rest."""
    for letters in product("SCNU", repeat=3):
        word = settle("C", "", dict(zip("abc", map(EVIDENCE.get, letters), strict=True))).judgement
        endings = {
            settle("C", "", dict(zip("abc", map(EVIDENCE.get, end), strict=True))).judgement
            for end in product(*("SCN" if letter == "U" else letter for letter in letters))
        }
        assert {word} == endings if word != "undecided" else len(endings) > 1


def test_the_direction_of_a_verdict_counts():
    down = settle("C02", "it lowers", {"a": verdict(-5.0, direction=-1)})
    assert down.judgement == "confirmed"
    assert settle("C02", "it lowers", {"a": verdict(5.0, direction=-1)}).judgement == "refuted"


def test_the_text_shows_judgement_and_evidence():
    claim = settle("C04", "it helps", {"clean": verdict(0.0), "noisy": verdict(5.0), "exact": True})
    lines = str(claim).splitlines()
    assert lines[0] == "C04 it helps: CONFIRMED WITH CONDITIONS"
    assert lines[1].startswith("    clean: no difference (+0.0 points [-0.1, +0.1]")
    assert lines[2].startswith("    noisy: supported (+5.0 points [+4.9, +5.1]")
    assert lines[3] == "    exact: holds (exact)"
    assert lines[4:] == ["    (2 verdicts, intervals corrected together by Holm's method)"]
    assert repr(claim) == str(claim)
    assert "exact: fails (exact)" in str(settle("C05", "", {"exact": False}))


def test_numpy_facts_are_facts():
    claim = settle("C06", "it is exact", {"a": np.bool_(True), "b": np.allclose(1, 1)})
    assert claim.judgement == "confirmed"
    assert settle("C06", "it is exact", {"a": np.float64(1) < 0}).judgement == "refuted"


@pytest.mark.parametrize("item", [1, 0.0, "supported", None, np.int64(1), np.ones(1, bool)])
def test_other_evidence_is_an_error(item):
    with pytest.raises(ValueError, match=r"expected a Verdict or a bool for C07, 'clean'"):
        settle("C07", "", {"clean": item})


def test_no_evidence_is_an_error():
    with pytest.raises(ValueError, match="expected evidence for C08, got none"):
        settle("C08", "", {})


def borderline():
    """Decided alone (p of about 0.02), but not among three."""
    return verdict(1.0 + 0.27 * 1.0, sd=0.345)


def test_several_regimes_are_corrected_together():
    alone = settle("C09", "", {"a": borderline()})
    assert alone.judgement == "confirmed"
    three = settle("C09", "", {"a": borderline(), "b": verdict(1.0), "c": verdict(1.0)})
    assert three.evidence["a"].outcome == "undecided"
    assert three.evidence["a"].family == 3


def test_the_board_corrects_all_claims_and_says_what_that_changes():
    settled = [
        settle("C10", "clear", {"a": verdict(5.0)}),
        settle("C11", "borderline", {"a": borderline()}),
        *(settle(f"C1{i}", "open", {"a": verdict(1.0)}) for i in (2, 3)),
        settle("C14", "exact", {"a": True}),
    ]
    assert settled[1].judgement == "confirmed"
    lines = board(settled).splitlines()
    assert lines[0] == "C10 confirmed                  clear"
    assert lines[1] == "C11 undecided                  borderline (alone: confirmed)"
    assert lines[4] == "C14 confirmed                  exact"
    assert lines[-1] == "5 claims, 4 verdicts corrected together"
    assert settled[1].judgement == "confirmed"  # the board changes a copy


def test_a_verdict_is_corrected_for_one_family_only():
    first = settle("C15", "", {"a": verdict(5.0), "b": verdict(4.0)})
    again = settle("C15", "", first.evidence)
    assert again.evidence["a"].interval == first.evidence["a"].interval
    assert "alone" not in board([first])


def test_a_board_of_facts_needs_no_correction():
    facts = (settle("C16", s, {"a": True}) for s in ("one", "two"))
    assert board(facts).endswith("2 claims, 0 verdicts corrected together")


def test_the_longest_judgement_fits_its_column():
    assert max(map(len, JUDGEMENTS)) < 27
    assert isinstance(settle("C17", "", {"a": True}), Claim)


def test_the_ledger_holds_every_claim_once_with_its_sentence():
    for id, entry in ledger().items():
        assert id[0] in "CNSW"
        assert id[1:3].isdigit()
        assert entry["sentence"].strip() == entry["sentence"] != ""
    sentences = [entry["sentence"] for entry in ledger().values()]
    assert len(set(sentences)) == len(sentences)
    first = next(iter(ledger()))
    assert claims.settle(first, {"a": True}).sentence == ledger()[first]["sentence"]


def test_a_claim_outside_the_ledger_is_an_error():
    with pytest.raises(ValueError, match="expected a claim of the ledger, got 'C999'"):
        claims.settle("C999", {"a": True})
