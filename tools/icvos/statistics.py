"""What IC-VOS consists of: the numbers of table 1 and of figure 2."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UsageError
from data.classes import COCO_CLASSES
from data.icvos import IcVos, read_sources
from tools.icvos.public import source_by_name
from tools.icvos.tubes import read_record

PAPER = {"videos": 369, "mean_frames": 270, "frames": 99549, "classes": 30}
"""Table 1."""
PAPER_SHARES = {"lvos": 63.7, "mose": 27.9, "davis": 8.4}
"""Figure 2(a): percent of the videos, of 369: 235, 103 and 31."""

Statistics = dict[str, Any]


def count(root: Path) -> tuple[Statistics, dict[str, str]]:
    """Count what a folder of IC-VOS holds.

    Frames of a class are those of its clips, whether or not they show it. Objects are known of
    videos that were built here. Where nothing says what source a video is from, its name does.

    Returns:
        JSON values, and video -> what is wrong with it; such a video does not count.

    Raises:
        UsageError: the folder holds no video of IC-VOS.
    """
    benchmark, sources = IcVos(root), read_sources(root)
    problems = dict(benchmark.problems)
    lengths: dict[str, int] = {}
    clips: list[tuple[str, int]] = []
    for video, class_id in benchmark.items:
        try:
            lengths[video] = len(benchmark.open(video, class_id))
            clips.append((video, class_id))
        except UsageError as error:
            problems[video] = str(error)
    records = {video: read_record(root / video) for video in lengths}
    per_class: dict[str, Counter[str]] = {}
    for video, class_id in sorted(clips, key=lambda clip: clip[1]):
        built_from = records[video]["classes"] if records[video] else {}
        counts = per_class.setdefault(COCO_CLASSES[class_id], Counter())
        counts["clips"] += 1
        counts["frames"] += lengths[video]
        counts["objects"] += len(built_from.get(str(class_id), []))
    per_source: dict[str, Counter[str]] = {}
    for video, length in lengths.items():
        source = sources.get(video) or source_by_name(video) or "unknown"
        counts = per_source.setdefault(source, Counter())
        counts["videos"] += 1
        counts["frames"] += length
    frames, shown = sum(lengths.values()), sum(row["frames"] for row in per_class.values())
    statistics = {
        "videos": len(lengths),
        "mean_frames": frames / len(lengths) if lengths else 0.0,
        "frames": frames,
        "classes": len(per_class),
        "annotations": "mask",
        "clips": len(clips),
        "objects": sum(row["objects"] for row in per_class.values()),
        "videos_without_known_objects": sum(record is None for record in records.values()),
        "per_source": {
            name: {**row, "share_of_videos": 100 * row["videos"] / len(lengths)}
            for name, row in sorted(per_source.items())
        },
        "per_class": {
            name: {**row, "share_of_frames": 100 * row["frames"] / shown}
            for name, row in per_class.items()
        },
    }
    return statistics, problems


def describe(statistics: Statistics) -> str:
    """The statistics in lines of text, beside those of the paper."""
    lines = [f"{'table 1':<14}{'videos':>8}{'mean frames':>13}{'frames':>9}{'classes':>9}"]
    for title, row in (("this folder", statistics), ("paper", PAPER)):
        lines.append(
            f"{title:<14}{row['videos']:>8}{row['mean_frames']:>13.0f}{row['frames']:>9}"
            f"{row['classes']:>9}"
        )
    unknown = statistics["videos_without_known_objects"]
    lines.append(
        f"{statistics['clips']} clips (a class of a video), merged from {statistics['objects']} "
        "objects" + (f", and unknown ones of {unknown} videos" if unknown else "")
    )
    lines.append(f"\n{'figure 2(a)':<20}{'videos':>8}{'percent':>9}{'paper':>7}{'frames':>9}")
    for name, row in statistics["per_source"].items():
        lines.append(
            f"{name:<20}{row['videos']:>8}{row['share_of_videos']:>9.1f}"
            f"{PAPER_SHARES.get(name, '-'):>7}{row['frames']:>9}"
        )
    lines.append(f"\n{'figure 2(b, c)':<20}{'clips':>8}{'frames':>9}{'percent':>9}{'objects':>9}")
    for name, row in by_clips(statistics):
        lines.append(
            f"{name:<20}{row['clips']:>8}{row['frames']:>9}{row['share_of_frames']:>9.1f}"
            f"{row['objects']:>9}"
        )
    return "\n".join(lines)


def by_clips(statistics: Statistics) -> list[tuple[str, Mapping[str, float]]]:
    """Classes, those with most clips first."""
    return sorted(statistics["per_class"].items(), key=lambda item: (-item[1]["clips"], item[0]))
