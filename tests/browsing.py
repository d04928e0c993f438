"""Looking at pages in Chromium: a look returns a list of defects, which is empty if all is well."""

import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from coursekit import explorers

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
WIDE, NARROW = {"width": 1100, "height": 900}, {"width": 390, "height": 844}


def in_browser(browser, name, script, argument=None, module=None):
    """What a function of JavaScript returns, which is given an explorer's module and data."""
    page = browser.new_page()
    code = f"""async ([module, data, argument]) => {{
        const blob = new Blob([module], {{ type: "text/javascript" }});
        const own = await import(URL.createObjectURL(blob));
        return ({script})(own, data, argument);
    }}"""
    given = [module or explorers.bundle(name), explorers.stored(name), argument]
    answer = page.evaluate(code, given)
    page.close()
    return answer


def written_page(folder: Path, name: str) -> Path:
    """An explorer's page as a file."""
    path = folder / f"{name}.html"
    path.write_text(explorers.show(name).page(), encoding="utf-8")
    return path


def spoiled(path: Path, old: str, new: str) -> Path:
    """The same file with a fault in it."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@contextmanager
def visit(browser, path, size=WIDE, **options):
    """A page, and what it should not do: errors, and requests that leave it."""
    context = browser.new_context(viewport=size, **options)
    page, heard = context.new_page(), []
    page.on("console", lambda m: heard.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    inside = (path.as_uri(), "data:", "blob:")
    page.on("request", lambda r: heard.append(r.url) if not r.url.startswith(inside) else None)
    page.goto(path.as_uri())
    yield page, heard
    context.close()


def eventually(page, script, wanted):
    """Wait until a script's value is the wanted one: what events start comes when it comes."""
    late = pytest.importorskip("playwright.sync_api").TimeoutError
    try:
        page.wait_for_function(
            "([script, wanted]) => JSON.stringify(eval(script)) === wanted",
            arg=[script, json.dumps(wanted, separators=(",", ":"), ensure_ascii=False)],
            timeout=10_000,
        )
    except late:
        raise AssertionError(f"{script}: {page.evaluate(script)!r}, not {wanted!r}") from None


def counted(page, selector, n):
    """Wait until a page has so many of something."""
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator(selector)).to_have_count(n, timeout=10_000)


@contextmanager
def serving(folder: Path):
    """A folder by HTTP: under file:// axe's own preload of styles fills the console with errors."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def jupyterlab(folder: Path, **environment):
    """JupyterLab on a folder: gives a pattern for the addresses of its notebooks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = ["-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    line += ["--ServerApp.token=key", "--ServerApp.port_retries=0"]
    env = {k: v for k, v in os.environ.items() if k != "COURSEKIT_STATIC"}
    env |= {"HOME": str(folder), "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(ROOT)}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")} | environment
    silent = folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    silent.parent.mkdir(parents=True)
    silent.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, *line], cwd=folder, env=env, **quiet) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/api?token=key", server)
            yield f"http://127.0.0.1:{port}/lab/tree/{{}}?reset&token=key"
        finally:
            end(server)


def end(server: subprocess.Popen) -> None:
    """Stop a Jupyter server, also one that does not obey because a kernel is just starting."""
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        server.kill()


def _wait_for(address, server):
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            assert server.poll() is None, "JupyterLab ended"
            threading.Event().wait(0.1)
    raise AssertionError("JupyterLab does not answer")


def violations(page, context=None):
    """What axe-core objects to."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, context=context).response["violations"]
    return [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found]


def too_wide(page):
    """Whether one would have to scroll sideways."""
    inside, there = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return [] if inside <= there else [f"{inside} of {there} pixels"]


OVERLAPS = """() => [...document.querySelectorAll("svg.chart")].flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map(
        t => [t.textContent, t.getBoundingClientRect()]);
    const out = texts.filter(([, a]) => a.left < frame.left - 1 || a.right > frame.right + 1);
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
        && a.top < b.bottom - 3 && b.top < a.bottom - 3;
    const pairs = texts.flatMap(([t, a], i) =>
        texts.slice(i + 1).filter(([, b]) => meet(a, b)).map(([u]) => t + " / " + u));
    return out.map(([t]) => t).concat(pairs);
})"""


def overlaps(page):
    """Labels of charts that meet, or leave their chart, once the page is at rest."""
    for _ in range(20):  # a chart may just be drawn anew
        if not (found := page.evaluate(OVERLAPS)):
            break
        page.wait_for_timeout(100)
    return found


LATENCY = """() => {
    const times = [];
    for (const slider of document.querySelectorAll(".ex input[type=range]")) {
        if (slider.disabled) continue;
        const [low, high, step] = [slider.min, slider.max, slider.step].map(Number);
        const steps = Math.round((high - low) / (step || 1)), own = [], before = slider.value;
        for (let k = 0; k < 60; k++) {
            slider.value = low + (step || 1) * ((7 * k) % (steps + 1));
            const start = performance.now();
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            document.body.getBoundingClientRect();
            own.push(performance.now() - start);
        }
        slider.value = before;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        times.push(own.sort((a, b) => a - b)[57]);
    }
    return Math.max(0, ...times);
}"""


def slow(page, limit=50):
    """Whether a slider redraws in more than 50 ms, at the 95th percentile."""
    took = min(page.evaluate(LATENCY) for _ in range(3))  # a busy machine must not fail this
    print(f"redraw, 95th percentile: {took:.1f} ms")
    return [] if took < limit else [f"{took:.0f} ms"]
