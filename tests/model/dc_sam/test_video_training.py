from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from model.checkpoint import learnable_weights
from model.dc_sam.network import DcSam
from model.dc_sam.video_training import TubeLoss, segment_tubes, unfreeze
from model.layers import drawn_by_episode
from model.losses import mask_loss
from model.method_options import LossOptions
from model.sam.sam2 import Sam2
from model.sam.video_predictor import FramePrediction
from tests.helpers import random_episodes, tiny_model

BOTH = ("decoder", "memory")


class Tubes(NamedTuple):
    """Random short videos with random masks, of which a quarter does not count."""

    frames: Tensor
    masks: Tensor
    ignore: Tensor
    support: Tensor
    """B x K x 3 x H x W."""
    support_masks: Tensor


def random_tubes(seed: int, batch: int = 1, length: int = 3, shots: int = 1) -> Tubes:
    query, support, support_masks = random_episodes(seed, batch, shots)
    generator = torch.Generator().manual_seed(seed)
    change = torch.randn(batch, length, *query.shape[1:], generator=generator)
    masks = (torch.rand(batch, length, *query.shape[2:], generator=generator) > 0.5).float()
    ignore = torch.zeros_like(masks, dtype=torch.bool)
    ignore[..., :32, :32] = True
    return Tubes(query.unsqueeze(1) + 0.3 * change, masks, ignore, support, support_masks)


def segment(model: DcSam, tubes: Tubes) -> list[FramePrediction]:
    support = model.encode(tubes.support.flatten(0, 1), support_only=True)
    return segment_tubes(model, support, tubes.support_masks, tubes.frames)


def losses(model: DcSam, tubes: Tubes, options: LossOptions) -> dict[str, Tensor]:
    support = model.encode(tubes.support.flatten(0, 1), support_only=True)
    return TubeLoss(model)(support, tubes, options)


def in_training(parts: tuple[str, ...] = ()) -> DcSam:
    model = tiny_model(2, lively=True).train()
    unfreeze(model, parts)
    return model


@torch.no_grad()
def test_several_tubes_equal_one_by_one_in_training():
    model, tubes, seeds = in_training(), random_tubes(10, batch=2, shots=2), [(0, 7), (0, 8)]
    with drawn_by_episode(model, seeds, shots=2):
        together = segment(model, tubes)
    for i in range(2):
        with drawn_by_episode(model, seeds[i : i + 1], shots=2):
            alone = segment(model, Tubes(*(part[i : i + 1] for part in tubes)))
        for one, whole in zip(alone, together, strict=True):
            for field in ("logits", "quality", "object_logit"):
                expected = getattr(whole, field)[i : i + 1]
                torch.testing.assert_close(getattr(one, field), expected, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_a_tube_equals_its_frames_one_after_the_other():
    model, tubes = tiny_model(2, lively=True), random_tubes(11)
    images = model.encode(tubes.support[0], support_only=True)
    video = model.video([model.encode_support(images, tubes.support_masks)])
    for one, frame in zip(segment(model, tubes), tubes.frames[0], strict=True):
        assert torch.equal(one.logits, video.step(frame[None]).logits)


def test_the_loss_is_the_mean_over_frames_and_if_asked_for_of_the_first_pseudo_mask():
    model, tubes = in_training(), random_tubes(3, batch=2, length=2)
    frames = segment(model, tubes)
    each = [
        mask_loss(frame.raw_logits, tubes.masks[:, t], tubes.ignore[:, t]).mean()
        for t, frame in enumerate(frames)
    ]
    expected = {"mask": sum(each) / 2}
    truth = (tubes.masks[:, 0], tubes.ignore[:, 0])
    pseudo = {"pseudo_mask": 0.3 * mask_loss(frames[0].pseudo_logits, *truth).mean()}
    alone = losses(model, tubes, LossOptions())
    both = losses(model, tubes, LossOptions(pseudo_weight=0.3))
    torch.testing.assert_close(alone, expected)
    torch.testing.assert_close(both, expected | pseudo)


def test_the_releases_loss_sums_over_the_frames_of_a_clip_before_it_divides():
    model, tubes = in_training(), random_tubes(3, batch=2, length=2)
    logits = torch.stack([frame.raw_logits for frame in segment(model, tubes)], dim=1)
    expected = mask_loss(logits, tubes.masks, tubes.ignore, "release").mean()
    torch.testing.assert_close(losses(model, tubes, LossOptions("release"))["mask"], expected)


def test_gradients_of_the_last_frame_flow_through_the_memory_to_the_prompts():
    model = in_training()
    last = segment(model, random_tubes(12, length=4))[-1]
    assert last.object_logit.item() > 0
    query = model.generator.positive.query.weight
    (gradient,) = torch.autograd.grad(last.logits.square().mean(), query)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("parts", [(), ("decoder",), ("memory",), BOTH])
def test_a_step_moves_the_generator_and_the_chosen_parts(parts: tuple[str, ...]):
    model = in_training(parts)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learnable = learnable_weights(model)
    losses(model, random_tubes(13), LossOptions())["mask"].backward()
    torch.optim.SGD(learnable.values(), lr=0.1).step()

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
    model = in_training(BOTH)
    assert model.generator.training
    assert not any(module.training for module in model.segmenter.modules())
    assert not any(module.training for module in model.backbone.modules())


@pytest.mark.parametrize(
    ("parts", "levels", "count"),
    [
        (("decoder",), True, 3_950_656),
        (("decoder",), False, 3_925_984),
        (("memory",), True, 7_306_912),
        (BOTH, True, 11_257_568),
    ],
)
def test_the_parts_of_the_largest_sam_2_have_the_sizes_of_table_10(
    parts: tuple[str, ...],
    levels: bool,
    count: int,
    sam2_without_weights: Callable[[str], Sam2],
):
    tiny = tiny_model(2)
    model = DcSam(tiny.backbone, sam2_without_weights("sam2.1_hiera_l"), tiny.generator)
    unfreeze(model, parts, levels)
    assert sum(p.numel() for p in model.segmenter.parameters() if p.requires_grad) == count


def test_half_precision_segments_and_trains():
    model, tubes = in_training(BOTH), random_tubes(14)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = segment(model, tubes)
        with torch.no_grad():
            found_in_evaluation = segment(model.eval(), tubes)
    assert all(one.logits.dtype == torch.float32 for one in found + found_in_evaluation)
    sum(one.logits.square().mean() for one in found).backward()
    gradients = [p.grad for p in learnable_weights(model).values() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="no part 'encoder'"):
        unfreeze(tiny_model(2), ("encoder",))
    with pytest.raises(ValueError, match="videos need SAM 2"):
        unfreeze(tiny_model(1), ("decoder",))
