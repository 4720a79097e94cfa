from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.geometry import Geometry
from model.first_frame import FirstFrameVideo
from model.method import Method
from model.method_data import Prediction
from model.sam.sam2 import ABSENT_LOGIT
from model.sam.video_predictor import VideoPredictor
from tests.helpers import tiny_model

SIDE, SIZE = 64, (40, 96)


class Marker(Method):
    """Finds in every frame what it was told, and notes what it was shown."""

    name = "marker"
    image_size = SIDE

    def __init__(self, padded: bool) -> None:
        super().__init__()
        self.padded, self.shown = padded, []

    @property
    def geometry(self) -> Geometry:
        return Geometry(SIDE, self.padded)

    def encode(self, images, support_only=False, sizes=None):
        self.shown.append((images, sizes))
        return SimpleNamespace()

    def predict(self, images, support):
        logits = 20 * self.geometry.mask(support)[None] - 10
        return Prediction(logits, torch.ones(1), torch.ones(1), torch.ones(1, 0))


def mask() -> np.ndarray:
    """An object in the lower right of a wide frame."""
    found = np.zeros(SIZE, bool)
    found[16:36, 48:88] = True
    return found


@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_the_first_masks_come_back_at_their_place_whatever_the_geometry(padded: bool):
    method, sam2 = Marker(padded), tiny_model(2).segmenter
    video = FirstFrameVideo(method, [mask()], sam2)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    image, sizes = method.geometry.image(pixels)[None], torch.tensor([SIZE])
    first = video.step(image, sizes=sizes)
    assert first.logits.shape == (1, SIDE, SIDE)
    shown = method.geometry.crop(first.masks, SIZE)[0]
    there = method.geometry.crop(method.geometry.mask(mask()), SIZE) > 0
    assert (shown == there).float().mean() > 0.97
    [(seen, told)] = method.shown
    assert torch.equal(seen, image)
    assert told.tolist() == [[*SIZE]]
    if padded:
        height = method.geometry.content(SIZE)[0]
        assert (first.logits[:, height:] == ABSENT_LOGIT).all()
    assert video.step(image, sizes=sizes).logits.shape == (1, SIDE, SIDE)
    assert len(method.shown) == 1  # SAM 2 goes on alone


@torch.no_grad()
def test_sam2_sees_padded_frames_squashed(monkeypatch: pytest.MonkeyPatch):
    method, sam2 = Marker(padded=True), tiny_model(2).segmenter
    encode, shown = sam2.encode, []
    monkeypatch.setattr(sam2, "encode", lambda images: shown.append(images) or encode(images))
    pixels = np.full((*SIZE, 3), 200, np.uint8)
    image = method.geometry.image(pixels)[None]
    FirstFrameVideo(method, [mask()], sam2).step(image, sizes=torch.tensor([SIZE]))
    assert shown[0].shape[-2:] == (sam2.image_size, sam2.image_size)
    assert (shown[0] - image[..., :1, :1]).abs().max() < 1e-4  # no padding is left


@torch.no_grad()
def test_what_follows_is_what_follows_the_same_mask_from_anywhere():
    method, sam2 = Marker(padded=False), tiny_model(2).segmenter
    random = np.random.default_rng(1)
    frames = [random.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(4)]
    images = [method.geometry.image(pixels)[None] for pixels in frames]
    carried = FirstFrameVideo(method, [mask()], sam2)
    given = VideoPredictor(sam2)
    found, expected = (
        carried.step(images[0]),
        given.step(images[0], method.geometry.mask(mask())[None]),
    )
    assert torch.equal(found.masks, expected.masks)
    for image in images[1:]:
        found, expected = carried.step(image), given.step(image)
        torch.testing.assert_close(found.logits, expected.logits, atol=0.05, rtol=0.01)
        assert torch.equal(found.masks, expected.masks)


def test_a_video_needs_a_support():
    with pytest.raises(ValueError, match="nothing to segment"):
        FirstFrameVideo(Marker(padded=True), [], tiny_model(2).segmenter)
