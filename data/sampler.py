"""Which episodes there are: every random choice is a pure function of (seed, epoch, index).

Samplers are known by name. "class" draws the class uniformly, so that every class is trained and
tested as often as any other. "image" goes through the images, so that frequent classes rule. Three
only test: with "turns" the classes take turns, with "queries" every image is a query once, with
"first" every image but the first of its folder, which is its support.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from common.errors import UsageError
from data.benchmarks import Benchmark, EpisodeKey, Split
from data.legacy_draws import LEGACY_SAMPLERS, legacy_keys

SAMPLERS = ("class", "image", "turns", "queries", "first", "class_self", *LEGACY_SAMPLERS)
"""All that evaluation knows; training has the first two."""
NOTHING_DRAWN = "first"
"""The sampler whose episodes are the same for every seed."""
_EVALUATION = 2**31
"""Stands in the place of the epoch, so that evaluation never repeats a training epoch's numbers."""


class EpisodeSampler:
    """Draws episodes as a pure function of (seed, epoch, index).

    Sampler "class": the class is drawn uniformly, and the query uniformly among its images.
    Sampler "image": the query goes through the split's images in an order shuffled anew in every
    cycle, and the class is drawn uniformly among the query's.
    Sampler "turns": the classes in turn, and the query uniformly among the class's images.
    Sampler "queries": all first images of the classes, then all second ones, ..., then again.
    Sampler "first": all images but the first K of their folder, which are their supports; nothing
    is drawn.
    In all others the K supports are drawn uniformly among the class's other images.
    Sampler "class_self", as SegIC's program tests LVIS: like "class", but where a class has two
    images only, the query is its own support (K = 1). Others: see `data.legacy_draws`.

    Args:
        split: where images come from, and which sampler draws them.
        shots: K, at least 1.
        episodes_per_epoch: of training; None takes as many as the split has images.
        leave_out_rare: leave classes with fewer than K + 1 images out (see `left_out`) instead
            of refusing them.

    Raises:
        UsageError: a class has fewer than K + 1 images (all are named), or nothing is left.
    """

    def __init__(
        self,
        split: Split,
        shots: int,
        seed: int,
        *,
        episodes_per_epoch: int | None = None,
        leave_out_rare: bool = False,
    ) -> None:
        if shots < 1:
            raise UsageError(f"an episode needs at least one shot, not {shots}")
        counts = Counter(c for classes in split.class_lists.values() for c in classes)
        self.left_out: dict[int, int] = {
            c: counts[c] for c in split.classes if counts[c] < shots + 1
        }
        """Class id -> number of images, of the classes that have too few for an episode."""
        if self.left_out and (not leave_out_rare or len(self.left_out) == len(split.classes)):
            found = ", ".join(
                f"{c} ({split.class_names[c]}): {n}" for c, n in self.left_out.items()
            )
            raise UsageError(
                f"{shots}-shot episodes need at least {shots + 1} images of a class in the "
                f"{split.role} images of {split.benchmark} fold {split.fold}; too few of {found}"
            )
        self._classes: dict[str, tuple[int, ...]] = {}
        self._images: dict[int, list[str]] = {}
        self._positions: dict[tuple[int, str], int] = {}
        for name, classes in split.class_lists.items():
            usable = tuple(c for c in classes if c not in self.left_out)
            if usable:
                self._classes[name] = usable
            for c in usable:
                images = self._images.setdefault(c, [])
                self._positions[c, name] = len(images)
                images.append(name)
        self._names = list(self._classes)
        self._class_ids = sorted(self._images)
        self.split = split
        self.shots = shots
        self.seed = seed
        self.episodes_per_epoch = episodes_per_epoch or len(self._names)

    def training_keys(self, epoch: int) -> list[EpisodeKey]:
        """The episodes of one training epoch."""
        return self._draw(epoch, self.episodes_per_epoch)

    def evaluation_keys(self, count: int | None) -> list[EpisodeKey]:
        """The first `count` evaluation episodes; more of them begin with the same ones.

        Args:
            count: None: as many as there are queries.
        """
        return self._draw(_EVALUATION, count or self.queries)

    @property
    def queries(self) -> int:
        """How many episodes there are if every image of every class is to be a query once."""
        if self.split.sampler == NOTHING_DRAWN:
            return len(self._after_the_first())
        return sum(map(len, self._images.values()))

    def keys_of(self, queries: Sequence[tuple[int, str]], count: int) -> list[EpisodeKey]:
        """Evaluation episodes of given queries in turn, whose supports are drawn.

        Args:
            queries: class id and name of an image that counts for it.

        Raises:
            UsageError: a class has too few images for an episode.
        """
        if rare := sorted({c for c, _ in queries} & self.left_out.keys()):
            raise UsageError(f"classes with too few images for an episode: {rare}")
        return self._in_turn(queries, _EVALUATION, count)

    def _draw(self, epoch: int, count: int) -> list[EpisodeKey]:
        sampler = self.split.sampler
        if sampler in LEGACY_SAMPLERS:
            images = {class_id: self._images[class_id] for class_id in self._class_ids}
            return legacy_keys(sampler, images, self.shots, self.seed, count)
        if sampler == "queries":
            return self._draw_every_image(epoch, count)
        if sampler == NOTHING_DRAWN:
            keys = self._after_the_first()
            return [keys[index % len(keys)] for index in range(count)]
        if sampler == "image":
            return self._draw_image_first(epoch, count)
        return [self._draw_class_first(epoch, index) for index in range(count)]

    def _draw_class_first(self, epoch: int, index: int) -> EpisodeKey:
        # the final 3 keeps these numbers apart from those of the other sampler and of mask tubes
        random = np.random.default_rng((self.seed, epoch, index, 3))
        class_id = self._class_ids[int(random.integers(len(self._class_ids)))]
        if self.split.sampler == "turns":
            class_id = self._class_ids[index % len(self._class_ids)]
        images = self._images[class_id]
        query = images[int(random.integers(len(images)))]
        if self.split.sampler == "class_self" and len(images) == 2:
            return EpisodeKey(class_id, query, (query,))
        return self._add_support(class_id, query, random)

    def _draw_every_image(self, epoch: int, count: int) -> list[EpisodeKey]:
        rounds = range(max(map(len, self._images.values())))
        queries = [
            (class_id, self._images[class_id][number])
            for number in rounds
            for class_id in self._class_ids
            if number < len(self._images[class_id])
        ]
        return self._in_turn(queries, epoch, count)

    def _in_turn(
        self, queries: Sequence[tuple[int, str]], epoch: int, count: int
    ) -> list[EpisodeKey]:
        keys = []
        for index in range(count):
            # the final 4 keeps these numbers apart from those of the other samplers
            random = np.random.default_rng((self.seed, epoch, index, 4))
            keys.append(self._add_support(*queries[index % len(queries)], random))
        return keys

    def _after_the_first(self) -> list[EpisodeKey]:
        keys = []
        for class_id in self._class_ids:
            folders: dict[str, list[str]] = {}
            for name in self._images[class_id]:
                folders.setdefault(name.rpartition("/")[0], []).append(name)
            for names in folders.values():
                support = tuple(names[: self.shots])
                keys += [EpisodeKey(class_id, query, support) for query in names[self.shots :]]
        if not keys:
            raise UsageError(f"no folder of {self.split.benchmark} has {self.shots + 1} images")
        return keys

    def _draw_image_first(self, epoch: int, count: int) -> list[EpisodeKey]:
        keys: list[EpisodeKey] = []
        cycle = 0
        while len(keys) < count:
            # the final 1 keeps these numbers apart from those of (seed, epoch, index)
            order = np.random.default_rng((self.seed, epoch, cycle, 1)).permutation(
                len(self._names)
            )
            for position in order[: count - len(keys)]:
                random = np.random.default_rng((self.seed, epoch, len(keys)))
                query = self._names[position]
                classes = self._classes[query]
                class_id = classes[int(random.integers(len(classes)))]
                keys.append(self._add_support(class_id, query, random))
            cycle += 1
        return keys

    def _add_support(self, class_id: int, query: str, random: np.random.Generator) -> EpisodeKey:
        images = self._images[class_id]
        own = self._positions[class_id, query]
        chosen = random.choice(len(images) - 1, size=self.shots, replace=False)
        support = tuple(images[i + (i >= own)] for i in chosen)
        return EpisodeKey(class_id, query, support)


def count_queries(split: Split, shots: int) -> int:
    """How many evaluation episodes there are if every image of every class is a query once."""
    return EpisodeSampler(split, shots, 0, leave_out_rare=True).queries


def training_samplers(
    benchmark: Benchmark, shots: int, seed: int, episodes_per_epoch: int | None
) -> tuple[EpisodeSampler, EpisodeSampler]:
    """Of training episodes, and of held-out images of the same classes; rare classes are left out.

    Args:
        episodes_per_epoch: None: one for each training image.
    """
    return (
        EpisodeSampler(
            benchmark.training,
            shots,
            seed,
            episodes_per_epoch=episodes_per_epoch,
            leave_out_rare=True,
        ),
        EpisodeSampler(benchmark.held_out, shots, seed, leave_out_rare=True),
    )
