"""Matcher from pictures to the final mask, as its released program computes it.

Places and subsets that the program drew at random are taken from the files.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.instances import mask_boxes
from model.matcher.matching import cosine_similarity
from model.matcher.network import Matched, Matcher
from model.matcher.prompts import bounding_box, colexicographic, lloyd
from model.matcher.proposals import Proposals, propose, suppress_overlaps
from model.matcher.selection import (
    earth_mover_scores,
    mask_patches,
    purity_and_coverage,
)
from tests.golden.golden_set import Weights, assert_close, summary
from tests.golden.matcher_case import KINDS, SIDE, MatcherCase, bits
from tests.golden.method_set import assert_changes_are_seen, method_set

GRID = 37
EMPTY = 2.0
"""Stands for the stability of nothing."""
FLIPPED = 1e-3
"""Share of a mask's pixels that may fall to the other side."""
TOLERANCES = {
    ".*logits": 1e-3,
    # of counted pixels, of which one may flip
    ".*(stability)": 1e-3,
    ".*(iou|features|similarity|purity|score)": 1e-4,
    ".*(area)": FLIPPED * SIDE**2,
    ".*(box_xywh)": 1.0,
    "": 0,
}


@pytest.fixture(scope="module")
def case() -> MatcherCase:
    return MatcherCase(method_set("matcher"))


