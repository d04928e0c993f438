"""From measurements to tables: medians of ratios, targets met or missed, accuracies compared.

Works on the record that `run.py` writes (results/cpu.json) and on nothing else, so the tables can
be made anew without measuring: every number and every "met" is computed here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

ALPHA = 0.01  # chance of one false alarm among all comparisons of accuracies
FEWEST = 5  # seeds for a comparison of accuracies
QUIET = 0.15  # more than this share of the processors used by others, and the report warns


def find(results: Mapping, group: str, peer: str, n: int = 1) -> dict | None:
    """The measurements of a competitor, or None if it did not run."""
    for record in results[group]:
        if (record["peer"], record["n"]) == (peer, n) and record["seconds"]:
            return record
    return None


def ratios(a: Mapping | None, b: Mapping | None) -> np.ndarray | None:
    """Time of a over time of b, round by round."""
    if a is None or b is None:
        return None
    n = min(len(a["seconds"]), len(b["seconds"]))
    return np.array(a["seconds"][:n]) / np.array(b["seconds"][:n])


def to_plain(record: Mapping | None) -> np.ndarray | None:
    """Time over that of the plain loop just before and after, round by round."""
    return None if record is None else np.array(record["seconds"]) / np.array(record["plain"])


def pace(results: Mapping) -> float:
    """Milliseconds of the plain loop on W1: what ratios are turned into times with."""
    return 1000 * float(np.median([s for record in results["W1"] for s in record["plain"]]))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """25 %, median, 75 %."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def targets(results: Mapping, shapes: Mapping | None = None) -> list[dict]:
    """The project's targets, each with what was measured and whether it is met.

    `shapes` is the record of `benchmarks.shapes`, (name: ratios by number of seeds), if there is
    one. A target without measurements has the outcome "not measured".
    """
    rows: list[dict] = []

    def add(text: str, sign: str, limit: float, middle: float | None, spread: str = "") -> None:
        row = {"text": text, "target": f"{sign} {limit:g}x", "measured": "-"}
        if middle is None:
            rows.append(row | {"outcome": "not measured"})
            return
        met = middle <= limit if sign == "at most" else middle >= limit
        measured = f"{middle:.2f}x ({spread})"
        rows.append(row | {"measured": measured, "outcome": "met" if met else "missed"})

    def add_time(text: str, limit: float, values: np.ndarray | None) -> None:
        if values is None or not len(values):
            add(text, "at most", limit, None)
        else:
            low, middle, high = quartiles(values)
            add(text, "at most", limit, middle, f"{low:.2f} to {high:.2f}")

    ours = find(results, "W1", "coursekit", 64)
    by_hand = find(results, "W1", "by_hand", 64)
    add_time("W1, 64 networks: time, in that of a loop by hand", 1.05, ratios(ours, by_hand))
    jax = find(results, "W1", "jax", 64)
    add_time("W1, 64 networks: time, in JAX's, both warm", 1, ratios(ours, jax))
    cold = results["cold"]
    both = cold.get("coursekit 64"), cold.get("jax 64")
    values = np.divide(*both) if all(both) else None
    add_time("W1, 64 networks: time, in JAX's, from a cold start", 1, values)

    def add_slowest(
        text: str, limit: float, n_networks: Sequence[str], planar: bool = False
    ) -> None:
        found = [
            (record["ratios"][n], f"{name}, {n}")
            for name, record in (shapes or {}).items()
            for n in n_networks
            if record["planar"] or not planar
        ]
        add(text, "at least", limit, *(min(found) if found else (None,)))

    add_slowest("Slowest of all shapes, 4 to 64 networks: speed, in the plain loop's",
                1, ("4", "16", "64"))  # fmt: skip
    add_slowest("Slowest 2-D CNN, 16 networks: speed, in the plain loop's", 1.2, ("16",), True)
    add_slowest("Slowest of all shapes, one network: speed, in the plain loop's", 0.95, ("1",))
    return rows


