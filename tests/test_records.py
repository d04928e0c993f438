"""The ledger at work: records, experiments, runs that resume, results that stand or do not."""

import csv
import importlib.util
import io
import json
import linecache
import re
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import scipy.stats
import torch

from coursekit import data
from coursekit.commands import cli
from coursekit.ledger import (
    agreement,
    cards,
    evidence,
    export,
    figures,
    record,
    results,
    rule,
    runner,
    worlds,
)
from coursekit.ledger import experiments as found_experiments
from coursekit.ledger.evidence import Exact, Side, crossed
from coursekit.train import Recipe, fit

HEAD = {
    "lesson": "04",
    "said_by": ["review"],
    "compares": "this with that",
    "tuned": "nothing",
    "fixed": "all else",
    "setting": "made-up numbers",
    "because": "it is a test",
    "control": "without",
    "treated": "with",
}
TABLES = {
    "C01": HEAD
    | {
        "question": "Does it help?",
        "headline": True,
        "conditions": {"clear": "helps", "noisy": "unknown"},
    },
    "C02": HEAD
    | {
        "question": "Is it quick, and good?",
        "parts": {"quick": "Is it quick?", "good": "Is it good?"},
        "conditions": {
            "steps": {
                "expect": "helps", "part": "quick", "metric": "other", "unit": "percent",
                "smallest": 10, "better": "lower", "words": ["fewer", "more"], "published": -50.0,
            },
            "score": {"expect": "not worse", "part": "good", "wants": "not worse"},
            "elsewhere": {"expect": "unknown", "part": "good", "untested": "no such data"},
        },
    },
    "C03": HEAD
    | {
        "question": "Are they equal?",
        "conditions": {"identity": {"expect": "holds", "wants": "exact"}},
    },
    "C04": HEAD | {"question": "Is it built?", "conditions": {"later": "unknown"}},
}  # fmt: skip
TOPIC = '''"""A topic."""

import os

import numpy as np

from coursekit.ledger.evidence import Exact, crossed, plain
from coursekit.ledger.experiments import experiment


@experiment("C01", "C02")
def both(seeds, world):
    """Draws scores."""
    with open(os.environ["CALLS"], "a") as calls:  # a list here would be part of the code
        calls.write(f"{len(seeds)} ")
    rng = np.random.default_rng([seeds[0], len(world.name)])
    base = (rng.random((len(seeds), 50)) < 0.8) * 1.0
    better = np.maximum(base, rng.random((len(seeds), 50)) < 0.9)
    wide = base.mean(1) + 0.4 * rng.normal(size=len(seeds))
    steps = 100 - 30 + rng.normal(size=len(seeds))  # thirty fewer
    c01 = {"clear": (crossed(base), crossed(better)), "noisy": (plain(base.mean(1)), plain(wide))}
    if not world.is_first:
        del c01["noisy"]
    c02 = {
        "steps": (plain(100.0, len(seeds)), plain(steps)),
        "score": (crossed(base), crossed(better)),
    }
    return {"C01": c01, "C02": c02}


@experiment("C03")
def identity():
    return {"C03": {"identity": Exact(True, "difference 0")}}
'''


@pytest.fixture
def ledger(monkeypatch, tmp_path):
    """Four records, two experiments, and a folder of results of their own."""
    parsed = {id: record.parse(id, table) for id, table in TABLES.items()}
    monkeypatch.setattr(record, "records", lambda: parsed)
    monkeypatch.setattr(results, "_root", lambda: tmp_path / "ledger")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    path = tmp_path / "made_up.py"

    def install(text=TOPIC):
        path.write_text(text)
        linecache.clearcache()
        name = "coursekit.ledger.experiments.made_up"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        both, identity = module.both, module.identity
        chosen = {"C01": both, "C02": both, "C03": identity}
        for place in (found_experiments, runner):
            monkeypatch.setattr(place, "experiments", lambda: chosen)
        monkeypatch.setattr(cards, "experiments", lambda: chosen)
        return module

    install.topic = install()
    return install


DIGITS = worlds.find("digits")


def settled(ids, kept, world=DIGITS):
    done = list(runner.run(ids, world, kept))
    assert [one.error for one in done] == [None] * len(done)
    return {r.id: r for one in done for r in one.results}


def stored(ids, kept, world=DIGITS):
    found = settled(ids, kept, world)
    for result in found.values():
        results.write(result, results.folder(world.name) / f"{result.id}.json")
    return found


# Records


