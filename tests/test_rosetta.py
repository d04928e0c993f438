"""One regularizer in three libraries: each row by its name, and what breaks a row."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from browsing import NARROW, needs_chromium, serving, too_wide, violations, visit

from coursekit import rosetta
from coursekit.rosetta import measure, page
from coursekit.rosetta.measure import ROWS
from coursekit.rosetta.row import LIBRARIES

WITH_TWO = ("torch", "sklearn")
NO_KERAS = f"Keras is not installed: {measure.HOW_TO_GET_KERAS}"
WITHOUT_KERAS = [name for name, row in ROWS.items() if len(row.code.keys() - {"keras"}) > 1]
# Words in a line of the table that are placeholders or comments in code.
PLACEHOLDERS = {"alpha", "ratio", "rows", "layer", "model", "lr", "opt", "optimizer", "net", "step"}


@pytest.fixture(scope="module")
def found():
    return measure.outcomes()


@pytest.mark.parametrize("name", ROWS)
def test_row(found, name):
    one = found[name]
    assert one.error is None
    apart = {pair: off for pair, off in one.off.items() if off > one.row.tolerance}
    assert apart == {}, f"{name}: libraries differ"
    assert one.lacking, f"{name}: what was lacking is there now"
    complete = rosetta.versions()["keras"] or "keras" not in one.row.code
    if not complete:
        pytest.skip(NO_KERAS)
    assert len(one.off) == {1: 0, 2: 1, 3: 3}[len(one.row.code)]
    assert not one.wrong_is_right(max(measure.MOVED, one.row.tolerance)), f"{name}: wrong is right"
    assert one.holds


def test_training_moves_the_weights(found):
    """So that two libraries which do nothing at all are not equal."""
    first = measure.measured(ROWS["L2"].code["torch"])
    assert np.abs(first[0] - first[1]).max() > 0.1


# What breaks a row


def half_as_strong(row):
    return replace(row, code=row.code | {"torch": row.wrong})


def fails(row):
    def broken(steps):
        raise TypeError("unexpected keyword argument 'alpha'")

    return replace(row, code=row.code | {"sklearn": broken})


def gets_it(row):
    return replace(row, missing=lambda: False)


def not_wrong(row):
    return replace(row, wrong=row.code["torch"])


@pytest.mark.parametrize("change", [half_as_strong, fails, gets_it, not_wrong])
def test_a_broken_row_is_seen(change):
    own = replace(ROWS["Classifier"], code={k: ROWS["Classifier"].code[k] for k in WITH_TWO})
    assert measure.judged(own, measure.numbers_of(own)).holds
    row = change(own)
    one = measure.judged(row, measure.numbers_of(row))
    assert not one.holds
    if change is not not_wrong:  # that one is the author's fault, and no reader's business
        assert "broken" in page.line(one) or "differs" in page.line(one)


def test_a_snippet_that_breaks_is_named():
    row = fails(ROWS["Classifier"])
    own = replace(row, code={k: row.code[k] for k in WITH_TWO})
    assert measure.numbers_of(own)["error"].startswith("sklearn: TypeError: unexpected keyword")


def test_stars_in_code_are_stars():
    assert page._rich("`0.9**n` of it, *at* `b*c`") == (
        "<code>0.9**n</code> of it, <em>at</em> <code>b*c</code>"
    )


# Without Keras


@pytest.fixture
def no_keras(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)


def test_without_keras_the_others_are_compared_and_the_page_says_so(no_keras):
    assert rosetta.versions()["keras"] is None
    judged = [measure.judged(ROWS[name], measure.numbers_of(ROWS[name])) for name in WITHOUT_KERAS]
    assert [one.row.name for one in judged if not one.holds] == []
    assert all(one.off for one in judged)
    shown = page.table(judged)
    assert "Keras is not installed here" in shown.markup
    assert measure.HOW_TO_GET_KERAS in repr(shown).replace("&quot;", '"')


def test_a_row_of_keras_and_torch_is_not_compared_without_keras(no_keras):
    one = measure.judged(ROWS["JustMade"], measure.numbers_of(ROWS["JustMade"]))
    assert one.off == {}
    assert one.holds  # as far as it could be run
    assert "not compared" in page.line(one)


# Rows as they are written


def test_each_library_has_code_or_a_reason():
    for row in ROWS.values():
        assert set(row.short) == set(LIBRARIES), row.name
        for library in LIBRARIES:
            has = library in row.code
            assert has == (row.short[library] is not None) == (library not in row.lacks), row.name
        assert (row.missing is None) == (not row.lacks), row.name
        assert len(row.code) >= 2, row.name


def test_the_short_line_is_in_the_snippet():
    """Each name of the table's line stands in the code that was run."""
    apart = {}
    for row in ROWS.values():
        for library, function in row.code.items():
            short = row.short[library].partition("  # ")[0]
            names = set(re.findall(r"[A-Za-z_]{4,}", short)) - PLACEHOLDERS
            code = row.source(library)
            absent = {name for name in names if name not in code}
            if absent and function and row.name != "Network":
                apart[row.name, library] = absent
    assert apart == {}


