"""Masks that a person asks for with clicks and boxes: plain SAM, without any reference.

Places are x, y in [0, 1]: parts of the picture's width and height.
"""

import numpy as np
import torch
from torch import Tensor

from model.label_map import Size, label_map
from model.sam.segmenter import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    NOT_A_POINT,
    POINT_POSITIVE,
    Segmenter,
)

MOST_CLICKS = 16
"""Of a scribble: SAM was trained with a few."""


class PromptedPicture:
    """A picture, encoded once, in which any number of prompts ask for masks."""

    @torch.no_grad()
    def __init__(self, sam: Segmenter, image: Tensor) -> None:
        """Encode a normalised picture, 1 x 3 x H x W."""
        self._sam, self._device = sam, image.device
        self._features = sam.encode(image)

    def mask_of(self, mark: np.ndarray, kind: str) -> np.ndarray:
        """Decode the object that points, strokes or a filled box, H x W bool, mean: H x W bool.

        Of strokes and of many points so many count as SAM can tell apart, evenly spread.

        Args:
            kind: "point", "scribble" or "box".
        """
        rows, columns = np.nonzero(mark)
        size = np.array([mark.shape[1], mark.shape[0]])
        if kind == "box":
            corners = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]])
            return self.mask(mark.shape, box=tuple((corners / size).flatten().tolist()))
        spread = np.linspace(0, len(rows) - 1, min(len(rows), MOST_CLICKS)).round().astype(int)
        places = np.stack([columns, rows], axis=1)[spread]
        return self.mask(mark.shape, clicks=(places + 0.5) / size)

    @torch.no_grad()
    def mask(
        self,
        size: Size,
        clicks: np.ndarray | None = None,
        box: tuple[float, float, float, float] | None = None,
    ) -> np.ndarray:
        """Decode the object that is meant, H x W bool.

        One click alone is ambiguous: of SAM's three proposals the one that it thinks best is taken.

        Args:
            size: H and W.
            clicks: N x 2 places inside of the object.
            box: left, top, right and bottom of a box around it.

        Raises:
            ValueError: neither clicks nor a box.
        """
        clicks = np.zeros((0, 2)) if clicks is None else clicks
        if not len(clicks) and box is None:
            raise ValueError("a mask needs a click or a box")
        corners = [(0.0, 0.0)] if box is None else [box[:2], box[2:]]
        kinds = [NOT_A_POINT] if box is None else [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
        places = torch.tensor([*clicks.tolist(), *corners], device=self._device)
        labels = torch.tensor([POINT_POSITIVE] * len(clicks) + kinds, device=places.device)
        points = places * self._sam.image_size - 0.5  # to the centres of pixels
        tokens = self._sam.point_tokens(points[None], labels[None])
        decoded = self._sam.decode_all(self._features, tokens)
        if len(clicks) == 1 and box is None:
            best = 1 + int(decoded.quality[0, 1:].argmax())
            logits = decoded.logits[:, best]
        else:
            logits = self._sam.select(decoded, fallback=True)[0][:, 0]
        return label_map(logits.float(), [0], size) == 1
