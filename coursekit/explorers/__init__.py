"""Explorers: pictures that can be moved, the same in JupyterLab and on a page without a kernel.

An explorer is one JavaScript module, `NAME.js`, in anywidget's format, with data that the course
measured, `data/explorers/NAME.json`, a stored picture of its opening state, `NAME.svg`, and a
Python module `NAME.py` that says how the data were made. `kit.js` is what all of them share.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

from coursekit.results.files import data_folder

HERE = Path(__file__).resolve().parent
TITLES = {
    "dance": "The dance of the intervals",
    "curve": "A curve through twenty points",
    "answers": "The map of answers",
    "decay": "What weight decay leaves of a weight",
    "masks": "A network in pieces",
    "companions": "A digit and its companions",
    "wall": "The memorization wall",
    "invariance": "Trained with this, tested on that",
    "filmstrip": "The film strip",
}


def _steps(low: float, high: float, step: float) -> tuple[float, ...]:
    return tuple(round(low + step * i, 2) for i in range(round((high - low) / step) + 1))


_DECADES = (*(float(f"{m}e{d}") for d in range(-6, 2) for m in (1, 2, 5)), 100.0)
# Where each explorer may open; the first value of each is its opening state.
STATES = {
    "dance": {
        "seeds": (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96),
        "epochs": (40, 80),
        "draw": range(1, 1000),
    },
    "curve": {
        "parameters": (
            *(4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25),
            *(26, 28, 30, 33, 36, 40, 45, 50, 60, 70, 80, 100, 120, 150, 200, 250, 300, 400),
        ),
        "noise": (0.3, 0, 0.1, 0.5),
        "ridge": (0, 0.0001, 0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
        "even": (0, 1),  # places: at random, or evenly spaced
        "fan": (0, 1),  # whether forty other draws of the noise are shown
        "draw": range(1, 1000),
    },
    "answers": {
        "strength": _steps(0.0, 1.5, 0.05),
        "ratio": _steps(0.0, 1.0, 0.05)[::-1],  # share of L1: 1 is L1 alone, 0 is L2
        "w1": (1.7, *_steps(-2.9, 2.9, 0.01)),
        "w2": (0.6, *_steps(-1.9, 1.9, 0.01)),
        "cloud": (0, 1),
    },
    "decay": {
        "steps": (0, 10, 20, 50, *range(100, 1000, 100), 1000, 1200, 1500, 2000, 3000, 5000, 10000),
        "strength": (0.5, *(v for v in _DECADES if v != 0.5 and v <= 10)),
        "quiet": (1e-4, *(v for v in _DECADES if v != 1e-4)),
        "loud": (10.0, *(v for v in _DECADES if v != 10)),
        "guessed": (0, 1, 2),
    },
    "masks": {
        "rate": (0, 10, 20, 30, 40, 50, 60, 70, 80),  # percent
        "masks": range(1, 1001),
        "digit": (5, 0, 1, 2, 3, 4, 6, 7, 8, 9),
        "unit": (9, *range(1, 9), *range(10, 17)),
    },
    "companions": {
        "size": (10, 2, 3, 4, 5, 6, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64),
        "company": (10, *range(10)),  # 10: digits of all kinds
        "stored": (0, 1),  # whether the statistics of training normalize, instead of the batch's
        "draw": range(1, 201),
        "digit": (4, 0, 1, 2, 3, 5, 6, 7, 8, 9),
        "unit": (1, *range(2, 17)),
    },
    "wall": {
        "epoch": (*range(21), *range(22, 41, 2), *range(45, 81, 5), *range(90, 121, 10)),
        "network": (1, 2, 3, 4),
    },
    "invariance": {
        "strength": (0, 1, 2, 3),  # of the changes in training; 2 is that of the tests
        "trained": (2, 1, 3, 4, 5, 6, 7),  # rows, from the top
        "tested": (2, 1, 3, 4, 5, 6, 7),  # columns, from the left
        "open": (0, 1),  # whether all numbers are uncovered
    },
    "filmstrip": {
        "survival": (100, 90, 80, 70, 60, 50, 40, 30, 20),  # of the last block, percent
        "rule": (0, 1),  # linear, or uniform with the same expected depth
        "blocks": (12, 6, 24),
        "step": (32, *range(1, 32), *range(33, 1001)),
        "test": (0, 1),  # whether the rules for test time are shown
        "trained": (0, 1),  # whether the trained networks are shown
    },
}


def folder() -> Path:
    """Folder of the data and pictures: of the checkout, or of the installed package."""
    return data_folder("explorers")


def stored(name: str) -> dict:
    """Data of an explorer, as they are stored."""
    return json.loads((folder() / f"{_known(name)}.json").read_text(encoding="utf-8"))


def bundle(name: str) -> str:
    """Return the kit and the explorer's module as one module without imports."""
    return with_kit(HERE / f"{_known(name)}.js")


def with_kit(module: Path) -> str:
    """Return the kit and a module that imports from it as one module without imports."""
    kit, own = (path.read_text(encoding="utf-8") for path in (HERE / "kit.js", module))
    return kit + re.sub(r"^import .*$", "", own, flags=re.M)


