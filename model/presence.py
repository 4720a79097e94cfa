"""Is the object in the picture at all? One number for each mask.

A promptable model draws something for every prompt, and is sure of it. What tells whether the thing
drawn is the one that was asked for is how much it resembles the references: on generated pictures
with and without the class that separates far better than the decoder's own numbers.
Shapes: B batch, K shots, H and W image height and width, S side of the feature map.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.dc_sam.network import Concept, EncodedImages, Prediction

SIGNALS = ("resemblance", "sureness", "quality")

RIDGE = 1e-2
"""Weight of the squared coefficients in the fit, so that it exists for any data."""
NEWTON_STEPS = 30


@dataclass(frozen=True)
class PresenceScale:
    """How signals become a probability: sigmoid(bias + weights . signals) x SAM 2's own.

    The defaults were fitted to a tiny model on generated pictures; a checkpoint that was
    calibrated (`python -m tools.calibrate`) has its own.
    """

    weights: tuple[float, ...] = (9.9, 0.0, 0.0)
    bias: float = -5.5

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PresenceScale":
        """From what `dataclasses.asdict` made, also by way of JSON."""
        return cls(tuple(values["weights"]), values["bias"])

    def __call__(self, found: Prediction, images: EncodedImages, concept: Concept) -> Tensor:
        """How likely it is that each picture shows the concept: B, in [0, 1]; 0 for no mask."""
        likely = self.likelihood(signals(found, images, concept))
        likely = likely * found.object_logit.float().sigmoid()
        return likely * (found.logits > 0).flatten(1).any(1)

    def likelihood(self, values: Tensor) -> Tensor:
        """What signals, N x 3, say alone: N."""
        return (values @ values.new_tensor(self.weights) + self.bias).sigmoid()


def signals(found: Prediction, images: EncodedImages, concept: Concept) -> Tensor:
    """What the presence score is made of, B x 3, as named in SIGNALS.

    - resemblance: cosine of the mean high-level features inside the mask and inside the
      references' masks;
    - sureness: mean of |2 sigmoid(logit) - 1| = tanh(logit / 2) over the mask's pixels;
    - quality: SAM's estimate of the mask's IoU, cut to [0, 1].
    """
    logits = found.logits.float()
    inside = (logits > 0).float()
    looked = _mean_inside(images.high.float(), inside.unsqueeze(1))
    shots = concept.masks.shape[1]
    shown = _mean_inside(
        concept.high[0].flatten(0, 1).float(), concept.masks.flatten(0, 1).unsqueeze(1).float()
    )
    shown = shown.unflatten(0, (-1, shots)).mean(1)
    resemblance = F.cosine_similarity(looked, shown, dim=1)
    area = inside.flatten(1).sum(1).clamp_min(1)
    sureness = ((logits / 2).tanh() * inside).flatten(1).sum(1) / area
    return torch.stack([resemblance, sureness, found.quality.float().clamp(0, 1)], dim=1)


def fit_presence(found: Tensor, present: Tensor) -> PresenceScale:
    """Logistic regression by Newton's method.

    Args:
        found: signals of N masks, N x 3.
        present: whether the picture showed the object, N bool.
    """
    inputs = torch.cat([found.double(), found.new_ones(len(found), 1).double()], dim=1)
    ridge = RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
    ridge[-1, -1] = 1e-9
    solution = inputs.new_zeros(inputs.shape[1])
    for _ in range(NEWTON_STEPS):
        likely = (inputs @ solution).sigmoid()
        gradient = inputs.T @ (likely - present.double()) + ridge @ solution
        curvature = (inputs * (likely * (1 - likely)).unsqueeze(1)).T @ inputs + ridge
        solution = solution - torch.linalg.solve(curvature, gradient)
    *weights, bias = (round(value, 4) for value in solution.tolist())
    return PresenceScale(tuple(weights), bias)


def separation(scores: Tensor, present: Tensor) -> float:
    """How often a picture with the object scores higher than one without (ROC AUC), 0 to 1."""
    there, absent = scores[present], scores[~present]
    higher = (there[:, None] > absent[None]).double() + 0.5 * (there[:, None] == absent[None])
    return float(higher.mean())


def _mean_inside(features: Tensor, mask: Tensor) -> Tensor:
    """Mean of B x C x S x S features over a mask, B x 1 x H x W: B x C, 0 for an empty mask."""
    small = F.interpolate(mask, size=features.shape[-2:], mode="area")
    return (features * small).sum((2, 3)) / small.sum((2, 3)).clamp_min(1e-6)