def test_all_records_are_whole_and_every_experiment_declares_what_it_measures():
    known = record.records()
    assert set(found_experiments.experiments()) <= set(known)
    for own in known.values():
        assert own.question.endswith("?"), own.id
        assert set(own.said_by) - set(record.articles()) <= {s for s in own.said_by if " " in s}
        if own.id in found_experiments.experiments():
            assert found_experiments.find(own.id).takes or all(
                c.wants == "exact" or c.untested for c in own.conditions
            )
    headlines = [own for own in known.values() if own.headline]
    for own in headlines:
        assert "world" in found_experiments.find(own.id).takes, own.id


def test_a_record_inherits_what_its_conditions_do_not_say():
    own = record.parse("C02", TABLES["C02"])
    steps, score, elsewhere = own.conditions
    assert (steps.better, steps.direction, steps.words) == ("lower", -1, ("fewer", "more"))
    assert (score.metric, score.smallest, score.factor) == ("accuracy", 1.0, 100.0)
    assert elsewhere.untested == "no such data"
    exact = {"expect": "holds", "wants": "exact"}
    mixed = TABLES["C03"] | {"smallest": 5.0, "unit": "percent", "conditions": {"fact": exact}}
    assert (record.parse("C03", mixed).conditions[0].smallest, "") == (0.0, "")
    assert own.condition("score") is score


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question": None}, "expected question in the record of C99"),
        ({"typo": 1}, "expected only .* in C99, got .'typo'"),
        ({"conditions": {}}, "expected a condition of C99, got none"),
        ({"conditions": {"a": "better"}}, "expected one of helps, .* got better"),
        ({"metric": "f1"}, "expected a metric among accuracy"),
        ({"metric": "other"}, "expected a smallest effect above 0"),
        ({"conditions": {"a": {"expect": "helps", "wants": "win"}}}, "expected a wants among"),
        ({"conditions": {"a": {"expect": "helps", "part": "x"}}}, "expected a part of C99"),
        ({"parts": {"x": "Is it?"}}, "expected a part of C99 among"),
        ({"control": ""}, "expected names of both sides"),
        ({"looks": [32, 16]}, "expected rising numbers of seeds"),
        ({"version": 2}, "expected a deviation in words"),
        ({"words": ["up"]}, "expected two words"),
    ],
)
def test_a_record_that_is_not_whole_says_why(changes, words):
    table = {k: v for k, v in (TABLES["C01"] | changes).items() if v is not None}
    with pytest.raises(ValueError, match=words):
        record.parse("C99", table)


def test_the_hash_follows_what_was_declared_and_not_where_it_is_taught():
    plain = record.parse("C01", TABLES["C01"])
    assert record.parse("C01", TABLES["C01"] | {"lesson": "05"}).hash == plain.hash
    for change in ({"tuned": "all"}, {"smallest": 2.0}, {"conditions": {"clear": "helps"}}):
        assert record.parse("C01", TABLES["C01"] | change).hash != plain.hash


def test_unknown_claims_and_claims_without_an_experiment(ledger):
    with pytest.raises(ValueError, match="a claim of the ledger, got 'C98'"):
        record.find("C98")
    with pytest.raises(ValueError, match="C04, which is declared and not built yet"):
        found_experiments.find("C04")


# Evidence


def test_an_experiment_returns_what_was_declared(ledger):
    chosen = ledger.topic.both
    short = found_experiments.experiment("C03")(lambda: {"C03": {"other": Exact(True, "")}})
    with pytest.raises(ValueError, match="a declared condition of C03, got 'other'"):
        short((), DIGITS)
    absent = found_experiments.experiment("C03")(lambda: {"C03": {}})
    with pytest.raises(ValueError, match="expected evidence on all of C03, got none"):
        absent((), DIGITS)
    with pytest.raises(ValueError, match=r"expected evidence on .*, got it on"):
        found_experiments.Experiment(("C01",), chosen.function)(range(4), DIGITS)
    with pytest.raises(ValueError, match="a function of"):
        found_experiments.experiment("C01")(lambda seeds, other: {})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (3.0, "two sides or an exact fact"),
        ((Side(np.zeros(3)), Side(np.zeros(4))), "sides of the same seeds"),
        ((crossed(np.zeros((2, 3))), crossed(np.zeros((2, 4)))), "on the same examples"),
        ((Side(np.array([1.0, np.nan])), Side(np.zeros(2))), "finite scores"),
        (Exact(1, "x"), "True or False"),
    ],
)
def test_bad_evidence_is_refused(found, words):
    with pytest.raises(ValueError, match=words):
        evidence.check("here", found)


