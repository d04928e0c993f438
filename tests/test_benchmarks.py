"""The stored results are what the program wrote, and it tells a missed target from a met one."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import report
from benchmarks.by_hand import by_hand
from benchmarks.plain import net_of, plain
from benchmarks.workloads import WORKLOADS, Rows, deal, make_net_of, task_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def stored():
    return json.loads((RESULTS / "cpu.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shapes():
    return json.loads((RESULTS / "shapes.json").read_text(encoding="utf-8"))["shapes"]


def test_the_stored_pages_are_made_from_the_stored_measurements(stored, shapes):
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    for row in report.targets(stored, shapes):
        assert f"| {row['text']} | {row['target']} | {row['measured']} | {row['outcome']} |" in page
    assert (RESULTS / "summary.md").read_text(encoding="utf-8") == report.summary(stored, shapes)


def test_the_readme_shows_the_stored_summary_and_figure(stored, shapes):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert report.summary(stored, shapes).strip() in readme
    assert "](benchmarks/results/speed.png)" in readme


def test_the_readme_shows_what_a_gpu_was_measured_to_do():
    from benchmarks import gpu

    record = json.loads((RESULTS / "gpu.json").read_text(encoding="utf-8"))
    assert (RESULTS / "gpu.md").read_text(encoding="utf-8") == gpu.page(record)
    assert gpu.summary(record) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_target_is_met_or_missed_by_what_was_measured(stored, shapes):
    def outcomes(factor):
        scaled = deepcopy(stored)
        for group in ("W1", "W2", "W3"):
            for record in scaled[group]:
                if record["peer"] == "coursekit":
                    record["seconds"] = [factor * seconds for seconds in record["seconds"]]
        scaled["cold"]["coursekit 64"] = [factor * s for s in stored["cold"]["coursekit 64"]]
        faster = deepcopy(shapes)
        for record in faster.values():
            record["ratios"] = {n: ratio / factor for n, ratio in record["ratios"].items()}
        return {row["outcome"] for row in report.targets(scaled, faster)}

    assert outcomes(0.001) == {"met"}
    assert outcomes(1000.0) == {"missed"}


def test_what_was_not_measured_is_no_success(stored):
    without = deepcopy(stored)
    for group in ("W1", "W2", "W3"):
        for record in without[group]:
            record["seconds"], record["error"] = [], "not installed"
    without["cold"] = {}
    assert {row["outcome"] for row in report.targets(without)} == {"not measured"}
    assert any("not installed" in text for text in report.warnings(without))


def test_another_accuracy_is_noticed(stored):
    shifted = deepcopy(stored)
    for record in shifted["W1"]:
        record["plain_accuracies"] = {
            seed: value - 0.05 for seed, value in record["plain_accuracies"].items()
        }
    before, after = (
        next(r for r in report.accuracy_rows(x) if (r["group"], r["peer"]) == ("W1", "plain"))
        for x in (stored, shifted)
    )
    assert not after["within_noise"]
    np.testing.assert_allclose(after["difference"], before["difference"] - 0.05)


def test_the_loop_by_hand_trains_as_the_plain_one(tmp_path):
    workload = replace(WORKLOADS["W1"], epochs=3)
    rows = Rows(deal(workload, tmp_path))
    found = by_hand(workload, rows)([3, 4])()
    np.testing.assert_allclose(found, plain(workload, rows)([3, 4])(), atol=0.002)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_plain_loop_trains_the_same_network(name):
    workload = WORKLOADS[name]
    ours, plain = make_net_of(workload, task_of(workload))(), net_of(workload)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in plain.parameters()]
    assert [type(m).__name__ for m in ours.modules() if type(m).__name__ != "Flatten"] == [
        type(m).__name__ for m in plain.modules() if type(m).__name__ != "Flatten"
    ]


def test_the_benchmark_of_shapes_measures_and_stores_each(monkeypatch, tmp_path, capsys):
    from benchmarks import shapes

    monkeypatch.setitem(shapes.SEEDS, "cpu", (1, 2))
    monkeypatch.setattr(shapes, "SECONDS", 0.001)
    where = ["--out", str(tmp_path)]
    shapes.main(["tiny MLP", *where])
    shapes.main(["GRU", *where])
    page = (tmp_path / "shapes.md").read_text(encoding="utf-8")
    assert "| tiny MLP |" in page, "measured before, on the same machine"
    assert "| GRU |" in page
    assert "one after another: Recurrent cannot be mapped" in page
    assert "tiny MLP" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        shapes.main(["tiny"])
    assert "expected names among tiny MLP" in capsys.readouterr().err


def test_every_shape_has_the_outputs_that_its_task_asks_for():
    from benchmarks import shapes

    for name, shape in shapes.SHAPES.items():
        task = shapes.task_of(shape)
        assert shape.make_net(task)()(task.x[:2]).shape == (2, 10), name
