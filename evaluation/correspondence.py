"""Score semantic correspondence: which places of a picture show the same part as in another.

PCK, the percentage of correct keypoints: a place counts as found if it is not farther off than a
share of the longer side of the object's box, in the target's own pixels. Two means are common: over
pairs (CATs++, INSID3), each the mean over its places, and over all places.
Shapes: S side of the square that a method takes, P places of a pair, H and W a picture's own size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.trainer import autocast
from data.spair import KeypointPair, SPair71k
from evaluation.item_log import Record
from model.keypoints import (
    cells_of_points,
    correct_points,
    expected_points,
    nearest_points,
    similarity_maps,
)
from model.method import Method

SHARES = (0.05, 0.1, 0.15, 0.2)
"""Of the box, how far off a place may be; 0.1 is what is usually told."""
_KEPT = 48
"""Pictures whose features are kept: a category of the tested ones has about 100."""


@dataclass(frozen=True)
class Encoded:
    """A picture's features, C x h x w, and its size."""

    features: Tensor
    size: tuple[int, int]
    content: tuple[float, float]
    """How many rows and columns of the features show the picture; the rest is padding."""


@dataclass(frozen=True)
class Correspondence:
    """A method's features and the rule by which places are found in them."""

    method: Method
    data: SPair71k
    rule: str
    """One of `RULES`, see `model.keypoints`."""
    device: torch.device
    precision: str = "fp32"
    _encode: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_encode", lru_cache(_KEPT)(self._encode_picture))

    def find(self, pair: KeypointPair) -> Tensor:
        """Where the target shows the source's places: x and y in its pixels, P x 2."""
        source, target = self._encode(pair.source), self._encode(pair.target)
        points = torch.from_numpy(pair.source_points).to(self.device)
        if self.rule == "soft":
            return _soft(source, target, points)
        found = nearest_points(
            source.features, _shown(target), points * _cells_per_pixel(source, points)
        )
        return found / _cells_per_pixel(target, points)

    def score(self, pairs: Sequence[KeypointPair]) -> Record:
        """The record of all pairs of one source picture: places, and how many are found."""
        rows = []
        for pair in pairs:
            truth = torch.from_numpy(pair.target_points).to(self.device)
            right = correct_points(self.find(pair), truth, pair.box_side, SHARES) * len(truth)
            rows.append([pair.name, pair.category, len(truth), *right.round().int().tolist()])
        return {"item": pairs[0].source, "pairs": rows}

    @torch.no_grad()
    def _encode_picture(self, name: str) -> Encoded:
        pixels, geometry = self.data.read(name), self.method.geometry
        image = geometry.image(pixels)[None].to(self.device)
        with autocast(self.device, self.precision):
            [features] = self.method.place_features(image).float()
        size = pixels.shape[:2]
        content = geometry.content(size)
        cells = [
            n * shown / geometry.side for n, shown in zip(features.shape[1:], content, strict=True)
        ]
        return Encoded(features, size, (cells[0], cells[1]))


def _cells_per_pixel(picture: Encoded, points: Tensor) -> Tensor:
    """Columns per pixel of width and rows per pixel of height."""
    (height, width), (rows, columns) = picture.size, picture.content
    return points.new_tensor([columns / width, rows / height])


def _shown(picture: Encoded) -> Tensor:
    """The features that show more of the picture than of padding."""
    rows, columns = (max(1, round(count)) for count in picture.content)
    return picture.features[:, :rows, :columns]


def _soft(source: Encoded, target: Encoded, points: Tensor) -> Tensor:
    """The published rule takes the first corner of a cell for its place, on both sides."""
    maps = [_shown(one) for one in (source, target)]
    grids = [(one.shape[1], one.shape[2]) for one in maps]
    reference, other = (F.normalize(one.flatten(1).T, dim=1) for one in maps)
    cells = cells_of_points(points, source.size, grids[0])
    return expected_points(similarity_maps(reference, other, cells, *grids), target.size)


def summarise(records: Mapping[str, Record]) -> dict[str, Any]:
    """What `results.json` says of scored pairs, in percent, by share of the box."""
    rows = [row for record in records.values() for row in record["pairs"]]
    points = np.array([row[2] for row in rows])
    right = np.array([row[3:] for row in rows]) / points[:, None]
    categories = np.array([row[1] for row in rows])

    def by_share(values: np.ndarray) -> dict[str, float]:
        return {str(share): 100 * float(value) for share, value in zip(SHARES, values, strict=True)}

    of_category = {c: by_share(right[categories == c].mean(axis=0)) for c in sorted({*categories})}
    return {
        "pck": by_share(right.mean(axis=0)),
        "pck_over_points": by_share((right * points[:, None]).sum(axis=0) / points.sum()),
        "pck_over_categories": {
            str(share): float(np.mean([scores[str(share)] for scores in of_category.values()]))
            for share in SHARES
        },
        "per_category": of_category,
        "pairs": len(rows),
        "points": int(points.sum()),
    }
