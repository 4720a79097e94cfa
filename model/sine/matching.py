"""Which query answers for which object of the target image, while SINE trains.

Source: Hungarian matching of DETR (arXiv 2005.12872), its costs on sampled points as in Mask2Former
(arXiv 2112.01527).
Shapes: Q instance queries, N objects of the target, M classes of the reference, P points.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

CLASS_COST = 2.0
CROSS_ENTROPY_COST = 5.0
DICE_COST = 5.0

IdentityKey = tuple[str, Hashable]
"""An object by the name of its image and its id there: ids of two images may be equal."""


@dataclass(frozen=True)
class Matching:
    """Pairs of a query and an object: the i-th of one belongs to the i-th of the other."""

    queries: Tensor
    """int64, ascending."""
    objects: Tensor
    """int64, as long."""

    def __len__(self) -> int:
        return len(self.queries)

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int]], device: torch.device | None = None) -> "Matching":
        """From (query, object)."""
        columns = torch.tensor(sorted(pairs), dtype=torch.int64, device=device).view(-1, 2)
        return cls(columns[:, 0], columns[:, 1])


@torch.no_grad()
def match_instances(
    class_logits: Tensor, mask_logits: Tensor, classes: Tensor, masks: Tensor
) -> Matching:
    """Pair each object with the query that answers for it at the least cost of all together.

    Args:
        class_logits: Q x (M + 1), the last column is "none of them".
        mask_logits: the queries' masks at points that all of them share, Q x P.
        classes: class of each object, int64 N, from 0 to M - 1.
        masks: the objects at the same points, in [0, 1], N x P.

    Returns:
        min(Q, N) pairs.

    Raises:
        ValueError: the logits are not finite, as after a training that diverged.
    """
    chances = class_logits.float().softmax(dim=1)[:, classes]  # Q N
    mask_logits, masks = mask_logits.float(), masks.float()
    cost = (
        -CLASS_COST * chances
        + CROSS_ENTROPY_COST * _cross_entropies(mask_logits, masks)
        + DICE_COST * _dices(mask_logits.sigmoid(), masks)
    )
    if not cost.isfinite().all():
        raise ValueError("instances cannot be matched: logits are not finite")
    queries, objects = linear_sum_assignment(cost.cpu().numpy())
    return Matching.of(list(zip(queries, objects, strict=True)), class_logits.device)


def _cross_entropies(logits: Tensor, masks: Tensor) -> Tensor:
    """Of every query with every object, the mean over points; Q x N."""
    inside, outside = F.softplus(-logits), F.softplus(logits)
    return (inside @ masks.T + outside @ (1 - masks).T) / logits.shape[1]


def _dices(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Of every query with every object; Q x N."""
    sums = probabilities.sum(dim=1)[:, None] + masks.sum(dim=1)[None]
    return 1 - (2 * probabilities @ masks.T + 1) / (sums + 1)


def match_identities(
    references: Sequence[IdentityKey],
    targets: Sequence[IdentityKey],
    device: torch.device | None = None,
) -> Matching:
    """Pair each reference object with itself in the target, where the target shows it.

    Args:
        references: keys of the reference's objects, one for each identity query.
        targets: keys of the target's objects.

    Raises:
        ValueError: a picture has two objects of one key.
    """
    places = {key: place for place, key in enumerate(targets)}
    if len(places) < len(targets) or len(set(references)) < len(references):
        raise ValueError("two objects of a picture have the same id")
    pairs = [(query, places[key]) for query, key in enumerate(references) if key in places]
    return Matching.of(pairs, device)
