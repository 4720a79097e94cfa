import numpy as np
import torch

from common.geometry import Geometry
from model.instances import Instances
from model.sam.video_predictor import FramePrediction
from model.tracking import ObjectTracker

SIZE = (4, 8)


class Moving:
    """Objects move right by a pixel a frame."""

    def __init__(self):
        self.masks = torch.zeros(0, *SIZE, dtype=torch.bool)

    def step(self, images, masks=None, *, sizes=None):
        assert sizes.tolist() == [list(SIZE)]
        moved = torch.nn.functional.pad(self.masks, (1, 0))[..., :-1]
        self.masks = moved if masks is None else torch.cat([moved, masks])
        square = torch.nn.functional.interpolate(self.masks[None].float(), (8, 8))[0]
        return FramePrediction.of_masks(square)


def found(*lots: tuple[int, int, int]) -> Instances:
    """Objects of some columns and a concept."""
    masks = torch.zeros(len(lots), *SIZE, dtype=torch.bool)
    for mask, (left, right, _) in zip(masks, lots, strict=True):
        mask[:, left:right] = True
    concepts = torch.tensor([concept for *_, concept in lots])
    return Instances.of_masks(masks, torch.full((len(lots),), 0.9), concepts)


def step(tracker: ObjectTracker, lots: Instances | None):
    return tracker.step(torch.zeros(1, 3, 8, 8), lots, SIZE)


def test_objects_keep_their_numbers():
    tracker = ObjectTracker(Moving(), Geometry(8))
    first = step(tracker, found((0, 2, 0), (4, 6, 1)))
    assert first.numbers[0].tolist() == [1, 1, 0, 0, 2, 2, 0, 0]
    assert first.concepts == (0, 1)
    second = step(tracker, None)
    assert second.numbers[0].tolist() == [0, 1, 1, 0, 0, 2, 2, 0]
    assert second.concepts == (0, 1)


def test_only_objects_that_are_not_known_yet_are_new():
    tracker = ObjectTracker(Moving(), Geometry(8))
    step(tracker, found((0, 3, 0)))
    # the first is the known one; the second is of another concept; the third is elsewhere
    later = step(tracker, found((0, 3, 0), (0, 3, 1), (6, 8, 0)))
    assert later.concepts == (0, 1, 0)
    assert later.numbers[0, 6:].tolist() == [3, 3]
    assert len(later.scores) == 3


def test_nothing_is_followed_before_something_was_found():
    tracker = ObjectTracker(Moving(), Geometry(8))
    nothing = step(tracker, found())
    assert (nothing.concepts, nothing.scores) == ((), ())
    assert not nothing.numbers.any()
    assert np.array_equal(step(tracker, found((0, 2, 0))).numbers[0, :2], [1, 1])
