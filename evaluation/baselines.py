"""What needs no training: the floor that a trained model has to stand well above.

Each baseline maps a batch of episodes to logits B x H x W, above 0 where it sees the object.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.iou import EpisodeScores
from model.backbones.backbone import Backbone
from model.correspondence import prior_mask, shrink_mask
from model.dc_sam.prompt_generator import mask_average

Baseline = Callable[[Any], Tensor]

COLOUR_LEVELS = 8
"""Bins of the colour histogram along each channel."""
THRESHOLDS = torch.arange(0.3, 0.96, 0.025)
"""The thresholds of the prior mask that are tried on training episodes."""


def everything(episodes: Any) -> Tensor:
    """All of every image is the object."""
    return torch.ones_like(episodes.query_mask)


def nearest_prototype(backbone: Backbone) -> Baseline:
    """Each place goes to the nearer, by cosine, of the mean object and mean background feature."""

    def segment(episodes: Any) -> Tensor:
        query = backbone.extract(episodes.query_image).trunk
        support = backbone.extract(episodes.support_images.flatten(0, 1)).trunk
        shots, side = episodes.support_masks.shape[1], support.shape[-1]
        mask = shrink_mask(episodes.support_masks.flatten(0, 1).unsqueeze(1), side)
        similarity = [
            F.cosine_similarity(
                query, mask_average(support, region).unflatten(0, (-1, shots)).mean(1), dim=1
            )
            for region in (mask, 1 - mask)
        ]
        return _enlarge(similarity[0] - similarity[1], episodes)

    return segment


def colour_histogram(episodes: Any) -> Tensor:
    """Each pixel goes to object or background by their colour histograms in the support."""
    bins = COLOUR_LEVELS**3
    logits = []
    for query, support, masks in zip(
        episodes.query_image, episodes.support_images, episodes.support_masks, strict=True
    ):
        low = support.amin((0, 2, 3)).view(3, 1, 1)
        span = (support.amax((0, 2, 3)).view(3, 1, 1) - low).clamp_min(1e-6)

        def colour_index(image: Tensor, low: Tensor = low, span: Tensor = span) -> Tensor:
            level = ((image - low) / span * COLOUR_LEVELS).long().clamp(0, COLOUR_LEVELS - 1)
            red, green, blue = level.unbind(-3)
            return (red * COLOUR_LEVELS + green) * COLOUR_LEVELS + blue

        colours = colour_index(support).flatten()
        inside = masks.flatten() > 0.5
        share = [
            torch.bincount(colours[part], minlength=bins).float() / part.sum().clamp_min(1)
            for part in (inside, ~inside)
        ]
        logits.append((share[0] - share[1])[colour_index(query)] - 1e-9)
    return torch.stack(logits)


def prior_threshold(backbone: Backbone, threshold: float) -> Baseline:
    """The prior mask, cut at a threshold in [0, 1]."""
    prior = _prior(backbone)
    return lambda episodes: prior(episodes) - threshold


def best_prior_threshold(backbone: Backbone, training: Iterable[Any]) -> float:
    """The threshold with the highest mIoU on batches of training episodes."""
    prior = _prior(backbone)
    scores = [EpisodeScores() for _ in THRESHOLDS]
    count = 0
    for episodes in training:
        indices = range(count, count + episodes.size)
        count += episodes.size
        found = prior(episodes)
        for score, threshold in zip(scores, THRESHOLDS, strict=True):
            score.add(
                indices,
                episodes.class_ids,
                found > threshold,
                episodes.query_mask > 0.5,
                episodes.query_ignore,
            )
    best = max(range(len(THRESHOLDS)), key=lambda i: scores[i].miou())
    return round(THRESHOLDS[best].item(), 3)


def _prior(backbone: Backbone) -> Baseline:
    def find(episodes: Any) -> Tensor:
        query = backbone.extract(episodes.query_image)
        support = backbone.extract(episodes.support_images.flatten(0, 1))
        masks = episodes.support_masks
        high = backbone.high(support.trunk, masks.flatten(0, 1).unsqueeze(1))
        prior = prior_mask(
            backbone.high(query.trunk, None), high.unflatten(0, masks.shape[:2]), masks
        )
        return _enlarge(prior.squeeze(1), episodes)

    return find


def _enlarge(values: Tensor, episodes: Any) -> Tensor:
    size = episodes.query_mask.shape[-2:]
    return F.interpolate(values.unsqueeze(1), size, mode="bilinear", align_corners=True).squeeze(1)
