"""The curve through twenty points: the browser's algebra against numpy, the bars against new sets,
and what the reader sees only where he or she has been."""

import numpy as np
import pytest
from browsing import counted, eventually

from coursekit import explorers
from coursekit.explorers import curve

CASES = [(4, 0, 0, 1), (13, 0.1, 0, 2), (19, 0, 0, 3), (20, 0, 0, 1), (20, 0, 1, 4)]
CASES += [(20, 0.001, 0, 4), (22, 0, 0, 4), (60, 1, 1, 1), (400, 0, 0, 999), (400, 10, 0, 5)]


@pytest.fixture
def page(browser, tmp_path):
    path = tmp_path / "curve.html"
    path.write_text(explorers.show("curve").page(), encoding="utf-8")
    page, heard = browser.new_page(viewport={"width": 1100, "height": 900}), []
    page.on("console", lambda m: heard.append(m.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert heard == []


# Numbers in the browser

FITS = """async ([module, cases]) => {
    const blob = new Blob([module], { type: "text/javascript" });
    const own = await import(URL.createObjectURL(blob));
    return cases.map(([p, ridge, even, draw]) => {
        const t = own.places(draw, even), e = own.draws(draw, 2)[1];
        const y = t.map((x, i) => own.truth(x) + 0.3 * e[i]), parts = own.takeApart(t, p);
        const w = own.weights(parts, y, ridge);
        const { bias2, variance } = own.biasVariance(parts, t, 0.3, ridge);
        return {
            t: [...t], e: [...e], s: parts.s, curve: [...own.curve(parts, y, ridge)],
            length: Math.hypot(...w), error: own.error(parts, w), bias2, variance,
        };
    });
}"""


def fits(browser, module):
    page = browser.new_page()
    answer = page.evaluate(FITS, [module, CASES])
    page.close()
    return answer


def by_numpy(parameters, ridge, even, draw):
    """The same by the textbook: no singular values, except for the fit without a penalty."""
    t = curve.even() if even else curve.places(draw)
    e = curve.draws(draw, 2)[:, 1]
    x, new = curve.features(t, parameters), curve.features(curve.GRID, parameters)
    if ridge:
        maps = np.linalg.solve(x.T @ x + ridge * np.eye(parameters), x.T)  # (P, N)
    else:
        maps = np.linalg.pinv(x, rcond=1e-15)
    w, hat = maps @ (curve.truth(t) + 0.3 * e), new @ maps
    return {
        "t": t,
        "e": e,
        "s": np.linalg.svd(x, compute_uv=False),
        "curve": new @ w,
        "length": np.linalg.norm(w),
        "error": ((new @ w - curve.truth(curve.GRID)) ** 2).mean(),
        "bias2": ((hat @ curve.truth(t) - curve.truth(curve.GRID)) ** 2).mean(),
        "variance": 0.09 * (hat**2).sum(1).mean(),
    }


def differing(found):
    """Which numbers of which case differ from numpy's."""
    out = []
    for case, own in zip(CASES, found, strict=True):
        for name, value in by_numpy(*case).items():
            # Twenty parameters: rounding is divided by the smallest singular value as well.
            size = np.abs(value).max()
            close = np.allclose(own[name], value, rtol=1e-6, atol=1e-6 * min(size, 1e6))
            out += [] if close else [(case, name)]
    return out


def test_the_browser_fits_as_numpy_does(browser):
    assert differing(fits(browser, explorers.bundle("curve"))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sweep < 40", "sweep < 2"),
        ("r[j][i] += g", "r[j][i] = g"),
        ("s / (s * s + ridge) * dot", "1 / (s + ridge) * dot"),
        ("noise ** 2 * variance", "noise * variance"),
        ("100000 + draw", "draw"),
        ("/ Math.max(1, k)", ""),
        ("- 2 * toTruth[i]", "- toTruth[i]"),
    ],
)
def test_the_comparison_catches(browser, old, new):
    module = explorers.bundle("curve")
    assert module.count(old) == 1, old
    assert differing(fits(browser, module.replace(old, new)))


@pytest.mark.parametrize(("parameters", "ridge"), [(10, 0), (20, 0.1), (400, 0)])
def test_bias_and_variance_are_what_many_draws_give(parameters, ridge):
    t = curve.places(1)
    parts = curve.take_apart(t, parameters)
    y = curve.truth(t)[:, None] + 0.3 * np.random.default_rng(0).normal(size=(curve.N, 4000))
    many = curve.curve(parts, y, ridge)  # (G, draws)
    bias2, variance = curve.bias_variance(parts, t, 0.3, ridge)
    errors = ((many - curve.truth(curve.GRID)[:, None]) ** 2).mean(0)
    assert many.var(1).mean() == pytest.approx(variance, rel=0.1)
    assert errors.mean() == pytest.approx(bias2 + variance, abs=5 * errors.std() / 4000**0.5)


# The stored bars


def test_new_sets_of_points_fall_into_the_bars_eight_times_in_ten():
    own, rng, inside = explorers.stored("curve"), np.random.default_rng(99), []
    at = [own["parameters"].index(p) for p in (4, 20, 25, 400)]
    for _ in range(100):
        found = {}
        t, e = np.sort(rng.uniform(-1, 1, curve.N)), rng.normal(size=curve.N)
        for i in at:
            found[i] = curve.errors(t, e, own["parameters"][i])
        for key, band in own["bands"]["0"].items():
            noise, ridge = map(float, key.split())
            a, b = curve.NOISE.index(noise), curve.RIDGE.index(ridge)
            for i in at:
                low, _, high = (10 ** (v[i] / 100) for v in band)
                inside.append((key, i, low <= found[i][a, b] <= high))
    for key in own["bands"]["0"]:
        for i in at:
            share = np.mean([hit for k, j, hit in inside if (k, j) == (key, i)])
            assert 0.62 <= share <= 0.95, (key, i)  # four standard errors of both, about


def test_the_bars_say_what_the_lesson_says():
    middle = {
        p: 10 ** (explorers.stored("curve")["bands"]["0"]["0.3 0"][1][i] / 100)
        for i, p in enumerate(explorers.stored("curve")["parameters"])
    }
    assert max(middle, key=middle.get) == curve.N
    assert middle[20] > 1e6
    assert middle[400] < 0.2
    evenly = explorers.stored("curve")["bands"]["1"]["0.3 0"][1]
    assert max(evenly) < -50  # nowhere above 0.3: no peak


def test_the_command_makes_the_stored_bars(monkeypatch):
    monkeypatch.setattr(curve, "PARAMETERS", (4, 400))
    again, own = curve.measure()["bands"], explorers.stored("curve")
    at = [own["parameters"].index(p) for p in (4, 400)]
    for even, bands in again.items():
        for key, band in bands.items():
            assert np.abs(np.array(band) - np.array(own["bands"][even][key])[:, at]).max() <= 1


# The page


def test_it_opens_where_nothing_is_answered(page):
    opening = {"parameters": 4, "noise": 0.3, "ridge": 0, "even": 0, "fan": 0, "draw": 1}
    assert explorers.show("curve").state == opening
    assert page.get_attribute(".error", "aria-label").count("parameters") == 1
    page.click(".numbers summary")
    counted(page, ".numbers tbody tr", 1)
    assert "10⁴" not in page.text_content(".error")  # the axis does not tell of the peak


def test_the_trail_shows_where_the_reader_has_been(page):
    page.focus("input.parameters")
    for _ in range(16):
        page.keyboard.press("ArrowRight")
    assert page.get_attribute(".error polyline", "points").count(",") == 17
    assert page.inner_text(".say").startswith("20 parameters, no penalty: the curve passes through")
    assert "10⁴" in page.text_content(".error")
    told = page.get_attribute(".error", "aria-label")
    assert told.count("parameters") == 17
    assert "20 parameters 370 thousand" in told
    page.focus("input.ridge")
    page.keyboard.press("End")
    counted(page, ".error polyline", 2)  # with the penalty, and without
    assert "20 parameters, ridge 10: the curve misses its own" in page.inner_text(".say")


def test_every_control_moves_picture_and_sentence(page):
    looks = """() => [".say", "[data-picture]", ".error"]
        .map(part => document.querySelector(part).innerHTML)"""
    acts = {
        "new points": lambda: page.click(".again"),
        "evenly": lambda: page.check(".even label:last-child input"),
        "fan": lambda: page.check("input.fan"),
        "noise": lambda: (page.focus("input.noise"), page.keyboard.press("End")),
        "ridge": lambda: (page.focus("input.ridge"), page.keyboard.press("ArrowRight")),
    }
    before = page.evaluate(looks)
    for name, act in acts.items():
        act()
        after = page.evaluate(looks)
        assert all(a != b for a, b in zip(before, after, strict=True)), name
        before = after
    state = "#parameters=4&noise=0.5&ridge=0.0001&even=1&fan=1&draw=2"
    eventually(page, "location.hash", state)
    assert eval(page.inner_text(".line")).state == {
        "parameters": 4, "noise": 0.5, "ridge": 0.0001, "even": 1, "fan": 1, "draw": 2
    }  # fmt: skip
    counted(page, "[data-picture] path[opacity]", 40)


def test_a_wrong_address_is_mended(page):
    page.goto(page.url.split("#")[0] + "#parameters=21.4&noise=-5&ridge=<b>&even=7&draw=0")
    page.reload()
    assert page.inner_text(".say").startswith("21 parameters, no penalty")


LATENCY = """name => {
    const slider = document.querySelector("input." + name), best = [];
    for (let round = 0; round < 6; round++) for (let k = 0; k < 40; k++) {
        slider.value = (7 * k) % (+slider.max + 1);
        const start = performance.now();
        slider.dispatchEvent(new Event("input"));
        document.body.getBoundingClientRect();
        best[k] = Math.min(best[k] ?? Infinity, performance.now() - start);
    }
    return best.sort((a, b) => a - b)[38];
}"""


def test_redraw_is_quick(page):
    page.check("input.fan")
    for name in ("parameters", "ridge", "noise"):
        took = page.evaluate(LATENCY, name)  # the best of six: other programs interrupt
        print(f"{name}: redraw, 95th percentile: {took:.1f} ms")
        assert took < 50
