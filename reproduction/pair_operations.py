"""Floating-point operations of methods that learn from pairs, counted without content."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.backbones.backbone import Backbone
from model.sine.builder import dino
from model.sine.config import SIZES
from model.sine.former import MFormer
from model.sine.layers import Neck
from reproduction.operations import giga

CLASSES, OBJECTS = 2, 6
"""Of a pair's reference, taken for the mean; a class or an object more costs next to nothing."""


@dataclass(frozen=True)
class PairOperations:
    """GFLOP of each part."""

    encoder: float
    """The frozen network, an image."""
    neck: float
    """What learns, an image."""
    answer: float
    """What learns, a target with its references."""
    answer_all: float
    """The same with the answers of every layer, as training needs them."""
    alone: float = 0.0
    """Frozen networks that see a target only."""
    frame: float | None = None
    """All of a frame of a video whose objects are given by masks; None: as of a target."""

    @property
    def target(self) -> float:
        """A picture in which something is looked for that is known already."""
        return self.encoder + self.neck + self.alone + self.answer


@cache
def sine_operations(size: str) -> PairOperations:
    """Of SINE on the canvas of images, and of a frame on that of videos."""
    design = SIZES[size]
    frame = _sine_on(size, design.video_canvas).target
    return replace(_sine_on(size, design.canvas), frame=frame)


def _sine_on(size: str, canvas: int) -> PairOperations:
    design = SIZES[size]
    side = canvas // design.cell
    channels = design.former.channels
    with torch.device("meta"):
        backbone = Backbone(f"dinov2_{size}", dino(size))
        neck = Neck(design.channels, channels)
        image = torch.empty(1, 3, canvas, canvas)
        features = torch.empty(1, design.channels, side, side)
    encoder, of_neck = giga(backbone.extract, image), giga(neck, features)
    # tensors of a real device, which autocast asks for, but without numbers; MATH is counted
    with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH):
        former = MFormer(design.queries, design.former)
        target = torch.empty(1, channels, side, side)
        tokens = torch.empty(1, OBJECTS, channels), torch.empty(1, CLASSES, channels)
        answer = giga(former, target, *tokens)
        return PairOperations(encoder, of_neck, answer, giga(former, target, *tokens, True))


SEGIC_NECK, SEGIC_ENTITY, SEGIC_ENTITIES = 7.0, 4.0, 5
"""GFLOP of an image and of an object in SegIC's decoder by its digest, and objects of a pair."""


@cache
def segic_operations(size: str) -> PairOperations:
    """Of SegIC at 896 x 896; training goes there and back again."""
    with torch.device("meta"):
        backbone = Backbone(f"dinov2_{size}", dino(size))
        image = torch.empty(1, 3, 896, 896)
    encoder = giga(backbone.extract, image)
    return PairOperations(
        encoder, SEGIC_NECK, SEGIC_ENTITY, answer_all=2 * SEGIC_ENTITIES * SEGIC_ENTITY
    )


OPERATIONS: Mapping[str, Callable[[Mapping[str, object]], PairOperations]] = {
    "segic": lambda flags: segic_operations(str(flags.get("size", "l"))),
    "sine": lambda flags: sine_operations(str(flags.get("size", "l"))),
}
"""Method -> from the flags that name a model, its operations."""
