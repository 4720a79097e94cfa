"""Is the object in the picture at all? One number for each mask.

A promptable model draws something for every prompt, and is sure of it. What tells whether the thing
drawn is the one that was asked for is how much it resembles the references: on generated pictures
with and without the class that separates far better than the decoder's own numbers.
Shapes: B batch, K shots, H and W image height and width, S side of the feature map.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from common.cli import shown

SIGNALS = ("resemblance", "sureness", "quality")

_SURE = 10.0
"""An object's logit where presence is 0 or 1."""


@dataclass(frozen=True)
class PresenceScale:
    """How signals become a score: sigmoid(bias + weights . signals) x SAM 2's own.

    The defaults were fitted to a tiny model on generated pictures, so that other models' scores
    rank pictures but are no probabilities; a checkpoint that was calibrated
    (`python -m tools.calibrate`) has its own.
    """

    weights: tuple[float, ...] = (9.9, 0.0, 0.0)
    bias: float = -5.5

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PresenceScale":
        """From what `dataclasses.asdict` made, also by way of JSON.

        Raises:
            ValueError: it is something else.
        """
        try:
            weights = tuple(float(weight) for weight in values["weights"])
            bias = float(values["bias"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"no scale of presence: {shown(values)}") from error
        if not all(map(math.isfinite, (*weights, bias))):
            raise ValueError(f"no finite scale of presence: {shown(values)}")
        if len(weights) != len(SIGNALS):
            raise ValueError(f"{len(weights)} weights for the signals {', '.join(SIGNALS)}")
        return cls(weights, bias)

    def __call__(self, signals: Tensor) -> Tensor:
        """Signals, N x 3, to scores, N, in [0, 1]."""
        # no matrix product: autocast would round it
        weighted = signals.float() * signals.new_tensor(self.weights, dtype=torch.float32)
        return (weighted.sum(dim=1) + self.bias).sigmoid()


def presence_signals(
    logits: Tensor, quality: Tensor, high: Tensor, support_high: Tensor, support_masks: Tensor
) -> Tensor:
    """What the presence score is made of, B x 3, as named in SIGNALS.

    - resemblance: cosine of the mean high-level features inside the mask and inside the
      references' masks;
    - sureness: mean of |2 sigmoid(logit) - 1| = tanh(logit / 2) over the mask's pixels;
    - quality: SAM's estimate of the mask's IoU, cut to [0, 1].

    Args:
        logits: B x H x W.
        quality: B.
        high: features of the queries, B x channels x S x S.
        support_high: of the references, B x K x channels x S x S.
        support_masks: B x K x H x W.
    """
    logits = logits.float()
    inside = (logits > 0).float()
    here = mean_inside(high.float(), inside.unsqueeze(1))
    shots = support_masks.shape[1]
    shown = mean_inside(
        support_high.flatten(0, 1).float(), support_masks.flatten(0, 1).unsqueeze(1).float()
    )
    shown = shown.unflatten(0, (-1, shots)).mean(1)
    resemblance = F.cosine_similarity(here, shown, dim=1)
    area = inside.flatten(1).sum(1).clamp_min(1)
    sureness = ((logits / 2).tanh() * inside).flatten(1).sum(1) / area
    return torch.stack([resemblance, sureness, quality.float().clamp(0, 1)], dim=1)


def object_logit(presence: Tensor, drawn: Tensor) -> Tensor:
    """What a frame's prediction says, N, for methods that have no score of their own.

    Whatever was drawn is there, as their procedures have it; presence tells how sure that is.

    Args:
        presence: N, in [0, 1].
        drawn: whether anything was, N bool.
    """
    return torch.where(drawn, _SURE * presence.clamp_min(0.01), -_SURE)


def mean_sureness(logits: Tensor, inside: Tensor) -> Tensor:
    """Mean over pixels of the probability of what was decided; B in [0.5, 1].

    SegIC's program computes it where references come from several pictures.

    Args:
        logits: B x H x W.
        inside: which pixels count, B x H x W bool.
    """
    sureness = logits.float().abs().sigmoid() * inside
    return sureness.flatten(1).sum(1) / inside.flatten(1).sum(1).clamp_min(1)


def mean_inside(features: Tensor, mask: Tensor) -> Tensor:
    """Mean of B x C x S x S features over a mask, B x 1 x H x W: B x C, 0 for an empty mask."""
    small = F.interpolate(mask, size=features.shape[-2:], mode="area")
    return (features * small).sum((2, 3)) / small.sum((2, 3)).clamp_min(1e-6)
