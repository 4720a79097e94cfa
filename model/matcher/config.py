"""What Matcher is made of: its flags and its builder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from common.cli import option
from model.backbones.backbone import SHRUNK, Backbone, build_backbone
from model.backbones.dino import PATCH, SIZES, Dino, vit_14
from model.matcher.frames import WideFrames
from model.matcher.network import Matcher
from model.matcher.settings import SETTINGS
from model.matcher.video import OVERLAPS
from model.method_options import OfficialNetworksOptions
from model.sam.variants import DEFAULT_SAM_MODEL, SAM_MODELS, build_segmenter, segmenter_weights
from model.weights import load_strictly, official_path, read_weights

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


@dataclass(frozen=True)
class MatcherOptions(OfficialNetworksOptions):
    """What the model is made of (Matcher)."""

    method: ClassVar[str] = "matcher"

    setting: str = option(
        "objects",
        "what is looked for: objects of a class, one large object (fss), or parts of objects",
        tuple(SETTINGS),
    )
    size: str = option(
        "l", "DINOv2 of which size, or the tiny networks that know drawings", (*SIZES, "tiny")
    )
    sam_model: str | None = option(
        None, "variant of SAM: vit_b, vit_l, vit_h or tiny (default: largest; with size tiny, tiny)"
    )
    dino_weights: Path | None = option(
        None, "file of DINOv2 (default: the official one in the folder of weights)"
    )
    sam_weights: Path | None = option(
        None, "file of SAM (default: the official one in the folder of weights)"
    )
    prompt_seed: int = option(0, "seed of the prompts that are drawn at random")
    threshold: float = option(
        0.5, "masks count above it when they are resized; the released demo has 0"
    )
    keep_empty: bool = option(
        False, "score empty proposals as the whole picture, as the released program does"
    )
    centre_for_empty: bool = option(
        False, "let the middle stand for an empty reference, as the released program does"
    )
    video_overlap: str = option(
        "best",
        "which object of a video has a pixel that several claim: that of the highest score, or "
        "(the released program) the one that came last",
        OVERLAPS,
    )

    @property
    def segmenter(self) -> str:
        """The variant of SAM."""
        return self.sam_model or ("tiny" if self.size == "tiny" else DEFAULT_SAM_MODEL[1])

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.segmenter not in SAM_MODELS[1]:
            names = ", ".join(SAM_MODELS[1])
            found.append(f"--sam_model {self.segmenter} is no SAM version 1; there are {names}")
        if not 0 <= self.threshold < 1:
            found.append(f"--threshold must be from 0 to below 1, not {self.threshold}")
        if self.prompt_seed < 0:
            found.append(f"--prompt_seed cannot be negative, as {self.prompt_seed} is")
        found += self.useless_files(dino_weights=self.dino_weights, sam_weights=self.sam_weights)
        if self.size == "tiny" and self.dino_weights:
            found.append("--size tiny has no DINOv2, so no use for --dino_weights")
        return found

    def files(self) -> tuple[str, ...]:
        """Names of the official files that building reads."""
        if self.random:
            return ()
        dino = () if self.size == "tiny" or self.dino_weights else (f"dinov2_{self.size}",)
        sam = () if self.segmenter == "tiny" or self.sam_weights else (self.segmenter,)
        return (*dino, *sam)


def build_matcher(options: MatcherOptions) -> Matcher:
    """Build Matcher with the weights of its frozen networks.

    Raises:
        UsageError: a weights file is missing, broken or of another model.
    """
    sam_weights = None
    if not options.random:
        sam_weights = options.sam_weights or segmenter_weights(1, options.segmenter)
    segmenter = build_segmenter(1, options.segmenter, sam_weights, options.shrunk)
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
