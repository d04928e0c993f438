"""The web edition: built once with a lesson for trial, and looked at in Chromium.

What looks at a page returns a list of defects, and every such look is given a spoiled page as well.
"""

import base64
import gzip
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import matplotlib.pyplot as plt
import nbformat
import pytest
from browsing import NARROW, WIDE, counted, eventually, needs_chromium, serving, too_wide

from coursekit import claims, explorers, plots
from coursekit.ledger import record, results

pytest.importorskip("myst_nb")
ROOT = Path(__file__).resolve().parent.parent
SETTLED = next((id for id in record.records() if results.known(id)), None)
WAITING = next((id for id in record.records() if not results.known(id)), None)
GREEN = plots.COLORS["treated"]
TRIAL = "notebooks/99_trial"
SAMPLE = [
    "index",
    "lessons",
    "ledger/index",
    *(f"ledger/{id}" for id in (SETTLED, WAITING) if id),
    "notebooks/04_dropout",
    "notebooks/exercises/04_dropout",
    "rosetta",
    "docs/your_data",
    "docs/glossary",
    "docs/workshop",
    "reading",
    "api/measure",
    TRIAL,
]
if built := os.environ.get("COURSEKIT_PAGES"):  # an edition that was built: each of its pages
    found = (path.relative_to(built).with_suffix("") for path in Path(built).rglob("*.html"))
    SAMPLE = [*sorted({path.as_posix() for path in found} - {"search"}), TRIAL]


def load_build():
    spec = importlib.util.spec_from_file_location("course_site_build", ROOT / "site/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


# Sources


def svg_figure(color="currentColor"):
    return (
        '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="500pt" '
        'height="90pt" viewBox="0 0 500 90"><defs><style type="text/css">*{stroke-linejoin: round}'
        f'</style></defs><title>no</title><g id="axes_1"><path d="M0 40h400" stroke="{color}"/>'
        f'<text x="5" y="30" style="fill: {GREEN}">with</text><use href="#axes_1"/></g></svg>'
    )


def png_figure():
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (900, 200), "white").save(content, "png")
    return base64.b64encode(content.getvalue()).decode()


