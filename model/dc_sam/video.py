"""DC-SAM on videos: the first frame as an image, then SAM 2's memory carries its mask on.

Source: DC-SAM section 4.4.
Shapes: B objects (one class of one video each), T frames, K shots, C channels, H and W frame height
and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.backbones.backbone import Backbone
from model.dc_sam.network import Concept, DcSam, EncodedImages, Prediction
from model.dc_sam.prompt_generator import PromptGenerator
from model.sam.memory_bank import MemoryBank
from model.sam.sam2 import ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures


@dataclass(frozen=True)
class VideoWiring:
    """Where DC-SAM's release and the sam2 package follow a video differently."""

    align_corners: bool = True
    """How logits are resized to the frames' size: as in the image model, or (False) as SAM 2's."""
    padding_tokens: bool = True
    """Frames without a prompt are decoded with SAM 2's "not a point" tokens, or with none."""
    time_by_length: bool = False
    """Time object pointers by the length of the video (where it has fewer than 16 frames), so that
    a frame's mask depends on how many frames follow it."""
    best_of_three: bool = False
    """On frames without a prompt take the best of three proposals instead of the single mask."""


STREAMING = VideoWiring()
"""DC-SAM here: no mask depends on a later frame."""
RELEASE_VIDEO = VideoWiring(align_corners=False, padding_tokens=False, time_by_length=True)
"""DC-SAM's release."""
PACKAGE_VIDEO = VideoWiring(align_corners=False, time_by_length=True, best_of_three=True)
"""SAM 2's own video predictor, for masks that are given on the first frame."""


PARTS = ("decoder", "memory")
"""What of SAM 2 can learn beside the prompt generator (table 7)."""
_HEADS = ("pred_obj_score_head.", "iou_prediction_head.")
_LEVELS = ("conv_s0.", "conv_s1.")


@dataclass(frozen=True)
class EncodedFrame:
    """A frame of one video (B = 1), or one frame of each of B videos, after SAM 2's encoder."""

    images: Tensor
    """Normalised, B x 3 x H x W."""
    features: SegmenterFeatures


@dataclass(frozen=True)
class FramePrediction:
    """The objects in one frame."""

    logits: Tensor
    """B x H x W, float32; where the object is absent they mean nothing."""
    quality: Tensor
    """B: the decoder's own estimate of each mask's IoU."""
    object_logit: Tensor
    """B: SAM 2's object score, above 0 where the object is in the frame."""
    pseudo_logits: Tensor | None = None
    """B x H x W: on prompted frames, the mask which the mediate prompts drew."""

    @property
    def masks(self) -> Tensor:
        """B x H x W, bool; empty where the object is absent."""
        return (self.logits > 0) & (self.object_logit > 0).view(-1, 1, 1)


