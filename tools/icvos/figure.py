"""Figure 2 of the paper from a folder's statistics: sources, a cloud of classes, their bars."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.files import write_atomically
from tools.icvos.statistics import PAPER_SHARES, Statistics, by_clips

TITLES = {"davis": "DAVIS", "mose": "MOSE", "lvos": "LVOS v2", "unknown": "unknown"}
SOURCE_COLOURS = {"davis": "#8e44ad", "mose": "#d4ac0d", "lvos": "#17a589", "unknown": "#9aa0a6"}
_COLOURS = {"clips": "#3a82f6", "frames": "#f77814"}
_CLOUD = (640, 480)
"""Width and height in pixels."""


def write_figure(path: Path, statistics: Statistics) -> None:
    """Draw figure 2 (a, b, c); the same statistics give the same picture.

    (a) shares of the videos by source, (b) classes as large as their share of the frames, (c) clips
    and frames of each class, most clips first.
    """
    from matplotlib.figure import Figure  # takes a second to import

    rows = dict(by_clips(statistics))
    figure = Figure(figsize=(11, 5 + 0.25 * len(rows)), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[4, 1 + 0.25 * len(rows)])
    sources, cloud = upper.subplots(1, 2)
    _draw_sources(sources, statistics["per_source"])
    cloud.imshow(cloud_of({name: row["frames"] for name, row in rows.items()}))
    cloud.set_title("b) classes by their share of the frames")
    cloud.axis("off")
    panels = lower.subplots(1, 2, sharey=True)
    for axes, (key, colour) in zip(panels, _COLOURS.items(), strict=True):
        bars = axes.barh(list(rows), [row[key] for row in rows.values()], color=colour)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        axes.set_title(f"c) {key} of each class")
        axes.margins(x=0.15, y=0.01)
        axes.tick_params(left=False)
        axes.xaxis.set_visible(False)
        axes.spines[:].set_visible(False)
    panels[0].invert_yaxis()
    write_atomically(path, lambda place: figure.savefig(place, dpi=100))


def cloud_of(frames: Mapping[str, int]) -> Any:
    """A cloud of names, the larger the more frames a name has: H x W x 3 uint8."""
    from wordcloud import WordCloud

    width, height = _CLOUD
    cloud = WordCloud(
        width=width,
        height=height,
        background_color="white",
        colormap="viridis",
        relative_scaling=0.5,
        prefer_horizontal=1.0,
        random_state=0,
    )
    shown = {name: count for name, count in frames.items() if count}
    return cloud.generate_from_frequencies(shown).to_array()


def _draw_sources(axes: Any, per_source: Mapping[str, Mapping[str, float]]) -> None:
    """A ring of sources with their shares, the paper's in brackets."""
    labels = []
    for name, row in per_source.items():
        paper = f" ({PAPER_SHARES[name]:.1f})" if name in PAPER_SHARES else ""
        share = f"{row['share_of_videos']:.1f} %{paper}"
        labels.append(f"{TITLES.get(name, name)}\n{row['videos']} videos, {share}")
    axes.pie(
        [row["videos"] for row in per_source.values()],
        labels=labels,
        colors=[SOURCE_COLOURS.get(name, "#5d6d7e") for name in per_source],
        startangle=90,
        counterclock=False,
        wedgeprops={"width": 0.45, "edgecolor": "white"},
    )
    axes.set_title("a) sources of the videos (the paper's share)")
