"""The video benchmarks by name, and which supports belong to their items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.cli import option
from common.distributed import Processes
from common.errors import UsageError
from data.benchmarks import Split
from data.davis import Davis
from data.episode import EpisodeKey
from data.icvos import IcVos, Supports, support_split
from data.sampler import read_keys, write_keys
from evaluation.video_items import ClassItems, ItemSource, ObjectsItems

ICVOS_FRAMES = 512
"""Frames of an IC-VOS video that count in the paper's protocol."""
SUPPORTS = "supports.jsonl"


@dataclass(frozen=True)
class VideoDataOptions:
    """Which videos, and what is known about their objects."""

    benchmark: str = option("icvos", "which data set", ("icvos", "davis", "lvos"))
    icvos_path: Path = option(Path("Datasets/IC-VOS"), "folder of IC-VOS's videos")
    coco_path: Path = option(Path("Datasets"), "folder with COCO2014/, for supports on IC-VOS")
    davis_path: Path = option(Path("Datasets/DAVIS"), "folder of DAVIS 2017")
    lvos_path: Path = option(Path("Datasets/LVOS"), "folder of LVOS v2")
    split: str = option("val", "of DAVIS or LVOS")
    nshot: int = option(1, "support images of an item, 1 to 10")
    seed: int = option(0, "of the supports")
    supports: Path | None = option(None, "file of supports: read if it exists, else written")
    first_frame: str = option(
        "prompt",
        "of IC-VOS: prompt with the support, or give the true mask (the upper bound)",
        ("prompt", "oracle"),
    )
    max_frames: int | None = option(
        None, "at most so many frames of a video (default: 512 of IC-VOS, all of others)"
    )

    @property
    def given(self) -> bool:
        """Whether masks are given in the place of supports."""
        return self.benchmark != "icvos" or self.first_frame == "oracle"

    @property
    def root(self) -> Path:
        """The benchmark's folder."""
        paths = {"icvos": self.icvos_path, "davis": self.davis_path, "lvos": self.lvos_path}
        return paths[self.benchmark]

    @property
    def frames(self) -> int | None:
        """How many frames of a video count at most."""
        return self.max_frames or (ICVOS_FRAMES if self.benchmark == "icvos" else None)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not 1 <= self.nshot <= 10:
            found.append(f"--nshot must be from 1 to 10, not {self.nshot}")
        if self.seed < 0:
            found.append("--seed cannot be negative")
        if self.max_frames is not None and self.max_frames < 1:
            found.append(f"--max_frames must be at least 1, not {self.max_frames}")
        return found


@dataclass(frozen=True)
class VideoBenchmark:
    """The items of a benchmark and their supports."""

    items: ItemSource
    split: Split | None = None
    """The images of the supports; None where masks are given."""
    supports: Mapping[str, EpisodeKey] | None = None
    """Item -> its support; items without one fail when they are opened."""


def open_video_benchmark(data: VideoDataOptions, processes: Processes) -> VideoBenchmark:
    """Open what the flags name; supports are read from their file, or drawn.

    Raises:
        UsageError: a folder or file is missing or something else than expected.
    """
    if data.benchmark != "icvos":
        return VideoBenchmark(ObjectsItems(Davis(data.root, data.split)))
    icvos = IcVos(data.root)
    if data.given:
        return VideoBenchmark(ClassItems(icvos, None))

    split = support_split(data.coco_path)
    if processes.is_main:
        _ = split.class_lists  # the others read what this scan stores
    processes.wait()
    if data.supports and data.supports.is_file():
        support = _supports_of_file(data.supports, data.nshot)
    else:
        support = Supports(split, data.nshot, data.seed).key
    items = ClassItems(icvos, support)
    supports = {}
    for name, (video, class_id) in zip(items.names, icvos.items, strict=True):
        try:
            supports[name] = support(video, class_id)
        except UsageError:  # opening the item says so
            continue
    return VideoBenchmark(items, split, supports)


def write_supports(benchmark: VideoBenchmark, data: VideoDataOptions, folder: Path) -> None:
    """Write supports that were drawn to the file which the flags name, or to one in the folder."""
    path = data.supports or folder / SUPPORTS
    if benchmark.supports and not (data.supports and path.is_file()):
        keys = list(benchmark.supports.values())
        write_keys(path, keys, benchmark="icvos", fold=0, seed=data.seed)


def _supports_of_file(path: Path, shots: int) -> Callable[[str, int], EpisodeKey]:
    keys = read_keys(path, benchmark="icvos", fold=0, shots=shots)
    known = {(key.query, key.class_id): key for key in keys}

    def support(video: str, class_id: int) -> EpisodeKey:
        if (video, class_id) not in known:
            raise UsageError(f"{path} has no support for class {class_id} in video {video}")
        return known[video, class_id]

    return support
