"""The interface of a method of in-context segmentation; rooms above know methods by it alone.

The way of the data: images -> `encode` (each once) -> `encode_support` (each concept once) ->
`predict` (any number of queries) -> masks.
Shapes: B batch, K shots, H and W the side of the images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor, nn

from common.cli import option
from common.errors import UsageError
from model.backbones.backbone import Backbone
from model.losses import LOSSES
from model.presence import PresenceScale
from model.sam.segmenter import Segmenter
from model.sam.video_predictor import STREAMING, FramePrediction, VideoWiring


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
    query_ignore: Tensor
    """B x H x W, bool: pixels that do not count."""


@dataclass(frozen=True)
class LossOptions:
    """What a training minimises."""

    loss: str = option(
        "paper", "losses on masks: the paper's, or the released program's Dice", LOSSES
    )
    pseudo_weight: float = option(
        0.0, "weight of a loss on the pseudo mask as well; the paper has none"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = self.pseudo_weight < 0
        return ["--pseudo_weight cannot be negative"] if wrong else []


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


class VideoState(Protocol):
    """A running video: all that is remembered of it."""

    def step(self, images: Tensor) -> FramePrediction:
        """Segment the next frame, 1 x 3 x H x W."""


class Method(nn.Module):
    """A method; what it cannot do is a property that says so."""

    name: str
    """Its name in `model.registry`."""
    image_size: int
    """H = W: the side to which images are squashed."""
    frozen_parts: tuple[str, ...] = ()
    """Names of the submodules whose weights come from official files and never change."""

    def __init__(self) -> None:
        super().__init__()
        self.presence_scale: PresenceScale | None = None
        """The checkpoint's calibration; None: there is none."""

    @property
    def has_memory(self) -> bool:
        """Whether `video` works."""
        return False

    @property
    def video_wiring(self) -> VideoWiring:
        """How SAM 2 propagates its masks, unless another way is asked for."""
        return STREAMING

    @property
    def image_features(self) -> Backbone | None:
        """The frozen network on whose features training-free baselines work; None: it has none."""
        return None

    @property
    def promptable(self) -> Segmenter | None:
        """The SAM that draws masks from clicks and boxes; None: it has none."""
        return None

    @property
    def most_shots(self) -> int | None:
        """How many references of one concept it takes; None: any number."""
        return None

    def refuse_shots(self, shots: int) -> None:
        """Check before work begins.

        Raises:
            UsageError: the method does not take so many references.
        """
        if self.most_shots is not None and shots > self.most_shots:
            raise UsageError(f"this model takes {self.most_shots} reference at most, not {shots}")

    def encode(self, images: Tensor, support_only: bool = False) -> Features:
        """Take in normalised images, B x 3 x H x W, through the frozen networks.

        Args:
            support_only: leave out what only queries need.
        """
        raise NotImplementedError

    def encode_support(self, images: Features, masks: Tensor) -> Support:
        """Take in labelled pictures.

        Args:
            images: B*K encoded images.
            masks: exactly 0 or 1, B x K x H x W.

        Raises:
            ValueError: a mask is empty.
        """
        raise NotImplementedError

    def predict(self, images: Features, support: Support) -> Prediction:
        """Segment B encoded query images by what the support showed."""
        raise NotImplementedError

    def video(
        self,
        supports: Sequence[Support],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> VideoState:
        """Begin a video in which concepts, each of one support (B = 1), are looked for.

        Args:
            prompt_every: prompt again every so many frames; 0: only on the first.
            length: frames of the video, where it is known.
            wiring: how SAM 2 propagates masks.
        """
        raise NotImplementedError

    def training_loss(
        self,
        query: Features,
        support: Features,
        episodes: LabelledEpisodes,
        options: LossOptions,
    ) -> dict[str, Tensor]:
        """Named losses of a batch, each a scalar; their sum is minimised."""
        raise NotImplementedError

    def forward(self, *batch: Any) -> dict[str, Tensor]:
        """`training_loss`: what DistributedDataParallel calls."""
        return self.training_loss(*batch)
