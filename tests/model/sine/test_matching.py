from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from model.sine.matching import Matching, match_identities, match_instances

LEFT, RIGHT = [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]


def logits_of(*masks: list[float]) -> torch.Tensor:
    """Logits that are sure of these masks."""
    return 20 * torch.tensor(masks) - 10


def pairs(matching: Matching) -> list[tuple[int, int]]:
    return list(zip(matching.queries.tolist(), matching.objects.tolist(), strict=True))


def test_masks_decide_where_classes_are_alike():
    matching = match_instances(
        torch.zeros(3, 2),
        logits_of(RIGHT, [0.0] * 4, LEFT),
        torch.tensor([0, 0]),
        torch.tensor([LEFT, RIGHT]),
    )
    assert pairs(matching) == [(0, 1), (2, 0)]


def test_classes_decide_where_masks_are_alike():
    # query 0 is sure of class 1, query 1 of class 0, query 2 of none
    matching = match_instances(
        torch.tensor([[0.0, 9, 0], [9, 0, 0], [0, 0, 9]]),
        logits_of(LEFT, LEFT, LEFT),
        torch.tensor([0, 1]),
        torch.tensor([LEFT, LEFT]),
    )
    assert pairs(matching) == [(0, 1), (1, 0)]


def test_more_objects_than_queries_leave_objects_out():
    matching = match_instances(
        torch.zeros(1, 2),
        logits_of(RIGHT),
        torch.tensor([0, 0]),
        torch.tensor([LEFT, RIGHT]),
    )
    assert pairs(matching) == [(0, 1)]


def test_no_objects_are_no_pairs():
    matching = match_instances(
        torch.zeros(2, 2), torch.zeros(2, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4)
    )
    assert len(matching) == 0


def test_no_other_pairing_costs_less():
    generator = torch.Generator().manual_seed(0)
    class_logits = torch.randn(5, 4, generator=generator)
    mask_logits = torch.randn(5, 30, generator=generator)
    masks = torch.rand(3, 30, generator=generator)
    classes = torch.tensor([2, 0, 2])

    def cost(query: int, thing: int) -> float:
        logits, mask = mask_logits[query], masks[thing]
        chance = class_logits[query].softmax(0)[classes[thing]]
        probability = logits.sigmoid()
        dice = 1 - (2 * (probability * mask).sum() + 1) / (probability.sum() + mask.sum() + 1)
        entropy = F.binary_cross_entropy_with_logits(logits, mask)
        return (-2 * chance + 5 * entropy + 5 * dice).item()

    best = min(permutations(range(5), 3), key=lambda qs: sum(map(cost, qs, range(3))))
    matching = match_instances(class_logits, mask_logits, classes, masks)
    assert pairs(matching) == sorted(zip(best, range(3), strict=True))


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        match_instances(
            torch.full((2, 2), torch.nan),
            torch.zeros(2, 4),
            torch.tensor([0]),
            torch.tensor([LEFT]),
        )


def test_an_object_is_found_by_its_image_and_id():
    references = [("a", 11), ("a", 12), ("a", 13)]
    targets = [("a", 13), ("a", 11)]
    assert pairs(match_identities(references, targets)) == [(0, 1), (2, 0)]


def test_equal_ids_of_two_images_are_two_objects():
    assert pairs(match_identities([("a", 7)], [("b", 7)])) == []


def test_an_id_twice_in_a_picture_is_refused():
    with pytest.raises(ValueError, match="the same id"):
        match_identities([("a", 7)], [("a", 7), ("a", 7)])
