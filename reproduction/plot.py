"""Plots of table 5 and figure 9: mIoU of each fold and their mean, the paper's and ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from common.files import write_atomically
from reproduction.recipe import MEAN, Row, Table
from reproduction.results import Cell

COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#222222")
"""Told apart by people with any colour vision (Paul Tol's "bright")."""


def draw(table: Table, rows: Sequence[tuple[Row, Mapping[str, Cell]]], path: Path) -> None:
    """Draw a PNG: the paper's numbers dashed with hollow marks, ours solid with error bars."""
    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=120, layout="constrained")
    for column, colour in zip(table.columns, COLOURS, strict=True):
        cells = [cells[column] for _, cells in rows]
        look = {"color": colour, "linewidth": 2.5 if column == MEAN else 1.2}
        paper = [(place, c.paper, 0) for place, c in enumerate(cells) if c.paper is not None]
        _line(axes, paper, label=f"{column}, paper", ls="--", markerfacecolor="white", **look)
        ours = [(p, c.ours, c.deviation or 0) for p, c in enumerate(cells) if c.ours is not None]
        _line(axes, ours, label=f"{column}, ours", ls="-", capsize=3, **look)
    axes.set_xticks(range(len(rows)), [row.label for row, _ in rows])
    axes.set_xlabel(table.plot)
    axes.set_ylabel("mIoU (%)")
    axes.set_title(table.title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    write_atomically(path, lambda place: figure.savefig(place))
    pyplot.close(figure)


def _line(axes: Axes, points: Sequence[tuple[int, float, float]], **look: object) -> None:
    """One series of places, values and their deviations."""
    if points:
        places, values, deviations = zip(*points, strict=True)
        axes.errorbar(places, values, yerr=deviations, marker="o", **look)
