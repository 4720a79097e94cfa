"""The folder that a prediction fills: masks, overlays, COCO and LabelMe files, and records.

masks/NAME.png       class ids with a palette, at the picture's own size; of a video
                     masks/NAME/FRAME.png
references/CLASS_N.png  what each class was learned from
instances/NAME.png   numbers of objects with a palette, where they are told apart (16-bit grey where
                     there are more than 255); of a video instances/NAME/FRAME.png
overlays/NAME.png    the picture with its masks, made smaller for looking at; of a video NAME.mp4
labelme/NAME.json    of pictures, where they are asked for
records/NAME.json    whose results these are, and their part of coco.json; written last
coco.json            all records together; where asked for, coco_polygons.json, yolo/ and
                     label_studio.json, too
settings.json        what the results depend on
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.files import write_atomically
from common.logger import write_json
from common.settings import claim_folder
from common.video_io import VideoWriter, list_frames, write_indexed_mask
from common.visualize import label_overlay, write_png
from labelling.annotations import coco_file, labelme_file, picture_entry, with_polygons
from labelling.exports import write_label_studio, write_yolo
from labelling.marks import visible_mark
from labelling.objects import Labels
from labelling.records import Record, Source, read_record, read_records, record_path, write_record
from labelling.results import PictureResults, report, warn
from labelling.targets import Target
from model.reference import Reference as Shot

FRAMES_PER_SECOND = 24
"""Of the overlay where a video does not tell its own."""

PREVIEW_SIDE = 1600
"""The longer side of an overlay has at most so many pixels."""


@dataclass(frozen=True)
class LabelFolder(PictureResults[Target]):
    """Writes the results of pictures and videos, and knows which are there."""

    path: Path
    classes: dict[int, str]
    """Class id, 1 to 255 -> name."""
    calibrated: bool
    """Whether scores are probabilities that a picture shows the class."""
    overlays: bool = True
    formats: frozenset[str] = frozenset()
    """Of `labelling.options.FORMATS`, what is written beside coco.json."""
    model: str = "DC-SAM"
    """What made the labels, for tools that tell."""
    instances: bool = False
    """Whether objects are told apart."""

    def claim(self, settings: dict[str, Any]) -> None:
        """Write down what the results depend on (JSON values).

        Raises:
            UsageError: the folder holds results of other settings, or cannot be written.
        """
        classes = {str(class_id): name for class_id, name in self.classes.items()}
        claim_folder(self.path, settings | {"classes": classes})

    def files(self, target: Target) -> dict[str, Path]:
        """Where the results of a target go, by kind; the masks of a video are a folder."""
        kinds = {"masks": "" if target.is_video else ".png"}
        kinds |= {"instances": kinds["masks"]} if self.instances else {}
        kinds |= {"overlays": ".mp4" if target.is_video else ".png"} if self.overlays else {}
        kinds |= {"labelme": ".json"} if "labelme" in self.formats and not target.is_video else {}
        return {kind: self.path / kind / f"{target.name}{end}" for kind, end in kinds.items()}

    def is_done(self, target: Target) -> bool:
        """Whether all results are there, and the target's content is the one they were made of.

        A record that nobody here wrote is named.
        """
        record = read_record(self.path, target.name)
        if record is None and (found := record_path(self.path, target.name)).exists():
            warn(f"{found} cannot be read: {target.path} is labelled again")
        return (
            record is not None
            and record.source.path == str(target.path)
            and all(file.exists() for file in self.files(target).values())
            and record.source.is_unchanged(whole=True)
        )

    def begin(self, target: Target) -> Source:
        """Say that a target is not done; returns what it holds before it is read.

        Raises:
            UsageError: it is missing, or the folder cannot be written.
        """
        _clear(record_path(self.path, target.name))
        return Source.of(target.path)

    def open(self, target: Target) -> tuple[Source, Path]:
        return self.begin(target), target.path

    def fail(self, target: Target, error: UsageError) -> None:
        report(error)

    def write(
        self,
        target: Target,
        source: Source,
        labels: Labels,
        picture: np.ndarray | None = None,
    ) -> None:
        """Write everything about one picture.

        Args:
            source: from `begin`.
            labels: what was found, at the picture's own size.
            picture: for the overlay, from `preview`.

        Raises:
            UsageError: a file cannot be written.
        """
        files = self.files(target)
        write_indexed_mask(files["masks"], labels.classes)
        if self.instances:
            write_numbers(files["instances"], labels.numbers)
        if self.overlays:
            write_png(files["overlays"], drawn(picture, labels))
        if "labelme" in self.formats:
            place = os.path.relpath(target.path, files["labelme"].parent)
            split = labels.numbers is not None
            masks = [
                (self.classes[one.class_id], one.mask, one.number if split else None)
                for one in labels.objects
            ]
            write_json(files["labelme"], labelme_file(masks, place, labels.classes.shape))
        image = {"file_name": str(target.path)}
        entry = self.entry(image, files["masks"], labels, self.calibrated)
        self.finish(target, source, [entry])

    def show_references(self, shots: Mapping[int, Sequence[Shot]]) -> None:
        """Draw what each class was learned from, so that people can see what was made of a mark.

        Raises:
            UsageError: a file cannot be written.
        """
        for class_id, some in shots.items():
            for number, shot in enumerate(some, start=1):
                shown = preview(shot.pixels, shot.mark.shape)
                marked = visible_mark(shot.mark, shot.kind).astype(np.uint8)
                name = f"{_as_file_name(self.classes[class_id])}_{number}.png"
                drawing = label_overlay(shown, marked, {1: class_id})
                write_png(self.path / "references" / name, drawing)

    def finish(self, target: Target, source: Source, frames: list[dict[str, Any]]) -> None:
        """Write a target's record, with what `begin` and `entry` returned."""
        calibrated = self.calibrated and not target.is_video  # SAM 2's own score is as it is
        record = Record(target.name, source, frames, target.is_video, calibrated)
        write_record(self.path, record)

    def entry(
        self,
        image: dict[str, Any],
        mask: Path,
        labels: Labels,
        calibrated: bool,
    ) -> dict[str, Any]:
        """The part of coco.json of a picture or frame.

        Args:
            image: "file_name", absolute, and of a video's frame its number, "frame".
            mask: where the labels were written.
            calibrated: whether scores are probabilities.
        """
        image = {**image, "mask": mask.relative_to(self.path).as_posix()}
        return picture_entry(image, labels, self.classes, calibrated, self.instances)

    def join(self) -> None:
        """Write coco.json from all records in the folder, whoever wrote them.

        Records of targets that are gone or hold something else now are deleted.
        """
        records = []
        for name, record in read_records(self.path):
            if record and record.source.is_unchanged(whole=False):
                records.append(record)
            else:
                _clear(record_path(self.path, name))
        records.sort(key=lambda record: record.source.path)
        folders = [os.path.dirname(record.source.path) for record in records]
        root = os.path.commonpath(folders) if folders else ""
        entries = [entry for record in records for entry in record.frames]
        for entry in entries:
            place = Path(entry["image"]["file_name"])
            entry["image"]["file_name"] = place.relative_to(root).as_posix()
        info = {"image_folder": root, "presence_calibrated": self.calibrated}
        coco = {"info": info, **coco_file(entries, self.classes)}
        write_json(self.path / "coco.json", coco)
        if not self.formats & {"polygons", "yolo", "label_studio"}:
            return
        outlined = with_polygons(coco)
        if "polygons" in self.formats:
            write_json(self.path / "coco_polygons.json", outlined)
        if "yolo" in self.formats:
            write_yolo(self.path, outlined)
        if "label_studio" in self.formats:
            write_label_studio(self.path, outlined, self.model)


