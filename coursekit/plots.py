"""Figures: one function per kind, one look for the whole course.

Functions take results and an `ax`, train nothing, and label the lines directly. One color per role,
safe for color-blind readers; line styles differ too, for print in gray.

A figure is shown as `<img>` with the drawing (SVG) inside and its alternative text, not as an
output of kind image/svg+xml: JupyterLab shows such an output in no notebook that it does not trust
yet, and gives it no alternative text; nor does nbconvert. An image in HTML is shown by all of them,
by MyST-NB and by VS Code, keeps its text, and its style sheet stays inside. That sheet recolors the
drawing where the page is dark; its background is opaque, so it can be read on any page.

Axes: S seeds, T epochs (or other points along x), A strengths, D features, K columns or dots.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from html import escape

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from coursekit.judge import Verdict

# Gray: without. Green: the method of the lesson. Orange: its rival, and what speaks against it.
# As in the explorers (kit.js), but for the gray: theirs and the green look alike without red cones.
COLORS = {
    "control": "#8a8a8a",
    "treated": "#008a64",
    "other": "#c85200",
    "train": "#0072b2",
    "val": "#e69f00",
    "test": "#a3479c",
}
# The same hues as text: at least 4.5 to 1 on white.
INK = {
    "control": "#595959",
    "treated": "#00704f",
    "other": "#a84400",
    "train": "#005f94",
    "val": "#8a5a00",
    "test": "#8a3684",
}
LINES = {"train": "-", "val": "--", "test": "-", "control": "--", "treated": "-", "other": ":"}
OUTCOME_COLORS = {
    "supported": COLORS["treated"],
    "contradicted": COLORS["other"],
    "no difference": COLORS["train"],
    "undecided": "#999999",
}
BLACK, WHITE, GRAY = "#1c1c1c", "#ffffff", "#999999"
# What each color becomes on a dark page.
DARK = {
    WHITE: "#161616",
    BLACK: "#ededed",
    "#000000": "#ededed",
    GRAY: "#8a8a8a",
    "#595959": "#b4b4b4",
    "#b0b0b0": "#5c5c5c",  # grid
    COLORS["control"]: "#a6a6a6",
    COLORS["treated"]: "#2fc796",
    COLORS["other"]: "#ff8b3d",
    COLORS["train"]: "#5cb3ec",
    COLORS["val"]: "#ffc247",
    COLORS["test"]: "#dd8fd6",
    INK["treated"]: "#4fd9ac",
    INK["other"]: "#ffa468",
    INK["train"]: "#7cc4f2",
    INK["val"]: "#ffd076",
    INK["test"]: "#e8aae2",
}
STYLE = {
    "figure.dpi": 100,
    "figure.facecolor": WHITE,
    "axes.facecolor": WHITE,
    "savefig.facecolor": WHITE,
    "font.size": 11,
    "text.color": BLACK,
    "axes.edgecolor": BLACK,
    "axes.labelcolor": BLACK,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#b0b0b0",
    "grid.alpha": 0.3,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    # Letters as outlines: they look the same, and collide with nothing, wherever they are read.
    "svg.fonttype": "path",
    "svg.hashsalt": "coursekit",  # the same drawing gives the same file
}
LEGIBLE = [withStroke(linewidth=3, foreground=WHITE)]  # a label stays readable on a line
PANEL = (4.6, 3.5)  # inches per panel: three of them fill the width of a page
BAND = "band: middle 80 % of the seeds"
FEW = 12  # up to so many points along a curve are marked one by one
DPI = 200  # of what is an image inside a drawing
MANY, LARGE = 2000, 60_000  # points of one curve, bytes of one drawing: more becomes an image


@contextmanager
def figure(alt: str, panels: int = 1, *, height: float = PANEL[1], width: float | None = None):
    """Make a figure in the course's style, and show it with a text for those who cannot see it.

    Parameters
    ----------
    alt : str
        What the figure shows, in one or two sentences; it is stored with the picture.
    panels : int
        Axes side by side, 1 to 3.
    height, width : float
        In inches; the width follows from the number of panels unless given.

    Yields
    ------
    Axes, or an array of Axes if there is more than one panel

    Raises
    ------
    ValueError
        If the text is missing or there are too many panels.

    Examples
    --------
    >>> from coursekit import plots
    >>> with plots.figure("A line that rises from 0 to 1.") as ax:
    ...     _ = ax.plot([0, 1])
    ...
    A line that rises from 0 to 1.
    """
    if not alt.strip():
        raise ValueError("expected a text that tells what the figure shows, got an empty one")
    if not 1 <= panels <= 3:
        raise ValueError(f"expected 1 to 3 panels, got {panels}; make two figures")
    with plt.rc_context(STYLE):
        width = width or (6.8 if panels == 1 else PANEL[0] * panels)
        fig, axes = plt.subplots(1, panels, figsize=(width, height))
        try:
            yield axes
            show(fig, alt)
        finally:
            plt.close(fig)


def show(fig: Figure, alt: str) -> None:
    """Display a figure as a picture that carries its alternative text, then close it.

    Parameters
    ----------
    fig : Figure
    alt : str
        What the figure shows, in one or two sentences.

    Raises
    ------
    ValueError
        If the text is missing.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from coursekit import plots
    >>> fig, ax = plt.subplots()
    >>> plots.show(fig, "Empty axes.")
    Empty axes.
    """
    drawing = svg(fig)
    plt.close(fig)
    rich(image(drawing, alt), alt)


def svg(fig: Figure) -> str:
    """Return a figure as a drawing of its own: SVG that turns dark where the page is dark.

    Curves of thousands of points become images inside it, so that a notebook stays small.

    Parameters
    ----------
    fig : Figure

    Returns
    -------
    str

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from coursekit import plots
    >>> fig, ax = plt.subplots()
    >>> plots.svg(fig)[:4]
    '<svg'
    >>> plt.close(fig)
    """
    artists = [a for a in fig.findobj() if isinstance(a, Line2D | Collection)]
    for artist in artists:
        if _points(artist) > MANY:
            artist.set_rasterized(True)
    drawing = _saved(fig)
    if len(drawing) > LARGE:
        for artist in artists:
            artist.set_rasterized(artist.get_rasterized() or _points(artist) > FEW)
        smaller = _saved(fig)
        drawing = min(drawing, smaller, key=len)
    return drawing


def _points(artist: "Line2D | Collection") -> int:
    if isinstance(artist, Line2D):
        return len(artist.get_xdata(orig=False))
    shapes = sum(len(path.vertices) for path in artist.get_paths())
    return max(shapes, len(artist.get_offsets()))


def _saved(fig: Figure) -> str:
    buffer = io.StringIO()
    with plt.rc_context({key: STYLE[key] for key in ("svg.fonttype", "svg.hashsalt")}):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        fig.savefig(buffer, format="svg", dpi=DPI, metadata=nothing)
    return _compact(buffer.getvalue())


def _compact(text: str) -> str:
    """Return a third of what matplotlib writes: same drawing, styles as classes, dark ones too."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<style type="text/css">.*?</style>', "", text, flags=re.S)
    pieces = re.split(r'(xlink:href="data:[^"]*")', text)  # of an image, not a byte may change
    pieces[::2] = [_shorter(piece) for piece in pieces[::2]]
    text = "".join(pieces)
    for number, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', text))):
        short = f"_{number}"
        if f"#{name}" in text:
            text = text.replace(f'"#{name}"', f'"#{short}"').replace(f"#{name})", f"#{short})")
            text = text.replace(f'id="{name}"', f'id="{short}"')
        else:
            text = text.replace(f' id="{name}"', "")
    styles = {style: f"c{n}" for n, style in enumerate(dict.fromkeys(STYLED.findall(text)))}
    text = STYLED.sub(lambda found: f'class="{styles[found[1]]}"', text)
    rules = [f".{name}{{{style}}}" for style, name in styles.items()]
    dark = [f".{name}{{{_recolored(style)}}}" for style, name in styles.items()]
    dark = [rule for rule, light in zip(dark, rules, strict=True) if rule != light]
    sheet = (
        f"*{{stroke-linejoin:round;stroke-linecap:butt}}{''.join(rules)}"
        f"@media screen and (prefers-color-scheme:dark){{svg{{fill:{DARK[BLACK]}}}{''.join(dark)}}}"
    )
    end = text.index(">") + 1
    return f"{text[:end]}<style>{sheet}</style>{text[end:].strip()}"


