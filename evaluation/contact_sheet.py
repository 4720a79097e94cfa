"""Contact sheets of episodes."""

from collections.abc import Iterable

import numpy as np
import torch

from common.distributed import Processes
from common.pixels import IMAGE_MEAN, IMAGE_STD
from common.visualize import EPISODE_HEADER, SheetRow, contact_sheet, denormalize, episode_row
from data.episode import Episode, EpisodeDataset
from evaluation.image import EpisodeSegmenter
from evaluation.iou import EpisodeScores
from model.label_map import label_map


@torch.no_grad()
def episode_sheet(
    segmenter: EpisodeSegmenter,
    episodes: EpisodeDataset,
    indices: Iterable[int],
    processes: Processes,
    title: str = "",
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw support, query, truth and prediction of some episodes, one row each.

    Args:
        indices: which episodes; those beyond the last are left out.

    Returns:
        The sheet, H x W x 3 uint8, and the predicted masks at each query's own size, bool.
    """
    rows, masks = [], []
    for index in indices:
        if index < len(episodes):
            episode = episodes[index].to(processes.device)
            logits = segmenter.segment(episode).float()
            rows.append(_row(episode, logits > 0))
            size = tuple(episode.query_sizes[0].tolist())
            masks.append(label_map(episodes.geometry.crop(logits, size), [0], size) > 0)
    return contact_sheet(EPISODE_HEADER, rows, title), masks


def _row(episode: Episode, found: torch.Tensor) -> SheetRow:
    """One episode and its predicted mask, 1 x H x W bool."""
    truth = episode.query_mask > 0.5
    [iou] = EpisodeScores().add(
        episode.indices, episode.class_ids, found, truth, episode.query_ignore
    )
    pictures = denormalize(
        torch.cat([episode.query_image, episode.support_images[0]]).cpu(), IMAGE_MEAN, IMAGE_STD
    )
    support_masks = episode.support_masks[0].cpu().numpy() > 0.5
    return episode_row(
        list(zip(pictures[1:], support_masks, strict=True)),
        pictures[0],
        truth[0].cpu().numpy(),
        found[0].cpu().numpy(),
        episode.class_names[0],
        iou,
    )
