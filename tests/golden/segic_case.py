"""SegIC's golden case: weights and inputs, drawn anew by their rules."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from model.backbones.dino import TABLE_SIDE, Dino, vit_14
from tests.golden.fill import fill
from tests.golden.method_set import MethodSet


@dataclass(frozen=True)
class SegicCase:
    """Weights and inputs of the set."""

    golden: MethodSet

    @cached_property
    def facts(self) -> dict[str, Any]:
        return self.golden.json("case.json")

    @property
    def prefix(self) -> str:
        return self.facts["prefix"]

    def fill(self, name: str, *shape: int) -> Tensor:
        return fill(self.prefix + name, shape)

    def picture(self, name: str, height: int, width: int) -> Tensor:
        """Normal noise that is smooth but for a quarter of it, 3 x H x W."""
        low = self.fill(f"input/{name}/low", 1, 3, 16, 16).double()
        smooth = F.interpolate(low, (height, width), mode="bilinear", align_corners=False)[0]
        return smooth + 0.25 * self.fill(f"input/{name}/noise", 3, height, width)

    def dino(self, size: str, blocks: int, group: str = "encoder.dinov2.") -> Dino:
        """DINOv2 of fewer blocks, filled, with the hub's positions."""
        network = Dino(vit_14(size, TABLE_SIDE, depth=blocks), positions="hub")
        listed = self.golden.json("state_dict.json")[f"dinov2_vit{size}14 (frozen, own file)"]
        kept = ("", *(f"blocks.{i}." for i in range(blocks)))
        state = {
            name: self.fill(group + name, *shape)
            for name, (shape, _) in listed.items()
            if name.startswith(kept[1:]) or not name.startswith("blocks.")
        }
        network.load_state_dict(network.rename_official(state))
        return network.eval()
