"""The dual-branch prompt generator: fusion and the two branches (algorithm 1, steps 2 to 6).

VRP-SAM's generator (arXiv 2402.17726) is one branch of other settings.
Shapes: B batch, K shots, N prompts of a branch, C channels, M middle channels of the backbone,
S side of the backbone's map, on which everything here lives, T = S*S.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.correspondence import mask_average, shrink_mask
from model.dc_sam.cyclic_attention import CyclicAttention
from model.layers import ChannelDropout
from model.sam.segmenter import SegmenterFeatures

HEADS = 4
DROPOUT = 0.5
"""Share of the reduced middle channels that an image loses in training."""
MASK_GAIN = 10.0
"""What mask channels are multiplied by before the fusion."""

Positions = tuple[Tensor, Tensor | None]
"""Position encodings of keys and of values, each T x C."""


@dataclass(frozen=True)
class Wiring:
    """Where the released implementation departs from the paper; the defaults are the paper's."""

    normalize_prior: bool = True
    """Scale prior masks to [0, 1]."""
    negative_sees_query: bool = True
    """False: the negative branch refines its prompts on the positive branch's support features."""
    shift_prompts: bool = False
    """True: refinement starts from prompts to which E_pos and E_neg were already added."""


PAPER = Wiring()
RELEASE_SAM2 = Wiring(normalize_prior=False, negative_sees_query=False)
RELEASE_SAM1 = Wiring(normalize_prior=False, negative_sees_query=False, shift_prompts=True)


@dataclass(frozen=True)
class SupportPrompts:
    """What the support says, for one branch. It does not depend on the query."""

    prompts: Tensor
    """Mediate prompts, B x N x C."""
    prototype: Tensor
    """B x C x 1 x 1."""
    tokens: Tensor
    """Fused support features of all shots, B x K*T x C."""


class LevelFusion(nn.Module):
    """Fold SAM 2's three feature levels into one map of the embedding's size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        fine, middle = channels // 8, channels // 4
        self.shrink_fine = nn.Conv2d(fine, middle, kernel_size=2, stride=2)
        self.norm = nn.LayerNorm(middle, eps=1e-6)
        self.shrink_middle = nn.Conv2d(middle, channels, kernel_size=2, stride=2)

    def forward(self, features: SegmenterFeatures) -> Tensor:
        """B x C x S x S."""
        fine, middle = features.levels
        x = self.shrink_fine(fine) + middle
        x = F.gelu(self.norm(x.movedim(1, 3)).movedim(3, 1))
        return F.gelu(self.shrink_middle(x) + features.embedding)


@dataclass(frozen=True)
class BranchDesign:
    """How the prompts of a branch attend; the defaults are DC-SAM's."""

    num_query: int = 25
    """N."""
    cyclic: bool = True
    """Attend to image tokens that are cyclic-consistent only."""
    query_position: bool = True
    """Add learned positions to the prompts wherever they ask."""
    early_self_attention: bool = False
    """Let the prompts look at each other also before they see the query, by a layer of its own."""


DC_SAM = BranchDesign()


