"""Images and masks, from their files to the tensors that every frozen network here expects."""

from common.pixels import IMAGE_MEAN, IMAGE_STD, normalize, squash_image, squash_mask
from data.image_files import image_size, read_image, read_mask

__all__ = [
    "IMAGE_MEAN",
    "IMAGE_STD",
    "image_size",
    "normalize",
    "read_image",
    "read_mask",
    "squash_image",
    "squash_mask",
]