def test_scores_of_trained_networks_are_those_of_evaluate():
    task = data.load("digits", label_noise=0.4, device="cpu")
    from coursekit.train import evaluate

    runs = fit(DIGITS.net(task, (16,)), task, Recipe(epochs=3, n_seeds=3), record=())
    for part in ("train", "val", "test"):
        for weights in ("best", "final"):
            usual = evaluate(runs, task, part, weights=weights)
            right = evidence.correct(runs, task, weights=weights, part=part)
            lost = evidence.losses(runs, task, weights=weights, part=part)
            np.testing.assert_allclose(right.mean(1), usual.acc, atol=1e-6)
            np.testing.assert_allclose(lost.mean(1), usual.loss, rtol=1e-5)
    dark = evidence.correct(runs, task, x=torch.zeros_like(task.x_test))
    assert (dark.mean(1) < 0.2).all()
    val, test = np.array([[0.1, 0.9], [0.2, 0.3]]), np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(evidence.chosen(val, test), [[6, 7, 8], [3, 4, 5]])
    with pytest.raises(ValueError, match=r"scores \(seeds, examples\)"):
        evidence.crossed(np.zeros(3))
    with pytest.raises(ValueError, match="one score per seed"):
        evidence.plain(np.zeros((2, 3)))


def test_labels_of_the_pool_are_wrong_for_validation_too():
    task, clean = DIGITS.digits(pool_noise=0.4), DIGITS.digits()
    wrong = (task.y != clean.y).float().mean()
    assert 0.3 < wrong < 0.42  # a tenth of the replaced labels are right by chance
    assert torch.equal(task.y_test, clean.y_test)
    assert torch.equal(task.y, DIGITS.digits(pool_noise=0.4).y)


@pytest.mark.parametrize("world", ["digits", "mnist1d"])
def test_each_world_has_networks_for_its_data(world):
    world = worlds.find(world)
    task = world.digits(n_train=20, n_val=10)
    for options in ({}, {"dropout": 0.5}, {"batch_norm": True}, {"hidden": (16, 16)}):
        assert world.net(task, **options)()(task.x[:4].cpu()).shape == (4, 10)
    assert world.has_canvas == (world.name == "digits")
    if not world.has_canvas:
        with pytest.raises(ValueError, match="8 x 8 digits"):
            world.canvas()
    with pytest.raises(ValueError, match="expected a world among digits, other writers"):
        worlds.find("photos")


# Runs


def test_seeds_are_added_until_the_interval_is_narrow_whatever_it_says(ledger, tmp_path):
    found = settled(["C01", "C03"], tmp_path / "kept")
    looks = found["C01"].origin["looks"]
    assert [look["seeds"] for look in looks] == [32, 48, 64]  # "noisy" never is precise
    assert found["C01"].comparisons[0].n_seeds == 64
    assert found["C01"].origin["seeds"] == "20000 to 20063"
    assert found["C03"].origin["looks"] == []
    assert found["C03"].answer == "yes"
    ledger(
        TOPIC.replace("0.4 * rng", "0.001 * rng").replace("(len(seeds), 50)", "(len(seeds), 5000)")
    )
    narrow = settled(["C01"], tmp_path / "kept")
    assert narrow["C01"].comparisons[0].n_seeds < 64


def test_a_later_version_takes_seeds_that_no_earlier_one_has_looked_at(
    ledger, tmp_path, monkeypatch
):
    second = TABLES["C02"] | {"version": 2, "deviation": "The first had a fault."}
    parsed = {id: record.parse(id, table) for id, table in (TABLES | {"C02": second}).items()}
    monkeypatch.setattr(record, "records", lambda: parsed)
    found = settled(["C01"], tmp_path / "kept")  # both claims of one experiment
    for id in ("C01", "C02"):
        first, last = map(int, found[id].origin["seeds"].split(" to "))
        assert first == runner.FIRST_SEED + runner.SEEDS_OF_A_VERSION > runner.FIRST_SEED + 63
        assert last == first + 63


def test_a_run_that_was_cut_short_goes_on_where_it_stood(ledger, tmp_path):
    first = settled(["C01"], tmp_path / "kept")
    calls = tmp_path / "calls"
    assert calls.read_text() == "32 16 16 "
    kept = sorted((tmp_path / "kept" / "digits").iterdir())
    kept[-1].unlink()  # as if it had been killed in the last block
    again = settled(["C01"], tmp_path / "kept")
    assert calls.read_text() == "32 16 16 16 "
    assert first["C01"].origin["date"] == again["C01"].origin["date"]
    for a, b in zip(first["C01"].comparisons, again["C01"].comparisons, strict=True):
        assert (a.low, a.high, a.word) == (b.low, b.high, b.word)


def test_one_failed_experiment_does_not_take_the_others_down(ledger, tmp_path):
    ledger(TOPIC.replace('"""Draws scores."""', 'raise RuntimeError("no luck")'))
    done = {one.name: one for one in runner.run(["C01", "C03"], DIGITS, tmp_path / "kept")}
    assert done["made_up.both"].error == "RuntimeError: no luck"
    assert done["made_up.identity"].error is None