class Run:
    """One of the settings from pictures on, stage by stage."""

    def __init__(self, case: MatcherCase, name: str) -> None:
        self.case, self.golden = case, held(case, name)
        self.counts = case.golden.json(f"matcher_{name}.json")
        self.shots = case.facts["settings"][name]["shots"]
        matcher = case.matcher
        matcher.setting = case.setting(name)
        crcs = [self.counts[f"reference{i}_crc"] for i in range(self.shots)]
        self.support = case.support(crcs)
        self.target = case.encode("target", self.counts["target_crc"])
        self.matched = matcher.match(self.target, self.support, 0)

    def values(self) -> Weights:
        matcher = self.case.matcher
        subsets = self.subsets()
        with torch.no_grad():
            return (
                self.matching_values()
                | self.prompt_values(subsets)
                | self.proposal_values(matcher, subsets)
            )

    def subsets(self) -> list[np.ndarray]:
        names = sorted(name for name in self.golden if name.startswith("samples"))
        return [self.golden[name].numpy() for name in names]

    def matching_values(self) -> Weights:
        matching, patches = self.matched.matching, self.support.patches[0]
        similarity = cosine_similarity(patches, self.target.patches[0])
        flat = torch.from_numpy(similarity).flatten()[None]
        found = {
            "target_features_s": self.target.patches[0, ::37, ::16],
            "reference_features_s": patches[::37, ::16],
            "reference_patches_bits": bits(self.support.foreground[0].numpy()),
            "reference_patches_shape": torch.tensor([len(patches)]),
            "similarity_s": torch.from_numpy(similarity[::16, ::16]),
            "similarity_stats": summary(flat[None])[0],
            "forward_rows": torch.from_numpy(matching.rows),
            "forward_columns": torch.from_numpy(matching.columns),
            "reverse_rows": torch.arange(len(matching.back)),
            "reverse_columns": torch.from_numpy(matching.back),
            "retained": torch.from_numpy(matching.retained),
            "points": self._in_their_order(torch.from_numpy(self.matched.points)),
        }
        counts = (len(matching.rows), int(matching.retained.sum()), len(matching.kept))
        assert counts == tuple(self.counts["counts"][n] for n in ("forward", "retained", "kept"))
        if "box" in self.golden:
            found["box"] = torch.from_numpy(bounding_box(self.matched.points, SIDE))
        return found

    def prompt_values(self, subsets: list[np.ndarray]) -> Weights:
        """What the program drew, and by our own rules where nothing is random."""
        points = self.golden["points"].numpy()
        found = {"draws": self.golden["draws"]} if "draws" in self.golden else {}
        if "centers" in self.golden:
            first = self.golden["first_centers"]
            centres = lloyd(points, points[first.numpy()]).astype(np.int64)
            found |= {"first_centers": first, "centers": torch.from_numpy(centres)}
            sizes = [subset.shape[1] for subset in subsets]
            samples = [centres[colexicographic(len(centres), size)] for size in sizes]
        else:
            drawn = [row[row >= 0].numpy() for row in self.golden["draws"]]
            sizes = sorted({len(row) for row in drawn})
            samples = [np.stack([points[row] for row in drawn if len(row) == n]) for n in sizes]
        return found | {f"samples{i}": torch.from_numpy(s) for i, s in enumerate(samples)}

    def proposal_values(self, matcher: Matcher, subsets: list[np.ndarray]) -> Weights:
        """Every prompt's masks, those that stay, their scores, and the union of the best."""
        setting, points = matcher.setting, self.matched.points
        kinds = matcher.prompts(subsets, points)
        unfiltered = [replace(kind, quality=0.0, stability=0.0) for kind in kinds]
        decoder, logits = matcher.decoder(self.target.sam), []
        draw = decoder.draw
        decoder.draw = lambda *asked: logits.append(draw(*asked)) or logits[-1]
        every = propose(decoder, unfiltered, (matcher.segmenter.image_size, SIDE))
        quality = torch.cat([torch.full((kind.masks,), kind.quality) for kind in kinds])
        stability = torch.cat([torch.full((kind.masks,), kind.stability) for kind in kinds])
        good = (every.quality > quality) | (quality == 0)
        stable = (every.stability >= stability) | (stability == 0)
        found = {
            "prompt_iou": every.quality,
            "prompt_stability": every.stability[good].nan_to_num(EMPTY),
            "prompt_logits_s": torch.cat(logits)[:, ::16, ::64].flatten(),
        }
        proposals = suppress_overlaps(every[good & stable], setting.overlap)
        return found | self.answer_values(matcher, proposals)

    def answer_values(self, matcher: Matcher, proposals: Proposals) -> Weights:
        masks = proposals.masks
        boxes = mask_boxes(masks)
        boxes[:, 2:] -= boxes[:, :2]
        patches = mask_patches(masks, GRID)
        mask_shares = score_values(masks, self.matched)
        selection = matcher.select(proposals, self.matched, self.shots)
        emd, setting = mask_shares[:, 2], matcher.setting
        purity, coverage = mask_shares[:, 0], mask_shares[:, 1]
        scores = setting.alpha * emd + setting.beta * purity * coverage**setting.exponent
        order = np.argsort(-selection.scores, kind="stable")
        limit = len(self.golden["order_after_filters"])
        union = masks[torch.from_numpy(selection.chosen)].any(0)
        expected = np.unpackbits(self.golden["mask_bits"].numpy())[: SIDE**2]
        assert (union.flatten().numpy() != expected).mean() <= FLIPPED
        return {
            "proposal_area": masks.flatten(1).sum(1),
            "proposal_iou": proposals.quality,
            "proposal_stability": proposals.stability.nan_to_num(EMPTY),
            "proposal_box_xywh": boxes,
            "proposal_patches_bits": bits(patches),
            "proposal_patches_shape": torch.tensor([len(masks), GRID, GRID]),
            "purity_coverage_emd": mask_shares.float(),
            "score": scores.float(),
            "score_after_filters": torch.from_numpy(selection.scores).float(),
            "order_after_filters": torch.from_numpy(order[:limit]),
            "mask_bits": self.golden["mask_bits"],  # compared above, with a share of flips
            "mask_shape": torch.tensor([1, SIDE, SIDE]),
        }

    def _in_their_order(self, points: Tensor) -> Tensor:
        """Our points, as the program's set happened to list them."""
        theirs = {tuple(point): i for i, point in enumerate(self.golden["points"].tolist())}
        return points[sorted(range(len(points)), key=lambda i: theirs[tuple(points[i].tolist())])]


def held(case: MatcherCase, name: str) -> Weights:
    """What a file holds, but for the draws where there were none.

    The stability of masks that are empty at both logits is 0 / 0: any number does.
    """
    values = case.golden.tensors(f"matcher_{name}")
    return {n: v.nan_to_num(EMPTY) for n, v in values.items() if v.numel()}


def score_values(masks: Tensor, matched: Matched) -> Tensor:
    """Purity, coverage and the earth mover's score, N x 3."""
    patches = mask_patches(masks, GRID)
    shares = purity_and_coverage(masks, patches, matched.points)
    emd = earth_mover_scores(matched.cost, patches)
    return torch.from_numpy(np.stack([*shares, emd], axis=1))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n == "coco_3shot" else []) for n in KINDS],
)
def test_from_pictures_to_the_mask(case: MatcherCase, name: str):
    run = Run(case, name)
    assert_close(run.values(), run.golden, TOLERANCES)


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_value_is_seen(case: MatcherCase, name: str):
    assert_changes_are_seen(held(case, name), TOLERANCES)
