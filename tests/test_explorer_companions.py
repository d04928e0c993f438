"""The companions: the browser's numbers against Python's, Python's against PyTorch's batch norm."""

import numpy as np
import pytest
import torch
from browsing import in_browser, needs_chromium, visit, written_page
from scipy.stats import binomtest

from coursekit import data, explorers
from coursekit.explorers import companions


def stored():
    return explorers.stored("companions")


def digits():
    """The pool: pixels (P, 64) and kinds (P,)."""
    own = stored()
    x = np.array([int(v, 17) for v in own["pixels"]]).reshape(-1, 64) / 16
    return x, np.repeat(np.arange(10), own["of_each"])


def softmax(z):
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def as_torch(net):
    """The stored numbers in PyTorch's own layers."""
    module = companions.network().double()
    for k, layer in zip((1, 4), net["hidden"], strict=True):
        linear, norm = module[k], module[k + 1]
        pairs = [(linear.weight, "w"), (norm.weight, "gain"), (norm.bias, "shift")]
        pairs += [(norm.running_mean, "mean"), (norm.running_var, "var")]
        for tensor, key in pairs:
            tensor.data = torch.tensor(layer[key], dtype=torch.double)
    module[7].weight.data, module[7].bias.data = (
        torch.tensor(net[key], dtype=torch.double) for key in ("w", "b")
    )
    return module


# The data


@pytest.mark.parametrize("mode", [False, True])
def test_the_forward_pass_is_pytorchs_own(mode):
    x, _ = digits()
    net = as_torch(stored()["net"]).train(not mode)
    with torch.no_grad():
        own = net(torch.tensor(x[5:600:17]))
    assert np.allclose(
        companions.forward(stored()["net"], x[5:600:17], stored=mode), own, atol=1e-9
    )


def test_the_network_reads_as_many_digits_as_it_says():
    own, task = stored(), data.load("digits")
    z = companions.forward(own["net"], task.x_test.flatten(1).double().numpy(), stored=True)
    assert (z.argmax(1) == task.y_test.numpy()).sum() == own["right"]
    assert own["right"] > 0.85 * own["n_test"] == 0.85 * len(task.y_test)


def test_a_fresh_training_begins_alike():
    """Later epochs drift with rounding; a few already move the running statistics."""
    task = data.load("digits")
    one, two = (companions.rounded(companions.train(task, epochs=3)) for _ in range(2))
    assert one == two
    assert np.abs(one["hidden"][0]["mean"]).max() > 0.1
    x, kinds = digits()
    z = companions.forward(one, x, stored=True)
    assert 0.2 < (z.argmax(1) == kinds).mean() < 1


def test_the_pool_holds_the_first_digits_of_each_kind():
    task, (x, kinds) = data.load("digits"), digits()
    rows = companions.pool(task)
    assert (task.y_test.numpy()[rows] == kinds).all()
    assert np.allclose(task.x_test[rows].flatten(1).numpy(), x, atol=1 / 32)
    assert rows[0] == (task.y_test == 0).nonzero()[0, 0]


def test_the_digits_shown_are_the_least_steady_of_those_read_correctly():
    own, (x, kinds) = stored(), digits()
    right = companions.forward(own["net"], x, stored=True).argmax(1) == kinds
    assert right[own["shown"]].all()
    assert (kinds[own["shown"]] == np.arange(10)).all()

    def moods(i):
        counts = np.bincount(companions.answers(own["net"], x, kinds, i))
        return companions.DRAWS - counts.max()

    for kind in (4, 8):
        rivals = [i for i in np.flatnonzero(kinds == kind)[: companions.CANDIDATES] if right[i]]
        assert moods(own["shown"][kind]) == max(map(moods, rivals))


def test_a_company_is_drawn_without_its_digit_and_grows():
    _, kinds = digits()
    for kind in (companions.MIXED, 7):
        small, large = (companions.company(kinds, 450, kind, size, 3) for size in (10, 64))
        assert large[:10] == small
        assert large[0] == 450
        assert len(set(large)) == 64
        assert kind == companions.MIXED or (kinds[large[1:]] == kind).all()
    assert companions.company(kinds, 450, 7, 10, 4) != companions.company(kinds, 450, 7, 10, 3)


def test_of_two_examples_only_which_is_larger_is_left():
    """The first layer turns a batch of two into +1 and -1, but for its small constant."""
    x, _ = digits()
    layer = stored()["net"]["hidden"][0]
    z = x[[3, 500]] @ np.array(layer["w"]).T
    z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
    assert np.allclose(np.abs(z), 1, atol=0.1)
    assert np.median(np.abs(z)) > 0.999


# The browser

