"""DC-SAM on images: encode once, prompt, decode, refine, decode (algorithm 1).

Shapes: B batch, K shots, N prompts of a branch, C channels, H and W image height and width,
S side of a feature map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.correspondence import prior_mask
from model.dc_sam.features import EncodedImages, Support
from model.dc_sam.prompted_sam import PromptedSam
from model.losses import mask_loss
from model.method_data import LabelledEpisodes, Prediction
from model.method_options import LossOptions
from model.sam.sam2 import ObjectMask, Sam2
from model.sam.segmenter import POINT_NEGATIVE, POINT_POSITIVE, SegmenterFeatures
from model.sam.video_predictor import VideoPredictor
from model.sam.video_wiring import RELEASE_VIDEO, STREAMING, VideoWiring


class DcSam(PromptedSam):
    """The image model."""

    name = "dc_sam"

    @property
    def has_memory(self) -> bool:
        return isinstance(self.segmenter, Sam2)

    @property
    def video_wiring(self) -> VideoWiring:
        return STREAMING if self.generator.wiring.negative_sees_query else RELEASE_VIDEO

    @property
    def most_shots(self) -> int | None:
        """The release's wiring refines negative prompts on the support's map, which has K of it."""
        return None if self.generator.wiring.negative_sees_query else 1

    def encode_support(
        self,
        images: EncodedImages,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> Support:
        """Take in the support, B*K images and their masks, B x K x H x W: steps 2 to 4.

        Raises:
            ValueError: a support mask is empty.
        """
        self.refuse_empty(masks)
        flat_masks = masks.flatten(0, 1).unsqueeze(1)
        regions = (flat_masks, 1 - flat_masks)[: len(self.generator.branches)]
        with torch.no_grad():
            high = [
                self.backbone.high(images.backbone.trunk, region).unflatten(0, masks.shape[:2])
                for region in regions
            ]
        maps = self._maps(images)
        branches = self.generator.encode_support(maps, masks, self._positions(maps[0]))
        return Support(branches, masks, high)

    def predict(self, images: EncodedImages, support: Support) -> Prediction:
        """Segment encoded queries: steps 5 to 7, and whether they show the object."""
        prompts, _ = self.prompt(images, support)
        decoded = self.decode(images.sam, self.prompt_tokens(prompts), images.size)
        return self.judge(decoded, images.high, support.high[0], support.masks)

    def training_loss(
        self,
        query: EncodedImages,
        support: EncodedImages,
        episodes: LabelledEpisodes,
        options: LossOptions,
    ) -> dict[str, Tensor]:
        """Equation 23 of the final mask and, where that is asked for, of the pseudo mask."""
        encoded = self.encode_support(support, episodes.support_masks)
        prompts, pseudo_logits = self.prompt(query, encoded)
        decoded = self.decode(query.sam, self.prompt_tokens(prompts), query.size)
        truth = (episodes.query_mask, episodes.query_ignore)
        losses = {"mask": mask_loss(decoded.logits, *truth, options.loss).mean()}
        if options.pseudo_weight:
            pseudo = mask_loss(pseudo_logits, *truth, options.loss).mean()
            losses["pseudo_mask"] = options.pseudo_weight * pseudo
        return losses

    def video(
        self,
        supports: Sequence[Support],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> VideoPredictor:
        """Begin a video: the first frame as an image, then SAM 2's memory (section 4.4).

        Args:
            supports: several, each of one support, in one video; or one, of a support for each of
                B videos that run side by side.

        Raises:
            ValueError: the first SAM, which has no memory; no support; or see `VideoPredictor`.
        """
        if not self.has_memory:
            raise ValueError(f"videos need SAM 2, not {self.segmenter.name} of the first SAM")
        if not supports:
            raise ValueError("nothing to segment: this video was begun without a support")
        return VideoPredictor(
            self.segmenter,
            prompter=SupportPrompter(self, supports, wiring.align_corners),
            wiring=wiring,
            prompt_every=prompt_every,
            length=length,
            training=self.training,
        )

    def prompt(
        self, images: EncodedImages, support: Support, align_corners: bool = True
    ) -> tuple[list[Tensor], Tensor]:
        """Refined prompts of each branch, B x N x C, and the pseudo mask's logits, B x H x W.

        Args:
            align_corners: how the pseudo mask is resized to the images' size.
        """
        tokens = self.prompt_tokens([branch.prompts for branch in support.branches])
        pseudo = self.decode(images.sam, tokens, images.size, align_corners)
        return self.refine(images, support, pseudo.logits), pseudo.logits

    def refine(
        self, images: EncodedImages, support: Support, pseudo_logits: Tensor
    ) -> list[Tensor]:
        """Refined prompts of each branch, B x N x C, by the pseudo mask's logits: step 6."""
        generator, segmenter = self.generator, self.segmenter
        with torch.no_grad():
            regions = (support.masks, 1 - support.masks)
            priors = [
                prior_mask(images.high, high, region, generator.wiring.normalize_prior)
                for high, region in zip(support.high, regions, strict=False)
            ]
        prompts = [branch.prompts for branch in support.branches]
        pseudo_mask = (pseudo_logits.detach() > 0).unsqueeze(1)

        if generator.wiring.shift_prompts:
            labels = (POINT_POSITIVE, POINT_NEGATIVE)
            prompts = [segmenter.label(p, label) for p, label in zip(prompts, labels, strict=False)]
        maps = self._maps(images)
        return generator.refine(
            support.branches,
            prompts,
            maps,
            priors,
            pseudo_mask.to(maps[0].dtype),
            self._positions(maps[0]),
        )

    def prompt_tokens(self, prompts: list[Tensor]) -> Tensor:
        """Labelled tokens of the branches' prompts, B x N or 2N x C."""
        return self.segmenter.prompt(prompts[0], prompts[1] if len(prompts) > 1 else None)


@dataclass(frozen=True)
class SupportPrompter:
    """Segments concepts in a frame: several of one support each in one video, or B in B videos."""

    model: DcSam
    supports: Sequence[Support]
    align_corners: bool

    def __call__(self, images: Tensor, features: SegmenterFeatures) -> tuple[ObjectMask, Tensor]:
        encoded = self.model.add_backbone(images, features)
        found, pseudo_logits = zip(*(self._prompt(encoded, s) for s in self.supports), strict=True)
        joined = ObjectMask(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        return joined, torch.cat(pseudo_logits)

    def _prompt(self, images: EncodedImages, support: Support) -> tuple[ObjectMask, Tensor]:
        prompts, pseudo_logits = self.model.prompt(images, support, self.align_corners)
        found = self.model.segmenter.decode_object(
            images.sam, self.model.prompt_tokens(prompts), fallback=not self.model.training
        )
        return found, pseudo_logits
