"""Losses on mask logits (equations 21 to 23). Pixels marked as ignored count nowhere.

Clips, B x T x H x W, are samples like images: their frames are summed before dividing.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.method_options import LOSSES


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


def focal(
    logits: Tensor,
    mask: Tensor,
    ignore: Tensor | None = None,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Cross-entropy in which what is right already counts little, for each sample; shapes as above.

    Source: focal loss (arXiv 1708.02002).

    Args:
        alpha: weight of the object's pixels; that of others is 1 - alpha.
        gamma: how little easy pixels count.
    """
    likelihood = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    wrong = (logits.sigmoid() - mask).abs()
    weight = alpha * mask + (1 - alpha) * (1 - mask)
    loss = (weight * wrong**gamma * likelihood).flatten(1)
    if ignore is None:
        return loss.mean(dim=1)
    counted = (~ignore).flatten(1).to(loss.dtype)
    return (loss * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1)


def dice(
    logits: Tensor,
    mask: Tensor,
    ignore: Tensor | None = None,
    squared: bool = True,
    smoothing: float = 0.0,
) -> Tensor:
    """Equation 22 for each sample; shapes as above.

    Args:
        squared: sum the squares of probabilities and mask in the denominator, as the paper does.
        smoothing: added to numerator and denominator.
    """
    probability, mask = logits.sigmoid().flatten(1), mask.flatten(1)
    if ignore is not None:
        counted = (~ignore).flatten(1).to(probability.dtype)
        probability, mask = probability * counted, mask * counted
    overlap = (probability * mask).sum(dim=1)
    power = 2 if squared else 1
    total = probability.pow(power).sum(dim=1) + mask.pow(power).sum(dim=1) + smoothing
    return 1 - (2 * overlap + smoothing) / total.clamp_min(torch.finfo(total.dtype).eps)


def mask_loss(
    logits: Tensor, mask: Tensor, ignore: Tensor | None = None, kind: str = "paper"
) -> Tensor:
    """Equation 23: the sum of both for each sample; shapes as above.

    Args:
        kind: one of `LOSSES`.

    Raises:
        ValueError: there is no such loss.
    """
    if kind not in LOSSES:
        raise ValueError(f"no loss {kind!r}: choose of {', '.join(LOSSES)}")
    plain = {} if kind == "paper" else {"squared": False, "smoothing": 1.0}
    pixels = focal if kind == "focal" else binary_cross_entropy
    return pixels(logits, mask, ignore) + dice(logits, mask, ignore, **plain)