SHOWN = """(own, data, { digit, size, kind, draw, mode }) => {
    const net = own.prepared(data.net), n = net.hidden[0].n;
    const pixels = Float64Array.from(data.pixels, v => parseInt(v, 17) / 16);
    const kinds = Array.from({ length: 10 * data.of_each }, (_, i) => Math.floor(i / data.of_each));
    const all = own.products(net, pixels, kinds.length);
    const rows = own.company(kinds, data.shown[digit], kind, size, draw);
    const { p, mean, spread } = own.read(net, own.batch(all, rows, n), rows.length, mode);
    return { rows, p, mean: [...mean], spread: [...spread], share: own.wilson(30, 200) };
}"""


def wrong(shown, digit, size, kind, draw, mode):
    """Defects of what the browser computes, compared with Python."""
    own, (x, kinds) = stored(), digits()
    rows = companions.company(kinds, own["shown"][digit], kind, size, draw)
    layer = own["net"]["hidden"][0]
    z = x[rows] @ np.array(layer["w"]).T
    mean, var = (layer["mean"], layer["var"]) if mode else (z.mean(0), z.var(0))
    interval = binomtest(30, 200).proportion_ci(method="wilson")
    expected = {
        "rows": rows,
        "p": softmax(companions.forward(own["net"], x[rows], stored=mode)[0]),
        "mean": mean,
        "spread": np.sqrt(np.array(var) + 1e-5),
    }
    defects = [key for key, v in expected.items() if not np.allclose(shown[key], v, atol=1e-9)]
    return defects + ["share"] * (not np.allclose(shown["share"], interval, atol=1e-4))


CASES = [(4, 10, 10, 1, False), (0, 2, 10, 200, False), (8, 64, 8, 7, False), (5, 16, 3, 9, True)]


def given(digit, size, kind, draw, mode):
    return {"digit": digit, "size": size, "kind": kind, "draw": draw, "mode": mode}


@needs_chromium
@pytest.mark.parametrize("case", CASES)
def test_the_browser_computes_what_python_does(browser, case):
    assert wrong(in_browser(browser, "companions", SHOWN, given(*case)), *case) == []


MISTAKES = {
    "(z[i * layer.n + k] - m) ** 2 / rows": (
        "(z[i * layer.n + k] - m) ** 2 / (rows - 1)",
        {"p", "spread"},
    ),
    "layer.gain[k] * (z[at]": ("(z[at]", {"p"}),
    "if (!stored) {": ("if (stored) {", {"mean", "p"}),
    "i !== own && (kind": ("(kind", {"rows"}),
    "const z = 1.96, p = k / n": ("const z = 1.5, p = k / n", {"share"}),
}


@needs_chromium
@pytest.mark.parametrize("old", MISTAKES)
def test_the_comparison_catches(browser, old):
    new, expected = MISTAKES[old]
    assert explorers.bundle("companions").count(old) == 1
    spoiled = explorers.bundle("companions").replace(old, new)
    shown = in_browser(browser, "companions", SHOWN, given(*CASES[2]), module=spoiled)
    assert expected <= set(wrong(shown, *CASES[2]))


# What only this one does


def sentence(page):
    return page.inner_text(".ex .say")


@needs_chromium
def test_it_opens_with_one_company_and_tells_of_no_other(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "companions")) as (page, heard):
        assert "Among these 9 companions" in sentence(page)
        assert "Over" not in sentence(page)
        assert page.locator("[data-picture] .dots").get_attribute("d") == ""
        page.click(".ex .new")
        assert "Over 2 companies" in sentence(page)
        page.click(".ex .many")
        assert "Over 200 companies" in sentence(page)
        assert "95 % interval" in sentence(page)
        assert page.locator("[data-picture] .dots").get_attribute("d").count("M") == 2000
        page.click(".ex .new")  # from the last one on to the first
        assert "Over" not in sentence(page)
        assert heard == []


BARS = "[...document.querySelectorAll('.bar')].map(b => b.style.transform)"


@needs_chromium
def test_stored_statistics_know_no_company(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "companions")) as (page, _):
        before = page.evaluate(BARS)
        page.click(".ex .new")
        assert page.evaluate(BARS) != before
        page.get_by_label("what training stored").check()
        quiet, words = page.evaluate(BARS), sentence(page)
        page.click(".ex .new")
        page.locator(".ex .size").focus()
        page.keyboard.press("End")
        assert page.evaluate(BARS) == quiet
        assert sentence(page) == words
        assert "in any company" in words


@needs_chromium
def test_companions_of_one_kind(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "companions")) as (page, _):
        page.locator(".ex .company").get_by_label("7", exact=True).check()
        assert "(all 7s)" in sentence(page)
        page.locator(".ex .size").focus()
        page.keyboard.press("Home")
        assert "Beside this one companion (a 7)" in sentence(page)
