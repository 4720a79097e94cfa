"""Mask tubes: short pseudo-videos made of one image and its mask (section 4.5).

Shapes: B batch, K shots, T frames of a tube, H and W the side to which images are squashed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from common.geometry import Geometry
from data.benchmarks import EpisodeKey, Split
from data.episode import Batch, EpisodeDataset, Joinable

FRAMES = 5
"""T: the image itself and four altered copies."""
LARGEST_ANGLE = 10.0
"""Degrees by which a copy is rotated at most."""
BLUR = 5.0 / 512
"""Deviation of the blurred copy's Gaussian, as a part of the side: 5 pixels at 512 x 512."""

_TUBE = 2
"""Ends the seeds of tubes, so that their numbers are not those with which episodes are drawn."""


@dataclass(frozen=True)
class MaskTubes(Batch):
    """A batch of tubes, each with the support of its class."""

    frames: Tensor
    """B x T x 3 x H x W, float32, normalised."""
    masks: Tensor
    """B x T x H x W, float32, exactly 0 or 1."""
    ignore: Tensor
    """B x T x H x W, bool: pixels that do not count in the loss."""


def mask_tube(image: Tensor, maps: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Make a tube: the image itself, rotated, flipped left-right, up-down, and blurred; shuffled.

    What rotation brings in from outside has the mean colour and is background.

    Args:
        image: normalised, so that 0 is the mean colour; 3 x H x W.
        maps: any number of masks of the image, each M x H x W of 0 and 1.
        random: gives the angle and the order.

    Returns:
        T x 3 x H x W and T x M x H x W; each mask moved as its frame.
    """
    angle = float(random.uniform(-LARGEST_ANGLE, LARGEST_ANGLE))
    deviation = BLUR * image.shape[-1]
    kernel = 2 * math.ceil(3 * deviation) + 1
    turned = transforms.rotate(image, angle, InterpolationMode.BILINEAR)
    turned_maps = transforms.rotate(maps, angle, InterpolationMode.NEAREST)
    frames = [
        (image, maps),
        (turned, turned_maps),
        (image.flip(-1), maps.flip(-1)),
        (image.flip(-2), maps.flip(-2)),
        (transforms.gaussian_blur(image, [kernel, kernel], [deviation, deviation]), maps),
    ]
    order = random.permutation(FRAMES)
    return tuple(torch.stack(part) for part in zip(*(frames[i] for i in order), strict=True))


class MaskTubeDataset(Joinable[MaskTubes]):
    """Reads episodes and makes a tube of each query; each item is a batch of one tube.

    Items are a pure function of (seed, epoch, index) and of the episodes.

    Args:
        split: where the images are read.
        keys: which episodes, those of one epoch.
        geometry: how images and masks come to the square H x W.
        seed, epoch: what the tubes are drawn from, with an episode's index.

    Raises:
        UsageError: a key names an image that the split does not have.
    """

    join = staticmethod(MaskTubes.join)

    def __init__(
        self,
        split: Split,
        keys: Sequence[EpisodeKey],
        geometry: Geometry,
        seed: int,
        epoch: int,
    ) -> None:
        self.episodes = EpisodeDataset(split, keys, geometry)
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, index: int) -> MaskTubes:
        episode = self.episodes[index]
        random = np.random.default_rng((self.seed, self.epoch, index, _TUBE))
        maps = torch.cat([episode.query_mask, episode.query_ignore.float()])
        frames, moved = mask_tube(episode.query_image[0], maps, random)
        return MaskTubes(
            frames=frames[None],
            masks=moved[None, :, 0],
            ignore=moved[None, :, 1].bool(),
            support_images=episode.support_images,
            support_masks=episode.support_masks,
            support_sizes=episode.support_sizes,
            support_kinds=episode.support_kinds,
            class_ids=episode.class_ids,
            keys=episode.keys,
            indices=episode.indices,
            class_names=episode.class_names,
        )
