"""The figure: how long does it take to train one network?"""

import io
from collections.abc import Mapping

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.report import pace, quartiles, times, to_plain

OURS, OTHERS, HAND = "#009E73", "#555555", "#0072B2"  # Okabe and Ito's palette


def speed(results: Mapping) -> bytes:
    """Draw W1 of all competitors as a PNG: one dot each, with quartiles, fastest on top."""
    # The plain loop is the line; its own dot would only show how steady the machine is.
    records = [r for r in results["W1"] if r["seconds"] and r["peer"] != "plain"]
    records.sort(key=lambda record: np.median(to_plain(record)))
    if not records:  # only the plain loop ran
        records = [r for r in results["W1"] if r["seconds"]]
    plain = pace(results)
    style = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}
    style |= {"axes.spines.left": False, "figure.constrained_layout.use": True}
    with plt.rc_context(style):
        fig, ax = plt.subplots(figsize=(8.6, 0.42 * len(records) + 1.5))
        ax.axvline(plain, color="#999999", linewidth=1)
        for y, record in enumerate(records):
            low, middle, high = (plain * q for q in quartiles(to_plain(record)))
            color = {"coursekit": OURS, "by_hand": HAND}.get(record["peer"], OTHERS)
            marker = {"coursekit": "o", "by_hand": "D"}.get(record["peer"], "s")
            ax.plot([low, high], [y, y], color=color, linewidth=3, solid_capstyle="butt")
            ax.plot(middle, y, marker, color=color, markersize=8)
            ax.annotate(
                f"{middle:,.0f} ms  {times(middle / plain)}", (high, y), xytext=(9, 0),
                textcoords="offset points", va="center", color=color,
                weight="bold" if record["peer"] == "coursekit" else "normal",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip
        ax.set_yticks(range(len(records)), [record["label"] for record in records])
        for label, record in zip(ax.get_yticklabels(), records, strict=True):
            if record["peer"] == "coursekit":
                label.set(color=OURS, weight="bold")
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(records) - 0.4, -1.1)
        ax.annotate(
            f"plain PyTorch loop, {plain:.0f} ms", (plain, -0.75), xytext=(5, 0),
            textcoords="offset points", va="center", color="#666666",
        )  # fmt: skip
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ax.set_xlim(low, high * 5)  # room for the labels
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.set_xlabel("milliseconds per network, logarithmic (bars: middle half of the rounds)")
        ax.set_title(
            f"How long does it take to train one network?\n{results['titles']['W1']}, 20 epochs",
            loc="left", fontsize=12,
        )  # fmt: skip
        picture = io.BytesIO()
        fig.savefig(picture, format="png", dpi=110)
        plt.close(fig)
    return picture.getvalue()
