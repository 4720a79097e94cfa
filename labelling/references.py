"""People's labelled pictures, in whatever form the masks come, and the classes that they show.

Pictures are upright as their EXIF data say, and masks belong to upright pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.geometry import nearest, touched
from common.images import IGNORED, LARGE, open_image, read_photo
from labelling.marks import Mark
from labelling.options import Examples
from model.reference import Reference as Shot

HIGHEST_GREY_ID = 100
"""Grey masks of class ids are nearly black; brighter ones with several values are antialiased."""


Shots = list[Shot]
"""The references of a class."""


@dataclass(frozen=True)
class Reference:
    """A labelled picture."""

    pixels: np.ndarray
    """H x W x 3 uint8 RGB."""
    masks: dict[int, np.ndarray]
    """Class id -> H x W bool, never empty; 1 where the mask has no ids but only an inside."""
    kind: str = "mask"
    """What marks the object: one of `common.kinds.KINDS`, with class id 1 unless a mask."""


def read_reference(image: Path, mask: Path, largest: int = LARGE) -> Reference:
    """Read a labelled picture.

    The mask may be black and white, of values 0 and 1, of class ids with a palette or nearly black
    without one, or a picture that is transparent outside the object. With a palette the id 255
    marks nothing, if there are other ids.

    Args:
        largest: pixels above which picture and mask are made smaller.

    Raises:
        UsageError: a file is missing or broken, or the mask is antialiased, coloured, empty or of
            another size than the picture.
    """
    photo = read_photo(image, largest)
    pixels = photo.pixels
    with open_image(mask) as stored:
        size = (stored.height, stored.width)
        if size != photo.size:
            raise UsageError(
                f"mask {mask} is {size[1]} x {size[0]} pixels, but its picture {image} is "
                f"{photo.size[1]} x {photo.size[0]} (upright)"
            )
        values, ids = _class_values(stored, mask)
    if not ids:
        raise UsageError(f"empty mask: {mask} marks no pixel")
    smaller = nearest(values, pixels.shape[:2])
    masks = {class_id: smaller == value for value, class_id in ids.items()}
    if vanished := [class_id for class_id, marked in masks.items() if not marked.any()]:
        raise UsageError(f"mask {mask} marks too few pixels of class {vanished[0]} to be seen")
    return Reference(pixels, masks)


def read_marked(image: Path, mark: Mark, largest: int = LARGE) -> Reference:
    """Read a labelled picture of which a mask, points, a box or strokes mark the object.

    Raises:
        UsageError: as `read_reference`, or the mark is empty or lies outside of the picture.
    """
    if mark.kind == "mask":
        return read_reference(image, mark.path, largest)
    photo = read_photo(image, largest)
    marked = touched(mark.drawn(photo.size, image), photo.pixels.shape[:2])
    return Reference(photo.pixels, {1: marked}, mark.kind)


def read_examples(
    examples: Examples,
) -> tuple[list[Reference], dict[int, str], dict[int, Shots]]:
    """The references as wanted, class id -> name, and class id -> its shots.

    Raises:
        UsageError: a file is missing or broken, or names and ids do not go with the masks.
    """
    marked = zip((image for image, _ in examples.reference), examples.marks, strict=True)
    read = [read_marked(image, mark) for image, mark in marked]
    references = wanted_classes(examples, read)
    return references, *name_classes(examples, references)


def wanted_classes(examples: Examples, references: Sequence[Reference]) -> list[Reference]:
    """The references without those ids of their masks that were not asked for.

    Raises:
        UsageError: a mask has none of the ids.
    """
    if not examples.ids:
        return list(references)
    kept = []
    for (image, mark), reference in zip(examples.reference, references, strict=True):
        masks = {c: mask for c, mask in reference.masks.items() if c in examples.ids}
        if reference.kind != "mask":
            masks = reference.masks
        if not masks:
            there = ", ".join(map(str, reference.masks))
            raise UsageError(f"--ids: the mask {mark} of {image} has only {there}")
        kept.append(replace(reference, masks=masks))
    return kept


def describe_classes(
    examples: Examples, references: Sequence[Reference], classes: Mapping[int, str]
) -> list[str]:
    """Lines about what each reference brings: names, shares, and the flags that change them."""
    lines, several = [], False
    by_turn = bool(examples.class_name) and not examples.names_of_ids
    names = examples.class_name * (len(references) // max(1, len(examples.class_name)))
    for number, ((image, mark), reference) in enumerate(
        zip(examples.reference, references, strict=True)
    ):
        for class_id, mask in reference.masks.items():
            name = names[number] if by_turn else classes[class_id]
            of_id = f", id {class_id}" if len(reference.masks) > 1 else ""
            share = f", {100 * mask.mean():.3g} % of the picture"
            told = share if reference.kind == "mask" else ""
            lines.append(f'reference {image}, {mark}{of_id}: class "{name}"{told}')
        several |= len(reference.masks) > 1
    if several and by_turn:
        lines.append("several ids make up one class here: --class_name ID=NAME keeps them apart")
    elif several:
        lines.append(
            "each id is a class: --ids takes some of them, --class_name ID=NAME names them, "
            "--class_name NAME makes them one"
        )
    elif not examples.class_name:
        lines.append("--class_name NAME calls it something else")
    return lines


def name_classes(
    examples: Examples, references: Sequence[Reference]
) -> tuple[dict[int, str], dict[int, Shots]]:
    """Class id -> name, and class id -> its shots."""
    shots: dict[int, Shots] = {}
    if examples.class_name and not examples.names_of_ids:
        names = list(dict.fromkeys(examples.class_name))
        each = examples.class_name * (len(references) // len(examples.class_name))
        for name, reference in zip(each, references, strict=True):
            whole = np.logical_or.reduce(list(reference.masks.values()))
            shot = Shot(reference.pixels, whole, reference.kind)
            shots.setdefault(1 + names.index(name), []).append(shot)
        return dict(enumerate(names, start=1)), shots

    for reference in references:
        for class_id, mask in reference.masks.items():
            shots.setdefault(class_id, []).append(Shot(reference.pixels, mask, reference.kind))
    names_of_ids = examples.names_of_ids
    if unknown := names_of_ids.keys() - shots.keys():
        raise UsageError(f"--class_name: no mask has the id {min(unknown)}")
    default = {1: "object"} if list(shots) == [1] else {c: f"class_{c}" for c in shots}
    return {c: names_of_ids.get(c, default[c]) for c in sorted(shots)}, shots


def _class_values(stored: Image.Image, path: Path) -> tuple[np.ndarray, dict[int, int]]:
    """A mask's values, H x W, and which of them are which class ids."""
    if stored.mode == "P" and not _is_grey_ramp(stored):
        values = np.asarray(stored)
        ids = [int(value) for value in np.unique(values) if value]
        if ids == [IGNORED]:
            return values, {IGNORED: 1}
        return values, {value: value for value in ids if value != IGNORED}

    values = _grey_values(stored, path)
    ids = [int(value) for value in np.unique(values) if value]
    if len(ids) == 1 and ids[0] > HIGHEST_GREY_ID:
        return values, {ids[0]: 1}
    if any(value > HIGHEST_GREY_ID for value in ids):
        raise UsageError(
            f"mask {path} has {len(ids)} shades up to {ids[-1]}: antialiased or compressed? "
            "Save it as PNG with 0 and 255 only, or class ids with a palette"
        )
    return values, {value: value for value in ids}


