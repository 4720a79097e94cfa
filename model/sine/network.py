"""SINE behind the interface of methods: semantics, instances and identities from one example.

    pictures -> frozen DINOv2 -> neck -> references: sums inside of their masks
                                      -> target: M-Former with tokens of the references
Shapes: B batch, K shots, C channels, M concepts, S the canvas' side, s tokens per side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from common.images import Size
from model.backbones.backbone import Backbone
from model.instances import MOST, Instances
from model.layers import EpisodeSeeds
from model.method import Method
from model.method_data import Prediction
from model.presence import PresenceScale
from model.sam.video_wiring import STREAMING, VideoWiring
from model.sine.canvas import Canvas
from model.sine.config import SineLossOptions
from model.sine.features import SineFeatures, SineSupport
from model.sine.former import Answer, MFormer
from model.sine.references import MaskedSums, pool
from model.sine.results import score_instances, semantic_scores
from model.sine.training import Pairs, pair_losses, pair_terms, points_of
from model.sine.video import SineVideo, VideoRules

SIGNALS = ("highest_score", "identity_presence", "class_probability")
"""The highest score of a pixel, the surest identity token's presence, and the surest query's
probability of the class."""
PRESENCE = PresenceScale(weights=(10.0, 0.0, 0.0), bias=-7.0)
"""One half where the highest score is the published threshold, from which on there is a mask."""
SHARPNESS = 10.0
"""Logits are so many times what scores exceed the threshold by."""


@dataclass(frozen=True)
class Rules:
    """How answers become masks; the defaults are ours, see docs/methods/sine.md."""

    threshold: float = 0.7
    """Pixels with a higher score belong to a class."""
    plain_pooling: bool = False
    """Thin masks of references may vanish."""
    inclusive_boxes: bool = False
    """Boxes end with the index of their last pixel."""


OURS, OURS_IN_VIDEOS = Rules(), VideoRules()


class Sine(Method):
    """DINOv2 is frozen; the neck and M-Former learn."""

    name = "sine"
    frozen_parts = ("backbone",)
    encoder_learns = True

    def __init__(
        self,
        backbone: Backbone,
        neck: nn.Module,
        former: MFormer,
        canvas: Canvas,
        rules: Rules = OURS,
        video_rules: VideoRules = OURS_IN_VIDEOS,
        video_side: int | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            canvas: on which pictures come.
            video_side: of the canvas on which frames come where objects are given by masks; None:
                that of pictures.
        """
        super().__init__()
        self.backbone, self.neck, self.former = backbone, neck, former
        self.draws = EpisodeSeeds()
        self.canvas, self.rules, self.video_rules = canvas, rules, video_rules
        self.plain_pooling = self.rules.plain_pooling
        self.tracking_canvas = replace(canvas, side=video_side or canvas.side, fit="video")
        self.image_size = canvas.side
        self.train(self.training)

    @property
    def geometry(self) -> Canvas:
        return self.canvas

    @property
    def scores_instances(self) -> bool:
        return True

    @property
    def instance_geometry(self) -> Canvas:
        """Instances are looked for in whole pictures."""
        return replace(self.canvas, fit="whole")

    @property
    def tracking_geometry(self) -> Canvas:
        """Frames come by half of their size, as published."""
        return self.tracking_canvas

    @property
    def has_memory(self) -> bool:
        return True

    @property
    def takes_given_masks(self) -> bool:
        return True

    @property
    def image_features(self) -> Backbone:
        return self.backbone

    @property
    def knows_drawings_only(self) -> bool:
        return self.backbone.name == "tiny"

    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> SineFeatures:
        """Take in canvases, B x 3 x S x S; while it trains, gradients reach the neck."""
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            return SineFeatures(self.neck(self.dense(images)))

    def dense(self, images: Tensor) -> Tensor:
        """The frozen features of canvases: DINOv2's patch tokens before its last norm."""
        return self.backbone.extract(images).trunk

    def encode_support(
        self,
        images: SineFeatures,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> SineSupport:
        self.refuse_empty(masks)
        shots = masks.shape[1]
        sums = pool(images.maps, masks.flatten(0, 1), self.rules.plain_pooling)
        return SineSupport(
            MaskedSums(sums.total.unflatten(0, (-1, shots)), sums.count.unflatten(0, (-1, shots)))
        )

    def predict(self, images: SineFeatures, support: SineSupport) -> Prediction:
        return self.predict_together(images, [support])[0]

    @torch.no_grad()
    def predict_together(
        self, images: SineFeatures, supports: Sequence[SineSupport]
    ) -> list[Prediction]:
        """Segment queries by concepts that compete for M-Former's instance queries."""
        supports = [support.expand(len(images.maps)) for support in supports]
        answer = self.ask(images, supports)
        scores = torch.stack(
            [
                semantic_scores(probabilities, masks, self.image_size)
                for probabilities, masks in zip(
                    answer.probabilities, answer.instance_masks, strict=True
                )
            ]
        )  # B M S S
        shots = [support.shots.count.shape[1] for support in supports]
        presence = answer.presence.split(shots, dim=1)
        return [
            self._prediction(scores[:, number], presence[number], answer.probabilities[..., number])
            for number in range(len(supports))
        ]

    def ask(
        self, images: SineFeatures, supports: Sequence[SineSupport], identities: bool = True
    ) -> Answer:
        """What M-Former says of queries.

        Args:
            supports: of M concepts, each for all queries.
            identities: ask for the references' very objects too: a token for each shot.
        """
        classes = torch.cat([support.classes for support in supports], dim=1)
        known = torch.cat([support.identities for support in supports], dim=1)
        return self.former(images.maps, known if identities else known[:, :0], classes)[-1]

    @torch.no_grad()
    def find_instances(
        self,
        images: SineFeatures,
        supports: Sequence[SineSupport],
        sizes: Sequence[Size],
        most: int = MOST,
    ) -> list[Instances]:
        """Those of all concepts at once; identity tokens take no part, as published."""
        supports = [support.expand(len(images.maps)) for support in supports]
        answer = self.ask(images, supports, identities=False)
        parts = zip(answer.probabilities, answer.instance_masks, sizes, strict=True)
        return [
            score_instances(
                *(probabilities, masks, self.instance_geometry, size),
                *(most, self.rules.inclusive_boxes),
            )
            for probabilities, masks, size in parts
        ]

    def video(
        self,
        supports: Sequence[SineSupport],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> SineVideo:
        """Begin a video; SAM 2 has no part in it, so that `length` and `wiring` change nothing.

        Raises:
            ValueError: `prompt_every` is negative.
        """
        canvas = self.canvas if supports else self.tracking_canvas
        return SineVideo(self, canvas, supports, self.video_rules, prompt_every)

    def training_loss(
        self, query: SineFeatures, support: SineFeatures, episodes: Pairs, options: SineLossOptions
    ) -> dict[str, Tensor]:
        """Losses of pairs of views, see `model.sine.training`."""
        points = points_of(self.draws, len(query.maps), options.points)
        plain = self.rules.plain_pooling
        return pair_losses(self.former, query.maps, support.maps, episodes, points, plain)

    def loss_terms(self, batch: Pairs) -> Mapping[str, float]:
        return pair_terms(self.former, batch)

    def _prediction(self, scores: Tensor, presence: Tensor, probabilities: Tensor) -> Prediction:
        """Of one concept.

        Args:
            scores: B x S x S.
            presence: of its identity tokens, B x K.
            probabilities: of the queries, B x Q.
        """
        inside = scores > self.rules.threshold
        area = inside.flatten(1).sum(1).clamp_min(1)
        quality = (scores * inside).flatten(1).sum(1) / area
        signals = torch.stack(
            [scores.flatten(1).amax(1), presence.amax(1), probabilities.amax(1)], dim=1
        )
        return Prediction(
            SHARPNESS * (scores - self.rules.threshold),
            quality.clamp(0, 1),
            (self.presence_scale or PRESENCE)(signals),
            signals,
        )
