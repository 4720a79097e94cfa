"""Matcher: places that match the references prompt SAM, and the matches choose among its masks.

Nothing is learned. Source: Matcher: Segment Anything with One Shot Using All-Purpose Feature
Matching (ICLR 2024), and its released program.
Shapes: B batch, K shots, T = G x G patches of a picture, C channels, S side of the picture,
P matched places, N proposals.
"""

import warnings
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.backbones.backbone import Backbone
from model.matcher.decoder import PictureDecoder
from model.matcher.features import MatcherFeatures, MatcherSupport
from model.matcher.frames import WideFrames
from model.matcher.matching import Matching, cosine_similarity, match_patches, patch_centres
from model.matcher.pictures import encode_for_sam, grey_levels, point_tokens
from model.matcher.prompts import bounding_box, cluster_centres, grid_points, subsets
from model.matcher.proposals import Prompts, Proposals, propose, suppress_overlaps
from model.matcher.selection import Selection, select_masks
from model.matcher.settings import SETTINGS, Setting
from model.matcher.video import MatcherVideo
from model.method import Method
from model.method_data import Prediction
from model.presence import PresenceScale, presence_signals
from model.sam.sam1 import Sam
from model.sam.segmenter import SegmenterFeatures
from model.sam.video_wiring import STREAMING, VideoWiring


class FoundObject(NamedTuple):
    """What Matcher finds in one picture."""

    objects: Tensor
    """The masks that are united, N x S x S bool, best first; none where nothing was found."""
    quality: Tensor
    """Their mean quality, a scalar."""


