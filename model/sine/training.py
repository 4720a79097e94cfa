"""How SINE learns: from pairs of views with all objects of some classes.

Shapes: B pairs, T objects of a reference, N of a target, M classes of the reference, C channels, S
the canvas' side, s tokens per side.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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
    """How pairs are made of sources of a name or kind, and that classes are drawn first.

    Masks of classes teach nothing where they may join objects; those of `paco_part` join parts of
    one kind of a single object, and each is taken for an object itself.

    Args:
        side: S.
        options: they say at which scales views are.
    """
    jitter = ScaleJitter(side, options.least_scale, options.largest_scale)
    rules = PairRules(jitter, same_image=0.5, keep="classes")
    return dict.fromkeys(("instance", "panoptic", "paco_part"), (rules, "class"))


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
    tokens = [
        reference_tokens(references[row : row + 1], objects, plain_pooling)
        for row, objects in enumerate(batch.support)
    ]
    identities, classes = (_filled_up(column) for column in zip(*tokens, strict=True))
    filling = torch.cat([identities.filling, classes.filling], dim=1)
    layers = former(
        *(targets, identities.tokens, classes.tokens),
        every_layer=True,
        filling=filling if filling.any() else None,
    )
    numbers = [(found.shape[1], kinds.shape[1]) for found, kinds in tokens]
    answers = [
        [_answers(answer, row, *number) for row, number in enumerate(numbers)] for answer in layers
    ]
    return sine_losses(answers, targets_of(batch), points)


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


class _FilledUp(NamedTuple):
    """Tokens of several references, of which each may have another number, in one batch."""

    tokens: Tensor
    """B x N x C."""
    filling: Tensor
    """Which of them are none, B x N bool."""


def _filled_up(tokens: Sequence[Tensor]) -> _FilledUp:
    """Join tokens, each 1 x any number x C."""
    numbers = torch.tensor([one.shape[1] for one in tokens], device=tokens[0].device)
    joined = pad_sequence([one[0] for one in tokens], batch_first=True)
    places = torch.arange(joined.shape[1], device=joined.device)
    return _FilledUp(joined, places >= numbers[:, None])


def _answers(answer: Answer, row: int, identities: int, classes: int) -> Answers:
    """For one target, without those for what fills the batch up."""
    logits = answer.instance_logits[row]
    return Answers(
        answer.identity_logits[row, :identities],
        torch.cat([logits[:, :classes], logits[:, -1:]], dim=1),
        answer.identity_masks[row, :identities],
        answer.instance_masks[row],
    )
