"""J and F of masks in videos: region overlap and boundary accuracy, and their means.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation" (DAVIS), section 4. Masks are H x W bool arrays. Scores of one frame are in [0, 1],
those of objects and their means in percent; J&F is the mean of J and F.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np

PRESENT = "present_frames"
"""Under this name stand the scores over the frames that show the object."""

Summary = dict[str, Any]
"""j, f, jf (None where nothing was scored), and the same below `PRESENT`."""
BOUNDARY_TOLERANCE = 0.008
"""How far apart boundaries may lie to match, as a share of the image's diagonal."""


class FrameScore(NamedTuple):
    """Region overlap J and boundary accuracy F of one frame, both in [0, 1]."""

    region: float
    boundary: float


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


@dataclass
class TubeScores:
    """Scores of one object's masks through a video."""

    frames: list[FrameScore] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)
    """Whether each of these frames shows the object."""

    def add(
        self,
        prediction: np.ndarray,
        mask: np.ndarray,
        present: bool,
        ignore: np.ndarray | None = None,
    ) -> None:
        """Score a frame; masks as in `score_frame`."""
        self.frames.append(score_frame(prediction, mask, ignore))
        self.present.append(present)

    def summary(self) -> Summary:
        """The means over all frames, and over those that show the object."""
        shown = [score for score, present in zip(self.frames, self.present, strict=True) if present]
        return {**_means(self.frames), PRESENT: _means(shown)}


def mean_summary(summaries: Sequence[Summary]) -> Summary:
    """The means over objects; one without a score does not count.

    Args:
        summaries: of `TubeScores.summary`, also nested ones: all have the same names.
    """
    means: Summary = {}
    for name in dict.fromkeys(name for summary in summaries for name in summary):
        values = [s[name] for s in summaries if s.get(name) is not None]
        if values and isinstance(values[0], dict):
            means[name] = mean_summary(values)
        else:
            means[name] = _mean(values)
    return means


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


def _means(scores: Sequence[FrameScore]) -> Summary:
    j, f = _mean([s.region for s in scores], 100), _mean([s.boundary for s in scores], 100)
    return {"jf": None if j is None else (j + f) / 2, "j": j, "f": f}


def _mean(values: Sequence[float], scale: float = 1) -> float | None:
    return scale * sum(values) / len(values) if values else None
