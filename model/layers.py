"""Layers that several methods share: a position encoding, and what is drawn by episode.

Shapes: B episodes, K shots, C channels, S side of a feature map.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

TEMPERATURE = 10000.0


def sine_position(channels: int, side: int, device: torch.device | None = None) -> Tensor:
    """Encode the rows in the first half of the channels and the columns in the second.

    Coordinates 1 to side are normalised to (0, 2 pi].

    Returns:
        side*side x channels.
    """
    half = channels // 2
    coordinate = torch.arange(1, side + 1, device=device, dtype=torch.float32)
    coordinate = coordinate / (side + 1e-6) * 2 * math.pi
    exponent = 2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half
    angle = coordinate[:, None] / TEMPERATURE**exponent  # side half
    wave = torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)
    rows = wave[:, None].expand(side, side, half)
    columns = wave[None].expand(side, side, half)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


class DrawnByEpisode(nn.Module):
    """Random choices of a training that depend on the episodes alone, whoever computes them.

    They are made within `drawn_by_episode` only; elsewhere nothing is dropped.
    """

    def begin(self, seeds: Sequence[Sequence[int]], shots: int) -> None:
        """Be ready for a batch of episodes, each with its own seed and so many supports."""
        raise NotImplementedError

    def end(self) -> None:
        """Draw nothing any more."""
        raise NotImplementedError


class ChannelDropout(DrawnByEpisode):
    """Drops whole channels of an image's features, as Dropout2d does.

    An episode's supports come first, then its query: once each.
    """

    def __init__(self, channels: int, rate: float) -> None:
        super().__init__()
        self.channels, self.rate = channels, rate
        self._masks: list[Tensor] | None = None

    def begin(self, seeds: Sequence[Sequence[int]], shots: int) -> None:
        size = (1 + shots, self.channels)
        drawn = np.stack([np.random.default_rng(seed).random(size) for seed in seeds])
        masks = torch.from_numpy(drawn) >= self.rate  # B x (1 + K) x C
        self.keep(masks[:, 1:].flatten(0, 1), masks[:, 0])

    def keep(self, support: Tensor, query: Tensor) -> None:
        """Be ready for images of which these channels are kept, B*K x C and B x C, bool."""
        self._masks = [support, query]

    def end(self) -> None:
        self._masks = None

    def forward(self, features: Tensor) -> Tensor:
        """B*K or B x C x S x S to the same shape.

        Raises:
            RuntimeError: both groups of images were seen already.
        """
        if self._masks is None:
            return features
        if not self._masks:
            raise RuntimeError("an episode's images pass the dropout once: supports, then queries")
        mask = self._masks.pop(0).to(features.device)
        return features * mask[..., None, None] / (1 - self.rate)


class EpisodeSeeds(DrawnByEpisode):
    """Keeps the seeds of a batch, for what a loss draws."""

    def __init__(self) -> None:
        super().__init__()
        self._seeds: list[tuple[int, ...]] = []

    def begin(self, seeds: Sequence[Sequence[int]], shots: int) -> None:
        self._seeds = [tuple(seed) for seed in seeds]

    def end(self) -> None:
        self._seeds = []

    def sequences(self, batch: int, use: int) -> list[np.random.SeedSequence]:
        """What each of B episodes draws from.

        Args:
            use: keeps the numbers of different uses apart.

        Raises:
            RuntimeError: this is not within `drawn_by_episode` for as many episodes.
        """
        if len(self._seeds) != batch:
            raise RuntimeError(f"{len(self._seeds)} seeds for {batch} episodes")
        return [np.random.SeedSequence((*seed, use)) for seed in self._seeds]


@contextmanager
def drawn_by_episode(
    model: nn.Module, seeds: Sequence[Sequence[int]], shots: int
) -> Iterator[None]:
    """Let a model draw and drop, by one seed such as (seed, epoch, index) for each episode."""
    layers = {module for module in model.modules() if isinstance(module, DrawnByEpisode)}
    for layer in layers:
        layer.begin(seeds, shots)
    try:
        yield
    finally:
        for layer in layers:
            layer.end()
