"""The video benchmarks by name, and which supports or masks belong to their items."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.cli import option
from common.distributed import Processes
from common.errors import UsageError
from common.kinds import REFERENCE_KINDS
from data.benchmarks import EpisodeKey, Split
from data.class_items import ClassItems
from data.davis import Davis
from data.episode_files import read_header, read_keys, write_keys
from data.icvos import IcVos, Supports, support_split
from data.object_items import ObjectRules, ObjectsItems
from data.video_items import ItemSource
from data.youtube_vos import YouTubeVos

ICVOS_FRAMES = 512
"""Frames of an IC-VOS video that count in the paper's protocol."""
SUPPORTS = "supports.jsonl"
PROMPT, ORACLE = "prompt", "oracle"
SPLITS = {
    "icvos": "",
    "davis": "val",
    "davis16": "val",
    "lvos": "val",
    "mose": "valid",
    "ytvos18": "valid",
    "ytvos19": "valid",
}
"""The benchmarks, and which of their splits is tested."""
ON_SERVER = "valid"
"""What a split is called whose truth its server alone has."""


@dataclass(frozen=True)
class VideoDataOptions:
    """Which videos, and what is known about their objects."""

    benchmark: str = option("icvos", "data set of videos", tuple(SPLITS))
    icvos_path: Path = option(Path("Datasets/IC-VOS"), "folder of IC-VOS's videos")
    coco_path: Path = option(Path("Datasets"), "folder with COCO2014/, for supports on IC-VOS")
    davis_path: Path = option(Path("Datasets/DAVIS"), "folder of DAVIS 2017 or 2016")
    lvos_path: Path = option(Path("Datasets/LVOS"), "folder of LVOS v2")
    mose_path: Path = option(Path("Datasets/MOSE"), "folder of MOSE")
    ytvos18_path: Path = option(Path("Datasets/YouTube-VOS-2018"), "folder of YouTube-VOS 2018")
    ytvos19_path: Path = option(Path("Datasets/YouTube-VOS-2019"), "folder of YouTube-VOS 2019")
    tested_split: str | None = option(
        None,
        "split that is tested, of benchmarks with given masks (default: val, or valid of MOSE and "
        "YouTube-VOS)",
        flag="--split",
    )
    all_frames: bool = option(
        False, "of YouTube-VOS segment every frame of <split>_all_frames, not only every fifth"
    )
    first_objects: bool = option(
        False, "only the objects of a video's first annotated frame, as in SegIC's release"
    )
    nshot: int = option(1, "number of support images of an item, 1 to 10")
    reference_kind: str = option(
        "mask",
        "what marks the object in supports on IC-VOS: its mask, or what is drawn from it",
        tuple(REFERENCE_KINDS),
    )
    seed: int = option(0, "seed with which supports and marks are drawn")
    supports: Path | None = option(
        None, "file of supports: it is read if it exists, else it is written"
    )
    first_frame: str = option(
        PROMPT,
        "what begins a video: prompt (the support on IC-VOS, the true masks elsewhere), oracle "
        "(the true masks), or a FOLDER with masks of the first frame from anywhere, one PNG for "
        "each item in the benchmark's layout",
    )
    void: bool = option(
        False,
        "where masks are given, leave pixels of value 255 out of the scores, instead of counting "
        "them as background as DAVIS's own tool does",
    )
    max_frames: int | None = option(
        None, "most frames of a video that count (default: 512 of IC-VOS, all of others)"
    )

    @property
    def given_folder(self) -> Path | None:
        """The folder of masks that begin the videos, if one is named."""
        return None if self.first_frame in (PROMPT, ORACLE) else Path(self.first_frame)

    @property
    def given(self) -> bool:
        """Whether masks are given in the place of supports."""
        return self.benchmark != "icvos" or self.first_frame != PROMPT

    @property
    def begins_with(self) -> str:
        """What begins a video: prompt, oracle, or the folder of masks."""
        if self.given_folder:
            return str(self.given_folder.resolve())
        return ORACLE if self.given else PROMPT

    @property
    def root(self) -> Path:
        """The benchmark's folder."""
        return getattr(self, f"{self.benchmark.removesuffix('16')}_path")

    @property
    def split(self) -> str:
        """The split that is tested; "" of IC-VOS, which has none."""
        return self.tested_split or SPLITS[self.benchmark]

    @property
    def deciding(self) -> dict[str, tuple[Any, Any]]:
        """What a protocol may say of these options: name -> value here, and what is usual."""
        frames = ICVOS_FRAMES if self.benchmark == "icvos" else None
        first = self.first_frame if self.benchmark == "icvos" else PROMPT
        return {
            "first_frame": ("masks" if self.given_folder else first, PROMPT),
            "split": (self.split, SPLITS[self.benchmark]),
            "all_frames": (self.all_frames, False),
            "first_objects": (self.first_objects, False),
            "void": (self.void, False),
            "max_frames": (self.frames, frames),
            "reference_kind": (self.reference_kind, "mask"),
            "nshot": (1 if self.given else self.nshot, 1),
            "seed": (0 if self.given else self.seed, 0),
        }

    @property
    def frames(self) -> int | None:
        """How many frames of a video count at most."""
        return self.max_frames or (ICVOS_FRAMES if self.benchmark == "icvos" else None)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.all_frames and not self.benchmark.startswith("ytvos"):
            found.append(f"--all_frames is of YouTube-VOS, not of {self.benchmark}")
        if self.first_objects and self.benchmark == "icvos":
            found.append("--first_objects needs a benchmark with numbered objects, not icvos")
        if self.given and self.reference_kind != "mask":
            found.append(f"--reference_kind {self.reference_kind}: first masks are given here")
        if not 1 <= self.nshot <= 10:
            found.append(f"--nshot must be from 1 to 10, not {self.nshot}")
        if self.seed < 0:
            found.append("--seed cannot be negative")
        if self.max_frames is not None and self.max_frames < 1:
            found.append(f"--max_frames must be at least 1, not {self.max_frames}")
        if self.given_folder and not self.given_folder.is_dir():
            found.append(
                f"--first_frame: neither {PROMPT} nor {ORACLE} nor a folder: {self.first_frame}"
            )
        return found


