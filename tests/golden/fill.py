"""The fill rule: weights and inputs of the golden values, drawn anew from their names.

A tensor is drawn from N(0, 1) by torch's generator on the CPU, seeded with the CRC-32 of its name,
and then scaled by the kind of the name. All values are float32.
"""

import math
import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

TABLES = (
    (r"positional_encoding_gaussian_matrix$", 1.0),
    (r"(supp_q_feat|q_embed)\.weight$", 1.0),
    (r"(iou_token|mask_tokens|obj_score_token)\.weight$", 0.5),
    (r"(point_embeddings\.\d+|not_a_point_embed|no_mask_embed)\.weight$", 0.5),
    (r"(pos_embed|pos_embed_window)$", 0.2),
    (r"rel_pos_[hw]$", 0.1),
    (r"(maskmem_tpos_enc|no_mem_embed|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial)$", 0.2),
)
"""Names of learned tables and tokens, with their standard deviations; the first hit wins."""


def fill(name: str, shape: Sequence[int], integer: bool = False) -> Tensor:
    """The values of a weight (by its name in the release's or Meta's files) or of an input."""
    if integer or name.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    seed = zlib.crc32(name.encode())
    drawn = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
    if "input/" in name:
        return drawn
    if name.endswith("pred_obj_score_head.layers.2.bias"):
        return 2 + 0.02 * drawn  # the object is present most of the time
    if name.endswith("running_mean"):
        return 0.02 * drawn
    if name.endswith("running_var"):
        return 1 + 0.1 * drawn.abs()
    for pattern, deviation in TABLES:
        if re.search(pattern, name):
            return deviation * drawn
    if name.endswith("gamma"):
        return 0.1 + 0.02 * drawn
    if len(shape) <= 1:
        return (1.0 if name.endswith("weight") else 0.0) + 0.02 * drawn
    spatial = len(shape) == 4 and shape[2] * shape[3] > 1
    return drawn * ((2.0 if spatial else 1.0) / math.prod(shape[1:])) ** 0.5


def image(name: str, batch: int = 1, height: int = 512, width: int = 512) -> Tensor:
    """Smooth normalised images with a little noise, B x 3 x H x W."""
    low = fill(f"{name}/low", (batch, 3, 16, 16))
    smooth = F.interpolate(low, size=(height, width), mode="bilinear", align_corners=False)
    return smooth + 0.25 * fill(f"{name}/noise", (batch, 3, height, width))


def clip(name: str, length: int, height: int = 512, width: int = 512) -> Tensor:
    """A coloured disc that moves right by 60 pixels a frame, 1 x T x 3 x H x W."""
    background = image(name, 1, height, width)[0]
    colour = torch.tensor([2.0, -1.5, 1.0]).view(3, 1, 1)
    discs = [
        disc(height, width, 140 + 60 * (t % 5), 256 + 10 * (t // 5), 80) for t in range(length)
    ]
    return torch.stack([background + colour * mask for mask in discs])[None]


def disc(height: int, width: int, x: int, y: int, radius: int) -> Tensor:
    """1 within a radius of a pixel, else 0; H x W."""
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    return ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2).float()


def rect(height: int, width: int, left: int, top: int, right: int, bottom: int) -> Tensor:
    """1 from left to before right and from top to before bottom, else 0; H x W."""
    mask = torch.zeros(height, width)
    mask[top:bottom, left:right] = 1
    return mask


MASKS = {"disc": disc, "rect": rect}
"""The shapes of masks, by the names that `case.json` gives them."""
