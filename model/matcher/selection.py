"""Which proposals show the object: scores by the matches, filters, and the union of the best.

Source: Matcher (ICLR 2024), section 3.4, and its released program.
Shapes: N proposals, S side of the picture, G patches along a side, T = G x G, P matched places,
F foreground patches of the references.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.matcher.settings import Setting

_NEAR_ONE = 0.33
"""Largest distance of a score from 1."""
_NEAR_BEST = 0.1
"""Largest share of the largest distance by which a score may be farther off than the best."""
_SHARE_OF_BEST = 0.7
_EPSILON = 1e-6


@dataclass(frozen=True)
class Selection:
    """What is left of N proposals."""

    scored: np.ndarray
    """Indices of the proposals that passed the filters of purity and coverage."""
    scores: np.ndarray
    """Their scores."""
    chosen: np.ndarray
    """Indices of the proposals to be united, best first."""


def mask_patches(masks: Tensor, grid: int) -> np.ndarray:
    """Which patches a mask touches: N x S x S bool to N x T bool."""
    touched = F.max_pool2d(masks[:, None].half(), masks.shape[-1] // grid)
    return (touched > 0).flatten(1).cpu().numpy()


def purity_and_coverage(
    masks: Tensor, patches: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Matched places per patch of a mask, and the share of the places that it shows: N and N.

    Args:
        masks: N x S x S bool.
        patches: `mask_patches` of them.
        points: all matched places, also where centres were prompts; P x 2 (x, y).
    """
    x, y = torch.from_numpy(points).to(masks.device).unbind(1)
    inside = masks[:, y, x].sum(1).cpu().numpy()
    purity = inside / np.maximum(patches.sum(1), 1)
    return purity + _EPSILON, inside / len(points) + _EPSILON


def earth_mover_scores(cost: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """1 - the exact earth mover's distance from the foreground patches to each mask's: N.

    Masks of the same patches are computed once.

    Args:
        cost: F x T, of moving one patch to another.
        patches: N x T bool; a mask without any is compared with the whole picture.
    """
    from ot import emd2  # the package takes a second to import

    kinds, same = np.unique(patches, axis=0, return_inverse=True)
    weights = np.full(len(cost), 1 / len(cost))
    scores = np.empty(len(kinds))
    for i, kind in enumerate(kinds):
        part = np.ascontiguousarray(cost[:, kind] if kind.any() else cost, dtype=np.float64)
        others = np.full(part.shape[1], 1 / part.shape[1])
        scores[i] = 1 - emd2(weights, others, part, numItermax=1_000_000)
    return scores[same.reshape(-1)]


def select_masks(
    masks: Tensor,
    cost: np.ndarray,
    points: np.ndarray,
    setting: Setting,
    merge: int,
) -> Selection:
    """Score and filter N proposals.

    The filters of coverage and purity do not depend on the earth mover's score, so that it is
    computed for what they leave alone.

    Args:
        masks: N x S x S bool, N at least 1.
        cost: F x T.
        points: P x 2.
        merge: masks to choose at most.
    """
    grid = round(cost.shape[1] ** 0.5)
    patches = mask_patches(masks, grid)
    purity, coverage = purity_and_coverage(masks, patches, points)
    left = _at_least(np.arange(len(masks)), coverage, setting.coverage)
    left = _at_least(left, purity, setting.purity)
    scores = setting.alpha * earth_mover_scores(cost, patches[left])
    scores += setting.beta * purity[left] * coverage[left] ** setting.exponent
    best = near_best(scores, merge) if setting.score_filter else top(scores, merge)
    return Selection(left, scores, left[best])


def near_best(scores: np.ndarray, merge: int) -> np.ndarray:
    """Indices of the scores that are near 1 and near the best, best first; never none."""
    order = np.argsort(-scores, kind="stable")
    distance = 1 - scores[order]
    near_one = distance < _NEAR_ONE
    near_one[0] = True
    relative = (distance - distance[0]) / (distance[-1] + _EPSILON)
    return order[near_one & (relative < _NEAR_BEST)][:merge]


def top(scores: np.ndarray, merge: int) -> np.ndarray:
    """Indices of the highest scores, those far below the best left out; best first."""
    order = np.argsort(-scores, kind="stable")[:merge]
    return order[scores[order] / scores[order[0]] > _SHARE_OF_BEST]


def _at_least(left: np.ndarray, values: np.ndarray, threshold: float) -> np.ndarray:
    """Those of some indices whose value reaches a threshold, or the largest if none does."""
    if not threshold:
        return left
    return left[values[left] >= min(threshold, values[left].max())]