def accuracy_rows(results: Mapping) -> list[dict]:
    """Mean accuracy of each competitor, and its difference to coursekit's on the same seeds."""
    rows = []
    for group in ("W1", "W2", "W3"):
        ours: dict[str, float] = {}
        for record in results[group]:
            if record["peer"] == "coursekit":
                ours |= record["accuracies"]
        others: dict[str, dict[str, float]] = {}
        for record in results[group]:
            if record["peer"] != "coursekit":
                others.setdefault(record["peer"], {}).update(record["accuracies"])
            others.setdefault("plain", {}).update(record["plain_accuracies"])
        for peer, accuracies in [("coursekit", ours), *others.items()]:
            if len(accuracies) < 2:
                continue
            values = np.array(list(accuracies.values()))
            row = {"group": group, "peer": peer, "n": len(values), "mean": values.mean()}
            row["error"] = values.std(ddof=1) / len(values) ** 0.5
            common = [seed for seed in accuracies if seed in ours]
            if peer != "coursekit" and len(common) >= FEWEST:
                paired = np.array([accuracies[seed] - ours[seed] for seed in common])
                row |= {"common": len(paired), "difference": paired.mean()}
                row["difference_error"] = paired.std(ddof=1) / len(paired) ** 0.5
            rows.append(row)
    n_compared = sum("difference" in row for row in rows)
    for row in rows:
        if "difference" in row:
            # Of normal differences: the share of all chance that this comparison may take.
            limit = student.ppf(1 - ALPHA / n_compared / 2, row["common"] - 1)
            row["within_noise"] = bool(abs(row["difference"]) <= limit * row["difference_error"])
    return rows


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def speed_table(results: Mapping, group: str) -> str:
    """Time per network of all competitors on a workload."""
    rows = []
    for record in results[group]:
        label = f"**{record['label']}**" if record["peer"] == "coursekit" else record["label"]
        if not record["seconds"]:
            rows.append([label, record["error"] or "no round", "", ""])
            continue
        low, middle, high = quartiles(to_plain(record))
        ms = 1000 * np.median(record["seconds"])
        rows.append([label, f"{ms:.1f}", f"{middle:.2f} ({low:.2f} to {high:.2f})", times(middle)])
    header = ["", "ms per network", "in plain loops (quartiles)", "speed"]
    return table(header, rows)


def times(ratio: float) -> str:
    """A time ratio in words: how many times faster or slower than the plain loop."""
    if 0.95 < ratio < 1.05:
        return "the same"
    return f"{1 / ratio:.1f}x faster" if ratio < 1 else f"{ratio:.1f}x slower"


def growth_table(results: Mapping) -> str:
    rows = []
    for record in results["growth"]:
        if record["seconds"]:
            ms, plain = (1000 * np.median(record[key]) for key in ("seconds", "plain"))
            speed = times(np.median(to_plain(record)))
            rows.append([record["variant"], str(record["n"]), f"{ms:.1f}", f"{plain:.1f}", speed])
    header = ["W1, but", "networks", "ms per network", "plain loop, ms", "coursekit is"]
    return table(header, rows)


def memory_table(results: Mapping) -> str:
    rows = []
    for n, entry in results["memory"].items():
        taken = entry["peak_bytes"]
        each = "not known here" if taken is None else f"{taken / int(n) / 1e6:.2f}"
        expected = entry["expected_bytes"]
        rows.append([n, each, "-" if expected is None else f"{expected / 1e6:.2f}"])
    return table(["networks", "MB per network, measured", "MB per network, expected"], rows)


def start_table(results: Mapping) -> str:
    rows = []
    for name, seconds in results["cold"].items():
        peer, n = name.rsplit(" ", 1)
        record = find(results, "W1", peer, int(n))
        total = float(np.median(seconds))
        steady = int(n) * float(np.median(record["seconds"])) if record else float("nan")
        label = record["label"] if record else name
        rows.append(
            [label, f"{total - steady:.1f}", f"{total:.1f}", f"{1000 * total / int(n):.0f}"]
        )
    header = ["", "start-up, s", "start-up and first training, s", "per network, ms"]
    return table(header, rows)


