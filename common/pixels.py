"""Pictures of any kind as RGB pixels, and pixels as the tensors that frozen networks expect."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

PAPER = (255, 255, 255)
"""The colour behind transparent places."""

_ORIENTATION, _AS_STORED = 0x0112, 1
"""The EXIF tag that says how a stored picture has to be turned, and its value for not at all."""


def rgb_pixels(picture: Image.Image | np.ndarray) -> np.ndarray:
    """A picture's colours as H x W x 3 uint8, upright as its EXIF data say.

    Grey and palette pictures get colours, transparent places become white, and of samples of more
    than 8 bits the highest 8 that the picture uses are kept.

    Args:
        picture: any Pillow image, or an array: H x W or H x W x 1, 3 or 4 of uint8, or H x W of
            uint16.

    Raises:
        ValueError: an array of another kind, or an image of floating-point samples.
    """
    if isinstance(picture, np.ndarray):
        if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
            return picture
        picture = _from_array(picture)
    return np.asarray(upright(to_rgb(picture, used_bits(picture)), picture))


def used_bits(picture: Image.Image) -> int:
    """How many bits the samples of a grey image of more than 8 bits use; else 8.

    Raises:
        ValueError: the samples are floating-point or negative numbers.
    """
    if not picture.mode.startswith(("I", "F")):
        return 8
    low, high = picture.getextrema()
    if picture.mode == "F" or low < 0:
        raise ValueError("floating-point or negative samples: save the picture with 8 or 16 bits")
    return max(8, int(high).bit_length())


def to_rgb(picture: Image.Image, bits: int = 8) -> Image.Image:
    """The picture, as it is stored, in the mode RGB.

    Args:
        bits: from `used_bits`; of a part, those of the whole picture.
    """
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        samples = np.asarray(picture).astype(np.uint32) >> (bits - 8)
        return Image.fromarray(samples.astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (*PAPER, 255))
        picture = Image.alpha_composite(paper, picture)
    return picture.convert("RGB")


def upright(pixels: Image.Image, stored: Image.Image) -> Image.Image:
    """Turn pixels as the EXIF data of the stored picture say."""
    orientation = stored.getexif().get(_ORIENTATION, _AS_STORED)
    if orientation == _AS_STORED:
        return pixels
    pixels.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(pixels)


def upright_size(stored: Image.Image) -> tuple[int, int]:
    """Height and width of a stored picture once it is upright."""
    turned = stored.getexif().get(_ORIENTATION, _AS_STORED) in (5, 6, 7, 8)
    return (stored.width, stored.height) if turned else (stored.height, stored.width)


def squash(image: np.ndarray, side: int) -> np.ndarray:
    """Resize H x W x 3 uint8 RGB to a square: side x side x 3 uint8.

    Bilinear with a filter as wide as the reduction, so that small images show no aliasing.
    """
    if image.shape[:2] == (side, side):
        return image
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def normalize(image: np.ndarray) -> Tensor:
    """Normalise an H x W x 3 uint8 RGB image to ImageNet's statistics: 3 x H x W float32."""
    tensor = torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    return (tensor - mean) / std


def squash_image(image: np.ndarray, side: int) -> Tensor:
    """`squash` an image and `normalize` it: 3 x side x side, float32."""
    return normalize(squash(image, side))


def squash_mask(mask: np.ndarray, side: int, keep_small: bool = False) -> Tensor:
    """Resize an H x W mask of 0 and 1 (or bool) to side x side float32, exactly 0 or 1 (nearest).

    Args:
        keep_small: where nothing would be left of the mask, mark every cell that contains any of
            it instead.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.uint8))[None, None]
    squashed = F.interpolate(tensor, size=(side, side), mode="nearest")
    if keep_small and not squashed.any():
        squashed = F.adaptive_max_pool2d(tensor.float(), side)
    return squashed[0, 0].float()


def _from_array(picture: np.ndarray) -> Image.Image:
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    grey = picture.ndim == 2 and picture.dtype in (np.uint8, np.uint16)
    transparent = picture.ndim == 3 and picture.shape[2] == 4 and picture.dtype == np.uint8
    if not (grey or transparent):
        raise ValueError(
            "a picture is H x W x 3 or 4 of uint8, or H x W of uint8 or uint16, not "
            f"{picture.shape} of {picture.dtype}"
        )
    return Image.fromarray(picture)
