"""Score a model on episodes: mIoU and FB-IoU at the network's size and at the images' own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from common.distributed import Processes
from evaluation.iou import EpisodeScores

BATCH = 4
"""Episodes decoded together. It is fixed, so that the same numbers come out in any setting."""


@dataclass
class Evaluation:
    """Scores of a set of episodes."""

    squashed: EpisodeScores = field(default_factory=EpisodeScores)
    """At the size which the network works at: the paper's protocol."""
    original: EpisodeScores = field(default_factory=EpisodeScores)
    """At each query image's own size."""

    def add(self, indices: Sequence[int], episodes: Any, logits: Tensor) -> None:
        """Count a batch: logits B x H x W, above 0 where the object was found."""
        logits = logits.float()
        classes = episodes.class_ids
        self.squashed.add(
            indices, classes, logits > 0, episodes.query_mask > 0.5, episodes.query_ignore
        )
        for index, class_id, one, truth in zip(
            indices, classes.tolist(), logits, episodes.original_masks, strict=True
        ):
            truth = truth.to(one.device)[None]
            full = F.interpolate(
                one[None, None], truth.shape[-2:], mode="bilinear", align_corners=False
            )
            self.original.add([index], [class_id], full[0] > 0, truth == 1, truth == 255)

    def gather(self, processes: Processes) -> "Evaluation":
        """Everybody's scores together."""
        return Evaluation(
            EpisodeScores.merge(processes.gather(self.squashed.state())),
            EpisodeScores.merge(processes.gather(self.original.state())),
        )

    def results(self, class_names: dict[int, str]) -> dict[str, Any]:
        """What `results.json` says of it, in percent."""
        classes = sorted(class_names)
        per_class = self.squashed.per_class()
        return {
            "miou": self.squashed.miou(classes),
            "fb_iou": self.squashed.fb_iou(classes),
            "miou_original_size": self.original.miou(classes),
            "fb_iou_original_size": self.original.fb_iou(classes),
            "per_class": {class_names[c]: per_class[c] for c in classes if c in per_class},
            "classes_without_episodes": [class_names[c] for c in self.squashed.missing(classes)],
            "episodes": len(self.squashed),
        }


def batches(
    episodes: Dataset, collate: Callable, workers: int, processes: Processes, title: str
) -> Iterator[tuple[list[int], Any]]:
    """This process's share of the episodes with their indices, under a progress bar.

    Batches are cut before they are shared out, so that no number of processes changes one.
    """
    cut = [list(range(i, min(i + BATCH, len(episodes)))) for i in range(0, len(episodes), BATCH)]
    mine = [cut[number] for number in processes.share(len(cut))]
    loader = DataLoader(episodes, batch_sampler=mine, num_workers=workers, collate_fn=collate)
    bar = tqdm(loader, title, unit="batch", disable=not processes.is_main, leave=False)
    for indices, batch in zip(mine, bar, strict=True):
        yield indices, batch.to(processes.device)


@torch.no_grad()
def evaluate(
    segment: Callable[[Any], Tensor],
    episodes: Dataset,
    collate: Callable,
    processes: Processes,
    workers: int = 0,
    title: str = "evaluating",
) -> Evaluation:
    """Score anything that segments a batch of episodes; every episode counts exactly once.

    Args:
        segment: logits B x H x W of a batch, above 0 where the object is.
        episodes: items are joined into batches by `collate`; with masks at their original size.
    """
    evaluation = Evaluation()
    for indices, batch in batches(episodes, collate, workers, processes, title):
        evaluation.add(indices, batch, segment(batch))
    return evaluation.gather(processes)
