"""Count what is there of videos with given masks; compare it with published numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from data.davis import Davis
from data.object_items import ObjectVideos
from data.reader import Description
from data.youtube_vos import VALID_VIDEOS, YouTubeVos
from tools.preparation.inventory import differences


@dataclass(frozen=True)
class VideoSet:
    """A benchmark of videos: where it lies, where it is from, and what it consists of."""

    folder: str
    address: str
    lists: Mapping[str, tuple[Callable[[Path], ObjectVideos], Mapping[str, int]]]
    """A name for what is tested -> how it is opened, and published counts."""


def _youtube(year: int) -> VideoSet:
    counts = {"videos": VALID_VIDEOS[year], "unseen categories": 26}
    return VideoSet(
        f"YouTube-VOS-{year}", "https://youtube-vos.org/dataset", {"valid": (YouTubeVos, counts)}
    )


VIDEO_SETS = {
    "davis": VideoSet(
        "DAVIS",
        "https://davischallenge.org/davis2017/code.html",
        {
            "2017 val": (Davis, {"videos": 30, "frames": 1999, "objects": 61}),
            "2016 val": (lambda root: Davis(root, year=2016), {"videos": 20, "frames": 1376}),
        },
    ),
    "lvos": VideoSet(
        "LVOS", "https://lingyihongfd.github.io/lvos.github.io", {"val": (Davis, {"videos": 140})}
    ),
    "mose": VideoSet(
        "MOSE",
        "https://henghuiding.github.io/MOSE",
        {"valid": (lambda root: Davis(root, "valid"), {"videos": 311})},
    ),
    "ytvos18": _youtube(2018),
    "ytvos19": _youtube(2019),
}


def check_videos(name: str, root: Path) -> list[str]:
    """Print how many videos, frames and objects there are, and return what is wrong.

    Args:
        name: one of `VIDEO_SETS`.
        root: the folder that contains its own.
    """
    videos = VIDEO_SETS[name]
    folder = root / videos.folder
    if not folder.is_dir():
        return [f"missing: {folder}, from {videos.address} (by hand)"]
    generated, problems = Description.read(folder).generated, []
    for part, (opened, expected) in videos.lists.items():
        try:
            benchmark = opened(folder)
        except UsageError as error:
            problems.append(str(error))
            continue
        found, wrong = _count(benchmark)
        print(f"  {part}: " + ", ".join(f"{count} {what}" for what, count in found.items()))
        problems += wrong
        if not generated:
            problems += [f"{part}: {line}" for line in differences(found, expected)]
    return problems


def _count(benchmark: ObjectVideos) -> tuple[dict[str, int], list[str]]:
    """What the videos hold, and what is wrong with some of them. Reads all masks."""
    found, unseen, problems = (
        {"videos": len(benchmark.videos), "frames": 0, "objects": 0},
        set(),
        [],
    )
    for video in benchmark.videos:
        try:
            objects = benchmark.objects(video)
        except UsageError as error:
            problems.append(str(error))
            continue
        found["frames"] += len(objects.video)
        found["objects"] += len(objects.given)
        unseen |= {one["category"] for one in objects.facts.values() if not one["seen"]}
    return {**found, **({"unseen categories": len(unseen)} if unseen else {})}, problems
