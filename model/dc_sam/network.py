"""DC-SAM on images: encode once, prompt, decode, refine, decode (algorithm 1).

Shapes: B batch, K shots, N prompts of a branch, C channels, H and W image height and width,
S side of a feature map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.backbones.backbone import Backbone, BackboneFeatures
from model.correspondence import prior_mask
from model.dc_sam.prompt_generator import Positions, PromptGenerator, SupportContext
from model.layers import sine_position
from model.sam.segmenter import POINT_NEGATIVE, POINT_POSITIVE, Segmenter, SegmenterFeatures


@dataclass(frozen=True)
class Concept:
    """Everything DC-SAM takes from support images and masks; it serves any number of queries."""

    contexts: list[SupportContext]
    """One per branch."""
    masks: Tensor
    """The support masks, B x K x H x W."""
    high: list[Tensor]
    """High-level support features of each branch, B x K x channels x S x S."""

    def expand(self, batch: int) -> "Concept":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        if self.masks.shape[0] == batch:
            return self

        def repeat(tensor: Tensor) -> Tensor:
            return tensor.expand(batch, *tensor.shape[1:])

        contexts = [
            SupportContext(repeat(c.prompts), repeat(c.prototype), repeat(c.tokens))
            for c in self.contexts
        ]
        return Concept(contexts, repeat(self.masks), [repeat(high) for high in self.high])


@dataclass(frozen=True)
class EncodedImages:
    """Images after the frozen networks: what any number of concepts is looked for in."""

    features: SegmenterFeatures
    extracted: BackboneFeatures
    high: Tensor
    """High-level features, B x channels x S x S."""
    size: tuple[int, int]
    """H and W."""

    @staticmethod
    def join(parts: Sequence["EncodedImages"]) -> "EncodedImages":
        """One batch of several; all of the same size."""
        middle = [part.extracted.middle for part in parts]
        return EncodedImages(
            SegmenterFeatures(
                torch.cat([part.features.embedding for part in parts]),
                tuple(map(torch.cat, zip(*(part.features.levels for part in parts), strict=True))),
            ),
            BackboneFeatures(
                None if middle[0] is None else torch.cat(middle),
                torch.cat([part.extracted.trunk for part in parts]),
            ),
            torch.cat([part.high for part in parts]),
            parts[0].size,
        )


@dataclass(frozen=True)
class Prediction:
    """A mask for each query image."""

    logits: Tensor
    """B x H x W; above 0 is the object."""
    pseudo_logits: Tensor
    """B x H x W: the mask which the mediate prompts drew (equation 11)."""
    quality: Tensor
    """B: the decoder's own estimate of the mask's IoU."""
    object_logit: Tensor
    """B: above 0 where SAM 2 sees the object (constant for SAM)."""


class DcSam(nn.Module):
    """The image model. Backbone and segmenter are frozen; the prompt generator learns."""

    align_corners = True
    """How masks are resized to the images' size."""

    def __init__(
        self,
        backbone: Backbone,
        segmenter: Segmenter,
        generator: PromptGenerator,
        position: str = "sine",
    ) -> None:
        """Put the parts together.

        Args:
            position: "sine": a sine encoding on the keys (the paper); "sam": SAM's own dense
                positional encoding on keys and values.
        """
        super().__init__()
        self.backbone, self.segmenter, self.generator = backbone, segmenter, generator
        self.position = position
        self.backbone.requires_grad_(False)
        self.segmenter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "DcSam":
        """Frozen parts stay in evaluation mode: their BatchNorm and Dropout never move."""
        super().train(mode)
        self.backbone.eval()
        self.segmenter.eval()
        return self

    def positions(self, side: int, like: Tensor) -> Positions:
        """Position encodings of the keys and of the values of a map."""
        if self.position == "sine":
            return sine_position(like.shape[1], side, like.device).to(like.dtype), None
        dense = self.segmenter.dense_position(side).flatten(2)[0].T.to(like.dtype)
        return dense, dense

    def learn(self, images: Tensor, masks: Tensor, kept: Tensor | None = None) -> Concept:
        """Take in the support: steps 1 to 4.

        Args:
            images: normalised, B x K x 3 x H x W.
            masks: exactly 0 or 1, B x K x H x W.
            kept: in training, the channels which the dropout keeps, B x K x C.

        Raises:
            ValueError: a support mask is empty.
        """
        with torch.no_grad():
            flat = images.flatten(0, 1)
            features, extracted = self.segmenter.encode(flat), self.backbone.extract(flat)
        return self.learn_encoded(features, extracted, masks, kept)

    def learn_encoded(
        self,
        features: SegmenterFeatures,
        extracted: BackboneFeatures,
        masks: Tensor,
        kept: Tensor | None,
    ) -> Concept:
        """What `learn` does once the B*K images are encoded."""
        exporting = torch.compiler.is_exporting()  # a graph cannot refuse: whoever runs it checks
        if not exporting and (masks.flatten(2).amax(2) == 0).any():
            raise ValueError("empty support mask: the reference shows no object")
        flat_masks = masks.flatten(0, 1).unsqueeze(1)
        regions = (flat_masks, 1 - flat_masks)[: len(self.generator.branches)]
        with torch.no_grad():
            high = [
                self.backbone.high(extracted.trunk, region).unflatten(0, masks.shape[:2])
                for region in regions
            ]
        side = _map_side(extracted, high[0])
        kept = None if kept is None else kept.flatten(0, 1)
        maps = self.generator.maps(extracted.middle, features, side, kept)
        contexts = self.generator.learn(maps, masks, self.positions(side, maps[0]))
        return Concept(contexts, masks, high)

    @torch.no_grad()
    def encode(self, images: Tensor) -> EncodedImages:
        """Take in images, B x 3 x H x W: step 1."""
        return self.describe(images, self.segmenter.encode(images))

    @torch.no_grad()
    def describe(self, images: Tensor, features: SegmenterFeatures) -> EncodedImages:
        """What `encode` does once the segmenter's features are there."""
        extracted = self.backbone.extract(images)
        high = self.backbone.high(extracted.trunk, None)
        return EncodedImages(features, extracted, high, images.shape[-2:])

    def segment(self, images: Tensor, concept: Concept, kept: Tensor | None = None) -> Prediction:
        """Segment query images, B x 3 x H x W, by what the support showed: steps 1, 5, 6, 7.

        Args:
            kept: in training, the channels which the dropout keeps, B x C.
        """
        return self.find(self.encode(images), concept, kept)

    def find(
        self, images: EncodedImages, concept: Concept, kept: Tensor | None = None
    ) -> Prediction:
        """What `segment` does once the images are encoded."""
        prompts, pseudo_logits = self.prompts(images, concept, kept)
        tokens = self.tokens(prompts)
        logits, quality, object_logit = self.draw(images.features, tokens, images.size)
        return Prediction(logits, pseudo_logits, quality, object_logit)

    def prompts(
        self, images: EncodedImages, concept: Concept, kept: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Refined prompts of each branch, B x N x C, and the pseudo mask's logits, B x H x W."""
        tokens = self.tokens([context.prompts for context in concept.contexts])
        pseudo_logits, _, _ = self.draw(images.features, tokens, images.size)
        return self.refine(images, concept, pseudo_logits, kept), pseudo_logits

    def refine(
        self,
        images: EncodedImages,
        concept: Concept,
        pseudo_logits: Tensor,
        kept: Tensor | None = None,
    ) -> list[Tensor]:
        """Refined prompts of each branch, B x N x C, by the pseudo mask's logits: step 6."""
        generator, segmenter = self.generator, self.segmenter
        extracted = images.extracted
        with torch.no_grad():
            regions = (concept.masks, 1 - concept.masks)
            priors = [
                prior_mask(images.high, high, region, generator.wiring.normalize_prior)
                for high, region in zip(concept.high, regions, strict=False)
            ]
        prompts = [context.prompts for context in concept.contexts]
        pseudo_mask = (pseudo_logits.detach() > 0).unsqueeze(1)

        if generator.wiring.shift_prompts:
            labels = (POINT_POSITIVE, POINT_NEGATIVE)
            prompts = [segmenter.label(p, label) for p, label in zip(prompts, labels, strict=False)]
        side = _map_side(extracted, images.high)
        maps = generator.maps(extracted.middle, images.features, side, kept)
        return generator.refine(
            concept.contexts,
            prompts,
            maps,
            priors,
            pseudo_mask.to(maps[0].dtype),
            self.positions(side, maps[0]),
        )

    def draw(
        self, features: SegmenterFeatures, tokens: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode labelled prompt tokens: logits B x H x W, quality B, object logit B."""
        decoded = self.segmenter.decode_all(features, tokens)
        logits, quality = self.segmenter.select(decoded, fallback=not self.training)
        return self.enlarge(logits, size), quality.squeeze(1), decoded.object_logit.squeeze(1)

    def tokens(self, prompts: list[Tensor]) -> Tensor:
        """Labelled tokens of the branches' prompts, B x N or 2N x C."""
        return self.segmenter.prompt(prompts[0], prompts[1] if len(prompts) > 1 else None)

    def enlarge(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring the decoder's logits, B x 1 x 4S x 4S, to the images' size: B x H x W, float32."""
        return F.interpolate(
            logits.float(), size=size, mode="bilinear", align_corners=self.align_corners
        ).squeeze(1)

    def forward(
        self,
        query: Tensor | EncodedImages,
        support: Tensor | EncodedImages,
        support_masks: Tensor,
        kept: Tensor | None = None,
    ) -> Prediction:
        """Both steps for a batch of episodes.

        Args:
            query: B x 3 x H x W, or the same images encoded before.
            support: B x K x 3 x H x W, or B*K images encoded before.
            support_masks: exactly 0 or 1, B x K x H x W.
            kept: in training, the channels which the dropout keeps: B x (1 + K) x C, the query's
                first.
        """
        query_kept, support_kept = (None, None) if kept is None else (kept[:, 0], kept[:, 1:])
        if isinstance(support, EncodedImages):
            concept = self.learn_encoded(
                support.features, support.extracted, support_masks, support_kept
            )
        else:
            concept = self.learn(support, support_masks, support_kept)
        images = query if isinstance(query, EncodedImages) else self.encode(query)
        return self.find(images, concept, query_kept)


def _map_side(extracted: BackboneFeatures, high: Tensor) -> int:
    """S: the fusion happens on the backbone's middle map, or on the only one that it has."""
    return (high if extracted.middle is None else extracted.middle).shape[-1]
