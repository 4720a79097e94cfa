import torch

from model.instances import Instances, separate_objects, tight_boxes


def masks(*pictures: tuple[str, ...]) -> torch.Tensor:
    """Small masks; points are outside."""
    return torch.tensor([[[sign == "#" for sign in row] for row in rows] for rows in pictures])


def test_boxes_are_the_edges_of_pixels():
    found = tight_boxes(masks(("....", ".##.", "...."), ("#...", "....", "...#")))
    assert found.tolist() == [[1, 1, 3, 2], [0, 0, 4, 3]]
    assert tight_boxes(torch.zeros(0, 3, 4, dtype=torch.bool)).shape == (0, 4)


def test_empty_masks_are_no_objects():
    given = masks(("..",), ("#.",))
    found = Instances.of_masks(given, torch.tensor([0.9, 0.5]), torch.tensor([3, 4]))
    assert (len(found), found.concepts.tolist(), found.boxes.tolist()) == (1, [4], [[0, 0, 1, 1]])


def test_the_best_come_first_and_of_equal_ones_the_earlier():
    scores = torch.tensor([0.2, 0.5, 0.9, 0.5])
    found = Instances.of_masks(torch.ones(4, 1, 1, dtype=torch.bool), scores, torch.arange(4))
    assert found.best(3).concepts.tolist() == [2, 1, 3]


def test_connected_parts_score_by_presence_and_probability():
    logits = torch.full((2, 6), -9.0)
    logits[:, :2], logits[0, 4] = 0.0001, 40.0  # probabilities of about a half, and of 1
    found = separate_objects(logits, None, presence=0.5, concept=7, size=(2, 6))
    assert found.concepts.tolist() == [7, 7]
    assert found.boxes.tolist() == [[0, 0, 2, 2], [4, 0, 5, 1]]
    torch.testing.assert_close(found.scores, torch.tensor([0.25, 0.5]), atol=1e-4, rtol=0)


def test_proposals_part_what_is_connected():
    parts = masks(("##..", "##.."), ("..##", "..##"))
    found = separate_objects(torch.ones(2, 4), parts, 1.0, 0, size=(4, 8))
    assert found.masks.shape == (2, 4, 8)
    assert found.boxes.tolist() == [[0, 0, 4, 4], [4, 0, 8, 4]]


def test_nothing_is_found_in_an_empty_mask():
    assert len(separate_objects(-torch.ones(4, 4), None, 1.0, 0, size=(8, 8))) == 0
