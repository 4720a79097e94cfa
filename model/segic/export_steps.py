"""SegIC as steps between named tensors: what other runtimes can run one by one.

Text is read outside of graphs: a concept's `meta` says nothing, or by `--text instance` that single
objects are meant; another sentence's token may stand in its place.
Shapes: K references, C channels of the backbone, S side of its map, M side of pictures and masks,
D channels of the decoder; one picture and one concept at a time.
"""

import torch

from model.export_step import ExportStep, Values
from model.presence import mean_sureness
from model.segic.features import Entities, SegicSupport
from model.segic.hints import reference_direction
from model.segic.network import Segic
from model.segic.text import sentence_about


class Step(ExportStep):
    """One step of SegIC."""

    model: Segic


class Encode(Step):
    """`image`, 1 x 3 x M x M and normalised, to `cells`, 1 x C x S x S."""

    def forward(self, given: Values) -> Values:
        return {"cells": self.model.encode(given["image"]).cells}


class Learn(Step):
    """`cells` of K references and `masks`, K x M x M, to a concept.

    `prototypes`: mean features, K x C; `direction`: what a query is compared with, C; `meta`: the
    token of what is said, D.
    """

    def __init__(self, model: Segic, side: int) -> None:
        super().__init__(model, side)
        self.register_buffer("said", model.meta_tokens([sentence_about(None, model.text)])[0])

    def forward(self, given: Values) -> Values:
        prototypes, directions = reference_direction(
            given["cells"].unsqueeze(0),
            given["masks"].unsqueeze(0),
            self.model.correspondence,
            keep_small=not self.model.small_masks_vanish,
        )
        return {"prototypes": prototypes[0], "direction": directions[0], "meta": self.said + 0}


class Decode(Step):
    """A query's `cells` and a concept to `logits`, 1 x M x M, and `quality`, 1."""

    def forward(self, given: Values) -> Values:
        names = ("prototypes", "direction", "meta")
        support = SegicSupport(*(given[name].unsqueeze(0) for name in names))
        decoded = self.model.decode(given["cells"], Entities.of([support]))
        logits = self.model.enlarge(decoded.logits[:, 0])
        everywhere = torch.ones_like(logits, dtype=torch.bool)
        return {"logits": logits, "quality": mean_sureness(logits, everywhere)}


STEPS: dict[str, type[Step]] = {"encode": Encode, "learn": Learn, "decode": Decode}
"""In the order in which they are taken."""
