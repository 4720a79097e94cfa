"""What a comparison of methods found: means over seeds of episodes, and what is chance in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from evaluation.item_log import ITEMS, read_items
from evaluation.protocol import tested_as
from evaluation.significance import LEVEL, PROTOCOL, EpisodeAreas, Interval, paired_interval
from tools.entrant import Entrant

COLUMNS = ("method", "mIoU", "FB-IoU", "own size", "s/episode", "GiB", "exposure")


@dataclass(frozen=True)
class Compared:
    """A method's results, one for each seed of episodes."""

    entrant: Entrant
    folders: Sequence[Path]
    runs: Sequence[Mapping[str, Any]]
    """The `results.json` of each folder."""

    def mean(self, entry: str) -> float:
        return fmean(run[entry] for run in self.runs)

    def spread(self, entry: str) -> str:
        """Mean and, of several seeds, the standard deviation over them (of a sample)."""
        deviation = f" ± {stdev(run[entry] for run in self.runs):.1f}" if self.runs[1:] else ""
        return f"{self.mean(entry):.1f}{deviation}"

    def mean_cost(self, entry: str) -> float:
        """Over the seeds that were timed."""
        return fmean([run["cost"][entry] or 0 for run in self.runs])

    def areas(self) -> list[EpisodeAreas]:
        """Of the episodes of each seed, at the protocol's size."""
        return [EpisodeAreas.read(read_items(folder / ITEMS), PROTOCOL) for folder in self.folders]

    def to_json(self) -> dict[str, Any]:
        """Its part of `comparison.json`."""
        return {
            entry: {
                "mean": self.mean(entry),
                "deviation": stdev([run[entry] for run in self.runs]) if self.runs[1:] else None,
            }
            for entry in ("protocol_miou", "protocol_fb_iou", "miou_original_size")
        } | {"runs": list(self.runs)}


def best_first(found: Sequence[Compared]) -> list[Compared]:
    """By mIoU."""
    return sorted(found, key=lambda one: -one.mean("protocol_miou"))


def differences(found: Sequence[Compared]) -> dict[tuple[str, str], Interval]:
    """By how much each method is above each that comes after it, the best method first."""
    ordered = [(one.entrant.name, one.areas()) for one in best_first(found)]
    return {
        (name, other): paired_interval(areas, others)
        for place, (name, areas) in enumerate(ordered)
        for other, others in ordered[place + 1 :]
    }


def markdown(found: Sequence[Compared], between: Mapping[tuple[str, str], Interval]) -> str:
    """The results as a table, the best method first, and what lies between each two."""
    first = found[0].runs[0]
    rows = [
        (
            f"{one.runs[0]['method']} ({one.entrant.title})",
            one.spread("protocol_miou"),
            one.spread("protocol_fb_iou"),
            one.spread("miou_original_size"),
            f"{one.mean_cost('seconds_per_episode'):.2f}",
            f"{one.mean_cost('peak_memory_gib'):.1f}",
            one.runs[0]["exposure"],
        )
        for one in best_first(found)
    ]
    seeds = ", ".join(str(run["seed"]) for run in found[0].runs)
    title = (
        f"{first['benchmark']} fold {first['fold']}, {first['shots']}-shot, protocol "
        f"{tested_as(first)}, masks compared at {first['protocol_size']}, {first['episodes']} "
        f"episodes of each seed ({seeds})"
    )
    lines = [title, "", *_table((COLUMNS, *rows))]
    if between:
        resamples = next(iter(between.values())).resamples
        titles = {one.entrant.name: one.entrant.title for one in found}
        pairs = [
            (
                f"{titles[name]} - {titles[other]}",
                f"{one.value:+.1f}",
                f"{one.low:+.1f} to {one.high:+.1f}",
                "yes" if one.differs else "no",
            )
            for (name, other), one in between.items()
        ]
        header = ("difference of mIoU", "", f"{LEVEL} %", "more than chance")
        lines += ["", *_table((header, *pairs)), "", _note(resamples)]
    return "\n".join([*lines, ""])


def _note(resamples: int) -> str:
    return (
        f"± is the standard deviation over seeds; {LEVEL} % of {resamples:,} resamples of the "
        "episodes, the same for both methods, lie in the interval."
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, the first row its header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *rest = rows
    return [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in (header, ["-" * width for width in widths], *rest)
    ]
