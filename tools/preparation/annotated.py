"""Check the annotated pictures that pairs are drawn from; compare them with published numbers.

COCO 2017 and ADE20K have public addresses; ADE20K's segments are made of its masks. LVIS and
Objects365 are fetched by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from data.annotated.ade20k import Ade20k
from data.annotated.catalogue import ADE20K, COCO, LVIS, OBJECTS365
from data.annotated.instances import InstanceIndex, open_instances
from data.annotated.object_index import ObjectIndex
from data.annotated.panoptic import open_panoptic
from data.class_index import name_some
from data.reader import DESCRIPTION_FILE
from tools.preparation.ade20k_segments import OBJECTS, make_segments
from tools.preparation.archives import extract
from tools.preparation.inventory import Archive, Part, differences
from tools.preparation.steps import collected, fetch, lacking_paths, report

_IMAGES = {"train2017": 118_287, "val2017": 5_000}
COCO2017_COUNTS = {
    "train2017 images": 118_287,
    "train2017 objects": 860_001,
    "val2017 images": 5_000,
    "val2017 objects": 36_781,
}
LVIS_TRAINING_COUNTS = {"images": 100_170, "objects": 1_270_141, "classes": 1_203}
"""Of LVIS v1's training set, as its page says."""
_ZIPS = "http://images.cocodataset.org"
_OBJECTS = Archive(
    f"{_ZIPS}/annotations/annotations_trainval2017.zip",
    {f"annotations/instances_{s}.json": f"{COCO}/annotations/instances_{s}.json" for s in _IMAGES},
)
_SEGMENTS = Archive(
    f"{_ZIPS}/annotations/panoptic_annotations_trainval2017.zip",
    {"annotations/": f"{COCO}/annotations/"},
)
_FOLDED = "unpacked here from the archive of its name"
COCO2017_PARTS: tuple[Part, ...] = tuple(
    part
    for split, count in _IMAGES.items()
    for part in (
        Part(
            f"{COCO}/{split}",
            count,
            Archive(f"{_ZIPS}/zips/{split}.zip", {f"{split}/": f"{COCO}/{split}/"}),
            ".jpg",
        ),
        Part(f"{COCO}/annotations/instances_{split}.json", 1, _OBJECTS),
        Part(f"{COCO}/annotations/panoptic_{split}.json", 1, _SEGMENTS),
        Part(
            f"{COCO}/annotations/panoptic_{split}.zip",
            1,
            _SEGMENTS,
            needed_for=(f"{COCO}/annotations/panoptic_{split}",),
        ),
        Part(f"{COCO}/annotations/panoptic_{split}", count, _FOLDED, ".png"),
    )
)
_SCENES = Archive(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    {f"{ADE20K}/": f"{ADE20K}/"},
)
_OF_OBJECTS = Archive(
    "http://sceneparsing.csail.mit.edu/data/ChallengeData2017/annotations_instance.tar",
    {f"{OBJECTS}/": f"{ADE20K}/{OBJECTS}/"},
)
_MADE = f"made here from annotations/ and {OBJECTS}/"
ADE20K_PARTS: tuple[Part, ...] = (
    Part(f"{ADE20K}/objectInfo150.txt", 1, _SCENES),
    *(
        part
        for split, count, short in (("training", 20_210, "train"), ("validation", 2_000, "val"))
        for part in (
            Part(f"{ADE20K}/images/{split}", count, _SCENES, ".jpg"),
            Part(f"{ADE20K}/annotations/{split}", count, _SCENES, ".png"),
            Part(
                f"{ADE20K}/{OBJECTS}/{split}",
                count,
                _OF_OBJECTS,
                ".png",
                needed_for=(
                    f"{ADE20K}/ade20k_panoptic_train.json",
                    f"{ADE20K}/ade20k_panoptic_{short}.json",
                    f"{ADE20K}/ade20k_panoptic_{short}",
                ),
            ),
            Part(f"{ADE20K}/ade20k_panoptic_{short}.json", 1, _MADE),
            Part(f"{ADE20K}/ade20k_panoptic_{short}", count, _MADE, ".png"),
        )
    ),
)


@dataclass(frozen=True)
class AnnotatedSet:
    """A data set of annotated pictures."""

    folder: str
    """Below the root."""
    address: str
    parts: tuple[Part, ...]
    """Those that are counted as files; empty where the check does it."""
    check: Callable[[Path, bool], list[str]]
    """Prints what the annotations hold and returns what is wrong with them: of the root, and
    whether published numbers apply."""
    make: Callable[[Path, int | None], None] | None = None
    """Makes what can be made and is missing: in the data set's folder, by so many processes."""


