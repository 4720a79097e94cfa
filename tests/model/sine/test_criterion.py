from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.sine.criterion import Answers, SamplePoints, Target, loss_terms, sine_losses
from model.sine.matching import Matching

SIDE = 8
LEFT = torch.zeros(SIDE, SIDE)
LEFT[:, :4] = 1
RIGHT = 1 - LEFT


def sure(*masks: Tensor) -> Tensor:
    return 60 * torch.stack(masks) - 30


def points(seed: int) -> SamplePoints:
    return SamplePoints(torch.Generator().manual_seed(seed), 64)


@pytest.fixture
def target() -> Target:
    """Two objects, of classes 1 and 0; reference object 1 is the target's object 0."""
    return Target(torch.stack([LEFT, RIGHT]), torch.tensor([1, 0]), 2, Matching.of([(1, 0)]))


def right() -> Answers:
    """Query 2 knows the left object and query 0 the right one; query 1 answers for none."""
    return Answers(
        torch.tensor([[-30.0, 30], [30, -30]]),
        torch.tensor([[60.0, 0, 0], [0, 0, 60], [0, 60, 0]]),
        sure(RIGHT, LEFT),
        sure(RIGHT, torch.zeros(SIDE, SIDE), LEFT),
    )


def swapped() -> Answers:
    """As if queries 0 and 2 had each other's masks, and the identity queries too."""
    answers = right()
    return replace(
        answers,
        instance_masks=answers.instance_masks.flip(0),
        identity_masks=answers.identity_masks.flip(0),
    )


def losses_of(answers: Answers, target: Target) -> dict[str, Tensor]:
    return sine_losses([[answers]], [target], [points(0)])


def test_right_answers_cost_next_to_nothing(target):
    found = losses_of(right(), target)
    assert set(found) == {"loss_ce_ins", "loss_ce_id", "loss_mask", "loss_dice"}
    assert found["loss_ce_ins"].item() == pytest.approx(0, abs=1e-6)
    assert found["loss_ce_id"].item() == pytest.approx(0, abs=1e-6)
    # points between the halves and at the border have labels between 0 and 1
    assert found["loss_dice"].item() < 1 < losses_of(swapped(), target)["loss_dice"].item()


def test_queries_of_no_object_weigh_a_tenth(target):
    answers = replace(right(), instance_logits=torch.zeros(3, 3))
    # all queries are equally unsure: ln 3, however they are weighted
    assert losses_of(answers, target)["loss_ce_ins"].item() == pytest.approx(2 * 1.0986, abs=1e-3)

    logits = torch.tensor([[60.0, 0, 0], [0, 0, 0], [0, 60, 0]])
    answers = replace(answers, instance_logits=logits)
    expected = 2 * 0.1 * 1.0986 / 2.1
    assert losses_of(answers, target)["loss_ce_ins"].item() == pytest.approx(expected, abs=1e-3)


def test_identities_of_all_samples_are_weighed_together(target):
    unsure = replace(right(), identity_logits=torch.zeros(2, 2))
    found = sine_losses([[right(), unsure]], [target, target], [points(0), points(1)])
    # of 2.2 in all, 1.1 cost ln 2
    assert found["loss_ce_id"].item() == pytest.approx(2 * 0.6931 / 2, abs=1e-3)


def test_masks_are_divided_by_the_number_of_pairs(target):
    unsure = replace(
        right(),
        identity_masks=torch.zeros(2, SIDE, SIDE),
        instance_masks=torch.zeros(3, SIDE, SIDE),
    )
    # ln 2 at each point of three pairs, and of six
    assert losses_of(unsure, target)["loss_mask"].item() == pytest.approx(5 * 0.6931, abs=1e-3)
    twice = sine_losses([[unsure, unsure]], [target, target], [points(0), points(1)])
    assert twice["loss_mask"].item() == pytest.approx(5 * 0.6931, abs=1e-3)
    # Dice of a probability of 1/2 with a half of the picture: 1 - (P / 2 + 1) / (P + 1)
    assert twice["loss_dice"].item() == pytest.approx(5 * 0.5, abs=0.3)


def test_a_target_without_shared_objects_teaches_absence(target):
    alone = Target(target.masks, target.classes, 2, Matching.of([]))
    answers = replace(right(), identity_logits=torch.tensor([[-30.0, 30], [-30, 30]]))
    assert losses_of(answers, alone)["loss_ce_id"].item() == pytest.approx(0, abs=1e-6)


def test_every_output_is_matched_anew(target):
    turned = replace(swapped(), instance_logits=right().instance_logits.flip(0))
    found = sine_losses([[turned], [right()], [right()]], [target], [points(0)])
    assert len(found) == 12
    for suffix in ("", "_0", "_1"):
        assert found[f"loss_ce_ins{suffix}"].item() == pytest.approx(0, abs=1e-6)


def test_gradients_reach_matched_masks_alone(target):
    answers = replace(
        right(),
        instance_masks=(right().instance_masks / 30).requires_grad_(),
        identity_masks=(right().identity_masks / 30).requires_grad_(),
    )
    sum(losses_of(answers, target).values()).backward()
    moved = answers.instance_masks.grad.flatten(1).abs().sum(1) > 0
    assert moved.tolist() == [True, False, True]
    assert (answers.identity_masks.grad.flatten(1).abs().sum(1) > 0).tolist() == [False, True]


def test_cross_entropy_is_that_of_the_matched_classes(target):
    logits = torch.tensor([[3.0, 1, 0], [1, 0, 2], [0, 4, 1]])
    answers = replace(right(), instance_logits=logits)
    expected = F.cross_entropy(
        answers.instance_logits, torch.tensor([0, 2, 1]), torch.tensor([1.0, 1.0, 0.1])
    )
    assert losses_of(answers, target)["loss_ce_ins"].item() == pytest.approx(2 * expected.item())


def test_losses_of_two_samples_are_means_by_their_terms(target):
    def answers(seed: int, references: int) -> Answers:
        generator = torch.Generator().manual_seed(seed)
        shapes = (references, 2), (3, 3), (references, SIDE, SIDE), (3, SIDE, SIDE)
        return Answers(*(torch.randn(shape, generator=generator) for shape in shapes))

    other = Target(target.masks[:1], target.classes[:1], 4, Matching.of([]))
    first, second = [answers(0, 2), answers(1, 2)], [answers(2, 4), answers(3, 4)]
    together = sine_losses(
        [list(layer) for layer in zip(first, second, strict=True)],
        [target, other],
        [points(0), points(1)],
    )
    apart = [
        (sine_losses([[a] for a in first], [target], [points(0)]), loss_terms([target], 3, 1)),
        (sine_losses([[a] for a in second], [other], [points(1)]), loss_terms([other], 3, 1)),
    ]
    # 2 objects and 1 found again, 1 not; 1 object, 4 not found again
    assert apart[0][1] == dict.fromkeys(("loss_mask", "loss_mask_0"), 3.0) | dict.fromkeys(
        ("loss_dice", "loss_dice_0"), 3.0
    ) | dict.fromkeys(("loss_ce_id", "loss_ce_id_0"), 1.1)
    assert apart[1][1]["loss_mask"] == 1
    for name, loss in together.items():
        parts = [(found[name], terms.get(name, 1.0)) for found, terms in apart]
        whole = sum(loss * count for loss, count in parts) / sum(count for _, count in parts)
        assert loss.item() == pytest.approx(whole.item(), rel=1e-5), name
