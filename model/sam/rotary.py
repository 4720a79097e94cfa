"""SAM 2's attention with rotary positions in real numbers, for runtimes without complex ones.

Shapes: B batch, N queries, M keys, D channels of a head.
"""

import torch
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor, nn
from torch.nn import functional as F


class RealRotaryAttention(RoPEAttention):
    """The package's attention: each pair of channels is turned by an angle of its place."""

    turns: Tensor
    """Cosines and sines of the places of a map, 2 x N x D/2."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        q, k, v = (
            self._separate_heads(project(tokens), self.num_heads)
            for project, tokens in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        placed = k.shape[-2] - num_k_exclude_rope  # the rest are pointers
        k = torch.cat([self._turn(k[..., :placed, :]), k[..., placed:, :]], dim=-2)
        attended = F.scaled_dot_product_attention(self._turn(q), k, v)
        return self.out_proj(self._recombine_heads(attended))

    def _turn(self, tokens: Tensor) -> Tensor:
        """Turn tokens of one map or of several, B x heads x M x D."""
        cosine, sine = self.turns.repeat(1, tokens.shape[-2] // self.turns.shape[1], 1)
        even, odd = tokens[..., 0::2], tokens[..., 1::2]
        turned = (even * cosine - odd * sine, even * sine + odd * cosine)
        return torch.stack(turned, dim=-1).flatten(-2)


def use_real_numbers(memory_attention: nn.Module, side: int) -> None:
    """Let a memory attention compute without complex numbers, in place.

    Args:
        side: of the maps that it is given.
    """
    for module in memory_attention.modules():
        if isinstance(module, RoPEAttention):
            places = module.compute_cis(end_x=side, end_y=side)
            module.__class__ = RealRotaryAttention
            module.turns = torch.stack([places.real, places.imag]).to(module.q_proj.weight.device)