class DcSamVideo(DcSam):
    """The video model; its weights have the image model's names, and nothing is added to them.

    It holds no state of any video: see `RunningVideo`.
    """

    def __init__(
        self,
        backbone: Backbone,
        segmenter: Sam2,
        generator: PromptGenerator,
        position: str = "sine",
        wiring: VideoWiring = STREAMING,
    ) -> None:
        """Put the parts together; the arguments are `DcSam`'s and the wiring."""
        super().__init__(backbone, segmenter, generator, position)
        self.wiring, self.align_corners = wiring, wiring.align_corners

    @classmethod
    def from_image_model(cls, model: DcSam, wiring: VideoWiring = STREAMING) -> "DcSamVideo":
        """The video model with the parts of an image model, which it shares.

        Raises:
            ValueError: the image model uses the first SAM, which has no memory.
        """
        if not isinstance(model.segmenter, Sam2):
            raise ValueError(f"videos need SAM 2, not {model.segmenter.name}")
        video = cls(model.backbone, model.segmenter, model.generator, model.position, wiring)
        return video.train(model.training)

    def unfreeze(self, parts: Sequence[str], levels: bool = True) -> None:
        """Let parts of SAM 2 learn too; they stay in evaluation mode, without dropout.

        Args:
            parts: of `PARTS`. The decoder learns without its estimates of presence and of IoU,
                which the loss does not reach.
            levels: with the decoder, also the convolutions that bring SAM 2's finer feature levels
                to it; False for training on images.

        Raises:
            ValueError: there is no such part.
        """
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise ValueError(f"no part {unknown[0]!r} of SAM 2 can learn: choose of {PARTS}")
        network = self.segmenter.network
        if "memory" in parts:
            network.memory_attention.requires_grad_(True)
            network.memory_encoder.requires_grad_(True)
        if "decoder" in parts:
            frozen = _HEADS if levels else _HEADS + _LEVELS
            for name, parameter in network.sam_mask_decoder.named_parameters():
                parameter.requires_grad_(not name.startswith(frozen))

    def encode_frame(self, images: Tensor) -> EncodedFrame:
        """Take in a frame, B x 3 x H x W; what only prompting needs is computed when it prompts."""
        return EncodedFrame(images, self.segmenter.encode(images))

    def ask(
        self, images: EncodedImages, concept: Concept, kept: Tensor | None = None
    ) -> tuple[ObjectMask, Tensor]:
        """Find a concept in frames as in images; also the pseudo mask's logits, B x H x W."""
        prompts, pseudo_logits = self.prompts(images, concept, kept)
        found = self.segmenter.decode_object(
            images.features, self.tokens(prompts), fallback=not self.training
        )
        return found, pseudo_logits

    def follow(
        self, features: SegmenterFeatures, bank: MemoryBank, index: int, length: int | None
    ) -> ObjectMask:
        """Find objects in frame number `index`, of one video or B, by what is remembered."""
        conditioned = self.segmenter.recall(
            features, bank, index, length if self.wiring.time_by_length else None
        )
        tokens = self.segmenter.padding_tokens(len(conditioned.embedding))
        return self.segmenter.decode_object(
            conditioned,
            tokens if self.wiring.padding_tokens else tokens[:, :0],
            fallback=not self.training,
            best_of_three=self.wiring.best_of_three,
        )

    def forward(
        self,
        frames: Tensor | EncodedImages,
        support: Tensor | EncodedImages,
        support_masks: Tensor,
        kept: Tensor | None = None,
    ) -> list[FramePrediction] | list[Prediction]:
        """Segment B short videos, each with its own support; gradients flow through the memory.

        Args:
            frames: normalised, B x T x 3 x H x W; all are encoded at once. Or B pictures encoded
                before, which nothing follows (T = 1).
            support: B x K x 3 x H x W, or B*K images encoded before.
            support_masks: exactly 0 or 1, B x K x H x W.
            kept: in training, the channels which the dropout keeps: B x (1 + K) x C, the first
                frame's first.

        Returns:
            T predictions.
        """
        if isinstance(frames, EncodedImages):
            return [super().forward(frames, support, support_masks, kept)]
        first_kept, support_kept = (None, None) if kept is None else (kept[:, 0], kept[:, 1:])
        concept = self.learn(support, support_masks, support_kept)
        batch, length = frames.shape[:2]
        video = RunningVideo(self, [concept], length=length)
        encoded = self.encode_frame(frames.transpose(0, 1).flatten(0, 1))  # T B
        found = []
        for start in range(0, length * batch, batch):
            rows = slice(start, start + batch)
            frame = EncodedFrame(encoded.images[rows], encoded.features[rows])
            found.append(video.propagate(frame) if start else video.prompt(frame, first_kept))
        return found


