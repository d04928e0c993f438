"""`coursekit explorers`: train their data anew, take their pictures, write them as pages."""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from coursekit import explorers
from coursekit.commands.film import film
from coursekit.results.files import replace_file

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LIMIT = 150_000  # bytes of data per explorer
# Setting that moves, name of its slider, values, and the one where the film stands still.
FILMS = {"dance": ("seeds", "Seeds per study", (1, 2, 4, 8, 16, 32, 96), 16)}


def act(args: argparse.Namespace) -> int:
    """Do what `coursekit explorers ACTION` says; return the exit status."""
    names = args.names or list(explorers.TITLES)
    for name in names:
        explorers.show(name)  # an unknown name ends here
    for name in names:
        if args.action == "data":
            print(write_data(name))
        elif args.action == "picture":
            print(write_picture(name))
        elif args.action == "film":
            print(write_film(name))
        elif args.action == "page":
            print(write_page(name, Path(args.out)))
        else:
            size = len(json.dumps(explorers.stored(name))) / 1000
            print(f"{name:8} {explorers.TITLES[name]}; {size:.0f} kB of data")
    return 0


def write_data(name: str) -> Path:
    """Measure an explorer's data, and store them with versions and date.

    Raises
    ------
    ValueError
        If they are larger than a page should carry.
    """
    own = import_module(f"coursekit.explorers.{name}")
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("torch", "numpy"))
    origin = {"versions": f"Python {sys.version.split()[0]}, {versions}"}
    origin["date"] = datetime.now(UTC).date().isoformat()
    content = json.dumps(own.measure() | origin, separators=(",", ":")).encode()
    if len(content) > LIMIT:
        raise ValueError(f"expected at most {LIMIT} bytes of data for {name}, got {len(content)}")
    path = explorers.folder() / f"{name}.json"
    replace_file(path, content)
    return path


def write_picture(name: str) -> Path:
    """Take the picture of an explorer's opening state, in Chromium.

    Raises
    ------
    ValueError
        If there is no Chromium.
    """
    with chromium() as browser:
        drawn = picture(browser, name)
    path = explorers.folder() / f"{name}.svg"
    replace_file(path, drawn.encode() + b"\n")
    return path


def write_film(name: str) -> Path:
    """Take pictures of an explorer while its slider moves, in Chromium, and join them to a film.

    Raises
    ------
    ValueError
        If no film is planned of this explorer, or there is no Chromium.
    """
    if name not in FILMS:
        raise ValueError(f"expected an explorer with a film ({', '.join(FILMS)}), got {name!r}")
    setting, label, values, still = FILMS[name]
    with chromium() as browser:
        frames = [picture(browser, name, **{setting: value}) for value in values]
    moving = film(frames, [str(value) for value in values], label, still=values.index(still))
    path = explorers.folder() / f"{name}.film.svg"
    replace_file(path, moving.encode() + b"\n")
    return path


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Debian's or Google's browser, as Playwright drives it."""
    from playwright.sync_api import sync_playwright

    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
    )
    if not found:
        raise ValueError(
            "expected Chromium to take the picture, got none; try apt install chromium"
        )
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def picture(browser: "Browser", name: str, **state: object) -> str:
    """An explorer in a state, as SVG that stands alone."""
    page = browser.new_page(viewport={"width": 760, "height": 900})
    page.set_content(explorers.show(name, **state).page())
    page.wait_for_selector("svg[data-picture][viewBox]")
    page.wait_for_timeout(500)  # what moves has arrived
    drawn = page.evaluate(TAKE, explorers.bundle(name))
    page.close()
    return drawn


def write_page(name: str, out: Path) -> Path:
    """Write an explorer as a page that works from a file."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.html"
    replace_file(path, explorers.show(name).page().encode())
    return path


TAKE = """async module => {
  const kit = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  return kit.standalone(document.querySelector("svg[data-picture]"));
}"""
