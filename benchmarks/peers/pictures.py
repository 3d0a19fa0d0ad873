# SPDX-License-Identifier: MIT
"""The curves as small SVG pictures, drawn by matplotlib; colours that can be read on white and on black."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.axes import Curve
from peers.rounds import Results

__all__ = ["MISSING", "draw"]

MISSING = "no pictures: they are drawn by matplotlib, which is not installed (pip install --group compare)"
GREY = "#808890"
STYLES = {  # colours that are told apart without red and green, and marks for who sees none
    "fastgear": ("#0090e0", "o", "-"),
    "roofline": (GREY, ".", ":"),
    "gearmand": ("#e06030", "s", "-"),
    "gearmand tuned": ("#d09000", "^", "-"),
    "gearmand tuned -t 1": ("#d09000", "v", "--"),
    "Gearman::Server": ("#b070d0", "D", "-"),
    "gear": ("#30a070", "P", "-"),
}
SIZE = (7.2, 4.3)


def draw(curves: Sequence[Curve], results: Results, folder: Path) -> list[Path]:
    """Those that are to be pictured; none, with a sentence, where there is no matplotlib."""
    try:
        import matplotlib
    except ImportError:
        print(MISSING, file=sys.stderr)
        return []
    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none", "svg.hashsalt": "fastgear", "font.family": "sans-serif", "font.size": 10,
            "text.color": GREY, "axes.labelcolor": GREY, "axes.edgecolor": GREY, "axes.titlecolor": GREY, "xtick.color": GREY,
            "ytick.color": GREY, "axes.spines.top": False, "axes.spines.right": False, "path.simplify": True,
        }
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    return [picture(curve, results, folder / f"{curve.name}.svg") for curve in curves if curve.pictured]


def picture(curve: Curve, results: Results, path: Path) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    figure, axes = pyplot.subplots(figsize=SIZE)
    axes.set_yscale("log")
    values = [point.value for point in curve.points]
    if values[0] == 0:  # a logarithm has no 0: it stands before the others, in its place
        axes.set_xscale("symlog", linthresh=values[1], linscale=0.5)
    else:
        axes.set_xscale("log")
    for peer in next(iter(results.rounds[curve.name].values())):
        line(axes, curve, results, peer)
    axes.set_xticks(values, [point.label for point in curve.points])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(curve.axis)
    axes.set_ylabel("server CPU, µs a job")
    axes.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(
        path, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Title": curve.title}
    )
    pyplot.close(figure)
    return path


def line(axes: Any, curve: Curve, results: Results, peer: str) -> None:
    """A server's medians, their spread, and a cross with a word where it got no farther."""
    colour, mark, dash = STYLES.get(peer, (GREY, "x", "-."))
    rounds, stopped = results.rounds[curve.name], results.stopped[curve.name]
    found = {point.value: [one.cpu_us for one in rounds[point.label][peer]] for point in curve.points}
    found = {value: costs for value, costs in found.items() if costs}
    middle = [statistics.median(costs) for costs in found.values()]
    below = [one - min(costs) for one, costs in zip(middle, found.values(), strict=True)]
    above = [max(costs) - one for one, costs in zip(middle, found.values(), strict=True)]
    axes.errorbar(
        list(found), middle, [below, above], color=colour, marker=mark, linestyle=dash, label=peer, markersize=4.5,
        linewidth=1.8 if peer == "fastgear" else 1.2, elinewidth=0.8,
    )  # fmt: skip
    for point in curve.points:
        if peer in stopped[point.label] and middle:
            axes.annotate(
                f"x {point.label}: {stopped[point.label][peer]}", (list(found)[-1], middle[-1]), (6, 5),
                textcoords="offset points", color=colour, fontsize=8,
            )  # fmt: skip
