"""What is stored in `data/claims`, what the lessons print, and what a fresh run says: all one.

Exact claims are settled anew here, every one. Of the statistical ones a sample runs on seeds that
no stored result has seen; `coursekit claims run --all --dry --first-seed 1000` reruns the rest.
"""

import re

import pytest

from coursekit.claims import ledger, results, stored
from coursekit.claims.claim import JUDGEMENTS, UNTESTED
from coursekit.claims.experiments import experiments, settle_all
from coursekit.course import lessons, notebook

EXACT = sorted({e.ids[0] for e in experiments().values() if not e.n_seeds})
# The cheapest of each topic, about a minute in all. Decay and depth have none under 80 s.
SAMPLE = ("C48", "C65", "C63", "C80", "C78", "W01")
FRESH = 7000  # first seed of the sample
CARD = re.compile(rf"^([A-Z]\d\d) .+: ({'|'.join([*JUDGEMENTS, UNTESTED]).upper()})$", re.MULTILINE)


@pytest.mark.parametrize("id", ledger())
def test_every_claim_is_settled_by_the_code_as_it_stands(id):
    claim = stored(id)
    assert claim.sentence == ledger()[id]["sentence"]
    assert {"experiment", "seconds", "torch", "date", "device"} <= set(claim.origin)
    if id in experiments():
        assert claim.origin["code"] == experiments()[id].code, "the experiment changed since"
        assert claim.origin["recipe"] or not experiments()[id].recipe


DECIDES = {
    "C52": ["claims.batch_norm.block_net", "judge.raises"],
    "C64": [
        "regularizers.augmentation.random_shift",
        "datasets.tasks.Task.deal",
        "judge.Verdict.outcome",
    ],
    "C47": ["claims.experiments.corrected", "measure.nll", "regularizers.dropout.Dropout.forward"],
}


@pytest.mark.parametrize(("id", "name"), [(id, n) for id, names in DECIDES.items() for n in names])
def test_whatever_decides_a_result_is_part_of_its_code(monkeypatch, id, name):
    before = experiments()[id].code
    path, attribute = f"coursekit.{name}".rsplit(".", 1)
    kind = property if name.endswith("outcome") else staticmethod
    monkeypatch.setattr(f"{path}.{attribute}", kind(lambda *_: "something else"))
    assert experiments()[id].code != before


@pytest.mark.parametrize("id", [id for id in ledger() if id in experiments()])
def test_a_statistical_claim_rests_on_enough_seeds(id):
    counts = [getattr(item, "n_seeds", 12) for item in stored(id).evidence.values()]
    assert min(counts) >= 12 or id.startswith("W")


@pytest.mark.parametrize("id", EXACT)
def test_an_exact_claim_holds_here_and_now(id):
    for claim in settle_all(id):
        assert claim.judgement == stored(claim.id).judgement, claim


@pytest.mark.parametrize("id", SAMPLE)
def test_fresh_seeds_reach_the_stored_judgement(id):
    n_seeds = experiments()[id].n_seeds
    for claim in settle_all(id, range(FRESH, FRESH + n_seeds)):
        assert claim.judgement == stored(claim.id).judgement, claim


def test_the_readme_tells_what_fresh_seeds_said():
    root = lessons.folder().parent
    told = (root / "data" / "claims" / "fresh_seeds.txt").read_text()
    readme = (root / "README.md").read_text()
    counts = re.findall(r"\d+ of \d+", told)
    assert len(counts) == 3
    assert [c for c in counts if c not in readme] == []
    assert counts[0].endswith(f" of {len(ledger())}")
    assert re.search(r"(\d+) would be usual", told)[0] in readme


def printed_cards(path):
    """(id, judgement) of each claim that the stored outputs of a lesson print."""
    cells = (cell for cell in notebook.read(path).cells if cell.cell_type == "code")
    text = "\n".join(notebook.printed(cell) for cell in cells)
    return [(id, word.lower()) for id, word in CARD.findall(text)]


def of_the_first_edition():
    """Lessons that settle claims of this ledger; the others show those of the second edition."""
    return [p for p in lessons.lessons() if "claims.settle(" in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", of_the_first_edition(), ids=lambda path: path.stem)
def test_a_lesson_prints_what_the_ledger_holds(path):
    cards = printed_cards(path)
    assert cards
    assert [c for c in cards if stored(c[0]).judgement != c[1]] == []


def test_every_claim_is_told_in_its_lesson():
    told = {p.stem[:2]: {id for id, _ in printed_cards(p)} for p in of_the_first_edition()}
    silent = [id for id, entry in ledger().items() if id not in told.get(entry["lesson"], {id})]
    assert silent == []


def test_the_list_marks_what_the_common_correction_of_a_lesson_undoes():
    found = {id: results.together(stored(id)) != stored(id).judgement for id in ledger()}
    listed = {line[:3]: line[9:36].rstrip().endswith("*") for line in results.table().splitlines()}
    assert {id: listed[id] for id in found} == found
    assert any(found.values()), "a lesson has such a claim; if none has, test with made-up ones"
    fallen = next(id for id, changed in found.items() if changed)
    assert "when all verdicts of the lesson are corrected together" in results.card(stored(fallen))
