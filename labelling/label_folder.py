"""The folder that a prediction fills: masks, overlays, COCO and LabelMe files, and records.

masks/NAME.png       class ids with a palette, at the picture's own size; of a video
                     masks/NAME/FRAME.png
overlays/NAME.png    the picture with its masks, made smaller for looking at; of a video NAME.mp4
labelme/NAME.json    of pictures, where they are asked for
records/NAME.json    the part of coco.json; written last, so that it says "done"
coco.json            all records together; coco_polygons.json where it is asked for
settings.json        what the results depend on
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.logger import write_json
from common.settings import claim_folder
from common.video_io import VideoWriter, davis_palette, write_indexed_mask
from common.visualize import overlay, write_png
from labelling.annotations import coco_annotation, coco_file, labelme_file, with_polygons
from labelling.targets import Target

FRAMES_PER_SECOND = 24
"""Of the overlay where a video does not tell its own."""


@dataclass(frozen=True)
class LabelledFrame:
    """A frame of a video with what was found in it."""

    name: str
    """What its mask is called."""
    file_name: str
    """What coco.json calls it."""
    labels: np.ndarray
    """Class ids at the frame's own size, H x W uint8; 0 is the background."""
    scores: dict[int, float]
    """Class id -> presence score."""
    picture: np.ndarray | None = None
    """What the overlay is drawn on, from `labelling.targets.preview`."""


@dataclass(frozen=True)
class LabelFolder:
    """Writes the results of pictures and videos, and knows which are there."""

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
        classes = {str(class_id): name for class_id, name in self.classes.items()}
        claim_folder(self.path, settings | {"classes": classes})

    def files(self, target: Target) -> dict[str, Path]:
        """Where the results of a target go, by kind; the masks of a video are a folder."""
        kinds = {"masks": "" if target.is_video else ".png", "records": ".json"}
        kinds |= {"overlays": ".mp4" if target.is_video else ".png"} if self.overlays else {}
        kinds |= {"labelme": ".json"} if self.labelme and not target.is_video else {}
        return {kind: self.path / kind / f"{target.name}{end}" for kind, end in kinds.items()}

    def is_done(self, target: Target) -> bool:
        """Whether all results are there, and the target is not newer than they are."""
        files = self.files(target)
        try:
            return min(file.stat().st_mtime for file in files.values()) >= target.changed
        except (OSError, UsageError):
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
            picture: for the overlay, from `labelling.targets.preview`.

        Raises:
            UsageError: a file cannot be written.
        """
        files = self.files(target)
        write_indexed_mask(files["masks"], labels)
        if self.overlays:
            write_png(files["overlays"], draw_overlay(picture, labels, self._found(labels)))
        if self.labelme:
            place = os.path.relpath(target.path, files["labelme"].parent)
            masks = [(self.classes[c], labels == c) for c in self._found(labels)]
            write_json(files["labelme"], labelme_file(masks, place, labels.shape))
        write_json(files["records"], self._record(target.file_name, labels, scores))

    def write_video(
        self,
        target: Target,
        frames: Iterable[LabelledFrame],
        frames_per_second: float | None = None,
    ) -> None:
        """Write everything about one video, frame by frame; the overlay and the record at the end.

        Raises:
            UsageError: a file cannot be written.
        """
        files = self.files(target)
        _clear(files["records"], *files["masks"].glob("*.png"))
        rate = frames_per_second or FRAMES_PER_SECOND
        overlays = VideoWriter(files["overlays"], rate) if self.overlays else nullcontext()
        records = []
        with overlays as writer:
            for frame in frames:
                labels = frame.labels
                write_indexed_mask(files["masks"] / f"{frame.name}.png", labels)
                if writer is not None:
                    writer.write(draw_overlay(frame.picture, labels, self._found(labels)))
                records.append(self._record(frame.file_name, labels, frame.scores))
        write_json(files["records"], {"frames": records})

    def join(self) -> None:
        """Write coco.json from all records in the folder, whoever wrote them."""
        coco = coco_file(self._records(), self.classes)
        write_json(self.path / "coco.json", coco)
        if self.polygons:
            write_json(self.path / "coco_polygons.json", with_polygons(coco))

    def _found(self, labels: np.ndarray) -> list[int]:
        """Which classes a label map shows."""
        return [class_id for class_id in self.classes if (labels == class_id).any()]

    def _record(
        self, file_name: str, labels: np.ndarray, scores: dict[int, float]
    ) -> dict[str, Any]:
        """The part of coco.json of a picture or frame."""
        image = {
            "file_name": file_name,
            "height": labels.shape[0],
            "width": labels.shape[1],
            "presence": {self.classes[c]: round(score, 4) for c, score in scores.items()},
        }
        annotations = [coco_annotation(labels == c, c, scores[c]) for c in self._found(labels)]
        return {"image": image, "annotations": annotations}

    def _records(self) -> Iterator[dict[str, Any]]:
        for path in sorted((self.path / "records").rglob("[!.]*.json")):
            record = json.loads(path.read_text())
            yield from record.get("frames", [record])


def draw_overlay(picture: np.ndarray, labels: np.ndarray, class_ids: Sequence[int]) -> np.ndarray:
    """The picture with each class in the colour that it has in the mask; labels of any size."""
    height, width = picture.shape[:2]
    small = np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    colours = davis_palette()
    for class_id in class_ids:
        picture = overlay(picture, small == class_id, tuple(colours[class_id].tolist()))
    return picture


def _clear(*files: Path) -> None:
    """Delete files of an earlier run.

    Raises:
        UsageError: one cannot be deleted.
    """
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"cannot replace {file}: {error.strerror}") from error
