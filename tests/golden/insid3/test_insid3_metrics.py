"""Areas, mIoU and FB-IoU of the released evaluation, which counts only what is not ignored."""

import pytest
import torch

from evaluation.iou import EpisodeScores

CLASSES = (0, 1, 0, 2)
SIZE = (40, 50)


def test_areas_and_means_are_the_published_ones(insid3_case):
    expected = insid3_case.facts["results"]["iou"]
    scores = EpisodeScores()
    for index, class_id in enumerate(CLASSES):
        prediction = insid3_case.input(f"iou_pred{index}", *SIZE) > 0
        mask = insid3_case.input(f"iou_gt{index}", *SIZE) > 0.3
        ignored = (insid3_case.input(f"iou_ignore{index}", *SIZE) > 1.2) & ~mask
        if index % 2 == 0:
            ignored = torch.zeros_like(ignored)
        class_ids = torch.tensor([class_id])
        scores.add([index], class_ids, prediction[None], mask[None], ignored[None])
    areas = torch.tensor(scores.state())[:, 2:]  # intersection and union of object and background
    for found, (intersections, unions) in zip(areas, expected["inter_union_bg_fg"], strict=True):
        assert found[[2, 0]].tolist() == intersections
        assert found[[3, 1]].tolist() == unions
    assert scores.miou() == pytest.approx(expected["mIoU"], rel=1e-6)
    assert scores.fb_iou() == pytest.approx(expected["FB_IoU"], rel=1e-6)
