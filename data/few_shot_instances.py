"""Few-shot instance segmentation: COCO-NOVEL and COCO2VOC.

Both ask for the 20 COCO categories that PASCAL VOC has, too, and show k objects of each. These come
from TFA's draws, cocosplit/seed{n}/full_box_{k}shot_{class}_trainval.json; the files of draw 0 may
lie in cocosplit itself. COCO-NOVEL is tested on the 5,000 pictures of
cocosplit/datasplit/5k.json, COCO2VOC on VOC2012/val_converted.json, the val pictures of VOC 2012's
segmentation with categories 1 to 20 in the order of COCO's (`data.voc_objects` makes it). Pictures
lie in COCO2014/{train2014,val2014} and VOC2012/JPEGImages.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from common.cli import option, shown
from common.coco_masks import annotated_mask, listed_size
from common.errors import UsageError
from common.files import BROKEN, parse_json
from common.images import Size, read_image
from data.classes import COCO_CATEGORY_IDS, COCO_CLASSES, COCO_TO_VOC, VOC_CLASSES
from data.reader import Description

INSTANCE_BENCHMARKS = ("coco_novel", "coco2voc")
SHOTS = (1, 2, 3, 5, 10, 30)
"""How many objects of a class TFA has drawn."""
DRAWS = 10
"""How many draws the field's numbers are means of: 0 to 9."""
SPLITS = Path("cocosplit")
COCO_TEST = SPLITS / "datasplit" / "5k.json"
VOC_TEST = Path("VOC2012", "val_converted.json")
REMEDY = "python -m tools.prepare few_shot_instances says what is missing"


@dataclass(frozen=True)
class NovelClass:
    """A class that is asked for."""

    class_id: int
    """Of COCO, 1 to 80."""
    position: int
    """From 0, among the classes that are asked for."""

    @property
    def name(self) -> str:
        """As COCO calls it."""
        return COCO_CLASSES[self.class_id]

    @property
    def category(self) -> int:
        """Its `category_id` in COCO's files."""
        return COCO_CATEGORY_IDS[self.class_id]

    @property
    def voc_category(self) -> int:
        """Its `category_id` in `VOC_TEST`."""
        return self.position + 1

    @property
    def voc_name(self) -> str:
        """As VOC calls it."""
        return VOC_CLASSES[COCO_TO_VOC[self.class_id]]


NOVEL = tuple(NovelClass(c, position) for position, c in enumerate(sorted(COCO_TO_VOC)))


@dataclass(frozen=True)
class InstanceDataOptions:
    """What is tested."""

    benchmark: str = option("coco_novel", "what is asked for and where", INSTANCE_BENCHMARKS)
    datapath: Path = option(
        Path("Datasets"), "folder that holds cocosplit/, COCO2014/ and VOC2012/"
    )
    nshot: int = option(1, "number of objects that show a class", SHOTS)
    seeds: int = option(DRAWS, "number of draws of these objects, 1 to 10")
    test_images: int | None = option(None, "only so many of the tested images, to try this")
    nworker: int = option(2, "number of processes that read images; 0: none but this one")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not 1 <= self.seeds <= DRAWS:
            found.append(f"--seeds must be from 1 to {DRAWS}, not {self.seeds}")
        if self.test_images is not None and self.test_images < 1:
            found.append("--test_images must be at least 1")
        if self.nworker < 0:
            found.append("--nworker cannot be negative")
        if not self.datapath.is_dir():
            found.append(f"--datapath: no such folder: {self.datapath}. {REMEDY}")
        return found


@dataclass(frozen=True)
class TestedPicture:
    """A picture in which objects are looked for."""

    __test__ = False

    image_id: int
    path: Path
    size: Size

    def read(self) -> np.ndarray:
        """Its pixels, H x W x 3 uint8 RGB.

        Raises:
            UsageError: it is missing or broken, or has another size than the annotations say.
        """
        pixels = read_image(self.path, upright=False)
        if pixels.shape[:2] != self.size:
            raise UsageError(
                f"sizes differ (height, width): {self.path} {pixels.shape[:2]}, its annotations "
                f"{self.size}"
            )
        return pixels


