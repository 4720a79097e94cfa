"""Objects whose masks are given: each is followed from the frame on which its mask is.

Shapes: N objects of a video, H and W frame height and width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.dc_sam.video import DcSamVideo, FramePrediction, RunningVideo
from model.sam.sam2 import ABSENT_LOGIT


class GivenObjects:
    """Follows objects of one video, which may appear on different frames.

    Those that appear together are followed together; all share the frames' features.

    Args:
        count: N.
        length: frames of the video, where it is known; see `RunningVideo`.
    """

    def __init__(self, model: DcSamVideo, count: int, length: int | None = None) -> None:
        self.model, self.count, self.length = model, count, length
        self.index = 0
        """Number of the next frame."""
        self._groups: list[tuple[RunningVideo, list[int]]] = []

    @torch.no_grad()
    def step(self, images: Tensor, given: Mapping[int, Tensor]) -> Tensor:
        """Find the objects in the next frame.

        Args:
            images: normalised, 1 x 3 x H x W.
            given: object, 0 to N - 1 -> its mask on this frame, of 0 and 1 and of any size: it is
                followed from here.

        Returns:
            Logits, N x H x W; `ABSENT_LOGIT` where an object is absent or was not given yet.
        """
        frame = self.model.encode_frame(images)
        logits = images.new_full((self.count, *images.shape[-2:]), ABSENT_LOGIT)
        for video, rows in self._groups:
            logits[rows] = visible_logits(video.propagate(frame))
        if given:
            video = RunningVideo(self.model, length=self.length)
            video.index = self.index
            masks = torch.stack([mask.to(images.device) for mask in given.values()])
            logits[list(given)] = visible_logits(video.prompt_with_masks(frame, masks))
            self._groups.append((video, list(given)))
        self.index += 1
        return logits


def visible_logits(found: FramePrediction) -> Tensor:
    """The objects' logits, with `ABSENT_LOGIT` everywhere where one is absent."""
    return found.logits.masked_fill(found.object_logit.view(-1, 1, 1) <= 0, ABSENT_LOGIT)
