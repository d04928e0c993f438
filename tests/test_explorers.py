"""Explorers: what holds for all of them, on a page of their own, in a notebook and in JupyterLab.

What only one of them does is tested in `test_explorer_NAME.py`. What looks at a page returns a list
of defects, and every such look is given a spoiled page as well.
"""

import re
from xml.etree import ElementTree

import nbformat
import pytest
from browsing import (
    NARROW,
    WIDE,
    counted,
    eventually,
    jupyterlab,
    needs_chromium,
    overlaps,
    serving,
    slow,
    spoiled,
    too_wide,
    violations,
    visit,
    written_page,
)

from coursekit import explorers
from coursekit.commands.cli import main

NAMES = list(explorers.TITLES)
each = pytest.mark.parametrize("name", NAMES)


# Python


def test_an_explorer_shows_the_line_that_makes_it():
    shown = explorers.show("dance", seeds=16, draw=3)
    assert repr(shown) == 'explorers.show("dance", seeds=16, epochs=40, draw=3)'
    assert eval(repr(shown)).state == shown.state == {"seeds": 16, "epochs": 40, "draw": 3}


def test_a_wrong_wish_is_answered():
    with pytest.raises(ValueError, match=r"expected one of dance.*, got 'waltz'"):
        explorers.show("waltz")
    with pytest.raises(ValueError, match="expected one of seeds, epochs, draw, got 'rate'"):
        explorers.show("dance", rate=1)
    with pytest.raises(ValueError, match=r"expected seeds among 1, 2, .*, got 7"):
        explorers.show("dance", seeds=7)
    with pytest.raises(ValueError, match="expected draw among 1 to 999, got 0"):
        explorers.show("dance", draw=0)


def test_it_opens_where_nothing_is_answered():
    assert explorers.show("dance").state == {"seeds": 1, "epochs": 40, "draw": 1}


@each
def test_data_are_small_and_say_where_they_come_from(name):
    path = explorers.folder() / f"{name}.json"
    assert path.stat().st_size <= 150_000
    own = explorers.stored(name)
    assert own["recipe"]
    assert "torch" in own["versions"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", own["date"])


@each
def test_module_and_page_ask_for_nothing_from_elsewhere(name):
    assert "import " not in re.sub(r"//.*", "", explorers.bundle(name))
    remote = re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"'`]*", explorers.show(name).page())
    assert set(remote) <= {"http://www.w3.org/2000/svg"}


@each
def test_the_stored_picture_says_what_it_shows(name):
    assert len(explorers.picture(name)) < 60_000
    assert len(explorers.description(name)) > 80
    assert f'alt="{explorers.description(name)}"' in explorers.show(name).html()


@each
def test_discs_of_the_stored_picture_are_filled_without_the_page_around_it(name):
    # A handle that only the page's style makes transparent is a black disc in a notebook.
    root = ElementTree.fromstring(explorers.picture(name))
    parents = {child: parent for parent in root.iter() for child in parent}

    def filled(element):
        return "fill" in element.attrib or (element is not root and filled(parents[element]))

    discs = [e for e in root.iter() if e.tag.rpartition("}")[2] in ("circle", "ellipse")]
    assert [e.attrib for e in discs if not filled(e)] == []


def test_a_batch_run_stores_no_widget(monkeypatch):
    monkeypatch.setenv("COURSEKIT_STATIC", "1")
    shown, metadata = explorers.show("dance")._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html", "image/svg+xml"}
    assert metadata["image/svg+xml"]["alt"]


def test_in_a_kernel_it_is_a_widget(monkeypatch):
    monkeypatch.setattr("coursekit.widgets.interactive", lambda: True)
    one = explorers.show("dance", seeds=8)
    assert "application/vnd.jupyter.widget-view+json" in one._repr_mimebundle_()[0]
    one._widget.state = {"seeds": 96, "epochs": 40, "draw": 1}
    assert repr(one) == 'explorers.show("dance", seeds=96, epochs=40, draw=1)'


