"""Losses on mask logits (equations 21 to 23). Pixels marked as ignored count nowhere."""

import torch
from torch import Tensor
from torch.nn import functional as F


def binary_cross_entropy(logits: Tensor, mask: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Equation 21 for each sample.

    Args:
        logits, mask: B x H x W; the mask is 0 or 1.
        ignore: True where a pixel counts for nothing; B x H x W.

    Returns:
        B, the mean over the pixels that count.
    """
    loss = F.binary_cross_entropy_with_logits(logits, mask, reduction="none").flatten(1)
    if ignore is None:
        return loss.mean(dim=1)
    counted = (~ignore).flatten(1).to(loss.dtype)
    return (loss * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1)


def dice(logits: Tensor, mask: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Equation 22, with squared denominators, for each sample; shapes as above."""
    probability, mask = logits.sigmoid().flatten(1), mask.flatten(1)
    if ignore is not None:
        counted = (~ignore).flatten(1).to(probability.dtype)
        probability, mask = probability * counted, mask * counted
    overlap = (probability * mask).sum(dim=1)
    total = probability.square().sum(dim=1) + mask.square().sum(dim=1)
    return 1 - 2 * overlap / total.clamp_min(torch.finfo(total.dtype).eps)


def mask_loss(logits: Tensor, mask: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Equation 23: the sum of both for each sample; shapes as above."""
    return binary_cross_entropy(logits, mask, ignore) + dice(logits, mask, ignore)
