"""The weights and pictures of SINE's golden values, drawn anew by their rules."""

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.backbones.backbone import Backbone
from model.layers import sine_position
from model.sine.builder import dino
from model.sine.canvas import Canvas
from model.sine.features import SineFeatures
from model.sine.former import MFormer, near_peak
from model.sine.layers import Neck
from model.sine.network import OURS, Rules, Sine
from model.sine.released_names import BACKBONE, import_release
from tests.golden.fill import MASKS, fill, image
from tests.golden.golden_set import REPOSITORY_SET, Weights
from tests.golden.method_set import MethodSet

PUBLISHED = Rules(plain_pooling=True, inclusive_boxes=True)
KEPT = {
    "sine_encoder": r"canvas|class_token|position|prenorm|neck[13]",
    "sine_fss": r"shots1/(?!layer[2345]|fusion_image|image_position)"
    r"|shots5/(pool|area|blocked|prediction|semantic|id_position|layer6/\w+_logits)",
    "sine_instance": r"id_|seg_|with_id/"
    r"|without_id/(?!mask_features|image_position|fus\w+_image|layer0)",
    "sine_vos": r"",
}
"""Which of the values are in the repository."""


@dataclass(frozen=True)
class SineCase:
    """The weights and inputs of the set."""

    golden: MethodSet

    @cached_property
    def facts(self) -> dict[str, Any]:
        return self.golden.json("case.json")

    @cached_property
    def common(self) -> Tensor:
        """What queries have in common."""
        return fill(f"{self.facts['prefix']}input/common", (256,))

    def kept(self, name: str, found: Weights) -> Weights:
        """Of what was computed, what the set holds."""
        if not self.golden.folder.is_relative_to(REPOSITORY_SET):
            return found
        return {n: value for n, value in found.items() if re.match(KEPT[name], n)}

    def shapes(self, size: str) -> dict[str, Sequence[int]]:
        """Released name -> shape; of sizes such as "vit_small, 20 queries"."""
        listed = self.golden.json("state_dict.json")
        shapes = dict(listed["vit_large"])
        if size != "vit_large":
            for name in listed[f"{size}: entries of vit_large that are absent"]:
                del shapes[name]
            shapes |= listed[f"{size}: entries that differ from vit_large"]
        return {name: shape for name, (shape, _) in shapes.items()}

    def weight(self, name: str, shape: Sequence[int], case: str) -> Tensor:
        """One tensor, by the rule and its exceptions."""
        whole, scales = self.facts["prefix"] + name, self.facts["scales"]
        part = name.removeprefix("transformer_decoder.")
        if part == "temp":
            return 30 + 0.02 * normal(whole, tuple(shape))
        if part == "logit_scale":
            return math.log(1 / 0.07) + 0.02 * normal(whole, tuple(shape))
        if part == "query_feat.weight":
            return normal(whole, tuple(shape)) + scales["query_common"] * self.common
        if part == "neg_class_embed.weight":
            return normal(whole, tuple(shape)) + scales["negative_common"] * self.common
        if part in ("query_embed.weight", "query_grained_embed.weight"):
            return normal(whole, tuple(shape))
        if part == "mask_feat_layer.3.bias":
            return scales["mask_bias"][case] * normal(whole, tuple(shape))
        if name == "criterion.empty_weight":
            return torch.tensor([1, 0.1])
        return filled(whole, tuple(shape))

    def state(self, case: str) -> Weights:
        """The released program's state dict, filled."""
        shapes = self.shapes("vit_small, 20 queries")
        return {name: self.weight(name, shape, case) for name, shape in shapes.items()}

    def model(self, case: str, canvas: Canvas, rules: Rules = OURS, *others: Any) -> Sine:
        """DINOv2-S and 20 queries."""
        size, queries, weights = import_release(self.state(case), "the golden case")
        network = dino(size)
        official = {n.removeprefix(BACKBONE): v for n, v in weights.items() if BACKBONE in n}
        network.load_state_dict(network.rename_official(official))
        backbone = Backbone("dinov2_s", network)
        model = Sine(backbone, Neck(384, 256), MFormer(queries), canvas, rules, *others)
        learned = {name: value for name, value in weights.items() if BACKBONE not in name}
        missing, unknown = model.load_state_dict(learned, strict=False)
        assert not unknown
        assert all(name.startswith(BACKBONE) for name in missing)
        return model.eval()

    def picture(self, name: str, height: int, width: int, side: int) -> Tensor:
        """A picture on a canvas, 1 x 3 x side x side."""
        pixels = image(f"{self.facts['prefix']}input/{name}", 1, height, width).sigmoid()
        mean, std = (torch.tensor(three).view(3, 1, 1) for three in (IMAGE_MEAN, IMAGE_STD))
        return on_canvas((pixels - mean) / std, side)


