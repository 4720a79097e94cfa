import pytest
import torch

from data.synthetic.style import SIDE
from model.sam.sam2 import ObjectMask
from model.sam.variants import build_segmenter
from tools.pretrain.clips import ClipBatches
from tools.pretrain.memory import frame_loss, losses


def found(logits, object_logit, quality):
    count = len(logits)
    return ObjectMask(
        logits.unsqueeze(1),
        torch.full((count, 1), quality),
        torch.full((count, 1), object_logit),
        torch.zeros(count, 4),
    )


def test_the_loss_of_a_frame_by_hand():
    mask = torch.zeros(2, SIDE, SIDE)
    mask[0, :64] = 1
    right = (mask - 0.5) * 100
    present = torch.tensor([True, False])
    loss, overlap = frame_loss(found(right, 0.0, 1.0), mask, present)
    # the mask and its quality are right; presence is a guess: log 2 for both, weighted by 0.2
    assert loss.item() == pytest.approx(0.2 * 0.6931, abs=1e-3)
    assert overlap[0] == 1
    wrong, _ = frame_loss(found(-right, 0.0, 1.0), mask, present)
    assert wrong > 10


def test_masks_of_absent_objects_do_not_count():
    mask = torch.zeros(1, SIDE, SIDE)
    absent = torch.tensor([False])
    somewhere = torch.full((1, SIDE, SIDE), 5.0)
    loss, _ = frame_loss(found(somewhere, -20.0, 0.0), mask, absent)
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("given", [True, False])
def test_gradients_reach_the_memory_from_later_frames(given):
    torch.manual_seed(0)
    segmenter = build_segmenter(2, "tiny", None).eval()
    clips = ClipBatches(seed=0, batches=1, frames=2)[0]
    loss, _ = losses(segmenter, clips, given)
    loss.backward()
    network = segmenter.network
    for part in (network.memory_encoder, network.memory_attention, network.image_encoder):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
