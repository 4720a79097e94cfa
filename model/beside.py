"""SAMs beside a method: for marks that it does not take, and for videos where it has no memory."""

import numpy as np
import torch

from common.errors import UsageError
from common.pixels import normalize, squash
from common.trainer import autocast
from model.choice import best_sam
from model.method import Method
from model.reference import Reference
from model.sam.clicks import PromptedPicture
from model.sam.segmenter import Segmenter


class SamsBeside:
    """Reads each SAM when it is first needed, the best whose official file is there."""

    def __init__(self, method: Method, device: torch.device, precision: str) -> None:
        self.method, self.device, self.precision = method, device, precision
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

    def prompted(self, pixels: np.ndarray) -> PromptedPicture:
        """A picture, H x W x 3 uint8, in which clicks and boxes ask for masks.

        Raises:
            UsageError: there is no SAM.
        """
        sam = self.for_clicks()
        image = normalize(squash(pixels, sam.image_size))[None].to(self.device)
        with autocast(self.device, self.precision):
            return PromptedPicture(sam, image)

    def as_taken(self, reference: Reference) -> Reference:
        """A reference with a mark that the method takes: where it does not, SAM's mask of it.

        Raises:
            UsageError: there is no SAM, or it finds nothing.
        """
        if reference.kind in self.method.prompt_kinds:
            return reference
        picture = self.prompted(reference.pixels)
        mask = picture.mask_of(reference.mark, reference.kind)
        if not mask.any():
            raise UsageError(f"SAM finds nothing at the {reference.kind} of a reference")
        return Reference(reference.pixels, mask)

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
