"""Masks that SAM proposes for many prompts in one picture.

Masks of low quality are never drawn; only the others are brought to the picture's size and
measured.
Source: Matcher (ICLR 2024), section 3.3, and its released program.
Shapes: Q prompts of n tokens, M masks of a prompt (1 or 3), N proposals, C channels of a token,
S side of the picture.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from common.distributed import bound_by_cache
from model.instances import mask_boxes
from model.matcher.decoder import PictureDecoder

_OFFSET = 1.0
"""Stability compares a mask at logits above this and above minus this."""
_PLACES = {True: 4 * 64 * 64, False: 64 * 64 * 64}
"""Places of the embedding, over prompts decoded together, where a cache bounds them and where not:
on a CPU large batches are the slower ones."""


@dataclass(frozen=True)
class Proposals:
    """Masks of one picture."""

    masks: Tensor
    """N x S x S bool."""
    quality: Tensor
    """N: SAM's own estimate of their IoU."""
    stability: Tensor
    """N: how little a mask depends on the threshold of its logits."""

    def __getitem__(self, rows: Tensor) -> "Proposals":
        return Proposals(self.masks[rows], self.quality[rows], self.stability[rows])

    def __len__(self) -> int:
        return len(self.masks)

    @classmethod
    def join(cls, parts: Sequence["Proposals"]) -> "Proposals":
        """All of several."""
        return cls(
            torch.cat([part.masks for part in parts]),
            torch.cat([part.quality for part in parts]),
            torch.cat([part.stability for part in parts]),
        )


@dataclass(frozen=True)
class Prompts:
    """Prompts of one kind, and which of their masks stay."""

    tokens: Tensor
    """Q x n x C."""
    three_masks: bool
    """Take the decoder's three proposals instead of its single mask."""
    quality: float
    """A mask's quality has to be above this; 0: off."""
    stability: float
    """Its stability has to be at least this; 0: off."""

    @property
    def masks(self) -> int:
        """How many masks they ask for."""
        return len(self.tokens) * (3 if self.three_masks else 1)

    def wanted(self, quality: Tensor) -> Tensor:
        """Which of the decoder's four masks of each prompt to draw, by their quality, Q x 4."""
        number = torch.arange(4, device=quality.device)
        asked = number > 0 if self.three_masks else number == 0
        return asked & (quality > self.quality) if self.quality else asked.expand_as(quality)


def propose(
    decoder: PictureDecoder, prompts: Iterable[Prompts], sides: tuple[int, int]
) -> Proposals:
    """Decode prompts and keep the good masks, in the order of the prompts.

    Args:
        sides: of SAM's picture and of ours, by way of which masks are enlarged.
    """
    together = max(1, _PLACES[bound_by_cache(decoder.device)] // decoder.side**2)
    found = [
        _propose(decoder, kind, kind.tokens[start : start + together], sides)
        for kind in prompts
        for start in range(0, len(kind.tokens), together)
    ]
    return Proposals.join(found)


def suppress_overlaps(proposals: Proposals, overlap: float) -> Proposals:
    """Non-maximum suppression by boxes; what is left comes by falling quality.

    Args:
        overlap: IoU of boxes above which the mask of lower quality goes; 1 removes nothing.
    """
    return proposals[nms(mask_boxes(proposals.masks), proposals.quality, overlap)]


def stability_score(logits: Tensor) -> Tensor:
    """The area above 1 as a share of that above -1; ... x S x S to ..., NaN where both are 0."""
    sure = (logits > _OFFSET).flatten(-2).sum(-1, dtype=torch.int32)
    return sure / (logits > -_OFFSET).flatten(-2).sum(-1, dtype=torch.int32)


def enlarge(logits: Tensor, sides: Iterable[int]) -> Tensor:
    """Logits of masks brought to one side after another: N x s x s to N x S x S float32."""
    maps = logits.float().unsqueeze(1)
    for side in sides:
        maps = F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
    return maps.squeeze(1)


def _propose(
    decoder: PictureDecoder, kind: Prompts, tokens: Tensor, sides: tuple[int, int]
) -> Proposals:
    answers = decoder.answer(tokens)
    wanted = kind.wanted(answers.quality)
    logits = enlarge(decoder.draw(answers, wanted), sides)
    proposals = Proposals(logits > 0, answers.quality[wanted].float(), stability_score(logits))
    if kind.stability:
        proposals = proposals[proposals.stability >= kind.stability]
    return proposals
