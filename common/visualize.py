"""Pictures of results: masks over images, and contact sheets of episodes.

Images are H x W x 3 uint8 RGB arrays, masks H x W bool arrays.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from common.files import write_atomically
from common.video_io import davis_palette

if TYPE_CHECKING:
    from torch import Tensor

Colour = tuple[int, int, int]

SUPPORT_COLOUR: Colour = (58, 130, 246)
TRUTH_COLOUR: Colour = (34, 190, 94)
PREDICTION_COLOUR: Colour = (247, 120, 20)

TILE_SIDE = 192
_MARGIN = 24
_GAP = 8
_WIDEST_LABEL = 240
_PAPER: Colour = (255, 255, 255)
_MAT: Colour = (236, 238, 241)
_INK: Colour = (28, 32, 38)
_FAINT_INK: Colour = (110, 118, 129)


@dataclass(frozen=True)
class SheetRow:
    """One line of a contact sheet."""

    tiles: Sequence[np.ndarray]
    """Images of any size, shrunk or enlarged to the sheet's tiles."""
    label: str
    """What is written beside the tiles, such as the class name."""
    detail: str = ""
    """A fainter line below it; such as the IoU."""


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    colour: Colour = PREDICTION_COLOUR,
    outline: bool = True,
    opacity: float = 0.45,
) -> np.ndarray:
    """Tint an image where the mask is true and draw the mask's outline just inside it.

    Args:
        image: H x W x 3 uint8.
        mask: H x W bool.
        colour: RGB of tint and outline.
        outline: draw it, with a thickness that suits the image's size.
        opacity: of the tint, 0 to 1.

    Raises:
        ValueError: image and mask differ in size.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(f"a mask of {mask.shape} over an image of {image.shape[:2]}")
    mask = mask.astype(bool)
    result = image.copy()
    tint = (1 - opacity) * image[mask] + opacity * np.array(colour)
    result[mask] = tint.round().astype(np.uint8)
    if outline:
        thickness = max(1, round(min(mask.shape) / 120))
        kernel = np.ones((2 * thickness + 1, 2 * thickness + 1), dtype=np.uint8)
        inside = cv2.erode(mask.astype(np.uint8), kernel).astype(bool)  # the frame is no outline
        result[mask & ~inside] = colour
    return result


def label_overlay(image: np.ndarray, labels: np.ndarray, class_of: Mapping[int, int]) -> np.ndarray:
    """The image with each label in the colour that its class has in an indexed mask.

    Args:
        labels: class ids, uint8, or numbers of objects, int32, of any size.
        class_of: of each label to draw its class.
    """
    height, width = image.shape[:2]
    small = np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    colours = davis_palette()
    for label, class_id in class_of.items():
        image = overlay(image, small == label, tuple(colours[class_id].tolist()))
    return image


def overlay_tile(
    image: np.ndarray, mask: np.ndarray, colour: Colour, side: int = TILE_SIDE
) -> np.ndarray:
    """Fit image and mask into a square of that side, then draw the one over the other as `overlay`.

    Returns:
        The image in its own proportions, its longer side as long as asked for.
    """
    picture = Image.fromarray(image).convert("RGB")
    shown = ImageOps.contain(picture, (side, side), Image.Resampling.LANCZOS)
    soft = Image.fromarray(mask.astype(np.uint8) * 255)
    soft = soft.resize(shown.size, Image.Resampling.BILINEAR)
    return overlay(np.array(shown), np.array(soft) > 127, colour)


def episode_row(
    supports: Sequence[tuple[np.ndarray, np.ndarray]],
    query: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    class_name: str,
    iou: float,
    tile_side: int = TILE_SIDE,
) -> SheetRow:
    """Show an episode as support with mask, query, ground truth and prediction.

    Args:
        supports: image and mask of each shot; several share one tile.
        query: the query image.
        truth: its true mask.
        prediction: its predicted mask.
        class_name: written beside the row.
        iou: written below the name, in percent.
        tile_side: side of the tiles, so that outlines are drawn at the size they are seen at.
    """
    masked = (
        (query, truth, TRUTH_COLOUR),
        (query, prediction, PREDICTION_COLOUR),
    )
    tiles = [overlay_tile(image, mask, colour, tile_side) for image, mask, colour in masked]
    support = _mosaic(supports, tile_side)
    return SheetRow([support, query, *tiles], class_name, f"IoU {iou:.1f}")


EPISODE_HEADER = ("support", "query", "ground truth", "prediction")
"""Column titles that go with `episode_row`."""


def contact_sheet(
    header: Sequence[str], rows: Sequence[SheetRow], title: str = "", tile_side: int = TILE_SIDE
) -> np.ndarray:
    """Lay rows of tiles out on white paper, titles above, labels beside.

    Args:
        header: one title per column.
        rows: each with as many tiles as the header has titles.
        title: one line above everything.
        tile_side: tiles are fitted into squares of this side, keeping their proportions.

    Returns:
        The sheet, H x W x 3 uint8.

    Raises:
        ValueError: there is no row, or a row has more or fewer tiles than the header has titles.
    """
    if not rows or any(len(row.tiles) != len(header) for row in rows):
        raise ValueError(f"each row of a sheet needs {len(header)} tiles, and one row must exist")
    title_font, font, small_font = (_font(size) for size in (20, 16, 14))
    step = tile_side + _GAP
    top = _MARGIN + (40 if title else 0)
    first_row = top + 28
    labels = [font.getlength(row.label) for row in rows]
    details = [small_font.getlength(row.detail) for row in rows]
    label_width = min(_WIDEST_LABEL, math.ceil(max(labels + details)))
    width = 2 * _MARGIN + len(header) * step + _GAP + label_width
    sheet = Image.new("RGB", (width, first_row + len(rows) * step - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)

    if title:
        title = _shortened(title, title_font, width - 2 * _MARGIN)
        draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=title_font)
    for column, name in enumerate(header):
        name = _shortened(name, small_font, tile_side)
        draw.text((_MARGIN + column * step, top), name, fill=_FAINT_INK, font=small_font)
    for line, row in enumerate(rows):
        y = first_row + line * step
        for column, tile in enumerate(row.tiles):
            sheet.paste(_square(tile, tile_side), (_MARGIN + column * step, y))
        x, middle = _MARGIN + len(header) * step + _GAP, y + tile_side // 2
        label = _shortened(row.label, font, label_width)
        draw.text((x, middle - 2), label, fill=_INK, font=font, anchor="ls")
        detail = _shortened(row.detail, small_font, label_width)
        draw.text((x, middle + 18), detail, fill=_FAINT_INK, font=small_font, anchor="ls")
    return np.array(sheet)


def denormalize(images: "Tensor", mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Turn normalised images back into pictures.

    Args:
        images: 3 x H x W or B x 3 x H x W.
        mean: what was subtracted per channel, on a scale from 0 to 1.
        std: what was divided by.

    Returns:
        H x W x 3 or B x H x W x 3 uint8; values beyond the range are cut.
    """
    values = images.detach().float().movedim(-3, -1)
    values = values * values.new_tensor(std) + values.new_tensor(mean)
    return (values * 255).round().clamp(0, 255).byte().cpu().numpy()


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an H x W x 3 or H x W uint8 image, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    picture = Image.fromarray(image)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


def _mosaic(supports: Sequence[tuple[np.ndarray, np.ndarray]], side: int) -> np.ndarray:
    """All shots in one square, in as many columns as rows are needed at most."""
    columns = math.ceil(math.sqrt(len(supports)))
    part = (side - 2 * (columns - 1)) // columns
    square = Image.new("RGB", (side, side), _MAT if columns == 1 else _PAPER)
    for number, (image, mask) in enumerate(supports):
        tile = _square(overlay_tile(image, mask, SUPPORT_COLOUR, part), part)
        line, column = divmod(number, columns)
        square.paste(tile, (column * (part + 2), line * (part + 2)))
    return np.array(square)


def _square(tile: np.ndarray, side: int) -> Image.Image:
    """The tile, fitted and centred on a grey square."""
    picture = Image.fromarray(tile).convert("RGB")
    return ImageOps.pad(picture, (side, side), Image.Resampling.LANCZOS, color=_MAT)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, cut with dots where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
