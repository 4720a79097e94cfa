"""The published procedure written down step by step, with nothing kept, saved or left out.

References are encoded again for every target, all cells are compared and clustered, and clusters
are gone through one by one: what the released program does, for comparisons of results and time.
Shapes: K references, N = h*w cells, C channels, S side of pictures.
"""

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor, nn
from torch.nn import functional as F

from model.insid3.reference_mask import cell_mask


@torch.no_grad()
def plain_insid3(
    encoder: nn.Module,
    directions: Tensor,
    references: Tensor,
    masks: Tensor,
    target: Tensor,
    tau: float = 0.6,
    threshold: float = 0.2,
) -> Tensor:
    """Segment one target, S x S bool.

    Args:
        directions: the positional basis, C x s.
        references: normalised, K x 3 x S x S.
        masks: 0 or 1, K x S x S.
        target: normalised, 1 x 3 x S x S.
    """
    maps = F.normalize(encoder(torch.cat([references, target])), dim=1)  # K+1 C h w
    _, channels, height, width = maps.shape
    projection = torch.eye(channels) - directions @ directions.T
    debiased = F.normalize(torch.einsum("cd,bdhw->bchw", projection, maps), dim=1)
    small = [cell_mask(mask, (height, width)) for mask in masks]

    means = [features[:, mask].mean(dim=1) for features, mask in zip(debiased, small, strict=False)]
    prototype = F.normalize(torch.stack(means).mean(dim=0), dim=0)
    similarity = torch.einsum("c,chw->hw", prototype, debiased[-1])
    forward = similarity > 0
    if not forward.any():
        forward = similarity > similarity.flatten().quantile(0.9)
    votes = torch.zeros(height, width)
    for features, mask in zip(debiased, small, strict=False):
        pairs = features.flatten(1).T @ debiased[-1].flatten(1)  # reference cells, target cells
        best = pairs.T.contiguous().argmax(dim=1)
        votes += mask.flatten()[best].view(height, width)
    candidates = forward & (votes >= np.ceil(len(masks) / 2))
    side = target.shape[-1]
    if not candidates.any():
        return torch.zeros(side, side, dtype=torch.bool)

    cells = maps[-1].flatten(1).T
    apart = (1 - (cells @ cells.T).clamp(-1, 1)).numpy()
    pairs_apart = apart[np.triu_indices(len(apart), k=1)]
    numbers = fcluster(linkage(pairs_apart, "average"), np.nextafter(1 - tau, 0), "distance")
    labels = torch.from_numpy(numbers).view(height, width)

    scores: dict[int, Tensor] = {}
    seed, best_similarity = 0, -torch.inf
    for number in labels.unique().tolist():
        inside = labels == number
        if not (inside & candidates).any():
            continue
        own = F.normalize(debiased[-1][:, inside].mean(dim=1), dim=0) @ prototype
        if own > best_similarity:
            seed, best_similarity = number, own
    seed_mean = F.normalize(maps[-1][:, labels == seed].mean(dim=1), dim=0)
    for number in labels.unique().tolist():
        inside = labels == number
        intra = F.normalize(maps[-1][:, inside].mean(dim=1), dim=0) @ seed_mean
        coverage = 1.0 if number == seed else (inside & candidates).sum() / inside.sum()
        scores[number] = similarity[inside].mean() * intra * coverage
    found = torch.zeros(height, width)
    for number, score in scores.items():
        if score > threshold:
            found[labels == number] = 1
    large = F.interpolate(found[None, None], (side, side), mode="bilinear", align_corners=False)
    return large[0, 0] > 0.5
