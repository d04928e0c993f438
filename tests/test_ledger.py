"""The ledger at work: experiments found by their claims, results on disk, many at once."""

import importlib.util
import json
import linecache
import sys

import pytest

from coursekit import claims
from coursekit.claims import claim, experiments, results
from coursekit.claims.experiments import experiment, find, settle_all
from coursekit.commands import cli, studies
from coursekit.course import lessons

ENTRY = {"sources": ["000", "003"], "lesson": "04"}
LEDGER = {
    id: {"sentence": sentence, **ENTRY}
    for id, sentence in (("C90", "it helps"), ("C91", "it hurts"), ("C92", "it is an identity"))
} | {"C93": {"sentence": "it stands in a lesson", "sources": ["001"], "lesson": "99"}}


TOPIC = '''"""A topic."""

import numpy as np

from coursekit import judge
from coursekit.claims.experiments import exact, experiment
from coursekit.train import Recipe


@experiment("C90", "C91", n_seeds=6, recipe=Recipe(epochs=3))
def helps(seeds):
    """Adds five."""
    noise = np.array([seed % 3 for seed in seeds], dtype=float)
    up = judge.raises("up", noise, noise + 5 + 0.1 * noise, smallest=1)  # adds a little more
    down = judge.lowers("down", noise, noise + 5 + noise, smallest=1)
    return {"C90": {"here": up, "there": up}, "C91": {"here": down}}


@exact("C92")
def identity():
    return {"C92": {"now": True, "elsewhere": "not testable here: no such machine"}}
'''


