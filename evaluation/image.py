"""Score anything that segments episodes: mIoU and FB-IoU at several sizes.

Shapes: B batch, H and W the side of the square that a method takes.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from common.distributed import Processes, synchronize
from common.geometry import Geometry
from common.stopping import outlive_stop_signal
from common.trainer import autocast
from common.unreadable import Tolerant
from data.benchmarks import EpisodeKey
from data.episode import Batch, Episode, EpisodeDataset, Joinable
from evaluation.choices import BATCH
from evaluation.iou import EpisodeScores
from evaluation.item_log import Record
from evaluation.scoring_size import ORIGINAL as OWN
from evaluation.scoring_size import ScoringSize
from evaluation.significance import ORIGINAL, PROTOCOL, SQUARE, EpisodeAreas, interval
from model.method import Method
from model.method_data import Prediction

OWN_SIZE = ScoringSize(OWN)

AnyBatch = TypeVar("AnyBatch", bound=Batch)
Tell = Callable[[Sequence[str]], object]
"""Takes lines for people."""


@torch.no_grad()
def predict_episodes(
    method: Method, episodes: Episode, precision: str = "fp32", names: bool = True
) -> Prediction:
    """Segment the queries of episodes by their supports; each image is encoded once.

    Args:
        names: tell the method what the classes are called.
    """
    with autocast(episodes.class_ids.device, precision):
        support = method.features(
            episodes.support_images.flatten(0, 1),
            support_only=True,
            sizes=episodes.support_sizes.flatten(0, 1),
        )
        return method.predict(
            method.features(episodes.query_image, sizes=episodes.query_sizes),
            method.encode_support(
                support,
                episodes.support_masks,
                episodes.support_kinds,
                episodes.class_names if names else None,
            ),
        )


class EpisodeSegmenter(ABC):
    """What can be scored on episodes."""

    @abstractmethod
    def segment(self, episodes: Episode) -> Tensor:
        """Logits of the queries, B x H x W, above 0 where the object is."""


@dataclass(frozen=True)
class MethodSegmenter(EpisodeSegmenter):
    """A method in evaluation mode."""

    method: Method
    precision: str = "fp32"
    names: bool = True
    """Tell the method what the classes are called."""

    def segment(self, episodes: Episode) -> Tensor:
        return predict_episodes(self.method, episodes, self.precision, self.names).logits


@dataclass
class Evaluation:
    """Scores of a set of episodes."""

    geometry: Geometry
    """How images came to the size which the network works at."""
    squashed: EpisodeScores = field(default_factory=EpisodeScores)
    """At the size which the network works at."""
    original: EpisodeScores = field(default_factory=EpisodeScores)
    """At each query image's own size."""
    size: ScoringSize = OWN_SIZE
    """The protocol's."""
    protocol: EpisodeScores = field(default_factory=EpisodeScores)
    """At the protocol's size."""
    seconds: list[float] = field(default_factory=list)
    """Of each episode's encoding and prediction, supports included; not of the first batch, which
    warms up."""

    def add(self, episodes: Episode, logits: Tensor) -> None:
        """Count a batch: logits B x H x W, above 0 where the object was found."""
        logits = logits.float()
        self.squashed.add(
            episodes.indices,
            episodes.class_ids,
            logits > 0,
            episodes.query_mask > 0.5,
            episodes.query_ignore,
        )
        for index, key, one, truth in zip(
            episodes.indices, episodes.keys, logits, episodes.original_masks, strict=True
        ):
            for scores, size in ((self.original, OWN_SIZE), (self.protocol, self.size)):
                scores.add([index], [key.class_id], *size.compared(self.geometry, one, truth))

    @property
    def scored(self) -> list[int]:
        """The indices of the episodes that were scored, ascending."""
        return sorted(row[0] for row in self.squashed.state())

    @property
    def seconds_per_episode(self) -> float | None:
        """The mean of `seconds`; None: there was one batch only."""
        return round(mean(self.seconds), 4) if self.seconds else None

    def gather(self, processes: Processes) -> "Evaluation":
        """Everybody's scores together."""
        return Evaluation(
            self.geometry,
            EpisodeScores.merge(processes.gather(self.squashed.state())),
            EpisodeScores.merge(processes.gather(self.original.state())),
            self.size,
            EpisodeScores.merge(processes.gather(self.protocol.state())),
            [one for some in processes.gather(self.seconds) for one in some],
        )

    def records(self, keys: Sequence[EpisodeKey]) -> list[Record]:
        """A line for each episode: what it shows and its areas at each size.

        Areas are pixels of the object's intersection and union, then of the background's.

        Args:
            keys: of all episodes, by their index.
        """
        sizes = {PROTOCOL: self.protocol, SQUARE: self.squashed, ORIGINAL: self.original}
        areas = {name: {row[0]: row[2:] for row in part.state()} for name, part in sizes.items()}
        return [
            {
                "item": f"{index:05d}",
                "class_id": keys[index].class_id,
                "query": keys[index].query,
                "support": list(keys[index].support),
                **{name: areas[name][index] for name in sizes},
            }
            for index in areas[SQUARE]
        ]

    def intervals(self, keys: Sequence[EpisodeKey]) -> dict[str, Any]:
        """Between what mIoU at each size lies if other episodes are drawn."""
        records = self.records(keys)
        return {
            name: interval([EpisodeAreas.read(records, size)]).to_json()
            for name, size in (
                ("protocol_miou", PROTOCOL),
                ("miou", SQUARE),
                ("miou_original_size", ORIGINAL),
            )
        }

    def results(self, class_names: dict[int, str]) -> dict[str, Any]:
        """What `results.json` says of it, in percent."""
        classes = sorted(class_names)
        per_class = self.squashed.per_class()
        return {
            "protocol_miou": self.protocol.miou(classes),
            "protocol_fb_iou": self.protocol.fb_iou(classes),
            "miou": self.squashed.miou(classes),
            "fb_iou": self.squashed.fb_iou(classes),
            "miou_original_size": self.original.miou(classes),
            "fb_iou_original_size": self.original.fb_iou(classes),
            "per_class": {class_names[c]: per_class[c] for c in classes if c in per_class},
            "classes_without_episodes": [class_names[c] for c in self.squashed.missing(classes)],
            "episodes": len(self.squashed),
        }


