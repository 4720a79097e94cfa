"""VRP-SAM: 50 learned tokens gather from one reference, then from the query, and prompt SAM.

Source: VRP-SAM: SAM with Visual Reference Prompt (CVPR 2024, arXiv 2402.17726). References are
masks, boxes, points and scribbles; all of them pass as masks.
Shapes: B batch, K shots, N tokens of a shot, C channels, H and W image height and width, S side of
the backbone's map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from common.kinds import KINDS
from model.backbones.backbone import Backbone
from model.correspondence import prior_mask, shrink_mask
from model.dc_sam.features import EncodedImages
from model.dc_sam.prompt_generator import PromptGenerator
from model.dc_sam.prompted_sam import PromptedSam
from model.losses import mask_loss
from model.method_data import LabelledEpisodes, Prediction
from model.method_options import LossOptions
from model.sam.segmenter import Segmenter


@dataclass(frozen=True)
class Support:
    """What the references say, each by itself; it serves any number of queries."""

    prompts: Tensor
    """Tokens that have gathered from their reference, B x K x N x C."""
    prototypes: Tensor
    """B x K x C x 1 x 1."""
    masks: Tensor
    """The references on the map, 0 or 1, B x K x S x S."""
    high: Tensor
    """High-level features inside the references, B x K x channels x S x S."""

    def expand(self, batch: int) -> "Support":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        if self.masks.shape[0] == batch:
            return self
        parts = (self.prompts, self.prototypes, self.masks, self.high)
        return Support(*(part.expand(batch, *part.shape[1:]) for part in parts))


class VrpSam(PromptedSam):
    """Backbone and SAM are frozen; the tokens, two convolutions and four attention layers learn."""

    name = "vrp_sam"
    prompt_kinds = KINDS

    def __init__(
        self,
        backbone: Backbone,
        segmenter: Segmenter,
        generator: PromptGenerator,
        position: str = "sine",
        image_size: int = 512,
        wiring: str = "paper",
    ) -> None:
        """Put the parts together; wiring: one of `WIRINGS`, the others as in `PromptedSam`."""
        super().__init__(backbone, segmenter, generator, position, image_size)
        self.wiring = wiring

    @torch.no_grad()
    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> EncodedImages:
        """Take in images, B x 3 x H x W; of references SAM sees nothing."""
        sam = None if support_only else self.segmenter.encode(images)
        return self.add_backbone(images, sam, support_only)

    def encode_support(
        self,
        images: EncodedImages,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> Support:
        """Take in B*K references; each gets tokens of its own.

        Raises:
            ValueError: a reference is empty.
        """
        self.refuse_empty(masks)
        shots = masks.shape[:2]
        small = self._on_map(masks, kinds, images.backbone.trunk.shape[-1])
        with torch.no_grad():
            high = self.backbone.high(images.backbone.trunk, small.flatten(0, 1).unsqueeze(1))
        maps = self._maps(images)
        alone = small.flatten(0, 1).unsqueeze(1)  # every reference as a sample of one shot
        (said,) = self.generator.encode_support(maps, alone, self._positions(maps[0]))
        parts = (said.prompts, said.prototype, small.flatten(0, 1), high)
        return Support(*(part.unflatten(0, shots) for part in parts))

    def predict(self, images: EncodedImages, support: Support) -> Prediction:
        decoded = self.decode(images.sam, self.prompt(images, support), images.size)
        return self.judge(decoded, images.high, support.high, support.masks)

    def prompt(self, images: EncodedImages, support: Support) -> Tensor:
        """The tokens that SAM's decoder is given for B queries, shot after shot: B x K*N x C."""
        shots = support.masks.shape[1]
        branch = self.generator.positive
        maps = self._maps(images)
        with torch.no_grad():
            prior = prior_mask(
                images.high.repeat_interleave(shots, 0),
                support.high.flatten(0, 1).unsqueeze(1),
                support.masks.flatten(0, 1).unsqueeze(1),
                normalize=False,
            )  # B*K x 1 x S x S
        repeated = [each.repeat_interleave(shots, 0) for each in maps]
        fused = branch.fused(repeated, support.prototypes.flatten(0, 1), prior)
        positions = self._positions(maps[0])
        prompts = branch.refine(support.prompts.flatten(0, 1), fused, None, positions)
        return prompts.unflatten(0, (-1, shots)).flatten(1, 2)

    def training_loss(
        self,
        query: EncodedImages,
        support: EncodedImages,
        episodes: LabelledEpisodes,
        options: LossOptions,
    ) -> dict[str, Tensor]:
        """Cross-entropy and Dice of the mask."""
        encoded = self.encode_support(support, episodes.support_masks, episodes.support_kinds)
        decoded = self.decode(query.sam, self.prompt(query, encoded), query.size)
        truth = (episodes.query_mask, episodes.query_ignore)
        return {"mask": mask_loss(decoded.logits, *truth, options.loss).mean()}

    def _on_map(self, masks: Tensor, kinds: Sequence[Sequence[str]] | None, side: int) -> Tensor:
        """References, B x K x H x W of 0 and 1, on the map: B x K x S x S."""
        flat = masks.flatten(0, 1).unsqueeze(1).float()
        if self.wiring == "release":
            small = F.interpolate(flat, size=(side, side), mode="nearest")
        else:
            small = shrink_mask(flat, side)
            names = [] if kinds is None else [kind for shots in kinds for kind in shots]
            thin = [i for i, kind in enumerate(names) if kind in ("point", "scribble")]
            small[thin] = F.adaptive_max_pool2d(flat[thin], side) if thin else small[thin]
        return small.view(*masks.shape[:2], side, side)
