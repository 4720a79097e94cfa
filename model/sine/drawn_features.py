"""What stands in the place of DINOv2 in the tiny size: features of two networks, and of places.

DINOv2's tokens say what is where and which parts belong together. Of the repository's own networks
the tiny backbone names shapes and textures but knows no places, and the tiny SAM tells objects of
one kind apart; so both stand side by side, with the codes of their places.
Shapes: B batch, C channels, S the picture's side, s tokens per side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.backbones.backbone import SHRUNK, Backbone, Network, build_backbone
from model.layers import sine_position
from model.sam.segmenter import Segmenter
from model.sam.variants import frozen_segmenter
from model.sine.config import PLACE_CHANNELS

NAMES_LENGTH, OBJECTS_LENGTH = 6.0, 2.0
"""How long the backbone's and the SAM's channels are made, beside the code of the place, which is
5.7 long: classes are told by cosines of a mixture of all three, and need names most."""


class DrawnFeatures(nn.Module):
    """A network for `Backbone`, without stages."""

    middle_channels, input_size = 0, None

    def __init__(self, names: Network, objects: Segmenter) -> None:
        """Put the parts together.

        Args:
            names: the tiny backbone's network.
            objects: the tiny SAM.
        """
        super().__init__()
        self.names, self.objects = names, objects

    def middle(self, images: Tensor) -> tuple[None, Tensor]:
        """B x C x s x s of normalised pictures, B x 3 x S x S, which SAM takes at its own size."""
        named = self.names.high(self.names.middle(images)[1])
        size = (self.objects.image_size,) * 2
        objects = self.objects.encode_images(_resized(images, size)).embedding
        side = named.shape[-1]
        places = sine_position(PLACE_CHANNELS, side, images.device).T.unflatten(1, (side, side))
        parts = [
            NAMES_LENGTH * F.normalize(named, dim=1),
            OBJECTS_LENGTH * F.normalize(_resized(objects, named.shape[-2:]), dim=1),
            places.expand(len(images), -1, -1, -1),
        ]
        return None, torch.cat(parts, dim=1)

    def high(self, stage3: Tensor) -> Tensor:
        return stage3


def drawn_features(random_weights: bool = False) -> Backbone:
    """Build the frozen features of the tiny size with the repository's weights, or random ones.

    Raises:
        UsageError: a file of the repository is broken.
    """
    objects = frozen_segmenter(1, "tiny", random=random_weights)
    names = SHRUNK["tiny"]() if random_weights else build_backbone("tiny", None).network
    return Backbone("tiny", DrawnFeatures(names, objects))


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
