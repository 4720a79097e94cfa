import pytest
import torch

from model.dc_sam.config import ModelOptions, build_model
from model.dc_sam.video import PACKAGE_VIDEO, DcSamVideo, RunningVideo
from model.sam.following import GivenObjects, visible_logits
from model.sam.sam2 import ABSENT_LOGIT

FRAMES = 4


@pytest.fixture(scope="module")
def model() -> DcSamVideo:
    torch.manual_seed(0)
    options = ModelOptions(
        backbone="tiny", sam_version=2, sam_model="tiny", random_weights=True, image_size=64
    )
    built = DcSamVideo.from_image_model(build_model(options), PACKAGE_VIDEO).eval()
    head = built.segmenter.network.sam_mask_decoder.pred_obj_score_head
    torch.nn.init.constant_(head.layers[-1].bias, 20)  # objects are taken for present
    return built


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.randn(FRAMES, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def square(left: int) -> torch.Tensor:
    mask = torch.zeros(64, 64)
    mask[16:40, left : left + 24] = 1
    return mask


@torch.no_grad()
def alone(model: DcSamVideo, frames: torch.Tensor, mask: torch.Tensor, first: int):
    """One object, followed by a running video of its own."""
    video = RunningVideo(model, length=FRAMES)
    video.index = first
    found = [video.prompt_with_masks(video.encode(frames[first]), mask[None])]
    found += [video.propagate(video.encode(images)) for images in frames[first + 1 :]]
    return torch.cat([visible_logits(one) for one in found])


def test_each_object_is_followed_from_the_frame_on_which_it_is_given(model, frames):
    first, second, late = square(4), square(30), square(20)
    objects = GivenObjects(model, 3, length=FRAMES)
    given = [{0: first, 2: second}, {}, {1: late}, {}]
    found = torch.stack([objects.step(*pair) for pair in zip(frames, given, strict=True)], dim=1)
    assert found.shape == (3, FRAMES, 64, 64)
    torch.testing.assert_close(found[0], alone(model, frames, first, 0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[2], alone(model, frames, second, 0), atol=1e-3, rtol=1e-3)
    assert (found[1, :2] == ABSENT_LOGIT).all()
    torch.testing.assert_close(found[1, 2:], alone(model, frames, late, 2), atol=1e-3, rtol=1e-3)


def test_a_given_mask_may_have_any_size(model, frames):
    large = torch.nn.functional.interpolate(square(4)[None, None], (192, 128))[0, 0]
    small, enlarged = (
        GivenObjects(model, 1, FRAMES).step(frames[0], {0: mask}) for mask in (square(4), large)
    )
    assert ((small > 0) == (enlarged > 0)).float().mean() > 0.97
    assert ((small[0] > 0) == square(4).bool()).float().mean() > 0.95


def test_absent_objects_have_no_pixel(model, frames):
    video = RunningVideo(model, length=FRAMES)
    with torch.no_grad():
        found = video.prompt_with_masks(video.encode(frames[0]), square(4)[None])
        assert (visible_logits(found) > 0).any()
        found.object_logit.fill_(-1)
        assert (visible_logits(found) == ABSENT_LOGIT).all()
