"""Supports of videos that are marked otherwise than by their masks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from common.geometry import Geometry
from data.benchmarks import EpisodeKey
from data.marking import Marking
from data.video_benchmarks import VideoDataOptions
from evaluation.video_method import VideoMethod
from model.sam.video_wiring import STREAMING

CORNER = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.uint8)


class Listener:
    """A method that keeps what it is told."""

    def features(self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None):
        return images

    def encode_support(self, images, masks, kinds=None, names=None):
        return masks[0, 0].tolist(), kinds


def told(marking: Marking | None, name: str = "video/3"):
    split = SimpleNamespace(
        read_class=lambda picture, class_id: (np.zeros((4, 4, 3), np.uint8), CORNER)
    )
    item = SimpleNamespace(
        given=False, support=EpisodeKey(3, "video", ("one",)), name=name, class_name="car"
    )
    method = VideoMethod(
        Listener(), None, STREAMING, Geometry(4), 0, "fp32", torch.device("cpu"), marking
    )
    return method.encode_support(item, split)


def test_masks_stay_as_they_are():
    assert told(Marking.of_references("mask", "around", 0)) == (CORNER.tolist(), None)


def test_a_box_is_drawn_around_the_mask():
    mark, kinds = told(Marking.of_references("box", "around", 0))
    assert mark == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert kinds == [("box",)]


def test_a_mask_of_less_than_20_pixels_has_all_of_them_as_points():
    assert told(Marking.of_references("points", "around", 0)) == (CORNER.tolist(), [("point",)])


def test_what_is_drawn_depends_on_the_item_and_the_seed_alone():
    one = [told(Marking.of_references("multi", "around", seed))[1] for seed in range(12)]
    same = [told(Marking.of_references("multi", "around", seed))[1] for seed in range(12)]
    other = [told(Marking.of_references("multi", "around", s), "b/7")[1] for s in range(12)]
    assert one == same != other
    assert len({kinds[0] for kinds in one}) > 1


@pytest.mark.parametrize("given", [{"benchmark": "davis"}, {"first_frame": "oracle"}])
def test_there_are_no_references_where_masks_are_given(given):
    problems = VideoDataOptions(**given, reference_kind="box").problems()
    assert "--reference_kind box: first masks are given here" in problems