def _is_grey_ramp(stored: Image.Image) -> bool:
    """Whether a palette image only shows shades of grey, and more than two of them."""
    used = [index for _, index in stored.getcolors()]
    palette = np.array(stored.getpalette("RGB")).reshape(-1, 3)
    colours = palette[[index for index in used if index < len(palette)]]
    return len(used) > 2 and bool((colours == colours[:, :1]).all())


def _grey_values(stored: Image.Image, path: Path) -> np.ndarray:
    """A mask's shades of grey, or its opacity if it is transparent anywhere; H x W."""
    if stored.mode in ("1", "L") or stored.mode.startswith("I"):
        return np.asarray(stored).astype(np.uint32 if stored.mode.startswith("I") else np.uint8)
    if stored.mode in ("LA", "PA", "RGBA"):
        opacity = np.asarray(stored.getchannel("A"))
        if opacity.min() < 255:
            return opacity
    colours = np.asarray(stored.convert("RGB"))
    if (colours == colours[..., :1]).all():
        return colours[..., 0]
    codes = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    kinds = np.unique(codes)
    if len(kinds) > 2 or (len(kinds) == 2 and kinds[0] != 0):
        raise UsageError(
            f"mask {path} has {len(kinds)} colours: save it as black and white, or as class ids "
            "with a palette"
        )
    return np.where(codes > 0, 255, 0).astype(np.uint8)
