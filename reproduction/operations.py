"""Floating-point operations of the model's parts, counted on tensors without content.

One multiply-add is two operations; everything is for one image, frame or episode of one shot.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.backbones.backbone import BUILDERS, Backbone
from model.dc_sam.builder import build_generator
from model.dc_sam.config import DcSamOptions
from model.dc_sam.prompt_generator import PromptGenerator
from model.layers import sine_position
from model.sam.sam1 import Sam
from model.sam.sam2 import Sam2
from model.sam.segmenter import Segmenter, SegmenterFeatures

MEMORY_CHANNELS = 64
POINTER_TOKENS = 4
"""An object pointer is cut into so many tokens of `MEMORY_CHANNELS`."""


@dataclass(frozen=True)
class Operations:
    """GFLOP of each part."""

    segmenter: float
    """The segmenter's encoder, an image."""
    backbone: float
    """Stages 0 to 3, an image."""
    high: float
    """Stage 4, a call: for the query, and for each branch of the support."""
    priors: float
    """Prior masks of both branches: together they compare the query with every place once."""
    support: float
    """Reduction and fusion of the support, prototypes and the first attention layers."""
    query: float
    """The same of the query, the second attention layers and the self-attention."""
    decode: float
    """The mask decoder; it runs twice."""
    branches: int

    @property
    def frozen(self) -> float:
        """An episode in the networks that do not learn."""
        return 2 * (self.segmenter + self.backbone) + (1 + self.branches) * self.high + self.priors

    @property
    def learned(self) -> float:
        """An episode in what gradients pass through: prompt generator and decoder."""
        return self.support + self.query + 2 * self.decode


@cache
def build_on_meta(version: int, name: str) -> Segmenter:
    """A segmenter whose weights have shapes only."""
    if version == 2:
        return Sam2(name).to("meta")  # its parts compute numbers while they are built
    with torch.device("meta"):
        return Sam(name)


def giga(call: Callable, *inputs: object, **named: object) -> float:
    """GFLOP of a call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(*inputs, **named)
    return counter.get_total_flops() / 1e9


@cache
def count(options: DcSamOptions) -> Operations:
    """Count the operations of a model."""
    segmenter = build_on_meta(options.sam_version, options.segmenter)
    large, channels = segmenter.image_size, segmenter.channels
    with torch.device("meta"):
        backbone = Backbone(options.backbone, BUILDERS[options.backbone]({}))
        images = torch.empty(1, 3, options.image_size, options.image_size)
        extracted = backbone.extract(images)
        high = backbone.high(extracted.trunk, None)
        whole, tokens = torch.empty(1, 3, large, large), torch.empty(1, 50, channels)
    network = segmenter.network.image_encoder if options.sam_version == 2 else segmenter.encode
    map_ = high if extracted.middle is None else extracted.middle
    places = high.shape[-1] ** 2
    support, query, branches = _generator(options, backbone.middle_channels, map_.shape[-1])
    return Operations(
        segmenter=giga(network, whole),
        backbone=giga(backbone.extract, images),
        high=giga(backbone.high, extracted.trunk, None),
        priors=2 * high.shape[1] * places**2 / 1e9,
        support=support,
        query=query,
        decode=giga(segmenter.decode_all, _features(segmenter, "meta"), tokens),
        branches=branches,
    )


def _features(segmenter: Segmenter, device: str) -> SegmenterFeatures:
    """Empty features of one image; SAM 2 has finer levels too."""
    channels, side = segmenter.channels, 64
    levels = [(channels // 8, 4 * side), (channels // 4, 2 * side)]
    shapes = levels if isinstance(segmenter, Sam2) else []
    return SegmenterFeatures(
        torch.zeros(1, channels, side, side, device=device),
        tuple(torch.zeros(1, width, s, s, device=device) for width, s in shapes),
    )


def _generator(options: DcSamOptions, middle: int, side: int) -> tuple[float, float, int]:
    """GFLOP for the support and for the query, and how many branches there are.

    Masks are looked at while they are shrunk, so these tensors have content.
    """
    segmenter = build_on_meta(options.sam_version, options.segmenter)
    generator = build_generator(options, middle, segmenter.channels).eval().requires_grad_(False)
    features = _features(segmenter, "cpu")
    middles = torch.zeros(1, middle, side, side) if middle else None
    mask = torch.ones(1, 1, options.image_size, options.image_size)
    positions = (sine_position(segmenter.channels, side), None)

    def maps() -> list[torch.Tensor]:
        return generator.maps(middles, features, side)

    branches = generator.encode_support(maps(), mask, positions)
    prompts = [branch.prompts for branch in branches]
    priors = [mask] * len(branches)
    support = giga(lambda: generator.encode_support(maps(), mask, positions))
    query = giga(lambda: generator.refine(branches, prompts, maps(), priors, mask, positions))
    return support, query, len(generator.branches)


def learnable_parameters(options: DcSamOptions) -> int:
    """Of the prompt generator."""
    with torch.device("meta"):
        backbone = Backbone(options.backbone, BUILDERS[options.backbone]({}))
    segmenter = build_on_meta(options.sam_version, options.segmenter)
    generator: PromptGenerator = build_generator(
        options, backbone.middle_channels, segmenter.channels
    )
    return sum(parameter.numel() for parameter in generator.parameters())


@cache
def memory_attention(name: str, memories: int) -> float:
    """GFLOP of SAM 2's memory attention for a frame with so many memories."""
    network = build_on_meta(2, name).network
    side, channels = 64, network.hidden_dim
    with torch.device("meta"):
        frame = torch.empty(side * side, 1, channels)
        kept = torch.empty(memories * (side * side + POINTER_TOKENS), 1, MEMORY_CHANNELS)
    pointers = POINTER_TOKENS * memories
    return giga(network.memory_attention, frame, kept, frame, kept, num_obj_ptr_tokens=pointers)


@cache
def memory_encoder(name: str) -> float:
    """GFLOP of SAM 2's memory encoder for a frame."""
    segmenter = build_on_meta(2, name)
    side = segmenter.image_size
    with torch.device("meta"):
        embedding, mask = torch.empty(1, segmenter.channels, 64, 64), torch.empty(1, 1, side, side)
    return giga(segmenter.network.memory_encoder, embedding, mask, skip_mask_sigmoid=True)
