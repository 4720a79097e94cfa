"""Generated benchmarks: which pair of shape and texture is which class."""

from data.drawing import SHAPES, TEXTURES

SIDE = 128
"""Side of the generated images, in pixels."""


def _pairs(offsets: range) -> list[tuple[str, str]]:
    shapes, textures = list(SHAPES), list(TEXTURES)
    return [
        (shape, textures[(position + offset) % len(textures)])
        for offset in offsets
        for position, shape in enumerate(shapes)
    ]


PRETRAINING_PAIRS = _pairs(range(5))
"""The 60 pairs on which the tiny foundation models are trained, and nothing else is."""
BENCHMARK_PAIRS = _pairs(range(5, 12))[:80]
"""The class of COCO category c (1 to 80) at position c - 1; VOC's classes are 20 of them."""
