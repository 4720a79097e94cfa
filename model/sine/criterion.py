"""What SINE minimises, at its start and after each layer.

Shapes: B samples; of one sample T identity queries, Q instance queries, N objects of the target, M
classes of the reference, W side of the mask logits, S side of the square, P points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.method_options import POINTS
from model.point_losses import PointDraws, point_losses, sample
from model.sine.matching import Matching, match_instances

WEIGHTS = {"loss_ce_ins": 2.0, "loss_ce_id": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
ABSENT_WEIGHT = 0.1
"""Of queries that answer for no object, in the losses on classes."""
ABSENT_IDENTITY = 1
"""The column of identity logits that says the object is not there; 0 says it is."""


@dataclass(frozen=True)
class Answers:
    """What the heads say of one sample, at the start or after a layer."""

    identity_logits: Tensor
    """T x 2: present, absent."""
    instance_logits: Tensor
    """Q x (M + 1), the last column is "none of them"."""
    identity_masks: Tensor
    """T x W x W."""
    instance_masks: Tensor
    """Q x W x W."""


@dataclass(frozen=True)
class Target:
    """What the target image of a sample shows."""

    masks: Tensor
    """0 or 1, N x S x S."""
    classes: Tensor
    """int64 N: which class of the reference each object is of, from 0 to M - 1."""
    references: int
    """T."""
    identities: Matching
    """Which reference objects are there again; see `model.sine.matching.match_identities`."""


class SamplePoints:
    """The points at which the masks of one sample are compared, drawn one after the other."""

    def __init__(self, generator: torch.Generator, points: int = POINTS) -> None:
        """`generator` belongs to the sample alone and is on the CPU."""
        self.generator, self.points = generator, points

    def shared(self) -> Tensor:
        """Those at which queries are matched with objects, 1 x P x 2."""
        return torch.rand((1, self.points, 2), generator=self.generator)

    def of_masks(self, count: int) -> PointDraws:
        """Those of so many masks that were matched."""
        return PointDraws.drawn(count, self.generator, self.points)


def sine_losses(
    layers: Sequence[Sequence[Answers]], targets: Sequence[Target], points: Sequence[SamplePoints]
) -> dict[str, Tensor]:
    """Weighted losses by name; their sum is minimised.

    Args:
        layers: for the start and then for each layer, the answers for B samples.
        targets: B.
        points: B.

    Returns:
        Scalars; those of the last layer have plain names, those before it the names with _0, _1
        and so on behind them.
    """
    order = [(f"_{number}", answers) for number, answers in enumerate(layers[:-1])]
    losses = {}
    for suffix, answers in [("", layers[-1]), *order]:
        of_layer = _layer_losses(answers, targets, points)
        losses |= {name + suffix: WEIGHTS[name] * loss for name, loss in of_layer.items()}
    return losses


def loss_terms(targets: Sequence[Target], queries: int, layers: int) -> dict[str, float]:
    """Of how many terms the losses of `sine_losses` are means, where batches differ in that.

    Args:
        queries: Q.
        layers: after which there are answers, besides those of the start.
    """
    masks = sum(min(queries, len(t.classes)) + len(t.identities) for t in targets)
    absent = sum(t.references - len(t.identities) for t in targets)
    found = sum(len(t.identities) for t in targets)
    terms = {
        "loss_ce_id": found + ABSENT_WEIGHT * absent,
        "loss_mask": float(masks),
        "loss_dice": float(masks),
    }
    suffixes = ["", *(f"_{number}" for number in range(layers))]
    return {name + suffix: count for suffix in suffixes for name, count in terms.items()}


def _layer_losses(
    answers: Sequence[Answers], targets: Sequence[Target], points: Sequence[SamplePoints]
) -> dict[str, Tensor]:
    instances = [_match(*parts) for parts in zip(answers, targets, points, strict=True)]
    identities = [target.identities for target in targets]
    mask, dice = _mask_losses(answers, targets, points, instances)
    return {
        "loss_ce_ins": _instance_loss(answers, targets, instances),
        "loss_ce_id": _identity_loss(answers, identities),
        "loss_mask": mask,
        "loss_dice": dice,
    }


@torch.no_grad()
def _match(answers: Answers, target: Target, points: SamplePoints) -> Matching:
    places = points.shared().to(answers.instance_masks.device)
    return match_instances(
        answers.instance_logits,
        sample(answers.instance_masks, places),
        target.classes,
        sample(target.masks.to(answers.instance_masks.dtype), places),
    )


def _instance_loss(
    answers: Sequence[Answers], targets: Sequence[Target], matchings: Sequence[Matching]
) -> Tensor:
    """Weighted mean over a sample's queries, then the mean over samples."""
    losses = []
    for answer, target, matching in zip(answers, targets, matchings, strict=True):
        logits = answer.instance_logits
        none = logits.shape[1] - 1
        labels = target.classes.new_full((len(logits),), none)
        labels[matching.queries] = target.classes[matching.objects]
        weights = logits.new_ones(none + 1)
        weights[none] = ABSENT_WEIGHT
        losses.append(F.cross_entropy(logits, labels, weights))
    return torch.stack(losses).mean()


def _identity_loss(answers: Sequence[Answers], matchings: Sequence[Matching]) -> Tensor:
    """Weighted mean over the identity queries of all samples."""
    logits = torch.cat([answer.identity_logits for answer in answers])
    labels = torch.cat(
        [
            torch.ones(len(a.identity_logits), dtype=torch.int64, device=logits.device).index_fill(
                0, matching.queries, 1 - ABSENT_IDENTITY
            )
            for a, matching in zip(answers, matchings, strict=True)
        ]
    )
    return F.cross_entropy(logits, labels, logits.new_tensor([1.0, ABSENT_WEIGHT]))


def _mask_losses(
    answers: Sequence[Answers],
    targets: Sequence[Target],
    points: Sequence[SamplePoints],
    instances: Sequence[Matching],
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice, the means over all matched masks."""
    logits, masks, draws = [], [], []
    for answer, target, source, matching in zip(answers, targets, points, instances, strict=True):
        identities = target.identities
        found = answer.instance_masks[matching.queries], answer.identity_masks[identities.queries]
        logits.append(torch.cat(found))
        masks.append(target.masks[torch.cat([matching.objects, identities.objects])])
        draws.append(source.of_masks(len(masks[-1])))
    entropy, dice = point_losses(torch.cat(logits), torch.cat(masks), PointDraws.join(draws))
    number = max(1, len(entropy))
    return entropy.sum() / number, dice.sum() / number
