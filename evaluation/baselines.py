"""What needs no training: the floor that a trained model has to stand well above.

Shapes: B batch, K shots, H and W the side of images, S side of the feature map.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from common.distributed import Processes
from data.episode import Episode, EpisodeDataset
from evaluation.image import EpisodeSegmenter, batches, evaluate
from evaluation.iou import EpisodeScores
from model.backbones.backbone import Backbone
from model.correspondence import mask_average, prior_mask, shrink_mask

COLOUR_LEVELS = 8
"""Bins of the colour histogram along each channel."""
THRESHOLDS = torch.arange(0.3, 0.96, 0.025)
"""The thresholds of the prior mask that are tried on training episodes."""


def score_baselines(
    backbone: Backbone,
    training: EpisodeDataset,
    episodes: EpisodeDataset,
    processes: Processes,
    workers: int,
) -> dict[str, float]:
    """The mIoU of every baseline on the same episodes.

    Args:
        training: on these the threshold of the prior mask is chosen.
    """
    alone = Processes(0, 1, processes.device)
    threshold = best_prior_threshold(
        backbone, batches(training, alone, workers, "threshold of the prior mask")
    )
    if processes.is_main:
        print(f"prior mask: best threshold on training episodes {threshold:g}")
    return {
        name: evaluate(baseline, episodes, processes, workers, name).squashed.miou()
        for name, baseline in all_baselines(backbone, threshold).items()
    }


def all_baselines(backbone: Backbone, prior_threshold: float) -> dict[str, EpisodeSegmenter]:
    """Every baseline by its name."""
    return {
        "everything": Everything(),
        "colour histogram": ColourHistogram(),
        "nearest prototype": NearestPrototype(backbone),
        "prior mask": PriorMask(backbone, prior_threshold),
    }


class Everything(EpisodeSegmenter):
    """All of every image is the object."""

    def segment(self, episodes: Episode) -> Tensor:
        return torch.ones_like(episodes.query_mask)


class ColourHistogram(EpisodeSegmenter):
    """Each pixel goes to object or background by their colour histograms in the support."""

    def segment(self, episodes: Episode) -> Tensor:
        logits = []
        for query, support, masks in zip(
            episodes.query_image, episodes.support_images, episodes.support_masks, strict=True
        ):
            low = support.amin((0, 2, 3)).view(3, 1, 1)
            span = (support.amax((0, 2, 3)).view(3, 1, 1) - low).clamp_min(1e-6)
            colours = _colour_index((support - low) / span).flatten()
            inside = masks.flatten() > 0.5
            share = [
                torch.bincount(colours[part], minlength=COLOUR_LEVELS**3).float()
                / part.sum().clamp_min(1)
                for part in (inside, ~inside)
            ]
            logits.append((share[0] - share[1])[_colour_index((query - low) / span)] - 1e-9)
        return torch.stack(logits)


@dataclass(frozen=True)
class NearestPrototype(EpisodeSegmenter):
    """Each place goes to the nearer, by cosine, of the mean object and mean background feature."""

    backbone: Backbone

    def segment(self, episodes: Episode) -> Tensor:
        query = self.backbone.extract(episodes.query_image).trunk
        support = self.backbone.extract(episodes.support_images.flatten(0, 1)).trunk
        masks = episodes.support_masks.flatten(0, 1).unsqueeze(1)
        mask = shrink_mask(masks, support.shape[-1])
        similarity = [
            F.cosine_similarity(
                query,
                mask_average(support, region).unflatten(0, (-1, episodes.shots)).mean(1),
                dim=1,
            )
            for region in (mask, 1 - mask)
        ]
        return _enlarge(similarity[0] - similarity[1], episodes)


@dataclass(frozen=True)
class PriorMask(EpisodeSegmenter):
    """The prior mask, cut at a threshold in [0, 1]."""

    backbone: Backbone
    threshold: float

    def segment(self, episodes: Episode) -> Tensor:
        return self.prior(episodes) - self.threshold

    def prior(self, episodes: Episode) -> Tensor:
        """B x H x W, in [0, 1]."""
        query = self.backbone.extract(episodes.query_image)
        support = self.backbone.extract(episodes.support_images.flatten(0, 1))
        masks = episodes.support_masks
        high = self.backbone.high(support.trunk, masks.flatten(0, 1).unsqueeze(1))
        prior = prior_mask(
            self.backbone.high(query.trunk, None), high.unflatten(0, masks.shape[:2]), masks
        )
        return _enlarge(prior.squeeze(1), episodes)


def best_prior_threshold(backbone: Backbone, training: Iterable[Episode]) -> float:
    """The threshold with the highest mIoU on batches of training episodes."""
    baseline = PriorMask(backbone, 0)
    scores = [EpisodeScores() for _ in THRESHOLDS]
    for episodes in training:
        prior = baseline.prior(episodes)
        for score, threshold in zip(scores, THRESHOLDS, strict=True):
            score.add(
                episodes.indices,
                episodes.class_ids,
                prior > threshold,
                episodes.query_mask > 0.5,
                episodes.query_ignore,
            )
    best = max(range(len(THRESHOLDS)), key=lambda i: scores[i].miou())
    return round(THRESHOLDS[best].item(), 3)


def _colour_index(image: Tensor) -> Tensor:
    """The bin of each colour, from ... x 3 x H x W in [0, 1] to ... x H x W."""
    level = (image * COLOUR_LEVELS).long().clamp(0, COLOUR_LEVELS - 1)
    red, green, blue = level.unbind(-3)
    return (red * COLOUR_LEVELS + green) * COLOUR_LEVELS + blue


def _enlarge(values: Tensor, episodes: Episode) -> Tensor:
    """From B x S x S to B x H x W."""
    size = episodes.query_mask.shape[-2:]
    return F.interpolate(values.unsqueeze(1), size, mode="bilinear", align_corners=True).squeeze(1)
