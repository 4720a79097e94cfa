from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.dc_sam.builder import build_dc_sam
from model.dc_sam.config import DcSamOptions
from model.dc_sam.features import Support
from model.dc_sam.network import DcSam
from model.sam.memory_bank import PROMPTED_FRAMES
from model.sam.sam2 import ABSENT_LOGIT, Sam2
from model.sam.video_predictor import FramePrediction, VideoPredictor
from model.sam.video_wiring import PACKAGE_VIDEO, STREAMING, VideoWiring
from tests.helpers import both_steps, random_episodes, tiny_model

SIZE = 96
"""Of the frames; the decoder's masks have 64 pixels, so that they are resized."""


@pytest.fixture(scope="module")
def model() -> DcSam:
    """Tests leave its weights as they are."""
    return tiny_model(2, lively=True)


@pytest.fixture(scope="module")
def sam2(model: DcSam) -> Sam2:
    return model.segmenter


class Clip(NamedTuple):
    """A video, and pictures that show what to look for."""

    frames: Tensor
    """T x 1 x 3 x H x W."""
    support: Tensor
    masks: Tensor


def random_clip(seed: int, length: int = 3, shots: int = 1) -> Clip:
    query, support, masks = random_episodes(seed, batch=1, shots=shots, side=SIZE)
    return Clip(query + 0.3 * random_frames(seed, length), support, masks)


def random_frames(seed: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, 1, 3, SIZE, SIZE, generator=generator)


def square(left: int) -> Tensor:
    mask = torch.zeros(SIZE, SIZE)
    mask[16:40, left : left + 24] = 1
    return mask


@torch.no_grad()
def encode_support(model: DcSam, clip: Clip) -> Support:
    images = model.encode(clip.support.flatten(0, 1), support_only=True)
    return model.encode_support(images, clip.masks)


def run(
    model: DcSam, clip: Clip, prompt_every: int = 0, wiring: VideoWiring = STREAMING
) -> list[FramePrediction]:
    support, length = encode_support(model, clip), len(clip.frames)
    video = model.video([support], prompt_every, length, wiring)
    return [video.step(images) for images in clip.frames]


def assert_alike(
    one: FramePrediction, other: FramePrediction, tolerance: float = 1e-4, row: int = 0
) -> None:
    """The first one's object in a row is the only one of the other."""
    for field in ("raw_logits", "quality", "object_logit"):
        ours, theirs = getattr(one, field)[row], getattr(other, field)[0]
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance, msg=field)


def test_the_first_frame_is_segmented_as_an_image_and_the_others_are_not(model: DcSam):
    clip = random_clip(1)
    first, *others = run(model, clip)
    with torch.no_grad():
        image = both_steps(model, clip.frames[0], clip.support, clip.masks)
    for field, expected in image._asdict().items():
        torch.testing.assert_close(getattr(first, field), expected, atol=1e-5, rtol=1e-5)
    assert len(others) == 2
    for one in others:
        assert one.logits.shape == one.raw_logits.shape == one.masks.shape == (1, SIZE, SIZE)
        assert one.quality.shape == one.object_logit.shape == (1,)
        assert one.logits.isfinite().all()
        assert not one.logits.requires_grad
        assert one.pseudo_logits is None


@pytest.mark.parametrize("best_of_three", [True, False])
@torch.no_grad()
def test_given_masks_are_propagated_as_by_the_package(best_of_three: bool):
    length = 20  # beyond the window of memories and beyond that of object pointers
    segmenter = tiny_model(2, lively=True).segmenter
    network = segmenter.network
    network.multimask_output_for_tracking = best_of_three
    wiring = replace(PACKAGE_VIDEO, best_of_three=best_of_three)
    video = VideoPredictor(segmenter, wiring=wiring, length=length)
    large = F.interpolate(square(9)[None, None], (256, 256), mode="bilinear", antialias=True)
    outputs = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    for index, images in enumerate(random_frames(0, length)):
        found = video.step(images, None if index else square(9)[None])
        features = segmenter.encode(images)
        bare = features.embedding - network.no_mem_embed.view(1, -1, 1, 1)
        maps = [*features.levels, bare]
        places = map(network.image_encoder.neck.position_encoding, maps)
        expected = network.track_step(
            frame_idx=index,
            is_init_cond_frame=index == 0,
            current_vision_feats=[m.flatten(2).permute(2, 0, 1) for m in maps],
            current_vision_pos_embeds=[place.flatten(2).permute(2, 0, 1) for place in places],
            feat_sizes=[m.shape[-2:] for m in maps],
            point_inputs=None,
            mask_inputs=None if index else (large >= 0.5).float(),
            output_dict=outputs,
            num_frames=length,
        )
        expected["maskmem_features"] = expected["maskmem_features"].bfloat16()
        outputs["non_cond_frame_outputs" if index else "cond_frame_outputs"][index] = expected
        logits = expected["pred_masks" if index else "pred_masks_high_res"]
        logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear")
        object_logit = expected["object_score_logits"].squeeze(1)
        torch.testing.assert_close(found.object_logit, object_logit, atol=1e-4, rtol=1e-4)
        if object_logit > 0:
            torch.testing.assert_close(found.logits, logits[:, 0], atol=1e-3, rtol=1e-3)
        (bank,) = video.banks
        memory = (bank.tracked if index else bank.prompted)[index]
        torch.testing.assert_close(memory.pointer, expected["obj_ptr"], atol=1e-4, rtol=1e-4)
    assert object_logit.isfinite().all()


