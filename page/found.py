"""What was found: kept as logits, so that thresholds move without the network.

Shapes: C classes, h and w the part of the network's square that shows a picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.images import Size
from labelling.objects import Labels, labels_of_instances, split_into_objects
from model.instances import FoundObject, Instances, enlarged, found_objects
from model.label_map import label_map
from model.thresholds import LEAST_SCORE
from page.items import Mark, Thresholds

STEP = 1 / 32
"""To which logits of frames are rounded: a video has many. Beyond 4 they are cut, where a score is
past all thresholds. Their signs are kept."""

References = dict[str, list[tuple[Path, Mark]]]
"""Pictures and marks of each class."""


@dataclass(frozen=True)
class Labelled:
    """A picture or frame after the network."""

    image: dict[str, Any]
    """What COCO says of it: "file_name", and of a frame its number, "frame"."""
    mask_name: str
    """Of the file of its mask."""
    size: Size
    """Its own height and width."""
    logits: Tensor
    """C x h x w."""
    scores: tuple[float, ...]
    """Of each class: whether it is there at all, 0 to 1."""
    proposals: Path | None = None
    """File of `store_proposals`, where the method has such."""
    instances: Path | None = None
    """File of `store_instances`, where the method scores objects."""

    def labels(self, thresholds: Thresholds, size: Size | None = None) -> Labels:
        """Classes by their numbers from 1; at its own size unless another is asked for."""
        size = size or self.size
        present = [c for c, score in enumerate(self.scores) if score >= thresholds.presence]
        classes = label_map(self.logits, present, size, thresholds.least)
        labels = Labels(classes, dict(enumerate(self.scores, start=1)))
        if not thresholds.apart:
            return labels
        if self.instances is not None:
            found = read_instances(self.instances, max(thresholds.presence, LEAST_SCORE), size)
            return labels_of_instances(found, [*labels.scores], size)
        if self.proposals is None:
            return split_into_objects(labels)
        with np.load(self.proposals) as stored:
            masks = {int(name): torch.from_numpy(stored[name]) for name in stored.files}
            return split_into_objects(
                labels, {c: enlarged(some, size) for c, some in masks.items()}
            )


@dataclass(frozen=True)
class Results:
    """What was found in pictures."""

    references: References
    method: str
    """What the method is called."""
    calibrated: bool
    """Whether scores are probabilities that a picture shows the class."""
    pictures: Sequence[Labelled] = ()
    previews: Sequence[Path] = ()
    """Of each picture, made smaller."""

    @property
    def names(self) -> list[str]:
        """The classes, in the order of their numbers."""
        return list(self.references)

    def labelled(self) -> Iterator[Labelled]:
        """Each picture or frame."""
        yield from self.pictures


@dataclass(frozen=True)
class FilmResults(Results):
    """What was found in a video; its logits lie in files."""

    video: Path = Path()
    frames: Sequence[tuple[Path, Size, tuple[float, ...]]] = ()
    """File, size and scores of each."""

    def labelled(self) -> Iterator[Labelled]:
        for number, (file, size, scores) in enumerate(self.frames):
            with np.load(file) as stored:
                logits = torch.from_numpy(stored["logits"]).float() * STEP
            image = {"file_name": self.video.name, "frame": number}
            name = f"{self.video.stem}/{number:05d}"
            yield Labelled(image, name, size, logits, scores)


def store_proposals(path: Path, objects: Sequence[Tensor | None]) -> Path | None:
    """Write the separate objects of each class, N x h x w bool, where there are any."""
    known = {str(c): some.cpu().numpy() for c, some in enumerate(objects, 1) if some is not None}
    if not known:
        return None
    np.savez_compressed(path, **known)
    return path


def store_instances(path: Path, found: Instances | None) -> Path | None:
    """Write the objects that a method scored, where it did."""
    if found is None:
        return None
    np.savez_compressed(
        path,
        masks=found.masks.cpu().numpy(),
        scores=found.scores.cpu().numpy(),
        concepts=found.concepts.cpu().numpy(),
    )
    return path


def read_instances(path: Path, least: float, size: Size) -> list[FoundObject]:
    """Stored objects with at least a score, at another size; what vanishes there is left out."""
    with np.load(path) as stored:
        some = stored["scores"] >= least
        parts = {name: torch.from_numpy(stored[name][some]) for name in stored.files}
    masks = torch.zeros(len(parts["masks"]), *size, dtype=torch.bool)
    for row, mask in enumerate(enlarged(parts["masks"], size)):
        masks[row] = torch.from_numpy(mask)
    return found_objects(Instances.of_masks(masks, parts["scores"], parts["concepts"]))


def store_logits(path: Path, logits: Tensor) -> None:
    """Write C x h x w logits of a frame, rounded to `STEP` away from 0."""
    steps = (logits.float().abs() / STEP).ceil().clamp_max(127) * logits.sign()
    np.savez_compressed(path, logits=steps.to(torch.int8).cpu().numpy())
