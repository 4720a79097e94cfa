"""Videos with a method that has no memory: it segments the first frame, SAM 2 carries the masks on.

Shapes: N concepts, H and W frame height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.method import Method, Support
from model.sam.sam2 import ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures
from model.sam.video_predictor import STREAMING, VideoPredictor, VideoWiring


@dataclass(frozen=True)
class MethodPrompter:
    """Finds concepts of one support each in a frame, and has SAM 2 take their masks for its own."""

    method: Method
    supports: Sequence[Support]
    sam2: Sam2

    def __call__(self, images: Tensor, features: SegmenterFeatures) -> tuple[ObjectMask, None]:
        """An object whose mask is empty counts as absent, as SAM 2 has it."""
        encoded = self.method.encode(images)
        found = self.method.predict_together(encoded, self.supports)
        logits = torch.cat([prediction.logits for prediction in found]).unsqueeze(1)
        side = self.sam2.image_size
        large = F.interpolate(
            (logits > 0).float(), (side, side), mode="bilinear", antialias=True, align_corners=False
        )
        masks = (large >= 0.5).float()
        return self.sam2.use_mask(features.expand(len(masks)), masks), None


def first_frame_video(
    method: Method,
    supports: Sequence[Support],
    sam2: Sam2,
    prompt_every: int = 0,
    length: int | None = None,
    wiring: VideoWiring = STREAMING,
) -> VideoPredictor:
    """Begin a video as `Method.video` does.

    Raises:
        ValueError: the method pads its frames, which SAM 2 does not; or see `VideoPredictor`.
    """
    if method.geometry.padded:
        raise ValueError(f"{method.name} pads its frames: SAM 2 cannot carry its masks on")
    return VideoPredictor(
        sam2,
        prompter=MethodPrompter(method, supports, sam2),
        wiring=wiring,
        prompt_every=prompt_every,
        length=length,
    )
