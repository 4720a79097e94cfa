"""What goes into a method and comes out of it.

Shapes: B batch, K shots, H and W the side of the images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from model.sam.video_predictor import FramePrediction


class Features(Protocol):
    """Images after the frozen networks."""

    def __getitem__(self, rows: slice) -> Self:
        """The features of some of the images."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One batch of several."""


class Support(Protocol):
    """What the labelled pictures of B concepts say; it serves any number of queries."""

    def expand(self, batch: int) -> Self:
        """One concept (B = 1) for each of so many queries, without copies."""


class LabelledEpisodes(Protocol):
    """What a training loss needs to know of a batch of episodes besides encoded images."""

    support_masks: Tensor
    """B x K x H x W, exactly 0 or 1."""
    query_mask: Tensor
    """B x H x W, exactly 0 or 1."""
    support_kinds: Sequence[Sequence[str]]
    """What each support mask was drawn of, see `Method.encode_support`."""
    support_objects: Sequence[Tensor]
    """Where support masks may be other marks: the masks of each episode, K x H x W; else empty."""
    query_ignore: Tensor
    """B x H x W, bool: pixels that do not count."""


@dataclass(frozen=True)
class Prediction:
    """A mask for each query image."""

    logits: Tensor
    """B x H x W, float32; above 0 is the object."""
    quality: Tensor
    """B: the method's own estimate of the mask's IoU."""
    presence: Tensor
    """B, in [0, 1]: whether the image shows the object at all."""
    signals: Tensor
    """B x any number: what the presence was made of, for its calibration."""
    objects: Sequence[Tensor] | None = None
    """Of each query the separate objects, N x H x W bool; None: the method has no proposals."""


class VideoState(Protocol):
    """A running video: all that is remembered of it."""

    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame, 1 x 3 x S x S.

        What comes back has a row for each concept with which the video began, then for each object
        that was given so far, in the order in which they were given.

        Args:
            masks: of objects that begin on this frame, N x H x W bool at the frame's own size, none
                of them empty; for methods that take given masks. A video without supports needs
                some on its first frame, and more may come on any other.
            sizes: see `Method.encode`.

        Raises:
            ValueError: nothing was given yet, or masks where they are not taken.
        """
