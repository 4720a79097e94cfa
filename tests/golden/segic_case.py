"""SegIC's golden case: weights and inputs, drawn anew by their rules."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.backbones.backbone import Backbone
from model.backbones.dino import Dino, vit_14
from model.backbones.sizes import TABLE_SIDE
from model.sam.segmenter import DecodedMasks
from model.segic.decoder import DecoderSize, SegicDecoder
from model.segic.features import SegicFeatures
from model.segic.hints import Hints
from model.segic.network import Segic
from model.segic.text import Sentences
from tests.golden.fill import MASKS, fill
from tests.golden.golden_set import Weights
from tests.golden.method_set import MethodSet

OFFICIAL_FILE = "segic_dinov2_{} (what the official file holds)"


class FilledSentences(Sentences):
    """Vectors by the fill rule."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def compute(self, sentences: Sequence[str]) -> Tensor:
        return torch.stack([fill(f"{self.prefix}input/text/{one}", (768,)) for one in sentences])


@dataclass
class Notes:
    """What the decoder was told and said, call by call."""

    hints: list[Hints] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)
    decoded: list[DecodedMasks] = field(default_factory=list)


@contextmanager
def noted(decoder: SegicDecoder) -> Iterator[Notes]:
    """Note what is decoded meanwhile."""
    notes, decode_hints = Notes(), decoder.decode_hints

    def note(embedding, hints):
        notes.hints.append(hints)
        notes.embeddings.append(embedding.embedding)
        notes.decoded.append(decode_hints(embedding, hints))
        return notes.decoded[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "decode_hints", note)
        yield notes


def hint_values(decoder: SegicDecoder, notes: Notes) -> Weights:
    """What the files hold of one call."""
    hints, decoded = notes.hints[-1], notes.decoded[-1]
    tokens = decoder.sparse_tokens(hints)
    single = len(tokens) == 1
    stride = hints.maps.shape[-1] // 56
    found = {
        "point": hints.points[:, :-1].float(),
        "point_label": hints.labels[:, :-1].float(),
        f"cosine_stride{stride}": hints.maps[:, None, ::stride, ::stride],
        "sparse": tokens,
        "dense_sliced": decoder.embed_masks(hints.maps[:, None])[:, ::16],
        "low_res4" if single else "low_res": decoded.logits if single else decoded.logits[:, 0],
        "quality4": decoded.quality,
    }
    return found


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

    def values(self, name: str, height: int, width: int) -> Tensor:
        """Grey levels before they are rounded, 3 x H x W float64."""
        low = self.fill(f"input/{name}/low", 1, 3, 16, 16).double()
        smooth = F.interpolate(low, (height, width), mode="bilinear", align_corners=False)[0]
        noise = self.fill(f"input/{name}/noise", 3, height, width)
        return (smooth + 0.25 * noise) * 48 + 127.5

    def picture(self, name: str, height: int, width: int) -> np.ndarray:
        """H x W x 3 uint8."""
        return pixels(self.values(name, height, width))

    def clip(self) -> list[np.ndarray]:
        """The frames of the video: a disc that moves over one picture."""
        name, length, height, width = self.facts["vos"]["clip"]
        low = pixels(self.values(name, height, width)).astype(np.float64)
        radius, colour = min(height, width) // 4, np.array([90.0, -70.0, 50.0])
        frames = []
        for t in range(length):
            disc = MASKS["disc"](height, width, width // 3 + 12 * t, height // 2 + 4 * t, radius)
            values = low + disc.numpy()[..., None] * colour
            frames.append(values.clip(0, 255).round().astype(np.uint8))
        return frames

    def model(self, side: int) -> Segic:
        """SegIC on DINOv2-B of two blocks, filled."""
        decoder = SegicDecoder(DecoderSize(768, side, 14))
        listed = self.golden.json("state_dict.json")[OFFICIAL_FILE.format("b")]
        decoder.load_state_dict(
            {name: self.fill(name, *shape) for name, (shape, _) in listed.items()}
        )
        backbone = Backbone("dinov2_b", self.dino("b", 2))
        sentences = FilledSentences(self.prefix)
        return Segic(backbone, decoder, sentences, small_masks_vanish=True).eval()

    def encode(
        self, model: Segic, name: str, height: int, width: int
    ) -> tuple[Tensor, SegicFeatures]:
        """A picture as it comes to the network, and its features."""
        image = model.geometry.image(self.picture(name, height, width))[None]
        return image, model.encode(image, sizes=torch.tensor([(height, width)]))

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


def pixels(values: Tensor) -> np.ndarray:
    """3 x H x W to H x W x 3 uint8."""
    return values.clamp(0, 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def mask(kind: str, *numbers: int) -> np.ndarray:
    """H x W of 0 and 1."""
    return MASKS[kind](*numbers).numpy()
