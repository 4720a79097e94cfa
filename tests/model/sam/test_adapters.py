from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.dc_sam.network import DcSam
from model.dc_sam.video_training import segment_tubes
from model.layers import drawn_by_episode
from model.sam.adapters import (
    AdapterDropout,
    adapter_names,
    add_adapters,
    unadapted_name,
    unfreeze_adapters,
)
from model.sam.sam2 import Sam2
from tests.helpers import random_episodes, tiny_model

SEEDS = [(0, 0, 5), (0, 0, 9)]


def segment(model: DcSam, rows: slice = slice(2)) -> Tensor:
    """Logits of two videos of two frames, or of one of them: T x B x H x W."""
    query, support, masks = (part[rows] for part in random_episodes(1))
    images = model.encode(support.flatten(0, 1), support_only=True)
    frames = torch.stack([query, query.flip(-1)], dim=1)
    return torch.stack([one.raw_logits for one in segment_tubes(model, images, masks, frames)])


def adapted(learned: bool = True) -> DcSam:
    """A tiny model with adapters, which do something if they have learned."""
    model = tiny_model(2)
    torch.manual_seed(0)
    add_adapters(model.segmenter.network)
    unfreeze_adapters(model.segmenter.network)
    if learned:
        with torch.no_grad():
            for name, value in model.named_parameters():
                if ".lora_B." in name:
                    value.normal_(std=0.1)
    return model


def test_the_adapters_of_the_largest_sam_2_have_the_size_of_table_10(
    sam2_without_weights: Callable[[str], Sam2],
):
    network = sam2_without_weights("sam2.1_hiera_l").network
    add_adapters(network)
    assert not any(value.requires_grad for value in network.parameters())
    unfreeze_adapters(network)
    learning = {name: value for name, value in network.named_parameters() if value.requires_grad}
    assert sum(value.numel() for value in learning.values()) == 111_360
    assert learning.keys() == adapter_names(network.state_dict())


@torch.no_grad()
def test_new_adapters_change_nothing_and_learned_ones_do():
    plain, fresh = tiny_model(2), adapted(learned=False)
    assert {unadapted_name(n) for n in fresh.state_dict()} >= plain.state_dict().keys()
    before = segment(plain)
    assert torch.equal(segment(fresh), before)
    assert not torch.allclose(segment(adapted())[1], before[1])


def test_every_adapter_learns_and_nothing_else_of_sam_2():
    model = adapted().train()
    segment(model).square().mean().backward()
    reached = {n for n, p in model.segmenter.named_parameters() if p.grad is not None}
    assert reached == adapter_names(model.segmenter.state_dict())
    assert all(p.grad.any() for p in model.segmenter.parameters() if p.grad is not None)


@torch.no_grad()
def test_a_batch_does_in_evaluation_what_its_videos_do_alone():
    model = adapted()
    alone = torch.cat([segment(model, slice(i, i + 1)) for i in range(2)], dim=1)
    torch.testing.assert_close(segment(model), alone, atol=1e-4, rtol=1e-4)


def test_what_drops_in_training_depends_on_the_episode_and_not_on_its_batch():
    model, found = adapted().train(), []
    for seeds, rows in ((SEEDS, slice(2)), (SEEDS[1:], slice(1, 2)), ([(1, 0, 9)], slice(1, 2))):
        with drawn_by_episode(model, seeds, shots=1):
            found.append(segment(model, rows)[:, -1])
    together, alone, other = found
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(alone[1], other[1], atol=1e-3)


def test_one_number_in_twenty_drops_and_the_others_grow():
    dropout = AdapterDropout()
    rows = torch.ones(4, 100, 100)
    assert torch.equal(dropout(rows), rows)
    with drawn_by_episode(nn.Sequential(nn.Linear(1, 1), dropout), SEEDS, shots=1):
        found = dropout(rows)
        with torch.no_grad():
            assert torch.equal(dropout(rows), rows)
    assert torch.equal(dropout(rows), rows)
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, 1 / 0.95]))
    # the share of 10,000 numbers has a standard deviation of 0.0022
    assert (found == 0).float().mean((1, 2)).tolist() == pytest.approx([0.05] * 4, abs=0.01)
    # rows 0 and 2 are an episode's first and second draw
    assert not any(torch.equal(found[i], found[j]) for i in range(4) for j in range(i))
