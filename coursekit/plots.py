"""Figures: one function per kind, one look for the whole course.

Functions take results and an `ax`, train nothing, and label the lines directly. One color per role
(Okabe and Ito's palette: safe for color-blind readers); line styles differ too, for print in gray.

Axes: S seeds, T epochs (or other points along x), A strengths, D features, K columns or dots.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from coursekit.judge import Verdict

COLORS = {
    "train": "#0072B2",
    "val": "#E69F00",
    "test": "#D55E00",
    "control": "#555555",
    "treated": "#009E73",
    "other": "#CC79A7",
}
LINES = {"train": "-", "val": "--", "test": "-", "control": "--", "treated": "-", "other": ":"}
OUTCOME_COLORS = {
    "supported": COLORS["treated"],
    "contradicted": COLORS["test"],
    "no difference": COLORS["train"],
    "undecided": "#999999",
}
STYLE = {
    "figure.dpi": 100,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
LEGIBLE = [withStroke(linewidth=3, foreground="white")]  # a label stays readable on a line
PANEL = (4.6, 3.5)  # inches per panel: three of them fill the width of a page
BAND = "band: middle 80 % of the seeds"


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

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from coursekit import plots
    >>> fig, ax = plt.subplots()
    >>> plots.show(fig, "Empty axes.")
    Empty axes.
    """
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=STYLE["figure.dpi"])
    plt.close(fig)
    picture = base64.b64encode(buffer.getvalue()).decode()
    display(
        {"image/png": picture, "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}}
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
    ax.plot(x, middle, LINES[role], color=COLORS[role])
    at = round(where * (len(x) - 1))
    ax.annotate(
        label,
        (x[at], middle[at]),
        xytext=(5, 0) if where == 1 else (0, 7),
        textcoords="offset points",
        color=COLORS[role],
        va="center" if where == 1 else "bottom",
        ha="left" if where == 1 else "center",
        annotation_clip=False,
        path_effects=LEGIBLE,
    )


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