def test_the_command_lists_and_writes_pages(tmp_path, capsys):
    assert main(["explorers"]) == 0
    assert "dance" in capsys.readouterr().out
    assert main(["explorers", "page", "dance", "--out", str(tmp_path)]) == 0
    assert "<h1>The dance of the intervals</h1>" in (tmp_path / "dance.html").read_text()
    assert main(["explorers", "data", "waltz"]) == 1


# A page without a kernel


@pytest.fixture
def written(tmp_path, request):
    return written_page(tmp_path, getattr(request, "param", "dance"))


by_name = pytest.mark.parametrize("written", NAMES, indirect=True)

LOOKS = """() => [
    document.querySelector(".ex .say").textContent,
    document.querySelector(".ex [data-picture]").outerHTML,
]"""


def unmoved(page, act):
    """What stayed as it was: sentence, picture."""
    before, still = page.evaluate(LOOKS), ["sentence", "picture"]
    act()
    for _ in range(20):
        after = page.evaluate(LOOKS)
        pairs = zip(("sentence", "picture"), before, after, strict=True)
        still = [name for name, a, b in pairs if a == b]
        if not still:
            break
        page.wait_for_timeout(100)
    return still


def dial(page):
    """The explorer's first slider."""
    return page.locator(".ex input[type=range]:not([disabled])").first


def click_on(page, part):
    box = dial(page).bounding_box()
    page.mouse.click(box["x"] + 3 + part * (box["width"] - 6), box["y"] + box["height"] / 2)


@needs_chromium
@by_name
def test_key_and_mouse_move_picture_and_sentence(browser, written):
    with visit(browser, written) as (page, heard):
        dial(page).focus()
        assert unmoved(page, lambda: page.keyboard.press("ArrowRight")) == []
        assert unmoved(page, lambda: click_on(page, 0.7)) == []
        assert len(page.inner_text(".ex .say")) > 40
        assert page.get_attribute(".ex .say", "aria-live") == "polite"
        line = page.inner_text(".ex .line")
        state = eval(line, {"explorers": explorers}).state
        told = "#" + "&".join(f"{k}={v}" for k, v in state.items())
        eventually(page, "location.hash", told)
        assert state != explorers.show(written.stem).state
        assert heard == []


@needs_chromium
@by_name
def test_the_address_brings_a_state_back_and_nonsense_does_no_harm(browser, written):
    allowed = explorers.STATES[written.stem]
    wanted = {key: list(values)[-1] for key, values in allowed.items()}
    with visit(browser, written) as (page, heard):
        told = "&".join(f"{key}={value}" for key, value in wanted.items())
        page.goto(f"{written.as_uri()}#{told}")
        page.reload()
        page.wait_for_timeout(150)
        assert eval(page.inner_text(".ex .line"), {"explorers": explorers}).state == wanted
        for nonsense in ("<b>", "-1e9", "1e9", "0.123", "NaN"):
            told = "&".join(f"{key}={nonsense}" for key in wanted)
            page.goto(f"{written.as_uri()}#{told}")
            page.reload()
            page.wait_for_timeout(150)
            eval(page.inner_text(".ex .line"), {"explorers": explorers})  # refuses a wrong state
        assert heard == []


@needs_chromium
@by_name
def test_a_table_stands_behind_the_picture(browser, written):
    with visit(browser, written) as (page, _):
        dial(page).focus()
        page.keyboard.press("ArrowRight")
        page.click(".ex .numbers summary")
        page.locator(".ex .numbers thead th").nth(1).wait_for()
        assert page.locator(".ex .numbers tbody td").first.inner_text().strip()


@needs_chromium
@by_name
def test_redraw_is_quick(browser, written):
    with visit(browser, written) as (page, _):
        assert slow(page) == []


@needs_chromium
def test_the_look_at_latency_catches(browser, written):
    wait = "const until = performance.now() + 60; while (performance.now() < until);"
    spoiled(written, "function draw() {", f"function draw() {{ {wait}")
    with visit(browser, written) as (page, _):
        assert slow(page)


