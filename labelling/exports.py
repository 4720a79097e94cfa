"""Results as other tools import them: YOLO segmentation and Label Studio, from COCO with polygons.

Both have one region for each COCO annotation: where an object has several parts, their outlines are
joined by lines without width. They name files, so frames of a video file are not in them.

Formats: Ultralytics' "instance segmentation dataset", Label Studio's "JSON with predictions".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np

from common.errors import UsageError
from common.files import write_atomically

YOLO = "yolo"
"""The folder of a YOLO data set: images/ (links), labels/ and data.yaml."""
LABEL_STUDIO = "label_studio"
"""Name of the files for Label Studio, .json with tasks and .xml with the labels' configuration."""


class Pictured(NamedTuple):
    """An image of a COCO file that lies in a file, with its annotations."""

    image: Mapping[str, Any]
    annotations: list[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """What its results are called."""
        return self.image["mask"].removeprefix("masks/").removesuffix(".png")


def pictured(coco: Mapping[str, Any]) -> Iterator[Pictured]:
    """The images of a COCO file but for frames of video files."""
    of_image = {
        image_id: list(some)
        for image_id, some in groupby(coco["annotations"], lambda one: one["image_id"])
    }
    for image in coco["images"]:
        if "frame" not in image:
            yield Pictured(image, of_image.get(image["id"], []))


def joined_outline(polygons: Sequence[Sequence[float]]) -> np.ndarray:
    """The corners of several outlines as one, N x 2: there and back between the nearest corners.

    Args:
        polygons: of each x and y in turn.
    """
    first, *others = (np.reshape(polygon, (-1, 2)) for polygon in polygons)
    for other in others:
        distances = np.linalg.norm(first[:, None] - other[None], axis=2)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        turned = np.roll(other, -there, axis=0)
        first = np.concatenate([first[: here + 1], turned, turned[:1], first[here:]])
    return first


def yolo_lines(
    annotations: Sequence[Mapping[str, Any]], size: tuple[int, int], classes: Sequence[int]
) -> list[str]:
    """An image's label file: of each object the class's position and the outline from 0 to 1.

    Args:
        size: height and width.
        classes: all class ids in their order.
    """
    height, width = size
    lines = []
    for annotation in annotations:
        outline = joined_outline(annotation["segmentation"]) / (width, height)
        corners = " ".join(f"{value:.6g}" for value in outline.clip(0, 1).flatten())
        lines.append(f"{classes.index(annotation['category_id'])} {corners}")
    return lines


def write_yolo(folder: Path, coco: Mapping[str, Any]) -> None:
    """Write a YOLO data set below the folder of all results; images are links to the pictures.

    Args:
        coco: with polygons.

    Raises:
        UsageError: a file cannot be written.
    """
    root = folder / YOLO
    classes = [category["id"] for category in coco["categories"]]
    written = set()
    try:
        for one in pictured(coco):
            source = Path(coco["info"]["image_folder"], one.image["file_name"])
            link = root / "images" / f"{one.name}{source.suffix}"
            labels = root / "labels" / f"{one.name}.txt"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(source)
            size = (one.image["height"], one.image["width"])
            _write(labels, "".join(f"{a}\n" for a in yolo_lines(one.annotations, size, classes)))
            written |= {link, labels}
        for old in [*(root / "images").rglob("*"), *(root / "labels").rglob("*.txt")]:
            if old not in written and (old.is_symlink() or old.is_file()):
                old.unlink()
    except OSError as error:
        raise UsageError(f"cannot write {root}: {error.strerror or error}") from error
    names = [f"  {n}: {_quoted(c['name'])}\n" for n, c in enumerate(coco["categories"])]
    # YOLO wants both; which pictures are held out is up to the user
    _write(root / "data.yaml", f"train: images\nval: images\nnames:\n{''.join(names)}")


def label_studio_tasks(coco: Mapping[str, Any], model: str) -> list[dict[str, Any]]:
    """Label Studio's tasks with predictions that people correct, for files in a local storage.

    Args:
        coco: with polygons.
        model: what to call the model.
    """
    names = {category["id"]: category["name"] for category in coco["categories"]}
    tasks = []
    for one in pictured(coco):
        height, width = one.image["height"], one.image["width"]
        result = []
        for annotation in one.annotations:
            outline = joined_outline(annotation["segmentation"]) * (100 / width, 100 / height)
            value = {
                "points": outline.tolist(),
                "polygonlabels": [names[annotation["category_id"]]],
            }
            result.append(
                {
                    "id": str(annotation["id"]),
                    "from_name": "label",
                    "to_name": "image",
                    "type": "polygonlabels",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": annotation["score"],
                    "value": {**value, "closed": True},
                }
            )
        scores = [annotation["score"] for annotation in one.annotations]
        prediction = {"model_version": model, "result": result, "score": max(scores, default=0)}
        place = f"/data/local-files/?d={quote(one.image['file_name'])}"
        tasks.append({"data": {"image": place}, "predictions": [prediction]})
    return tasks


def label_studio_config(names: Sequence[str]) -> str:
    """The labelling interface that goes with the tasks, as XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    labels = ElementTree.SubElement(view, "PolygonLabels", name="label", toName="image")
    for name in names:
        ElementTree.SubElement(labels, "Label", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def write_label_studio(folder: Path, coco: Mapping[str, Any], model: str) -> None:
    """Write tasks and configuration into the folder of all results.

    Raises:
        UsageError: a file cannot be written.
    """
    tasks = label_studio_tasks(coco, model)
    _write(folder / f"{LABEL_STUDIO}.json", json.dumps(tasks, indent=2) + "\n")
    names = [category["name"] for category in coco["categories"]]
    _write(folder / f"{LABEL_STUDIO}.xml", label_studio_config(names))


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def _quoted(name: str) -> str:
    """A name as YAML reads it whatever is in it."""
    return "'" + name.replace("'", "''") + "'"
