"""Score semantic segmentation from one reference for each class.

Two forms are known. "full": all classes are asked in every image and share its pixels, as somebody
who does not know the answer has to ask. "present", as published by SegIC: only the classes that an
image's ground truth shows are asked, and each has a mask of its own, so that nothing is ever found
where it is not.
Shapes: H and W an image's own size, S side of the square that a method takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from common.geometry import Geometry
from common.trainer import autocast
from data.semantic import References, SemanticImages
from evaluation.item_log import Record
from model.method import Method
from model.method_data import Features, Support

_KEPT = 4096
"""Supports that are kept; there are two for each class at most."""


@dataclass(frozen=True)
class TestedImage:
    """An image as it is segmented."""

    __test__ = False  # pytest: this is no test

    name: str
    pixels: Tensor
    """1 x 3 x S x S, normalised."""
    labels: Tensor
    """H x W int32: class ids, 0 for background, -1 for pixels that do not count."""


class TestedImages(Dataset[TestedImage]):
    """Some images of one side of a benchmark."""

    __test__ = False

    def __init__(self, images: SemanticImages, names: Sequence[str], geometry: Geometry) -> None:
        self.images, self.names, self.geometry = images, names, geometry

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> TestedImage:
        name = self.names[index]
        pixels, labels = self.images.read(name)
        return TestedImage(name, self.geometry.image(pixels)[None], torch.from_numpy(labels))


@dataclass(frozen=True)
class SemanticSegmenter:
    """A method that knows one reference of each class."""

    method: Method
    references: References
    form: str
    """One of `FORMS`."""
    device: torch.device
    precision: str = "fp32"
    names: bool = True
    """Tell the method what the classes are called."""
    self_reference: str = "other"
    """One of `SELF_REFERENCES`."""
    together: int | None = None
    """At most so many classes are asked at a time; None: all."""
    _support: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_support", lru_cache(_KEPT)(self._encode_support))

    def asked(self, image: TestedImage, same_images: bool) -> dict[int, str]:
        """Class id -> reference of the classes that are asked in an image.

        Args:
            same_images: see `data.semantic.References.of`.
        """
        classes: Sequence[int] = list(self.references.names)
        if self.form == "present":
            shown = set(torch.unique(image.labels).tolist())
            classes = [c for c in classes if c in shown]
        same_images = same_images and self.self_reference == "other"
        found = {c: self.references.of(c, image.name, same_images) for c in classes}
        return {c: name for c, name in found.items() if name is not None}

    @torch.no_grad()
    def segment(
        self, image: TestedImage, asked: Mapping[int, str], same_images: bool = False
    ) -> "Segmented":
        """Segment an image by the references of some classes, together.

        Args:
            asked: class id -> reference.
            same_images: see `asked`.
        """
        size = tuple(image.labels.shape)
        result = Segmented(size, self.device)
        with autocast(self.device, self.precision):
            features = self.method.features(
                image.pixels.to(self.device), sizes=torch.tensor([size], device=self.device)
            )
        classes = list(asked)
        step = self.together or max(1, len(classes))
        for start in range(0, len(classes), step):
            some = classes[start : start + step]
            with autocast(self.device, self.precision):
                supports = [self._support(c, asked[c]) for c in some]
                for place, class_id in enumerate(some):
                    if same_images and asked[class_id] == image.name:
                        supports[place] = self.method.silence(supports[place])
                predictions = self.method.predict_together(features, supports)
            for class_id, prediction in zip(some, predictions, strict=True):
                shown = self.method.geometry.crop(prediction.logits.float()[None], size)
                [[logits]] = F.interpolate(shown, size, mode="bilinear", align_corners=False)
                result.add(class_id, logits)
        return result

    def _encode_support(self, class_id: int, name: str) -> Support:
        pixels, labels = self.references.images.read(name)
        geometry = self.method.geometry
        mask = geometry.mask(labels == class_id, keep_small=True)
        size = torch.tensor([labels.shape], device=self.device)
        features: Features = self.method.features(
            geometry.image(pixels)[None].to(self.device), support_only=True, sizes=size
        )
        names = [self.references.images.class_names[class_id]] if self.names else None
        return self.method.encode_support(features, mask[None, None].to(self.device), names=names)


class Segmented:
    """What is found in one image: a mask for each class, and which class wins each pixel."""

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        self.masks: dict[int, Tensor] = {}
        """Class id -> where its logits are above 0, H x W bool."""
        self.labels = torch.zeros(size, dtype=torch.int32, device=device)
        """The class of the highest logit, 0 where none is above 0; H x W."""
        self._highest = torch.zeros(size, device=device)

    def add(self, class_id: int, logits: Tensor) -> None:
        """Take in a class's logits, H x W."""
        self.masks[class_id] = logits > 0
        higher = logits > self._highest
        self.labels[higher] = class_id
        self._highest = torch.maximum(self._highest, logits)

    def areas(self, truth: Tensor, form: str) -> list[list[int]]:
        """Class id, intersection, union and true pixels of each class that an image counts for.

        Args:
            truth: H x W int32, see `TestedImage.labels`.
            form: one of `FORMS`.
        """
        counted = truth >= 0
        if form == "full":
            return _areas_of_labels(truth[counted], self.labels[counted])
        found = []
        for class_id, mask in self.masks.items():
            own = truth == class_id
            areas = (mask & own, (mask | own) & counted, own)
            found.append([class_id, *(int(area.sum()) for area in areas)])
        return found


def _areas_of_labels(truth: Tensor, found: Tensor) -> list[list[int]]:
    """The areas of every class that the truth shows or that was found; both P int32."""
    last = int(torch.cat([truth, found]).max()) if len(truth) else 0
    right, shown, named = (
        torch.bincount(labels, minlength=last + 1).tolist()
        for labels in (truth[truth == found], truth, found)
    )
    union = [shown[c] + named[c] - right[c] for c in range(last + 1)]
    return [[c, right[c], union[c], shown[c]] for c in range(1, last + 1) if union[c]]


def score_image(
    segmenter: SemanticSegmenter, image: TestedImage, same_images: bool
) -> tuple[Record, Segmented]:
    """Segment and score an image: its record, and what was found.

    Pixels of classes that no other image shows, so that nobody could know them, do not count.
    """
    asked = segmenter.asked(image, same_images)
    found = segmenter.segment(image, asked, same_images)
    known = torch.tensor([0, *asked], dtype=image.labels.dtype)
    truth = torch.where(torch.isin(image.labels, known), image.labels, -1)
    truth = (truth if segmenter.form == "full" else image.labels).to(segmenter.device)
    return {"item": image.name, "areas": found.areas(truth, segmenter.form)}, found


def summarise(
    records: Mapping[str, Record], class_names: Mapping[int, str], references: References
) -> dict[str, Any]:
    """What `results.json` says of the scored images, in percent.

    The mean is over the classes that the images show and that have a reference: of each, the sum
    of intersections over the sum of unions.
    """
    sums: dict[int, np.ndarray] = {}
    for record in records.values():
        for class_id, *areas in record["areas"]:
            sums[class_id] = sums.get(class_id, np.zeros(3, np.int64)) + areas
    shown = [c for c in sorted(sums) if sums[c][2]]
    scores = {c: 100 * float(sums[c][0] / sums[c][1]) for c in shown if c in references.names}
    return {
        "miou": float(np.mean(list(scores.values()))) if scores else None,
        "per_class": {class_names[c]: score for c, score in scores.items()},
        "images": len(records),
        "classes_tested": len(scores),
        "classes_without_reference": [
            name for c, name in class_names.items() if c not in references.names
        ],
    }