class Branch(nn.Module):
    """The positive or the negative branch: its fusion, its queries and its attention layers."""

    def __init__(self, inputs: int, channels: int, design: BranchDesign) -> None:
        super().__init__()
        count, cyclic = design.num_query, design.cyclic
        self.fuse = nn.Conv2d(inputs, channels, kernel_size=1, bias=False)
        self.query = nn.Embedding(count, channels)
        self.query_position = nn.Embedding(count, channels) if design.query_position else None
        self.support_attention = CyclicAttention(channels, HEADS, cyclic)
        self.query_attention = CyclicAttention(channels, HEADS, cyclic)
        self.self_attention = nn.MultiheadAttention(channels, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(channels)
        nn.init.xavier_uniform_(self.self_attention.out_proj.weight)
        self.early_self_attention, self.early_norm = None, None
        if design.early_self_attention:
            self.early_self_attention = nn.MultiheadAttention(channels, HEADS, batch_first=True)
            self.early_norm = nn.LayerNorm(channels)
            nn.init.xavier_uniform_(self.early_self_attention.out_proj.weight)

    def fused(self, features: list[Tensor], prototype: Tensor, mask: Tensor) -> Tensor:
        """Equations 15 and 16.

        Args:
            features: maps to concatenate around the prototype: the first one before, the others
                after it; each B x channels x S x S.
            prototype: B x C x 1 x 1.
            mask: mask channel in [0, 1], B x 1 x S x S.

        Returns:
            B x T x C.
        """
        first, *others = features
        parts = [first, prototype.expand_as(first), *others, MASK_GAIN * mask]
        return F.relu(self.fuse(torch.cat(parts, dim=1))).flatten(2).transpose(1, 2)

    def prompt(self, tokens: Tensor, mask: Tensor | None, positions: Positions) -> Tensor:
        """Equations 9 and 10: the queries gather from the support; B x N x C.

        Args:
            mask: see `CyclicAttention`.
        """
        prompts = self.query.weight.expand(tokens.shape[0], -1, -1)
        prompts = self.support_attention(prompts, tokens, mask, self._position, *positions)
        if self.early_self_attention is None:
            return prompts
        return self._self_attend(prompts, self.early_self_attention, self.early_norm)

    def refine(
        self, prompts: Tensor, tokens: Tensor, mask: Tensor | None, positions: Positions
    ) -> Tensor:
        """Equations 12 and 13: prompts gather from the query, then look at each other."""
        prompts = self.query_attention(prompts, tokens, mask, self._position, *positions)
        return self._self_attend(prompts, self.self_attention, self.norm)

    @property
    def _position(self) -> Tensor | None:
        """Of the prompts, N x C."""
        return None if self.query_position is None else self.query_position.weight

    def _self_attend(
        self, prompts: Tensor, attention: nn.MultiheadAttention, norm: nn.LayerNorm
    ) -> Tensor:
        """Prompts look at each other, B x N x C."""
        located = prompts if self._position is None else prompts + self._position
        looked = attention(located, located, prompts, need_weights=False)[0]
        return norm(prompts + looked)


class PromptGenerator(nn.Module):
    """Turns frozen features of support and query into positive and negative prompt tokens."""

    def __init__(
        self,
        middle_channels: int,
        channels: int,
        design: BranchDesign = DC_SAM,
        fusion: str = "full",
        segmenter_fusion: bool = True,
        negative_branch: bool = True,
        levels: bool = False,
        wiring: Wiring = PAPER,
    ) -> None:
        """Build the learnable part of DC-SAM.

        Args:
            middle_channels: M.
            channels: C, the width of the segmenter's embedding and of its prompts.
            design: how the prompts of each branch attend.
            fusion: "full": middle features fused with the segmenter's; "prior": the segmenter's
                stand where the middle features stood, and the backbone only makes prior masks.
            segmenter_fusion, negative_branch: False for the ablations of table 5.
            levels: the segmenter has three feature levels (SAM 2).
        """
        super().__init__()
        self.channels = channels
        self.fusion, self.segmenter_fusion, self.wiring = fusion, segmenter_fusion, wiring
        if fusion == "full":
            self.reduce = nn.Sequential(
                nn.Conv2d(middle_channels, channels, kernel_size=1, bias=False),
                nn.ReLU(inplace=True),
                ChannelDropout(channels, DROPOUT),
            )
        maps = int(fusion == "full") + int(segmenter_fusion)
        self.fold_levels = LevelFusion(channels) if levels and segmenter_fusion else None
        inputs = (maps + 1) * channels + 1
        self.positive = Branch(inputs, channels, design)
        self.negative = Branch(inputs, channels, design) if negative_branch else None

    @property
    def branches(self) -> list[Branch]:
        """The positive branch and, where there is one, the negative branch."""
        return [self.positive] if self.negative is None else [self.positive, self.negative]

    def maps(self, middle: Tensor | None, features: SegmenterFeatures, side: int) -> list[Tensor]:
        """The maps which the fusion concatenates, each B x C x side x side.

        Args:
            middle: backbone features of the images, B x M x side x side; unused by "prior".
            features: the segmenter's features of the same images.
        """
        maps = []
        if self.fusion == "full":
            maps.append(self.reduce(middle))
        if self.segmenter_fusion:
            embedding = self.fold_levels(features) if self.fold_levels else features.embedding
            if embedding.shape[-1] != side:
                embedding = F.interpolate(
                    embedding, size=(side, side), mode="bilinear", align_corners=True
                )
            maps.append(embedding)
        return maps

    def encode_support(
        self, maps: list[Tensor], masks: Tensor, positions: Positions
    ) -> list[SupportPrompts]:
        """Steps 2 to 4 for the support, for each branch.

        Args:
            maps: from `maps`, of B*K support images.
            masks: 0 or 1, B x K x H x W.
        """
        batch, shots = masks.shape[:2]
        side = maps[0].shape[-1]
        small = shrink_mask(masks.flatten(0, 1).unsqueeze(1).to(maps[0].dtype), side)
        positions = tuple(p if p is None else p.repeat(shots, 1) for p in positions)
        encoded = []
        for branch, mask in zip(self.branches, (small, 1 - small), strict=False):
            shot_prototypes = mask_average(maps[0], mask)
            prototype = shot_prototypes.unflatten(0, (batch, shots)).mean(1)
            shared = prototype.repeat_interleave(shots, 0)
            tokens = branch.fused(maps, shared, mask).unflatten(0, (batch, shots)).flatten(1, 2)
            prompts = branch.prompt(tokens, mask.view(batch, -1), positions)
            encoded.append(SupportPrompts(prompts, prototype, tokens))
        return encoded

    def refine(
        self,
        supports: list[SupportPrompts],
        prompts: list[Tensor],
        maps: list[Tensor],
        priors: list[Tensor],
        pseudo_mask: Tensor,
        positions: Positions,
    ) -> list[Tensor]:
        """Step 6 for the query: refined prompts, B x N x C, one tensor per branch.

        Args:
            prompts: mediate prompts, from which the refinement starts.
            maps: from `maps`, of the B query images.
            priors: each branch's prior mask, B x 1 x any size.
            pseudo_mask: exactly 0 or 1, B x 1 x H x W.
        """
        small = F.interpolate(pseudo_mask, size=maps[0].shape[-2:], mode="nearest")
        refined = []
        for branch, support, start, prior, mask in zip(
            self.branches, supports, prompts, priors, (small, 1 - small), strict=False
        ):
            if support is not supports[0] and not self.wiring.negative_sees_query:
                tokens = supports[0].tokens
            else:
                prior = F.interpolate(prior, small.shape[-2:], mode="bilinear", align_corners=True)
                tokens = branch.fused(maps, support.prototype, prior)
            refined.append(branch.refine(start, tokens, mask.flatten(1), positions))
        return refined