def through_all(page):
    """Move all there is to move, and stop after each move."""
    yield "opening"
    for n in range(page.locator(".ex button, .ex input").count()):
        one = page.locator(".ex button, .ex input").nth(n)
        if not one.is_visible() or one.is_disabled():
            continue
        if one.get_attribute("type") == "range":
            for key in ("Home", "ArrowRight", "End"):
                one.focus()
                page.keyboard.press(key)
                yield f"slider {n}, {key}"
        else:
            one.click()
            yield f"{n} clicked"


@needs_chromium
@by_name
@pytest.mark.parametrize("size", [NARROW, {"width": 700, "height": 900}, WIDE])
def test_nothing_overlaps_or_sticks_out(browser, written, size):
    with visit(browser, written, size) as (page, heard):
        defects = [(at, too_wide(page) + overlaps(page)) for at in through_all(page)]
        assert [one for one in defects if one[1]] == []
        assert heard == []


@needs_chromium
def test_the_look_at_width_and_labels_catches(browser, written):
    with visit(browser, written, NARROW) as (page, _):
        page.add_style_tag(content=".dance .body{min-width:500px}.chart text{font-size:26px}")
        assert too_wide(page)
        assert overlaps(page)


@needs_chromium
def test_what_leaves_the_page_or_fails_is_noticed(browser, written):
    path = spoiled(
        written, "</main>", "<img src='http://127.0.0.1:9/x.png'><script>oops()</script></main>"
    )
    with visit(browser, path) as (page, heard):
        page.wait_for_timeout(100)
        assert any("x.png" in one for one in heard)
        assert any("oops" in one for one in heard)


MOVES = """() => [...document.querySelectorAll(".ex *")].map(getComputedStyle)
    .filter(s => /[1-9]/.test(s.transitionDuration) || s.animationName !== "none").length"""


@needs_chromium
@by_name
def test_dark_print_and_reduced_motion(browser, written):
    color = "getComputedStyle(document.querySelector('.ex .say')).color"
    with visit(browser, written, color_scheme="dark", reduced_motion="reduce") as (page, heard):
        assert page.evaluate(color) == "rgb(237, 237, 237)"
        assert page.evaluate(MOVES) == 0
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate(color) == "rgb(28, 28, 28)"
        counted(page, ".ex button:visible", 0)
        assert heard == []
    with visit(browser, written, color_scheme="light") as (page, _):
        assert page.evaluate(color) == "rgb(28, 28, 28)"


@needs_chromium
def test_the_look_at_motion_catches(browser, written):
    with visit(browser, written, color_scheme="light") as (page, _):
        page.wait_for_timeout(300)  # nothing moves while the page is new, or a slider is dragged
        dial(page).focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate(MOVES) > 0


@needs_chromium
@by_name
def test_without_scripts_there_is_a_picture(browser, written):
    with visit(browser, written, java_script_enabled=False) as (page, heard):
        assert page.locator("main img").get_attribute("alt") == explorers.description(written.stem)
        assert page.locator("main img").bounding_box()["height"] > 150
        assert heard == []


@needs_chromium
@by_name
def test_the_stored_picture_is_the_opening_state(browser, written):
    with visit(browser, written, {"width": 760, "height": 900}) as (page, _):
        label = page.locator("[data-picture]").get_attribute("aria-label")
        texts = page.locator("[data-picture] text").all_text_contents()
    stored = explorers.picture(written.stem)
    assert explorers.description(written.stem) == label
    assert re.findall(r"<text[^>]*>([^<]*)</text>", stored) == texts


def as_stored(*names):
    """A notebook with the outputs that a batch run leaves."""
    cells = []
    for name in names:
        shown, metadata = explorers.show(name)._repr_mimebundle_()  # no kernel is here
        output = nbformat.v4.new_output("execute_result", shown, metadata=metadata)
        cells.append(nbformat.v4.new_code_cell(f'explorers.show("{name}")', outputs=[output]))
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    return notebook