filled = cache(fill)
"""Each weight is drawn once for all cases."""


@cache
def normal(name: str, shape: tuple[int, ...]) -> Tensor:
    """The numbers from which `fill` begins."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator)


def on_canvas(content: Tensor, side: int) -> Tensor:
    """Put ... x h x w into the upper left of a square of zeros."""
    whole = content.new_zeros(*content.shape[:-2], side, side)
    whole[..., : content.shape[-2], : content.shape[-1]] = content
    return whole


def drawn_mask(shape: Sequence[Any], side: int) -> Tensor:
    """A mask of `case.json` on a canvas."""
    kind, *numbers = shape
    return on_canvas(MASKS[kind](*numbers), side)


def bits(masks: Tensor) -> Tensor:
    """Packed as in the files: the last two axes flattened."""
    return torch.from_numpy(np.packbits(masks.flatten(-2).numpy(), axis=-1))


def flips(found: Tensor, expected: Tensor) -> int:
    """In how many bits a row differs at most."""
    different = np.bitwise_count(found.numpy() ^ expected.numpy())
    return int(different.sum(axis=-1).max())


def former_values(
    former: MFormer, target: SineFeatures, identities: Tensor, classes: Tensor
) -> Weights:
    """All that the files hold of one pass of M-Former."""
    side, count, queries = target.maps.shape[-1], identities.shape[1], former.queries
    tokens = torch.cat([identities, classes], dim=1)
    features = former.mask_features(target.maps)
    fused = former.fuse(target.maps, tokens)
    flat = target.maps.flatten(2).transpose(1, 2)
    correlation = former.correlate(fused.tokens[:, :count], fused.image)
    codes = sine_position(former.size.channels, side)
    answers = former(target.maps, identities, classes, every_layer=True)
    outside = former.outside(answers[0], side)
    found = {
        "mask_features": features[:, ::4, ::2, ::2],
        "fusion_tokens": fused.tokens - tokens,
        "fusion_image": (fused.image - flat)[..., ::4],
        "fused_image": fused.image[..., ::4],
        "correlation": correlation,
        "correlation_gaussian": near_peak(correlation, side) if count else correlation,
        "id_position": former.locate(correlation, side) @ codes if count else identities,
        "image_position": codes[None, ::4, ::4],
        "blocked": outside.byte(),
    }
    for number, answer in enumerate(answers):
        step = 2 if number == len(answers) - 1 else 4
        known, instances, semantic = answer.tokens.split(
            [count, queries, classes.shape[1] + 1], dim=1
        )
        values = {
            "id_tokens": known,
            "instance_tokens": instances,
            "semantic_tokens": semantic,
            "id_logits": answer.identity_logits,
            "instance_logits": answer.instance_logits,
            "id_masks": answer.identity_masks[..., ::step, ::step],
            "instance_masks": answer.instance_masks[..., ::step, ::step],
        }
        found |= {f"layer{number}/{name}": value for name, value in values.items()}
    mask_tokens = former.mask_tokens(former.norm(answers[-1].tokens[:, : count + queries]))
    found["id_mask_embed"], found["instance_mask_embed"] = mask_tokens.split([count, queries], 1)
    return found
