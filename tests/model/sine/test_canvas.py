import numpy as np
import pytest
import torch

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.sine.canvas import Canvas


@pytest.mark.parametrize(
    ("fit", "side", "size", "content"),
    [
        ("whole", 896, (480, 640), (672, 896)),
        ("squashed", 896, (480, 640), (518, 518)),
        ("squashed", 224, (9, 5), (126, 126)),
        ("video", 1036, (480, 854), (582, 1036)),  # by way of 518 x 921
        ("video", 1036, (854, 480), (1036, 582)),
        ("video", 1036, (50, 50), (1036, 1036)),
    ],
)
def test_which_part_of_the_canvas_shows_a_picture(fit, side, size, content):
    assert Canvas(side, fit=fit).content(size) == content


def test_the_canvas_around_a_picture_is_the_mean_colour():
    grey = np.full((20, 40, 3), 128, dtype=np.uint8)
    for fit in ("whole", "squashed", "video"):
        canvas = Canvas(112, fit=fit)
        image, (height, width) = canvas.image(grey), canvas.content((20, 40))
        assert image.shape == (3, 112, 112)
        assert (image[:, :height, :width] != 0).all()
        assert image.count_nonzero() == 3 * height * width


def test_colours_are_red_green_blue_and_published_instances_saw_them_exchanged():
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 255
    for fit in ("whole", "video"):
        ours = Canvas(112, fit=fit).image(red)[:, 0, 0]
        theirs = Canvas(112, fit=fit, channel_order="bgr").image(red)[:, 0, 0]
        mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
        torch.testing.assert_close(ours, (torch.tensor([1.0, 0, 0]) - mean) / std)
        torch.testing.assert_close(theirs, (torch.tensor([0, 0, 1.0]) - mean) / std)


def test_frames_come_by_half_of_the_canvas_and_so_do_masks():
    canvas = Canvas(112, fit="video")
    assert (canvas.frame((20, 30)), canvas.frame((30, 20))) == ((56, 84), (84, 56))
    half = np.zeros((20, 30), dtype=bool)
    half[:, :15] = True
    mask = canvas.mask(half)
    height, width = canvas.content((20, 30))
    assert mask[:height, : width // 2].all()
    assert mask.sum() == height * (width // 2)
    shown = canvas.decided(20 * mask[None] - 10, (20, 30))
    assert shown.shape == (1, 56, 84)
    assert torch.equal(canvas.replaced(shown > 0, (20, 30))[0], mask)


def test_a_small_mask_is_not_lost_where_that_is_asked_for():
    dot = np.zeros((500, 400), dtype=bool)
    dot[251, 201] = True
    for fit in ("whole", "squashed", "video"):
        canvas = Canvas(112, fit=fit)
        assert not canvas.mask(dot).any()
        assert canvas.mark(dot).sum() == 1
