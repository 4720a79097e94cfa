"""Matcher's procedure step by step as its released program goes, to compare answers and time with.

Every mask is drawn and brought to the picture's size before any is dropped, every proposal's earth
is moved, and the reference is encoded again for each picture.
"""

import numpy as np
import torch
from ot import emd2
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.matcher.network import Matcher

BATCH = 64
"""Prompts that are decoded together."""


@torch.no_grad()
def segment(matcher: Matcher, image: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """The mask of a picture, S x S bool, in the setting for many instances.

    Args:
        image, mask: of the reference, 1 x 3 x S x S and S x S.
        target: 1 x 3 x S x S.
    """
    reference, patches = _features(matcher, image), _features(matcher, target)
    grid = round(len(patches) ** 0.5)
    width = len(mask) // grid
    foreground = F.avg_pool2d(mask[None, None], width).flatten() > 0
    similarity = reference @ patches.T
    cost = ((1 - similarity) / 2)[foreground].numpy()
    points = _points(similarity, foreground.numpy(), grid, width)

    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    pixels = ((target * std + mean) * 255).round()
    large = F.interpolate(pixels, (matcher.segmenter.image_size,) * 2, mode="bilinear").round()
    features = matcher.segmenter.encode_images((large / 255 - mean) / std)
    setting, side = matcher.setting, len(mask)
    places = (np.arange(setting.grid) + 0.5) / setting.grid * side
    regular = np.array([[(x, y)] for y in places for x in places])
    kinds = [(regular, False, setting.grid_quality, setting.grid_stability)]
    key = int(matcher.encode(target, support_only=True).keys[0])  # draws like ours
    for subset in matcher.draw_subsets(points, key):
        kinds.append((subset, True, setting.quality, setting.stability))
    masks, quality = _proposals(matcher, features, kinds, side)
    if not len(masks):
        return torch.zeros(side, side, dtype=torch.bool)
    boxes = torch.stack([_box(one) for one in masks]).float()
    order = batched_nms(boxes, quality, torch.zeros(len(boxes)), setting.overlap)
    masks = masks[order]

    scores, purity = [], []
    for one in masks:
        seen = F.interpolate(one[None, None].float(), size=(grid, grid), mode="area") > 0
        seen = seen.flatten().numpy()
        part = np.ascontiguousarray(cost[:, seen] if seen.any() else cost, dtype=np.float64)
        shares = [np.full(n, 1 / n) for n in part.shape]
        scores.append(1 - emd2(*shares, part))
        inside = int(one[points[:, 1], points[:, 0]].sum())
        purity.append(inside / max(1, int(seen.sum())) + 1e-6)
    left = np.array(purity) >= min(setting.purity, max(purity))
    masks, distance = masks[torch.from_numpy(left)], 1 - np.array(scores)[left]
    order = np.argsort(distance, kind="stable")
    distance = distance[order]
    near = distance < 0.33
    near[0] = True
    near &= (distance - distance.min()) / (distance.max() + 1e-6) < 0.1
    return masks[torch.from_numpy(order[near][: setting.merge].copy())].any(0)


def _features(matcher: Matcher, image: Tensor) -> Tensor:
    trunk = matcher.backbone.extract(image).trunk[0]
    return F.normalize(trunk.flatten(1).T, dim=1)


def _points(similarity: Tensor, foreground: np.ndarray, grid: int, width: int) -> np.ndarray:
    inside = np.flatnonzero(foreground)
    rows, columns = linear_sum_assignment(similarity[inside], maximize=True)
    _, back = linear_sum_assignment(similarity.T[columns], maximize=True)
    kept = np.isin(back, inside)
    if not kept.any():
        kept[:] = True
    rows, columns = rows[kept], columns[kept]
    if len(rows) > 40:
        better = np.argsort(-similarity.numpy()[inside[rows], columns], kind="stable")
        columns = columns[better[: len(rows) // 2]]
    columns = np.array(sorted(set(columns.tolist())))
    centres = [(c % grid * width + width // 2, c // grid * width + width // 2) for c in columns]
    return np.array(centres)


def _proposals(matcher: Matcher, features, kinds: list, side: int) -> tuple[Tensor, Tensor]:
    segmenter, masks, qualities = matcher.segmenter, [], []
    for places, three, least_quality, least_stability in kinds:
        for start in range(0, len(places), BATCH):
            some = torch.from_numpy(places[start : start + BATCH]).float()
            some = some * segmenter.image_size / side
            some = F.pad(some, (0, 0, 0, 1))
            labels = torch.ones(some.shape[:2], dtype=torch.long)
            labels[:, -1] = -1
            tokens = segmenter.point_tokens(some, labels)
            decoded = segmenter.decode_all(features.expand(len(tokens)), tokens)
            chosen = slice(1, None) if three else slice(0, 1)
            logits, quality = decoded.logits[:, chosen], decoded.quality[:, chosen].flatten()
            for size in (segmenter.image_size, side):
                logits = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
            logits = logits.flatten(0, 1)
            good = quality > least_quality
            logits, quality = logits[good], quality[good]
            sure = (logits > 1).flatten(1).sum(1) / (logits > -1).flatten(1).sum(1)
            stable = sure >= least_stability
            masks.append(logits[stable] > 0)
            qualities.append(quality[stable])
    return torch.cat(masks), torch.cat(qualities)


def _box(mask: Tensor) -> Tensor:
    rows, columns = mask.nonzero().unbind(1)
    if not len(rows):
        return torch.zeros(4)
    return torch.stack([columns.min(), rows.min(), columns.max(), rows.max()])