@dataclass(frozen=True)
class VideoBenchmark:
    """The items of a benchmark and their supports."""

    items: ItemSource
    split: Split | None = None
    """The images of the supports; None where masks are given."""
    supports: Mapping[str, EpisodeKey] = field(default_factory=dict)
    """Item -> its support; items without one fail when they are opened."""
    seed: int | None = None
    """With which the supports were drawn."""

    def changed(self, record: Mapping[str, Any]) -> str:
        """What of a finished item's record is no longer so: "supports", "first masks" or ""."""
        name = record["item"]
        if name in self.supports and record["support"] != list(self.supports[name].support):
            return "supports"
        return "first masks" if record.get("first_mask") != self.items.given_hash(name) else ""


class SupportsOfFile:
    """Supports that an earlier evaluation, or somebody else, wrote down."""

    def __init__(self, path: Path, shots: int) -> None:
        keys = read_keys(path, benchmark="icvos", fold=0, shots=shots)
        self.path, self.seed = path, read_header(path).seed
        self._known = {(key.query, key.class_id): key for key in keys}

    def key(self, video: str, class_id: int) -> EpisodeKey:
        """The item as an episode whose query is the video.

        Raises:
            UsageError: the file has none.
        """
        if (video, class_id) not in self._known:
            raise UsageError(f"{self.path} has no support for class {class_id} in video {video}")
        return self._known[video, class_id]


def open_video_benchmark(data: VideoDataOptions, processes: Processes) -> VideoBenchmark:
    """Open what the flags name; supports are read from their file, or drawn.

    Raises:
        UsageError: a folder or file is missing or something else than expected.
    """
    if data.benchmark != "icvos":
        rules = ObjectRules(data.void, data.benchmark == "davis16", data.first_objects)
        with _told_to_prepare(data.benchmark):
            if data.benchmark.startswith("ytvos"):
                videos = YouTubeVos(data.root, data.split, data.all_frames)
            else:
                year = 2016 if data.benchmark == "davis16" else 2017
                videos = Davis(data.root, data.split, year)
        return VideoBenchmark(ObjectsItems(videos, rules, data.given_folder))
    with _told_to_prepare("icvos"):
        icvos = IcVos(data.root)
    if data.given:
        return VideoBenchmark(ClassItems(icvos, None, data.given_folder))

    split = support_split(data.coco_path)
    if processes.is_main:
        _ = split.class_lists  # the others read what this scan stores
    processes.wait()
    if data.supports and data.supports.is_file():
        choice = SupportsOfFile(data.supports, data.nshot)
    else:
        choice = Supports(split, data.nshot, data.seed)
    items = ClassItems(icvos, choice)
    supports = {}
    for name, (video, class_id) in zip(items.names, icvos.items, strict=True):
        try:
            supports[name] = choice.key(video, class_id)
        except UsageError:  # opening the item says so
            continue
    return VideoBenchmark(items, split, supports, choice.seed)


@contextmanager
def _told_to_prepare(benchmark: str) -> Iterator[None]:
    """What is wrong with a benchmark's folder is told together with the command that helps."""
    try:
        yield
    except UsageError as error:
        name = benchmark.removesuffix("16")
        raise UsageError(f"{error}. python -m tools.prepare {name} says what is missing") from None


def write_supports(benchmark: VideoBenchmark, data: VideoDataOptions, folder: Path) -> None:
    """Write supports that were drawn to the file which the flags name, or to one in the folder."""
    path = data.supports or folder / SUPPORTS
    if benchmark.supports and not (data.supports and path.is_file()):
        keys = list(benchmark.supports.values())
        write_keys(path, keys, benchmark="icvos", fold=0, seed=data.seed)