def prepare_annotated(
    data_set: AnnotatedSet, root: Path, download: bool, workers: int | None = None
) -> list[str]:
    """Fetch what is wanted, make what can be made, and return what is wrong with the data set."""
    folder = root / data_set.folder
    generated = (folder / DESCRIPTION_FILE).is_file()
    problems: list[str] = []
    if generated:
        print(f"{folder} holds generated data; the published numbers do not apply")
    elif data_set.parts:
        problems += fetch(root, data_set.parts, download)
        problems += _unfold(root, data_set.parts)
        if data_set.make:
            with collected(problems, "make what is missing"):
                data_set.make(folder, workers)
        problems += report(root, data_set.parts)
    if not folder.is_dir():
        return [*problems, f"missing: {folder}, from {data_set.address}"]
    with collected(problems, "count what is annotated"):
        problems += data_set.check(root, not generated)
    return problems


def check_lvis_training(root: Path) -> list[str]:
    """Print what LVIS's training annotations hold and return what is wrong with them.

    Without them there is nothing to say: LVIS may be there to be tested on.
    """
    file = root / LVIS / "lvis_v1_train.json"
    if not file.is_file():
        print("  no lvis_v1_train.json: LVIS is tested on, not trained on")
        return []
    problems: list[str] = []
    with collected(problems, "count what is annotated"):
        index = open_instances(file)
        found = {
            "images": len(index.files),
            "objects": len(index.object_ids),
            "classes": len(index.categories),
        }
        print("\n".join(f"  training {what}: {count}" for what, count in found.items()))
        problems += _without_pictures(index, root / COCO)
        if not (root / LVIS / DESCRIPTION_FILE).is_file():
            problems += [f"training {one}" for one in differences(found, LVIS_TRAINING_COUNTS)]
    return problems


def _unfold(root: Path, parts: tuple[Part, ...]) -> list[str]:
    """Unpack what lay in archives within archives."""
    problems: list[str] = []
    for path in sorted(lacking_paths(root, parts)):
        archive = root / f"{path}.zip"
        if archive.is_file():
            with collected(problems, f"unpack {archive}"):
                extract(archive, archive.parent, {f"{archive.stem}/": f"{archive.stem}/"})
    return problems


def _check_coco2017(root: Path, published: bool) -> list[str]:
    annotations, found, problems = root / COCO / "annotations", {}, []
    for split in _IMAGES:
        with collected(problems, f"count {split}"):
            index = open_instances(annotations / f"instances_{split}.json")
            found |= {f"{split} images": len(index.files), f"{split} objects": len(index.crowd)}
            problems += _without_pictures(index, root / COCO / split)
        with collected(problems, f"count the segments of {split}"):
            index = open_panoptic(annotations / f"panoptic_{split}.json")
            print(f"  {split} segments: {len(index.object_ids)}")
            problems += _without_pictures(index, root / COCO / split)
    print("\n".join(f"  {what}: {count}" for what, count in found.items()))
    return problems + (differences(found, COCO2017_COUNTS) if published else [])


def _check_ade20k(root: Path, published: bool) -> list[str]:
    problems: list[str] = []
    for split in ("training", "validation"):
        with collected(problems, f"count {split}"):
            source = Ade20k(root / ADE20K, split)
            print(f"  {split}: {len(source.names)} images of {len(source.images_of)} classes")
    return problems


def _check_objects365(root: Path, published: bool) -> list[str]:
    folder, problems = root / OBJECTS365, []
    with collected(problems, "count boxes"):
        index = open_instances(folder / "annotations" / "zhiyuan_objv2_train.json")
        print(f"  boxes: {len(index.boxes)} in {len(index.files)} images")
    with collected(problems, "count masks (python -m tools.box_masks makes them)"):
        masks = open_instances(folder / "masks" / "train")
        print(f"  masks: {len(masks.boxes)} in {len(masks.files)} images")
        problems += _without_pictures(masks, folder / "train")
    return problems


def _without_pictures(index: ObjectIndex | InstanceIndex, folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.jpg")}
    names = [index.file(picture) for picture in range(len(index.files))]
    missing = [name for name in names if name not in there]
    return [f"{folder}: {len(missing)} pictures are missing: {name_some(missing)}"][: len(missing)]


ANNOTATED = {
    "coco2017": AnnotatedSet(COCO, "https://cocodataset.org", COCO2017_PARTS, _check_coco2017),
    "ade20k": AnnotatedSet(ADE20K, _SCENES.address, ADE20K_PARTS, _check_ade20k, make_segments),
    "objects365": AnnotatedSet(
        OBJECTS365, "https://www.objects365.org (by hand)", (), _check_objects365
    ),
}
"""The data sets of annotated pictures by name; LVIS is checked with what is tested on."""
