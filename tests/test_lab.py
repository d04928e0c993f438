"""JupyterLab as `coursekit lab` starts it: the server, and what a learner sees of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import pytest
from browsing import ROOT, counted, needs_chromium
from nbformat import v4

from coursekit.commands import cli
from coursekit.course import lessons, notebook


@contextmanager
def serving(*options, cwd, **env):
    """JupyterLab as `coursekit lab` starts it; gives the process and its address."""
    command = [sys.executable, "-u", "-m", "coursekit", "lab", "--no-browser", *options]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    process = subprocess.Popen(command, cwd=cwd, env=env, **pipe)
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "The course: " in line:
                break
        else:
            raise AssertionError("".join(said))
        yield process, line.split("The course: ")[1].strip()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def ask(base, path, token, body=None):
    request = urllib.request.Request(
        base + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read().decode()
    return json.loads(text) if path.startswith("api/") else text


def answer(base, kernel, token, source):
    """What a kernel of the server prints for `source`."""
    import websocket

    url = base.replace("http", "ws", 1) + f"api/kernels/{kernel}/channels?token={token}"
    channel = websocket.create_connection(url, timeout=60)
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": "u"}
    content = {"code": source, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}}
    channel.send(json.dumps({**message, "content": content, "channel": "shell", "buffers": []}))
    try:
        while True:
            reply = json.loads(channel.recv())
            if reply["msg_type"] == "stream" and reply["parent_header"].get("msg_id") == "1":
                return reply["content"]["text"].strip()
    finally:
        channel.close()


def test_lab_serves_the_lessons_and_runs_a_cell(tmp_path):
    # Any free port will do: JupyterLab takes the next one when this one is busy.
    with serving("--port", "18888", cwd=tmp_path, DISPLAY="") as (process, address):
        base, token = re.split(r"lab(?:/tree/.*)?\?token=", address)
        assert ask(base, "api/status", token)["started"]
        assert f"/lab/tree/{lessons.START}?" in address
        assert "jupyter-config-data" in ask(base, "lab", token)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(base, "api/contents", "wrong")
        listed = {entry["name"] for entry in ask(base, "api/contents", token)["content"]}
        assert {path.name for path in lessons.lessons()} <= listed
        kernel = ask(base, "api/kernels", token, {"name": "python3"})["id"]
        source = "import sys, os; print(sys.executable, 6 * 7, os.getpid())"
        executable, product, pid = answer(base, kernel, token, source).split()
        assert (executable, product) == (sys.executable, "42")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopping JupyterLab" in rest
    assert "Traceback" not in rest
    with pytest.raises(ProcessLookupError):
        wait_for_end(int(pid))
    with pytest.raises(OSError, match="refused"):
        ask(base, "api/status", token)


def wait_for_end(pid):
    for _ in range(100):
        os.kill(pid, 0)
        time.sleep(0.05)


def test_lab_says_when_jupyter_does_not_start(tmp_path, capfd):
    assert cli.main(["lab", "--no-browser", "--", "--no-such-option"]) == 1
    assert "expected JupyterLab to start, got exit status" in capfd.readouterr().err


def options_of(monkeypatch, tmp_path, *, root, display, browser=True):
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    argv = ["lab", *([] if browser else ["--no-browser"])]
    return cli._lab_options(cli._parser().parse_args(argv), tmp_path, "/tree/00_first.ipynb")


def test_lab_allows_root_only_for_root_and_opens_a_browser_only_on_a_display(monkeypatch, tmp_path):
    plain = options_of(monkeypatch, tmp_path, root=False, display=":0")
    assert "--allow-root" not in plain
    assert "--no-browser" not in plain
    assert "--LabApp.default_url=/lab/tree/00_first.ipynb" in plain
    assert "--allow-root" in options_of(monkeypatch, tmp_path, root=True, display=":0")
    assert "--no-browser" in options_of(monkeypatch, tmp_path, root=False, display="")
    assert "--no-browser" in options_of(
        monkeypatch, tmp_path, root=False, display=":0", browser=False
    )


def test_only_a_checkout_has_originals_to_edit(monkeypatch, capsys):
    monkeypatch.setattr(lessons, "checkout", lambda: None)
    assert cli.main(["lab", "--edit"]) == 1
    assert "expected a checkout for --edit, got an installed copy" in capsys.readouterr().err


# In a browser


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    yield context.new_page()
    context.close()


def opened(page, address):
    """Wait until JupyterLab shows a notebook, and its kernel is there."""
    page.goto(address, timeout=120_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)


def of_nbgrader(page):
    """Everything that JupyterLab shows of nbgrader, the palette of its commands included."""
    late = pytest.importorskip("playwright.sync_api").TimeoutError
    label = page.locator(".lm-CommandPalette-itemLabel").first
    for _ in range(2):  # a busy page can lose a key
        page.keyboard.press("Control+Shift+C")
        with suppress(late):
            label.wait_for(state="attached", timeout=45_000)
            break
    assert label.count(), "no palette"
    selector = (
        ".lm-MenuBar-itemLabel, .jp-SideBar .lm-TabBar-tab, .jp-Toolbar-item, "
        ".lm-CommandPalette-itemLabel, .lm-CommandPalette-header"
    )
    # At once, as the palette is drawn anew all the time.
    words = page.eval_on_selector_all(selector, "all => all.map(e => e.textContent + e.title)")
    page.keyboard.press("Escape")
    return [text for text in words if re.search("nbgrader|assignment|formgrader", text, re.I)]


def written(folder, pattern, text):
    """Whether a file with `text` is there soon; JupyterLab moves a file away while it writes."""
    for _ in range(100):
        with suppress(FileNotFoundError):
            if any(text in path.read_text(encoding="utf-8") for path in folder.glob(pattern)):
                return True
        time.sleep(0.1)
    return False


ASKED = ".Toastify__toast"


def answers_wait(page, address, folder):
    """What answers a question is not in sight below it until its cell is run."""
    stored = [v4.new_output("stream", text="It is seven.\n")]
    tags = {"tags": ["hide-input", "hide-output"], "jupyter": {"source_hidden": True}}
    answer = v4.new_code_cell("print('It is', 3 + 4)", outputs=stored, metadata=tags)
    question = v4.new_markdown_cell("How many are there?")
    notebook.write(
        notebook.strip(v4.new_notebook(cells=[question, answer])), folder / "asked.ipynb"
    )
    page.goto(address.replace(lessons.START, "asked.ipynb"), timeout=120_000)
    page.get_by_role("paragraph").get_by_text("How many are there?").wait_for()
    code = page.locator(".jp-CodeCell", has=page.locator(".jp-InputPlaceholder:visible"))
    code.wait_for()
    assert not page.get_by_text("It is seven.").is_visible()
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]:visible")
    code.click()
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Enter")
    page.get_by_text("It is 7").wait_for()


@needs_chromium
def test_a_learner_sees_the_course_and_nothing_else(page, tmp_path):
    own = {"HOME": str(tmp_path / "home"), "DISPLAY": ""}
    (tmp_path / "home").mkdir()
    with serving(cwd=tmp_path, **own) as (process, address):
        opened(page, address)
        assert of_nbgrader(page) == []
        page.wait_for_timeout(3000)  # the news are asked about late
        counted(page, ASKED, 0)
        answers_wait(page, address, tmp_path / lessons.COPY)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert "[W" not in rest
    assert "[E" not in rest


@needs_chromium
def test_who_edits_the_course_has_what_jupyterlab_has(page, tmp_path):
    pytest.importorskip("nbgrader")
    own = {"HOME": str(tmp_path / "home"), "DISPLAY": ""}
    (tmp_path / "home").mkdir()
    with serving("--edit", cwd=tmp_path, **own) as (process, address):
        page.goto(address, timeout=120_000)
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
        assert of_nbgrader(page)
        counted(page, ASKED, 1)
        process.send_signal(signal.SIGINT)  # while its kernel starts, which JupyterLab takes ill
        process.communicate(timeout=60)
    assert not (tmp_path / lessons.COPY).exists()


@needs_chromium
def test_what_a_learner_saves_is_a_copy_and_its_tab_is_there_the_next_time(page, tmp_path):
    originals = {path: path.read_bytes() for path in lessons.originals().glob("*.ipynb")}
    (tmp_path / "home").mkdir()
    own = {"HOME": str(tmp_path / "home"), "DISPLAY": ""}
    with serving(cwd=tmp_path, **own) as (_, address):
        opened(page, address.replace(lessons.START, "16_rosetta.ipynb"))
        page.locator(".jp-Notebook .jp-Cell").first.click()
        page.keyboard.press("Escape")
        page.keyboard.press("b")
        page.keyboard.press("Enter")
        page.keyboard.insert_text("mine = 6 * 7")
        page.keyboard.press("Control+s")
        copy = tmp_path / lessons.COPY / "16_rosetta.ipynb"
        assert written(copy.parent, copy.name, "mine = 6 * 7")
        assert written(tmp_path / lessons.COPY / ".coursekit" / "tabs", "*", "16_rosetta")
    assert {path: path.read_bytes() for path in originals} == originals
    page.goto("about:blank")
    with serving(cwd=tmp_path, **own) as (_, address):
        assert "/tree/" not in address
        page.goto(address, timeout=120_000)
        tab = page.locator(".jp-MainAreaWidget .jp-Notebook:visible")
        tab.wait_for(timeout=120_000)
        current = page.locator("#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current")
        assert "16_rosetta" in current.first.text_content()
