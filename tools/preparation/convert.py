"""Class masks and image lists that the benchmarks do not ship: made from their annotations.

Every file is written in one step and a file that is there is left alone, so an interrupted
conversion goes on where it stopped; the result does not depend on the number of processes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as run_lengths

from common.cli import shown
from common.coco_masks import listed_size, refuse_outlines, refuse_runs
from common.errors import UsageError
from common.files import BROKEN, parse_json, write_atomically
from common.images import read_mask
from common.video_io import davis_palette
from data.class_index import name_some
from data.classes import COCO_CATEGORY_IDS, VOC_CLASSES
from data.parallel import parallel_map

Task = TypeVar("Task", bound=tuple[Any, Path])
CLASS_OF_CATEGORY = {category: number for number, category in COCO_CATEGORY_IDS.items()}
"""`category_id` of COCO's annotations, 1 to 90 with gaps -> class id 1 to 80."""


def read_image_list(path: Path) -> list[str]:
    """The image names of a list with one name per line; blank lines do not count.

    Raises:
        UsageError: the file is missing or is no text.
    """
    try:
        return path.read_text().split()
    except FileNotFoundError:
        raise UsageError(f"missing image list: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the image list {path}: {error}") from None


@dataclass(frozen=True)
class PascalNames:
    """The images that VOC 2012's and SBD's own lists name."""

    train: frozenset[str]
    """ImageSets/Segmentation/train.txt: 1,464."""
    val: frozenset[str]
    """ImageSets/Segmentation/val.txt: 1,449."""
    main_val: frozenset[str]
    """ImageSets/Main/val.txt: the 5,823 images of VOC 2012's whole val set, with masks or not."""
    sbd_train: frozenset[str]
    """SBD's train.txt: 8,498."""
    sbd_val: frozenset[str]
    """SBD's val.txt: 2,857."""

    @classmethod
    def read(cls, voc: Path, sbd: Path) -> "PascalNames":
        """Read the five lists.

        Raises:
            UsageError: one is missing.
        """
        sets = voc / "ImageSets"
        return cls(
            train=frozenset(read_image_list(sets / "Segmentation" / "train.txt")),
            val=frozenset(read_image_list(sets / "Segmentation" / "val.txt")),
            main_val=frozenset(read_image_list(sets / "Main" / "val.txt")),
            sbd_train=frozenset(read_image_list(sbd / "train.txt")),
            sbd_val=frozenset(read_image_list(sbd / "val.txt")),
        )

    @property
    def all(self) -> list[str]:
        """Every image that has a mask in VOC or SBD: 12,031."""
        return sorted(self.train | self.val | self.sbd_train | self.sbd_val)

    @property
    def paper_training(self) -> list[str]:
        """VOC 2012 train and SBD train without VOC 2012 val: 5,953.

        The whole val set is meant: it takes 2,875 images out of SBD's train list and leaves
        5,623. The 1,449 val images with masks could not take out as many.
        """
        return sorted(self.train | (self.sbd_train - self.main_val))

    @property
    def largest_training(self) -> list[str]:
        """VOC 2012 train and all of SBD without the 1,449 val images: 10,582."""
        return sorted((self.train | self.sbd_train | self.sbd_val) - self.val)


def make_augmented_masks(
    voc: Path, sbd: Path, names: PascalNames, workers: int | None = None
) -> list[str]:
    """Fill SegmentationClassAug: VOC's own mask where there is one, else the one of SBD.

    Args:
        voc: the folder VOC2012.
        sbd: the folder that contains SBD's `cls/<name>.mat`.

    Returns:
        What went wrong, one line per image.

    Raises:
        UsageError: a mask that the lists name is missing, so nothing was begun; or a file cannot
            be written.
    """
    own = voc / "SegmentationClass"
    sources = {name: sbd / "cls" / f"{name}.mat" for name in names.sbd_train | names.sbd_val}
    sources |= {name: own / f"{name}.png" for name in names.train | names.val}
    missing = sorted(str(source) for source in sources.values() if not source.is_file())
    if missing:
        raise UsageError(
            f"{len(missing)} masks that the lists name are missing: {name_some(missing)}"
        )
    folder = _clean_folder(voc / "SegmentationClassAug")
    tasks = [(sources[name], folder / f"{name}.png") for name in names.all]
    return _convert_missing(_convert_pascal, tasks, workers, "making SegmentationClassAug")


def _convert_pascal(task: tuple[Path, Path]) -> str | None:
    source, target = task
    try:
        if source.suffix == ".png":
            read_mask(source)  # a corrupt mask must not be copied
            content = source.read_bytes()
            write_atomically(target, lambda temporary: temporary.write_bytes(content))
        else:
            mask = Image.fromarray(read_boundaries_mask(source))
            mask.putpalette(davis_palette().tobytes())
            write_atomically(target, mask.save)
    except UsageError as error:
        return str(error)
    return None


def read_boundaries_mask(path: Path) -> np.ndarray:
    """Read the class mask of one of SBD's `cls/*.mat` files, H x W uint8 of 0 to 20.

    Raises:
        UsageError: the file is corrupt or holds something else.
    """
    from scipy.io import loadmat  # takes seconds

    try:
        content = loadmat(path, variable_names=["GTcls"], squeeze_me=True, struct_as_record=False)
        mask = np.atleast_2d(content["GTcls"].Segmentation)
    except Exception as error:  # scipy raises many kinds for broken files
        raise UsageError(f"cannot read {path} as a class mask of SBD: {shown(error)}") from None
    if mask.ndim != 2 or mask.dtype.kind not in "ui" or mask.size == 0:
        raise UsageError(f"{path}: GTcls.Segmentation is no image of class ids")
    if mask.min() < 0 or mask.max() > max(VOC_CLASSES):
        raise UsageError(f"{path}: GTcls.Segmentation holds a value outside of 0 to 20")
    return mask.astype(np.uint8)