def test_other_worlds_run_what_belongs_to_them(ledger, tmp_path):
    other, small = worlds.find("other writers"), worlds.find("mnist1d")
    names = {w.name: [e.name for e in runner.selected(TABLES, w)] for w in (DIGITS, other, small)}
    assert names["digits"] == ["made_up.both", "made_up.identity"]
    assert names["other writers"] == names["mnist1d"] == ["made_up.both"]
    found = settled(["C01"], tmp_path / "kept", small)
    assert found["C01"].comparisons[0].n_seeds == 16
    assert found["C01"].comparisons[1].standing == "untested"


# Results


def test_a_stored_result_comes_back_as_it_was(ledger, tmp_path):
    found = stored(["C01", "C02", "C03"], tmp_path / "kept")
    for id, result in found.items():
        again = results.stored(id)
        assert again.answer == result.answer
        assert again.parts == result.parts
        for a, b in zip(again.comparisons, result.comparisons, strict=True):
            assert (a.word, a.note) == (b.word, b.note)
            np.testing.assert_array_equal([a.low, a.high], [b.low, b.high])


def test_stored_results_follow_the_schema(ledger, tmp_path):
    stored(["C01", "C02", "C03"], tmp_path / "kept")
    schema = json.loads(Path(results.__file__).with_name("schema.json").read_text())
    assert schema["properties"]["schema"]["const"] == results.SCHEMA
    for path in results.folder().glob("*.json"):
        content = json.loads(path.read_text())
        jsonschema.validate(content, schema)
    del content["origin"]["record"]
    with pytest.raises(jsonschema.ValidationError, match="record"):
        jsonschema.validate(content, schema)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "cut short"),
        (lambda text: text.replace('"answer":"yes"', '"answer":"the opposite"'), "hold its answer"),
        (lambda text: text.replace('"identity":{"holds"', '"other":{"holds"'), "another record"),
        (lambda text: None, "no such file; try `coursekit claims run C03`"),
    ],
)
def test_a_damaged_result_is_not_believed(ledger, tmp_path, damage, words):
    stored(["C03"], tmp_path / "kept")
    path = results.folder() / "C03.json"
    text = damage(path.read_text())
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ValueError, match=words):
        results.stored("C03")


def test_a_result_stands_only_if_it_was_registered_before(ledger, tmp_path, monkeypatch):
    found = settled(["C03"], tmp_path / "kept")["C03"]
    assert "was not registered" in results.objection(found)
    assert results.register(["C03"]) == ["C03"]
    assert results.register(["C03"]) == []
    early = results.Result(found.record, found.comparisons, found.origin | {"date": "2000"})
    assert "run before it was registered" in results.objection(early)
    later = results.Result(found.record, found.comparisons, found.origin | {"date": "2999"})
    assert results.objection(later) is None
    changed = later.origin | {"rule": "00000000"}
    assert "another rule" in results.objection(
        results.Result(found.record, found.comparisons, changed)
    )
    ledger(TOPIC.replace('"difference 0"', '"no difference"'))
    assert "another code" in results.objection(later)


def test_a_record_that_changes_after_its_run_needs_a_new_version(ledger, tmp_path, monkeypatch):
    results.register(["C03"])
    stored(["C03"], tmp_path / "kept")
    changed = TABLES["C03"] | {"setting": "other numbers"}
    monkeypatch.setattr(record, "records", lambda: {"C03": record.parse("C03", changed)})
    with pytest.raises(ValueError, match="a new version and a deviation in words for C03"):
        results.register(["C03"])
    changed |= {"version": 2, "deviation": "the numbers were wrong"}
    monkeypatch.setattr(record, "records", lambda: {"C03": record.parse("C03", changed)})
    assert results.register(["C03"]) == ["C03"]
    assert [e["version"] for e in results.registry()["C03"]] == [1, 2]


def test_every_stored_result_of_the_course_stands():
    kept = [p for world in worlds.WORLDS for p in results.folder(world).glob("*.json")]
    objections = [why for p in kept if (why := results.objection(results.read(p)))]
    assert objections == []


# What readers see