@dataclass(frozen=True)
class ShownObject:
    """An object that shows a class."""

    picture: TestedPicture
    object_id: int
    """Of its annotation."""
    segmentation: Any
    """COCO's: outlines or run lengths."""

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Its picture, H x W x 3 uint8 RGB, and its mask, H x W bool.

        Raises:
            UsageError: the picture cannot be read, or there is no mask.
        """
        pixels = self.picture.read()
        try:
            mask = annotated_mask(self.segmentation, self.picture.size)
        except ValueError as error:
            raise UsageError(f"object {self.object_id} of {self.picture.path}: {error}") from None
        if not mask.any():
            raise UsageError(f"object {self.object_id} of {self.picture.path} has an empty mask")
        return pixels, mask


@dataclass(frozen=True)
class FewShotInstances:
    """A benchmark, its test annotations read."""

    benchmark: str
    datapath: Path
    truth: Mapping[str, Any]
    """The content of a COCO file of the tested pictures, with objects of the 20 classes only."""
    pictures: tuple[TestedPicture, ...]
    """In the order of their ids."""
    domain: str
    """What the pictures are: photographs, or drawings of this project."""

    @classmethod
    def open(cls, benchmark: str, datapath: Path, test_images: int | None = None) -> Self:
        """Read the test annotations.

        Raises:
            UsageError: they are missing or in another format.
        """
        of_voc = benchmark == "coco2voc"
        file = datapath / (VOC_TEST if of_voc else COCO_TEST)
        content = read_coco_file(file)
        if of_voc:
            _refuse_other_order(content, file)
        wanted = {one.voc_category if of_voc else one.category for one in NOVEL}
        folder = datapath / ("VOC2012/JPEGImages" if of_voc else "COCO2014/val2014")
        images = sorted(content["images"], key=lambda image: image["id"])[:test_images]
        known = {image["id"] for image in images}
        truth = {
            "images": images,
            "categories": [one for one in content["categories"] if one["id"] in wanted],
            "annotations": [
                one
                for one in content["annotations"]
                if one["category_id"] in wanted and one["image_id"] in known
            ],
        }
        pictures = tuple(
            TestedPicture(
                image["id"],
                folder / Path(image["file_name"]).name,
                (image["height"], image["width"]),
            )
            for image in images
        )
        root = datapath / ("VOC2012" if of_voc else "COCO2014")
        domain = "drawings" if Description.read(root).generated else "photographs"
        return cls(benchmark, datapath, truth, pictures, domain)

    @property
    def categories(self) -> tuple[int, ...]:
        """The tested `category_id` of each class."""
        of_voc = self.benchmark == "coco2voc"
        return tuple(one.voc_category if of_voc else one.category for one in NOVEL)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each class is called in the tested data."""
        return tuple(one.voc_name if self.benchmark == "coco2voc" else one.name for one in NOVEL)

    def shown(self, shots: int, seed: int) -> tuple[tuple[ShownObject, ...], ...]:
        """The objects of a draw, k for each class; of a file with more, k are drawn.

        Raises:
            UsageError: a file is missing or in another format, or has too few objects.
        """
        return tuple(self._shown(one, shots, seed) for one in NOVEL)

    def fingerprint(self) -> str:
        """16 hex digits of what is to be found and in which pictures."""
        text = json.dumps(self.truth, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _shown(self, novel: NovelClass, shots: int, seed: int) -> tuple[ShownObject, ...]:
        file = split_file(self.datapath / SPLITS, novel.name, shots, seed)
        content = read_coco_file(file)
        images = {image["id"]: image for image in content["images"]}
        objects = [one for one in content["annotations"] if one["category_id"] == novel.category]
        if len(objects) < shots:
            raise UsageError(f"{file} shows {len(objects)} objects of {novel.name}, not {shots}")
        random = np.random.default_rng((seed, shots, novel.category))
        kept = sorted(random.permutation(len(objects))[:shots])
        return tuple(self._object(objects[n], images[objects[n]["image_id"]]) for n in kept)

    def _object(self, annotation: Mapping[str, Any], image: Mapping[str, Any]) -> ShownObject:
        name = Path(image["file_name"]).name
        folder = "val2014" if "val2014" in name else "train2014"
        path = self.datapath / "COCO2014" / folder / name
        picture = TestedPicture(image["id"], path, (image["height"], image["width"]))
        return ShownObject(picture, annotation["id"], annotation["segmentation"])


def split_file(splits: Path, name: str, shots: int, seed: int) -> Path:
    """Where a draw of objects of a class lies."""
    file = f"full_box_{shots}shot_{name}_trainval.json"
    folder = splits / f"seed{seed}"
    return splits / file if seed == 0 and not folder.is_dir() else folder / file


def read_coco_file(path: Path) -> dict[str, Any]:
    """Images, annotations and categories of a file in COCO's format.

    Raises:
        UsageError: it is missing or in another format.
    """
    try:
        content = parse_json(path.read_bytes())
        images = {image["id"] for image in content["images"]}
        for image in content["images"]:
            _ = str(image["file_name"]), listed_size(image)
        for one in content["annotations"]:
            _ = one["id"], one["category_id"], one["bbox"][3], one["segmentation"]
            if one["image_id"] not in images:
                raise ValueError(f"annotation {one['id']} is of no image")
        _ = [category["id"] for category in content["categories"]]
    except FileNotFoundError:
        raise UsageError(f"missing: {path}. {REMEDY}") from None
    except (OSError, *BROKEN) as error:
        raise UsageError(f"{path} is no file in COCO's format: {shown(error)}") from None
    return content


def _refuse_other_order(content: Mapping[str, Any], file: Path) -> None:
    """VOC's own order is the alphabet's, and scores of mixed-up classes would look like low ones.

    Raises:
        UsageError: the categories are in another order.
    """
    named = {one["id"]: _plain(one.get("name", "")) for one in content["categories"]}
    for novel in NOVEL:
        found = named.get(novel.voc_category)
        if found not in (_plain(novel.name), _plain(novel.voc_name)):
            raise UsageError(
                f"{file}: category {novel.voc_category} is {found or 'missing'}, not "
                f"{novel.voc_name}: the categories have to be in the order of COCO's"
            )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalpha())