@dataclass(frozen=True)
class CocoImage:
    """One image of an instances file: all that its class mask is made from."""

    name: str
    """File name without suffix."""
    height: int
    width: int
    instances: tuple[tuple[int, Any], ...]
    """(class id, COCO's `segmentation`) in the order of the file."""


def read_instances(path: Path) -> list[CocoImage]:
    """Read an instances file of COCO, crowds included, with the images in the order of their names.

    Raises:
        UsageError: the file is missing or is no instances file.
    """
    try:
        content = parse_json(path.read_bytes())
        instances: dict[int, list[tuple[int, Any]]] = {
            image["id"]: [] for image in content["images"]
        }
        for annotation in content["annotations"]:
            number = CLASS_OF_CATEGORY[annotation["category_id"]]
            instances[annotation["image_id"]].append((number, annotation["segmentation"]))
        images = []
        for image in content["images"]:
            name = Path(image["file_name"])
            if name.name != image["file_name"]:
                raise ValueError(f"file_name {image['file_name']!r} is no plain file name")
            images.append(CocoImage(name.stem, *listed_size(image), tuple(instances[image["id"]])))
    except FileNotFoundError:
        raise UsageError(f"missing instances file: {path}") from None
    except (OSError, *BROKEN) as error:
        raise UsageError(f"{path} is not an instances file of COCO: {shown(error)}") from None
    return sorted(images, key=lambda image: image.name)


def draw_class_mask(image: CocoImage) -> np.ndarray:
    """Draw all instances of an image, H x W uint8 of class ids, 0 where there is none.

    Instances are drawn in the order of the file and a later one covers an earlier one. Crowds are
    drawn too. Polygons are filled by Pillow, outline included: this gives the class masks it could
    be compared with to the pixel, where pycocotools' own filling leaves out part of the outline.

    Raises:
        ValueError: a segmentation is malformed.
    """
    canvas = Image.new("L", (image.width, image.height))
    draw = ImageDraw.Draw(canvas)
    for number, segmentation in image.instances:
        if isinstance(segmentation, dict):
            region = Image.fromarray(_decode_run_lengths(segmentation, image) * np.uint8(255))
            canvas.paste(number, mask=region)
            continue
        refuse_outlines(segmentation, (image.height, image.width))
        for polygon in segmentation:
            if len(polygon) < 6 or len(polygon) % 2:
                raise ValueError(f"a polygon of {len(polygon)} numbers")
            draw.polygon([float(value) for value in polygon], fill=number)
    return np.array(canvas)


def _decode_run_lengths(segmentation: dict[str, Any], image: CocoImage) -> np.ndarray:
    counts, size = segmentation["counts"], list(segmentation["size"])
    if size != [image.height, image.width]:
        raise ValueError(f"run lengths for {size}, the image is {[image.height, image.width]}")
    refuse_runs(counts, (image.height, image.width))
    if isinstance(counts, list):
        segmentation = run_lengths.frPyObjects(segmentation, image.height, image.width)
    return run_lengths.decode(segmentation)


def make_class_masks(instances: Path, folder: Path, workers: int | None = None) -> list[str]:
    """Write the class mask of every image of an instances file, also of those without instances.

    Args:
        instances: COCO's `instances_*.json`.
        folder: gets `<image name>.png`, grey images of class ids 0 to 80.

    Returns:
        What went wrong, one line per image.

    Raises:
        UsageError: the instances file cannot be read, or a mask cannot be written.
    """
    images = read_instances(instances)
    _clean_folder(folder)
    tasks = [(image, folder / f"{image.name}.png") for image in images]
    return _convert_missing(
        _convert_coco, tasks, workers, f"making {folder.parent.name}/{folder.name}"
    )


def _convert_coco(task: tuple[CocoImage, Path]) -> str | None:
    image, target = task
    try:
        write_atomically(target, Image.fromarray(draw_class_mask(image)).save)
    except BROKEN as error:
        return f"{image.name}: {error}"
    except UsageError as error:
        return str(error)
    return None


def write_image_list(path: Path, names: Iterable[str]) -> None:
    """Write a list with one image name per line.

    Raises:
        UsageError: the file cannot be written.
    """
    text = "".join(f"{name}\n" for name in names)
    write_atomically(path, lambda temporary: temporary.write_text(text))


def _convert_missing(
    convert: Callable[[Task], str | None],
    tasks: Sequence[Task],
    workers: int | None,
    description: str,
) -> list[str]:
    """Do the tasks whose file, which they end with, is not there; returns what went wrong."""
    missing = [task for task in tasks if not task[1].is_file()]
    if not missing:
        return []
    found = parallel_map(convert, missing, workers=workers, description=description)
    return [problem for problem in found if problem is not None]


def _clean_folder(folder: Path) -> Path:
    """Make a folder and remove the hidden files that an interrupted conversion left in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(".*.png"):
            path.unlink()
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror}") from None
    return folder