STYLED = re.compile(r'\bstyle="([^"]*)"')


def _shorter(text: str) -> str:
    """A tenth of a point is enough for what is drawn, and what is not seen goes."""
    text = re.sub(r"-?\d+\.\d+", _rounded, text)
    text = re.sub(r'(<use [^>]*)transform="translate\((\S+) (\S+)\)"', r'\1x="\2" y="\3"', text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    text = re.sub(r"(?<=[\d\w])\n(?=[A-Zz\"])", "", text)
    text = re.sub(r"(?<=[A-Z]) (?=[-\d])", "", text)
    return re.sub(r"([:;])\s+(?=[-\w#.])", r"\1", text)


def _rounded(found: re.Match) -> str:
    value = float(found[0])
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def _recolored(style: str) -> str:
    return re.sub(r"#[0-9a-f]{6}\b", lambda found: DARK.get(found[0], found[0]), style)


def image(drawing: str, alt: str) -> str:
    """Return a drawing as an image in HTML, with its alternative text.

    Parameters
    ----------
    drawing : str
        SVG, as from `svg`.
    alt : str
        What it shows, in one or two sentences.

    Raises
    ------
    ValueError
        If the text is missing.

    Examples
    --------
    >>> from coursekit import plots
    >>> plots.image("<svg/>", "Nothing.")
    '<img src="data:image/svg+xml;base64,PHN2Zy8+" alt="Nothing." style="max-width:100%">'
    """
    if not alt.strip():
        raise ValueError("expected a text that tells what the figure shows, got an empty one")
    encoded = base64.b64encode(drawing.encode()).decode()
    source = f"data:image/svg+xml;base64,{encoded}"
    return f'<img src="{source}" alt="{escape(alt, quote=True)}" style="max-width:100%">'


def sentence(text: str) -> None:
    """Display a sentence, in Markdown; its plain text is the same.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> from coursekit import plots
    >>> plots.sentence("With dropout: **3 points** more.")
    With dropout: **3 points** more.
    """
    rich(text, text, kind="text/markdown")


def rich(content: str, words: str, *, kind: str = "text/html") -> None:
    """Display content and the words that stand for it; without a notebook, print the words.

    Parameters
    ----------
    content : str
    words : str
        For those who cannot see it, and for tests.
    kind : str
        MIME type of the content.

    Examples
    --------
    >>> from coursekit import plots
    >>> plots.rich("<b>Yes.</b>", "Yes.")
    Yes.
    """
    if InteractiveShell.initialized():
        display({kind: content, "text/plain": words}, raw=True)
    else:
        print(words)


def beside(
    ax: Axes,
    words: str,
    at: tuple[float, float],
    role: str,
    *,
    above: bool = False,
    shift: float = 0,
) -> None:
    """Write words beside a point in the ink of a role.

    Parameters
    ----------
    ax : Axes
    words : str
    at : (float, float)
        In data units.
    role : str
        A key of `COLORS`.
    above : bool
        Over the point instead of at its right.
    shift : float
        Up, in points of type, where two labels would touch.

    Examples
    --------
    >>> from coursekit import plots
    >>> with plots.figure("A line that rises.") as ax:
    ...     _ = ax.plot([0, 1])
    ...     plots.beside(ax, "loss", (1, 1), "val")
    ...
    A line that rises.
    """
    ax.annotate(
        words,
        at,
        xytext=(0, 7 + shift) if above else (6, shift),
        textcoords="offset points",
        color=INK[role],
        va="bottom" if above else "center",
        ha="center" if above else "left",
        annotation_clip=False,
        path_effects=LEGIBLE,
    )


def curves(
    ax: Axes,
    values: np.ndarray,
    label: str,
    role: str,
    *,
    x: np.ndarray | None = None,
    where: float = 1.0,
) -> None:
    """Draw the median of S curves with the band of their middle 80 %.

    Parameters
    ----------
    ax : Axes
    values : (S, T) float array
        Seeds that are not finite at a point are left out there, and so are points without any.
    label : str
        Written beside the curve.
    role : str
        A key of `COLORS`.
    x : (T,) array, optional
        Positions; epochs 1 to T by default.
    where : float in [0, 1]
        Which part of the curve the label stands beside.

    Raises
    ------
    ValueError
        If the curves are not (S, T), or no value is finite.

    Examples
    --------
    >>> import numpy as np
    >>> from coursekit import plots
    >>> loss = np.random.default_rng(0).random((8, 20))  # eight seeds, twenty epochs
    >>> with plots.figure("Eight noisy losses and their median.") as ax:
    ...     plots.curves(ax, loss, "validation", "val")
    ...     _ = ax.set(xlabel="epoch", ylabel="loss, nats")
    ...
    Eight noisy losses and their median.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2:
        raise ValueError(f"expected curves of shape (seeds, points), got {values.shape}")
    x = np.arange(1, values.shape[1] + 1) if x is None else np.asarray(x)
    values = np.where(np.isfinite(values), values, np.nan)
    drawn = ~np.isnan(values).all(axis=0)
    if not drawn.any():
        raise ValueError(f"expected finite values to draw for {label!r}, got none")
    x, values = x[drawn], values[:, drawn]
    low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9], axis=0)
    ax.fill_between(x, low, high, color=COLORS[role], alpha=0.18, linewidth=0)
    markers = {"marker": "o", "markersize": 5} if len(x) <= FEW else {}
    ax.plot(x, middle, LINES[role], color=COLORS[role], **markers)
    at = round(where * (len(x) - 1))
    beside(ax, label, (x[at], middle[at]), role, above=where != 1)


def forest(ax: Axes, verdicts: Mapping[str, Verdict], *, unit: str = "") -> None:
    """Draw one interval per verdict, with the zone of effects too small to matter.

    Parameters
    ----------
    ax : Axes
    verdicts : mapping of str to Verdict
        By label, top to bottom; all with one smallest effect.
    unit : str
        For the axis; the verdicts' own by default.

    Raises
    ------
    ValueError
        If there is no verdict, or their smallest effects differ.

    Examples
    --------
    >>> from coursekit import judge, plots
    >>> verdict = judge.raises("it helps", [0.90, 0.92, 0.88], [0.93, 0.94, 0.92], "accuracy")
    >>> with plots.figure("Dropout helps by 3 points.") as ax:
    ...     plots.forest(ax, {"dropout 0.5": verdict})
    ...
    Dropout helps by 3 points.
    """
    items = list(verdicts.items())
    smallest = {verdict.smallest for verdict in verdicts.values()}
    if len(smallest) != 1:
        raise ValueError(f"expected verdicts with one smallest effect, got {sorted(smallest)}")
    [edge] = smallest
    ax.axvspan(-edge, edge, color="#999999", alpha=0.15, linewidth=0)
    ax.axvline(0, color="#999999", linewidth=1)
    for y, (_, verdict) in enumerate(items):
        mean, low, high = verdict.interval
        color = OUTCOME_COLORS[verdict.outcome]
        ax.plot([low, high], [y, y], color=color, linewidth=3, solid_capstyle="butt")
        ax.plot(mean, y, "o", color=color)
        ax.annotate(
            verdict.outcome,
            (high, y),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=color,
        )
    ax.set_yticks(range(len(items)), [label for label, _ in items])
    ax.set_ylim(len(items) - 0.5, -0.5)
    ax.margins(x=0.25)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"difference, {unit or items[0][1].unit} (gray: too small to matter)")


def differences(
    ax: Axes,
    effects: Mapping[str, tuple[float, float, float]],
    *,
    smallest: float,
    unit: str = "",
    better: int = +1,
) -> dict[str, str]:
    """Draw paired effects as dot and interval on the band of what is too small to matter.

    The word at the right follows from the interval, by the rule of the course's claims: "helps" and
    "hurts" lie beyond the smallest effect that matters, "too small to matter" within, "size open"
    excludes zero only, and "not yet known" nothing.

    Parameters
    ----------
    ax : Axes
    effects : mapping of str to (mean, low, high)
        Treated minus control by label, top to bottom, in plain units.
    smallest : float
        The smallest effect that matters, in the same unit.
    unit : str
        For the axis, such as "points of accuracy".
    better : {+1, -1}
        Whether higher or lower is better.

    Returns
    -------
    dict of str to str
        The word of each label.

    Raises
    ------
    ValueError
        If there is no effect, a number is not finite or out of order, or `smallest` or `better` is
        out of range.

    Examples
    --------
    >>> from coursekit import plots
    >>> effects = {"digits": (3.1, 1.8, 4.4), "iris": (0.2, -0.4, 0.8)}
    >>> with plots.figure("Dropout helps on digits only.", height=1.9) as ax:
    ...     words = plots.differences(ax, effects, smallest=1, unit="points of accuracy")
    ...
    Dropout helps on digits only.
    >>> words
    {'digits': 'helps', 'iris': 'too small to matter'}
    """
    words = _words(effects, smallest, better)
    digits = _digits(smallest)
    ax.axvspan(-smallest, smallest, color=GRAY, alpha=0.2, linewidth=0)
    ax.axvline(0, color=GRAY, linewidth=1)
    for y, (name, (mean, low, high)) in enumerate(effects.items()):
        word = words[name]
        color, ink = WORD_COLORS[word.removesuffix(SIZE_OPEN)]
        ax.plot([low, high], [y, y], color=color, linewidth=3, solid_capstyle="round")
        shape = {"too small to matter": "s", "not yet known": "o"}
        marker = shape.get(word, ">" if mean > 0 else "<")
        hollow = word == "not yet known" or word.endswith(SIZE_OPEN)
        face = WHITE if hollow else color
        ax.plot(mean, y, marker, color=color, markerfacecolor=face, markeredgewidth=2, markersize=9)
        mean, low, high = (f"{v + 0.0:+.{digits}f}".replace("-", "−") for v in (mean, low, high))
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate(word, (1, y), xytext=(10, 1), va="bottom", color=ink, fontweight="bold", **at)
        numbers = f"{mean} ({low} to {high})"
        ax.annotate(numbers, (1, y), xytext=(10, -1), va="top", color=INK["control"], size=10, **at)
    ends = np.array([[-smallest, smallest], *([low, high] for _, low, high in effects.values())])
    room = 0.08 * np.ptp(ends)
    ax.set_xlim(ends.min() - room, ends.max() + room)
    ax.set_yticks(range(len(effects)), list(effects))
    ax.set_ylim(len(effects) - 0.45, -0.55)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    side = "higher" if better > 0 else "lower"
    name = f"difference, {unit}" if unit else "difference"
    ax.set_xlabel(f"{name} ({side} is better; gray: too small to matter)")
    return words


def effects(
    effects: Mapping[str, tuple[float, float, float]],
    *,
    title: str,
    smallest: float,
    unit: str = "",
    better: int = +1,
    alt: str = "",
) -> None:
    """Make and show a figure of one panel with `differences`.

    Parameters
    ----------
    effects, smallest, unit, better
        As in `differences`.
    title : str
        The finding.
    alt : str
        For those who cannot see it; made from title, words and numbers by default.

    Raises
    ------
    ValueError
        As `differences`.

    Examples
    --------
    >>> from coursekit import plots
    >>> plots.effects(
    ...     {"dropout": (3.1, 1.8, 4.4)}, title="Dropout pays", smallest=1, unit="points"
    ... )
    Dropout pays. dropout: helps, +3.1 (+1.8 to +4.4) points.
    """
    words = _words(effects, smallest, better)
    digits = _digits(smallest)
    if not alt:
        rows = [
            f"{name}: {words[name]}, {mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
            for name, (mean, low, high) in effects.items()
        ]
        stop = "" if title.endswith("?") else "."
        alt = f"{title}{stop} {'; '.join(rows)} {unit}".rstrip() + "."
    with figure(alt, height=1.15 + 0.52 * len(effects), width=8) as ax:
        differences(ax, effects, smallest=smallest, unit=unit, better=better)
        ax.set_title(title)


def _digits(smallest: float) -> int:
    """Decimals of effects: as many as the reader can use."""
    return max(1, 1 - int(np.floor(np.log10(smallest))))


SIZE_OPEN = ", size open"
WORD_COLORS = {
    "helps": (COLORS["treated"], INK["treated"]),
    "hurts": (COLORS["other"], INK["other"]),
    "too small to matter": (BLACK, BLACK),
    "not yet known": (GRAY, INK["control"]),
}


def _words(effects: Mapping, smallest: float, better: int) -> dict[str, str]:
    """Words of intervals, as coursekit.ledger.rule gives them; refuses what cannot be drawn."""
    if not effects:
        raise ValueError("expected at least one effect, got none; try {'dropout': (3.1, 1.8, 4.4)}")
    if not (np.isfinite(smallest) and smallest > 0) or better not in (1, -1):
        raise ValueError(
            f"expected smallest above 0 and better of +1 or -1, got {smallest} and {better}"
        )
    words = {}
    for name, effect in effects.items():
        if len(effect) != 3 or not np.isfinite(effect).all() or sorted(effect[1:]) != [*effect[1:]]:
            raise ValueError(f"expected (mean, low, high) for {name!r}, got {effect}")
        words[name] = word(*effect[1:], smallest, better)
    return words


def word(low: float, high: float, smallest: float, better: int = +1) -> str:
    """The word of an interval, by the rule of the course's claims.

    Parameters
    ----------
    low, high : float
        Ends of the interval of treated minus control.
    smallest : float
        The smallest effect that matters, in the same unit.
    better : {+1, -1}
        Whether higher or lower is better.

    Examples
    --------
    >>> from coursekit import plots
    >>> plots.word(1.8, 4.4, smallest=1), plots.word(0.3, 4.4, smallest=1)
    ('helps', 'helps, size open')
    """
    low, high = (low, high) if better > 0 else (-high, -low)
    if low > smallest or high < -smallest:
        return "helps" if low > 0 else "hurts"
    if low > -smallest and high < smallest:
        return "too small to matter"
    if low > 0 or high < 0:
        return ("helps" if low > 0 else "hurts") + SIZE_OPEN
    return "not yet known"


def dots(ax: Axes, groups: Mapping[str, Sequence[float]], roles: Sequence[str] = ()) -> None:
    """Draw one dot per seed in columns, paired seeds joined by thin lines, means as bars.

    Parameters
    ----------
    ax : Axes
    groups : mapping of str to (S,) array
        By column label, all of one length.
    roles : sequence of str, optional
        A key of `COLORS` per column; control first and treated after it by default.

    Examples
    --------
    >>> from coursekit import plots
    >>> with plots.figure("Both networks gain from dropout.") as ax:
    ...     plots.dots(ax, {"plain": [0.90, 0.92], "dropout": [0.93, 0.94]})
    ...     _ = ax.set_ylabel("accuracy")
    ...
    Both networks gain from dropout.
    """
    columns = np.array([np.asarray(values, float) for values in groups.values()])  # (K, S)
    roles = list(roles) or ["control"] + ["treated"] * (len(columns) - 1)
    ax.plot(columns, color="#999999", linewidth=0.6, alpha=0.6)
    for k, (column, role) in enumerate(zip(columns, roles, strict=True)):
        ax.plot(np.full(column.size, k), column, "o", color=COLORS[role], alpha=0.6, markersize=5)
        ax.plot([k - 0.2, k + 0.2], [column.mean()] * 2, color=COLORS[role], linewidth=3)
    ax.set_xticks(range(len(columns)), list(groups))
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.grid(axis="x", visible=False)


def paths(ax: Axes, strengths: np.ndarray, coefs: np.ndarray, *, highlight=()) -> None:
    """Draw coefficients against the strength of a penalty on a logarithmic axis.

    Parameters
    ----------
    ax : Axes
    strengths : (A,) array
    coefs : (A, D) array
    highlight : sequence of int
        Columns drawn in color; the others are gray.

    Examples
    --------
    >>> from coursekit import linear, plots
    >>> x, y, alphas = [[1, 0], [-1, 0], [0, 1], [0, -1]], [2, -2, 0.5, -0.5], [0.1, 1.0, 10.0]
    >>> with plots.figure("Both coefficients shrink.") as ax:
    ...     plots.paths(ax, alphas, linear.ridge_path(x, y, alphas), highlight=[0])
    ...
    Both coefficients shrink.
    """
    ax.axhline(0, color="#999999", linewidth=1)
    for column in range(coefs.shape[1]):
        strong = column in highlight
        color = COLORS["treated"] if strong else "#999999"
        width, alpha = (2, 1) if strong else (1, 0.6)
        ax.plot(strengths, coefs[:, column], color=color, linewidth=width, alpha=alpha)
    ax.set_xscale("log")
    ax.set_xlabel("strength of the penalty (alpha)")
    ax.set_ylabel("coefficient")


def scatter(ax: Axes, x, y, *, highlight: Mapping[int, str] | None = None) -> None:
    """Draw one dot per configuration, with some of them named.

    Parameters
    ----------
    ax : Axes
    x, y : (K,) arrays
    highlight : mapping of int to str, optional
        Names of single dots by position; these are drawn larger and in color.

    Examples
    --------
    >>> from coursekit import plots
    >>> with plots.figure("Three settings, the second is the best.") as ax:
    ...     plots.scatter(ax, [1, 2, 3], [0.7, 0.9, 0.8], highlight={1: "best"})
    ...
    Three settings, the second is the best.
    """
    ax.plot(x, y, "o", color=COLORS["control"], alpha=0.6)
    for k, name in (highlight or {}).items():
        ax.plot(x[k], y[k], "s", color=COLORS["test"], markersize=9)
        ax.annotate(
            name,
            (x[k], y[k]),
            xytext=(-8, -16),
            textcoords="offset points",
            ha="right",
            color=COLORS["test"],
            path_effects=LEGIBLE,
        )


def lines(
    groups: Mapping[str, tuple[np.ndarray, str]],
    *,
    title: str,
    alt: str,
    xlabel: str,
    ylabel: str,
    x: np.ndarray | None = None,
    where: float = 1.0,
    **settings,
) -> None:
    """Make and show a figure of one panel with `curves`.

    Parameters
    ----------
    groups : mapping of str to ((S, T) array, role)
        By label.
    title : str
        The finding.
    alt : str
        The finding for those who cannot see it.
    xlabel, ylabel : str
        With units.
    x, where
        As in `curves`.
    **settings
        Passed to `Axes.set`, such as `xscale="log"`.

    Raises
    ------
    ValueError
        As `curves` and `figure`.

    Examples
    --------
    >>> import numpy as np
    >>> from coursekit import plots
    >>> loss = np.random.default_rng(0).random((8, 20))
    >>> plots.lines(
    ...     {"validation": (loss, "val")},
    ...     title="It does not fall",
    ...     alt="A flat line.",
    ...     xlabel="epoch",
    ...     ylabel="loss, nats",
    ... )
    A flat line.
    """
    with figure(alt) as ax:
        for label, (values, role) in groups.items():
            curves(ax, values, label, role, x=x, where=where)
        ax.set(title=title, xlabel=xlabel, ylabel=ylabel, **settings)
