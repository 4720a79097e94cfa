"""Generated pictures with several objects each, in the layouts of COCO 2017 and LVIS.

A class is the pair of shape and texture that COCO 2014's category of that name has. COCO 2017 has
objects, segments, and now and then a crowd; LVIS shows its pictures under names of its own.
"""

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from common.coco_masks import mask_annotation
from common.errors import UsageError
from data.annotated.catalogue import COCO
from data.classes import COCO_CATEGORY_IDS, COCO_CLASSES
from data.parallel import parallel_map
from data.synthetic.drawing import SceneStyle
from data.synthetic.objects import (
    image_id,
    listed_image,
    numbered,
    offset_pictures,
    visible_objects,
    write_segments,
)
from data.synthetic.pictures import SPLITS, Picture, describe_images, draw_picture
from data.synthetic.style import (
    BENCHMARK_STYLE,
    COCO_PAIRS,
    CROWDED_STYLE,
    encode_jpeg,
    write_once,
)

_CROWD_EVERY = 5
"""Of every fifth picture of COCO 2017, objects of one class that are several become a crowd."""
_STUFF = (193, "grass-merged")
"""The category of COCO's panoptic annotations that the background has."""


def write_coco2017(
    folder: Path,
    images: Mapping[str, int],
    seed: int = 0,
    workers: int | None = None,
    crowded: bool = False,
) -> None:
    """Write a COCO2017 folder of 80 classes with objects and segments.

    Args:
        folder: the COCO2017 folder itself; it appears when it is complete, and a complete one of
            the same parameters is kept.
        images: how many for "train" and "val".
        workers: processes; None takes one per processor. The files do not depend on it.
        crowded: more and smaller objects of more classes in each picture.

    Raises:
        UsageError: the folder holds something else.
    """
    style = CROWDED_STYLE if crowded else BENCHMARK_STYLE
    pictures = offset_pictures("coco2017", images, seed)

    def draw(unfinished: Path) -> None:
        for split in SPLITS:
            (unfinished / f"{split}2017").mkdir()
            (unfinished / "annotations" / f"panoptic_{split}2017").mkdir(parents=True)
        write = partial(_write_coco_picture, folder=unfinished, style=style)
        found = parallel_map(write, pictures, workers=workers, description="drawing COCO2017")
        for number, split in enumerate(SPLITS):
            own = [one for p, one in zip(pictures, found, strict=True) if p.split == number]
            listed = [
                listed_image(p, f"{image_id(p):012d}.jpg") for p in pictures if p.split == number
            ]
            things = [{"id": COCO_CATEGORY_IDS[c], "name": n} for c, n in COCO_CLASSES.items()]
            objects = numbered([one for some, _ in own for one in some], number)
            content = {"images": listed, "annotations": objects, "categories": things}
            file = unfinished / "annotations" / f"instances_{split}2017.json"
            file.write_text(json.dumps(content))
            segments = [segments for _, segments in own]
            ground = {"id": _STUFF[0], "name": _STUFF[1], "isthing": 0}
            kinds = [*({**thing, "isthing": 1} for thing in things), ground]
            content = {"images": listed, "annotations": segments, "categories": kinds}
            file.with_name(f"panoptic_{split}2017.json").write_text(json.dumps(content))

    first = pictures[0]
    place = Path(f"{SPLITS[first.split]}2017", f"{image_id(first):012d}.jpg")
    content = encode_jpeg(draw_picture(first, COCO_PAIRS, style).image)
    description = describe_images("coco2017", COCO_PAIRS, images, seed)
    description |= {"crowded": True} if crowded else {}
    write_once(folder, description, (place, content), draw)


def write_lvis(folder: Path) -> None:
    """Write LVIS annotations of the pictures of the COCO2017 that lies beside the folder.

    Classes are numbered by the alphabet; crowds, which LVIS does not have, are left out.

    Raises:
        UsageError: there is no COCO2017, or the folder holds something else.
    """
    coco = folder.parent / COCO / "annotations"
    try:
        texts = {split: (coco / f"instances_{split}2017.json").read_text() for split in SPLITS}
    except OSError as error:
        raise UsageError(f"LVIS is made of COCO2017, which is not there: {error}") from None
    contents = {split: json.dumps(_lvis(json.loads(text), split)) for split, text in texts.items()}

    def draw(unfinished: Path) -> None:
        for split, content in contents.items():
            (unfinished / f"lvis_v1_{split}.json").write_text(content)

    description = {"benchmark": "lvis", "generated": True}
    first = (Path("lvis_v1_train.json"), contents["train"].encode())
    write_once(folder, description, first, draw)


def _write_coco_picture(
    picture: Picture, folder: Path, style: SceneStyle
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write a picture and its segments; return the annotations of both kinds."""
    drawn, split = draw_picture(picture, COCO_PAIRS, style), SPLITS[picture.split]
    number, name = image_id(picture), f"{image_id(picture):012d}"
    (folder / f"{split}2017" / f"{name}.jpg").write_bytes(encode_jpeg(drawn.image))
    objects = visible_objects(drawn, crowd=picture.number % _CROWD_EVERY == 0)
    annotations = [
        {
            **mask_annotation(one.mask),
            "image_id": number,
            "category_id": COCO_CATEGORY_IDS[one.class_id],
            "iscrowd": int(one.crowd),
        }
        for one in objects
    ]
    segments = [(COCO_CATEGORY_IDS[one.class_id], one.mask, one.crowd) for one in objects]
    segments.append((_STUFF[0], drawn.instances == 0, False))
    file = folder / "annotations" / f"panoptic_{split}2017" / f"{name}.png"
    return annotations, write_segments(file, number, segments)


def _lvis(content: Mapping[str, Any], split: str) -> dict[str, Any]:
    """The objects of COCO under LVIS's names and numbers."""
    objects = [one for one in content["annotations"] if not one["iscrowd"]]
    names = {c["id"]: c["name"].replace(" ", "_") for c in content["categories"]}
    order = {name: number for number, name in enumerate(sorted(names.values()), start=1)}
    number_of = {category: order[name] for category, name in names.items()}
    kept = [
        {key: value for key, value in one.items() if key != "iscrowd"}
        | {"category_id": number_of[one["category_id"]]}
        for one in objects
    ]
    pictures = {(one["category_id"], one["image_id"]) for one in kept}
    counts = Counter(category for category, _ in pictures)
    return {
        "images": [
            {
                **{key: image[key] for key in ("id", "height", "width")},
                "coco_url": f"http://images.cocodataset.org/{split}2017/{image['file_name']}",
                "not_exhaustive_category_ids": [],
                "neg_category_ids": [],
            }
            for image in content["images"]
        ],
        "annotations": kept,
        "categories": [
            {"id": n, "name": name, "synset": f"{name}.n.01", "image_count": counts[n]}
            for name, n in order.items()
        ],
    }
