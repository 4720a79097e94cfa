import numpy as np
import pytest
import torch

from common.pair_rules import ColourJitter, PairRules, Placement, ResizedCrop, ScaleJitter
from common.pixels import IMAGE_MEAN, IMAGE_STD
from data.views import view_of


def grey(values):
    """A picture of which all three channels hold these values."""
    return np.repeat(np.array(values, dtype=np.uint8)[..., None], 3, axis=2)


def levels(view):
    """The first channel as grey levels again; the mean colour where nothing is shown."""
    return (view.image[0] * IMAGE_STD[0] + IMAGE_MEAN[0]) * 255


STEPS = [[0, 40, 80, 120], [10, 50, 90, 130]]


def test_nothing_changed_is_put_into_the_upper_left_corner():
    masks = np.array([[[1, 0, 0, 0], [0, 0, 0, 1]]], dtype=bool)
    view = view_of(grey(STEPS), masks, Placement(False, (0, 0, 2, 4), (2, 4), (0, 0, 2, 4)), 5)
    torch.testing.assert_close(levels(view)[:2, :4], torch.tensor(STEPS).float())
    assert view.image[:, 2:].abs().max() == 0
    assert view.image[:, :, 4:].abs().max() == 0
    assert view.masks[0].nonzero().tolist() == [[0, 0], [1, 3]]
    assert view.size == (2, 4)


def test_flip_part_and_window():
    # flipped: 120 80 40 0 and 130 90 50 10; of its columns 1 to 3 the window takes the first two
    masks = np.zeros((2, 2, 4), dtype=bool)
    masks[0, 0, 2], masks[1, 1, 0] = True, True  # flipped: at column 1, and at column 3
    placement = Placement(True, (0, 1, 2, 3), (2, 3), (0, 0, 2, 2))
    view = view_of(grey(STEPS), masks, placement, 2)
    torch.testing.assert_close(levels(view), torch.tensor([[80.0, 40.0], [90.0, 50.0]]))
    assert view.masks[0].tolist() == [[True, False], [False, False]]
    assert not view.masks[1].any()


def test_resizing_of_pictures_and_masks():
    # to half the width: between two pixels; the nearest ones of masks are columns 0 and 2
    masks = np.array([[[0, 1, 1, 0], [0, 1, 0, 0]]], dtype=bool)
    placement = Placement(False, (0, 0, 2, 4), (2, 2), (0, 0, 2, 2))
    view = view_of(grey(STEPS), masks, placement, 2)
    torch.testing.assert_close(levels(view), torch.tensor([[20.0, 100.0], [30.0, 110.0]]))
    assert view.masks[0].tolist() == [[False, True], [False, False]]


def test_only_the_antialiasing_filter_sees_every_pixel():
    # from eight columns to two: without the filter, columns 1, 2 and 5, 6 decide
    line = grey([[240, 0, 0, 240, 0, 0, 0, 0]])
    plain, filtered = (
        view_of(
            line,
            np.zeros((0, 1, 8), dtype=bool),
            Placement(False, (0, 0, 1, 8), (1, 2), (0, 0, 1, 2), antialias=antialias),
            2,
        )
        for antialias in (False, True)
    )
    torch.testing.assert_close(levels(plain)[0], torch.zeros(2), atol=1e-4, rtol=0)
    assert levels(filtered)[0, 0] > 60
    assert plain.masks.shape == (0, 2, 2)


def test_colours_change_in_their_order():
    changes = (("brightness", 2.0), ("contrast", 0.0))
    placement = Placement(False, (0, 0, 1, 2), (1, 2), (0, 0, 1, 2), colours=changes)
    view = view_of(grey([[20, 100]]), np.ones((1, 1, 2), dtype=bool), placement, 2)
    # 40 and 200; without contrast both become their mean
    torch.testing.assert_close(levels(view)[0], torch.tensor([120.0, 120.0]), atol=0.1, rtol=0)


def test_scale_jitter_keeps_proportions_and_the_window_inside():
    rule = ScaleJitter(64)
    random = np.random.default_rng(0)
    placements = [rule.draw((30, 60), random) for _ in range(300)]
    for placement in placements:
        height, width = placement.resized
        top, left, h, w = placement.window
        assert abs(2 * height - width) <= 2
        assert 6 <= width <= 128
        assert (h, w) == (min(64, height), min(64, width))
        assert top + h <= height
        assert left + w <= width
        assert placement.source == (0, 0, 30, 60)
    assert 110 < sum(placement.flip for placement in placements) < 190
    assert any(placement.window[1] > 0 for placement in placements)
    squashed = ScaleJitter(64, squash=True).draw((30, 60), random).resized
    assert squashed[0] == squashed[1]


def test_resized_crops_fill_the_square():
    rule = ResizedCrop(48, colours=ColourJitter(probability=0.5))
    random = np.random.default_rng(0)
    placements = [rule.draw((90, 120), random) for _ in range(300)]
    for placement in placements:
        top, left, h, w = placement.source
        assert 0.28 < h * w / (90 * 120) <= 1
        assert 0.7 < w / h < 1.4
        assert top + h <= 90
        assert left + w <= 120
        assert placement.resized == placement.window[2:] == (48, 48)
    assert 100 < sum(bool(placement.colours) for placement in placements) < 200
    assert len({tuple(name for name, _ in p.colours) for p in placements if p.colours}) > 10
    shifts = [dict(p.colours)["hue"] for p in placements if p.colours]
    assert -0.1 <= min(shifts) < -0.05 < 0.05 < max(shifts) <= 0.1


def test_of_a_very_long_picture_the_middle_is_taken():
    random = np.random.default_rng(0)
    assert ResizedCrop(48, area=(0.9, 1.0)).draw((30, 300), random).source == (0, 130, 30, 40)


def test_objects_are_found_again_in_the_same_picture_only():
    with pytest.raises(ValueError, match="same_image=1"):
        PairRules(ScaleJitter(64), same_image=0.5, keep="objects")