def accuracy_table(results: Mapping, labels: Mapping[str, str]) -> str:
    rows = []
    for row in accuracy_rows(results):
        mean = f"{100 * row['mean']:.2f} ± {100 * row['error']:.2f}"
        difference, verdict = (
            "",
            "" if row["peer"] == "coursekit" else "not compared: too few common seeds",
        )
        if "difference" in row:
            difference = f"{100 * row['difference']:+.2f} ± {100 * row['difference_error']:.2f}"
            verdict = "within noise of ours" if row["within_noise"] else "**WARNING: differs**"
        rows.append(
            [f"{row['group']}, {labels[row['peer']]}", str(row["n"]), mean, difference, verdict]
        )
    header = ["", "seeds", "accuracy, %", "minus ours, same seeds", ""]
    return table(header, rows)


def warnings(results: Mapping) -> list[str]:
    """What a reader must know before believing the numbers."""
    found = []
    busy = results["machine"]["others"]
    if busy is not None and busy > QUIET:
        found.append(
            f"other programs used {100 * busy:.0f} % of the processors meanwhile; with two threads "
            "that wait for each other, times are then far off. Run again on a quiet machine"
        )
    low, middle, high = quartiles([s for r in results["W1"] for s in r["plain"]] or [np.nan])
    if (high - low) / middle > 0.2:
        found.append(f"the plain loop itself took {1000 * low:.0f} to {1000 * high:.0f} ms on W1")
    missing = {r["label"]: r["error"] for g in ("W1", "W2", "W3") for r in results[g] if r["error"]}
    found += [f"{label} is left out: {error}" for label, error in missing.items()]
    return found


def page(results: Mapping, labels: Mapping[str, str], shapes: Mapping | None = None) -> str:
    """results/README.md."""
    machine, versions = results["machine"], results["versions"]
    wanted = targets(results, shapes)
    parts = [
        "# What was measured\n",
        "Written by `make bench`; how it is measured and how to read it: "
        "[../README.md](../README.md).\n",
        f"{results['date']}, commit {results['commit']}, {machine['processor']}, "
        f"{machine['cores']} cores, {machine['threads']} threads, Python {versions['python']}; "
        + ", ".join(f"{name} {v}" for name, v in versions.items() if v and name != "python")
        + f". Rounds: {results['rounds']}; {results['seconds'] / 60:.0f} minutes in all.\n",
        *(f"> **Warning:** {text}.\n" for text in warnings(results)),
        "![Time to train one network](speed.png)\n",
        f"## Targets: {sum(row['outcome'] == 'met' for row in wanted)} of {len(wanted)} met\n",
        table(
            ["", "target", "measured (quartiles)", ""],
            [[row["text"], row["target"], row["measured"], row["outcome"]] for row in wanted],
        ),
    ]
    for group, title in results["titles"].items():
        parts += [f"## {group}: {title}\n", speed_table(results, group)]
    parts += ["## Start-up\n", start_table(results)]
    parts += ["## Growth\n", growth_table(results), memory_table(results)]
    parts += ["## Accuracy\n", accuracy_table(results, labels)]
    return "\n".join(parts)


def summary(results: Mapping, shapes: Mapping | None = None) -> str:
    """results/summary.md: some lines about speed, for the project's own README."""
    lines = []

    def add(text: str, record: Mapping | None) -> None:
        if record:
            ratio = np.median(to_plain(record))
            lines.append(f"| {text} | {ratio * pace(results):.0f} | {times(ratio)} |")

    for n in (1, 16, 64):
        how = "one alone" if n == 1 else f"{n} side by side"
        add(f"coursekit, {how}", find(results, "W1", "coursekit", n))
    add("JAX `jit(vmap(scan))`, 64", find(results, "W1", "jax", 64))
    add("Lightning, barebones", find(results, "W1", "lightning"))
    lines.insert(0, f"| plain PyTorch loop | {pace(results):.0f} | |")
    w1, machine, met = results["titles"]["W1"], results["machine"], targets(results, shapes)
    n_met = sum(row["outcome"] == "met" for row in met)
    return (
        f"One network ({w1}, 20 epochs) on {machine['threads']} threads of "
        f"{machine['processor']}:\n\n"
        "| | ms per network | against the plain loop |\n| --- | ---: | --- |\n"
        + "\n".join(lines)
        + f"\n\n`make bench` measures this anew, beside its peers; {n_met} of {len(met)} targets "
        "are met: [benchmarks](benchmarks/results/README.md).\n"
    )
