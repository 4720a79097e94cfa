"""What a training run on images goes through, epoch by epoch: episodes, or pairs of a mixture."""

from collections.abc import Callable
from typing import Any, Protocol

import torch

from common.geometry import Geometry
from common.pair_rules import PairRules, ScaleJitter
from data.benchmarks import EpisodeKey
from data.episode import Episode, EpisodeDataset, Joinable
from data.episode_files import episode_hash
from data.marking import Marking
from data.mixture import Mixture, pair_hash
from data.pairs import PairDataset
from data.sampler import EpisodeSampler


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


class MixtureEpisodes(TrainingPairs):
    """Pairs of whole pictures, each of one class, as episodes.

    Args:
        mixture: by the rules of `whole_pictures`.
        marking: see `TrainingEpisodes`.
    """

    def __init__(self, mixture: Mixture, marking: Callable[[int], Marking | None]) -> None:
        super().__init__(mixture)
        self.marking = marking

    def at(self, epoch: int) -> "EpisodesOfPairs":
        return EpisodesOfPairs(super().at(epoch), self.marking(epoch))


class EpisodesOfPairs(Joinable[Episode]):
    """Reads pairs as episodes of one support; each item is a batch of one.

    No pixel of a picture is ignored: sources say nothing of such.
    """

    join = staticmethod(Episode.join)

    def __init__(self, pairs: PairDataset, marking: Marking | None) -> None:
        self.pairs, self.marking = pairs, marking

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Episode:
        pair = self.pairs[index]
        [key], [query], [support] = pair.keys, pair.query, pair.support
        masks, kinds = support.masks.float(), ("mask",)
        marks = masks
        if self.marking:
            marks, kinds = self.marking.mark(masks, index)
        ignore = torch.ones_like(query.masks)
        height, width = pair.query_sizes[0].tolist()
        ignore[:, :height, :width] = False
        names = [f"{key.source}/{name}" for name in (key.query, key.support)]
        return Episode(
            keys=(EpisodeKey(key.class_id, names[0], (names[1],)),),
            indices=pair.indices,
            class_names=pair.class_names,
            class_ids=torch.tensor([key.class_id]),
            support_images=pair.support_images,
            support_masks=marks[None],
            support_sizes=pair.support_sizes,
            support_kinds=(kinds,),
            support_objects=(masks,) if self.marking else (),
            query_image=pair.query_image,
            query_mask=query.masks.float(),
            query_ignore=ignore,
            query_sizes=pair.query_sizes,
        )


def whole_pictures(geometry: Geometry) -> dict[str, tuple[PairRules, str]]:
    """Two different pictures of a class as a method takes them, by a source's name or kind.

    A class is drawn first, of ADE20K a picture (as SANSA's published generalist does).
    """
    whole = ScaleJitter(geometry.side, 1, 1, flip=0, squash=not geometry.padded)
    rules = PairRules(whole, same_image=0)
    kinds = dict.fromkeys(("semantic", "instance", "panoptic"), (rules, "class"))
    return {**kinds, "ade20k_semantic": (rules, "image")}