def batches(
    episodes: Joinable[AnyBatch],
    processes: Processes,
    workers: int,
    title: str,
    tell: Tell | None = None,
) -> Iterator[AnyBatch]:
    """This process's share of the episodes, under a progress bar.

    Batches are cut before they are shared out, so that no number of processes changes one.

    Args:
        tell: takes lines about files that cannot be read, whose episodes are left out; None: such
            a file is an error.
    """
    if tell is not None:
        episodes = Tolerant(episodes)
    cut = [list(range(i, min(i + BATCH, len(episodes)))) for i in range(0, len(episodes), BATCH)]
    mine = [cut[number] for number in processes.share(len(cut))]
    loader = DataLoader(
        episodes,
        batch_sampler=mine,
        num_workers=workers,
        collate_fn=episodes.join,
        worker_init_fn=outlive_stop_signal,
    )
    for batch in tqdm(loader, title, unit="batch", disable=not processes.is_main, leave=False):
        if tell is not None:
            batch, lines = batch
            tell(lines)
        if batch is not None:
            yield batch.to(processes.device)


@torch.no_grad()
def evaluate(
    segmenter: EpisodeSegmenter,
    episodes: EpisodeDataset,
    processes: Processes,
    workers: int = 0,
    title: str = "evaluating",
    size: ScoringSize = OWN_SIZE,
    tell: Tell | None = None,
) -> Evaluation:
    """Score a segmenter; every episode counts exactly once.

    Args:
        episodes: with masks at their original size.
        workers: processes that read episodes, beside this one.
        size: at which masks are compared, too.
        tell: see `batches`.
    """
    evaluation = Evaluation(episodes.geometry, size=size)
    for number, batch in enumerate(batches(episodes, processes, workers, title, tell)):
        start = time.perf_counter()
        logits = segmenter.segment(batch)
        synchronize(processes.device)
        if number:
            each = (time.perf_counter() - start) / len(batch.indices)
            evaluation.seconds += [each] * len(batch.indices)
        evaluation.add(batch, logits)
    return evaluation.gather(processes)
