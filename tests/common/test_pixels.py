import numpy as np
import torch

from common.geometry import Geometry
from common.pixels import squash_mask


def test_an_image_of_one_colour_keeps_it_when_squashed():
    image = np.full((5, 9, 3), (255, 0, 51), dtype=np.uint8)
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(Geometry(4).image(image), expected.view(3, 1, 1).expand(3, 4, 4))


def test_a_squashed_mask_takes_the_nearest_pixel():
    mask = np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    assert squash_mask(mask, 2).tolist() == [[0, 0], [1, 1]]
    assert set(squash_mask(mask, 7).unique().tolist()) == {0, 1}


def test_a_mask_that_vanishes_can_be_kept():
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 3] = True
    assert not squash_mask(mask, 2).any()
    assert squash_mask(mask, 2, keep_small=True).tolist() == [[0, 1], [0, 0]]
