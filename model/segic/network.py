"""SegIC: correspondence with marked pictures instructs a mask decoder.

Source: SegIC: Unleashing the Emergent Correspondence for In-Context Segmentation (arXiv 2311.14671,
ECCV 2024), by the numbers of its released program.
Shapes: B batch, K shots, N entities, C channels of the backbone, S side of its map, M side of the
square.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.backbones.backbone import Backbone
from model.layers import EpisodeSeeds
from model.method import Method
from model.method_data import Prediction
from model.presence import PresenceScale, mean_sureness, presence_signals
from model.sam.sam2 import ABSENT_LOGIT
from model.sam.segmenter import NOT_A_POINT, POINT_NEGATIVE, POINT_POSITIVE, DecodedMasks
from model.sam.video_wiring import STREAMING, VideoWiring
from model.segic.config import SegicLossOptions
from model.segic.decoder import SegicDecoder
from model.segic.features import Entities, SegicFeatures, SegicSupport
from model.segic.geometry import SegicGeometry
from model.segic.hints import Correspondence, Hints, highest_places, reference_direction
from model.segic.text import Sentences, sentence_about
from model.segic.training import DRAWS, LabelledPairs, draw_pairs, loss_terms, pair_losses
from model.segic.video import SegicVideo

_TOGETHER = 16
"""Entities that are decoded at a time: each of them has a map of M x M."""


class Segic(Method):
    """The backbone and the text encoder are frozen; the decoder learns."""

    name = "segic"
    frozen_parts = ("backbone",)
    learns_in_turns = True  # the head that estimates quality never, types of tokens sometimes
    drawn_buffers = ("decoder.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",)

    def __init__(
        self,
        backbone: Backbone,
        decoder: SegicDecoder,
        sentences: Sentences,
        text: str = "name",
        correspondence: str = "mean_feature",
        small_masks_vanish: bool = False,
        negative_clicks: bool = False,
        padded_prototype: bool = False,
    ) -> None:
        """Put the parts together.

        Args:
            text: what is said of concepts in pictures, one of `model.segic.text.TEXTS`.
            correspondence: one of `model.segic.hints.CORRESPONDENCES`.
            small_masks_vanish: let a mask that lies between what is sampled say nothing, as the
                released program does; else every cell that it touches counts.
            negative_clicks, padded_prototype: see `model.segic.video.Instructed`.
        """
        super().__init__()
        self.seeds = EpisodeSeeds()
        self.backbone, self.decoder, self.sentences = backbone, decoder, sentences
        self.text, self.correspondence = text, correspondence
        self.small_masks_vanish = small_masks_vanish
        self.negative_clicks, self.padded_prototype = negative_clicks, padded_prototype
        self.image_size = decoder.image_size

    @property
    def geometry(self) -> SegicGeometry:
        return SegicGeometry(self.image_size, padded=True)

    @property
    def image_features(self) -> Backbone:
        return self.backbone

    @property
    def knows_drawings_only(self) -> bool:
        return self.backbone.name == "tiny"

    @property
    def has_memory(self) -> bool:
        return True

    @property
    def takes_given_masks(self) -> bool:
        return True

    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> SegicFeatures:
        """Take in images, B x 3 x M x M; a reference is encoded as a query is."""
        if sizes is None:
            sizes = torch.full((len(images), 2), self.image_size)
        trunk = self.backbone.extract(images).trunk
        return SegicFeatures(self.backbone.high(trunk, None).float(), sizes.cpu())

    def encode_support(
        self,
        images: SegicFeatures,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> SegicSupport:
        """Keep the mean features of the objects and the sentences about them."""
        self.refuse_empty(masks)
        batch = len(masks)
        sentences = [sentence_about(name, self.text) for name in names or [None] * batch]
        return self.support(images.cells.unflatten(0, (batch, -1)), masks, sentences)

    def support(self, cells: Tensor, masks: Tensor, sentences: Sequence[str]) -> SegicSupport:
        """What references say of B concepts.

        Args:
            cells: their features, B x K x C x S x S.
            masks: in [0, 1], B x K x M x M; an empty one says nothing.
            sentences: about each concept.
        """
        keep_small = not self.small_masks_vanish
        prototypes, directions = reference_direction(cells, masks, self.correspondence, keep_small)
        return SegicSupport(prototypes, directions, self.meta_tokens(sentences))

    def meta_tokens(self, sentences: Sequence[str]) -> Tensor:
        """What the decoder reads in the place of sentences, N x D."""
        return self.decoder.meta_tokens(self.sentences(sentences))

    def training_loss(
        self,
        query: SegicFeatures,
        support: SegicFeatures,
        episodes: LabelledPairs,
        options: SegicLossOptions,
    ) -> dict[str, Tensor]:
        sequences = self.seeds.sequences(len(episodes.query), DRAWS)
        draws = draw_pairs(sequences, episodes, options.points)
        return pair_losses(self, query, support, episodes, options, draws)

    def loss_terms(self, batch: LabelledPairs) -> dict[str, float]:
        return loss_terms(batch)

    def predict(self, images: SegicFeatures, support: SegicSupport) -> Prediction:
        return self.predict_together(images, [support])[0]

    def predict_together(
        self, images: SegicFeatures, supports: Sequence[SegicSupport]
    ) -> list[Prediction]:
        """Segment several concepts, each of which sees the others as what it is not."""
        supports = [support.expand(len(images.cells)) for support in supports]
        low = self.decode(images.cells, Entities.of(supports)).logits[:, 0]
        return [
            self.prediction(images, support, low[row :: len(supports)])
            for row, support in enumerate(supports)
        ]

    @property
    def can_silence(self) -> bool:
        return True

    def silence(self, support: SegicSupport) -> SegicSupport:
        return support.silenced()

    def decode(
        self, cells: Tensor, entities: Entities, negative_clicks: bool = False
    ) -> DecodedMasks:
        """What the decoder says of N entities in each of B images, B*N rows, image by image.

        Args:
            cells: features of the images, B x C x S x S.
            negative_clicks: tell each entity where the others are; all N are then decoded at once.
        """
        correspondence = Correspondence(cells, entities.directions, self.image_size)
        embedding = self.decoder.encode_images(cells)
        rows = torch.arange(len(cells) * len(entities), device=cells.device)
        found = []
        for some in rows.split(len(entities) if negative_clicks else _TOGETHER):
            hints = self.hints(correspondence, entities, some, negative_clicks)
            shown = embedding[some // len(entities)]
            found.append(self.decoder.decode_hints(shown, hints))
        return DecodedMasks(*(torch.cat(parts) for parts in list(zip(*found, strict=True))[:3]))

    def hints(
        self,
        correspondence: Correspondence,
        entities: Entities,
        rows: Tensor,
        negative_clicks: bool = False,
    ) -> Hints:
        """What the decoder is told.

        Args:
            rows: of B*N; with negative clicks all those of one image.
        """
        image, entity = rows // len(entities), rows % len(entities)
        maps = correspondence.maps(rows)
        points, labels = highest_places(maps)[:, None], torch.ones_like(entity)[:, None]
        if negative_clicks:
            points = points.transpose(0, 1).expand(len(rows), -1, -1)
            own = entity[:, None] == entity
            labels = torch.where(own, POINT_POSITIVE, POINT_NEGATIVE)
        return Hints(
            maps,
            F.pad(points, (0, 0, 0, 1)),
            F.pad(labels, (0, 1), value=NOT_A_POINT),
            entities.meta[image, entity],
            entities.prototypes[image],
            entities.owners == entity[:, None],
        )

    def enlarge(self, low: Tensor) -> Tensor:
        """Logits of the decoder, N x 4S x 4S, in the square: N x M x M float32."""
        side = (self.image_size, self.image_size)
        large = F.interpolate(low.float()[:, None], side, mode="bilinear", align_corners=False)
        return large.squeeze(1)

    def prediction(self, images: SegicFeatures, support: SegicSupport, low: Tensor) -> Prediction:
        """Of one concept in B images, by logits of the decoder, B x 4S x 4S."""
        padding = self.geometry.paddings(images.sizes).to(low.device)
        raw = self.enlarge(low)
        logits = raw.masked_fill(padding, ABSENT_LOGIT)
        quality = mean_sureness(raw, ~padding)
        shown = support.prototypes[..., None, None]
        everywhere = torch.ones_like(shown[:, :, 0])
        signals = presence_signals(logits, quality, images.cells, shown, everywhere)
        presence = (self.presence_scale or PresenceScale())(signals)
        presence = presence * (logits > 0).flatten(1).any(1)
        return Prediction(logits, quality, presence, signals)

    def video(
        self,
        supports: Sequence[SegicSupport],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> SegicVideo:
        """Begin a video; SAM 2 has no part in it, so that `length` and `wiring` change nothing.

        Raises:
            ValueError: `prompt_every` is negative.
        """
        return SegicVideo(self, supports, prompt_every)
