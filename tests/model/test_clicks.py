import numpy as np
import pytest

from model import InContextSegmenter
from model.clicks import PromptedPicture
from model.dc_sam.config import ModelOptions, build_model


@pytest.fixture(scope="module")
def pictures():
    """A bright disc on a dark ground, and SAM's view of it."""
    options = ModelOptions(backbone="tiny", sam_model="tiny", image_size=64, num_query=4)
    segmenter = InContextSegmenter(build_model(options).eval(), 64)
    y, x = np.mgrid[:96, :160]
    disc = (x - 50) ** 2 + (y - 40) ** 2 < 24**2
    image = np.where(disc[..., None], (230, 60, 40), (40, 60, 90)).astype(np.uint8)
    return PromptedPicture(segmenter, image), disc


def overlap(found, disc):
    return (found & disc).sum() / (found | disc).sum()


def test_a_click_and_a_box_find_the_object_at_the_pictures_own_size(pictures):
    picture, disc = pictures
    clicks = np.array([[50 / 160, 40 / 96]])
    box = (26 / 160, 16 / 96, 74 / 160, 64 / 96)
    for prompt in ({"clicks": clicks}, {"clicks": clicks.repeat(2, 0)}, {"box": box}):
        found = picture.mask((96, 160), **prompt)
        assert found.dtype == bool
        assert overlap(found, disc) > 0.7


def test_the_mask_may_have_another_size(pictures):
    picture, disc = pictures
    found = picture.mask((48, 80), clicks=np.array([[50 / 160, 40 / 96]]))
    assert overlap(found, disc[::2, ::2]) > 0.7


def test_a_prompt_is_needed(pictures):
    with pytest.raises(ValueError, match="needs a click or a box"):
        pictures[0].mask((96, 160))
