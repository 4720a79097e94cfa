import pytest
import torch

from model.sam.sam2 import Sam2
from model.sansa.adapters import Adapter, adapted_blocks, adapter_widths, add_adapters
from model.sansa.builder import build_sansa
from tests.model.sansa.conftest import TINY


def test_an_adapter_adds_a_tenth_of_what_it_says():
    adapter = Adapter(2, 1)
    with torch.no_grad():
        adapter.down_proj.weight.copy_(torch.tensor([[1.0, -1.0]]))
        adapter.up_proj.weight.copy_(torch.tensor([[3.0], [5.0]]))
        adapter.up_proj.bias.copy_(torch.tensor([0.0, 1.0]))
        # normalised to (1, -1) and (-1, 1): the first passes the ReLU as 2, the second as 0
        answer = adapter(torch.tensor([[4.0, 2.0], [2.0, 4.0]]))
    torch.testing.assert_close(answer, torch.tensor([[0.6, 1.1], [0.0, 0.1]]), atol=1e-4, rtol=0)


def test_fresh_adapters_change_nothing():
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    segmenter = build_sansa(TINY).segmenter
    plain = Sam2("tiny", object_scores=False).eval()
    bare = {n: v for n, v in segmenter.state_dict().items() if ".adapter." not in n}
    plain.load_state_dict(bare)
    with torch.no_grad():
        expected, found = plain.encode(images), segmenter.encode(images)
    torch.testing.assert_close(found.embedding, expected.embedding)
    for level, same in zip(found.levels, expected.levels, strict=True):
        torch.testing.assert_close(level, same)


@pytest.mark.parametrize(
    ("name", "blocks", "narrow", "wide"),
    [
        ("sam2_hiera_t", range(3, 12), [57, 115, 230], [153, 307, 614]),
        ("sam2_hiera_b+", range(5, 24), [67, 134, 268], [179, 358, 716]),
        ("sam2_hiera_l", range(8, 48), [86, 172, 345], [230, 460, 921]),
    ],
)
def test_widths_are_parts_of_what_blocks_are_given(
    sam2_without_weights, name, blocks, narrow, wide
):
    trunk = sam2_without_weights(name).network.image_encoder.trunk
    assert adapted_blocks(trunk) == list(blocks)
    for factor, widths in ((0.3, narrow), (0.8, wide)):
        assert sorted(set(adapter_widths(trunk, factor).values())) == widths


def test_nothing_but_adapters_learns():
    trunk = Sam2("tiny", object_scores=False).network.image_encoder.trunk
    add_adapters(trunk, adapter_widths(trunk, 0.3))
    learning = {name for name, p in trunk.named_parameters() if p.requires_grad}
    assert learning
    assert all(".adapter." in name for name in learning)
    assert {name.split(".")[1] for name in learning} == {"3", "4", "5", "6", "7"}
