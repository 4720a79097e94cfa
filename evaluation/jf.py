"""J, F and J&F of objects in videos, and their means over many.

Scores are percentages. J&F is the mean of J and F.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.boundary import FrameScore, score_frame

PRESENT = "present_frames"
"""Under this name stand the scores over the frames that show the object."""

Summary = dict[str, Any]
"""j, f, jf (None where nothing was scored), and the same below `PRESENT`."""


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
        """Score a frame; masks as in `evaluation.boundary.score_frame`."""
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


def _means(scores: Sequence[FrameScore]) -> Summary:
    j, f = _mean([s.region for s in scores], 100), _mean([s.boundary for s in scores], 100)
    return {"jf": None if j is None else (j + f) / 2, "j": j, "f": f}


def _mean(values: Sequence[float], scale: float = 1) -> float | None:
    return scale * sum(values) / len(values) if values else None