def test_where_the_object_is_absent_the_mask_is_empty_and_remembered_as_absent():
    segmenter = tiny_model(2, lively=True).segmenter
    head = segmenter.network.sam_mask_decoder.pred_obj_score_head.layers[-1]
    nn.init.constant_(head.bias, -50.0)
    video = VideoPredictor(segmenter)
    first, second = random_frames(0, 2)
    assert video.step(first, square(9)[None]).masks.any()
    found = video.step(second)
    assert (found.object_logit < 0).all()
    assert (found.logits == ABSENT_LOGIT).all()
    assert not found.masks.any()
    assert (found.raw_logits > ABSENT_LOGIT).all()
    (bank,) = video.banks
    assert torch.equal(bank.tracked[1].pointer, segmenter.network.no_obj_ptr)


def test_given_masks_come_back_and_one_of_nothing_is_an_absent_object(sam2: Sam2):
    masks = torch.stack([square(4), square(30), torch.zeros(SIZE, SIZE)])
    found = VideoPredictor(sam2).step(random_frames(0, 1)[0], masks)
    assert torch.equal(found.masks, masks.bool())
    assert (found.object_logit > 0).tolist() == [True, True, False]


def test_a_given_mask_may_have_any_size(sam2: Sam2):
    image = random_frames(0, 1)[0]
    large = F.interpolate(square(4)[None, None], (192, 128))[0]
    enlarged = VideoPredictor(sam2).step(image, large).masks[0]
    assert (enlarged == square(4).bool()).float().mean() > 0.95


def test_each_object_is_propagated_from_the_frame_on_which_it_is_given(sam2: Sam2):
    frames, length = random_frames(1, 4), 4

    def alone(mask: Tensor, first: int) -> list[FramePrediction]:
        video = VideoPredictor(sam2, wiring=PACKAGE_VIDEO, length=length)
        video.index = first
        found = [video.step(frames[first], mask[None])]
        return found + [video.step(images) for images in frames[first + 1 :]]

    together = VideoPredictor(sam2, wiring=PACKAGE_VIDEO, length=length)
    given = [torch.stack([square(4), square(30)]), None, square(20)[None], None]
    found = [together.step(*pair) for pair in zip(frames, given, strict=True)]
    assert [len(one.logits) for one in found] == [2, 2, 3, 3]
    for row, first, mask in ((0, 0, square(4)), (1, 0, square(30)), (2, 2, square(20))):
        for one, other in zip(found[first:], alone(mask, first), strict=True):
            assert_alike(one, other, 5e-3, row)


def test_classes_of_one_video_share_the_features_of_its_frames(
    model: DcSam, monkeypatch: pytest.MonkeyPatch
):
    clip = random_clip(2, length=4)
    clips = (clip, random_clip(3, shots=2)._replace(frames=clip.frames))
    separate = [run(model, one) for one in clips]
    supports = [encode_support(model, one) for one in clips]

    encoded, extracted = [], []
    encode, extract = model.segmenter.encode_images, model.backbone.extract
    monkeypatch.setattr(
        model.segmenter, "encode_images", lambda x: encoded.append(len(x)) or encode(x)
    )
    monkeypatch.setattr(model.backbone, "extract", lambda x: extracted.append(1) or extract(x))
    video = model.video(supports)
    together = [video.step(images) for images in clip.frames]

    assert encoded == [1, 1, 1, 1]
    assert extracted == [1]  # only prompting needs the backbone
    for row, alone in enumerate(separate):
        for one, other in zip(together, alone, strict=True):
            assert_alike(one, other, 5e-3, row)  # memories are rounded to bfloat16


