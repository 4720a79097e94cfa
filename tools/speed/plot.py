"""One picture: what parts take of the straightforward flow, and how costs grow."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib

from common.files import write_atomically
from tools.speed.report import Row

matplotlib.use("Agg")
from matplotlib import pyplot

GREY, BLUE, RED = "#b0b0b0", "#2f6db3", "#c23b22"
UNITS = {"frames": "s a frame", "processes": "s of the clock"}


def draw(path: Path, rows: Sequence[Row], growth: Mapping[str, Sequence[Mapping]]) -> None:
    """Write the picture: bars for parts that are compared, a curve for each quantity that grows."""
    compared = [row for row in rows if row.ratio is not None]
    columns = 2
    lines = int(bool(compared)) * 2 + (len(growth) + 1) // columns
    if not lines:
        return
    figure = pyplot.figure(figsize=(11, 2.6 * lines), layout="constrained")
    grid = figure.add_gridspec(lines, columns)
    used = 0
    if compared:
        _bars(figure.add_subplot(grid[:2, :]), compared)
        used = 2
    for number, (name, points) in enumerate(growth.items()):
        axes = figure.add_subplot(grid[used + number // columns, number % columns])
        _curve(axes, name, points)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    pyplot.close(figure)
    write_atomically(path, lambda place: Path(place).write_bytes(content.getvalue()))


def _bars(axes: pyplot.Axes, rows: Sequence[Row]) -> None:
    names = [f"{row.subject}: {row.part}" for row in rows]
    axes.barh(names, [row.ratio for row in rows], color=BLUE)
    for place, row in enumerate(rows):
        axes.text(row.ratio, place, f" {row.ratio:.2f}", va="center")
        if row.target is not None:
            axes.plot([row.target] * 2, [place - 0.4, place + 0.4], color=RED)
    axes.axvline(1, color=GREY)
    axes.invert_yaxis()
    axes.set_xlabel("seconds / those of what it is compared with; red: target")


def _curve(axes: pyplot.Axes, name: str, points: Sequence[Mapping]) -> None:
    places = [point[name] for point in points]
    axes.plot(places, [point["seconds"] for point in points], "o-", color=BLUE)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(name)
    axes.set_ylabel(UNITS.get(name, "s"), color=BLUE)
    beside = axes.twinx()
    beside.plot(places, [point["peak_memory_gib"] for point in points], "x--", color=GREY)
    beside.set_ylim(0, 1.15 * max(point["peak_memory_gib"] for point in points))
    beside.set_ylabel("GiB at most", color=GREY)
