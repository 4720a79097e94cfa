"""Plots of table 5 and figure 9: mIoU of each fold and their mean, the paper's and ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from common.files import write_atomically
from reproduction.recipe import MEAN, Row, Table
from reproduction.report import Cell

COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#222222")
"""Told apart by people with any colour vision (Paul Tol's "bright")."""


def draw(table: Table, rows: Sequence[tuple[Row, Mapping[str, Cell]]], path: Path) -> None:
    """Draw a PNG: the paper's numbers dashed with hollow marks, ours solid with error bars."""
    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=120, layout="constrained")
    places = range(len(rows))
    for column, colour in zip(table.columns, COLOURS, strict=True):
        cells = [cells[column] for _, cells in rows]
        width = 2.5 if column == MEAN else 1.2
        _line(axes, [c.paper for c in cells], colour, width, "--", f"{column}, paper")
        ours = [c.ours for c in cells]
        _line(axes, ours, colour, width, "-", f"{column}, ours", [c.deviation for c in cells])
    axes.set_xticks(list(places), [row.label for row, _ in rows])
    axes.set_xlabel(table.plot)
    axes.set_ylabel("mIoU (%)")
    axes.set_title(table.title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    write_atomically(path, lambda place: figure.savefig(place))
    pyplot.close(figure)


def _line(
    axes: Axes,
    values: Sequence[float | None],
    colour: str,
    width: float,
    style: str,
    label: str,
    deviations: Sequence[float | None] | None = None,
) -> None:
    """One series; places without a number are left out."""
    known = [place for place, value in enumerate(values) if value is not None]
    if not known:
        return
    axes.errorbar(
        known,
        [values[place] for place in known],
        yerr=[deviations[place] or 0 for place in known] if deviations else None,
        color=colour,
        linewidth=width,
        linestyle=style,
        marker="o",
        markerfacecolor="white" if style == "--" else colour,
        capsize=3,
        label=label,
    )