def test_cards_pages_and_figures_tell_the_same(ledger, tmp_path):
    found = stored(["C01", "C02", "C03"], tmp_path / "kept")
    c02 = cards.card(found["C02"])
    told = ("Is it quick, and good?", "fewer", "not worse", "no such data", "percent", "compares")
    for words in (*told, "made-up numbers", "registered", "coursekit claims run C02", "lines"):
        assert words in c02
    pages = cards.write_pages(["C01", "C02", "C03", "C04"], tmp_path / "pages")
    assert [p.name for p in pages] == ["C01.md", "C02.md", "C03.md"]
    text = (tmp_path / "pages" / "C02.md").read_text()
    assert "![" in text
    svg = (tmp_path / "pages" / "C02.svg").read_text()
    assert svg.startswith("<svg")
    assert "fill:currentColor" in svg  # text takes the color of a dark page, too
    [style] = re.findall(r"<style>(.*?)</style>", svg, re.S)
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", style.replace("{:root", "{}:root"))
    assert [rule for rule in rules if ".forest" not in rule and "@media" not in rule] == []
    assert "what a source promises" in svg
    assert not (tmp_path / "pages" / "C03.svg").exists()
    assert "[C01](C01.md)" in (tmp_path / "pages" / "index.md").read_text()
    board = cards.board()
    assert "not run yet" in board.splitlines()[3]
    assert board.splitlines()[-1].startswith("4 claims: ")
    shown = figures.show("C02")
    assert "not worse" in repr(shown)
    html = shown._repr_html_()
    for tag in ("<svg", "<details>", 'role="img"'):
        assert tag in html
    name = shown.result.comparisons[0].condition.name
    html = figures.show("C02", words={name: "as a lesson says it"})._repr_html_()
    seen, _, fold = html.partition("How it was measured")
    assert "as a lesson says it" in seen
    assert f"{name}:" not in seen
    assert name in fold  # as it was registered
    assert "not run yet" in figures.show("C04")._repr_html_()
    assert "expected: unknown" in repr(figures.show("C04"))
    listed = figures.lesson(record.find("C02").lesson)
    assert repr(listed) == cards.board(listed.ids)
    html = listed._repr_html_()
    assert "Is it quick, and good?" in html
    assert f"<td>{cards.ANSWER_SIGNS[found['C02'].answer]} {found['C02'].answer}" in html
    assert "not run yet" in html
    with pytest.raises(ValueError, match=r"expected a lesson among .*, got '99'"):
        figures.lesson("99")


def test_the_figure_of_a_claim_is_to_scale(ledger, tmp_path):
    result = stored(["C02"], tmp_path / "kept")["C02"]
    rows = figures.measured(result)
    svg = figures.forest_svg(result)
    markers = [float(x) for x in re.findall(r"translate\(([\d.]+) ", svg)]
    bars = [tuple(map(float, b)) for b in re.findall(r'd="M([\d.]+) [\d.]+H([\d.]+)"', svg)][:-1]
    published = sum(c.condition.published is not None for c in rows)
    assert len(markers) == len(rows) + published
    assert len(bars) == len(rows)
    axis = figures.Axis(rows)
    for c, (low, high) in zip(rows, bars, strict=True):
        ends = sorted(c.condition.direction * v for v in (c.low, c.high))
        assert [np.sign(low - axis.at(0)), np.sign(high - axis.at(0))] == np.sign(ends).tolist()
        assert any(low <= x <= high for x in markers)


def comparison(low, high, smallest=1.0, direction=1, unit="points"):
    condition = SimpleNamespace(
        direction=direction, smallest=smallest, unit=unit, published=None, name="one"
    )
    return SimpleNamespace(low=low, high=high, condition=condition)


@pytest.mark.parametrize("high", [1.5, 8, 40, 43])
def test_an_axis_is_to_scale_from_end_to_end_where_there_is_room(high):
    axis = figures.Axis([comparison(-1, high), comparison(0, 1)])
    assert axis.linear
    at = [axis.at(v) for v in np.linspace(-1, high, 5)]
    assert np.ptp(np.diff(at)) <= 0.21  # places are rounded to 0.1
    assert at[0] >= figures.EDGE
    assert at[-1] <= figures.WIDTH - figures.EDGE
    assert axis.at(1) - axis.at(-1) >= 20  # one sees the band


def test_an_axis_without_room_is_linear_around_zero_and_logarithmic_beyond():
    rows = [comparison(-3, 190), comparison(0, 1)]
    axis = figures.Axis(rows)
    assert not axis.linear
    assert not figures.to_scale(rows)
    at = [axis.at(v) - axis.at(0) for v in (1, 2, 20, 200)]
    assert at[1] == pytest.approx(2 * at[0], abs=0.2)
    assert at[3] - at[2] == pytest.approx(at[2] - at[1], abs=0.2)
    assert axis.at(-20) - axis.at(0) == pytest.approx(-at[2], abs=0.2)


@pytest.mark.parametrize("direction", [1, -1])
def test_an_axis_has_the_numbers_of_the_differences(direction):
    rows = [comparison(-2, 8, 0.5, direction), comparison(-1, 3, 0.5, direction)]
    shared = cards.shared_unit(rows)
    axis = figures.Axis(rows)
    ticks = dict(axis.ticks(shared.direction * shared.smallest))
    assert ticks
    for x, number in ticks.items():
        assert axis.at(direction * number / 0.5) == x
    assert 0 in ticks.values()
    assert max(ticks.values()) >= 5
    assert cards.shared_unit([*rows, comparison(0, 1, 0.5, -direction)]) is None
    assert cards.shared_unit([*rows, comparison(0, 1, 0.5, direction, "nats")]) is None


def test_rows_of_one_unit_share_an_axis_and_keep_their_own_bands():
    result = results.known("C03")  # gaps of 20 points matter, gains of one
    rows = figures.measured(result)
    sizes = [c.condition.smallest for c in rows]
    assert len(set(sizes)) > 1
    axis, svg = figures.Axis(rows), figures.forest_svg(result)
    bands = re.findall(r'<rect x="[-\d.]+" y="[\d.]+" width="([\d.]+)" height="18"', svg)
    point = (axis.at(1) - axis.at(-1)) / 2 / max(sizes)  # the length of a point
    assert [float(b) for b in bands] == pytest.approx([2 * s * point for s in sizes], abs=0.2)
    markers = [
        float(x) for x in re.findall(r'<path d="[^"]+" transform="translate\(([\d.]+) ', svg)
    ]
    places = [axis.at(0) + point * c.condition.direction * c.difference for c in rows]
    assert markers == pytest.approx(places, abs=0.2)
    assert "points</text>" in svg


def test_rows_of_several_units_tell_what_was_measured():
    result = results.known("C53")
    svg = figures.forest_svg(result)
    assert "in smallest effects" in svg
    for c in figures.measured(result):
        effect = cards.numbers(c)[2].replace("-", "\u2212")
        assert f"{c.found}, {effect} {c.condition.unit}" in svg


def test_no_number_of_an_axis_sticks_out_or_touches_the_next():
    drawn = [figures.forest_svg(own) for id in record.records() if (own := results.known(id))]
    number = r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle">([+\u2212\d.]+)<'
    axes = [re.findall(number, svg) for svg in drawn if svg]
    assert min(map(len, axes)) >= 3
    for axis in axes:
        spans = sorted(
            (float(x) - figures.HALF * len(t), float(x) + figures.HALF * len(t)) for x, t in axis
        )
        assert spans[0][0] >= 0
        assert spans[-1][1] <= figures.WIDTH
        assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_depends_is_told_with_its_condition(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "conditions_of_yes", lambda: {"C01": "where it is clear"})
    own = record.find("C01")
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.001, 32)
    sides = {n: (Side(base), Side(base + d + rng.normal(0, 0.001, 32))) for n, d in
             (("clear", 0.05), ("noisy", -0.05))}  # fmt: skip
    origin = {"record": own.hash, "world": "digits"}
    result = results.Result(own, tuple(rule.compare(own, sides)), origin)
    assert cards.headline(result) == (
        "depends (of 2 conditions 1 for it, 1 against it): where it is clear"
    )


