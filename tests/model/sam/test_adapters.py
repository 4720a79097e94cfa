import pytest
import torch
from torch import Tensor, nn

from model.dc_sam.config import ModelOptions, build_model
from model.dc_sam.video import DcSamVideo
from model.sam.adapters import (
    EpisodeDropout,
    adapter_dropout,
    adapter_names,
    add_adapters,
    unadapted_name,
    unfreeze_adapters,
)
from model.sam.sam2 import Sam2

TINY = ModelOptions(
    backbone="tiny", sam_version=2, sam_model="tiny", random_weights=True, num_query=4
)
SIDE = 64
SEEDS = [(0, 0, 5), (0, 0, 9)]


def clips(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two frames, a support image and its mask for each clip."""
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(count, 2, 3, SIDE, SIDE, generator=generator)
    support = torch.randn(count, 1, 3, SIDE, SIDE, generator=generator)
    masks = torch.zeros(count, 1, SIDE, SIDE)
    for number in range(count):
        masks[number, 0, 8 : 32 + 8 * number, 16:48] = 1
    return frames, support, masks


def adapted(learned: bool = True) -> DcSamVideo:
    """A tiny model with adapters, which do something if they have learned."""
    torch.manual_seed(0)
    model = DcSamVideo.from_image_model(build_model(TINY))
    add_adapters(model.segmenter.network)
    unfreeze_adapters(model.segmenter.network)
    if learned:
        with torch.no_grad():
            for name, value in model.named_parameters():
                if ".lora_B." in name:
                    value.normal_(std=0.1)
    return model


def test_the_adapters_of_the_largest_sam_2_have_the_size_of_table_10(
    monkeypatch: pytest.MonkeyPatch,
):
    # the package reads its drop rates off a tensor, which has to hold numbers
    linspace = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *ends: linspace(*ends, device="cpu"))
    with torch.device("meta"):
        network = Sam2("sam2.1_hiera_l").network
    add_adapters(network)
    assert not any(value.requires_grad for value in network.parameters())
    unfreeze_adapters(network)
    learning = {name: value for name, value in network.named_parameters() if value.requires_grad}
    assert sum(value.numel() for value in learning.values()) == 111_360
    assert learning.keys() == adapter_names(network.state_dict())


def test_new_adapters_change_nothing_and_learned_ones_do():
    torch.manual_seed(0)
    plain = DcSamVideo.from_image_model(build_model(TINY)).eval()
    fresh = adapted(learned=False).eval()
    with torch.no_grad():
        before, same = plain(*clips(1)), fresh(*clips(1))
        other = adapted().eval()(*clips(1))
    assert {unadapted_name(n) for n in fresh.state_dict()} >= plain.state_dict().keys()
    for one, two in zip(before, same, strict=True):
        assert torch.equal(one.logits, two.logits)
    assert not torch.allclose(before[1].logits, other[1].logits)


def test_every_adapter_learns_and_nothing_else_of_sam_2():
    model = adapted().train()
    found = model(*clips(1))
    sum(one.logits.square().mean() for one in found).backward()
    reached = {n for n, p in model.segmenter.named_parameters() if p.grad is not None}
    assert reached == adapter_names(model.segmenter.state_dict())
    assert all(p.grad.any() for p in model.segmenter.parameters() if p.grad is not None)


def test_a_batch_does_in_evaluation_what_its_clips_do_alone():
    model = adapted().eval()
    with torch.no_grad():
        together = model(*clips(2))
        alone = [model(*(part[i : i + 1] for part in clips(2))) for i in range(2)]
    for frame, both in enumerate(together):
        one_by_one = torch.cat([found[frame].logits for found in alone])
        torch.testing.assert_close(both.logits, one_by_one, atol=1e-4, rtol=1e-4)


def test_what_drops_in_training_depends_on_the_episode_and_not_on_its_batch():
    model = adapted().train()
    with adapter_dropout(model, SEEDS):
        together = model(*clips(2))
    with adapter_dropout(model, SEEDS[1:]):
        alone = model(*(part[1:] for part in clips(2)))
    with adapter_dropout(model, [(1, 0, 9)]):
        other = model(*(part[1:] for part in clips(2)))
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both.logits[1:], one.logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(alone[1].logits, other[1].logits, atol=1e-3)


def test_one_number_in_twenty_drops_and_the_others_grow():
    dropout = EpisodeDropout()
    rows = torch.ones(4, 100, 100)
    assert torch.equal(dropout(rows), rows)
    with adapter_dropout(nn.Sequential(nn.Linear(1, 1), dropout), SEEDS):
        found = dropout(rows)
        with torch.no_grad():
            assert torch.equal(dropout(rows), rows)
    assert torch.equal(dropout(rows), rows)
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, 1 / 0.95]))
    # the share of 10,000 numbers has a standard deviation of 0.0022
    assert (found == 0).float().mean((1, 2)).tolist() == pytest.approx([0.05] * 4, abs=0.01)
    # rows 0 and 2 are an episode's first and second draw
    assert not any(torch.equal(found[i], found[j]) for i in range(4) for j in range(i))