def test_running_videos_do_not_know_of_each_other(model: DcSam):
    clips = random_clip(4), random_clip(5)
    alone = [run(model, clip) for clip in clips]
    videos = [model.video([encode_support(model, clip)]) for clip in clips]
    for t in range(3):
        for video, clip, expected in zip(videos, clips, alone, strict=True):
            assert torch.equal(video.step(clip.frames[t]).logits, expected[t].logits)


def test_what_is_remembered_stops_growing(sam2: Sam2, monkeypatch: pytest.MonkeyPatch):
    (images,) = random_frames(0, 1)
    features = sam2.encode(images)
    monkeypatch.setattr(sam2, "encode", lambda _: features)
    video = VideoPredictor(sam2)
    video.step(images, square(9)[None])
    (bank,) = video.banks
    sizes = [video.step(images) and bank.numbers for _ in range(40)]
    assert sizes[0] < sizes[10]
    assert len(set(sizes[14:])) == 1


def test_no_mask_depends_on_a_later_frame(model: DcSam):
    clip = random_clip(6, length=5)
    short = run(model, clip._replace(frames=clip.frames[:3]))
    for one, other in zip(short, run(model, clip), strict=False):
        assert torch.equal(one.logits, other.logits)


@pytest.mark.parametrize(
    ("option", "first_too"),
    [
        ({"align_corners": False}, True),
        ({"padding_tokens": False}, False),
        ({"time_by_length": True}, False),
        ({"best_of_three": True}, False),
    ],
    ids=str,
)
def test_every_wiring_changes_the_frames_that_it_is_about(
    model: DcSam, option: dict, first_too: bool, monkeypatch: pytest.MonkeyPatch
):
    clip = random_clip(7)
    decoder = model.segmenter.network.sam_mask_decoder
    # otherwise the single mask, unstable without training, gives way to the best of three anyway
    monkeypatch.setattr(decoder, "dynamic_multimask_stability_thresh", 0.0)
    ours, other = run(model, clip), run(model, clip, wiring=replace(STREAMING, **option))
    assert torch.equal(ours[0].logits, other[0].logits) != first_too
    assert (ours[2].raw_logits - other[2].raw_logits).abs().max() > 1e-4


def test_a_video_can_be_prompted_again(model: DcSam):
    clip = random_clip(8, length=7)
    once, again = run(model, clip), run(model, clip, prompt_every=3)
    prompted = [one.pseudo_logits is not None for one in again]
    assert prompted == [True, False, False, True, False, False, True]
    assert_alike(again[2], once[2])
    with torch.no_grad():
        image = both_steps(model, clip.frames[3], clip.support, clip.masks)
    torch.testing.assert_close(again[3].logits, image.logits)
    assert not torch.allclose(again[4].raw_logits, once[4].raw_logits)


def test_prompting_every_frame_remembers_a_few_of_them(model: DcSam):
    clip = random_clip(9, length=6)
    video = model.video([encode_support(model, clip)], prompt_every=1)
    for images in clip.frames:
        video.step(images)
    (bank,) = video.banks
    assert list(bank.prompted) == list(range(6 - PROMPTED_FRAMES, 6))
    assert not bank.tracked


def test_wrong_use_is_refused(model: DcSam):
    (images,), supports = random_frames(0, 1), [encode_support(model, random_clip(0))]
    with pytest.raises(ValueError, match="videos need SAM 2"):
        tiny_model(1).video(supports)
    with pytest.raises(ValueError, match="nothing to segment"):
        model.video([])
    with pytest.raises(ValueError, match="prompted or given masks"):
        model.video(supports).step(images, square(0)[None])
    with pytest.raises(ValueError, match="prompt_every"):
        model.video(supports, prompt_every=-1)
    with pytest.raises(ValueError, match="how many frames"):
        model.video(supports, wiring=PACKAGE_VIDEO)
    with pytest.raises(ValueError, match="no mask was given"):
        VideoPredictor(model.segmenter).step(images)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2_hiera_t", "sam2.1_hiera_l"])
def test_the_full_size_segments_three_frames(name: str):
    model = build_dc_sam(DcSamOptions(sam_version=2, sam_model=name, random_weights=True)).eval()
    query, support, masks = random_episodes(0, batch=3, side=model.image_size)
    found = run(model, Clip(query.unsqueeze(1), support[:1], masks[:1]))
    assert [one.logits.shape for one in found] == 3 * [(1, *query.shape[-2:])]
    assert all(one.logits.isfinite().all() for one in found)
