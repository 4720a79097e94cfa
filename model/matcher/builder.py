"""Building Matcher from its options."""

from dataclasses import replace

from model.backbones.backbone import SHRUNK, Backbone, build_backbone
from model.backbones.dino import Dino, vit_14
from model.backbones.sizes import PATCH
from model.matcher.config import MatcherOptions
from model.matcher.frames import WideFrames
from model.matcher.network import Matcher
from model.matcher.settings import SETTINGS
from model.official_paths import official_path
from model.sam.variants import frozen_segmenter
from model.weights import load_strictly, read_weights

IMAGE_SIZE = 518
"""37 x 37 patches of 14 pixels: what DINOv2 was trained last for."""
_TINY_SIZE = 128
_SHRUNK_SIZE = 112
_FRAME_PATCHES, _TINY_PATCHES = (36, 64), (9, 16)
"""Of a frame of a video, along its shorter and its longer side."""
_TINY_PATCH = 8
"""Pixels along a side of a cell of the tiny backbone."""
_TINY_GRID, _TINY_DRAWS = 8, 8
"""Prompts of tiny and shrunk networks."""


def build_matcher(options: MatcherOptions) -> Matcher:
    """Build Matcher with the weights of its frozen networks.

    Raises:
        UsageError: a weights file is missing, broken or of another model.
    """
    segmenter = frozen_segmenter(
        1, options.segmenter, options.sam_weights, options.random_weights, options.shrunk
    )
    setting, side, patches, patch = SETTINGS[options.setting], IMAGE_SIZE, _FRAME_PATCHES, PATCH
    if options.size == "tiny" or options.shrunk:
        setting, patches = setting.reduced(_TINY_GRID, _TINY_DRAWS), _TINY_PATCHES
        side = _TINY_SIZE if options.size == "tiny" else _SHRUNK_SIZE
        patch = _TINY_PATCH if options.size == "tiny" else PATCH
    published = ("threshold", "keep_empty", "centre_for_empty", "video_overlap")
    setting = replace(setting, **{name: getattr(options, name) for name in published})
    frames = WideFrames(patches[1] * patch, short=patches[0] * patch)
    return Matcher(_backbone(options), segmenter, side, setting, options.prompt_seed, frames)


def _backbone(options: MatcherOptions) -> Backbone:
    name = f"dinov2_{options.size}"
    if options.size == "tiny":
        if options.random:
            return Backbone("tiny", SHRUNK["tiny"]())
        return build_backbone("tiny", None)
    if options.shrunk:
        return Backbone(name, SHRUNK["dinov2_b_hub"]())
    network = Dino(vit_14(options.size, IMAGE_SIZE), positions="hub")
    if not options.random_weights:
        path = options.dino_weights or official_path(name)
        load_strictly(network, network.rename_official(read_weights(path, name)), path)
    return Backbone(name, network)