def test_names_of_rows_are_told_when_one_is_unknown():
    with pytest.raises(ValueError, match="expected a row, got 'Dropuot'; try one of L2"):
        rosetta.show("Dropuot")


def test_what_one_looks_for_is_found():
    assert "Decoupled" in rosetta.find("AdamW")
    assert rosetta.find("no such word") == []


def test_an_argument_leads_to_its_rows():
    lines = page.index(ROWS.values())
    assert [row.name for row in lines["cooldown"]] == ["Cooldown"]
    assert {"AdamEpsilon", "Layer", "Network"} <= {row.name for row in lines["eps"]}
    for word, rows in lines.items():
        for row in rows:
            assert word in rosetta._text(row)
    assert {row.name for rows in lines.values() for row in rows} == set(ROWS)
    markup = page.table(
        [measure.Outcome(row, {}, None, True, None) for row in ROWS.values()]
    ).markup
    for target in re.findall(r'href="#([^"]+)"', markup):
        assert f'id="{target}"' in markup


def test_what_a_snippet_calls_is_shown():
    shown = page.helpers().markup
    for name in ("fit_torch", "fit_keras", "fit_sklearn", "linear", "drive"):
        assert f"def {name}(" in shown
    assert "CURVE = (1.0, 0.7" in shown


ROUNDED = """
import numpy as np, torch
from coursekit.rosetta.measure import ROWS
from coursekit.rosetta.shared import fit_torch, linear
kept = float(np.float32(0.999))
def off(beta):
    net = linear()
    optimizer = torch.optim.AdamW(net.parameters(), 0.01, weight_decay=0.0)
    t = iter(range(1, 51))
    def as_keras(*_):
        step = next(t)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * ((1 - beta**step) / (1 - 0.999**step)) ** 0.5
            group["eps"] = 1e-7 / (1 - 0.999**step) ** 0.5
    optimizer.register_step_pre_hook(as_keras)
    mine = fit_torch(net, optimizer, 50)
    return max(abs(mine[part] - other[part]).max() for part in mine)
from coursekit.rosetta.shared import fit_keras, keras
model = keras.Sequential([keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.01), "mse")
other = fit_keras(model, 50)
import json
print(json.dumps([float(off(0.999)), float(off(kept))]))
"""


@pytest.mark.skipif(rosetta.versions()["keras"] is None, reason=NO_KERAS)
def test_what_is_left_between_two_adams_is_a_rounded_number():
    """Row *Decoupled decay* says so: Keras corrects with 0.999 in 32 bits."""
    exact, rounded = measure._run(ROUNDED, [])
    assert rounded < 5e-7 < 2e-6 < exact


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (3.2e-8, "3e−8"), (0.0712, "0.071"), (18.0, "18"), (1804, "1804")],
)
def test_numbers(value, words):
    assert page.number(value) == words


# The page


@pytest.fixture
def written(found, tmp_path):
    html = f"<!doctype html><html lang='en'><title>t</title><meta name='viewport' content='width=device-width'><main><h1>t</h1>{rosetta.table()._repr_html_()}</main>"  # noqa: E501
    (tmp_path / "t.html").write_text(html, encoding="utf-8")
    return tmp_path


@needs_chromium
def test_a_row_unfolds_by_keyboard(browser, written):
    with visit(browser, written / "t.html") as (shown, heard):
        from playwright.sync_api import expect

        summary = shown.locator("td.more summary").first
        inside = shown.locator("td.more .boxes").first
        expect(inside).to_be_hidden()
        for _ in range(3):
            if summary.evaluate("e => e === document.activeElement"):
                break
            shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")
        expect(inside).to_be_visible()
        assert inside.locator("pre").count() >= 3
        assert heard == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_rows_open_are_accessible_and_fit_a_telephone(browser, written, scheme):
    dark = "<style>body{background:#161616}</style>" if scheme == "dark" else ""
    path = written / "t.html"
    path.write_text(path.read_text(encoding="utf-8") + dark, encoding="utf-8")
    with serving(written) as address:
        context = browser.new_context(viewport=NARROW, color_scheme=scheme)
        shown = context.new_page()
        shown.goto(f"{address}/t.html")
        shown.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert too_wide(shown) == []
        assert violations(shown) == []
        context.close()