def test_a_question_says_why_it_is_open_beside_settled_conditions():
    result = results.read(results.folder() / "C56.json")
    assert set(result.parts.values()) == {"not yet known", "depends"}
    first, second = cards.parts_told(result)
    n = Counter(cards.stands(c) for c in result.comparisons if c.condition.part == "regularizes")
    n_open = n["for it with the size open"]
    assert f"not yet known (of {n.total()} conditions {n_open} for it with the size open" in first
    assert second.startswith("◐")
    assert "while one condition is still open" in cards.caption(result)
    assert "while one condition is still open" not in cards.caption(
        results.read(results.folder() / "C37.json")
    )


def test_every_answer_of_depends_has_its_sentence():
    for path in results.folder().glob("*.json"):
        result = results.read(path)
        told = result.id in record.conditions_of_yes()
        assert told == (result.answer == "depends"), result.id


def test_readme_says_how_far_other_writers_agree():
    said = agreement.agreement("other writers").splitlines()[-1]
    answers, of, words, of_words, turned = re.findall(r"\d+", said)
    n, total = (len(list(results.folder(w).glob("*.json"))) for w in ("other writers", "digits"))
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"{n} of {total} claims have been run there so far" in text
    assert f"{answers} of {of} answers and {words} of {of_words} words" in text
    assert f"and {'none' if turned == '0' else turned} turned into its opposite" in text


@pytest.mark.parametrize("world", ["mnist", "mnist1d"])
def test_readme_says_how_far_other_data_agree(world):
    said = agreement.agreement(world).splitlines()[-1].partition(":")[2]
    answers, of, words, of_words, turned = re.findall(r"\d+", said)
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    headline = {id for id, one in record.records().items() if one.headline}
    stored = {path.stem for path in results.folder(world).glob("*.json")}
    assert headline <= stored
    assert f"the {len(headline)} headline claims agree less" in text
    assert (
        f"{answers} of {of} answers and {words} of {of_words} words are the same, "
        f"and {turned} turned into their opposite"
    ) in text


