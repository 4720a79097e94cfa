"""Masks as COCO's annotations have them: run lengths or outlines.

Shapes: H and W the picture's size.
"""

from typing import Any

import numpy as np
from pycocotools import mask as run_lengths


def run_length(mask: np.ndarray) -> dict[str, Any]:
    """A mask, H x W bool, as COCO's compressed run lengths in JSON values."""
    encoded = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def mask_annotation(mask: np.ndarray) -> dict[str, Any]:
    """What an annotation says of a mask, H x W bool and not empty: area, box and run lengths."""
    segmentation = run_length(mask)
    return {
        "segmentation": segmentation,
        "area": int(np.count_nonzero(mask)),
        "bbox": [float(side) for side in run_lengths.toBbox(segmentation)],
        "iscrowd": 0,
    }


def annotated_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """The mask of an annotation of any kind, H x W bool, filled as pycocotools fills outlines.

    Args:
        size: H and W.

    Raises:
        ValueError: it is malformed, or of another size.
    """
    try:
        coded = segmentation
        if isinstance(segmentation, list):
            coded = run_lengths.merge(run_lengths.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            coded = run_lengths.frPyObjects(segmentation, *size)
        mask = run_lengths.decode(coded).astype(bool)
    except Exception as error:  # pycocotools raises many kinds, Exception itself among them
        raise ValueError(f"no segmentation of COCO's kind: {error!r}") from None
    if mask.shape != size:
        raise ValueError(f"a segmentation of {mask.shape}, the picture is {size}")
    return mask
