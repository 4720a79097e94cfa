"""Feature enrichment: query, prototype and prior meet at four scales, the finer ones first.

Source: Prior Guided Feature Enrichment Network for Few-Shot Segmentation (TPAMI 2020, arXiv
2008.01449), sections 3.3 and 3.4.
Shapes: B batch, C channels, S side of the query's map, s side of a scale.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import EpisodeSeeds

REDUCTION_DROPOUT, CLASSIFIER_DROPOUT = 0.5, 0.1
"""How many channels a training drops of reduced features, and before a mask is drawn."""


def resize(maps: Tensor, side: int) -> Tensor:
    """B x any x h x w to B x any x side x side, corners upon corners."""
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=True)


class EpisodeDropout(EpisodeSeeds):
    """Drops whole channels of an image's features, as Dropout2d does, by episode and layer."""

    def __init__(self, rate: float, use: int) -> None:
        """Be a layer whose draws differ from those of layers of another use."""
        super().__init__()
        self.rate, self.use = rate, use

    def forward(self, features: Tensor) -> Tensor:
        """The images of each episode beside each other, any number of them: N x C x S x S."""
        if not self._seeds:
            return features
        episodes = len(self._seeds)
        size = (len(features) // episodes, features.shape[1])
        draws = [np.random.default_rng(s).random(size) for s in self.sequences(episodes, self.use)]
        kept = torch.from_numpy(np.concatenate(draws) >= self.rate).to(features.device)
        return features * kept[..., None, None] / (1 - self.rate)


def reducer(channels: int, width: int, use: int) -> nn.Sequential:
    """To fewer channels, place by place."""
    convolution = nn.Conv2d(channels, width, 1, bias=False)
    return nn.Sequential(convolution, nn.ReLU(), EpisodeDropout(REDUCTION_DROPOUT, use))


def classifier(width: int, use: int) -> nn.Sequential:
    """To the logits of background and object, B x 2 x S x S."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.ReLU(),
        EpisodeDropout(CLASSIFIER_DROPOUT, use),
        nn.Conv2d(width, 2, 1),
    )


def _mixer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.ReLU())


def _refiner(width: int) -> nn.Sequential:
    """What is added to a map."""
    layers = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
    return nn.Sequential(next(layers), nn.ReLU(), next(layers), nn.ReLU())


def object_logits(classes: Tensor) -> Tensor:
    """Logits of background and object, B x 2 x S x S, as one, B x S x S: the same probability."""
    background, thing = classes.unbind(1)
    return thing - background


class FeatureEnrichment(nn.Module):
    """Enriches the query at every scale, and draws masks of each and of all together."""

    def __init__(self, width: int, scales: Sequence[float], first_use: int) -> None:
        """Build the module for maps of so many channels.

        Args:
            scales: of `model.pfenet.config.SCALES`.
            first_use: from which number on its dropout counts its uses.
        """
        super().__init__()
        self.scales, count = scales, len(scales)
        self.merge = nn.ModuleList(_mixer(2 * width + 1, width) for _ in scales)
        self.connect = nn.ModuleList(_mixer(2 * width, width) for _ in scales[1:])
        self.refine = nn.ModuleList(_refiner(width) for _ in scales)
        self.classify = nn.ModuleList(classifier(width, first_use + n) for n in range(count))
        self.join = _mixer(count * width, width)
        self.refine_all = _refiner(width)
        self.classify_all = classifier(width, first_use + count)

    def sides(self, side: int) -> list[int]:
        """s of every scale, for a map of this side."""
        return [max(1, int(side * scale)) if scale <= 1 else int(scale) for scale in self.scales]

    def forward(
        self, query: Tensor, prototype: Tensor, prior: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Enrich reduced features of the query.

        Args:
            query: B x C x S x S.
            prototype: of the references, B x C x 1 x 1.
            prior: B x 1 x S x S.

        Returns:
            Logits of the object, B x S x S, and those of every scale, B x s x s.
        """
        enriched: list[Tensor] = []
        logits: list[Tensor] = []
        for scale, side in enumerate(self.sides(query.shape[-1])):
            cells = F.adaptive_avg_pool2d(query, side)
            told = (cells, prototype.expand(-1, -1, side, side), resize(prior, side))
            merged = self.merge[scale](torch.cat(told, dim=1))
            if scale:
                finer = resize(enriched[-1], side)
                merged = merged + self.connect[scale - 1](torch.cat((merged, finer), dim=1))
            refined = merged + self.refine[scale](merged)
            logits.append(object_logits(self.classify[scale](refined)))
            enriched.append(resize(refined, query.shape[-1]))
        joined = self.join(torch.cat(enriched, dim=1))
        joined = joined + self.refine_all(joined)
        return object_logits(self.classify_all(joined)), logits
