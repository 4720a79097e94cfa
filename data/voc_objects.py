"""The objects of VOC 2012's segmentation as a COCO file: what COCO2VOC is tested on.

Objects are those of SegmentationObject, their classes those of the class masks; the void borders
between objects belong to none.
"""

from pathlib import Path
from typing import Any

import numpy as np

from common.coco_masks import mask_annotation
from common.errors import UsageError
from common.images import IGNORED, read_mask
from data.classes import VOC_CLASSES
from data.few_shot_instances import NOVEL
from data.parallel import parallel_map

_CATEGORIES = {one.voc_name: one.voc_category for one in NOVEL}
CATEGORY_OF = {class_id: _CATEGORIES[name] for class_id, name in VOC_CLASSES.items()}
"""VOC class id -> `category_id` in the file."""


def voc_objects(voc: Path, workers: int | None = None) -> dict[str, Any]:
    """The content of the file, for the pictures of ImageSets/Segmentation/val.txt.

    Args:
        voc: the folder VOC2012.
        workers: processes; None takes one per processor.

    Raises:
        UsageError: the list or a mask is missing, or masks do not go together.
    """
    listed = voc / "ImageSets" / "Segmentation" / "val.txt"
    try:
        names = listed.read_text().split()
    except OSError as error:
        raise UsageError(f"cannot read {listed}: {error.strerror}") from None
    own = voc / "SegmentationClass"
    classes = own if own.is_dir() else voc / "SegmentationClassAug"  # the same for val pictures
    tasks = [
        (number, classes / f"{name}.png", voc / "SegmentationObject" / f"{name}.png")
        for number, name in enumerate(names, start=1)
    ]
    found = parallel_map(_objects, tasks, workers=workers, description="reading VOC's objects")
    annotations = [one for _, some in found for one in some]
    return {
        "images": [
            {"id": number, "file_name": f"{name}.jpg", "height": size[0], "width": size[1]}
            for (number, name), (size, _) in zip(enumerate(names, start=1), found, strict=True)
        ],
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations, start=1)],
        "categories": [{"id": one.voc_category, "name": one.voc_name} for one in NOVEL],
    }


def _objects(task: tuple[int, Path, Path]) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """Height and width of a picture, and its annotations but for their ids."""
    image_id, class_file, object_file = task
    classes, objects = read_mask(class_file), read_mask(object_file)
    if classes.shape != objects.shape:
        raise UsageError(
            f"sizes differ (height, width): {class_file} {classes.shape}, {object_file} "
            f"{objects.shape}"
        )
    annotations = []
    for number in np.unique(objects[(objects > 0) & (objects != IGNORED)]):
        mask = objects == number
        inside = classes[mask & (classes > 0) & (classes != IGNORED)]
        class_id = int(np.bincount(inside).argmax()) if inside.size else 0
        if class_id not in CATEGORY_OF:
            raise UsageError(f"{object_file}: object {number} is of no class in {class_file}")
        category = CATEGORY_OF[class_id]
        annotations.append({"image_id": image_id, "category_id": category, **mask_annotation(mask)})
    return classes.shape, annotations
