"""Draws of few objects of generated COCO pictures, and the objects of generated VOC pictures.

The files are those of `data.few_shot_instances`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UsageError
from common.files import write_atomically
from data.coco import Coco
from data.few_shot_instances import COCO_TEST, NOVEL, SPLITS, VOC_TEST, read_coco_file, split_file
from data.synthetic.style import write_once
from data.voc_objects import voc_objects

_DRAWS = 3
"""Keeps the random numbers of draws apart from those of images and videos (0 to 2)."""


def write_few_shot_instances(
    root: Path,
    shots: Sequence[int] = (1, 5),
    draws: int = 10,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write cocosplit/ from COCO2014, and VOC2012/val_converted.json where there is a VOC2012.

    Args:
        root: the folder that holds them; cocosplit appears when it is complete, and a complete one
            of the same pictures is kept.
        shots: how many objects of a class a file shows.
        draws: how many draws there are.
        workers: processes that read VOC's objects; None takes one per processor.

    Raises:
        UsageError: there is no COCO2014, or it shows too few objects of a class, or cocosplit holds
            something else.
    """
    annotations = root / Coco.folder / "annotations"
    trained = read_coco_file(annotations / "instances_train2014.json")
    tested = (annotations / "instances_val2014.json").read_bytes()

    def draw(unfinished: Path) -> None:
        for number in range(draws):
            for count in shots:
                for novel in NOVEL:
                    random = np.random.default_rng((seed, _DRAWS, number, count, novel.class_id))
                    content = _drawn(trained, novel.category, count, random)
                    (unfinished / f"seed{number}").mkdir(exist_ok=True)
                    file = split_file(unfinished, novel.name, count, number)
                    file.write_text(json.dumps(content))
        file = unfinished / COCO_TEST.relative_to(SPLITS)
        file.parent.mkdir()
        file.write_bytes(tested)

    description = {
        "benchmark": "few_shot_instances",
        "generated": True,
        "shots": list(shots),
        "draws": draws,
        "seed": seed,
    }
    write_once(root / SPLITS, description, (COCO_TEST.relative_to(SPLITS), tested), draw)
    if (root / VOC_TEST.parent).is_dir():
        text = json.dumps(voc_objects(root / VOC_TEST.parent, workers))
        write_atomically(root / VOC_TEST, lambda place: place.write_text(text))


def _drawn(
    content: dict[str, Any], category: int, count: int, random: np.random.Generator
) -> dict[str, Any]:
    """Some objects of a category, in random order, with their pictures."""
    objects = [one for one in content["annotations"] if one["category_id"] == category]
    if len(objects) < count:
        raise UsageError(
            f"COCO2014 has {len(objects)} training objects of category {category}, not {count}: "
            "draw more pictures"
        )
    kept = [objects[place] for place in random.permutation(len(objects))[:count]]
    shown = {one["image_id"] for one in kept}
    return {
        "images": [image for image in content["images"] if image["id"] in shown],
        "annotations": kept,
        "categories": content["categories"],
    }
