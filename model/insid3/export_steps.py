"""INSID3 as steps between named tensors: what other runtimes can run one by one.

What is left are decisions on a few thousand numbers (candidates, clusters, scores); docs/export.md
has them as a program.
Shapes: K shots, S side of pictures and masks, h x w cells, N = h*w, C channels.
"""

import torch

from model.export_step import ExportStep, Values
from model.insid3.candidates import prototype
from model.insid3.encoder import CellFeatures, unit_cells
from model.insid3.network import Insid3
from model.insid3.positional_basis import debias
from model.insid3.reference_mask import cell_mask


class Encode(ExportStep):
    """`image`, 1 x 3 x S x S and normalised, to `cells` and `debiased`, 1 x N x C unit features."""

    def __init__(self, model: Insid3, side: int) -> None:
        super().__init__(model, side)
        self.register_buffer("directions", model.basis())

    def forward(self, given: Values) -> Values:
        cells = unit_cells(self.model.encoder(given["image"]))
        return {"cells": cells, "debiased": debias(cells, self.directions)}

    def features(self, given: Values) -> CellFeatures:
        pictures = given["image"] if self.model.crf else None
        return CellFeatures(given["cells"], self.model.grid, pictures)


class Learn(ExportStep):
    """`debiased` features of K references and `masks`, K x S x S, to a concept.

    `references`: the features, K x N x C; `object_cells`: 0 or 1, K x N; `prototype`: C.
    """

    def forward(self, given: Values) -> Values:
        references = given["debiased"]
        inside = torch.stack(
            [cell_mask(mask, self.model.grid).flatten() for mask in given["masks"]]
        )
        looked_for, _ = prototype(references, inside)
        return {
            "references": references + 0,  # an output that is an input has no name of its own
            "object_cells": inside.to(references.dtype),
            "prototype": looked_for,
        }


class Locate(ExportStep):
    """A query's `debiased` features and a concept to what decides about candidates.

    `similarity`: of each cell with the prototype, N; `match`: how much more similar the best cell
    on the object is than the best beside it, in each reference, K x N: above 0 is a vote.
    """

    def forward(self, given: Values) -> Values:
        debiased = given["debiased"][0]
        pairs = given["references"] @ debiased.T  # K reference cells, query cells
        inside = given["object_cells"].unsqueeze(2) > 0.5
        # -2 is below any cosine
        best_inside, best_beside = (
            pairs.masked_fill(~region, -2).amax(dim=1) for region in (inside, ~inside)
        )
        return {
            "similarity": debiased @ given["prototype"],
            "match": best_inside - best_beside,
        }


STEPS: dict[str, type[ExportStep]] = {"encode": Encode, "learn": Learn, "locate": Locate}
"""In the order in which they are taken."""
