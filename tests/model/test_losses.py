import math

import pytest
import torch

from model.losses import binary_cross_entropy, dice, focal, mask_loss
from model.method_options import LOSSES

LOG3 = math.log(3)

# probabilities 3/4, 1/4, 1/2, 1/2 against the mask 1, 0, 1, 0
LOGITS = torch.tensor([[[LOG3, -LOG3], [0.0, 0.0]]])
MASK = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
LAST_PIXEL = torch.tensor([[[False, False], [False, True]]])


def test_cross_entropy_worked_out_by_hand():
    # -log of 3/4, 3/4, 1/2, 1/2
    expected = (2 * math.log(4 / 3) + 2 * math.log(2)) / 4
    assert binary_cross_entropy(LOGITS, MASK).item() == pytest.approx(expected, abs=1e-6)


def test_the_focal_loss_worked_out_by_hand():
    # wrong by 1/4, 1/4, 1/2, 1/2, squared; the object's pixels, 1st and 3rd, by 1/4, others by 3/4
    easy, hard = math.log(4 / 3) / 16, math.log(2) / 4
    expected = (0.25 * easy + 0.75 * easy + 0.25 * hard + 0.75 * hard) / 4
    assert focal(LOGITS, MASK).item() == pytest.approx(expected, abs=1e-6)
    # without the last pixel
    expected = (easy + 0.25 * hard) / 3
    assert focal(LOGITS, MASK, LAST_PIXEL).item() == pytest.approx(expected, abs=1e-6)


def test_dice_with_squared_denominators_worked_out_by_hand():
    # overlap 3/4 + 1/2 = 5/4; squares 9/16 + 1/16 + 1/4 + 1/4 = 9/8; the mask's squares 2
    assert dice(LOGITS, MASK).item() == pytest.approx(1 - 2 * 1.25 / (1.125 + 2), abs=1e-6)


def test_dice_of_plain_sums_with_smoothing_worked_out_by_hand():
    # the probabilities sum to 2, and so does the mask
    found = dice(LOGITS, MASK, squared=False, smoothing=1.0).item()
    assert found == pytest.approx(1 - (2 * 1.25 + 1) / (2 + 2 + 1), abs=1e-6)


def test_the_loss_is_the_sum_of_both():
    entropy = binary_cross_entropy(LOGITS, MASK)
    torch.testing.assert_close(mask_loss(LOGITS, MASK), entropy + dice(LOGITS, MASK))
    # the release's Dice: 1 - 3.5 / 5
    torch.testing.assert_close(mask_loss(LOGITS, MASK, kind="release"), entropy + 0.3)
    torch.testing.assert_close(mask_loss(LOGITS, MASK, kind="focal"), focal(LOGITS, MASK) + 0.3)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="no loss 'lovasz': choose of paper, release, focal"):
        mask_loss(LOGITS, MASK, kind="lovasz")


def test_ignored_pixels_count_nowhere():
    # without the last pixel: cross-entropy 2 log(4/3) + log 2 over 3, squares 9/16 + 1/16 + 1/4
    entropy = (2 * math.log(4 / 3) + math.log(2)) / 3
    overlap = 1 - 2 * 1.25 / (0.875 + 2)

    assert binary_cross_entropy(LOGITS, MASK, LAST_PIXEL).item() == pytest.approx(entropy, abs=1e-6)
    assert dice(LOGITS, MASK, LAST_PIXEL).item() == pytest.approx(overlap, abs=1e-6)
    total = mask_loss(LOGITS, MASK, LAST_PIXEL).item()
    assert total == pytest.approx(entropy + overlap, abs=1e-6)


def test_neither_value_nor_mask_of_an_ignored_pixel_matters():
    other_logits, other_mask = LOGITS.clone(), MASK.clone()
    other_logits[0, 1, 1], other_mask[0, 1, 1] = 50.0, 1.0

    torch.testing.assert_close(
        mask_loss(LOGITS, MASK, LAST_PIXEL), mask_loss(other_logits, other_mask, LAST_PIXEL)
    )


def test_ignored_pixels_get_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    mask_loss(logits, MASK, LAST_PIXEL).sum().backward()
    assert logits.grad[0, 1, 1] == 0
    assert (logits.grad[~LAST_PIXEL] != 0).all()


def test_samples_do_not_mix():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, generator=generator)
    mask = (torch.rand(3, 5, 4, generator=generator) > 0.5).float()
    ignore = torch.rand(3, 5, 4, generator=generator) > 0.7

    batched = mask_loss(logits, mask, ignore)

    assert batched.shape == (3,)
    for i in range(3):
        one = slice(i, i + 1)
        torch.testing.assert_close(batched[one], mask_loss(logits[one], mask[one], ignore[one]))


def test_a_perfect_mask_costs_nothing_and_a_wrong_one_much():
    mask = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    certain = 200 * mask - 100

    assert mask_loss(certain, mask).item() == pytest.approx(0, abs=1e-6)
    assert dice(-certain, mask).item() == pytest.approx(1, abs=1e-6)
    assert binary_cross_entropy(-certain, mask).item() == pytest.approx(100)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("ignored", [False, True])
def test_an_empty_mask_gives_finite_values_and_gradients(ignored: bool, kind: str):
    logits = torch.full((1, 3, 3), -200.0, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(1, 3, 3), torch.full((1, 3, 3), ignored), kind)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()