@pytest.fixture(autouse=True)
def topic(monkeypatch, tmp_path):
    """A ledger of four claims; two experiments settle three of them."""
    path = tmp_path / "made_up.py"

    def install(text):
        path.write_text(text)
        linecache.clearcache()
        spec = importlib.util.spec_from_file_location("coursekit.claims.made_up", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        experiments.experiments.cache_clear()
        return module

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(experiments, "TOPICS", ("made_up",))
    for module in (claim, experiments, results, studies):
        monkeypatch.setattr(module, "ledger", lambda: LEDGER)
    monkeypatch.setattr(results, "folder", lambda: tmp_path / "claims")
    install(TOPIC)
    yield install
    experiments.experiments.cache_clear()


def test_a_claim_finds_its_experiment():
    assert find("C90") is find("C91") is sys.modules["coursekit.claims.made_up"].helps
    assert find("C92").function.__name__ == "identity"
    assert find("C90").topic == "made_up"


def test_an_experiment_runs_on_its_own_seeds_or_on_those_asked_for():
    assert claims.run("C90").evidence["here"].n_seeds == 6
    assert claims.run("C90", range(10, 19)).evidence["here"].n_seeds == 9
    assert claims.run("C90").judgement == "confirmed"
    assert claims.run("C91").judgement == "refuted"
    assert claims.run("C92").judgement == "confirmed"


def test_the_first_seed_comes_from_the_environment(monkeypatch):
    here = claims.run("C90").evidence["here"].differences
    monkeypatch.setenv("COURSEKIT_FIRST_SEED", "1")
    assert claims.run("C90").evidence["here"].differences != here


@pytest.mark.parametrize(
    ("id", "words"), [("C94", "a claim of the ledger, got 'C94'"), ("C93", "of lesson 99")]
)
def test_a_claim_without_an_experiment_says_where_to_look(id, words):
    with pytest.raises(ValueError, match=words):
        claims.run(id)


def test_an_experiment_must_settle_what_it_announces():
    short = experiment("C90", "C91")(lambda seeds: {"C90": {"a": True}})
    with pytest.raises(ValueError, match=r"expected evidence on \('C90', 'C91'\), got it on"):
        short()
    with pytest.raises(ValueError, match="at least 2 seeds"):
        experiment("C90", n_seeds=1)


def test_the_code_of_a_topic_ignores_comments_and_docstrings(topic):
    plain = find("C90").code
    topic(TOPIC.replace("Adds five.", "Adds 5.").replace("# adds a little more", "# why"))
    assert find("C90").code == plain
    topic(TOPIC.replace("noise + 5", "noise + 6"))
    assert find("C90").code != plain


def test_the_source_of_an_experiment_can_be_shown():
    assert "Adds five." in claims.source("C91").data


# On disk


def test_a_stored_claim_comes_back_as_it_was():
    fresh = settle_all("C90")[0]
    claim.write(fresh, results.folder() / "C90.json")
    again = claims.stored("C90")
    assert again == fresh
    assert str(again) == str(fresh)
    assert again.evidence["here"].family == 2  # the correction is kept
    assert again.origin["seeds"] == "0 to 5"
    assert again.origin["recipe"]["epochs"] == 3
    assert {"experiment", "code", "torch", "date", "device", "seconds"} <= set(again.origin)
    [exact_one] = settle_all("C92")
    claim.write(exact_one, results.folder() / "C92.json")
    assert claims.stored("C92").evidence == exact_one.evidence


def shortened(content):
    return json.dumps(content)[:-20]


def other_word(content):
    return json.dumps(content | {"judgement": "refuted"})


def other_number(content):
    content["evidence"]["here"]["differences"] = [-5.0] * 6
    return json.dumps(content)


def other_claim(content):
    return json.dumps(content | {"id": "C91"})


def number_for_a_fact(content):
    content["evidence"]["here"] = 1.0
    return json.dumps(content)


@pytest.mark.parametrize(
    "damage", [shortened, other_word, other_number, other_claim, number_for_a_fact]
)
def test_a_damaged_result_is_never_read_as_one(damage):
    path = results.folder() / "C90.json"
    claim.write(settle_all("C90")[0], path)
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(ValueError, match=r"cut short or altered; try `coursekit claims run C90`"):
        claims.stored("C90")


def test_a_missing_result_says_how_to_make_it():
    with pytest.raises(ValueError, match=r"no such file; try `coursekit claims run C90`"):
        claims.stored("C90")
    with pytest.raises(ValueError, match="expected a claim of the ledger, got 'C1'"):
        claims.stored("C1")


def test_settling_records_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_RECORD", str(tmp_path / "kept"))
    settled = claims.settle("C93", {"in a cell": True})
    assert claim.read(tmp_path / "kept" / "C93.json") == settled


# Many at once


def test_each_experiment_runs_once_for_all_its_claims():
    done = list(studies.settle_many(["C90", "C91", "C92"]))
    assert studies.n_experiments(["C90", "C91", "C92"]) == len(done) == 2
    assert [c.id for one in done for c in one.claims] == ["C90", "C91", "C92"]
    assert {one.label for one in done} == {"made_up.helps", "made_up.identity"}


def test_seeds_of_many_can_be_shifted_and_multiplied():
    [done] = studies.settle_many(["C90"], first_seed=100, n_seeds=4)
    assert done.claims[0].origin["seeds"] == "100 to 103"
    assert done.claims[0].evidence["here"].n_seeds == 4


def test_one_failing_experiment_leaves_the_others(topic, capsys):
    topic(TOPIC.replace("    up = ", "    raise RuntimeError('no luck')\n    up = "))
    assert cli.main(["claims", "run", "C90", "C92"]) == 1
    said = capsys.readouterr().out
    assert "FAILED: RuntimeError: no luck" in said
    assert claims.stored("C92").judgement == "confirmed"


def test_a_claim_of_a_lesson_is_settled_by_running_it(monkeypatch, tmp_path):
    def execute(path, out, *, first_seed, record):
        assert first_seed == 7
        monkeypatch.setenv("COURSEKIT_RECORD", str(record))
        claims.settle("C93", {"in a cell": True})
        claims.settle("C92", {"also shown there": True})
        monkeypatch.delenv("COURSEKIT_RECORD")
        return lessons.Execution(path, 1.0, None)

    monkeypatch.setattr(lessons, "select", lambda names: [tmp_path / f"{names[0]}_lesson.ipynb"])
    monkeypatch.setattr(lessons, "execute", execute)
    [done] = studies.settle_many(["C93"], first_seed=7)
    assert [c.id for c in done.claims] == ["C93"]  # C92 has an experiment, which counts
    assert done.claims[0].origin["experiment"] == "lesson 99_lesson"


def test_claims_are_chosen_by_id_topic_or_lesson():
    assert studies.select() == list(LEDGER)
    assert studies.select(["C92", "C90", "C92"]) == ["C92", "C90"]
    assert studies.select(topics=["made_up"]) == ["C90", "C91", "C92"]
    assert studies.select(topics=["99"]) == ["C93"]
    for wrong in ({"ids": ["C00"]}, {"topics": ["nothing"]}):
        with pytest.raises(ValueError, match="try `claims list`"):
            studies.select(**wrong)


# From a terminal


def test_list_run_and_show(capsys):
    assert cli.main(["claims", "list"]) == 0
    assert "4 claims: 4 not stored" in capsys.readouterr().out
    assert cli.main(["claims", "run", "--topic", "made_up"]) == 0
    said = capsys.readouterr().out
    assert "[2/2]" in said
    assert "  C91 refuted" in said
    assert cli.main(["claims", "show", "C90"]) == 0
    said = capsys.readouterr().out
    assert "C90 it helps: CONFIRMED" in said
    assert "asserted by 000, 003; lesson 04" in said
    assert "experiment made_up.helps" in said
    assert cli.main(["claims", "show"]) == 0
    assert "4 claims: 2 confirmed, 1 refuted, 1 not stored" in capsys.readouterr().out


def test_a_dry_run_tells_what_is_other_than_stored(capsys, topic):
    assert cli.main(["claims", "run", "C90", "--dry", "--first-seed", "50"]) == 0
    nothing = "As stored: 0 of 0 judgements and 0 of 0 verdicts; turned into their opposite: 0."
    assert capsys.readouterr().out.splitlines()[-2] == nothing
    assert cli.main(["claims", "run", "C90"]) == 0
    assert cli.main(["claims", "run", "C90", "--dry", "--first-seed", "50"]) == 0
    words, numbers = capsys.readouterr().out.splitlines()[-2:]
    assert (
        words == "As stored: 2 of 2 judgements and 3 of 3 verdicts; turned into their opposite: 0."
    )
    assert numbers == "Means too far apart for 95 % of repetitions: 0 of 3; 0 would be usual."
    topic(TOPIC.replace("noise + 5", "noise - 5"))
    assert cli.main(["claims", "run", "C90", "--dry"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "C90 confirmed -> refuted" in said
    assert "C90   here: supported -> contradicted" in said
    last = "As stored: 0 of 2 judgements and 0 of 3 verdicts; turned into their opposite: 3."
    assert said[-2] == last
    assert said[-1].startswith("Means too far apart for 95 % of repetitions: 3 of 3")


def test_a_dry_run_stores_nothing(capsys, tmp_path):
    assert cli.main(["claims", "run", "C90", "--dry"]) == 0
    assert not results.folder().exists()
    assert cli.main(["claims", "run", "C90", "--out", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "C91.json").exists()
    assert not results.folder().exists()


def test_running_nothing_is_an_error(capsys):
    assert cli.main(["claims", "run"]) == 1
    assert "try `claims run C44` or --all" in capsys.readouterr().err
    assert cli.main(["claims", "run", "C00"]) == 1
