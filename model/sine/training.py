"""How SINE learns: from pairs of views with all objects of some classes.

Shapes: B pairs, T objects of a reference, N of a target, M classes of the reference, C channels, S
the canvas' side, s tokens per side.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from common.pair_rules import PairRules, ScaleJitter
from model.layers import EpisodeSeeds
from model.sine.config import SineLossOptions
from model.sine.criterion import Answers, SamplePoints, Target, loss_terms, sine_losses
from model.sine.former import Answer, MFormer
from model.sine.matching import match_identities
from model.sine.references import pool

POINT_DRAWS = 6
"""Keeps the numbers of points apart from others of the same seeds."""


class Objects(Protocol):
    """What a view shows of an annotated picture."""

    masks: Tensor
    """N x S x S bool."""
    class_ids: Tensor
    """N int64."""
    ids: Tensor
    """N int64, of the picture."""


class Pairs(Protocol):
    """What is needed of `data.pairs.PairBatch`."""

    support_names: Sequence[str]
    query_names: Sequence[str]
    support: Sequence[Objects]
    query: Sequence[Objects]


def pair_rules(side: int, options: SineLossOptions) -> dict[str, tuple[PairRules, str]]:
    """How pairs are made of sources of a kind, and that classes are drawn first.

    Args:
        side: S.
        options: they change nothing here.
    """
    rules = PairRules(ScaleJitter(side), same_image=0.5, keep="classes")
    return {"instance": (rules, "class"), "panoptic": (rules, "class")}


def pair_losses(
    former: MFormer,
    targets: Tensor,
    references: Tensor,
    batch: Pairs,
    points: Sequence[SamplePoints],
    plain_pooling: bool = False,
) -> dict[str, Tensor]:
    """Weighted losses of B pairs by name; their sum is minimised.

    Args:
        targets, references: the neck's output for the queries and the supports, B x C x s x s.
        points: B.
        plain_pooling: see `model.sine.references.pool`.
    """
    found = []
    for row, objects in enumerate(batch.support):
        tokens = reference_tokens(references[row : row + 1], objects, plain_pooling)
        of_layers = former(targets[row : row + 1], *tokens, every_layer=True)
        found.append([_answers(answer) for answer in of_layers])
    layers = list(zip(*found, strict=True))
    return sine_losses(layers, targets_of(batch), points)


def reference_tokens(
    features: Tensor, objects: Objects, plain_pooling: bool = False
) -> tuple[Tensor, Tensor]:
    """Of one reference, 1 x C x s x s: identity tokens 1 x T x C and, by ascending class ids, class
    tokens 1 x M x C."""
    kinds = objects.class_ids.unique()
    of_class = [objects.masks[objects.class_ids == kind].any(dim=0) for kind in kinds]
    masks = torch.cat([objects.masks, torch.stack(of_class)])
    tokens = pool(features, masks, plain_pooling).tokens()
    return tokens[None, : len(objects.masks)], tokens[None, len(objects.masks) :]


def targets_of(batch: Pairs) -> list[Target]:
    """What the losses compare the answers for B pairs with."""
    found = []
    for row, (reference, target) in enumerate(zip(batch.support, batch.query, strict=True)):
        keys = [
            [(name, number) for number in objects.ids.tolist()]
            for name, objects in (
                (batch.support_names[row], reference),
                (batch.query_names[row], target),
            )
        ]
        found.append(
            Target(
                target.masks,
                torch.searchsorted(reference.class_ids.unique(), target.class_ids),
                len(reference.ids),
                match_identities(*keys, device=target.ids.device),
            )
        )
    return found


def pair_terms(former: MFormer, batch: Pairs) -> Mapping[str, float]:
    """Of how many terms the losses of a batch are means, see `Method.loss_terms`."""
    return loss_terms(targets_of(batch), former.queries, len(former.layers))


def points_of(seeds: EpisodeSeeds, batch: int, points: int) -> list[SamplePoints]:
    """Where the masks of each of B pairs are compared: by its own seed."""
    found = []
    for sequence in seeds.sequences(batch, POINT_DRAWS):
        generator = torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))
        found.append(SamplePoints(generator, points))
    return found


def _answers(answer: Answer) -> Answers:
    """Of a single target."""
    return Answers(
        answer.identity_logits[0],
        answer.instance_logits[0],
        answer.identity_masks[0],
        answer.instance_masks[0],
    )
