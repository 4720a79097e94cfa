"""The weights, pictures and settings of Matcher's golden values, drawn anew by their rules."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.pixels import normalize
from model.backbones.backbone import Backbone
from model.backbones.dino import Dino, vit_14
from model.matcher.features import MatcherFeatures, MatcherSupport
from model.matcher.network import Matcher
from model.matcher.settings import SETTINGS, Setting
from model.sam.sam1 import Sam, SamSize
from tests.golden.fill import MASKS, fill
from tests.golden.method_set import MethodSet
from tests.golden.persam_case import fill_sam, picture, visible

SIDE = 518
KINDS = {"coco": "objects", "coco_3shot": "objects", "fss": "fss", "part": "parts"}
"""What the set calls a setting -> ours."""


@dataclass(frozen=True)
class MatcherCase:
    """The weights and inputs of the set; each picture is encoded once."""

    golden: MethodSet
    encoded: dict[str, MatcherFeatures] = field(default_factory=dict)

    @cached_property
    def facts(self) -> dict[str, Any]:
        return self.golden.json("case.json")

    @cached_property
    def matcher(self) -> Matcher:
        """DINOv2-S and a small SAM, both filled."""
        network = Dino(vit_14("s", SIDE))
        prefix = f"{self.facts['prefix']}dinov2/"
        shapes = self.golden.json("state_dict.json")["dinov2_vit_small"]
        state = {name: fill(prefix + name, shape) for name, (shape, _) in shapes.items()}
        network.load_state_dict(network.rename_official(state))
        return Matcher(Backbone("dinov2_s", network), self._sam(), SIDE)

    def setting(self, name: str) -> Setting:
        """One of ours with the set's reduced counts."""
        given = self.facts["settings"][name]
        counts = {"grid": "points_per_side", "draws": "max_sample_iterations"}
        found = {ours: given[theirs] for ours, theirs in counts.items() if theirs in given}
        if "num_centers" in given:
            found["centres"] = given["num_centers"]
        setting = replace(SETTINGS[KINDS[name]], **found)
        assert (setting.alpha, setting.beta) == (given["alpha"], given["beta"])
        merge = setting.merge if given["shots"] == 1 else setting.merge_many
        assert merge == given["num_merging_mask"]
        return setting

    def picture(self, name: str, crc: int) -> np.ndarray:
        """A picture as it was drawn for the set: in single precision, by two threads.

        A grey level may fall to the other side on another processor, where nothing that follows
        can be compared.
        """
        entries = [self.facts["target"], *self.facts["references"]]
        objects = next(entry["objects"] for entry in entries if entry["name"] == name)
        with threads(2):
            whole = f"{self.facts['prefix']}input/{name}"
            pixels = picture(whole, (SIDE, SIDE), objects, torch.float32)
        if zlib.crc32(pixels.tobytes()) != crc:
            pytest.skip(f"this processor draws {name} with other grey levels")
        return pixels

    def encode(self, name: str, crc: int, support_only: bool = False) -> MatcherFeatures:
        if name not in self.encoded:
            images = normalize(self.picture(name, crc))[None]
            self.encoded[name] = self.matcher.encode(images, support_only)
        return self.encoded[name]

    def support(self, crcs: list[int]) -> MatcherSupport:
        """The references of as many shots as there are checksums."""
        images, masks = [], []
        for number, crc in enumerate(crcs):
            entry = self.facts["references"][number]
            images.append(self.encode(entry["name"], crc, support_only=True))
            mask = visible((SIDE, SIDE), entry["objects"], entry["object"])
            masks.append(torch.from_numpy(mask).float())
        return self.matcher.encode_support(MatcherFeatures.join(images), torch.stack(masks)[None])

    def _sam(self) -> Sam:
        size = self.facts["sam"]
        sam = Sam(
            "small",
            SamSize(
                width=size["embed_dim"],
                depth=size["depth"],
                heads=size["num_heads"],
                global_blocks=tuple(size["global_attn_indexes"]),
                window=size["window_size"],
            ),
        )
        fill_sam(sam, f"{self.facts['prefix']}sam/", self.facts)
        if self.facts["centre_tap"]:  # of the neck's second convolution only the middle, times 3
            with torch.no_grad():
                weight = sam.image_encoder.neck[2].weight
                middle = 3 * weight[..., 1, 1].clone()
                weight.zero_()[..., 1, 1] = middle
        return sam.eval()


def drawn_masks(shapes: list[list[Any]]) -> Tensor:
    """N x S x S, exactly 0 or 1; "empty" is a shape too."""
    masks = torch.zeros(len(shapes), SIDE, SIDE)
    for mask, (kind, *numbers) in zip(masks, shapes, strict=True):
        if kind != "empty":
            mask.copy_(MASKS[kind](SIDE, SIDE, *numbers))
    return masks


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch split its work so."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bits(values: np.ndarray) -> Tensor:
    """Packed as in the files."""
    return torch.from_numpy(np.packbits(values))