class Matcher(Method):
    """DINOv2 matches, SAM draws; both are frozen."""

    name = "matcher"
    frozen_parts = ("backbone", "segmenter")

    def __init__(
        self,
        backbone: Backbone,
        segmenter: Sam,
        image_size: int,
        setting: Setting = SETTINGS["objects"],
        seed: int = 0,
        frames: WideFrames | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            backbone: its trunk's cells are the patches, a whole number of pixels wide.
            image_size: S.
            seed: of random prompts, beside the picture itself.
            frames: how those of a video come to the networks, whole patches on each side; None: as
                the released program has it for patches of 14 pixels.
        """
        super().__init__()
        self.frames = frames or WideFrames(896)
        self.backbone, self.segmenter = backbone, segmenter
        self.image_size, self.setting, self.seed = image_size, setting, seed
        self.requires_grad_(False)
        self.eval()

    @property
    def image_features(self) -> Backbone:
        return self.backbone

    @property
    def knows_drawings_only(self) -> bool:
        return "tiny" in (self.segmenter.name, self.backbone.name)

    @property
    def promptable(self) -> Sam:
        return self.segmenter

    @property
    def takes_given_masks(self) -> bool:
        return True

    @property
    def tracking_geometry(self) -> WideFrames:
        return self.frames

    def video(
        self,
        supports: Sequence[MatcherSupport],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> MatcherVideo:
        """Begin a video whose objects are given by masks; SAM 2 has no part in it.

        Raises:
            ValueError: there are supports.
        """
        if supports:
            raise ValueError("Matcher follows given masks: a video cannot begin with a support")
        return MatcherVideo(self, self.frames)

    @torch.no_grad()
    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> MatcherFeatures:
        patches = self.backbone.extract(images).trunk.float()
        pixels = grey_levels(images)
        keys = [zlib.crc32(picture.byte().cpu().numpy().tobytes()) for picture in pixels]
        return MatcherFeatures(
            F.normalize(patches.flatten(2).transpose(1, 2), dim=2),
            None if support_only else encode_for_sam(self.segmenter, pixels),
            torch.tensor(keys, device=images.device),
        )

    @torch.no_grad()
    def encode_support(
        self,
        images: MatcherFeatures,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> MatcherSupport:
        batch, shots = masks.shape[:2]
        patches = images.patches.unflatten(0, (batch, shots)).flatten(1, 2)
        grid = round(images.patches.shape[1] ** 0.5)
        width = self.image_size // grid
        if self.setting.centre_for_empty:
            empty = masks.flatten(2).amax(2) == 0
            middle = slice(grid // 2 * width, (grid // 2 + 1) * width)
            masks = masks.clone()
            masks[..., middle, middle] = masks[..., middle, middle].maximum(
                empty[..., None, None].to(masks.dtype)
            )
        else:
            self.refuse_empty(masks)
        foreground = F.max_pool2d(masks, width).flatten(1) > 0
        return MatcherSupport(patches, foreground, masks)

    @torch.no_grad()
    def predict(self, images: MatcherFeatures, support: MatcherSupport) -> Prediction:
        found = [self._find(images[i : i + 1], support, i) for i in range(len(images.keys))]
        masks = torch.stack([one.objects.any(0) for one in found])
        logits = 2 * (masks.float() - self.setting.threshold)
        quality = torch.stack([one.quality for one in found])
        signals = self._signals(images, support, logits, quality)
        presence = (self.presence_scale or PresenceScale())(signals) * masks.flatten(1).any(1)
        objects = [one.objects for one in found]
        return Prediction(logits, quality, presence, signals, objects)

    def match(self, images: MatcherFeatures, support: MatcherSupport, index: int) -> "Matched":
        """Match one picture, images of B = 1, with the support of an index."""
        similarity = cosine_similarity(support.patches[index], images.patches[0])
        foreground = support.foreground[index].nonzero().flatten().cpu().numpy()
        matching = match_patches(similarity, foreground)
        grid = round(similarity.shape[1] ** 0.5)
        points = patch_centres(matching.patches, grid, self.image_size)
        return Matched(matching, points, (1 - similarity[foreground]) / 2)

    def draw_subsets(self, points: np.ndarray, key: int) -> list[np.ndarray]:
        """Subsets of the matched places or of their centres, by size: prompts x n x 2 each.

        Args:
            points: P x 2 (x, y).
            key: of the picture, which seeds what is random.
        """
        generator = np.random.default_rng((self.seed, key))
        setting = self.setting
        if setting.centres:
            points = cluster_centres(points, setting.centres, generator)
        chosen = subsets(len(points), setting.sizes, setting.draws, generator)
        return [points[indices] for indices in chosen]

    def prompts(self, subsets: Sequence[np.ndarray], points: np.ndarray) -> list[Prompts]:
        """What SAM is asked for: the regular grid, if the setting has one, and the subsets.

        Args:
            subsets: from `draw_subsets`.
            points: all matched places, whose box the subsets may have too.
        """
        setting, kinds = self.setting, []
        if setting.grid:
            grid = self._point_tokens(grid_points(setting.grid, self.image_size)[:, None], None)
            kinds.append(Prompts(grid, False, setting.grid_quality, setting.grid_stability))
        box = bounding_box(points, self.image_size) if setting.box else None
        for places in subsets:
            tokens = self._point_tokens(places, box)
            kinds.append(Prompts(tokens, setting.three_masks, setting.quality, setting.stability))
        return kinds

    def decoder(self, features: SegmenterFeatures) -> PictureDecoder:
        """SAM's decoder for prompts in one picture (B = 1)."""
        return PictureDecoder(self.segmenter, features)

    def select(self, proposals: Proposals, matched: "Matched", shots: int) -> Selection:
        """Which proposals to unite; there must be at least one."""
        setting = self.setting
        merge = setting.merge if shots == 1 else setting.merge_many
        return select_masks(proposals.masks, matched.cost, matched.points, setting, merge)

    def _find(self, images: MatcherFeatures, support: MatcherSupport, index: int) -> FoundObject:
        matched = self.match(images, support, index)
        places = self.draw_subsets(matched.points, int(images.keys[0]))
        prompts = self.prompts(places, matched.points)
        sides = (self.segmenter.image_size, self.image_size)
        found = propose(self.decoder(images.sam), prompts, sides)
        proposals = suppress_overlaps(found, self.setting.overlap)
        if not self.setting.keep_empty:
            proposals = proposals[proposals.masks.flatten(1).any(1)]
        if not len(proposals):
            warnings.warn("Matcher: no mask passed the setting's filters", stacklevel=3)
            return FoundObject(proposals.masks, proposals.quality.new_zeros(()))
        selection = self.select(proposals, matched, shots=support.masks.shape[1])
        chosen = torch.from_numpy(selection.chosen).to(proposals.masks.device)
        united = proposals[chosen]
        return FoundObject(united.masks, united.quality.mean())

    def _point_tokens(self, points: np.ndarray, box: np.ndarray | None) -> Tensor:
        scale = self.segmenter.image_size / self.image_size
        return point_tokens(self.segmenter, points, box, scale)

    def _signals(
        self, images: MatcherFeatures, support: MatcherSupport, logits: Tensor, quality: Tensor
    ) -> Tensor:
        """B x 3, see `presence_signals`."""
        grid = round(images.patches.shape[1] ** 0.5)
        here = images.patches.transpose(1, 2).unflatten(2, (grid, grid))
        shots = support.masks.shape[1]
        shown = support.patches.unflatten(1, (shots, -1)).transpose(2, 3)
        shown = shown.unflatten(3, (grid, grid))
        return presence_signals(logits, quality, here, shown, support.masks)


class Matched(NamedTuple):
    """A picture matched with references."""

    matching: Matching
    points: np.ndarray
    """The matched places, P x 2 (x, y) in the picture."""
    cost: np.ndarray
    """Of moving each foreground patch of the references to each patch of the picture, F x T."""