@needs_chromium
@each
def test_it_works_in_an_exported_notebook(browser, tmp_path, name):
    exporter = pytest.importorskip("nbconvert").HTMLExporter()
    body, _ = exporter.from_notebook_node(as_stored(name))
    path = tmp_path / "lesson.html"
    path.write_text(body, encoding="utf-8")
    page = browser.new_page(viewport=NARROW)
    # What nbconvert's own frame takes from the network at large is not there.
    page.route("http*://**/*", lambda route: route.abort())
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    dial(page).focus()
    assert unmoved(page, lambda: page.keyboard.press("ArrowRight")) == []
    page.wait_for_timeout(200)
    assert page.evaluate("location.hash") == ""  # the address is the lesson's
    page.close()


# Access


@pytest.fixture
def served(written):
    with serving(written.parent) as address:
        yield f"{address}/{written.name}"


@needs_chromium
@by_name
@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_axe_finds_nothing(browser, served, size, scheme):
    page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page.goto(served)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert violations(page) == []
    for _ in through_all(page):
        pass
    assert violations(page) == []
    page.close()


@needs_chromium
def test_axe_catches(browser, served):
    page = browser.new_page()
    page.goto(served)
    page.evaluate("document.querySelector('.dial label').remove()")
    page.add_style_tag(content=".ex .say{color:#bbb}")
    assert {name for name, _ in violations(page)} >= {"label", "color-contrast"}
    page.close()


# JupyterLab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab with notebooks that show explorers, by its address."""
    folder = tmp_path_factory.mktemp("lab")
    for name in NAMES:
        code = f'from coursekit import explorers\n\none = explorers.show("{name}")\none'
        cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell("print(one)")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    nbformat.write(as_stored(*NAMES), folder / "stored.ipynb")
    with jupyterlab(folder) as addresses:
        yield addresses


@needs_chromium
@each
def test_it_lives_in_jupyterlab(browser, lab, name):
    page, heard = browser.new_page(viewport=WIDE), []
    page.on("console", lambda m: heard.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    outside = []
    inside = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
    page.on("request", lambda r: outside.append(r.url) if not r.url.startswith(inside) else None)
    page.goto(lab.format(f"{name}.ipynb"))
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    page.click(".jp-Notebook .jp-InputArea-editor >> nth=0")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".ex input[type=range]", timeout=120_000)
    dial(page).focus()
    # Without its number, which is a star until the cell is done.
    active = "document.querySelector('.jp-Cell.jp-mod-active .jp-InputArea-editor').textContent"
    before = page.evaluate(active)
    assert before
    assert unmoved(page, lambda: page.keyboard.press("ArrowRight")) == []
    assert page.evaluate(active) == before
    assert unmoved(page, lambda: click_on(page, 0.7)) == []
    assert slow(page) == []
    assert violations(page, ".ex") == []
    # What the reader did has reached Python.
    click_on(page, 0.9)
    page.wait_for_timeout(300)
    line = page.inner_text(".ex .line")
    page.click(".jp-Notebook .jp-InputArea-editor >> nth=1")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(f"pre:has-text('{line}')", timeout=30_000)
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.ex .say')).color")
        == "rgb(237, 237, 237)"
    )
    assert outside == []
    assert [one for one in heard if name in one or "anywidget" in one] == []
    page.close()


@needs_chromium
def test_jupyterlab_shows_the_picture_that_a_notebook_stores(browser, lab):
    page = browser.new_page(viewport=WIDE)
    page.goto(lab.format("stored.ipynb"))
    # Whoever has not run the notebook has not trusted it either: its script is not run.
    picture = page.wait_for_selector(".jp-OutputArea img", timeout=60_000)
    assert picture.get_attribute("alt") == explorers.description(NAMES[0])
    assert picture.evaluate("i => i.complete && i.naturalHeight > 150")
    counted(page, ".ex", 0)
    page.close()