class VideoResults:
    """Takes the labels of a video's frames one by one; its overlay and record appear at the end."""

    def __init__(
        self, folder: LabelFolder, target: Target, frames_per_second: float | None = None
    ) -> None:
        """Say that the video is not done; masks of an earlier run go as new ones come.

        Raises:
            UsageError: the folder cannot be written.
        """
        self.folder, self.target = folder, target
        self._source = folder.begin(target)
        files = folder.files(target)
        self._masks, self._instances, self._entries = files["masks"], files.get("instances"), []
        self._written: set[str] = set()
        self._images = list_frames(target.path) if target.path.is_dir() else []
        stems = {image.stem for image in self._images}
        self._whole_names = len(stems) < len(self._images)
        rate = frames_per_second or FRAMES_PER_SECOND
        self._overlay = VideoWriter(files["overlays"], rate) if folder.overlays else None

    def add(self, labels: Labels, frame: np.ndarray) -> None:
        """Write the next frame's mask, and draw its overlay.

        Args:
            labels: what was found, at the frame's own size.
            frame: H x W x 3 uint8.

        Raises:
            UsageError: a file cannot be written.
        """
        number = len(self._entries)
        if self._images:
            file = self._images[number]
            name, image = file.name if self._whole_names else file.stem, {"file_name": str(file)}
        else:  # a video's frame is no file
            name, image = f"{number:05d}", {"file_name": str(self.target.path), "frame": number}
        mask = self._masks / f"{name}.png"
        self._written.add(mask.name)
        write_indexed_mask(mask, labels.classes)
        if self._instances:
            write_numbers(self._instances / f"{name}.png", labels.numbers)
        if self._overlay:
            self._overlay.write(drawn(preview(frame, labels.classes.shape), labels))
        self._entries.append(self.folder.entry(image, mask, labels, False))

    def __enter__(self) -> "VideoResults":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._overlay:
                self._overlay.discard()
            return
        if self._overlay:
            self._overlay.close()
        for masks in filter(None, (self._masks, self._instances)):
            # only now: another process may label the same video, with the same names
            _clear(*(old for old in masks.glob("[!.]*.png") if old.name not in self._written))
        self.folder.finish(self.target, self._source, self._entries)


def _as_file_name(name: str) -> str:
    """A class's name without what file systems do not take."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "class"


def write_numbers(path: Path, numbers: np.ndarray) -> None:
    """Write numbers of objects, H x W int32, as an indexed PNG, or in 16 bits where they are many.

    Raises:
        UsageError: the file cannot be written.
    """
    if numbers.max(initial=0) <= np.iinfo(np.uint8).max:
        write_indexed_mask(path, numbers)
        return
    image = Image.fromarray(numbers.clip(max=np.iinfo(np.uint16).max).astype(np.uint16))
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))


def drawn(picture: np.ndarray, labels: Labels) -> np.ndarray:
    """A picture of any size with every object in the colour of its class."""
    if labels.numbers is None:
        return label_overlay(picture, labels.classes, {c: c for c in labels.found})
    return label_overlay(picture, labels.numbers, dict(enumerate(labels.class_of, start=1)))


def preview(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A picture for its overlay, H x W x 3 uint8, in the proportions of the height and width."""
    scale = min(1, PREVIEW_SIDE / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


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
