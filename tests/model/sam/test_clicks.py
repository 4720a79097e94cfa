import numpy as np
import pytest

from common.geometry import Geometry
from model.sam.clicks import PromptedPicture
from model.sam.variants import build_segmenter, segmenter_weights

Y, X = np.mgrid[:96, :160]
DISC = (X - 50) ** 2 + (Y - 40) ** 2 < 24**2
CLICK = np.array([[50 / 160, 40 / 96]])
BOX = (26 / 160, 16 / 96, 74 / 160, 64 / 96)


@pytest.fixture(scope="module")
def picture() -> PromptedPicture:
    """A bright disc on a dark ground."""
    image = np.where(DISC[..., None], (230, 60, 40), (40, 60, 90)).astype(np.uint8)
    sam = build_segmenter(1, "tiny", segmenter_weights(1, "tiny")).eval()
    return PromptedPicture(sam, Geometry(64).image(image)[None])


@pytest.mark.parametrize(
    "prompt", [{"clicks": CLICK}, {"clicks": CLICK.repeat(2, 0)}, {"box": BOX}], ids=str
)
@pytest.mark.parametrize("step", [1, 2], ids=["own size", "half the size"])
def test_clicks_and_a_box_find_the_object_at_any_size(
    picture: PromptedPicture, prompt: dict, step: int
):
    disc = DISC[::step, ::step]
    found = picture.mask(disc.shape, **prompt)
    assert found.dtype == bool
    assert (found & disc).sum() / (found | disc).sum() > 0.7


def test_a_prompt_is_needed(picture: PromptedPicture):
    with pytest.raises(ValueError, match="needs a click or a box"):
        picture.mask((96, 160))
