"""What a training run on images goes through, epoch by epoch: episodes, or pairs of a mixture."""

from collections.abc import Callable
from typing import Any, Protocol

from common.geometry import Geometry
from data.episode import EpisodeDataset, Joinable
from data.marking import Marking
from data.mixture import Mixture, pair_hash
from data.pairs import PairDataset
from data.sampler import EpisodeSampler, episode_hash


class TrainingData(Protocol):
    """Batches of every epoch, each a pure function of (seed, epoch, index)."""

    per_epoch: int
    """Items of an epoch."""
    domain: str
    """What the pictures are: photographs, or drawings of this project."""

    def at(self, epoch: int) -> Joinable:
        """The items of an epoch, counted from 0."""

    def facts(self) -> dict[str, Any]:
        """What a checkpoint's header says of them: the pictures' fingerprint and, as a hash, what
        the first epoch goes through."""

    def left_out(self) -> list[str]:
        """What too few pictures show to learn from."""


class TrainingEpisodes(TrainingData):
    """Episodes of the training side of a benchmark.

    Args:
        marking: how references are marked in an epoch; None: by their masks.
    """

    def __init__(
        self,
        sampler: EpisodeSampler,
        geometry: Geometry,
        marking: Callable[[int], Marking | None],
    ) -> None:
        self.sampler, self.geometry, self.marking = sampler, geometry, marking
        self.per_epoch = sampler.episodes_per_epoch
        self.domain = sampler.split.domain

    def at(self, epoch: int) -> EpisodeDataset:
        keys, marking = self.sampler.training_keys(epoch), self.marking(epoch)
        return EpisodeDataset(self.sampler.split, keys, self.geometry, marking=marking)

    def facts(self) -> dict[str, Any]:
        return {
            "fingerprint": self.sampler.split.fingerprint(),
            "training_episodes": episode_hash(self.sampler.training_keys(0)),
        }

    def left_out(self) -> list[str]:
        return [self.sampler.split.class_names[c] for c in self.sampler.left_out]


class TrainingPairs(TrainingData):
    """Pairs of a mixture of annotated pictures."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        self.per_epoch = mixture.pairs_per_epoch
        self.domain = mixture.domain

    def at(self, epoch: int) -> PairDataset:
        return PairDataset(self.mixture, epoch)

    def facts(self) -> dict[str, Any]:
        return {
            "fingerprint": self.mixture.fingerprint(),
            "training_episodes": pair_hash(self.mixture.keys(0)),
        }

    def left_out(self) -> list[str]:
        parts = {part.source.name: part.source for part in self.mixture.parts}
        return [
            f"{parts[name].class_names[c]} of {name}"
            for name, classes in self.mixture.left_out.items()
            for c in classes
        ]
