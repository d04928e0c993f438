"""The ledger as tables: `ledger.csv`, a row per comparison, and `seeds.csv`, a row per seed.

`seeds.csv` alone is enough to judge everything again: the rule, declared and simple, needs each
seed's two scores, the standard error of the test examples, the smallest effect, and what is asked.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from coursekit.ledger import record, results, worlds
from coursekit.ledger.results import Result
from coursekit.ledger.runner import FIRST_SEED
from coursekit.results.files import replace_file

OF_A_COMPARISON = (
    "world", "claim", "part", "condition", "question", "answer", "part_answer", "word", "standing",
    "wants", "expected", "metric", "unit", "smallest", "better", "control", "treated",
    "mean_control", "mean_treated", "difference", "low", "high", "level", "se_seeds",
    "se_examples", "df", "n_seeds", "n_examples", "note", "lesson", "headline", "version", "record",
    "rule", "code", "registered", "date", "commit", "coursekit", "torch",
)  # fmt: skip
OF_A_SEED = (
    "world", "claim", "part", "condition", "wants", "better", "unit", "factor", "smallest",
    "se_examples", "n_examples", "seed", "control", "treated", "holds",
)  # fmt: skip


def settled(ids: Iterable[str] = ()) -> list[Result]:
    """All stored results of some claims, or of all, in every world."""
    ids = list(ids) or list(record.records())
    found = (results.known(id, world) for world in worlds.WORLDS for id in ids)
    return [result for result in found if result is not None]


def comparisons(found: Iterable[Result]) -> str:
    """`ledger.csv`: a row per comparison."""
    rows, registry = [], results.registry()
    for result in found:
        own, origin = result.record, result.origin
        registered = registry.get(own.id, [{}])[0].get("date", "")
        for c in result.comparisons:
            means = c.means if c.control is not None else ("", "")
            rows.append(
                {
                    "world": origin["world"],
                    "claim": own.id,
                    "part": c.condition.part,
                    "condition": c.condition.name,
                    "question": own.parts.get(c.condition.part, own.question),
                    "answer": result.answer,
                    "part_answer": result.parts[c.condition.part],
                    "word": c.word,
                    "standing": c.standing,
                    "expected": c.condition.expect,
                    "mean_control": means[0],
                    "mean_treated": means[1],
                    "se_seeds": c.s_seeds,
                    "se_examples": c.s_examples,
                    "n_examples": results.n_examples(c),
                    "registered": registered,
                    "lesson": own.lesson,
                    "headline": own.headline,
                }
                | {k: getattr(c.condition, k) for k in OF_A_COMPARISON if hasattr(c.condition, k)}
                | {k: getattr(c, k) for k in ("difference", "low", "high", "level", "df")}
                | {"n_seeds": c.n_seeds, "note": c.note}
                | {k: origin[k] for k in ("version", "record", "rule", "code", "date", "commit")}
                | {k: origin[k] for k in ("coursekit", "torch")}
            )
    return _table(OF_A_COMPARISON, rows)


def seeds(found: Iterable[Result]) -> str:
    """`seeds.csv`: a row per seed of each comparison, and one for each exact fact."""
    rows = []
    for result in found:
        for c in result.comparisons:
            own = c.condition
            head = {"world": result.origin["world"], "claim": result.id, "condition": own.name}
            head |= {k: getattr(own, k) for k in ("part", "wants", "better", "unit", "factor")}
            head |= {"smallest": own.smallest}
            if own.wants == "exact" and c.standing != "untested":
                rows.append(head | {"holds": int(c.word == "holds")})
            if c.control is None:
                continue
            head |= {"se_examples": c.s_examples, "n_examples": results.n_examples(c)}
            pairs = zip(c.control.scores, c.treated.scores, strict=True)
            for seed, (control, treated) in enumerate(pairs, FIRST_SEED):
                rows.append(head | {"seed": seed, "control": control, "treated": treated})
    return _table(OF_A_SEED, rows)


def _table(columns: tuple[str, ...], rows: Iterable[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {k: "" if v != v else v for k, v in row.items()}  # NaN: nothing there
        writer.writerow({k: _short(v) for k, v in plain.items()})
    return text.getvalue()


def _short(value: object) -> object:
    return f"{value:.9g}" if isinstance(value, float) else value


def write(folder: Path, ids: Iterable[str] = ()) -> list[Path]:
    """Write both tables into a folder; return their paths."""
    found = settled(ids)
    made = {"ledger.csv": comparisons(found), "seeds.csv": seeds(found)}
    for name, text in made.items():
        replace_file(folder / name, text.encode())
    return [folder / name for name in made]
