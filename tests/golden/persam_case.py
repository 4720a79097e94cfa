"""The weights, pictures and names of PerSAM's golden values, drawn anew by their rules.

A SAM filled by the plain rule answers every prompt with speckle. A few of its tensors are therefore
changed (`sam_weight`), so that masks have boxes and areas that differ.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.geometry import Geometry
from model.sam.sam1 import Sam, SamSize
from tests.golden.fill import MASKS, fill
from tests.golden.golden_set import REPOSITORY_SET, GoldenSet, Weights

COLOURS = {
    "a": (2.5, -2.0, 1.0),
    "b": (-2.0, 1.5, 2.5),
    "c": (1.5, 2.2, -2.2),
    "d": (-2.5, 2.2, -1.2),
    "e": (2.2, -1.6, -2.5),
}
KEPT = {
    "persam_images": r"mask128/(?!image3|final/02|\S*low_res_avg64)|mask255/reference/",
    "persam_mobile": r"reference|image[01]/|final/00",
    "persam_finetune": r"(?!short/image3|short/final/02)",
    "persam_video": (
        r"published/(reference|image[012]/|frame1/|box_)"
        r"|areas_in_int64/(reference|image[0123]/|frame[12]/|box_)"
    ),
    "persam_videof": (
        r"aligned/(?!image5/|frame4/)|published/(reference|image[04]/features|image4/|frame3/|box_)"
    ),
}
"""Which of the values are in the repository; the video ones end before the last frame."""
Size = tuple[int, int]
Objects = Sequence[Sequence[Any]]
"""[colour, kind, numbers...] of each, in the order in which they are drawn."""


def sam_weight(name: str, key: str, value: Tensor, facts: dict[str, Any]) -> Tensor:
    """What a filled tensor of SAM is changed to.

    Args:
        name: the whole name, of which the value was drawn.
        key: the official name.
        value: as the plain rule fills it.
        facts: gains and shifts of `case.json`.
    """
    value = value.clone()
    if key.endswith("image_encoder.pos_embed"):
        value *= 0.1
    if ".output_upscaling." in key and value.dim() == 4:  # all taps of the kernel are equal
        value = value[:, :, :1, :1].expand_as(value).clone()
    if key.endswith("output_upscaling.3.weight"):  # pairs of opposite sign, and two constants
        value -= value.mean(0, keepdim=True)
        value[:, 1:30:2] = -value[:, 0:30:2]
        value[:, 30:] = 0
    if key.endswith("output_upscaling.3.bias"):
        value[1:30:2] = -value[0:30:2]
        value[30:] = 3
    if found := re.search(r"output_hypernetworks_mlps\.(\d)\.layers\.2\.(weight|bias)$", key):
        token, weight = int(found[1]), found[2] == "weight"
        value *= facts["mask_weight_gain"] if weight else facts["mask_bias_gain"][token]
        value[1:30:2] = -value[0:30:2]
        value[30:] = 0 if weight else facts["mask_shift"][token] / 6
    if re.search(r"\.mask_downscaling\.[03]\.bias$", key):
        value *= 25
    if key.endswith("iou_prediction_head.layers.2.weight"):
        value *= facts["iou_gain"]
    if key.endswith("iou_prediction_head.layers.2.bias"):
        value += torch.tensor(facts["iou_shift"])
    return value


@torch.no_grad()
def fill_sam(sam: nn.Module, prefix: str, facts: dict[str, Any]) -> None:
    """Fill a SAM by the changed rule."""
    for key, tensor in sam.state_dict().items():
        plain = fill(prefix + key, tensor.shape, not tensor.is_floating_point())
        tensor.copy_(sam_weight(prefix + key, key, plain, facts))


def drawn(size: Size, kind: str, *numbers: int) -> Tensor:
    """H x W bool: where an object is drawn."""
    return MASKS[kind](*size, *numbers) > 0


def shading(dtype: torch.dtype, size: Size, kind: str, *numbers: int) -> Tensor:
    """How an object's colour changes along x and along y, 3 x H x W."""
    if kind == "disc":
        x, y, half_width = numbers
        half_height: float = half_width
    else:
        left, top, right, bottom = numbers
        x, y = (left + right) / 2, (top + bottom) / 2
        half_width, half_height = (right - left) / 2, (bottom - top) / 2
    across = (torch.arange(size[1]).to(dtype) - x) / half_width
    down = (torch.arange(size[0]).to(dtype) - y) / half_height
    along_x = torch.tensor([0, 0.6, 0.6]).to(dtype).view(3, 1, 1)  # of float32
    along_y = torch.tensor([0.6, 0, -0.6]).to(dtype).view(3, 1, 1)
    return across.view(1, 1, -1) * along_x + down.view(1, -1, 1) * along_y


