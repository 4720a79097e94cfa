"""What IC-VOS consists of: the numbers of table 1 and of figure 2."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.errors import UsageError
from data.classes import COCO_CLASSES
from data.icvos import IcVos, read_sources
from tools.icvos.tubes import read_record

PAPER = {"videos": 369, "mean_frames": 270, "frames": 99549, "classes": 30}
"""Table 1."""
PAPER_SHARES = {"lvos": 63.7, "mose": 27.9, "davis": 8.4}
"""Figure 2(a): percent of the videos."""

_CLIP_COLOUR, _FRAME_COLOUR = (58, 130, 246), (247, 120, 20)
_INK = (28, 32, 38)
_LINE, _MARGIN, _NAME_WIDTH, _BAR_WIDTH = 22, 24, 120, 300

Statistics = dict[str, Any]


def count(root: Path) -> tuple[Statistics, dict[str, str]]:
    """Count what a folder of IC-VOS holds.

    Frames of a class are those of its clips, whether or not they show it. Objects are known of
    videos that were built here.

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
    objects = {
        (video, class_id): len(
            (records[video] or {"classes": {}})["classes"].get(str(class_id), [])
        )
        for video, class_id in clips
    }
    per_class = {}
    for class_id in sorted({class_id for _, class_id in clips}):
        mine = [clip for clip in clips if clip[1] == class_id]
        per_class[COCO_CLASSES[class_id]] = {
            "clips": len(mine),
            "frames": sum(lengths[video] for video, _ in mine),
            "objects": sum(objects[clip] for clip in mine),
        }
    shown = sum(lengths[video] for video, _ in clips)
    for counts in per_class.values():
        counts["share_of_frames"] = 100 * counts["frames"] / shown
    per_source: dict[str, dict[str, float]] = {}
    for video, length in lengths.items():
        counts = per_source.setdefault(sources.get(video, "unknown"), {"videos": 0, "frames": 0})
        counts["videos"] += 1
        counts["frames"] += length
    for counts in per_source.values():
        counts["share_of_videos"] = 100 * counts["videos"] / len(lengths)
    total = sum(lengths.values())
    statistics = {
        "videos": len(lengths),
        "mean_frames": total / len(lengths) if lengths else 0.0,
        "frames": total,
        "classes": len(per_class),
        "annotations": "mask",
        "clips": len(clips),
        "objects": sum(objects.values()),
        "videos_without_known_objects": sum(record is None for record in records.values()),
        "per_source": dict(sorted(per_source.items())),
        "per_class": per_class,
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
    for name, row in _by_clips(statistics):
        lines.append(
            f"{name:<20}{row['clips']:>8}{row['frames']:>9}{row['share_of_frames']:>9.1f}"
            f"{row['objects']:>9}"
        )
    return "\n".join(lines)


def chart(statistics: Statistics) -> np.ndarray:
    """Figure 2(c): bars of each class's clips and frames, most clips first; H x W x 3 uint8."""
    rows = _by_clips(statistics)
    columns = (("clips", _CLIP_COLOUR), ("frames", _FRAME_COLOUR))
    step = _BAR_WIDTH + 70
    size = (2 * _MARGIN + _NAME_WIDTH + 2 * step, 2 * _MARGIN + (len(rows) + 1) * _LINE)
    picture = Image.new("RGB", size, (255, 255, 255))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for number, (key, colour) in enumerate(columns):
        left = _MARGIN + _NAME_WIDTH + number * step
        highest = max((row[key] for _, row in rows), default=1)
        draw.text((left, _MARGIN), key, fill=_INK, font=font)
        for line, (name, row) in enumerate(rows, start=1):
            y = _MARGIN + line * _LINE
            right = left + max(1, round(_BAR_WIDTH * row[key] / highest))
            draw.rectangle((left, y + 2, right, y + _LINE - 4), fill=colour)
            draw.text((right + 6, y + 1), f"{row[key]:,}", fill=_INK, font=font)
            if number == 0:
                draw.text((_MARGIN, y + 1), name, fill=_INK, font=font)
    return np.array(picture)


def _by_clips(statistics: Statistics) -> list[tuple[str, Mapping[str, float]]]:
    """Classes, those with most clips first."""
    return sorted(statistics["per_class"].items(), key=lambda item: (-item[1]["clips"], item[0]))
