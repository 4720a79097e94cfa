"""Objects of concepts that keep their numbers through a video, whoever finds and follows them.

Shapes: N objects, H and W a frame's own size, S the side of the tracker's square.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.geometry import Geometry
from common.images import Size
from model.instances import MOST, Instances
from model.label_map import label_map
from model.method_data import VideoState
from model.sam.sam2 import ABSENT_LOGIT

SAME = 0.5
"""An object that overlaps a known one of its concept by so much is that one (IoU)."""
MOST_NUMBERS = 255
"""So many objects have numbers in an indexed PNG."""


class TrackedFrame(NamedTuple):
    """The objects in one frame."""

    numbers: np.ndarray
    """H x W uint8: 0 where there is none, else the object's number, from 1, as in other frames."""
    concepts: tuple[int, ...]
    """Of each number so far, the position of its class among the concepts that were asked for."""
    scores: tuple[float, ...]
    """Of each number, how sure it is that the object is in the frame, in [0, 1]."""


@dataclass
class ObjectTracker:
    """Follows objects that are found on some frames by a video that takes given masks."""

    video: VideoState
    geometry: Geometry
    """How frames come to the video's square."""
    concepts: list[int] = field(default_factory=list)
    """Of each object."""
    seen: np.ndarray | None = None
    """The numbers in the frame before, H x W."""

    def step(self, image: Tensor, found: Instances | None, size: Size) -> TrackedFrame:
        """Follow the objects into the next frame.

        Args:
            image: 1 x 3 x S x S.
            found: what was found in it, at its own size, the best first; of these, objects that are
                not known yet are new. None: nobody looked.
            size: H and W.
        """
        masks = None if found is None else self._new_ones(found)
        if masks is None and not self.concepts:
            return TrackedFrame(np.zeros(size, dtype=np.uint8), (), ())
        shown = self.video.step(image, masks, sizes=torch.tensor([size]))
        absent = (shown.object_logit <= 0)[:, None, None]
        logits = self.geometry.crop(shown.logits.masked_fill(absent, ABSENT_LOGIT), size)
        self.seen = label_map(logits.float(), range(len(self.concepts)), size)
        scores = tuple(shown.object_logit.float().sigmoid().tolist())
        return TrackedFrame(self.seen, tuple(self.concepts), scores)

    def _new_ones(self, found: Instances) -> Tensor | None:
        """Masks of objects that are not known yet, N x H x W bool; None: there are none."""
        room = MOST_NUMBERS - len(self.concepts)
        new = [
            (mask, concept)
            for mask, concept in zip(found.masks, found.concepts.tolist(), strict=True)
            if not self._is_known(mask.cpu().numpy(), concept)
        ][: min(room, MOST)]
        if not new:
            return None
        masks, concepts = zip(*new, strict=True)
        self.concepts += concepts
        return torch.stack(masks)

    def _is_known(self, mask: np.ndarray, concept: int) -> bool:
        """Whether an object of the concept was where the mask is, in the frame before."""
        if self.seen is None:
            return False
        numbers = np.unique(self.seen[mask])
        rivals = [n for n in numbers.tolist() if n and self.concepts[n - 1] == concept]
        return any(_overlap(mask, self.seen == number) > SAME for number in rivals)


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks, of which one is not empty."""
    both = np.count_nonzero(first & second)
    return both / (np.count_nonzero(first) + np.count_nonzero(second) - both)
