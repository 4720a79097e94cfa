import pytest
import torch

from model.sam.rotary import RealRotaryAttention, use_real_numbers
from model.sam.sam2 import Sam2


@pytest.mark.parametrize("pointers", [0, 3])
def test_real_numbers_attend_as_complex_ones(pointers: int):
    attention = Sam2("tiny").eval().network.memory_attention
    layer = attention.layers[0].cross_attn_image
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 16, layer.embedding_dim, generator=generator)
    keys = torch.randn(2, 2 * 16 + pointers, layer.kv_in_dim, generator=generator)
    with torch.no_grad():
        expected = layer(queries, keys, keys, num_k_exclude_rope=pointers)
        use_real_numbers(attention, 4)
        found = layer(queries, keys, keys, num_k_exclude_rope=pointers)
    assert isinstance(layer, RealRotaryAttention)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
