"""Nothing that a student wrote runs in the browser of whoever looks at it: tried in Chromium.

Each payload tells a server of ours when it runs or fetches something, starts a kernel, and opens a
dialog. The same payloads in an ordinary export of the same notebook show that they work.
"""

import base64
import http.server
import json
import os
import threading
from contextlib import contextmanager, suppress

import nbformat
import pytest
from browsing import CHROMIUM, needs_chromium
from test_grading_fake import FakeBox
from test_nbgrader import LESSON, NAME, WRITTEN, fetched, nbgrader, serving, submit

from coursekit.exercises import pages
from coursekit.grading import assignments
from coursekit.grading.coordinator import grade_all

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = needs_chromium

DOT = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc"
    b"\xf8\xcf\xc0\xf0\x1f\0\5\0\1\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82"
).decode()


MARKUP = "<img src=x onerror=alert(1)>"


def script(name: str, port: int) -> str:
    """Code without quotes of the other kind, brackets or line ends, as attributes allow it."""
    return (
        f"fetch('http://127.0.0.1:{port}/{name}');"
        "fetch('/api/kernels',{method:'POST',headers:{'X-XSRFToken':"
        "(document.cookie.match(/_xsrf=([^;]+)/)||[])[1]}});"
        f"alert('{name}')"
    )


def texts(port: int) -> dict[str, str]:
    """Markdown, by the kind of its payload."""
    here = f"http://127.0.0.1:{port}"
    js = {name: script(name, port) for name in (
        "script", "module", "image-error", "svg", "frame", "frame-address", "anchor", "link",
        "reference", "entity", "autolink", "toggle", "video", "focus", "comment", "heading",
        "picture-text", "title", "formula", "diagram", "table", "list", "object", "math-element",
    )}  # fmt: skip
    page = {name: f"<script>{code}</script>" for name, code in js.items()}
    encoded = base64.b64encode(page["link"].encode()).decode()
    return {
        "script": page["script"],
        "module": f'<script type="module">{js["module"]}</script>',
        "script-address": f'<script src="{here}/script-address"></script>',
        "image-error": f'<img src="data:," onerror="{js["image-error"]}">',
        "svg": f'<svg onload="{js["svg"]}"><circle r="3"/></svg>',
        "frame": f'<iframe srcdoc="{page["frame"]}"></iframe>',
        "frame-address": f'<iframe src="javascript:{js["frame-address"]}"></iframe>',
        "anchor": f'<a href="javascript:{js["anchor"]}">click</a>',
        "link": f"[click](data:text/html;base64,{encoded})",
        "link-script": "[click](javascript:fetch%28%27" + here + "/link-script%27%29)",
        "reference": f"[click][target]\n\n[target]: javascript:fetch('{here}/reference')",
        "entity": f"[click](&#106;avascript&colon;fetch&lpar;'{here}/entity'&rpar;)",
        "autolink": f"<javascript:fetch('{here}/autolink')>",
        "toggle": f'<details open ontoggle="{js["toggle"]}"><summary>s</summary></details>',
        "video": f'<video><source onerror="{js["video"]}"></video>',
        "focus": f'<input autofocus onfocus="{js["focus"]}">',
        "comment": f'<!--><img src=x onerror="{js["comment"]}"> -->',
        "style": f"<style>@import url({here}/style);</style>",
        "style-attribute": f'<p style="background:url({here}/style-attribute)">text</p>',
        "sheet": f'<link rel="stylesheet" href="{here}/sheet">',
        "refresh": f'<meta http-equiv="refresh" content="0;url={here}/refresh">',
        "object": f'<object data="{here}/object"></object><embed src="{here}/object">',
        "picture": f"![plot]({here}/picture.png)",
        "picture-text": f'!["><img src=x onerror="{js["picture-text"]}">](a.png)',
        "picture-reference": f"![plot][p]\n\n[p]: {here}/picture-reference",
        "title": f"[click](https://example.org \"x' onmouseover='{js['title']}\")",
        "heading": f'# Result <img src=x onerror="{js["heading"]}">',
        "table": f'| a | b |\n|---|---|\n| <img src=x onerror="{js["table"]}"> | 1 |',
        "list": f'- item\n  - <img src=x onerror="{js["list"]}">',
        "formula": rf"$\href{{javascript:{js['formula']}}}{{click}}$",
        "formula-box": rf"$\bbox[background:url({here}/formula-box)]{{x}}$",
        "formula-style": rf"$\style{{background:url({here}/formula-style)}}{{x}}$",
        "math-element": f'<math><mtext><img src=x onerror="{js["math-element"]}"></mtext></math>',
        "diagram": f'```mermaid\nflowchart LR\nA["<img src=x onerror={js["diagram"]}>"]\n```',
        "base": f'<base href="{here}/base/">\n\n![plot](plot.png)',
    }