class Explorer:
    """A picture that can be moved; the last line of a cell shows it.

    Attributes
    ----------
    name : str
    state : dict
        Where it opens; in JupyterLab, where the reader has moved it.
    """

    def __init__(self, name: str, state: Mapping[str, int]):
        self.name, self._state, self._widget = name, dict(state), None

    @property
    def state(self) -> dict[str, int]:
        return dict(self._state if self._widget is None else self._widget.state)

    def __repr__(self) -> str:
        given = "".join(f", {key}={value}" for key, value in self.state.items())
        return f'explorers.show("{self.name}"{given})'

    def html(self, *, linked: bool = False) -> str:
        """Return a fragment that works without a kernel, a network, or (as a picture) scripts.

        Parameters
        ----------
        linked : bool
            Whether the state stands in the address of the page, which then has one explorer.
        """
        name = self.name
        values = {"data": stored(name), "state": self.state, "linked": linked}
        script = re.sub(r"^export (default .*$)?", "", bundle(name), flags=re.M)
        # A script ends at the first "</", whatever quotes stand around it.
        script, data = (part.replace("</", "<\\/") for part in (script, json.dumps(values)))
        return (
            f"<div>{_image(name)}</div>\n<script>(() => {{\n{script}\n"
            f"const values = {data};\n"
            "const model = { get: k => values[k], set(k, v) { values[k] = v; }, "
            "on() {}, off() {}, save_changes() {}, send() {} };\n"
            "render({ model, el: document.currentScript.previousElementSibling });\n})();</script>"
        )

    def page(self) -> str:
        """Return a whole page with this explorer alone: it works from a file."""
        return _PAGE.format(title=escape(TITLES[self.name]), body=self.html(linked=True))

    def _repr_mimebundle_(self, include=None, exclude=None):
        from coursekit.widgets import interactive

        shown = {
            "text/plain": repr(self),
            "text/html": self.html(),
            "image/svg+xml": picture(self.name),
        }
        metadata = {"image/svg+xml": {"alt": description(self.name)}}
        if interactive():
            if self._widget is None:
                data, state = stored(self.name), self._state
                self._widget = _widget(self.name)(data=data, state=state)
            live = self._widget._repr_mimebundle_()
            shown |= live[0] if isinstance(live, tuple) else live or {}
            shown["text/plain"] = repr(self)
        return shown, metadata


def show(name: str, **state: int) -> Explorer:
    """Show an explorer: live in JupyterLab, and the same on a page without a kernel.

    Parameters
    ----------
    name : str
        A key of `TITLES`.
    **state : int
        Where it opens, such as `seeds=16`; every explorer says below its picture which line
        brings back what is on the screen.

    Raises
    ------
    ValueError
        If there is no such explorer, or it has no such state.

    Examples
    --------
    >>> from coursekit import explorers
    >>> explorers.show("dance", seeds=16)
    explorers.show("dance", seeds=16, epochs=40, draw=1)
    """
    allowed = STATES[_known(name)]
    for key, value in state.items():
        if key not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}, got {key!r}")
        if value not in allowed[key]:
            raise ValueError(f"expected {key} among {_told(allowed[key])}, got {value!r}")
    return Explorer(name, {key: values[0] for key, values in allowed.items()} | state)


def picture(name: str) -> str:
    """Stored picture of the opening state, as SVG."""
    return (folder() / f"{_known(name)}.svg").read_text(encoding="utf-8")


def description(name: str) -> str:
    """What the stored picture shows, in words."""
    return re.search(r"<title>(.*?)</title>", picture(name))[1]


def _known(name: str) -> str:
    if name not in TITLES:
        raise ValueError(f"expected one of {', '.join(TITLES)}, got {name!r}")
    return name


def _told(values: Sequence[int]) -> str:
    if isinstance(values, range):
        return f"{values[0]} to {values[-1]}"
    if len(values) > 40:
        return f"{min(values)} to {max(values)}, to the hundredth"
    return ", ".join(map(str, values))


def _image(name: str) -> str:
    encoded = base64.b64encode(picture(name).encode()).decode()
    alt = escape(description(name), quote=True)
    return f'<img src="data:image/svg+xml;base64,{encoded}" alt="{alt}" style="max-width:100%">'


@cache
def _widget(name: str) -> type:
    import anywidget
    import traitlets

    class Widget(anywidget.AnyWidget):
        _esm = bundle(name)
        data = traitlets.Dict().tag(sync=True)
        state = traitlets.Dict().tag(sync=True)
        linked = traitlets.Bool(False).tag(sync=True)

    return Widget


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>
:root{{color-scheme:light dark}}
body{{margin:0;background:#fff;color:#1c1c1c;
 font:17px/1.5 system-ui,"Segoe UI",Helvetica,Arial,sans-serif}}
main{{max-width:1080px;margin:0 auto;padding:20px 18px 32px}}
h1{{font-size:1.55em;line-height:1.2;margin:0 0 .5em}}
@media (prefers-color-scheme:dark){{body{{background:#161616;color:#ededed}}}}
@media print{{:root{{color-scheme:light}}body{{background:#fff;color:#000}}}}
</style></head><body><main><h1>{title}</h1>
{body}
</main></body></html>
"""
