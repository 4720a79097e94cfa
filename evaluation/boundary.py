"""J and F of a video's masks: region overlap and boundary accuracy.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation" (DAVIS), section 4. Masks are H x W bool arrays.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.008
"""How far apart boundaries may lie to match, as a share of the image's diagonal."""


class FrameScore(NamedTuple):
    """Region overlap J and boundary accuracy F of one frame, both in [0, 1]."""

    region: float
    boundary: float

    @property
    def mean(self) -> float:
        """J&F."""
        return (self.region + self.boundary) / 2


def score_frame(
    prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None = None
) -> FrameScore:
    """J and F of one frame; both are 1 where neither mask has a pixel.

    Args:
        prediction: true where the object was found.
        mask: true where the object is.
        ignore: true where pixels belong to neither mask.

    Raises:
        ValueError: the arrays are not bool, not two-dimensional, or of different sizes.
    """
    prediction, mask = _without_ignored(prediction, mask, ignore)
    return FrameScore(_region(prediction, mask), _boundary(prediction, mask))


def region_similarity(
    prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None = None
) -> float:
    """J: intersection over union, arguments as of `score_frame`."""
    return _region(*_without_ignored(prediction, mask, ignore))


def boundary_accuracy(
    prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None = None
) -> float:
    """F: harmonic mean of the precision and recall of boundaries, arguments as of `score_frame`."""
    return _boundary(*_without_ignored(prediction, mask, ignore))


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """True at each pixel that differs from its neighbour to the right, below, or diagonal to both.

    Beyond the image its last row and column continue, so the image's edge is no boundary.
    """
    boundary = np.zeros_like(mask)
    boundary[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    boundary[:-1, :] |= mask[:-1, :] != mask[1:, :]
    boundary[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return boundary


def boundary_radius(height: int, width: int) -> int:
    """How many pixels apart boundaries may lie to match in an image of this size."""
    return math.ceil(BOUNDARY_TOLERANCE * math.hypot(height, width))


def _region(prediction: np.ndarray, mask: np.ndarray) -> float:
    union = np.count_nonzero(prediction | mask)
    return np.count_nonzero(prediction & mask) / union if union else 1.0


def _boundary(prediction: np.ndarray, mask: np.ndarray) -> float:
    predicted, true = boundary_map(prediction), boundary_map(mask)
    predicted_length, true_length = np.count_nonzero(predicted), np.count_nonzero(true)
    if predicted_length == 0 or true_length == 0:
        return float(predicted_length == true_length)

    radius = boundary_radius(*mask.shape)
    precision = np.count_nonzero(predicted & _dilate(true, radius)) / predicted_length
    recall = np.count_nonzero(true & _dilate(predicted, radius)) / true_length
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _dilate(boundary: np.ndarray, radius: int) -> np.ndarray:
    """True within `radius` pixels of a true pixel, in Euclidean distance."""
    offsets = np.arange(-radius, radius + 1)
    disk = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(np.uint8)
    return cv2.dilate(boundary.astype(np.uint8), disk).astype(bool)


def _without_ignored(
    prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    given = [prediction, mask] if ignore is None else [prediction, mask, ignore]
    if any(array.dtype != bool or array.ndim != 2 or array.shape != mask.shape for array in given):
        described = ", ".join(f"{array.shape} {array.dtype}" for array in given)
        raise ValueError(f"masks must be H x W bool and of one size, not {described}")
    return (prediction, mask) if ignore is None else (prediction & ~ignore, mask & ~ignore)
