"""Pixels as the tensors that networks take: squashed to their square, and normalised."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def squash(image: np.ndarray, side: int) -> np.ndarray:
    """Resize H x W x 3 uint8 RGB to a square: side x side x 3 uint8.

    Bilinear with a filter as wide as the reduction, so that small images show no aliasing.
    """
    if image.shape[:2] == (side, side):
        return image
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def normalize(image: np.ndarray) -> Tensor:
    """Normalise an H x W x 3 uint8 RGB image to ImageNet's statistics: 3 x H x W float32."""
    return standardize(torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).float())


def standardize(values: Tensor) -> Tensor:
    """Normalise colours from 0 to 255, ... x 3 x H x W, to ImageNet's statistics."""
    mean, std = (values.new_tensor(numbers).view(3, 1, 1) for numbers in (IMAGE_MEAN, IMAGE_STD))
    return (values / 255 - mean) / std


def squash_mask(mask: np.ndarray, side: int, keep_small: bool = False) -> Tensor:
    """Resize an H x W mask of 0 and 1 (or bool) to side x side float32, exactly 0 or 1 (nearest).

    This is for one mask as it was read, `model.correspondence.shrink_mask` for batches of them
    within a network, where `keep_small` always holds and a graph can be exported.

    Args:
        keep_small: where nothing would be left of the mask, mark every cell that contains any of
            it instead.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.uint8))[None, None]
    squashed = F.interpolate(tensor, size=(side, side), mode="nearest")
    if keep_small and not squashed.any():
        squashed = F.adaptive_max_pool2d(tensor.float(), side)
    return squashed[0, 0].float()
