from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.dc_sam.config import ModelOptions, build_model, learnable_weights
from model.dc_sam.network import DcSam
from model.dc_sam.video import (
    PACKAGE_VIDEO,
    STREAMING,
    DcSamVideo,
    EncodedFrame,
    FramePrediction,
    RunningVideo,
    VideoWiring,
)
from model.losses import mask_loss
from model.sam.memory_bank import PROMPTED_FRAMES
from model.sam.sam2 import Sam2
from model.sam.segmenter import SegmenterFeatures

SIZE, SIDE = 96, 12
"""Of the frames and of the backbone's map."""

Clips = tuple[Tensor, Tensor, Tensor]
"""Frames, B x T x 3 x H x W, support images and support masks."""


@torch.no_grad()
def speak_up(network: nn.Module) -> None:
    """Give an untrained SAM 2 weights of unit gain, so that its memory counts."""
    for name, value in network.named_parameters():
        if name.startswith("image_encoder."):
            continue
        if value.dim() > 1:
            value.normal_(0, value[0].numel() ** -0.5)
        elif name.endswith("gamma"):
            value.fill_(0.1)
    network.maskmem_tpos_enc.normal_(0, 0.2)
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].weight.mul_(0.1)
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)


def build_image_model(version: int = 2) -> DcSam:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"backbone": "tiny", "sam_model": "tiny", "random_weights": True}
        model = build_model(
            ModelOptions(**options, image_size=128, num_query=5, sam_version=version)
        )
        if version == 2:
            speak_up(model.segmenter.network)
    return model.eval()


def build(wiring: VideoWiring = STREAMING) -> DcSamVideo:
    return DcSamVideo.from_image_model(build_image_model(), wiring)


@pytest.fixture(scope="module")
def model() -> DcSamVideo:
    """Tests leave its weights as they are."""
    return build()