class RunningVideo:
    """Segments a video frame by frame: holds all that is remembered, which does not grow with it.

    Frames go through `encode` and then through `prompt`, `prompt_with_masks` or `propagate`; `step`
    does what section 4.4 does. Several running videos can be given the same encoded frame.
    """

    def __init__(
        self,
        model: DcSamVideo,
        concepts: Sequence[Concept] = (),
        prompt_every: int = 0,
        length: int | None = None,
    ) -> None:
        """Begin before the first frame.

        Args:
            concepts: what is looked for: several, each of one support, in one video; or one, of a
                support for each of B videos that run side by side. None where masks are given.
            prompt_every: ask the prompt generator again every so many frames; 0: only on the first.
            length: frames of the video, where it is known.

        Raises:
            ValueError: the model's wiring needs the length, or `prompt_every` is negative.
        """
        if model.wiring.time_by_length and length is None:
            raise ValueError("this wiring needs to know how many frames the video has")
        if prompt_every < 0:
            raise ValueError(f"prompt_every is 0 or more frames, not {prompt_every}")
        self.model, self.concepts = model, list(concepts)
        self.prompt_every, self.length = prompt_every, length
        self.index = 0
        """Number of the next frame."""
        self.bank = model.segmenter.new_memory_bank()

    def encode(self, images: Tensor) -> EncodedFrame:
        """Take in the next frame, 1 x 3 x H x W (of B videos: B x 3 x H x W)."""
        return self.model.encode_frame(images)

    @torch.no_grad()
    def step(self, images: Tensor) -> FramePrediction:
        """Segment the next frame: prompt on the first one and where asked for, else propagate."""
        frame = self.encode(images)
        again = self.prompt_every and self.index % self.prompt_every == 0
        return self.prompt(frame) if self.index == 0 or again else self.propagate(frame)

    def prompt(self, frame: EncodedFrame, kept: Tensor | None = None) -> FramePrediction:
        """Find the concepts in the next frame as in an image, and remember them from there.

        Args:
            kept: in training, the channels which the dropout keeps, B x C.

        Raises:
            ValueError: there is no concept.
        """
        if not self.concepts:
            raise ValueError("nothing to look for: this video was begun without a concept")
        images = self.model.describe(frame.images, frame.features)
        asked = [self.model.ask(images, concept, kept) for concept in self.concepts]
        found = ObjectMask(
            *(torch.cat(parts) for parts in zip(*(o for o, _ in asked), strict=True))
        )
        pseudo_logits = torch.cat([logits for _, logits in asked])
        binary = not self.model.training
        return self._remember(frame, found, prompted=True, binary=binary, pseudo=pseudo_logits)

    def prompt_with_masks(self, frame: EncodedFrame, masks: Tensor) -> FramePrediction:
        """Take given masks, B x H x W of 0 and 1, for those of the next frame and remember them."""
        segmenter = self.model.segmenter
        size = (segmenter.image_size, segmenter.image_size)
        large = F.interpolate(masks.float().unsqueeze(1), size, mode="bilinear", antialias=True)
        features = frame.features.expand(len(masks))
        found = segmenter.take_mask(features, (large >= 0.5).float())
        return self._remember(frame, found, prompted=True, binary=False)

    def propagate(self, frame: EncodedFrame) -> FramePrediction:
        """Find the objects in the next frame by what is remembered.

        Raises:
            ValueError: no frame was prompted before.
        """
        if not self.bank.prompted:
            raise ValueError("nothing is remembered: prompt on the first frame")
        features = frame.features.expand(self.bank.batch)
        found = self.model.follow(features, self.bank, self.index, self.length)
        return self._remember(frame, found, prompted=False, binary=False)

    def _remember(
        self,
        frame: EncodedFrame,
        found: ObjectMask,
        prompted: bool,
        binary: bool,
        pseudo: Tensor | None = None,
    ) -> FramePrediction:
        features = frame.features.expand(len(found.pointer))
        memory = self.model.segmenter.remember(features, found, binary)
        if not self.model.training:
            memory = memory.rounded()
        self.bank.add(self.index, memory, prompted)
        self.index += 1
        return FramePrediction(
            self.model.enlarge(found.logits, frame.images.shape[-2:]),
            found.quality.squeeze(1),
            found.object_logit.squeeze(1),
            pseudo,
        )
