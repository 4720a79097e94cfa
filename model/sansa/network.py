"""SANSA: SAM 2 with adapters in its encoder, and references as the first frames of a video.

Source: SANSA (arXiv 2505.21795), by the numbers of its released program.
Shapes: B batch, K shots, N objects, C channels, H and W the side of images, S side of the
embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import UsageError
from model.losses import mask_loss
from model.method import Method
from model.method_data import LabelledEpisodes, Prediction
from model.method_options import LossOptions
from model.presence import PresenceScale, mean_inside, presence_signals
from model.sam.memory_bank import MemoryBank
from model.sam.sam2 import ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures
from model.sam.video_wiring import STREAMING, VideoWiring
from model.sansa.features import EncodedImages, Support
from model.sansa.prompts import NO_POINT, alike, prompt_points
from model.sansa.training import MemoryDropout
from model.sansa.video import SansaVideo


class Sansa(Method):
    """Everything of SAM 2 is frozen; the adapters in its encoder learn."""

    name = "sansa"
    prompt_kinds = ("mask", "point", "scribble", "box")
    box_rule = "largest"
    frozen_parts = ("segmenter",)
    encoder_learns = True

    def __init__(
        self, segmenter: Sam2, image_size: int = 640, most_points: int | None = None
    ) -> None:
        """Put the parts together.

        Args:
            segmenter: SAM 2 without object scores; its trunk's adapters learn, if it has any.
            image_size: H and W.
            most_points: of the points of a reference (of a scribble every pixel is one) take so
                many; None: all.
        """
        super().__init__()
        self.segmenter, self.image_size, self.most_points = segmenter, image_size, most_points
        self.dropout = MemoryDropout()
        for name, parameter in segmenter.named_parameters():
            parameter.requires_grad_(".adapter." in name)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Sansa":
        """What is frozen stays in evaluation mode; the dropout of its memory is drawn apart."""
        super().train(mode)
        self.segmenter.eval()
        return self

    @property
    def has_memory(self) -> bool:
        return True

    @property
    def takes_given_masks(self) -> bool:
        return True

    @property
    def promptable(self) -> Sam2:
        return self.segmenter

    @property
    def knows_drawings_only(self) -> bool:
        return self.segmenter.name == "tiny"

    @property
    def compares_places(self) -> bool:
        return True

    @torch.no_grad()
    def place_features(self, images: Tensor) -> Tensor:
        """The adapted encoder's embedding."""
        return self.encode(images).sam.embedding

    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> EncodedImages:
        """Take in images, B x 3 x H x W; while it trains, gradients reach the adapters."""
        side = self.segmenter.image_size
        large = F.interpolate(
            images, (side, side), mode="bilinear", align_corners=False, antialias=True
        )
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            return EncodedImages(self.segmenter.encode_images(large), images.shape[-2:])

    def encode_support(
        self,
        images: EncodedImages,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> Support:
        """Remember the references, one after the other."""
        self.refuse_empty(masks)
        shots = masks.shape[1]
        memories, prototypes, drawn = [], [], []
        for shot in range(shots):
            features = images.sam[shot::shots]
            shown = [row[shot] for row in kinds] if kinds else ["mask"] * len(masks)
            found, logits = self._take(features, masks[:, shot], shown)
            memories.append(self.segmenter.encode_memory(features, found, binary=False))
            prototypes.append(self._inside(features, found.logits))
            drawn.append(logits)
        return Support(tuple(memories), torch.stack(prototypes, 1), torch.cat(drawn, 1))

    def predict(self, images: EncodedImages, support: Support) -> Prediction:
        """Segment queries as the frames after the references."""
        support = support.expand(len(images.sam.embedding))
        found = self.track(images.sam, support.remembered(self.segmenter), len(support.memories))
        logits, quality = self.enlarge(found.logits, images.size), found.quality.squeeze(1)
        prototypes = support.prototypes[..., None, None]
        embedding = self.segmenter.without_no_memory(images.sam)
        everywhere = torch.ones_like(prototypes[:, :, 0])
        signals = presence_signals(logits, quality, embedding, prototypes, everywhere)
        presence = (self.presence_scale or PresenceScale())(signals)
        presence = presence * (logits > 0).flatten(1).any(1)
        return Prediction(logits, quality, presence, signals)

    def video(
        self,
        supports: Sequence[Support],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> SansaVideo:
        """Begin a video whose first frames are the references.

        Args:
            prompt_every: forget the video itself every so many frames; 0: never.
            wiring: of no effect: the weights know one.

        Raises:
            ValueError: `prompt_every` is negative.
        """
        return SansaVideo(self, supports, prompt_every)

    def training_loss(
        self,
        query: EncodedImages,
        support: EncodedImages,
        episodes: LabelledEpisodes,
        options: LossOptions,
    ) -> dict[str, Tensor]:
        """The loss of what is drawn on all frames, which count as one long picture.

        The first reference is left out where references are marked by their masks alone.

        Raises:
            UsageError: a loss is asked for which it does not have.
        """
        if options.pseudo_weight:
            raise UsageError("--pseudo_weight: SANSA draws no pseudo mask")
        encoded = self.encode_support(support, episodes.support_masks, episodes.support_kinds)
        found = self._track_episodes(query.sam, encoded)
        target = self.enlarge(found.logits, query.size)
        objects, first = episodes.support_masks, 1
        if episodes.support_objects:
            objects, first = torch.stack(list(episodes.support_objects)).to(objects.device), 0
        drawn = self.enlarge(encoded.drawn.flatten(0, 1)[:, None], query.size)
        references = drawn.unflatten(0, objects.shape[:2])[:, first:]
        nowhere = torch.zeros_like(references, dtype=torch.bool)
        loss = mask_loss(
            torch.cat([references, target[:, None]], dim=1),
            torch.cat([objects[:, first:], episodes.query_mask[:, None]], dim=1),
            torch.cat([nowhere, episodes.query_ignore[:, None]], dim=1),
            options.loss,
        )
        return {"mask": loss.mean()}

    def _track_episodes(self, features: SegmenterFeatures, support: Support) -> ObjectMask:
        """`track` queries; where dropout is active, one by one."""
        count, shots = len(features.embedding), len(support.memories)
        if not self.dropout.active:
            return self.track(features, support.remembered(self.segmenter), shots)
        memory_attention = self.segmenter.network.memory_attention
        found = []
        for row in range(count):
            bank = support.row(row).remembered(self.segmenter)
            with self.dropout.of_episode(row, memory_attention, features.embedding.device):
                found.append(self.track(features[row : row + 1], bank, shots))
        return ObjectMask(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def track(self, features: SegmenterFeatures, bank: MemoryBank, index: int) -> ObjectMask:
        """Segment a frame from memory alone: the best of three masks.

        Args:
            index: number of the frame, references included.
        """
        conditioned = self.segmenter.attend_memory(features, bank, index, None)
        tokens = self.segmenter.padding_tokens(len(features.embedding))
        return self.segmenter.decode_object(conditioned, tokens, fallback=False, best_of_three=True)

    def enlarge(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits, B x 1 x 4S x 4S, at the images' size, B x H x W."""
        large = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
        return large.squeeze(1)

    def take_masks(self, features: SegmenterFeatures, masks: Tensor) -> tuple[ObjectMask, Tensor]:
        """Take masks, B x H x W, for what the decoder found, and let it draw what they mean.

        Returns:
            What is remembered: the masks at low resolution with the pointer of what was drawn; and
            what was drawn, B x 1 x 4S x 4S.
        """
        segmenter, large = self.segmenter, self.touched(masks)
        bare = SegmenterFeatures(segmenter.without_no_memory(features), features.levels)
        drawn = segmenter.decode_object(
            bare,
            segmenter.padding_tokens(len(masks)),
            fallback=False,
            dense=segmenter.embed_masks(segmenter.network.mask_downsample(large)),
        )
        low = _resize(20 * large - 10, 4 * segmenter.embedding_size)
        return drawn._replace(logits=low), drawn.logits

    def touched(self, masks: Tensor) -> Tensor:
        """Masks, B x H x W, as SAM 2 takes them: 1 in every pixel that a mask touches."""
        return (_resize(masks.float().unsqueeze(1), self.segmenter.image_size) > 0).float()

    def take_points(
        self, features: SegmenterFeatures, points: Tensor, labels: Tensor
    ) -> ObjectMask:
        """Decode points, B x N x 2 in pixels of SAM 2's input, with their labels, B x N."""
        tokens = self.segmenter.point_tokens(
            F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=NO_POINT)
        )
        return self.segmenter.decode_object(features, tokens, fallback=False)

    def _take(
        self, features: SegmenterFeatures, marks: Tensor, kinds: Sequence[str]
    ) -> tuple[ObjectMask, Tensor]:
        """What references show, B of them, and what the decoder drew, B x 1 x 4S x 4S."""
        prompts = [
            None if kind == "mask" else prompt_points(mark, kind, self.most_points)
            for mark, kind in zip(marks, kinds, strict=True)
        ]
        scale = self.segmenter.image_size / marks.shape[-1]
        groups = alike([0 if prompt is None else len(prompt[1]) for prompt in prompts])
        found: list[ObjectMask] = []
        drawn: list[Tensor] = []
        for length, rows in groups.items():
            some = features if len(groups) == 1 else features[torch.tensor(rows)]
            if not length:
                remembered, logits = self.take_masks(some, marks[rows])
            else:
                points, labels = zip(*(prompts[row] for row in rows), strict=True)
                places = torch.stack(points) * scale
                remembered = self.take_points(some, places, torch.stack(labels))
                logits = remembered.logits
            found.append(remembered)
            drawn.append(logits)
        order = [row for rows in groups.values() for row in rows]
        back = torch.tensor(order, device=marks.device).argsort()
        joined = ObjectMask(*(torch.cat(parts)[back] for parts in zip(*found, strict=True)))
        return joined, torch.cat(drawn)[back]

    def _inside(self, features: SegmenterFeatures, logits: Tensor) -> Tensor:
        """Mean of the embedding inside of masks, B x C."""
        embedding = self.segmenter.without_no_memory(features)
        return mean_inside(embedding.float(), (logits > 0).float())


def _resize(maps: Tensor, side: int) -> Tensor:
    """Squares of another side, B x 1 x side x side, with a filter as wide as the reduction."""
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False, antialias=True)
