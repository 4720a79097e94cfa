"""What a complete data set consists of, what of it is there, and where the rest comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data.class_index import ClassLists


@dataclass(frozen=True)
class Archive:
    """A public archive and which of its files go where (see `download.extract`)."""

    address: str
    places: Mapping[str, str]
    md5: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(self.address).name


@dataclass(frozen=True)
class Part:
    """Files of one kind that a data set consists of."""

    path: str
    """A folder or a file below the root."""
    expected: int
    """How many files, or names in a list, there are to be."""
    source: Archive | str
    """Where it is downloaded from, or what makes it."""
    suffix: str = ""
    """Of the files to count in a folder; "" for a single file."""
    counts_names: bool = False
    """Whether the names in a single file are counted."""
    counts_folders: bool = False
    """Whether the folders in a folder are counted."""
    needed_for: tuple[str, ...] = ()
    """Paths of parts made from this one; once they are complete it can be deleted."""


@dataclass(frozen=True)
class Presence:
    """A part and how much of it is there."""

    part: Part
    found: int

    @property
    def complete(self) -> bool:
        return self.found == self.part.expected


VOC = Archive(
    address="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    places={"VOCdevkit/VOC2012/": "VOC2012/"},
    md5="6cd6e144f989b92b3379bac3b3de84fd",
)
SBD = Archive(
    address="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
    "semantic_contours/benchmark.tgz",
    places={
        f"benchmark_RELEASE/dataset/{name}": f"SBD/{name}"
        for name in ("cls/", "train.txt", "val.txt")
    },
    md5="82b4d87ceb2ed10f6038a1cba92111cb",
)
COCO_TRAIN = Archive(
    address="http://images.cocodataset.org/zips/train2014.zip",
    places={"train2014/": "COCO2014/train2014/"},
)
COCO_VAL = Archive(
    address="http://images.cocodataset.org/zips/val2014.zip",
    places={"val2014/": "COCO2014/val2014/"},
)
COCO_ANNOTATIONS = Archive(
    address="http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
    places={
        f"annotations/instances_{name}.json": f"COCO2014/annotations/instances_{name}.json"
        for name in ("train2014", "val2014")
    },
)
_AUGMENTED = "VOC2012/SegmentationClassAug"
_LISTS = "VOC2012/ImageSets/Segmentation"
_MADE = (_AUGMENTED, f"{_LISTS}/train_sbd.txt", f"{_LISTS}/trainaug.txt")
_FROM_SBD = "made here from VOC 2012 and SBD"

PASCAL_PARTS: tuple[Part, ...] = (
    Part("VOC2012/JPEGImages", 17125, VOC, ".jpg"),
    Part("VOC2012/SegmentationClass", 2913, VOC, ".png", needed_for=(_AUGMENTED,)),
    Part(f"{_LISTS}/train.txt", 1464, VOC, counts_names=True),
    Part(f"{_LISTS}/val.txt", 1449, VOC, counts_names=True),
    Part("VOC2012/ImageSets/Main/val.txt", 5823, VOC, counts_names=True, needed_for=_MADE),
    Part("SBD/cls", 11355, SBD, ".mat", needed_for=(_AUGMENTED,)),
    Part("SBD/train.txt", 8498, SBD, counts_names=True, needed_for=_MADE),
    Part("SBD/val.txt", 2857, SBD, counts_names=True, needed_for=_MADE),
    Part(_AUGMENTED, 12031, _FROM_SBD, ".png"),
    Part(f"{_LISTS}/train_sbd.txt", 5953, _FROM_SBD, counts_names=True),
    Part(f"{_LISTS}/trainaug.txt", 10582, _FROM_SBD, counts_names=True),
)

_COCO_MASKS = "made here from the instances file"

COCO_PARTS: tuple[Part, ...] = tuple(
    part
    for name, count, images in (
        ("train2014", 82783, COCO_TRAIN),
        ("val2014", 40504, COCO_VAL),
    )
    for part in (
        Part(f"COCO2014/{name}", count, images, ".jpg"),
        Part(
            f"COCO2014/annotations/instances_{name}.json",
            1,
            COCO_ANNOTATIONS,
            needed_for=(f"COCO2014/annotations/{name}",),
        ),
        Part(f"COCO2014/annotations/{name}", count, _COCO_MASKS, ".png"),
    )
)

PASCAL_COUNTS: dict[str, int] = {
    f"fold {fold} {role}": count
    for role, counts in (("train", (4208, 3726, 2752, 4510)), ("test", (364, 445, 592, 336)))
    for fold, count in enumerate(counts)
}
"""Images per fold in the paper's lists."""
_PER_CLASS = (81, 63, 89, 61, 71, 70, 100, 118, 110, 69, 73, 125, 76, 74, 386, 63, 53, 90, 82, 69)
PASCAL_COUNTS |= {
    f"fold {(number - 1) // 5} test class {number}": count
    for number, count in enumerate(_PER_CLASS, start=1)
}
COCO_COUNTS: dict[str, int] = {"fold 1 test": 15305, "fold 2 test": 13138, "fold 3 test": 12640}
"""Images per fold in the paper's lists, as far as they are known."""


def take_stock(root: Path, parts: tuple[Part, ...]) -> list[Presence]:
    """Count what is there of every part; hidden files do not count."""
    return [Presence(part, _count(root / part.path, part)) for part in parts]


def _count(path: Path, part: Part) -> int:
    if part.counts_folders:
        return sum(inner.is_dir() for inner in path.glob("[!.]*"))
    if part.suffix:
        return sum(1 for _ in path.glob(f"[!.]*{part.suffix}"))
    if not path.is_file():
        return 0
    return len(path.read_text(errors="replace").split()) if part.counts_names else 1


def lacking(stock: list[Presence]) -> list[Presence]:
    """The parts that are not as they should be, without those that nothing needs any more."""
    complete = {presence.part.path for presence in stock if presence.complete}

    def superfluous(part: Part) -> bool:
        return bool(part.needed_for) and complete.issuperset(part.needed_for)

    return [one for one in stock if not one.complete and not superfluous(one.part)]


def describe(stock: list[Presence]) -> list[str]:
    """A line for every part: whether it is there and, if not, where it comes from."""
    missing = lacking(stock)
    width = max(len(presence.part.path) for presence in stock)
    lines = []
    for presence in stock:
        part = presence.part
        if presence.complete:
            state, remark = "there", f"{presence.found}"
        elif presence not in missing:
            state, remark = "unneeded", f"{presence.found} of {part.expected}"
        else:
            state = "excess" if presence.found > part.expected else "partial"
            state = state if presence.found else "missing"
            origin = part.source if isinstance(part.source, str) else f"from {part.source.address}"
            remark = f"{presence.found} of {part.expected}, {origin}"
        lines.append(f"  {state:8}  {part.path:{width}}  {remark}")
    return lines


def count_lists(fold: int, role: str, lists: ClassLists) -> dict[str, int]:
    """How many images a fold has, in all and for each of its classes."""
    counts = {f"fold {fold} {role}": len(lists)}
    for numbers in lists.values():
        for number in numbers:
            key = f"fold {fold} {role} class {number}"
            counts[key] = counts.get(key, 0) + 1
    return counts


def differences(found: Mapping[str, int], expected: Mapping[str, int]) -> list[str]:
    """A line for every count that is not the expected one."""
    return [
        f"{key}: {found.get(key, 0)} instead of {count}"
        for key, count in expected.items()
        if found.get(key, 0) != count
    ]
