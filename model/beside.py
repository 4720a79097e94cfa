"""SAMs beside a method: for marks that it does not take, and for videos where it has no memory."""

import numpy as np
import torch

from common.errors import UsageError
from common.pixels import normalize, squash
from common.trainer import autocast
from model.choice import best_sam
from model.method import Method
from model.sam.clicks import PromptedPicture
from model.sam.segmenter import Segmenter


class SamsBeside:
    """Reads each SAM when it is first needed, the best whose official file is there."""

    def __init__(self, method: Method, device: torch.device) -> None:
        self.method, self.device = method, device
        self._read: dict[tuple[int, ...], Segmenter] = {}

    def for_videos(self) -> Segmenter:
        """A SAM 2.

        Raises:
            UsageError: there is none.
        """
        return self._best(2)

    def for_clicks(self) -> Segmenter:
        """The method's own SAM, or any.

        Raises:
            UsageError: there is none.
        """
        return self.method.promptable or self._best(2, 1)

    def prompted(self, pixels: np.ndarray, precision: str) -> PromptedPicture:
        """A picture, H x W x 3 uint8, in which clicks and boxes ask for masks.

        Raises:
            UsageError: there is no SAM.
        """
        sam = self.for_clicks()
        image = normalize(squash(pixels, sam.image_size))[None].to(self.device)
        with autocast(self.device, precision):
            return PromptedPicture(sam, image)

    def _best(self, *versions: int) -> Segmenter:
        if versions not in self._read:
            found = best_sam(versions, tiny=self.method.knows_drawings_only)
            if found is None:
                raise UsageError(
                    f"{self.method.name} needs a SAM 2 beside it for videos, clicks, boxes and "
                    "scribbles: `python -m tools.weights fetch sam2.1_hiera_b+` gets one"
                )
            self._read[versions] = found.to(self.device)
        return self._read[versions]
