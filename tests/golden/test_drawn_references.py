"""Points, strokes and boxes drawn from masks, against VRP-SAM's and SANSA's, pixel for pixel."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from data.prompts import (
    CURVE,
    SMALL_CURVE,
    Draws,
    box_around,
    draw_mark,
    fill_box,
    largest_box,
    point_mark,
    stroke_mark,
    stroke_starts,
)
from tests.golden.fill import MASKS
from tests.golden.golden_set import GoldenSet, assert_close
from tests.golden.method_set import method_set

EXACT = {"": 0.0}


@dataclass(frozen=True)
class Drawn:
    """The values of a method, and the masks from which its references were drawn."""

    golden: GoldenSet
    seed: int
    masks: dict[str, Tensor]

    def strokes(self, idle_draws: bool) -> dict[str, Tensor]:
        """Five strokes of each brush in the first mask, wherever they run, and their starts."""
        mask, found = self.masks["mask0"], {}
        for name, brush in (("rand_curve", CURVE), ("rand_curve_small", SMALL_CURVE)):
            draws = Draws.of_seed(self.seed)
            starts = stroke_starts(mask, 5, draws.order)
            mark = stroke_mark(starts, brush, mask.shape, draws.strokes, idle_draws)
            found |= {f"{name}_starts": starts, f"{name}_packed": packed(mark)}
        return found


def united(shapes: list, side: int) -> Tensor:
    """The union of shapes of a `case.json`, H x W."""
    drawn = [MASKS[kind](*numbers) for kind, *numbers in shapes]
    return torch.stack([torch.zeros(side, side), *drawn]).amax(0)


def packed(mark: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mark.numpy().astype(bool)))


@pytest.fixture(scope="module")
def vrp_sam() -> Drawn:
    golden = method_set("vrp_sam")
    case = golden.json("case.json")
    shapes = case["support_masks"]
    masks = {f"mask{i}": united(parts, case["size"]) for i, parts in enumerate(shapes)}
    doubled = [(kind, *(2 * number for number in numbers)) for kind, *numbers in shapes[0]]
    return Drawn(golden, case["seed"], {**masks, "doubled": united(doubled, 2 * case["size"])})


@pytest.fixture(scope="module")
def sansa() -> Drawn:
    golden = method_set("sansa")
    case = golden.json("case.json")
    numbered = {f"mask{i}": parts for i, parts in enumerate(case["masks"])}
    shapes = {**numbered, **case["special_masks"]}
    side = case["image_size_given"]
    masks = {name: united(parts, side) for name, parts in shapes.items()}
    return Drawn(golden, case["seed_of_prompts"], masks)


class TestVrpSam:
    @pytest.mark.parametrize("kind", ["point", "scribble", "box"])
    def test_references_of_a_batch(self, vrp_sam, kind):
        masks = [mask for name, mask in vrp_sam.masks.items() if name != "doubled"]
        draws = Draws.of_seed(vrp_sam.seed)
        marks = torch.stack([draw_mark(mask, kind, draws) for mask in masks])
        found = {"batch5_counts": marks.sum((1, 2)), "batch5_packed": packed(marks)}
        if kind == "box":
            found["batch5_corners"] = torch.tensor([box_around(mask) for mask in masks])
        expected = vrp_sam.golden.tensors("vrp_sam_prompts", f"{kind}/")
        assert_close(found, expected, EXACT)

    def test_strokes(self, vrp_sam):
        expected = vrp_sam.golden.tensors("vrp_sam_prompts", "strokes/")
        assert_close(vrp_sam.strokes(idle_draws=True), expected, EXACT)

    def test_points_that_are_left_on_a_map(self, vrp_sam):
        order = torch.Generator().manual_seed(vrp_sam.seed)
        mask = vrp_sam.masks["doubled"]
        left = [point_mark(mask, 20, order)[::8, ::8].sum() for _ in range(200)]
        expected = vrp_sam.golden.tensors("vrp_sam_prompts", "vanish/")
        assert_close({"points_left_of_20": torch.stack(left)}, expected, EXACT)


class TestSansa:
    def draw(self, sansa, name, kind):
        draws = Draws.of_seed(sansa.seed)
        return draw_mark(sansa.masks[name], kind, draws, boxes="largest", idle_draws=False)

    def test_scribbles(self, sansa):
        expected = sansa.golden.tensors("sansa_prompts", "scribble/")
        marks = {name: self.draw(sansa, name, "scribble") for name in expected}
        assert_close({name: packed(mark) for name, mark in marks.items()}, expected, EXACT)
        counts = sansa.golden.tensors("sansa_prompts", "scribble_count/")
        assert_close({name: marks[name].sum() for name in counts}, counts, EXACT)

    def test_points_row_by_row(self, sansa):
        expected = sansa.golden.tensors("sansa_prompts", "point/")
        del expected["empty"]  # a stand-in, which is no pixel of the mask
        found = {name: self.draw(sansa, name, "point").nonzero().flip(1)[None] for name in expected}
        assert_close(found, expected, EXACT)

    def test_boxes(self, sansa):
        expected = sansa.golden.tensors("sansa_prompts", "box/")
        del expected["empty"]
        boxes = {name: largest_box(sansa.masks[name]) for name in expected}
        found = {name: torch.tensor(box).view(1, 2, 2) for name, box in boxes.items()}
        assert_close(found, expected, EXACT)
        for name, box in boxes.items():
            filled = fill_box(box, sansa.masks[name].shape)
            assert torch.equal(self.draw(sansa, name, "box"), filled)

    def test_strokes(self, sansa):
        expected = sansa.golden.tensors("sansa_prompts", "strokes/")
        found = sansa.strokes(idle_draws=False)
        found = {name.removesuffix("_packed"): value for name, value in found.items()}
        assert_close(found, expected, EXACT)
