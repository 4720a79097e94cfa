"""Training SegIC on pairs: there and back again, with what is told to the decoder drawn by pair.

Source: SegIC (arXiv 2311.14671), section 3.5, by the numbers of its released program.
Shapes: B pairs, N entities of a pair, C channels of the backbone, S side of its map, M side of the
square, D channels of the decoder, P points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from common.pair_rules import PairRules, ResizedCrop, ScaleJitter
from model.instances import mask_boxes
from model.point_losses import PointDraws, point_losses
from model.sam.segmenter import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT
from model.segic.config import SegicLossOptions
from model.segic.decoder import SegicDecoder
from model.segic.features import Entities, SegicFeatures
from model.segic.hints import Correspondence, Hints, reference_direction
from model.segic.text import INSTANCE, sentence_about

DRAWS = 11
"""Ends the seeds of what is drawn here, so that no other numbers are the same."""


def pair_rules(side: int, options: SegicLossOptions) -> dict[str, tuple[PairRules, str]]:
    """How pairs are made of sources of each kind, and what of a source is drawn first."""
    release = options.views == "release"
    jitter = ScaleJitter(side, antialias=False)
    classes = PairRules(
        jitter,
        replace(jitter, squash=True) if release else None,
        same_image=0,
        crowd=release,
        allow_empty=release,
    )
    objects = PairRules(
        ResizedCrop(side),
        same_image=1,
        keep="objects",
        most_objects=options.most_objects,
        crowd=release,
        allow_empty=release,
    )
    return {
        "semantic": (classes, "class"),
        "ade20k_semantic": (classes, "image"),
        "instance": (objects, "image"),
    }


class Objects(Protocol):
    """What is kept of a view."""

    masks: Tensor
    """N x M x M bool."""


class LabelledPairs(Protocol):
    """What the loss needs to know of a batch of pairs besides encoded images."""

    support: Sequence[Objects]
    """B: the entities in each reference."""
    query: Sequence[Objects]
    """B: the same entities in the target."""
    kinds: Sequence[str]
    """B: "semantic" where the entity is a class, "instance" where entities are objects."""
    class_names: Sequence[str]


class Learner(Protocol):
    """What the loss needs of `model.segic.network.Segic`."""

    decoder: SegicDecoder
    image_size: int
    """M."""
    correspondence: str
    small_masks_vanish: bool
    negative_clicks: bool

    def meta_tokens(self, sentences: Sequence[str]) -> Tensor:
        """B x D."""

    def hints(
        self, correspondence: Correspondence, entities: Entities, rows: Tensor, negatives: bool
    ) -> Hints:
        """What the decoder is told of entities."""

    def enlarge(self, low: Tensor) -> Tensor:
        """N x 4S x 4S to N x M x M."""


@dataclass(frozen=True)
class WayDraws:
    """What is drawn for one way from a reference to its target."""

    text: float
    """Uniform in [0, 1), like the next two."""
    box: float
    negatives: float
    points: PointDraws
    """Of N masks."""


@dataclass(frozen=True)
class PairDraws:
    """What is drawn for a pair."""

    there: WayDraws
    back: WayDraws

    @classmethod
    def of(cls, sequence: np.random.SeedSequence, masks: int, points: int) -> Self:
        """A pure function of its arguments."""
        numbers, *states = sequence.spawn(3)
        uniform = np.random.default_rng(numbers).random((2, 3))
        generators = (
            torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0] >> 1))
            for state in states
        )
        return cls(
            *(
                WayDraws(*map(float, row), PointDraws.drawn(masks, generator, points))
                for row, generator in zip(uniform, generators, strict=True)
            )
        )


def draw_pairs(
    sequences: Sequence[np.random.SeedSequence], pairs: LabelledPairs, points: int
) -> list[PairDraws]:
    """What is drawn for B pairs, each from its own seeds."""
    return [
        PairDraws.of(sequence, len(query.masks), points)
        for sequence, query in zip(sequences, pairs.query, strict=True)
    ]


def pair_losses(
    model: Learner,
    query: SegicFeatures,
    support: SegicFeatures,
    pairs: LabelledPairs,
    options: SegicLossOptions,
    draws: Sequence[PairDraws],
) -> dict[str, Tensor]:
    """Cross-entropy and Dice on points, means over all masks, and over the way there and back.

    Where it goes back, what was found in the target is the reference, and what is looked for is
    the reference's own mask (the paper's context reversion).
    """
    targets = [one.masks.float() for one in pairs.query]
    references = [one.masks.float() for one in pairs.support]
    there = [draw.there for draw in draws]
    found = decode_ways(model, query, support, references, targets, pairs, options, there)
    losses = [_losses(found, targets, there)]
    if options.reversion:
        back = [draw.back for draw in draws]
        guessed = [(model.enlarge(low.detach()) > 0).float() for low in found]
        found = decode_ways(model, support, query, guessed, references, pairs, options, back)
        losses.append(_losses(found, references, back))
    entropy, dice = torch.stack([torch.stack(both) for both in losses]).mean(0)
    return {"mask": entropy, "dice": dice}


def loss_terms(pairs: LabelledPairs) -> dict[str, float]:
    """Of how many terms the losses of a batch are means: its masks."""
    masks = float(sum(len(one.masks) for one in pairs.query))
    return {"mask": masks, "dice": masks}


def decode_ways(
    model: Learner,
    targets: SegicFeatures,
    references: SegicFeatures,
    reference_masks: Sequence[Tensor],
    target_masks: Sequence[Tensor],
    pairs: LabelledPairs,
    options: SegicLossOptions,
    draws: Sequence[WayDraws],
) -> list[Tensor]:
    """The decoder's logits of every pair's entities, B of N x 4S x 4S.

    Args:
        reference_masks: 0 or 1, B of N x M x M.
        target_masks: the same, of which boxes are taken.
    """
    sentences = [
        INSTANCE
        if kind != "semantic"
        else sentence_about(name if draw.text < options.text_share else None)
        for kind, name, draw in zip(pairs.kinds, pairs.class_names, draws, strict=True)
    ]
    meta = model.meta_tokens(sentences)
    embedding = model.decoder.encode_images(targets.cells)
    found = []
    for row, (masks, truth, draw) in enumerate(
        zip(reference_masks, target_masks, draws, strict=True)
    ):
        cells = targets.cells[row, None]
        entities = _entities(model, references.cells[row, None], masks, meta[row])
        correspondence = Correspondence(cells, entities.directions, model.image_size)
        rows = torch.arange(len(masks), device=cells.device)
        negatives = draw.negatives < options.negative_share
        hints = model.hints(correspondence, entities, rows, negatives and model.negative_clicks)
        if not negatives:
            hints = replace(hints, prototypes=entities.prototypes[0, :, None], own=None)
        if draw.box < options.box_share:
            hints = _with_boxes(hints, truth)
        shown = embedding[rows.new_full((len(masks),), row)]
        found.append(model.decoder.decode_hints(shown, hints).logits[:, 0])
    return found


def _entities(model: Learner, cells: Tensor, masks: Tensor, meta: Tensor) -> Entities:
    """What a reference, 1 x C x S x S, says of N entities, all of the same sentence."""
    count = len(masks)
    prototypes, directions = reference_direction(
        cells[None].expand(count, -1, -1, -1, -1),
        masks[:, None],
        model.correspondence,
        keep_small=not model.small_masks_vanish,
    )
    owners = torch.arange(count, device=cells.device)
    return Entities(prototypes[:, 0][None], owners, directions[None], meta.expand(1, count, -1))


def _with_boxes(hints: Hints, masks: Tensor) -> Hints:
    """The same hints with the boxes around masks, N x M x M, in the place of the closing token."""
    corners = mask_boxes(masks > 0).view(-1, 2, 2)
    labels = hints.labels.new_tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]).expand(len(masks), -1)
    return replace(
        hints,
        points=torch.cat([hints.points[:, :-1], corners.to(hints.points)], dim=1),
        labels=torch.cat([hints.labels[:, :-1], labels], dim=1),
    )


def _losses(
    logits: Sequence[Tensor], masks: Sequence[Tensor], draws: Sequence[WayDraws]
) -> tuple[Tensor, Tensor]:
    """Means over all masks of a batch."""
    points = PointDraws.join([draw.points for draw in draws])
    entropy, dice = point_losses(torch.cat(list(logits)).float(), torch.cat(list(masks)), points)
    return entropy.mean(), dice.mean()
