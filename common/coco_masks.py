"""Masks as COCO's annotations have them: run lengths or outlines.

Shapes: H and W the picture's size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

from common.cli import shown

MOST_PIXELS = 2**29
"""A file that lists a larger picture is wrong: nobody outlines objects in one."""


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


def listed_size(image: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a picture in a file of COCO's format.

    Raises:
        ValueError: no picture is so large or so small; also KeyError, where it does not say.
    """
    height, width = (image[side] for side in ("height", "width"))
    for side in (height, width):
        if type(side) not in (int, float) or not 1 <= side <= MOST_PIXELS:
            raise ValueError(f"no picture is {side!r:.40} pixels wide or high")
    if height * width > MOST_PIXELS:
        raise ValueError(f"no picture has {width} x {height} pixels")
    return int(height), int(width)


def refuse_outlines(outlines: Sequence[Sequence[float]], size: tuple[int, int]) -> None:
    """Check outlines x, y, x, y, ... before they are drawn.

    Raises:
        ValueError: a place is no number, or far from the picture: such take for ever to fill, or
            all memory.
    """
    least, most = -max(size), 2 * max(size)
    for outline in outlines:
        known = not outline or (least <= min(outline) and max(outline) <= most)
        if not known or sum(outline) != sum(outline):  # the latter where one is NaN
            raise ValueError("a polygon with places far from the picture, or that are no numbers")


def refuse_runs(counts: Any, size: tuple[int, int]) -> None:
    """Check run lengths, a list or compressed, before they are decoded.

    pycocotools leaves places that no run covers as they are in memory.

    Raises:
        ValueError: they do not add up to a picture of that height and width.
    """
    runs = np.array(counts, np.int64) if isinstance(counts, list) else _decompressed(counts)
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise ValueError("run lengths that do not add up to the picture")


def _decompressed(counts: str | bytes) -> np.ndarray:
    """Run lengths from COCO's text: 5 bits a letter from "0" on, the lowest first.

    A letter's sixth bit says that more follow, the fifth of the last one is the sign. From the
    fourth number on each is the difference to the last but one.
    """
    letters = counts.encode() if isinstance(counts, str) else counts
    values = np.frombuffer(letters, np.uint8).astype(np.int64) - ord("0")
    if not len(values) or values.min() < 0 or values.max() > 63 or values[-1] & 32:
        raise ValueError("these are no run lengths")
    last = np.flatnonzero(values & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(values)) - np.repeat(first, last - first + 1)
    if place.max() > 6:
        raise ValueError("run lengths longer than any picture")
    numbers = np.add.reduceat((values & 31) << (5 * place), first)
    numbers -= np.where(values[last] & 16, 1 << (5 * (place[last] + 1)), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


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
            refuse_outlines(segmentation, size)
            coded = run_lengths.merge(run_lengths.frPyObjects(segmentation, *size))
        else:
            refuse_runs(segmentation["counts"], tuple(segmentation["size"]))
            if isinstance(segmentation["counts"], list):
                coded = run_lengths.frPyObjects(segmentation, *size)
        mask = run_lengths.decode(coded).astype(bool)
    except Exception as error:  # pycocotools raises many kinds, Exception itself among them
        raise ValueError(f"no segmentation of COCO's kind: {shown(error)}") from None
    if mask.shape != size:
        raise ValueError(f"a segmentation of {mask.shape}, the picture is {size}")
    return mask