def around(port: int) -> list[dict]:
    """Cells whose danger lies outside their text."""
    js = {name: script(name, port) for name in (
        "attachment", "kind", "raw", "output", "javascript", "svg-output", "latex", "grade-id",
        "error",
    )}  # fmt: skip
    svg = base64.b64encode(f'<svg onload="{js["attachment"]}"/>'.encode()).decode()
    out = {
        "text/html": f"<script>{js['output']}</script>",
        "image/svg+xml": f'<svg onload="{js["svg-output"]}"/>',
        "text/latex": f'<img src=x onerror="{js["latex"]}">',
    }
    display = [
        {"output_type": "display_data", "metadata": {}, "data": {kind: value}}
        for kind, value in (out | {"application/javascript": js["javascript"]}).items()
    ]
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "0" * 32}}
    display.append({"output_type": "display_data", "metadata": {}, "data": view})
    wrong = {"output_type": "error", "ename": "E", "evalue": "e"}
    display.append(wrong | {"traceback": [f'<img src=x onerror="{js["error"]}">']})
    empty = {"cell_type": "markdown", "metadata": {}}
    kind = f'image/png" onerror="{js["kind"]}'
    mark = {"grade_id": f'"><img src=x onerror="{js["grade-id"]}">', "grade": True}
    mark |= {"locked": False, "solution": True, "points": 1, "schema_version": 3, "task": False}
    return [
        empty | {"id": "a1", "source": "![a](attachment:a.svg)",
                 "attachments": {"a.svg": {"image/svg+xml": svg}}},
        empty | {"id": "a2", "source": "![b](attachment:b.png)",
                 "attachments": {"b.png": {kind: "AAAA"}}},
        {"cell_type": "raw", "id": "a3", "metadata": {"raw_mimetype": "text/html"},
         "source": f"<script>{js['raw']}</script>"},
        {"cell_type": "code", "id": "a4", "metadata": {}, "execution_count": 1, "source": "1",
         "outputs": display},
        empty | {"id": "a5", "source": "tagged",
                 "metadata": {"tags": ["\"><img src=x onerror=alert('tag')>"]}},
        empty | {"id": "\"><img src=x onerror=alert('id')>", "source": "id"},
        empty | {"id": "a7", "source": "graded", "metadata": {"nbgrader": mark}},
    ]  # fmt: skip


HONEST = """It keeps the **mean**, since $E[m] = 1 - p$ and $a < b$.

| p | loss |
|---|---|
| 0.5 | 0.31 |

```python
if a < b and x[0](1): pass
```

See [the paper](https://example.org/dropout). ![curve](attachment:curve.png)
"""


def handed_in(nb, port: int) -> None:
    """Put everything into a solved notebook, as a student can with a text editor."""
    cell = next(c for c in nb.cells if c["id"] == pages.cell_id(f"{WRITTEN[0].name}-explain"))
    cell.source = HONEST + "\n\n" + "\n\n".join(list(texts(port).values())[:12])
    cell.attachments = {"curve.png": {"image/png": DOT}}
    more = [
        {"cell_type": "markdown", "id": f"m{i}", "metadata": {}, "source": text}
        for i, text in enumerate(texts(port).values())
    ]
    nb.cells += [nbformat.from_dict(cell) for cell in (*more, *around(port))]
    js = script("metadata", port)
    nb.metadata.title = f"</title><script>{js}</script>"
    nb.metadata.language_info = {"name": f'"><img src=x onerror="{js}">'}
    nb.metadata.kernelspec = {"name": "python3", "display_name": f'<img src=x onerror="{js}">'}
    state = {"0" * 32: {"model_name": "HTMLModel", "model_module": "@jupyter-widgets/controls",
                        "state": {"value": f"<script>{js}</script>"}}}  # fmt: skip
    nb.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": state}}


@pytest.fixture(scope="module")
def canary():
    """A server that notes what is fetched from it."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.path.strip("/"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], heard
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def course(tmp_path_factory, canary):
    """A course in nbgrader with two submissions, graded; answers run in no box, being the same."""
    folder = tmp_path_factory.mktemp("course")
    assignments.init(folder, [LESSON])
    config = folder / "nbgrader_config.py"
    config.write_text(config.read_text() + UNBOXED)
    nbgrader(folder, "generate_assignment", NAME)
    for student in ("ada", MARKUP):
        submit(folder, student, set())
        path = folder / "submitted" / student / NAME / f"{NAME}.ipynb"
        nb = json.loads(path.read_text())
        nb = nbformat.from_dict(nb)
        handed_in(nb, canary[0])
        path.write_text(json.dumps(nb))
    told = nbgrader(folder, "autograde", NAME, fails=True)  # of one, and the other one is graded
    assert "expected a student's folder without" in told
    nbgrader(folder, "generate_feedback", NAME)
    return folder


# What runs in the box is not this test's matter: a fake one needs no sandbox.
UNBOXED = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_grading_fake import FakeBox
from coursekit.grading import nbgrader
nbgrader._box = FakeBox
"""


