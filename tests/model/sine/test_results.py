import pytest
import torch

from model.sine.canvas import Canvas
from model.sine.results import score_instances, semantic_scores

CANVAS = Canvas(8)


def square(left: int, top: int, right: int, bottom: int) -> torch.Tensor:
    """Logits of a rectangle, 8 x 8: sure inside, and sure outside."""
    logits = torch.full((8, 8), -20.0)
    logits[top:bottom, left:right] = 20.0
    return logits


MASKS = torch.stack([square(1, 2, 4, 7), square(0, 0, 8, 8), square(0, 0, 0, 0)])


def test_scores_of_classes_add_up_over_queries():
    probabilities = torch.tensor([[0.6, 0.1], [0.7, 0.0], [0.9, 0.9]])
    scores = semantic_scores(probabilities, MASKS, 8)
    assert scores[0, 3, 2] == pytest.approx(1.3)  # more than 1
    assert scores[0, 0, 0] == pytest.approx(0.7)
    assert scores[1, 3, 2] == pytest.approx(0.1)


def test_the_best_pairs_of_a_query_and_a_class_are_instances():
    probabilities = torch.tensor([[0.6, 0.5], [0.2, 0.7], [0.9, 0.9]])
    found = score_instances(probabilities, MASKS, CANVAS, (8, 8), most=100)
    assert found.concepts.tolist() == [1, 0, 1, 0]  # a query twice; the empty mask is none
    torch.testing.assert_close(found.scores, torch.tensor([0.7, 0.6, 0.5, 0.2]))
    assert found.masks.flatten(1).sum(1).tolist() == [64, 15, 15, 64]
    few = score_instances(probabilities, MASKS, CANVAS, (8, 8), most=3)
    assert few.concepts.tolist() == [1]  # two of the three best pairs are empty


def test_a_score_counts_how_sure_the_pixels_are():
    unsure = torch.zeros(1, 8, 8)
    unsure[0, :, :4] = 0.4054651  # a probability of 0.6
    unsure[0, :, 4:] = -9.0
    found = score_instances(torch.tensor([[0.5]]), unsure, CANVAS, (8, 8), most=1)
    torch.testing.assert_close(found.scores, torch.tensor([0.3]), atol=1e-5, rtol=0)


def test_boxes_end_behind_the_last_pixel_and_published_ones_on_it():
    one = (torch.tensor([[0.9]]), MASKS[:1], CANVAS, (8, 8), 1)
    assert score_instances(*one).boxes.tolist() == [[1, 2, 4, 7]]
    assert score_instances(*one, inclusive_boxes=True).boxes.tolist() == [[1, 2, 3, 6]]


def test_instances_have_the_pictures_own_size():
    found = score_instances(torch.tensor([[0.9]]), MASKS[1:2], CANVAS, (20, 10), most=1)
    assert found.masks.shape == (1, 20, 10)
    assert found.masks.all()
    assert found.boxes.tolist() == [[0, 0, 10, 20]]


def test_nothing_is_found_where_all_masks_are_empty():
    found = score_instances(torch.tensor([[0.9]]), MASKS[2:], CANVAS, (6, 8), most=5)
    assert (len(found), found.masks.shape) == (0, (0, 6, 8))