def picture(
    name: str, size: Size, objects: Objects, dtype: torch.dtype = torch.float64
) -> np.ndarray:
    """Shaded objects on a smooth field with a little noise, H x W x 3 uint8.

    Args:
        dtype: in which grey levels are computed before they are rounded.
    """
    low = fill(f"{name}/low", (1, 3, 6, 8)).to(dtype)
    field = F.interpolate(low, size=size, mode="bilinear", align_corners=False)[0]
    ground = 0.4 * field + 0.05 * fill(f"{name}/noise", (3, *size))
    pixels = ground
    for colour, *shape in objects:
        inside = torch.tensor(COLOURS[colour]).to(dtype).view(3, 1, 1)
        inside = inside + shading(dtype, size, *shape) + 0.3 * pixels
        pixels = torch.where(drawn(size, *shape), inside, pixels)
    pixels = (128 + 40 * pixels).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().numpy()


def visible(size: Size, objects: Objects, number: int) -> np.ndarray:
    """What is seen of an object, H x W bool."""
    mask = drawn(size, *objects[number][1:])
    for later in objects[number + 1 :]:
        mask &= ~drawn(size, *later[1:])
    return mask.numpy()


@dataclass(frozen=True)
class PersamCase:
    """The weights and inputs of the set."""

    golden: GoldenSet
    facts: dict[str, Any]

    @classmethod
    def of(cls, golden: GoldenSet) -> "PersamCase":
        return cls(golden, golden.json("case.json"))

    @property
    def whole(self) -> bool:
        """Whether these are all of the values, not the repository's part."""
        return not self.golden.folder.is_relative_to(REPOSITORY_SET)

    def kept(self, file: str, group: str, found: Weights) -> Weights:
        """Of a group's values those which the file holds, without the group's name."""
        return {
            name: value
            for name, value in found.items()
            if self.whole or re.match(KEPT[file], group + name)
        }

    def sam(self, video: bool = False) -> Sam:
        """The small SAM; for videos it prefers other masks."""
        size = self.facts["sam"]
        small = SamSize(
            width=size["embed_dim"],
            depth=size["depth"],
            heads=size["num_heads"],
            global_blocks=tuple(size["global_attn_indexes"]),
            window=size["window_size"],
        )
        sam = Sam("small", small)
        changes = self.facts["video"]["sam_changes"] if video else {}
        fill_sam(sam, self.facts["prefix"], self.facts | changes)
        return sam.eval()

    def mobile_sam(self) -> Sam:
        sam = Sam("vit_t")
        fill_sam(sam, self.facts["prefix"] + "vit_t/", self.facts)
        return sam.eval()

    def image(self, number: int, crc: int) -> np.ndarray:
        """A picture; the first is the reference."""
        images = self.facts["images"]
        return self._checked(
            images["names"][number], images["sizes"][number], images["objects"][number], crc
        )

    def square(self, geometry: Geometry, masks: np.ndarray, value: int) -> Tensor:
        """Red masks of some value as the release resizes them; N x S x S, NaN in the padding."""
        squares = torch.full((len(masks), geometry.side, geometry.side), torch.nan)
        for square, mask in zip(squares, masks, strict=True):
            pixels = np.zeros((*mask.shape, 3), dtype=np.uint8)
            pixels[mask, 0] = value
            small = torch.from_numpy(geometry.picture(pixels)[..., 0].copy()).float()
            square[: small.shape[0], : small.shape[1]] = small
        return squares

    def image_mask(self) -> np.ndarray:
        """The reference's mask, H x W bool."""
        images = self.facts["images"]
        return visible(tuple(images["sizes"][0]), images["objects"][0], images["target"])

    def frame(self, number: int, crc: int) -> np.ndarray:
        video = self.facts["video"]
        return self._checked(f"frame{number}", video["size"], video["objects"][number], crc)

    def frame_masks(self) -> np.ndarray:
        """The objects of the first frame, N x H x W bool."""
        video = self.facts["video"]
        objects = video["objects"][0]
        return np.stack([visible(tuple(video["size"]), objects, n) for n in range(len(objects))])

    def _checked(self, name: str, size: Size, objects: Objects, crc: int) -> np.ndarray:
        """A picture that is the same to the bit."""
        pixels = picture(f"{self.facts['prefix']}input/{name}", tuple(size), objects)
        assert zlib.crc32(pixels.tobytes()) == crc, f"{name} is drawn with other pixels"
        return pixels
