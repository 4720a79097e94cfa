"""DC-SAM as steps between named tensors: what other runtimes can run one by one.

Shapes: K shots, N prompts of a branch, R branches, C channels, S side of pictures and masks, s side
of a feature map; one picture at a time.
"""

import torch

from model.backbones.backbone import BackboneFeatures
from model.dc_sam.features import EncodedImages, Support
from model.dc_sam.network import DcSam
from model.dc_sam.prompt_generator import SupportPrompts
from model.export_step import ExportStep, Values
from model.sam.segmenter import SegmenterFeatures


class Step(ExportStep):
    """One step of DC-SAM."""

    model: DcSam

    def features(self, given: Values) -> EncodedImages:
        """What `Encode` made of a picture, or of K of them."""
        levels = tuple(given[name] for name in sorted(given) if name.startswith("level_"))
        features = SegmenterFeatures(given["embedding"], levels)
        extracted = BackboneFeatures(given.get("middle"), given["trunk"])
        return EncodedImages(features, extracted, given["high"], (self.side, self.side))


class Encode(Step):
    """`image`, 1 x 3 x S x S and normalised, to features: those of SAM and of the backbone."""

    def forward(self, given: Values) -> Values:
        images = self.model.encode(given["image"])
        features = {"embedding": images.sam.embedding}
        for number, level in enumerate(images.sam.levels):
            features[f"level_{number}"] = level
        if images.backbone.middle is not None:
            features["middle"] = images.backbone.middle
        return features | {"trunk": images.backbone.trunk, "high": images.high}


class EncodeSupport(Step):
    """Features of K references and `masks`, K x S x S, to a support (steps 2 to 4).

    With N prompts in each of R branches: `tokens` for a first mask, 1 x R*N x C; `prompts`,
    R x N x C; `prototypes`, R x C x 1 x 1; `support_high`, R x K x channels x s x s.
    """

    def forward(self, given: Values) -> Values:
        support = self.model.encode_support(self.features(given), given["masks"].unsqueeze(0))
        prompts = [branch.prompts for branch in support.branches]
        values = {
            "tokens": self.model.prompt_tokens(prompts),
            "prompts": torch.cat(prompts),
            "prototypes": torch.cat([branch.prototype for branch in support.branches]),
            "support_high": torch.cat(support.high),
        }
        if not self.model.generator.wiring.negative_sees_query:
            values["support_tokens"] = support.branches[0].tokens
        return values


class Decode(Step):
    """Features and `tokens` to `logits`, 1 x S x S, `quality` and `object_logit` (5 and 7)."""

    def forward(self, given: Values) -> Values:
        images = self.features(given)
        decoded = self.model.decode(images.sam, given["tokens"], images.size)
        return {
            "logits": decoded.logits,
            "quality": decoded.quality,
            "object_logit": decoded.object_logit,
        }


class Refine(Step):
    """Features, a support with its `masks`, and the first mask's `logits` to `tokens` (6)."""

    def forward(self, given: Values) -> Values:
        branches = [
            SupportPrompts(prompts, prototype, given.get("support_tokens"))
            for prompts, prototype in zip(
                given["prompts"].split(1), given["prototypes"].split(1), strict=True
            )
        ]
        masks = given["masks"].unsqueeze(0)
        support = Support(branches, masks, list(given["support_high"].split(1)))
        prompts = self.model.refine(self.features(given), support, given["logits"])
        return {"tokens": self.model.prompt_tokens(prompts)}


STEPS: dict[str, type[Step]] = {
    "encode": Encode,
    "learn": EncodeSupport,
    "decode": Decode,
    "refine": Refine,
}
"""In the order in which they are taken; after the last one, decode again."""
