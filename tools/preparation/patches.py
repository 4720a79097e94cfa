"""Cut the large photographs of iSAID and DeepGlobe, taken from above, into what is tested.

A patch that is there is left alone, so that an interrupted call goes on where it stopped; its mask
is written last.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.files import write_atomically
from common.images import IGNORED, read_image
from data.class_index import ImageFiles, name_some
from data.parallel import parallel_map
from data.pixel_classes import DeepGlobe, Isaid, read_colours

ISAID_PATCH = 256
DEEPGLOBE_PIECE = 408
"""A sixth of a side."""
_MASK = "_instance_color_RGB"
_ISAID_COLOURS = (
    *((0, 0, 63), (0, 63, 63), (0, 63, 0), (0, 63, 127), (0, 63, 191)),
    *((0, 63, 255), (0, 127, 63), (0, 127, 127), (0, 0, 127), (0, 0, 191)),
    *((0, 0, 255), (0, 191, 127), (0, 127, 191), (0, 127, 255), (0, 100, 155)),
)
"""Of the classes in their order, as in iSAID's own masks."""


def make_isaid(folder: Path, workers: int | None) -> None:
    """Cut iSAID/original/val/**/P*.png and their masks into patches, those that show a class.

    Patches lie side by side; the last of a row and of a column is moved in to fit.

    Raises:
        UsageError: a picture has no mask or one of another size, or a mask holds other colours.
    """
    masks = isaid_masks(folder)
    pictures = {
        path.stem: path
        for path in (folder / "original" / "val").rglob("P*.png")
        if "_instance_" not in path.stem
    }
    _cut_all(folder, Isaid, pictures, masks, partial(_cut_isaid, folder=folder), workers)


def isaid_masks(folder: Path) -> dict[str, Path]:
    """iSAID's own masks of its validation pictures, by picture, if they are there."""
    found = sorted((folder / "original" / "val").rglob(f"P*{_MASK}.png"))
    return {path.stem.removesuffix(_MASK): path for path in found}


def make_deepglobe(folder: Path, workers: int | None) -> None:
    """Cut DeepGlobe/train/*_sat.jpg and *_mask.png into pieces, those that show several classes and
    nothing unknown.

    Raises:
        UsageError: a picture has no mask, or one of another size.
    """
    masks, pictures = (
        {
            path.name.removesuffix(ending): path
            for path in sorted((folder / "train").glob(f"*{ending}"))
        }
        for ending in ("_mask.png", "_sat.jpg")
    )
    _cut_all(folder, DeepGlobe, pictures, masks, partial(_cut_deepglobe, folder=folder), workers)


def _cut_all(
    folder: Path,
    reader: type[Isaid] | type[DeepGlobe],
    pictures: dict[str, Path],
    masks: dict[str, Path],
    cut: Callable[[ImageFiles], None],
    workers: int | None,
) -> None:
    if without := sorted(masks.keys() ^ pictures.keys()):
        raise UsageError(
            f"{folder}: {len(without)} pictures or masks lack the other: {name_some(without)}"
        )
    if not masks:
        return
    for inner in reader.inner:
        (folder / inner).mkdir(parents=True, exist_ok=True)
    pairs = [ImageFiles(pictures[name], mask) for name, mask in masks.items()]
    parallel_map(cut, pairs, workers=workers, description=f"cutting {reader.folder}")


def _cut_isaid(files: ImageFiles, folder: Path) -> None:
    image, ids = read_image(files.image, upright=False), isaid_ids(files.mask)
    for (top, left), patch, mask in _patches(files, image, ids, ISAID_PATCH):
        if ((mask > 0) & (mask < IGNORED)).any():
            bottom, right = top + mask.shape[0], left + mask.shape[1]
            name = f"{files.image.stem}_{top}_{bottom}_{left}_{right}"
            _write(folder, Isaid, name, patch, mask)


def _cut_deepglobe(files: ImageFiles, folder: Path) -> None:
    image, mask = (read_image(path, upright=False) for path in (files.image, files.mask))
    ids = read_colours(files.mask)
    pieces = zip(
        _patches(files, image, mask, DEEPGLOBE_PIECE),
        _patches(files, image, ids, DEEPGLOBE_PIECE),
        strict=True,
    )
    for ((top, left), piece, colours), (_, _, shown) in pieces:
        classes = np.unique(shown)
        if len(classes) > 1 and 0 not in classes:
            name = files.image.name.removesuffix("_sat.jpg")
            row, column = top // DEEPGLOBE_PIECE, left // DEEPGLOBE_PIECE
            _write(folder, DeepGlobe, f"{name}_{row}_{column}", piece, colours)


def isaid_ids(path: Path) -> np.ndarray:
    """One of iSAID's own masks, which are in colours, as class ids, H x W uint8.

    Raises:
        UsageError: it cannot be read, or holds colours that are no class.
    """
    colours = read_image(path, upright=False).astype(np.int32) @ np.int32([1 << 16, 1 << 8, 1])
    known = {0: 0}
    known |= {r << 16 | g << 8 | b: c for c, (r, g, b) in enumerate(_ISAID_COLOURS, start=1)}
    found, places = np.unique(colours, return_inverse=True)
    if other := [f"{value:06x}" for value in found.tolist() if value not in known]:
        raise UsageError(f"{path} holds colours that are no class: {name_some(other)}")
    ids = np.array([known[value] for value in found.tolist()], dtype=np.uint8)
    return ids[places].reshape(colours.shape)


def _patches(
    files: ImageFiles, image: np.ndarray, mask: np.ndarray, side: int
) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """Top and left, picture and mask of every patch."""
    if image.shape[:2] != mask.shape[:2]:
        raise UsageError(
            f"sizes differ (height, width): {files.mask} {mask.shape[:2]}, "
            f"{files.image} {image.shape[:2]}"
        )
    for top in _starts(mask.shape[0], side):
        for left in _starts(mask.shape[1], side):
            inside = np.s_[top : top + side, left : left + side]
            yield (top, left), image[inside], mask[inside]


def _starts(length: int, side: int) -> list[int]:
    """Where patches of a side begin: side by side, the last one moved in."""
    return [min(start, max(0, length - side)) for start in range(0, length, side)]


def _write(
    folder: Path,
    reader: type[Isaid] | type[DeepGlobe],
    name: str,
    image: np.ndarray,
    mask: np.ndarray,
) -> None:
    for inner, ending, pixels in zip(reader.inner, reader.endings, (image, mask), strict=True):
        path = folder / inner / f"{name}{ending}"
        if not path.is_file():
            write_atomically(path, Image.fromarray(np.ascontiguousarray(pixels)).save)
