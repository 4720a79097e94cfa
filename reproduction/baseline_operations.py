"""Floating-point operations of the methods that DC-SAM is compared with, counted without content.

As in `reproduction.operations`: one multiply-add is two operations.
"""

from collections.abc import Callable, Mapping
from functools import cache

import torch

from model.backbones.backbone import BUILDERS, Backbone
from model.backbones.dino import Dino, vit_14
from model.layers import sine_position
from model.matcher.builder import IMAGE_SIZE as MATCHER_SIZE
from model.matcher.settings import SETTINGS
from model.pfenet.network import Pfenet
from model.sam.segmenter import SegmenterFeatures
from model.vrp_sam.builder import build_generator
from model.vrp_sam.config import VrpSamOptions
from reproduction.operations import build_on_meta, giga
from reproduction.pair_operations import PairOperations

SAM = "vit_h"
PASSES = 3
"""Of PerSAM's decoder, a picture."""
PROMPT_TOKENS = 2


def decode(tokens: int) -> float:
    """GFLOP of SAM's mask decoder for so many prompt tokens."""
    sam = build_on_meta(1, SAM)
    with torch.device("meta"):
        embedding = torch.empty(1, sam.channels, 64, 64)
        prompts = torch.empty(1, tokens, sam.channels)
    return giga(sam.decode_all, SegmenterFeatures(embedding, ()), prompts)


@cache
def sam_encoder() -> float:
    """GFLOP of SAM's image encoder."""
    sam = build_on_meta(1, SAM)
    with torch.device("meta"):
        return giga(sam.encode, torch.empty(1, 3, sam.image_size, sam.image_size))


@cache
def vrp_sam_parts(backbone: str) -> tuple[float, float, float]:
    """GFLOP of VRP-SAM: the backbone, an image; what learns, an episode; the prior mask."""
    options = VrpSamOptions(backbone=backbone)
    with torch.device("meta"):
        network = Backbone(backbone, BUILDERS[backbone]({}))
        images = torch.empty(1, 3, options.image_size, options.image_size)
        extracted = network.extract(images)
        high = network.high(extracted.trunk, None)
    frozen = giga(network.extract, images) + giga(network.high, extracted.trunk, None)
    side, places = extracted.middle.shape[-1], high.shape[-1] ** 2
    generator = build_generator(options, network.middle_channels, 256).eval().requires_grad_(False)
    middle, mask = torch.zeros(1, network.middle_channels, side, side), torch.ones(1, 1, side, side)
    positions = (sine_position(generator.channels, side), None)

    def learned() -> None:
        shown = generator.maps(middle, None, side)
        (said,) = generator.encode_support(shown, mask, positions)
        fused = generator.positive.fused(generator.maps(middle, None, side), said.prototype, mask)
        generator.positive.refine(said.prompts, fused, None, positions)

    return frozen, giga(learned), 2 * high.shape[1] * places**2 / 1e9


@cache
def vrp_sam_operations(backbone: str) -> PairOperations:
    """Of VRP-SAM with SAM ViT-H; SAM sees queries alone."""
    frozen, learned, prior = vrp_sam_parts(backbone)
    answer = learned + decode(VrpSamOptions.num_query)
    return PairOperations(frozen, 0.0, answer, answer, alone=sam_encoder() + prior)


@cache
def pfenet_operations(backbone: str, image_size: int, scales: str) -> PairOperations:
    """Of PFENet."""
    with torch.device("meta"):
        network = Backbone(backbone, BUILDERS[backbone]({}))
        model = Pfenet(network, image_size, scales).eval().requires_grad_(False)
        images = torch.empty(1, 3, image_size, image_size)
        extracted = network.extract(images)
        high = network.high(extracted.trunk, None)
        query = model.reduce_query(extracted.middle)
        prototype, prior = torch.empty(1, query.shape[1], 1, 1), torch.empty(1, 1, *high.shape[2:])
    frozen = giga(network.extract, images) + giga(network.high, extracted.trunk, None)
    reduced = giga(model.reduce_query, extracted.middle)
    answer = giga(model.enrichment, query, prototype, prior)
    compared = 2 * high.shape[1] * prior.numel() ** 2 / 1e9
    return PairOperations(frozen, reduced, answer, answer, alone=compared)


@cache
def persam_operations() -> PairOperations:
    """Of PerSAM, and of PerSAM-F, whose two numbers are learned at no price that counts."""
    answer = PASSES * decode(PROMPT_TOKENS)
    return PairOperations(sam_encoder(), 0.0, answer, answer)


@cache
def matcher_operations() -> PairOperations:
    """Of Matcher as it looks for objects of a class."""
    setting = SETTINGS["objects"]
    fewest, most = setting.sizes
    prompts = setting.grid**2 + setting.draws * (most - fewest + 1)
    with torch.device("meta"):
        network = Backbone("dinov2_l", Dino(vit_14("l", MATCHER_SIZE), positions="hub"))
        encoder = giga(network.extract, torch.empty(1, 3, MATCHER_SIZE, MATCHER_SIZE))
    answer = prompts * decode(PROMPT_TOKENS)
    return PairOperations(encoder, 0.0, answer, answer, alone=sam_encoder())


BASELINE_OPERATIONS: Mapping[str, Callable[[Mapping[str, object]], PairOperations]] = {
    "pfenet": lambda flags: pfenet_operations(
        str(flags["backbone"]), int(str(flags["image_size"])), str(flags["scales"])
    ),
    "vrp_sam": lambda flags: vrp_sam_operations(str(flags["backbone"])),
    "persam": lambda flags: persam_operations(),
    "persam_f": lambda flags: persam_operations(),
    "matcher": lambda flags: matcher_operations(),
}
"""Method -> from the flags that name a model, its operations."""
