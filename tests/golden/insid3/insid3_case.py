"""The released INSID3's weights and inputs, drawn anew by the fill rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.backbones.dinov3 import DinoV3, periods, vit_16
from model.insid3.positional_basis import PositionalBasis, debias, positional_basis
from model.weights import load_strictly
from tests.golden.fill import MASKS, fill
from tests.golden.golden_set import Weights
from tests.golden.method_set import MethodSet

BLACK = -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Insid3Case:
    """A golden set, its encoder and its pictures."""

    golden: MethodSet
    facts: dict[str, Any]

    @property
    def side(self) -> int:
        return self.facts["image_size"]

    @property
    def grid(self) -> tuple[int, int]:
        return (self.side // 16,) * 2

    def official_weights(self, size: str = "dinov3_vits16") -> Weights:
        """A state dict as Meta's file of the size has it, with as many blocks as the case."""
        return {
            name: self.weight(name, shape)
            for name, (shape, _) in self.golden.json("state_dict.json")[size].items()
            if not name.startswith("blocks.") or int(name.split(".")[1]) < self.facts["depth"]
        }

    def weight(self, name: str, shape: list[int]) -> Tensor:
        """One tensor of an official file."""
        if name == "rope_embed.periods":
            return periods(exact=True)
        if name.endswith("bias_mask"):
            mask = torch.ones(3, shape[0] // 3)
            mask[1] = 0
            return mask.flatten()
        values = fill(self.facts["prefix"] + name, shape)
        return values * self.facts["gamma_scale"] if name.endswith("gamma") else values

    @cached_property
    def encoder(self) -> DinoV3:
        """The case's ViT-S, read as an official file is."""
        return self.encoder_of(self.official_weights())

    def encoder_of(self, weights: Weights, exact_periods: bool = False) -> DinoV3:
        encoder = DinoV3(vit_16("dinov3_s", depth=self.facts["depth"]), exact_periods)
        load_strictly(encoder, encoder.rename_official(weights), "the golden set")
        return encoder

    def input(self, name: str, *shape: int) -> Tensor:
        return fill(f"{self.facts['prefix']}input/{name}", shape)

    def scene(
        self,
        name: str,
        drawn: dict[str, Any],
        size: tuple[int, int] | None = None,
        noise: tuple[float, float] | None = None,
    ) -> Tensor:
        """A drawn normalised picture, 1 x 3 x H x W."""
        height, width = size or (self.side, self.side)
        low, fine = noise or self.facts["scene_noise"]
        picture = torch.tensor(drawn["background"]).view(3, 1, 1).repeat(1, height, width)
        for shape, numbers, colour in drawn["objects"]:
            inside = MASKS[shape](height, width, *numbers).bool()
            picture = torch.where(inside, torch.tensor(colour).view(3, 1, 1), picture)
        smooth = F.interpolate(
            self.input(f"{name}/low", 1, 3, 16, 16),
            size=(height, width),
            mode="bilinear",
            align_corners=False,
        )
        return picture + low * smooth + fine * self.input(f"{name}/noise", 1, 3, height, width)

    def mask(self, shapes: list, size: tuple[int, int] | None = None) -> Tensor:
        """The union of shapes, H x W."""
        height, width = size or (self.side, self.side)
        return torch.stack([MASKS[kind](height, width, *n) for kind, n in shapes]).amax(0)

    @torch.no_grad()
    def features(self, images: Tensor, factors: Sequence[float] = ()) -> Tensor:
        """Unit features of cells, B x N x C."""
        return F.normalize(self.encoder(images, factors).flatten(2).transpose(1, 2), dim=2)

    @cached_property
    def basis(self) -> PositionalBasis:
        return self.basis_of(())

    def basis_of(self, factors: Sequence[float]) -> PositionalBasis:
        """The basis with coordinates multiplied by a factor in each block."""
        black = BLACK.view(1, 3, 1, 1).expand(1, 3, self.side, self.side)
        return positional_basis(self.features(black, factors)[0], self.facts["svd_components"])

    def debiased(self, features: Tensor) -> Tensor:
        return debias(features, self.basis.directions)

    @cached_property
    def target(self) -> Tensor:
        """Features of the target, N x C."""
        return self.features(self.scene("target", self.facts["target"]))[0]

    @cached_property
    def references(self) -> Tensor:
        """Features of all references, K x N x C."""
        pictures = [self.scene(f"ref{i}", r) for i, r in enumerate(self.facts["references"])]
        return self.features(torch.cat(pictures))

    @cached_property
    def reference_masks(self) -> list[Tensor]:
        return [self.mask(reference["mask"]) for reference in self.facts["references"]]


def bits(mask: Tensor) -> Tensor:
    """A 0/1 array as the files hold large ones."""
    return torch.from_numpy(np.packbits(mask.numpy().astype(np.uint8).flatten()))


def same_partition(found: Tensor, expected: Tensor) -> bool:
    """Whether two labellings of the same cells differ in the labels' names only."""
    pairs = torch.stack([found.flatten().long(), expected.flatten().long()]).unique(dim=1)
    kinds = [len(labels.unique()) for labels in (found, expected)]
    return kinds == [pairs.shape[1]] * 2
