"""Images as tensors: the normalisation every frozen network here expects."""

import numpy as np
import torch
from torch import Tensor

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def normalize(image: np.ndarray) -> Tensor:
    """Turn an H x W x 3 uint8 RGB image into 3 x H x W float32 with ImageNet's mean and deviation."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    return (tensor - mean) / std
