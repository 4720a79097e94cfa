"""What a training run looks at after each epoch: held-out images of the training classes."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from common.distributed import Processes
from common.pixels import IMAGE_MEAN, IMAGE_STD
from common.visualize import (
    PREDICTION_COLOUR,
    SUPPORT_COLOUR,
    SheetRow,
    contact_sheet,
    denormalize,
    overlay,
)
from data.episode import EpisodeDataset
from data.marking import Marking
from data.mask_tube import FRAMES, MaskTubeDataset, MaskTubes
from data.sampler import EpisodeSampler
from evaluation.contact_sheet import episode_sheet
from evaluation.image import MethodSegmenter, Tell, batches, evaluate
from evaluation.iou import EpisodeScores
from model.method import Method

ROWS = 4
"""Episodes on a sheet."""


def held_out_images(
    model: Method,
    sampler: EpisodeSampler,
    count: int,
    processes: Processes,
    workers: int,
    marking: Marking | None = None,
    tell: Tell | None = None,
) -> tuple[EpisodeScores, np.ndarray | None]:
    """Score episodes on images; also a sheet with the first of them, in the main process.

    Args:
        count: how many episodes.
        marking: what marks references instead of their masks.
        tell: see `evaluation.image.batches`.
    """
    model.eval()
    keys = sampler.evaluation_keys(count)
    episodes = EpisodeDataset(sampler.split, keys, model.geometry, True, marking)
    segmenter = MethodSegmenter(model)
    scores = evaluate(segmenter, episodes, processes, workers, "held-out classes", tell=tell)
    if not processes.is_main:
        return scores.squashed, None
    return scores.squashed, episode_sheet(segmenter, episodes, scores.scored[:ROWS], processes)[0]


@torch.no_grad()
def held_out_tubes(
    segment: Callable[[MaskTubes], Tensor],
    tubes: MaskTubeDataset,
    processes: Processes,
    workers: int,
    tell: Tell | None = None,
) -> tuple[EpisodeScores, np.ndarray | None]:
    """Score mask tubes, of which every frame counts; also a sheet with the first of them.

    Args:
        segment: masks of a batch, B x T x H x W bool.
        tell: see `evaluation.image.batches`.
    """
    scores, rows = EpisodeScores(), []
    for batch in batches(tubes, processes, workers, "held-out classes", tell):
        masks = segment(batch)
        ious = [
            scores.add(
                [index * FRAMES + number for index in batch.indices],
                batch.class_ids,
                masks[:, number],
                batch.masks[:, number] > 0.5,
                batch.ignore[:, number],
            )
            for number in range(FRAMES)
        ]
        if len(rows) < ROWS:
            rows += _tube_rows(batch, masks, np.mean(ious, axis=0))
    header = ["support", *(f"frame {number}" for number in range(1, FRAMES + 1))]
    sheet = contact_sheet(header, rows[:ROWS], "") if processes.is_main else None
    return EpisodeScores.merge(processes.gather(scores.state())), sheet


def _tube_rows(tubes: MaskTubes, masks: Tensor, ious: np.ndarray) -> list[SheetRow]:
    """Each tube's first support and its frames with what was predicted.

    Args:
        masks: predicted, B x T x H x W bool.
        ious: mean of the frames, B.
    """
    supports = denormalize(tubes.support_images[:, 0].cpu(), IMAGE_MEAN, IMAGE_STD)
    frames = denormalize(tubes.frames.flatten(0, 1).cpu(), IMAGE_MEAN, IMAGE_STD)
    frames = frames.reshape(*masks.shape[:2], *frames.shape[1:])
    rows = []
    for number, name in enumerate(tubes.class_names):
        marked = tubes.support_masks[number, 0].cpu().numpy() > 0.5
        tiles = [overlay(supports[number], marked, SUPPORT_COLOUR)]
        tiles += [
            overlay(frame, mask.cpu().numpy(), PREDICTION_COLOUR)
            for frame, mask in zip(frames[number], masks[number], strict=True)
        ]
        rows.append(SheetRow(tiles, name, f"IoU {ious[number]:.1f}"))
    return rows
