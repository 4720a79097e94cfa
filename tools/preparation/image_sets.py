"""Check benchmarks that are folders of images and masks, and make what is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data.binary_masks import BinaryMasks, ChestXray, Isic, PerMis, PerSeg
from data.class_index import name_some
from data.classes import FOLDS_OF
from data.parts import PascalPart
from data.pixel_classes import SUIM_PARTS, DeepGlobe, Isaid, Suim
from data.reader import Description, Reader
from tools.preparation.inventory import differences
from tools.preparation.pascal_part import make_pascal_part
from tools.preparation.patches import isaid_masks, make_deepglobe, make_isaid
from tools.preparation.permis import make_permis
from tools.preparation.steps import collected


@dataclass(frozen=True)
class ImageSet:
    """A benchmark of images: what reads it, where it is from, and how large it is."""

    reader: type[Reader]
    address: str
    count: Callable[[Path], dict[str, int]]
    """Counts what is there in its folder."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Published ones."""
    make: Callable[[Path, int | None], None] | None = None
    """Makes what is missing: in its folder, by so many processes."""


def _images_of_classes(reader: BinaryMasks) -> dict[str, int]:
    found = dict.fromkeys(reader.class_names.values(), 0)
    for one in reader.images.values():
        found[reader.class_names[one.class_id]] += 1
    return found


def _count_isic(folder: Path) -> dict[str, int]:
    return {f"images of {name}": n for name, n in _images_of_classes(Isic(folder)).items()}


def _count_perseg(folder: Path) -> dict[str, int]:
    images = _images_of_classes(PerSeg(folder)).values()
    few_or_many = sum(not 5 <= count <= 7 for count in images)
    return {"objects": len(images), "objects of less than 5 or more than 7 images": few_or_many}


def _count_permis(folder: Path) -> dict[str, int]:
    objects = {name.rpartition("/")[0] for name in PerMis(folder).images}
    videos = {name.partition("/")[0] for name in objects}
    return {"videos": len(videos), "objects": len(objects)}


def _count_parts(folder: Path) -> dict[str, int]:
    found = {}
    for fold in FOLDS_OF["pascal_part"]:
        reader = PascalPart(folder, fold=fold)
        images = reader.class_lists("test", "test")
        parts = reader.classes_of("test")
        found |= {f"fold {fold} images": len(images), f"fold {fold} parts": len(parts)}
    return found


def _count_suim(folder: Path) -> dict[str, int]:
    return {f"images of {part}": len(Suim(folder, part=part).files("test")) for part in SUIM_PARTS}


def _count_isaid(folder: Path) -> dict[str, int]:
    found = {"patches": len(Isaid(folder).files("test"))}
    if uncut := len(isaid_masks(folder)):
        found["original images"] = uncut
    for fold in FOLDS_OF["isaid5i"]:
        lists = Isaid(folder, fold).class_lists("test", "test")
        found[f"fold {fold} patches with a class"] = len(lists)
    return found


_PARTS_ADDRESS = "https://roozbehm.info/pascal-parts/pascal-parts.html"
IMAGE_SETS = {
    "pascal_part": ImageSet(
        PascalPart, _PARTS_ADDRESS, _count_parts, {"fold 1 images": 959}, make_pascal_part
    ),
    "perseg": ImageSet(
        PerSeg,
        "https://github.com/ZrrSkywalker/Personalize-SAM",
        _count_perseg,
        {"objects": 40, "objects of less than 5 or more than 7 images": 0},
    ),
    "permis": ImageSet(
        PerMis,
        "https://github.com/Ali2500/BURST-benchmark",
        _count_permis,
        {"videos": 216, "objects": 432},
        make_permis,
    ),
    "isaid5i": ImageSet(
        Isaid,
        "https://captain-whu.github.io/iSAID",
        _count_isaid,
        {"original images": 458},
        make_isaid,
    ),
    "isic2018": ImageSet(
        Isic,
        "https://challenge.isic-archive.com/data/#2018",
        _count_isic,
        {
            "images of seborrheic keratosis": 208,
            "images of nevus": 1867,
            "images of melanoma": 519,
        },
    ),
    "chest_xray": ImageSet(
        ChestXray,
        "https://www.kaggle.com/datasets/nikhilpandey360/chest-xray-masks-and-labels",
        lambda folder: {"images with masks": len(ChestXray(folder).images)},
        {"images with masks": 704},
    ),
    "suim": ImageSet(
        Suim,
        "https://irvlab.cs.umn.edu/resources/suim-dataset",
        _count_suim,
        {"images of train_val": 1525, "images of TEST": 110},
    ),
    "deepglobe": ImageSet(
        DeepGlobe,
        "http://deepglobe.org",
        lambda folder: {"pieces": len(DeepGlobe(folder).files("test"))},
        {"pieces": 5666},
        make_deepglobe,
    ),
}
"""By name. The counts are those of Matcher (959), PerSAM, INSID3 (216, 704, the three folders of
ISIC), the data sets' own papers (458, 1,525 and 110), and PATNet, which cut DeepGlobe first."""


def prepare_image_set(name: str, root: Path, workers: int | None) -> list[str]:
    """Make what is missing and can be made, print what is there, and return what is wrong.

    Args:
        name: one of `IMAGE_SETS`.
        root: the folder that contains its own.
    """
    one, problems = IMAGE_SETS[name], []
    folder = root / one.reader.folder
    generated = folder.is_dir() and Description.read(folder).generated
    if one.make and not generated:
        with collected(problems, "make what is missing"):
            one.make(folder, workers)
    if not folder.is_dir():
        return [*problems, f"missing: {folder}, from {one.address} (by hand)"]
    with collected(problems, "count what is there"):
        found = one.count(folder)
        print("\n".join(f"  {what}: {count}" for what, count in found.items()))
        expected = {what: count for what, count in one.counts.items() if what in found}
        problems += [] if generated else differences(found, expected)
        for fold in FOLDS_OF[name]:
            problems += _missing_files(one.reader(folder, fold=fold))
    return list(dict.fromkeys(problems))


def _missing_files(reader: Reader) -> list[str]:
    found = [reader.files_of(name) for name in reader.class_lists("test", "test")]
    paths = sorted({str(path) for files in found for path in (files.image, files.mask)})
    missing = [path for path in paths if not Path(path).is_file()]
    return [f"{len(missing)} files are missing: {name_some(missing)}"][: len(missing)]