@contextmanager
def looking(canary):
    """A browser's page, and what happened in it: dialogs, and calls of our server."""
    heard = canary[1]
    heard.clear()
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        happened = heard  # both are lists of names

        def dismiss(dialog):
            happened.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", dismiss)
        # Whatever a page takes from the network at large is not there.
        page.route(
            "**/*",
            lambda route: (
                route.continue_()
                if "//127.0.0.1" in route.request.url
                or route.request.url.startswith(("data:", "file:", "blob:"))
                else route.abort()
            ),
        )
        yield page, happened
        browser.close()


def read_closely(page, address: str) -> None:
    """Open a page, move over it and click what can be clicked in what a student wrote."""
    page.goto(address, wait_until="load")
    with suppress(playwright.Error):
        page.wait_for_timeout(300)
        for link in page.locator("a[href]").all():
            target = link.get_attribute("href") or ""
            if target.split(":")[0].lower() in ("javascript", "data", "vbscript"):
                link.hover(timeout=500, force=True)
                link.click(timeout=500, force=True, no_wait_after=True)
    page.wait_for_timeout(150)


@pytest.mark.filterwarnings("ignore")
def test_the_payloads_work_where_nobody_stops_them(course, canary, tmp_path):
    from nbconvert import HTMLExporter

    path = course / "submitted" / "ada" / NAME / f"{NAME}.ipynb"
    kinds = [*texts(canary[0]), "attachment", "raw", "output", "javascript", "tag"]
    found = set()
    with looking(canary) as (page, happened):
        page.set_default_navigation_timeout(10_000)  # for pages that never come to their end
        for number, text in enumerate([*texts(canary[0]).values(), path]):
            if text is path:
                nb = nbformat.reads(path.read_text(), as_version=4)
                nb.cells = [cell for cell in nb.cells if "onerror" not in cell["id"]]
                body = HTMLExporter().from_notebook_node(nb)[0]
            else:
                cell = nbformat.v4.new_markdown_cell(text)
                body = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))[0]
            (tmp_path / f"{number}.html").write_text(body)
            with suppress(playwright.Error):  # some navigate away
                read_closely(page, (tmp_path / f"{number}.html").as_uri())
        found = {name.removesuffix(".png").split("/")[0] for name in happened}
    assert len(found & set(kinds)) >= 25, (sorted(found), sorted(set(kinds) - found))


def test_nothing_runs_in_the_formgrader(course, canary):
    with serving(course) as address, looking(canary) as (page, happened):
        found = fetched(f"{address}/formgrader/api/submissions/{NAME}?token=key")
        assert {one["student"] for one in found} == {"ada", MARKUP}
        page.goto(f"{address}/formgrader/?token=key")
        notebooks = fetched(f"{address}/formgrader/api/submitted_notebooks/{NAME}/{NAME}?token=key")
        for part in (
            "", "manage_submissions/" + NAME, "manage_students", f"gradebook/{NAME}",
            f"gradebook/{NAME}/{NAME}", f"gradebook/{NAME}/{NAME}?show_names=1",
            *(f"submissions/{one['id']}/" for one in notebooks),
        ):  # fmt: skip
            read_closely(page, f"{address}/formgrader/{part}")
        kernels = fetched(f"{address}/api/kernels?token=key")
        assert (happened, kernels) == ([], [])


def test_nothing_runs_in_feedback(course, canary, tmp_path):
    grade_all([course / "submitted"], LESSON, FakeBox, out=tmp_path)
    ours, theirs = [*tmp_path.glob("feedback/*.html")], [*course.glob("feedback/*/*/*.html")]
    assert (len(ours), len(theirs)) == (2, 1)
    with looking(canary) as (page, happened):
        for path in (*ours, *theirs):
            read_closely(page, path.as_uri())
        assert happened == []


def test_honest_text_still_looks_right(course, canary):
    path = course / "feedback" / "ada" / NAME / f"{NAME}.html"
    with looking(canary) as (page, _):
        page.goto(path.as_uri())
        assert page.locator("strong", has_text="mean").count() == 1
        assert page.locator("td", has_text="0.31").count() == 1
        assert page.get_by_role("link", name="the paper").get_attribute("href") == (
            "https://example.org/dropout"
        )
        assert page.locator("img[alt=curve]").evaluate("i => i.naturalWidth") == 1
        text = page.inner_text("body")
        assert "$a < b$" in text or "a<b" in text.replace(" ", "")
        assert "if a < b and x[0]" in text