@pytest.mark.parametrize(
    ("word", "other", "turned"),
    [
        ("helps, size open", "hurts, size open", 1),
        ("worse", "not worse", 1),
        ("helps, size open", "helps", 0),
        ("hurts", "not yet known", 0),
    ],
)
def test_a_turned_effect_is_counted_even_if_its_size_is_open(monkeypatch, word, other, turned):
    result = results.known("C44")
    first = result.comparisons[0]
    pair = [
        replace(result, comparisons=(replace(first, word=one, standing="for"),))
        for one in (word, other)
    ]
    monkeypatch.setattr(agreement, "pairs", lambda *args: [pair])
    assert agreement.agreement("mnist").endswith(f"opposite: {turned}.")


def test_agreement_counts_only_what_could_move(ledger, tmp_path):
    stored(["C01", "C02", "C03"], tmp_path / "kept")
    stored(["C01", "C02"], tmp_path / "kept", worlds.find("other writers"))
    said = agreement.agreement("other writers").splitlines()[-1]
    # Conditions: clear, steps, score; not the fact, nor what one of them lacks. C01 is in part.
    assert said == (
        "other writers against digits: 1 of 1 answers and 3 of 3 words that could move agree; "
        "turned into their opposite: 0."
    )


def test_own_results_are_compared_with_the_stored_ones(ledger, tmp_path, monkeypatch):
    kept, mine = tmp_path / "kept", tmp_path / "mine"
    stored(["C01"], kept)
    own = results.known("C01")
    [clear] = [c for c in own.comparisons if c.condition.name == "clear"]
    word = "hurts" if clear.word.startswith("helps") else "helps"
    origin = dict(own.origin)
    results.write(own, mine / "C01.json")
    assert "2 of 2 words" in agreement.agreement("digits", ["C01"], own=mine)
    with pytest.raises(ValueError, match="got C01 of 'digits'; try --world \"digits\""):
        agreement.agreement("mnist", ["C01"], own=mine)
    results.write(replace(own, origin=origin | {"code": "other"}), mine / "C01.json")
    with pytest.raises(ValueError, match="got one by other; try `coursekit claims run C01"):
        agreement.agreement("digits", ["C01"], own=mine)
    results.write(own, mine / "C01.json")
    other = replace(clear, word=word)
    before = replace(own, comparisons=tuple(other if c is clear else c for c in own.comparisons))
    monkeypatch.setattr(results, "known", lambda id, world: before)
    said = agreement.agreement("digits", ["C01"], own=mine)
    assert f"clear: {other.found} -> {clear.found}" in said
    assert "1 of 2 words" in said


def test_blocks_of_another_machine_are_measured_anew(ledger, tmp_path, monkeypatch):
    stored(["C01"], tmp_path / "kept")
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.json")}
    stored(["C01"], tmp_path / "kept")
    assert {path: path.stat().st_mtime_ns for path in first} == first
    here = runner.machine()
    monkeypatch.setattr(runner, "machine", lambda: here | {"device": "cuda:0 (another)"})
    stored(["C01"], tmp_path / "kept")
    assert all(path.stat().st_mtime_ns > before for path, before in first.items())


def test_the_command_registers_runs_and_shows(ledger, tmp_path, capsys):
    kept = ["--kept", str(tmp_path / "kept")]
    assert cli.main(["claims", "register"]) == 0
    assert "registered: C01, C02, C03, C04" in capsys.readouterr().out
    assert cli.main(["claims", "run", "--all", *kept]) == 0
    assert "[2/2]" in capsys.readouterr().out
    kept = [results.stored(id) for id in ("C01", "C02", "C03")]
    assert [results.objection(result) for result in kept] == [None] * 3
    mine = str(tmp_path / "mine")
    assert cli.main(["claims", "run", "C01", "--out", mine, "--kept", str(tmp_path / "k")]) == 0
    capsys.readouterr()
    for arguments, words in (
        (["list"], "4 claims: "),
        (["show", "C02"], "Is it quick, and good?"),
        (["show", "--lesson", "04"], "not run yet"),
        (["list", "--headline"], "1 claims: "),
        (["agree", "--world", "mnist1d"], "0 of 0 answers"),
        (["agree", "--mine", mine], "against digits as stored: 2 of 2 answers and 4 of 4 words"),
        (["pages", "--out", str(tmp_path / "pages")], "3 pages in"),
        (["export", "--out", str(tmp_path)], "seeds.csv"),
    ):
        assert cli.main(["claims", *arguments]) == 0
        assert words in capsys.readouterr().out
    for arguments, words in (
        (["run"], "expected claims to run"),
        (["show", "C77"], "a claim of the ledger, got 'C77'"),
        (["list", "--lesson", "77"], "a lesson among 04"),
        (["list", "--world", "moon"], "a world among"),
        (["agree", "--mine", str(tmp_path)], "expected results in "),
    ):
        assert cli.main(["claims", *arguments]) == 1
        assert words in capsys.readouterr().err