def trial():
    """A lesson with everything that a lesson may hold."""

    def code(text, tags=(), outputs=()):
        return nbformat.v4.new_code_cell(text, metadata={"tags": [*tags]}, outputs=[*outputs])

    def shown(data, metadata=None):
        return nbformat.v4.new_output("display_data", data, metadata=metadata or {})

    def asked(how):
        return shown({"text/markdown": f"**Predict first:** What then? {how}"})

    explorer, metadata = explorers.show("dance")._repr_mimebundle_()
    claim = claims.show(SETTLED or WAITING) if hasattr(claims, "show") else None
    card = claim._repr_html_() if claim else "<p>no claim</p>"
    drawn, alt = {"image/svg+xml": svg_figure()}, {"image/svg+xml": {"alt": "A line & more"}}
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], color=GREEN)
    own = plots.image(plots.svg(fig), "A line that rises")
    plt.close(fig)
    plain, words = {"image/png": png_figure()}, {"image/png": {"alt": "A white sheet"}}
    cells = [
        nbformat.v4.new_markdown_cell("# 99 · Trial\n\n**5 minutes to read**\n\nHook."),
        code("explorers.show('dance')", ["hide-input"], [shown(explorer, metadata)]),
        nbformat.v4.new_markdown_cell(
            "Mean $\\bar h = \\frac{h}{1-r}$ as in [04](04_dropout.ipynb), and "
            "[code](../coursekit/train.py).\n\n$$E = \\sum_i w_i^2$$"
        ),
        nbformat.v4.new_markdown_cell("SECRET", metadata={"tags": ["lecturer"]}),
        code("# NBVAL_CHECK_OUTPUT\nguess", ["hide-output"], [shown(drawn, alt)]),
        code("answer()", ["hide-input", "hide-output"], [shown(drawn, alt)]),
        code("so()", ["hide-input"], [shown({"text/markdown": "So it is **7**."})]),
        code("plots()", ["hide-cell"], [shown(plain, words), shown(drawn, alt)]),
        code("plots", [], [shown({"text/html": own}), shown({"text/html": own})]),
        code("claims.show()", [], [shown({"text/html": card}), shown({"text/html": card})]),
        code("told()", ["hide-input"], [shown({"text/markdown": "It **helps** by 3 points."})]),
        code("long", [], [nbformat.v4.new_output("stream", name="stdout", text="word " * 99)]),
        code(
            "one = widgets.predict_number(\n    'How many?'\n)",
            [],
            [asked("(a number from −5 to 1,000 %)")],
        ),
        code("one.against(7)", ["hide-input", "hide-output"], [shown({"text/markdown": "Seven."})]),
        code("two = predict('Which?', (1, 2))", [], [asked("\n\n- the left\n- the *right*")]),
        code("two.against(2)", ["hide-input", "hide-output"], [shown({"text/markdown": "Right."})]),
        code("three = predict_curve('How?')\ntrain()", [], [asked("(draw error from 0 to 1)")]),
        nbformat.v4.new_markdown_cell(
            "<details><summary>The fault</summary>\n\nIt never was trained.\n\n</details>\n\n"
            "<details><summary>The proof</summary>\n\nBy parts.\n\n</details>"
        ),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "orphan": True}
    own = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    return json.loads(nbformat.writes(own))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folder of the web edition."""
    folder = tmp_path_factory.mktemp("site")
    source, out = folder / "source", folder / "out"
    build.gather(source)
    path = Path(f"{TRIAL}.ipynb")
    with pytest.MonkeyPatch.context() as public:
        public.setattr(build, "repository", lambda: "https://github.com/OWNER/COURSE")
        build.write(source / path, json.dumps(build.readable(trial(), path, source)))
    line = [sys.executable, "-m", "sphinx", *build.arguments(source, out)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_links_to_pages_stay_and_others_become_words():
    text = "[a](../docs/axes.md#x) [b](../coursekit/train.py) ![c](p.png) [d](https://e.org)"
    found = build.links(text, Path("notebooks/04_dropout.ipynb"))
    assert found == "[a](../docs/axes.md#x) b ![c](p.png) [d](https://e.org)"


@pytest.mark.parametrize("address", ["", "https://example.org/OWNER/COURSE"])
def test_no_address_no_link_to_run_it_elsewhere(address):
    assert build.elsewhere(Path("notebooks/04_dropout.ipynb"), address) == ""


def test_a_notebook_of_a_public_repository_can_be_run_elsewhere():
    text = build.elsewhere(Path("notebooks/04_dropout.ipynb"), "https://github.com/OWNER/COURSE")
    assert re.findall('href="([^"]*)"', text) == [
        "https://mybinder.org/v2/gh/OWNER/COURSE/HEAD?urlpath=lab/tree/notebooks/04_dropout.ipynb",
        "https://colab.research.google.com/github/OWNER/COURSE/blob/HEAD/notebooks/04_dropout.ipynb",
    ]
    assert "git+https://github.com/OWNER/COURSE</code>" in text


def test_outputs_become_markup(tmp_path):
    (tmp_path / "extra").mkdir()
    own = build.readable(trial(), Path(f"{TRIAL}.ipynb"), tmp_path)
    assert "SECRET" not in json.dumps(own)
    _, opening, _, answer, first, code, so, folded, *_ = own["cells"]
    assert (first["outputs"], code["outputs"]) == (first["outputs"][:1], [])  # answer, then code
    assert [one["metadata"]["tags"][0] for one in (first, code)] == ["remove-input", "hide-input"]
    told = ["sentence" in one["metadata"].get("tags", []) for one in own["cells"]]
    only_words = ("so()", "told()", "one = ", "two = ")  # the third question trains, too
    assert told == [one["source"].startswith(only_words) for one in own["cells"]]
    waits = ["of-the-answer" in one["metadata"].get("tags", []) for one in own["cells"]]
    of_others = [one for one in own["cells"] if "against" in one["source"] and not one["outputs"]]
    assert len(of_others) == 2  # their code, too
    assert waits == [one in (code, so, *of_others) for one in own["cells"]]
    assert "<script>" in opening["outputs"][0]["data"]["text/html"]
    assert answer["source"] == "guess"
    drawn = answer["outputs"][0]["data"]["text/html"]
    assert 'role="img" aria-label="A line &amp; more"' in drawn
    assert "<title>" not in drawn
    assert "*{" not in drawn
    assert "stroke-linejoin:round" in drawn
    assert "--ink-treated" in drawn
    again = folded["outputs"][1]["data"]["text/html"]
    names = [set(re.findall(r'(?: id="|href="#)([^"]+)', text)) for text in (drawn, again)]
    assert not names[0] & names[1]
    figure, second = (o["data"]["text/html"] for o in own["cells"][8]["outputs"])
    assert figure == second
    assert figure.count('alt="A line that rises"') == 2
    assert "base64" not in figure
    light, dark = re.findall(r'class="only-\w+" src="../([^"]+)"', figure)
    light, dark = ((tmp_path / "extra" / one).read_text() for one in (light, dark))
    assert "@media" not in light + dark
    assert plots.DARK[GREEN] not in light
    assert plots.DARK[GREEN] in dark
    assert 'alt="A white sheet"' in folded["outputs"][0]["data"]["text/html"]
    kinds = sorted(path.suffix for path in (tmp_path / "extra/figures").iterdir())
    assert kinds == [".png", ".svg", ".svg"]


def test_papers_and_modules_are_listed(tmp_path):
    told = build.reading()
    assert "- Cumming. *The new statistics*. Psychological Science 2014." in told
    for path in build.lessons():
        if path.name[:2] not in ("16",):  # of libraries, not of papers
            assert f"]({path})" in told, path
    listed = (tmp_path / build.api(tmp_path / "api")).read_text(encoding="utf-8")
    assert "[`coursekit.measure`](measure.md)" in listed
    assert {"train", "regularizers.decay", "linear"} <= set(build.public_modules())


def test_a_figure_that_knows_no_dark_page_gets_paper():
    assert 'class="figure paper' in build.drawing(svg_figure("#000000"), "", "k")
    assert 'class="figure wide' in build.drawing(svg_figure(), "", "k")


def test_each_lesson_has_a_question():
    numbers = {path.stem[:2] for path in build.lessons()}
    assert numbers <= set(build.QUESTIONS)


def test_what_waits_for_its_run_says_what_will_be_measured():
    for id in ("C44", "C39"):
        text = build.declared(record.find(id))
        assert "not run yet" in text
        assert "**Compares.**" in text
        assert f"coursekit claims run {id}" in text


# All pages, as files


class Page(HTMLParser):
    """Names, links and pictures of a page."""

    def __init__(self, text):
        super().__init__()
        self.names, self.links, self.silent = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        self.names.update(filter(None, (own.get("id"), own.get("name"))))
        self.links += [own[key] for key in ("href", "src", "action") if own.get(key)]
        if tag == "img" and "alt" not in own:
            self.silent.append(own.get("src"))


def read(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def broken(pages):
    """Links that lead nowhere, and pictures without words."""
    defects = []
    for path, page in pages.items():
        defects += [f"{path.name}: no words for {src}" for src in page.silent]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                defects.append(f"{path.name}: {link}")
            elif target in pages and parts.fragment:
                names = pages[target].names
                defects += [f"{path.name}: {link}"] * (unquote(parts.fragment) not in names)
    return defects


def test_no_link_is_broken(site):
    pages = read(site)
    assert len(pages) > len(record.records()) + len(build.notebooks())
    assert broken(pages) == []


def test_the_look_at_links_catches(site):
    pages = {p: one for p, one in read(site).items() if p.name == "index.html"}
    extra = '<a href="nowhere.html"></a><a href="index.html#nowhere"></a><img src="index.html">'
    [front] = [path for path in pages if path.parent == site]
    pages[front] = Page(front.read_text(encoding="utf-8") + extra)
    assert len([d for d in broken(pages) if "nowhere" in d]) == 2
    assert [d for d in broken(pages) if "no words" in d]


def test_each_claim_lesson_and_sheet_has_a_page(site):
    for id in record.records():
        assert (site / f"ledger/{id}.html").is_file()
    for path in (*build.notebooks(), *build.guides()):
        assert (site / path.with_suffix(".html")).is_file()


def test_pages_without_a_source_go(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    for path in (
        source / "a.b.md",
        source / "extra/plans/day.html",  # copied as it is
        out / "a.b.html",
        out / "plans/day.html",
        out / "gone.html",
        out / "search.html",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    build.remove_stale(source, out)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*.html")}
    assert left == {"a.b.html", "plans/day.html", "search.html"}


# In a browser


def weight(path):
    """Bytes that a server sends for a file: all of them send text compressed."""
    content = path.read_bytes()
    text = path.suffix in {".html", ".js", ".css", ".svg", ".json"}
    return len(gzip.compress(content, 6)) if text else len(content)


@contextmanager
def visit(browser, site, name, size=WIDE, **options):
    """A page opened as a file; what it should not do; and the bytes that it loads."""
    context = browser.new_context(viewport=size, **options)
    page, heard, loaded = context.new_page(), [], {}
    page.on("console", lambda m: heard.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(str(error)))

    def request(one):
        if one.url.startswith(("data:", "blob:")):
            return
        path = Path(unquote(urlsplit(one.url).path))
        if not one.url.startswith(site.as_uri()) or not path.is_file():
            heard.append(one.url)
        else:
            loaded[path] = weight(path)

    page.on("request", request)
    page.goto((site / f"{name}.html").as_uri())
    yield page, heard, loaded
    context.close()


@needs_chromium
@pytest.mark.parametrize("name", [*SAMPLE, "search"])
def test_a_page_is_light_quiet_and_fits_a_telephone(browser, site, name):
    with visit(browser, site, name, NARROW) as (page, heard, loaded):
        page.wait_for_timeout(300)
        assert too_wide(page) == []
        # What a reader loads who scrolls through all of it; figures behind folds come when opened.
        for y in range(0, page.evaluate("document.documentElement.scrollHeight"), 800):
            page.evaluate(f"scrollTo(0, {y})")
            page.wait_for_timeout(20)
        page.wait_for_timeout(200)
        assert sum(loaded.values()) < 1_000_000, loaded
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.wait_for_timeout(100)
        assert too_wide(page) == []
        assert heard == []


@needs_chromium
def test_what_leaves_fails_or_is_too_wide_is_noticed(browser, site):
    wrong = (
        "<img src='http://127.0.0.1:9/x.png' alt=''><script>oops()</script>"
        "<div style='width:900px'>wide</div></body>"
    )
    text = (site / "index.html").read_text(encoding="utf-8").replace("</body>", wrong)
    (site / "spoiled.html").write_text(text, encoding="utf-8")
    with visit(browser, site, "spoiled", NARROW) as (page, heard, loaded):
        page.wait_for_timeout(100)
        assert any("x.png" in one for one in heard)
        assert any("oops" in one for one in heard)
        assert too_wide(page)
        assert sum(loaded.values()) > 100_000  # the style and scripts are counted
    (site / "spoiled.html").unlink()


@needs_chromium
def test_explorers_live_on_pages(browser, site):
    for name in ("index", TRIAL):
        with visit(browser, site, name) as (page, heard, _):
            page.focus(".ex .seeds")
            page.keyboard.press("End")
            assert page.inner_text(".ex .say").startswith("96 seeds per study")
            if name == "index":
                eventually(page, "location.hash", "#seeds=96&epochs=40&draw=1")
            else:
                page.wait_for_timeout(200)
                assert page.evaluate("location.hash") == ""
            assert heard == []


# Of the page, an explorer, words in a figure.
COLORS = """() => [["body", "color"], [".ex .say", "color"], [".figure text", "fill"]].map(
    ([one, kind]) => getComputedStyle(document.querySelector(one))[kind])"""


@needs_chromium
def test_explorers_and_figures_follow_the_switch(browser, site):
    with visit(browser, site, TRIAL, color_scheme="light") as (page, heard, _):
        light = page.evaluate(COLORS)
        page.click(".theme-switch-button:visible")
        page.click(".theme-change-button[data-mode=dark]")
        dark = page.evaluate(COLORS)
        green, bright = "rgb(0, 112, 79)", "rgb(79, 217, 172)"
        assert light == [*["rgb(28, 28, 28)"] * 2, green]
        assert dark == [*["rgb(237, 237, 237)"] * 2, bright]
        shown = page.locator("[alt='A line that rises']")
        assert [one.is_visible() for one in shown.all()] == [False, True] * 2
        paper = "getComputedStyle(document.querySelector('.figure.paper')).backgroundColor"
        assert page.evaluate(paper) == "rgb(255, 255, 255)"
        assert heard == []


UNSEEN = """() => [...document.querySelectorAll("svg text")]
    .filter(one => getComputedStyle(one).fill === "none").map(one => one.textContent)"""


@needs_chromium
def test_words_in_drawings_have_a_color(browser, site):
    with visit(browser, site, f"ledger/{SETTLED}") as (page, heard, _):
        counted(page, "svg.forest", 1)
        assert page.locator("svg.forest text").first.text_content().strip()
        assert page.evaluate(UNSEEN) == []
        page.evaluate("document.querySelectorAll('svg.forest style').forEach(s => s.remove())")
        assert page.evaluate(UNSEEN)  # the look sees it when the style is lost
        assert heard == []


@needs_chromium
def test_folds_formulas_and_answers(browser, site):
    with visit(browser, site, TRIAL) as (page, heard, _):
        page.wait_for_selector("mjx-container")
        counted(page, "mjx-container", 2)
        counted(page, "mjx-merror", 0)
        folds = page.locator("div.cell details.hide > summary:visible").all_inner_texts()
        assert [" ".join(text.split()) for text in folds] == [
            "Show the code", "Show the answer", "Show the answer", "Show code and result",
            *["Show the code"] * 2, "Show the answer", "Show the code", "Show the answer",
        ]  # fmt: skip
        assert page.locator(".figure svg").first.is_hidden()
        page.click("text=Show the answer")
        assert page.locator(".figure svg").first.is_visible()
        # What belongs to an answer is there with it, and not before.
        rest = page.locator(".tag_of-the-answer")
        assert [one.is_visible() for one in rest.all()] == [False] * 4
        page.locator("text=Show the answer").nth(1).click()
        assert [one.is_visible() for one in rest.all()] == [True, True, False, False]
        assert "So it is 7." in rest.nth(1).inner_text()
        # All answers at once, and none.
        button = page.locator(".answers button")
        for word, shown in (("Show", True), ("Hide", False)):
            assert button.inner_text() == f"{word} all answers"
            button.click()
            fault = page.locator("text=It never was trained.")  # what a bug hunt looks for
            looks = (page.locator(".figure svg").first, rest.last, fault)
            assert [one.is_visible() for one in looks] == [shown] * 3
            assert page.locator("text=By parts.").is_hidden()
        assert heard == []


@needs_chromium
def test_a_guess_stands_above_its_answer(browser, site):
    with visit(browser, site, TRIAL) as (page, heard, _):
        number, choice = page.locator(".your-guess").all()
        assert page.locator("text=a number from").count() == 0
        assert "% (−5 to 1,000)" in number.inner_text()
        field = number.locator("input")
        assert [field.get_attribute(name) for name in ("min", "max")] == ["-5", "1000"]
        assert "Sketch it on paper: error from 0 to 1." in page.locator("article").inner_text()
        answers = page.locator("text=Show the answer").all()[-2:]
        answers[0].click()  # without a guess nothing is said of one
        assert page.locator(".guessed:visible").count() == 0
        page.locator("text=Hide the answer").locator("visible=true").click()
        number.get_by_label("Your guess").fill("12.5")
        choice.get_by_label("the right").check()
        for one in page.locator("text=Show the answer").all()[-2:]:
            one.click()
        found = page.locator(".guessed:visible").all_inner_texts()
        assert found == ["Your guess: 12.5 %.", "Your guess: the right."]
        assert heard == []


@needs_chromium
def test_the_board_can_be_narrowed(browser, site):
    with visit(browser, site, "ledger/index") as (page, heard, _):
        counted(page, "tbody tr:visible", len(record.records()))
        label = page.locator(".narrow label").nth(1)
        word, n = re.search(r"([a-z][a-z ]+?)\s*(\d+)$", label.inner_text()).groups()
        label.click()
        counted(page, "tbody tr:visible", int(n))
        assert set(page.locator("tbody tr:visible .answer").evaluate_all(
            "all => all.map(one => one.dataset.answer)"
        )) == {word}  # fmt: skip
        assert page.inner_text("[role=status]") == f"{n} of {len(record.records())} claims: {word}."
        assert heard == []


@needs_chromium
def test_search_works_in_a_folder_of_files(browser, site):
    with visit(browser, site, "search") as (page, heard, _):
        page.goto((site / "search.html").as_uri() + "?q=dropout")
        page.wait_for_selector("#search-results li")
        page.locator("#search-results a", has_text="Dropout").first.wait_for()
        assert heard == []


# Access


@pytest.fixture(scope="module")
def served(site):
    with serving(site) as address:
        yield f"{address}/{{}}.html"


def violations(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [(one["id"], [node["html"][:160] for node in one["nodes"]][:4]) for one in found]


@needs_chromium
@pytest.mark.parametrize("name", SAMPLE)
def test_axe_finds_nothing(browser, served, name):
    page, found = browser.new_page(viewport=WIDE), {}
    page.goto(served.format(name))
    page.wait_for_timeout(300)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        if not name.startswith("workshop/"):  # plans to print have no theme to switch
            page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
        page.wait_for_timeout(350)  # colors fade
        if defects := violations(page):
            found[scheme] = defects
    page.close()
    assert found == {}


@needs_chromium
def test_axe_catches(browser, served):
    page = browser.new_page(viewport=NARROW)
    page.goto(served.format(TRIAL))
    page.evaluate("""() => {
        document.querySelector(".figure svg").removeAttribute("aria-label");
        document.querySelectorAll("details").forEach(d => { d.open = true; });
        document.querySelector("article h1").style.color = "#bbb";
        document.querySelectorAll("[tabindex]").forEach(one => one.removeAttribute("tabindex"));
    }""")
    found = {name for name, _ in violations(page)}
    assert found >= {"svg-img-alt", "color-contrast", "scrollable-region-focusable"}
    page.close()
