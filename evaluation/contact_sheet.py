"""Contact sheets of episodes."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from common.distributed import Processes
from common.pixels import IMAGE_MEAN, IMAGE_STD
from common.visualize import EPISODE_HEADER, contact_sheet, denormalize, episode_row
from data.episode import Episode, EpisodeDataset
from evaluation.iou import EpisodeScores


@torch.no_grad()
def episode_sheet(
    segment: Callable[[Episode], Tensor],
    episodes: EpisodeDataset,
    indices: Iterable[int],
    processes: Processes,
    title: str = "",
) -> np.ndarray:
    """Draw support, query, truth and prediction of some episodes, one row each.

    Args:
        segment: logits B x H x W of a batch of episodes.
        indices: which episodes; those beyond the last are left out.

    Returns:
        The sheet, H x W x 3 uint8.
    """

    def picture(image: Tensor) -> np.ndarray:
        return denormalize(image.cpu(), IMAGE_MEAN, IMAGE_STD)

    rows = []
    for index in indices:
        if index >= len(episodes):
            break
        episode = episodes[index].to(processes.device)
        found, truth = segment(episode) > 0, episode.query_mask > 0.5
        [iou] = EpisodeScores().add([index], episode.class_ids, found, truth, episode.query_ignore)
        supports = zip(episode.support_images[0], episode.support_masks[0], strict=True)
        rows.append(
            episode_row(
                [(picture(image), mask.cpu().numpy() > 0.5) for image, mask in supports],
                picture(episode.query_image[0]),
                truth[0].cpu().numpy(),
                found[0].cpu().numpy(),
                episodes.split.class_names[episode.keys[0].class_id],
                iou,
            )
        )
    return contact_sheet(EPISODE_HEADER, rows, title)
