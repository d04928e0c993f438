"""Figures: what is drawn is what the data say, and every picture carries its text."""

import base64
import re
import warnings
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy
from matplotlib.colors import to_hex

from coursekit import explorers, plots
from coursekit.judge import Verdict
from coursekit.ledger import rule
from coursekit.plots import COLORS, OUTCOME_COLORS, figure


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed in a notebook."""
    pictures = []
    monkeypatch.setattr(plots, "display", lambda data, raw: pictures.append(data))
    monkeypatch.setattr(plots.InteractiveShell, "initialized", lambda: True)
    return pictures


def drawing_of(data):
    """The SVG inside what was displayed."""
    [encoded] = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', data["text/html"])
    return base64.b64decode(encoded).decode()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def verdict(mean, half=0.4, smallest=1.0, unit="points"):
    return Verdict("", (mean - half, mean, mean + half), 1, smallest, unit)


# Figures


def test_a_figure_is_a_picture_with_its_text(shown):
    with figure("A line that rises.") as ax:
        ax.plot([0, 1])
    [data] = shown
    assert ElementTree.fromstring(drawing_of(data)).tag.endswith("svg")
    assert data["text/plain"] == "A line that rises."
    assert 'alt="A line that rises."' in data["text/html"]
    assert not plt.get_fignums()


def test_a_text_with_quotes_and_brackets_stays_a_text():
    html = plots.image("<svg/>", 'Loss < 1, the "best"')
    assert 'alt="Loss &lt; 1, the &quot;best&quot;"' in html
    with pytest.raises(ValueError, match="what the figure shows"):
        plots.image("<svg/>", " ")


def busy():
    fig, axes = plt.subplots(1, 3, figsize=(12, 4))
    random = np.random.default_rng(0)
    for ax in axes:
        ax.plot(random.normal(size=10_000).cumsum())
        ax.scatter(random.random(3000), random.random(3000))
        ax.imshow(random.random((28, 28)), cmap="gray")
    return fig


def test_the_same_drawing_gives_the_same_bytes_without_date_or_version():
    drawings = []
    for _ in range(2):
        with plt.rc_context(plots.STYLE):
            fig, ax = plt.subplots()
            plots.curves(ax, np.arange(12.0).reshape(3, 4), "loss", "val")
            drawings.append(plots.svg(fig))
            plt.close(fig)
    assert drawings[0] == drawings[1]
    assert not re.search(r"matplotlib|<dc:|metadata", drawings[0])


def test_thousands_of_points_become_an_image():
    fig = busy()
    for ax in fig.axes:
        ax.images[0].remove()
    drawing = plots.svg(fig)
    plt.close(fig)
    assert "data:image/png" in drawing
    assert len(re.sub(r'data:image/png[^"]*', "", drawing)) < 40_000
    fig, ax = plt.subplots()
    ax.plot(range(100))
    assert "data:image/png" not in plots.svg(fig)
    plt.close(fig)


def test_a_compact_drawing_is_the_same_drawing():
    """Every reference in it still leads somewhere, and every class has its rule."""
    with plt.rc_context(plots.STYLE):
        fig, ax = plt.subplots()
        plots.curves(ax, np.random.default_rng(0).random((4, 9)), "loss", "val")
        ax.set(title="It falls", xscale="log")
        drawing = plots.svg(fig)
        plt.close(fig)
    names = re.findall(r'\bid="([^"]+)"', drawing)
    assert len(set(names)) == len(names)
    used = re.findall(r'xlink:href="#([^"]+)"|url\(#([^)]+)\)', drawing)
    assert {a or b for a, b in used} == set(names)
    assert 'style="' not in drawing
    for name in set(re.findall(r'class="(\w+)"', drawing)):
        assert f".{name}{{" in drawing


def test_a_drawing_turns_dark_with_its_page():
    with plt.rc_context(plots.STYLE):
        fig, ax = plt.subplots()
        plots.curves(ax, np.ones((3, 20)), "loss", "treated")
        light, dark = plots.svg(fig).split("@media screen and (prefers-color-scheme:dark)")
        plt.close(fig)
    for color in (plots.WHITE, plots.BLACK, COLORS["treated"], plots.INK["treated"]):
        assert color in light
        assert plots.DARK[color] in dark
    assert plots.WHITE not in dark


def test_a_sentence_is_markdown_with_the_same_plain_text(shown, capsys):
    plots.sentence("**3 points** more")
    assert shown == [{"text/markdown": "**3 points** more", "text/plain": "**3 points** more"}]
    assert capsys.readouterr().out == ""


def test_without_a_notebook_the_words_are_printed(capsys):
    plots.sentence("3 points more")
    plots.rich("<b>x</b>", "x")
    assert capsys.readouterr().out == "3 points more\nx\n"


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_a_text_is_refused(alt):
    with pytest.raises(ValueError, match="what the figure shows"), figure(alt):
        pass
    assert not plt.get_fignums()


@pytest.mark.parametrize("panels", [0, 4])
def test_too_many_panels_are_refused(panels):
    with pytest.raises(ValueError, match=f"1 to 3 panels, got {panels}"), figure("x", panels):
        pass


@pytest.mark.parametrize("panels", [2, 3])
def test_panels_side_by_side(shown, panels):
    with figure("Panels.", panels) as axes:
        assert len(axes) == panels
        assert axes[0].figure.get_size_inches()[0] == pytest.approx(plots.PANEL[0] * panels)
    with figure("Wide.", width=9, height=2) as ax:
        assert ax.figure.get_size_inches().tolist() == [9, 2]
    assert len(shown) == 2


def test_an_error_inside_closes_the_figure_and_shows_nothing(shown):
    with pytest.raises(RuntimeError), figure("Never seen."):
        raise RuntimeError
    assert not shown
    assert not plt.get_fignums()


def test_the_style_stays_inside(shown):
    before = dict(plt.rcParams)
    with figure("Style.") as ax:
        assert plt.rcParams["axes.grid"]
        assert not ax.spines["top"].get_visible()
    assert dict(plt.rcParams) == before


def test_no_window_opens():
    assert plt.get_backend().lower() == "agg"


# Curves


def test_curves_draw_the_median_and_the_middle_80_percent(ax):
    values = np.random.default_rng(0).normal(size=(21, 5)).cumsum(1)
    plots.curves(ax, values, "plain", "val")
    [line], [band] = ax.lines, ax.collections
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(line.get_ydata(), np.median(values, axis=0))
    assert (line.get_color(), line.get_linestyle()) == (COLORS["val"], "--")
    assert to_hex(band.get_facecolor()[0]) == COLORS["val"].lower()
    corners = band.get_paths()[0].vertices
    # Of 21 sorted values, the third and the third from the end are the 10 % and 90 % quantiles.
    edges = np.sort(values, axis=0)[[2, -3]]
    for t in range(5):
        ys = corners[corners[:, 0] == t + 1, 1]
        np.testing.assert_allclose([ys.min(), ys.max()], edges[:, t])
    assert texts(ax) == ["plain"]
    assert ax.texts[0].xy == (5, line.get_ydata()[-1])
    assert ax.texts[0].get_color() == plots.INK["val"]


def test_few_points_are_marked_one_by_one(ax):
    for n, marker in ((plots.FEW, "o"), (plots.FEW + 1, "None")):
        plots.curves(ax, np.ones((3, n)), "", "val")
        assert ax.lines[-1].get_marker() == marker


def test_the_mean_and_the_extremes_would_be_seen(ax):
    values = np.array([[0.0], [0.0], [0.0], [0.0], [10.0]])
    plots.curves(ax, values, "", "val")
    assert ax.lines[0].get_ydata()[0] == 0 != values.mean()
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(6)  # not 10


def test_curves_that_stopped_or_broke_are_left_out(ax):
    nan, inf = np.nan, np.inf
    values = np.array([[3, 2, 1, nan, nan], [4, 3, nan, nan, nan], [5, 4, inf, inf, nan]])
    plots.curves(ax, values, "stopped", "train")
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [4, 3, 1])
    assert ax.texts[0].xy == (3, 1)
    with pytest.raises(ValueError, match="finite values to draw for 'none', got none"):
        plots.curves(ax, np.full((2, 3), nan), "none", "train")


def test_curves_take_positions_and_a_place_for_the_label(ax):
    x = np.array([0.01, 0.1, 1.0])
    plots.curves(ax, np.arange(6.0).reshape(2, 3), "middle", "test", x=x, where=0.5)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), x)
    assert ax.texts[0].xy == (0.1, 2.5)


def test_curves_refuse_one_curve(ax):
    with pytest.raises(ValueError, match=r"\(seeds, points\), got \(5,\)"):
        plots.curves(ax, np.zeros(5), "one", "val")


# Forest


def test_a_forest_draws_one_interval_per_verdict(ax):
    verdicts = {"a": verdict(5), "b": verdict(-5), "c": verdict(0, 0.1), "d": verdict(1)}
    plots.forest(ax, verdicts)
    zero, *rest = ax.lines
    assert zero.get_xdata() == [0, 0]
    for y, item in enumerate(verdicts.values()):
        bar, dot = rest[2 * y : 2 * y + 2]
        mean, low, high = item.interval
        np.testing.assert_allclose(bar.get_xdata(), [low, high])
        np.testing.assert_allclose(dot.get_xdata(), [mean])
        assert set(bar.get_ydata()) == set(dot.get_ydata()) == {y}
        assert bar.get_color() == dot.get_color() == OUTCOME_COLORS[item.outcome]
    assert texts(ax) == [item.outcome for item in verdicts.values()]
    assert texts(ax) == ["supported", "contradicted", "no difference", "undecided"]
    [zone] = ax.patches
    assert (zone.get_x(), zone.get_width()) == (-1, 2)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(verdicts)
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first one on top
    assert ax.get_xlabel() == "difference, points (gray: too small to matter)"


def test_a_forest_takes_a_unit(ax):
    plots.forest(ax, {"a": verdict(5, unit="")}, unit="epochs")
    assert ax.get_xlabel().startswith("difference, epochs")


@pytest.mark.parametrize("verdicts", [{}, {"a": verdict(5), "b": verdict(5, smallest=2.0)}])
def test_a_forest_has_one_smallest_effect(ax, verdicts):
    with pytest.raises(ValueError, match="one smallest effect"):
        plots.forest(ax, verdicts)


# Differences


EFFECTS = {
    "a": (3.0, 1.5, 4.5),
    "b": (1.5, 0.5, 2.5),
    "c": (0.0, -0.9, 0.9),
    "d": (-3.0, -4.0, -2.0),
    "e": (-1.5, -2.0, -0.1),
    "f": (0.5, -0.2, 1.2),
}
BETTER = ["helps", "helps, size open", "too small to matter", "hurts", "hurts, size open"]
BETTER += ["not yet known"]
WORSE = ["hurts", "hurts, size open", "too small to matter", "helps", "helps, size open"]
WORSE += ["not yet known"]


@pytest.mark.parametrize(("better", "words"), [(+1, BETTER), (-1, WORSE)])
def test_differences_draw_each_effect_and_its_word(ax, better, words):
    said = plots.differences(ax, EFFECTS, smallest=1, unit="points", better=better)
    assert list(said.values()) == words
    zero, *rest = ax.lines
    assert zero.get_xdata() == [0, 0]
    for y, (mean, low, high) in enumerate(EFFECTS.values()):
        bar, dot = rest[2 * y : 2 * y + 2]
        assert (list(bar.get_xdata()), list(dot.get_xdata())) == ([low, high], [mean])
        assert set(bar.get_ydata()) == set(dot.get_ydata()) == {y}
        hollow = words[y] == "not yet known" or "open" in words[y]
        assert (dot.get_markerfacecolor() == plots.WHITE) == hollow
        side = {"helps": "treated", "hurts": "other"}.get(words[y].split(",")[0])
        if side:
            assert bar.get_color() == COLORS[side]
    assert texts(ax)[::2] == words
    assert texts(ax)[1::2][:3] == [
        "+3.0 (+1.5 to +4.5)",
        "+1.5 (+0.5 to +2.5)",
        "+0.0 (−0.9 to +0.9)",
    ]
    [zone] = ax.patches
    assert (zone.get_x(), zone.get_width()) == (-1, 2)
    left, right = ax.get_xlim()
    assert left < -4 < 4.5 < right
    side = "higher" if better > 0 else "lower"
    assert ax.get_xlabel() == f"difference, points ({side} is better; gray: too small to matter)"


def test_words_are_those_of_the_rule():
    """With one comparison, interval and word are the same question."""
    random = np.random.default_rng(0)
    mean, error = random.normal(0, 2, 400), random.uniform(0.05, 2, 400)
    df = np.full((400, 1), 1e9)
    half = scipy.stats.t.isf(rule.ALPHA / 2, df[:, 0]) * error
    words = rule.decide(mean[:, None], error[:, None], df, np.ones((400, 1)))[:, 0]
    effects = {k: (m, m - h, m + h) for k, (m, h) in enumerate(zip(mean, half, strict=True))}
    assert list(plots._words(effects, 1.0, +1).values()) == [rule.FOUND[word] for word in words]
    assert len(set(words)) == 6


@pytest.mark.parametrize(
    ("effects", "settings", "message"),
    [
        ({}, {}, "at least one effect, got none"),
        ({"a": (1, 2)}, {}, r"\(mean, low, high\) for 'a', got \(1, 2\)"),
        ({"a": (1, 2, 0)}, {}, r"for 'a', got \(1, 2, 0\)"),
        ({"a": (1, 0, np.nan)}, {}, "for 'a'"),
        ({"a": (1, 0, 2)}, {"smallest": 0}, "smallest above 0"),
        ({"a": (1, 0, 2)}, {"better": 0}, r"better of \+1 or -1, got 1 and 0"),
    ],
)
def test_differences_refuse_what_cannot_be_drawn(ax, effects, settings, message):
    with pytest.raises(ValueError, match=message):
        plots.differences(ax, effects, **{"smallest": 1} | settings)


def test_effects_is_differences_with_a_title_and_a_text(shown):
    plots.effects({"dropout": (3.1, 1.8, 4.4)}, title="It pays", smallest=1, unit="points")
    [data] = shown
    assert data["text/plain"] == "It pays. dropout: helps, +3.1 (+1.8 to +4.4) points."


# Dots


def test_dots_show_every_seed_its_pair_and_the_means(ax):
    groups = {"plain": [1.0, 2.0, 3.0], "L2": [2.0, 4.0, 9.0]}
    plots.dots(ax, groups)
    pairs, columns, means = ax.lines[:3], ax.lines[3::2], ax.lines[4::2]
    assert [line.get_ydata().tolist() for line in pairs] == [[1, 2], [2, 4], [3, 9]]
    for k, (column, mean, values) in enumerate(zip(columns, means, groups.values(), strict=True)):
        assert column.get_xdata().tolist() == [k] * 3
        assert column.get_ydata().tolist() == values
        assert list(mean.get_ydata()) == [np.mean(values)] * 2
    assert [line.get_color() for line in columns] == [COLORS["control"], COLORS["treated"]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["plain", "L2"]


def test_dots_take_roles_and_need_equal_lengths(ax):
    plots.dots(ax, {"a": [1, 2], "b": [3, 4]}, roles=["val", "test"])
    assert [line.get_color() for line in ax.lines[2::2]] == [COLORS["val"], COLORS["test"]]
    with pytest.raises(ValueError, match="inhomogeneous"):
        plots.dots(ax, {"a": [1, 2], "b": [3]})
    with pytest.raises(ValueError, match="zip"):
        plots.dots(ax, {"a": [1, 2], "b": [3, 4]}, roles=["val"])


# Paths


def test_paths_draw_one_line_per_coefficient(ax):
    strengths, coefs = np.array([0.1, 1, 10]), np.arange(12.0).reshape(3, 4)
    plots.paths(ax, strengths, coefs, highlight=[2])
    zero, *lines = ax.lines
    assert len(lines) == 4
    for column, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), strengths)
        np.testing.assert_array_equal(line.get_ydata(), coefs[:, column])
        assert (line.get_color() == COLORS["treated"]) == (column == 2)
    assert list(zero.get_ydata()) == [0, 0]
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel()
    assert ax.get_ylabel() == "coefficient"


# Colors


def linear_rgb(color):
    value = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


# Viénot, Brettel and Mollon, "Digital video colourmaps for checking the legibility of displays by
# dichromats", Color Research and Application 24, 1999: linear RGB as seen without red cones.
# Of the same authors, without green cones.
DEUTAN = np.array([[0.2920, 0.7080, 0], [0.2920, 0.7080, 0], [-0.0223, 0.0223, 1]])
PROTAN = np.array([[0.1124, 0.8876, 0], [0.1124, 0.8876, 0], [0.0040, -0.0040, 1]])


def test_roles_stay_apart_for_color_blind_readers():
    colors = list(COLORS.values())
    for i, one in enumerate(colors):
        for other in colors[:i]:
            for eyes in (PROTAN, DEUTAN):
                seen = eyes @ (linear_rgb(one) - linear_rgb(other))
                assert np.abs(seen).max() > 0.05, (one, other)


def contrast(one, other):
    weights = np.array([0.2126, 0.7152, 0.0722])
    a, b = sorted((weights @ linear_rgb(one), weights @ linear_rgb(other)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def test_text_in_the_ink_of_a_role_can_be_read_on_both_pages():
    for ink in plots.INK.values():
        assert contrast(ink, plots.WHITE) >= 4.5
        assert contrast(plots.DARK[ink], plots.DARK[plots.WHITE]) >= 4.5
    for color in COLORS.values():
        assert contrast(plots.DARK[color], plots.DARK[plots.WHITE]) >= 3


def test_the_roles_of_the_explorers_have_the_same_colors():
    kit = (explorers.HERE / "kit.js").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+):(#\w+)", part))
        for part in re.findall(r"`(--bg.+?)`", kit, re.DOTALL)
    )
    for role, name in {"treated": "strong", "other": "against"}.items():
        assert (COLORS[role], plots.DARK[COLORS[role]]) == (light[name], dark[name])
    for role, name in {"control": "muted", "treated": "strong-ink", "other": "against-ink"}.items():
        assert (plots.INK[role], plots.DARK[plots.INK[role]]) == (light[name], dark[name])


def test_every_role_has_a_line_and_every_outcome_a_color():
    assert COLORS.keys() == plots.LINES.keys()
    assert OUTCOME_COLORS.keys() == {"supported", "contradicted", "no difference", "undecided"}
    assert len(set(OUTCOME_COLORS.values())) == 4


def test_a_whole_figure_raises_no_warning(shown):
    with warnings.catch_warnings(), figure("All kinds.", 3) as (left, middle, right):
        warnings.simplefilter("error")
        plots.curves(left, np.random.default_rng(0).random((4, 9)), "long label", "train")
        plots.forest(middle, {"one": verdict(2), "two": verdict(0, 9)})
        plots.dots(right, {"a": [1, 2], "b": [2, 3]})
    assert len(shown) == 1


# Configurations, and whole figures in one call


def test_scatter_names_the_highlighted_dots_and_draws_all(ax):
    x, y = np.array([1.0, 2.0, 3.0]), np.array([5.0, 4.0, 6.0])
    plots.scatter(ax, x, y, highlight={2: "the odd one"})
    every, odd = ax.lines
    np.testing.assert_array_equal(every.get_xydata(), np.stack([x, y], axis=1))
    assert (odd.get_xdata(), odd.get_ydata()) == ([3.0], [6.0])
    assert texts(ax) == ["the odd one"]
    assert to_hex(odd.get_color()) == COLORS["test"].lower()


def test_lines_is_curves_with_title_labels_and_settings(shown, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "show", lambda fig, alt: drawn.append((fig.axes[0], alt)))
    values = np.arange(12.0).reshape(3, 4)
    plots.lines(
        {"a": (values, "train"), "b": (values + 1, "test")},
        title="It rises", alt="Two curves rise.", xlabel="epoch", ylabel="loss", ylim=(0, 20),
    )  # fmt: skip
    [(ax, alt)] = drawn
    assert alt == "Two curves rise."
    assert (ax.get_title(loc="left"), ax.get_xlabel()) == ("It rises", "epoch")
    assert (ax.get_ylabel(), ax.get_ylim()) == ("loss", (0, 20))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), np.median(values, axis=0))
    assert texts(ax) == ["a", "b"]
