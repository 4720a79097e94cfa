"""Which SAM and SAM 2 there are, where their weights belong, and how they are built."""

from pathlib import Path

from common.files import ROOT
from model.official_paths import official_path
from model.sam import sam1, sam2
from model.sam.segmenter import Segmenter
from model.weights import load_strictly, read_weights

TINY_WEIGHTS = {
    1: ROOT / "segment-anything" / "tiny_sam.safetensors",
    2: ROOT / "segment-anything-2" / "tiny_sam2.safetensors",
}


def segmenter_weights(version: int, name: str) -> Path:
    """Where the weights of a variant of SAM (1) or SAM 2 (2) belong."""
    return TINY_WEIGHTS[version] if name == "tiny" else official_path(name)


def build_segmenter(
    version: int, name: str, weights: Path | None, shrunk: bool = False
) -> Segmenter:
    """Build SAM (1) or SAM 2 (2), with random weights if there is no file."""
    state = None if weights is None else read_weights(weights, name)  # before work that takes long
    segmenter = sam1.Sam(name, shrunk=shrunk) if version == 1 else sam2.Sam2(name, shrunk)
    if state is not None:
        load_strictly(segmenter.official, state, weights)
    return segmenter


def frozen_segmenter(
    version: int, name: str, weights: Path | None = None, random: bool = False, shrunk: bool = False
) -> Segmenter:
    """Build SAM (1) or SAM 2 (2) of what flags say, as `frozen_backbone` builds a backbone.

    Raises:
        UsageError: the weights file is missing, broken or of another model.
    """
    path = None if random or shrunk else weights or segmenter_weights(version, name)
    return build_segmenter(version, name, path, shrunk)
