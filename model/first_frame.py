"""Videos with any method: it segments the first frame, SAM 2 carries its masks on.

Shapes: N concepts, S side of the method's square, h and w its part that shows a frame, H0 and W0
the frame's own size.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from common.images import Size
from model.method import Method
from model.method_data import Support
from model.sam.sam2 import ABSENT_LOGIT, ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures
from model.sam.video_predictor import FramePrediction, VideoPredictor
from model.sam.video_wiring import STREAMING, VideoWiring


class FirstFrameVideo:
    """A running video. SAM 2 sees frames squashed, whatever the method's geometry is."""

    def __init__(
        self,
        method: Method,
        supports: Sequence[Support],
        sam2: Sam2,
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> None:
        """Begin a video as `Method.video` does.

        Raises:
            ValueError: there is no support; or see `VideoPredictor`.
        """
        if not supports:
            raise ValueError("nothing to segment: this video was begun without a support")
        self.method, self.supports, self.sam2 = method, supports, sam2
        self.predictor = VideoPredictor(sam2, self._prompt, wiring, prompt_every, length)

    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame, 1 x 3 x S x S in the method's geometry.

        Raises:
            ValueError: masks are given.
        """
        self._frame, self._sizes = images, sizes
        if not self.method.geometry.padded:
            return self.predictor.step(images, masks)
        content = self.method.geometry.content(self._own_size)
        shown = images[..., : content[0], : content[1]]
        found = self.predictor.step(_resize(shown, self.sam2.image_size), masks)
        return replace(
            found,
            logits=self._padded(found.logits, content),
            raw_logits=self._padded(found.raw_logits, content),
        )

    @property
    def _own_size(self) -> Size:
        """H0 and W0 of the current frame."""
        if self._sizes is None:
            return tuple(self._frame.shape[-2:])
        height, width = self._sizes[0].tolist()
        return height, width

    def _prompt(self, _: Tensor, features: SegmenterFeatures) -> tuple[ObjectMask, None]:
        """Find the concepts in the frame, and have SAM 2 take their masks for its own.

        Masks of a padded frame come to its own size before they are squashed. An object whose mask
        is empty counts as absent, as SAM 2 has it.
        """
        encoded = self.method.encode(self._frame, sizes=self._sizes)
        found = self.method.predict_together(encoded, self.supports)
        logits = torch.cat([prediction.logits for prediction in found]).unsqueeze(1)
        if self.method.geometry.padded:
            logits = F.interpolate(
                self.method.geometry.crop(logits, self._own_size),
                self._own_size,
                mode="bilinear",
                align_corners=False,
            )
        masks = (_resize((logits > 0).float(), self.sam2.image_size) >= 0.5).float()
        return self.sam2.use_mask(features.expand(len(masks)), masks), None

    def _padded(self, logits: Tensor, content: Size) -> Tensor:
        """Logits of the squashed frame, N x any side, in the method's square: N x S x S."""
        inside = F.interpolate(logits[:, None], content, mode="bilinear", align_corners=False)
        square = logits.new_full((len(logits), *self._frame.shape[-2:]), ABSENT_LOGIT)
        square[:, : content[0], : content[1]] = inside[:, 0]
        return square


def _resize(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, (side, side), mode="bilinear", antialias=True, align_corners=False)
