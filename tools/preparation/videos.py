"""What is there of the videos whose first masks are given, compared with published numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common.errors import UsageError
from data.davis import Davis
from data.object_items import ObjectVideos
from data.reader import Description
from data.videos import FRAMES, LISTS, MASKS, RESOLUTIONS
from data.youtube_vos import META, VALID_VIDEOS, YouTubeVos
from tools.preparation.inventory import Archive, Part, differences
from tools.preparation.steps import fetch, report

Opened = Callable[[Path], ObjectVideos]


@dataclass(frozen=True)
class VideoSet:
    """A benchmark of videos: where it lies, where it is from, and what it consists of."""

    folder: str
    address: str
    parts: tuple[Part, ...]
    tested: Mapping[str, tuple[Opened, Mapping[str, int]]]
    """A name for what is tested -> how it is opened, and published counts."""
    others: Mapping[str, tuple[Opened, int]] = field(default_factory=dict)
    """Other splits, which may be there: how they are opened, and how many videos they have."""


DAVIS_ARCHIVE = Archive(
    address="https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-trainval-480p.zip",
    places={"DAVIS/": "DAVIS/"},
)
"""It has the lists of 2016, too."""
BY_HAND = "by hand from {}"


def _davis() -> VideoSet:
    lists = {"2017/train": 60, "2017/val": 30, "2016/train": 30, "2016/val": 20}
    folders = [f"DAVIS/{kind}/{RESOLUTIONS[0]}" for kind in (FRAMES, MASKS)]
    return VideoSet(
        "DAVIS",
        "https://davischallenge.org/davis2017/code.html",
        (
            *(
                Part(f"DAVIS/{LISTS}/{name}.txt", count, DAVIS_ARCHIVE, counts_names=True)
                for name, count in lists.items()
            ),
            *(Part(folder, 90, DAVIS_ARCHIVE, counts_folders=True) for folder in folders),
        ),
        {
            "2017 val": (Davis, {"videos": 30, "frames": 1999, "objects": 61}),
            "2016 val": (partial(Davis, year=2016), {"videos": 20, "frames": 1376}),
        },
        {"2017 train": (partial(Davis, split="train"), 60)},
    )


def _numbered(
    folder: str, address: str, split: str, videos: int, others: Mapping[str, int]
) -> VideoSet:
    """LVOS or MOSE."""
    return VideoSet(
        folder,
        address,
        tuple(
            Part(f"{folder}/{split}/{kind}", videos, BY_HAND.format(address), counts_folders=True)
            for kind in (FRAMES, MASKS)
        ),
        {split: (partial(Davis, split=split), {"videos": videos})},
        {name: (partial(Davis, split=name), count) for name, count in others.items()},
    )


def _youtube(year: int) -> VideoSet:
    folder, address, count = (
        *(f"YouTube-VOS-{year}", "https://youtube-vos.org/dataset", VALID_VIDEOS[year]),
    )
    source = BY_HAND.format(address)
    return VideoSet(
        folder,
        address,
        (
            *(
                Part(f"{folder}/valid/{kind}", count, source, counts_folders=True)
                for kind in (FRAMES, MASKS)
            ),
            Part(f"{folder}/valid/{META}", 1, source),
        ),
        {"valid": (YouTubeVos, {"videos": count, "unseen categories": 26})},
        {"train": (partial(YouTubeVos, split="train"), 3471)},
    )


VIDEO_SETS = {
    "davis": _davis(),
    "lvos": _numbered(
        "LVOS", "https://lingyihongfd.github.io/lvos.github.io", "val", 140, {"train": 420}
    ),
    "mose": _numbered("MOSE", "https://henghuiding.github.io/MOSE", "valid", 311, {"train": 1507}),
    "ytvos18": _youtube(2018),
    "ytvos19": _youtube(2019),
}


def check_videos(name: str, root: Path, download: bool = False) -> list[str]:
    """Print what is there, and how many videos, frames and objects; return what is wrong.

    Args:
        name: one of `VIDEO_SETS`.
        root: the folder that contains its own.
        download: fetch what is missing and has a public address.
    """
    videos = VIDEO_SETS[name]
    folder = root / videos.folder
    problems = fetch(root, videos.parts, download)
    generated = folder.is_dir() and Description.read(folder).generated
    if not generated:
        problems += report(root, videos.parts)
    if not folder.is_dir():
        return [*problems, f"missing: {folder}, from {videos.address}"]
    for part, (opened, expected) in videos.tested.items():
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
    return problems + ([] if generated else _others(videos, folder))


def _others(videos: VideoSet, folder: Path) -> list[str]:
    """What is wrong with the splits that nobody tests on, as far as they are there."""
    problems = []
    for part, (opened, expected) in videos.others.items():
        try:
            found = len(opened(folder).videos)
        except UsageError:
            print(f"  {part}: not there; nothing is tested on it")
            continue
        print(f"  {part}: {found} videos")
        counts = differences({"videos": found}, {"videos": expected})
        problems += [f"{part}: {line}" for line in counts]
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