def random_clips(seed: int, batch: int = 1, length: int = 3, shots: int = 1) -> Clips:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(batch, shots, SIDE, SIDE, generator=generator) > 0.6
    cells[..., 2:4, 2:4] = True
    first = torch.randn(batch, 1, 3, SIZE, SIZE, generator=generator)
    change = torch.randn(batch, length, 3, SIZE, SIZE, generator=generator)
    return (
        first + 0.3 * change,
        torch.randn(batch, shots, 3, SIZE, SIZE, generator=generator),
        cells.float().repeat_interleave(SIZE // SIDE, -1).repeat_interleave(SIZE // SIDE, -2),
    )


def random_features(segmenter: Sam2, seed: int, batch: int = 1) -> SegmenterFeatures:
    """Cheap frames for tests that need many of them."""
    generator = torch.Generator().manual_seed(seed)
    channels, side = segmenter.channels, segmenter.embedding_size
    shapes = ((channels, side), (channels // 8, 4 * side), (channels // 4, 2 * side))
    maps = [torch.randn(batch, c, s, s, generator=generator) for c, s in shapes]
    return SegmenterFeatures(maps[0], tuple(maps[1:]))


def random_frame(segmenter: Sam2, seed: int) -> EncodedFrame:
    return EncodedFrame(torch.zeros(1, 3, SIZE, SIZE), random_features(segmenter, seed))


def half_masks(count: int = 1) -> Tensor:
    """Of each object another half of the frame."""
    masks = torch.zeros(count, SIZE, SIZE)
    masks[0, :, : SIZE // 2] = 1
    masks[1:, SIZE // 2 :] = 1
    return masks


@torch.no_grad()
def run(model: DcSamVideo, clip: Clips, prompt_every: int = 0) -> list[FramePrediction]:
    frames, support, masks = clip
    video = RunningVideo(model, [model.learn(support, masks)], prompt_every, frames.shape[1])
    return [video.step(frame) for frame in frames.unbind(1)]


def assert_alike(one: FramePrediction, other: FramePrediction, tolerance: float = 1e-4) -> None:
    for field in ("logits", "quality", "object_logit"):
        torch.testing.assert_close(
            getattr(one, field), getattr(other, field), atol=tolerance, rtol=tolerance, msg=field
        )


def test_shapes(model: DcSamVideo):
    found = run(model, random_clips(0, length=3))
    assert len(found) == 3
    for one in found:
        assert one.logits.shape == one.masks.shape == (1, SIZE, SIZE)
        assert one.quality.shape == one.object_logit.shape == (1,)
        assert one.logits.isfinite().all()
    assert found[0].pseudo_logits.shape == (1, SIZE, SIZE)
    assert found[1].pseudo_logits is None


def test_the_first_frame_is_segmented_as_an_image(model: DcSamVideo):
    frames, support, masks = clip = random_clips(1)
    with torch.no_grad():
        image = build_image_model()(frames[:, 0], support, masks)
    first = run(model, clip)[0]
    assert_alike(first, FramePrediction(image.logits, image.quality, image.object_logit), 1e-5)
    torch.testing.assert_close(first.pseudo_logits, image.pseudo_logits)


@pytest.mark.parametrize("best_of_three", [True, False])
@torch.no_grad()
def test_given_masks_are_followed_as_by_the_package(best_of_three: bool):
    length = 20  # beyond the window of memories and beyond that of object pointers
    model = build(replace(PACKAGE_VIDEO, best_of_three=best_of_three))
    segmenter, network = model.segmenter, model.segmenter.network
    network.multimask_output_for_tracking = best_of_three
    video = RunningVideo(model, length=length)
    masks = half_masks()
    large = F.interpolate(masks[None], (256, 256), mode="bilinear", antialias=True)
    outputs = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    for index in range(length):
        features = random_features(segmenter, seed=index)
        frame = EncodedFrame(torch.zeros(1, 3, SIZE, SIZE), features)
        found = video.propagate(frame) if index else video.prompt_with_masks(frame, masks)
        bare = features.embedding - network.no_mem_embed.view(1, -1, 1, 1)
        maps = [*features.levels, bare]
        expected = network.track_step(
            frame_idx=index,
            is_init_cond_frame=index == 0,
            current_vision_feats=[m.flatten(2).permute(2, 0, 1) for m in maps],
            current_vision_pos_embeds=[
                network.image_encoder.neck.position_encoding(m).flatten(2).permute(2, 0, 1)
                for m in maps
            ],
            feat_sizes=[m.shape[-2:] for m in maps],
            point_inputs=None,
            mask_inputs=(large >= 0.5).float() if index == 0 else None,
            output_dict=outputs,
            num_frames=length,
        )
        expected["maskmem_features"] = expected["maskmem_features"].bfloat16()
        outputs["non_cond_frame_outputs" if index else "cond_frame_outputs"][index] = expected
        logits = F.interpolate(
            expected["pred_masks_high_res"] if index == 0 else expected["pred_masks"],
            (SIZE, SIZE),
            mode="bilinear",
        )
        object_logit = expected["object_score_logits"].squeeze(1)
        torch.testing.assert_close(found.object_logit, object_logit, atol=1e-4, rtol=1e-4)
        if object_logit > 0:
            torch.testing.assert_close(found.logits, logits[:, 0], atol=1e-3, rtol=1e-3)
        memory = (video.bank.tracked if index else video.bank.prompted)[index]
        torch.testing.assert_close(memory.pointer, expected["obj_ptr"], atol=1e-4, rtol=1e-4)
    assert object_logit.isfinite().all()


@torch.no_grad()
def test_where_the_object_is_absent_the_mask_is_empty_and_remembered_as_absent():
    model = build()
    head = model.segmenter.network.sam_mask_decoder.pred_obj_score_head.layers[-1]
    nn.init.constant_(head.bias, -50.0)
    video = RunningVideo(model)
    video.prompt_with_masks(random_frame(model.segmenter, 0), half_masks())
    found = video.propagate(random_frame(model.segmenter, 1))
    assert (found.object_logit < 0).all()
    assert not found.masks.any()
    assert torch.equal(video.bank.tracked[1].pointer, model.segmenter.network.no_obj_ptr)

    drawn = FramePrediction(torch.ones(2, 4, 4), torch.ones(2), torch.tensor([0.1, -0.1]))
    assert drawn.masks[0].all()
    assert not drawn.masks[1].any()


@torch.no_grad()
def test_a_mask_of_nothing_is_remembered_as_absent(model: DcSamVideo):
    video = RunningVideo(model)
    found = video.prompt_with_masks(random_frame(model.segmenter, 0), torch.zeros(1, SIZE, SIZE))
    assert not found.masks.any()
    assert (found.object_logit < 0).all()


@torch.no_grad()
def test_given_masks_come_back(model: DcSamVideo):
    masks = half_masks(2)
    found = RunningVideo(model).prompt_with_masks(random_frame(model.segmenter, 0), masks)
    assert torch.equal(found.masks, masks.bool())


def test_classes_of_one_video_share_the_features_of_its_frames(
    model: DcSamVideo, monkeypatch: pytest.MonkeyPatch
):
    frames, support, masks = random_clips(2, length=4)
    _, other_support, other_masks = random_clips(3, shots=2)
    separate = [
        run(model, clip)
        for clip in ((frames, support, masks), (frames, other_support, other_masks))
    ]

    encoded, extracted = [], []
    with torch.no_grad():
        concepts = [model.learn(support, masks), model.learn(other_support, other_masks)]
        encode, extract = model.segmenter.encode_images, model.backbone.extract
        monkeypatch.setattr(
            model.segmenter, "encode_images", lambda x: encoded.append(len(x)) or encode(x)
        )
        monkeypatch.setattr(model.backbone, "extract", lambda x: extracted.append(1) or extract(x))
        video = RunningVideo(model, concepts)
        together = [video.step(frame) for frame in frames.unbind(1)]

    assert encoded == [1, 1, 1, 1]
    assert extracted == [1]  # only prompting needs the backbone
    for one, alone in zip(together, zip(*separate, strict=True), strict=True):
        for row in range(2):
            rows = slice(row, row + 1)
            single = FramePrediction(one.logits[rows], one.quality[rows], one.object_logit[rows])
            assert_alike(single, alone[row], 5e-3)  # memories are rounded to bfloat16


def test_running_videos_do_not_know_of_each_other(model: DcSamVideo):
    one, other = random_clips(4), random_clips(5)
    alone = run(model, one)
    with torch.no_grad():
        videos = [RunningVideo(model, [model.learn(*clip[1:])]) for clip in (one, other)]
        found = []
        for t in range(3):
            found.append(videos[0].step(one[0][:, t]))
            videos[1].step(other[0][:, t])
    for a, b in zip(alone, found, strict=True):
        assert torch.equal(a.logits, b.logits)


@torch.no_grad()
def test_what_is_remembered_stops_growing(model: DcSamVideo):
    video = RunningVideo(model)
    frame = random_frame(model.segmenter, 0)
    video.prompt_with_masks(frame, half_masks())
    sizes = []
    for _ in range(40):
        video.propagate(frame)
        sizes.append(video.bank.numbers)
    assert sizes[0] < sizes[10]
    assert len(set(sizes[14:])) == 1


def test_no_mask_depends_on_a_later_frame(model: DcSamVideo):
    frames, support, masks = random_clips(6, length=5)
    short = run(model, (frames[:, :3], support, masks))
    for one, other in zip(short, run(model, (frames, support, masks)), strict=False):
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
    model: DcSamVideo, option: dict, first_too: bool, monkeypatch: pytest.MonkeyPatch
):
    clip = random_clips(7)
    rewired = DcSamVideo.from_image_model(model, replace(STREAMING, **option))
    decoder = model.segmenter.network.sam_mask_decoder
    # otherwise the single mask, unstable without training, gives way to the best of three anyway
    monkeypatch.setattr(decoder, "dynamic_multimask_stability_thresh", 0.0)
    ours, other = run(model, clip), run(rewired, clip)
    assert torch.equal(ours[0].logits, other[0].logits) != first_too
    assert (ours[2].logits - other[2].logits).abs().max() > 1e-4


def test_the_prompt_generator_can_be_asked_again(
    model: DcSamVideo, monkeypatch: pytest.MonkeyPatch
):
    clip = random_clips(8, length=7)
    once = run(model, clip)
    asked = []
    prompts = model.prompts
    monkeypatch.setattr(model, "prompts", lambda *a: asked.append(1) or prompts(*a))
    again = run(model, clip, prompt_every=3)
    assert len(asked) == 3
    prompted = [one.pseudo_logits is not None for one in again]
    assert prompted == [True, False, False, True, False, False, True]
    assert_alike(again[2], once[2])
    with torch.no_grad():
        frames, support, masks = clip
        image = DcSam.find(model, model.encode(frames[:, 3]), model.learn(support, masks))
    torch.testing.assert_close(again[3].logits, image.logits)
    assert not torch.allclose(again[4].logits, once[4].logits)


@torch.no_grad()
def test_asking_on_every_frame_remembers_a_few_of_them(model: DcSamVideo):
    frames, support, masks = random_clips(9, length=6)
    video = RunningVideo(model, [model.learn(support, masks)], prompt_every=1)
    for frame in frames.unbind(1):
        video.step(frame)
    assert list(video.bank.prompted) == list(range(6 - PROMPTED_FRAMES, 6))
    assert not video.bank.tracked


def test_several_clips_equal_one_by_one_in_training(model: DcSamVideo):
    frames, support, masks = random_clips(10, batch=2, length=3, shots=2)
    drawn = torch.rand(2, 3, model.segmenter.channels, generator=torch.Generator().manual_seed(0))
    kept = drawn > 0.5
    model.train()
    try:
        with torch.no_grad():
            together = model(frames, support, masks, kept)
            for i in range(2):
                rows = slice(i, i + 1)
                alone = model(frames[rows], support[rows], masks[rows], kept[rows])
                for one, whole in zip(alone, together, strict=True):
                    part = (whole.logits[rows], whole.quality[rows], whole.object_logit[rows])
                    assert_alike(one, FramePrediction(*part), 1e-3)
    finally:
        model.eval()


def test_a_clip_equals_its_frames_one_after_the_other(model: DcSamVideo):
    clip = random_clips(11, length=3)
    with torch.no_grad():
        at_once = model(*clip)
    for one, other in zip(at_once, run(model, clip), strict=True):
        assert_alike(one, other, 5e-3)


def test_gradients_of_the_last_frame_flow_through_the_memory_to_the_prompts():
    model = build().train()
    clip = random_clips(12, length=4)
    last = model(*clip)[-1]
    assert last.object_logit.item() > 0
    query = model.generator.positive.query.weight
    (gradient,) = torch.autograd.grad(last.logits.square().mean(), query)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("parts", [(), ("decoder",), ("memory",), ("decoder", "memory")])
def test_a_step_moves_the_generator_and_the_chosen_parts(parts: tuple[str, ...]):
    model = build().train()
    model.unfreeze(parts)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learnable = learnable_weights(model)
    target = (torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(9)) > 0.5).float()
    optimiser = torch.optim.SGD(learnable.values(), lr=0.1)
    sum(mask_loss(one.logits, target).mean() for one in model(*random_clips(13))).backward()
    optimiser.step()

    moved = {name for name, value in model.state_dict().items() if value.ne(before[name]).any()}
    assert moved <= set(learnable)
    network = "segmenter.network."
    prefixes = {
        "decoder": f"{network}sam_mask_decoder.",
        "memory": (f"{network}memory_encoder.", f"{network}memory_attention."),
    }
    for part, prefix in prefixes.items():
        assert any(name.startswith(prefix) for name in moved) == (part in parts), part
    assert any(name.startswith("generator.") for name in moved)
    assert all(p.grad is None or p.grad.isfinite().all() for p in learnable.values())
    silent = [name for name, p in learnable.items() if p.grad is None or not p.grad.any()]
    # the three proposals are not trained, nor biases that a softmax or a norm takes away
    allowed = ("mask_tokens", "hypernetworks", "k_proj.bias")
    assert [name for name in silent if not any(a in name for a in allowed)] == []


def test_nothing_of_sam_2_leaves_evaluation_mode():
    model = build()
    model.unfreeze(("decoder", "memory"))
    model.train()
    assert model.generator.training
    assert not any(module.training for module in model.segmenter.modules())
    assert not any(module.training for module in model.backbone.modules())


def test_the_parts_of_the_largest_sam_2_have_the_sizes_of_table_10(
    monkeypatch: pytest.MonkeyPatch,
):
    # the package reads its drop rates off a tensor, which has to hold numbers
    linspace = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *ends: linspace(*ends, device="cpu"))
    tiny = build_image_model()
    for parts, levels, count in (
        (("decoder",), True, 3_950_656),
        (("decoder",), False, 3_925_984),
        (("memory",), True, 7_306_912),
        (("decoder", "memory"), True, 11_257_568),
    ):
        with torch.device("meta"):
            segmenter = Sam2("sam2.1_hiera_l")
        model = DcSamVideo(tiny.backbone, segmenter, tiny.generator)
        model.unfreeze(parts, levels)
        assert sum(p.numel() for p in segmenter.parameters() if p.requires_grad) == count


def test_half_precision_follows_and_trains():
    model = build().train()
    model.unfreeze(("decoder", "memory"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(*random_clips(14))
        with torch.no_grad():
            run(model.eval(), random_clips(14))
    assert all(one.logits.dtype == torch.float32 for one in found)
    sum(one.logits.square().mean() for one in found).backward()
    assert all(
        p.grad.isfinite().all() for p in learnable_weights(model).values() if p.grad is not None
    )


def test_wrong_use_is_refused(model: DcSamVideo):
    frame = random_frame(model.segmenter, 0)
    with pytest.raises(ValueError, match="videos need SAM 2"):
        DcSamVideo.from_image_model(build_image_model(version=1))
    with pytest.raises(ValueError, match="nothing to look for"):
        RunningVideo(model).prompt(frame)
    with pytest.raises(ValueError, match="nothing is remembered"):
        RunningVideo(model).propagate(frame)
    with pytest.raises(ValueError, match="prompt_every"):
        RunningVideo(model, prompt_every=-1)
    with pytest.raises(ValueError, match="how many frames"):
        RunningVideo(build(PACKAGE_VIDEO))
    with pytest.raises(ValueError, match="no part 'encoder'"):
        build().unfreeze(("encoder",))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2_hiera_t", "sam2.1_hiera_l"])
def test_the_full_size_follows_three_frames(name: str):
    options = ModelOptions(sam_version=2, sam_model=name, random_weights=True)
    model = DcSamVideo.from_image_model(build_model(options).eval())
    generator = torch.Generator().manual_seed(0)
    size = options.image_size
    frames = torch.randn(1, 3, 3, size, size, generator=generator)
    support = torch.randn(1, 1, 3, size, size, generator=generator)
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    found = run(model, (frames, support, mask))
    assert [one.logits.shape for one in found] == 3 * [(1, size, size)]
    assert all(one.logits.isfinite().all() for one in found)
