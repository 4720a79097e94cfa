import numpy as np
import pytest

from page.canvas import MOST_CLICKS, box, clicks, painted, resized


def layer(height: int, width: int, opacity: int, rows: slice, columns: slice) -> np.ndarray:
    made = np.zeros((height, width, 4), dtype=np.uint8)
    made[rows, columns] = (58, 130, 246, opacity)
    return made


def marked(*patches: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros((100, 200), dtype=bool)
    for patch in patches:
        mask[patch] = True
    return mask


def test_paint_of_all_layers_counts_where_it_can_be_seen():
    brush = layer(4, 6, 153, slice(0, 2), slice(0, 3))
    trace = layer(4, 6, 10, slice(2, 4), slice(0, 6))
    solid = layer(4, 6, 255, slice(3, 4), slice(5, 6))
    found = painted([brush, trace, solid], (4, 6))
    assert found.sum() == 7
    assert found[:2, :3].all()
    assert found[3, 5]


def test_no_layer_is_no_paint():
    assert not painted([], (3, 5)).any()


def test_paint_goes_to_the_pictures_own_size_whatever_the_canvas_has():
    # the left upper quarter, on a canvas of a third and of one and a half times the size
    for height, width in ((20, 40), (90, 180)):
        quarter = layer(height, width, 160, slice(0, height // 2), slice(0, width // 2))
        found = painted([quarter], (60, 120))
        assert found[:30, :60].all()
        assert found.sum() == 30 * 60


def test_a_mask_of_the_right_size_is_left_alone():
    mask = marked((slice(0, 3), slice(0, 3)))
    assert resized(mask, (100, 200)) is mask


def test_a_dot_is_one_click_in_its_middle():
    np.testing.assert_allclose(
        clicks(marked((slice(40, 51), slice(20, 31)))), [[25.5 / 200, 0.455]]
    )


def test_a_stroke_is_clicked_along_its_length():
    found = clicks(marked((slice(48, 52), slice(20, 100))))
    assert found.shape == (4, 2)
    np.testing.assert_allclose(np.sort(found[:, 0]), np.array([30, 50, 70, 90]) / 200, atol=0.01)
    np.testing.assert_allclose(found[:, 1], 0.5, atol=0.03)


def test_a_click_lies_on_paint_also_where_the_middle_is_empty():
    ring = marked((slice(20, 60), slice(20, 60)))
    ring[25:55, 25:55] = False
    [[x, y]] = clicks(ring)
    assert ring[int(y * 100), int(x * 200)]


def test_the_largest_patches_are_clicked_first_and_not_too_many():
    dots = [(slice(10, 14), slice(10 * n, 10 * n + 4)) for n in range(12)]
    found = clicks(marked(*dots, (slice(50, 60), slice(50, 60))))
    assert len(found) == MOST_CLICKS
    np.testing.assert_allclose(found[0], [0.275, 0.55], atol=0.005)


def test_the_box_holds_all_paint():
    corners = marked((slice(10, 20), slice(30, 40)), (slice(60, 80), slice(120, 150)))
    assert box(corners) == (0.15, 0.1, 0.75, 0.8)
    with pytest.raises(ValueError, match="nothing is painted"):
        box(marked())
