"""A film of an explorer: one SVG that moves without scripts, for a page that cannot run any.

Frames are pictures of the explorer at several settings. What is equal in all of them is drawn once;
what only moves or changes its color slides from frame to frame; the rest fades. Who prefers less
motion sees one frame, and for everybody else the film ends after a few rounds.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from xml.etree import ElementTree as ET

SVG = "http://www.w3.org/2000/svg"
SECONDS, ROUNDS = 2.2, 3  # of each frame, its passage to the next included; of the film
HOLD = 0.75  # share of a frame's time in which it stands still
SLIDES = ("stroke", "stroke-width")  # attributes that CSS can move, beside the style
HEAD = 58  # height of the slider above the picture


def film(frames: Sequence[str], values: Sequence[str], name: str, *, still: int) -> str:
    """Join pictures of equal size into one that moves.

    Parameters
    ----------
    frames : sequence of str
        The pictures, as SVG.
    values : sequence of str
        What the slider says in each.
    name : str
        Name of the slider, drawn above.
    still : int
        The frame that is shown to those who prefer less motion, and at the end.

    Returns
    -------
    str
        SVG.
    """
    ET.register_namespace("", SVG)
    roots = [ET.fromstring(_named_alike(frame)) for frame in frames]
    reel = _Reel(len(roots), still)
    out = ET.Element(f"{{{SVG}}}svg", roots[still].attrib)
    out.attrib.pop("data-picture", None)
    *_, width, height = map(float, out.get("viewBox").split())
    out.set("viewBox", f"0 {-HEAD} {width:g} {height + HEAD:g}")
    out.set("height", f"{height + HEAD:g}")
    told = f"A film over {name.lower()} {', '.join(values)}. At {values[still]}: "
    title, style, ground = (deepcopy(part) for part in roots[still][:3])
    title.text = told + title.text
    out.set("aria-label", title.text)
    ground.set("y", str(-HEAD))
    for root in roots:
        del root[:3]
    heads = [_head(name, value, k / (len(values) - 1), width) for k, value in enumerate(values)]
    parts = [
        *reel.joined(heads),
        *(part for nodes in zip(*roots, strict=True) for part in reel.joined(nodes)),
    ]
    style.text += reel.css()
    out.extend((title, style, ground, *parts))
    return ET.tostring(out, encoding="unicode")


def _named_alike(frame: str) -> str:
    # Explorers draw their ids, so that two can stand on one page.
    for k, own in enumerate(re.findall(r' id="([^"]+)"', frame)):
        frame = frame.replace(f'"{own}"', f'"part{k}"').replace(f"#{own})", f"#part{k})")
    return frame


def _head(name: str, value: str, share: float, width: float) -> ET.Element:
    left, right, y = 34.0, width - 90, 16 - HEAD / 2
    return ET.fromstring(
        f'<g xmlns="{SVG}"><text x="{left}" y="{y - 14}" class="ink bold">{name}</text>'
        f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="var(--grid)" stroke-width="4" '
        f'stroke-linecap="round"/><circle cy="{y}" r="8" fill="var(--strong)" '
        f'style="transform: translate({left + share * (right - left):.1f}px, 0px)"/>'
        f'<text x="{width - 24}" y="{y + 8}" text-anchor="end" class="ink bold" font-size="26">'
        f"{value}</text></g>"
    )


class _Reel:
    """Joins what stands at one place in all frames, and collects how it moves."""

    def __init__(self, n: int, still: int):
        self.n, self.still = n, still
        self.tracks: dict[tuple[str, ...], str] = {}  # declarations per frame, to a name

    def joined(self, nodes: Sequence[ET.Element]) -> list[ET.Element]:
        for node in nodes:
            for key in [k for k in node.attrib if k.startswith("data-")]:
                del node.attrib[key]
        texts = [ET.tostring(node, encoding="unicode") for node in nodes]
        if len(set(texts)) == 1:
            return [nodes[0]]
        return [self._slide(nodes)] if _alike(nodes) else self._fade(nodes, texts)

    def _slide(self, nodes: Sequence[ET.Element]) -> ET.Element:
        shown = ET.Element(nodes[0].tag, nodes[self.still].attrib)
        shown.text = nodes[0].text
        if any(_moves(node) != _moves(nodes[0]) for node in nodes):
            self._animate(shown, [_moves(node) for node in nodes])
        for children in zip(*nodes, strict=True):
            shown.extend(self.joined(children))
        return shown

    def _fade(self, nodes: Sequence[ET.Element], texts: Sequence[str]) -> list[ET.Element]:
        found = []
        for text in dict.fromkeys(texts):
            node = nodes[texts.index(text)]
            if len(node) or node.text or node.tag != f"{{{SVG}}}g":  # an empty group shows nothing
                node.set("opacity", str(int(texts[self.still] == text)))
                self._animate(node, [f"opacity:{int(other == text)}" for other in texts])
                found.append(node)
        return found

    def _animate(self, node: ET.Element, track: Sequence[str]) -> None:
        name = self.tracks.setdefault(tuple(track), f"m{len(self.tracks)}")
        node.set("class", f"{node.get('class', '')} {name}".strip())

    def css(self) -> str:
        """Rules for all that moves."""
        rules = []
        for track, name in self.tracks.items():
            steps = "".join(
                f"{100 * k / self.n:.3g}%,{100 * (k + HOLD) / self.n:.3g}%{{{told}}}"
                for k, told in enumerate(track)
            )
            rules.append(f"@keyframes {name}{{{steps}100%{{{track[0]}}}}}.{name}{{--m:{name}}}")
        names = ",".join(f".{name}" for name in self.tracks.values())
        length = f"{SECONDS * self.n:g}s"
        return (
            "\n@media (prefers-reduced-motion:no-preference){"
            f"{names}{{animation:var(--m) {length} ease-in-out {ROUNDS}}}}}\n" + "\n".join(rules)
        )


def _moves(node: ET.Element) -> str:
    slides = [f"{key}:{node.attrib[key]}" for key in SLIDES if key in node.attrib]
    return ";".join([node.get("style", "").strip("; "), *slides]).strip(";")


def _alike(nodes: Sequence[ET.Element]) -> bool:
    """Whether nodes differ in what can slide only, or in their children one by one."""

    def rest(node: ET.Element) -> tuple:
        fixed = {k: v for k, v in node.attrib.items() if k not in (*SLIDES, "style")}
        return node.tag, node.text, len(node), tuple(sorted(fixed.items()))

    return len({rest(node) for node in nodes}) == 1
