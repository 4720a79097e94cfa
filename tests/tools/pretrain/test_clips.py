import torch

from data.synthetic.style import SIDE
from model.sam.segmenter import POINT_POSITIVE
from tools.pretrain.clips import LENGTHS, ClipBatches
from tools.pretrain.scenes import PROMPTS_PER_SCENE

BATCHES = ClipBatches(seed=3, batches=8, frames=8)


def test_a_batch_has_about_so_many_frames():
    for number in range(4):
        clips = BATCHES[number]
        count, length = clips.images.shape[:2]
        assert length in LENGTHS
        assert count == 8 // length
        assert clips.masks.shape == (count, PROMPTS_PER_SCENE, length, SIDE, SIDE)


def test_clicks_lie_in_and_out_of_the_first_frames_mask():
    clips = BATCHES[0]
    x, y = clips.points.long().flatten(0, 1).unbind(-1)  # B*P x N
    first = clips.masks[:, :, 0].flatten(0, 1)
    under = torch.stack(
        [mask[rows, columns] for mask, rows, columns in zip(first, y, x, strict=True)]
    )
    assert torch.equal(under > 0, clips.labels.flatten(0, 1) == POINT_POSITIVE)


def test_a_batch_is_a_function_of_the_seed_and_its_number():
    again = ClipBatches(seed=3, batches=8, frames=8)[2]
    assert all(torch.equal(a, b) for a, b in zip(BATCHES[2], again, strict=True))
    assert not torch.equal(BATCHES[2].images[0, 0], BATCHES[3].images[0, 0])
