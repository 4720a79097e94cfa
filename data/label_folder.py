"""The folder that a prediction fills: masks, overlays, COCO and LabelMe files, and records.

masks/NAME.png       class ids with a palette, at the picture's own size
overlays/NAME.png    the picture with its masks, made smaller for looking at
labelme/NAME.json    where they are asked for
records/NAME.json    the picture's part of coco.json; written last, so that it says "done"
coco.json            all records together; coco_polygons.json where it is asked for
settings.json        what the results depend on
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.logger import write_json
from common.video_io import davis_palette, write_indexed_mask
from common.visualize import overlay, write_png
from data.annotations import coco_annotation, coco_file, labelme_file, with_polygons
from data.photos import find_photos, relative_names, short_names

PREVIEW_SIDE = 1600
"""The longer side of an overlay has at most so many pixels."""


@dataclass(frozen=True)
class Target:
    """One picture to label."""

    path: Path
    file_name: str
    """Its path below the folder that all targets have in common."""
    name: str
    """What its results are called."""


def list_targets(sources: Sequence[str], output: Path) -> list[Target]:
    """The pictures that files, folders and glob patterns name, but for results among them.

    Raises:
        UsageError: there is none.
    """
    inside = output.resolve()
    paths = [p for p in find_photos(sources) if not p.resolve().is_relative_to(inside)]
    if not paths:
        raise UsageError(f"no image found outside of {output}, where the results go")
    names = relative_names(paths)
    return [Target(*one) for one in zip(paths, names, short_names(names), strict=True)]


def preview(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture for its overlay, H x W x 3 uint8, in the proportions of the height and width."""
    scale = min(1, PREVIEW_SIDE / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class LabelFolder:
    """Writes the results of pictures, and knows which are there."""

    path: Path
    classes: dict[int, str]
    """Class id, 1 to 255 -> name."""
    overlays: bool = True
    polygons: bool = False
    labelme: bool = False

    def claim(self, settings: dict[str, Any]) -> None:
        """Write down what the results depend on (JSON values).

        Raises:
            UsageError: the folder holds results of other settings, or cannot be written.
        """
        file = self.path / "settings.json"
        settings = settings | {"classes": {str(c): name for c, name in self.classes.items()}}
        try:
            found = json.loads(file.read_text()) if file.exists() else settings
            differing = [name for name in settings if found.get(name) != settings[name]]
        except (OSError, ValueError, AttributeError):
            raise UsageError(f"{file} cannot be read: choose another folder") from None
        if differing:
            raise UsageError(
                f"{self.path} holds results of other settings ({', '.join(differing)}): choose "
                "another folder, or delete this one"
            )
        write_json(file, settings)

    def files(self, target: Target) -> dict[str, Path]:
        """Where the results of a target go, by kind."""
        kinds = {"masks": ".png", "records": ".json"}
        kinds |= {"overlays": ".png"} if self.overlays else {}
        kinds |= {"labelme": ".json"} if self.labelme else {}
        return {kind: self.path / kind / f"{target.name}{end}" for kind, end in kinds.items()}

    def is_done(self, target: Target) -> bool:
        """Whether all results are there, and the picture is not newer than they are."""
        files = self.files(target)
        try:
            oldest = min(file.stat().st_mtime for file in files.values())
            return oldest >= target.path.stat().st_mtime
        except OSError:
            return False

    def write(
        self,
        target: Target,
        labels: np.ndarray,
        scores: dict[int, float],
        picture: np.ndarray | None = None,
    ) -> None:
        """Write everything about one picture.

        Args:
            labels: class ids at the picture's own size, H x W uint8; 0 is the background.
            scores: class id -> presence score.
            picture: for the overlay, from `preview`.

        Raises:
            UsageError: a file cannot be written.
        """
        files = self.files(target)
        write_indexed_mask(files["masks"], labels)
        found = [c for c in self.classes if (labels == c).any()]
        if self.overlays:
            write_png(files["overlays"], draw_overlay(picture, labels, found))
        if self.labelme:
            place = os.path.relpath(target.path, files["labelme"].parent)
            masks = [(self.classes[c], labels == c) for c in found]
            write_json(files["labelme"], labelme_file(masks, place, labels.shape))
        image = {
            "file_name": target.file_name,
            "height": labels.shape[0],
            "width": labels.shape[1],
            "presence": {self.classes[c]: round(score, 4) for c, score in scores.items()},
        }
        annotations = [coco_annotation(labels == c, c, scores[c]) for c in found]
        write_json(files["records"], {"image": image, "annotations": annotations})

    def join(self) -> None:
        """Write coco.json from all records in the folder, whoever wrote them."""
        paths = sorted((self.path / "records").rglob("[!.]*.json"))
        coco = coco_file((json.loads(path.read_text()) for path in paths), self.classes)
        write_json(self.path / "coco.json", coco)
        if self.polygons:
            write_json(self.path / "coco_polygons.json", with_polygons(coco))


def draw_overlay(picture: np.ndarray, labels: np.ndarray, class_ids: Sequence[int]) -> np.ndarray:
    """The picture with each class in the colour that it has in the mask; labels of any size."""
    height, width = picture.shape[:2]
    small = np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    colours = davis_palette()
    for class_id in class_ids:
        picture = overlay(picture, small == class_id, tuple(colours[class_id].tolist()))
    return picture