# Judged again, by somebody else's code: SciPy and the table of seeds, nothing of the course.


def judged_again(text):
    """Words of all comparisons and answers of all claims, from `seeds.csv` alone."""
    rows, facts = {}, {}
    for row in csv.DictReader(io.StringIO(text)):
        key = row["world"], row["claim"], row["part"], row["condition"]
        if row["holds"]:
            facts[key] = "for" if row["holds"] == "1" else "against"
        else:
            rows.setdefault(key, []).append(row)
    estimates, words, standings = {}, {}, {key: [s] for key, s in facts.items()}
    for key, seeds in rows.items():
        head = seeds[0]
        sign = 1 if head["better"] == "higher" else -1
        d = np.array([float(r["treated"]) - float(r["control"]) for r in seeds])
        d *= sign * float(head["factor"])
        if d.std() > 1e-9 * max(1, abs(d.mean())):
            estimates[key] = d, float(head["se_examples"] or 0), int(head["n_examples"])
    for key, (d, examples, n) in estimates.items():
        family = sum(other[:2] == key[:2] for other in estimates)
        level, m, wants = 0.045 / family, float(rows[key][0]["smallest"]), rows[key][0]["wants"]
        z = scipy.stats.norm.isf(level / 2)
        wider = 1 + abs(scipy.stats.skew(d)) * (2 * z**2 + 1) / (6 * z * len(d) ** 0.5)
        a, b = (wider * d.std(ddof=1)) ** 2 / len(d), examples**2
        df = (a + b) ** 2 / (a**2 / (len(d) - 1) + b**2 / max(n - 1, 1))
        half = scipy.stats.t.isf(level / 2, df) * (a + b) ** 0.5
        low, high = d.mean() - half, d.mean() + half
        word = (
            "helps" if low > m else "hurts" if high < -m
            else "too small to matter" if -m < low and high < m
            else "helps, size open" if low > 0 else "hurts, size open" if high < 0
            else "not yet known"
        )  # fmt: skip
        if wants == "not worse":
            word = "not worse" if low > -m else "worse" if high < -m else "not yet known"
        table = {
            "helps": {"helps": "for", "hurts": "against", "hurts, size open": "against",
                      "too small to matter": "small"},
            "same": {"too small to matter": "for", "helps": "against", "hurts": "against"},
            "not worse": {"not worse": "for", "worse": "against"},
        }  # fmt: skip
        words[key] = word
        standings.setdefault(key, []).append(table[wants].get(word, "open"))
    return words, standings


def answered_again(standings):
    """Answers by (world, claim, part)."""
    parts = {}
    for (world, claim, part, _), found in standings.items():
        parts.setdefault((world, claim, part), set()).update(found)
    return {
        key: "yes" if told == {"for"}
        else "depends" if "for" in told and told & {"against", "small"}
        else "not yet known" if told & {"open", "for"}
        else "the opposite" if "against" in told else "too small to matter"
        for key, told in parts.items()
    }  # fmt: skip


def check_recomputed(found):
    words, standings = judged_again(export.seeds(found))
    answers = answered_again(standings)
    n = 0
    for result in found:
        world = result.origin["world"]
        for c in result.comparisons:
            key = world, result.id, c.condition.part, c.condition.name
            if c.standing != "untested" and c.condition.wants != "exact":
                assert words[key] == c.word, key
                n += 1
        for part, answer in result.parts.items():
            assert answers.get((world, result.id, part), "not tested") == answer
    return n


def test_anybody_reaches_the_same_words_from_the_table_of_seeds(ledger, tmp_path):
    found = stored(["C01", "C02", "C03"], tmp_path / "kept")
    assert check_recomputed(list(found.values())) == 4
    table = list(csv.DictReader(io.StringIO(export.comparisons(list(found.values())))))
    assert len(table) == 6
    assert {row["claim"]: row["answer"] for row in table}["C03"] == "yes"
    assert all(row["record"] and row["code"] and row["date"] for row in table)
    assert (table[0]["n_examples"], table[0]["metric"]) == ("50", "accuracy")


def test_anybody_reaches_the_words_of_the_course():
    check_recomputed(export.settled())
