"""Cyclic-consistent cross-attention of prompts over image tokens (section 4.3, eq. 17 to 20).

Shapes: B batch, h heads, N prompts, T image tokens (S*S, or K*S*S for K shots), C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cyclic_consistency(affinity: Tensor, mask: Tensor) -> Tensor:
    """Which tokens a head may attend to.

    Token j's best prompt is i* (eq. 17), whose own best token is j* (eq. 18); j is consistent
    where the mask has the same value at j and j* (eq. 19). The token of the largest affinity of a
    head leads back to itself, so at least one is always consistent.

    Args:
        affinity: B x h x N x T.
        mask: exactly 0 or 1, B x T.

    Returns:
        B x h x T, bool.
    """
    best_prompt = affinity.argmax(dim=2)  # B h T
    best_token = affinity.argmax(dim=3)  # B h N
    cycle_end = best_token.gather(2, best_prompt)  # B h T
    mask = mask.unsqueeze(1).expand_as(cycle_end)
    return mask == mask.gather(2, cycle_end)


class CyclicAttention(nn.Module):
    """One cross-attention layer with residual and norm behind it; there is no feed-forward."""

    def __init__(self, channels: int, heads: int = 4, cyclic: bool = True) -> None:
        """cyclic: False leaves the bias out (VRP-SAM's, and an ablation of table 5)."""
        super().__init__()
        self.heads, self.cyclic = heads, cyclic
        self.projection = nn.Linear(channels, 3 * channels)  # of queries, keys and values
        self.output = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        for layer in (self.projection, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _split(self, x: Tensor, part: int) -> Tensor:
        """Project to queries (0), keys (1) or values (2): B x h x length x C/h."""
        weight = self.projection.weight.chunk(3)[part]
        bias = self.projection.bias.chunk(3)[part]
        return F.linear(x, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(
        self,
        prompts: Tensor,
        tokens: Tensor,
        mask: Tensor | None,
        prompt_position: Tensor | None,
        key_position: Tensor,
        value_position: Tensor | None = None,
    ) -> Tensor:
        """Let prompts gather from tokens.

        Args:
            prompts: B x N x C.
            tokens: fused image features, B x T x C.
            mask: exactly 0 or 1, B x T: the region which this branch is about; plain
                cross-attention needs none.
            prompt_position: added to the queries, N x C; None: nothing is.
            key_position: added to the keys, T x C.
            value_position: gathered beside the values, past their projection, so that a prompt
                says where it looked in the code of `value_position` itself; T x C.

        Returns:
            B x N x C.
        """
        q = self._split(prompts if prompt_position is None else prompts + prompt_position, 0)
        k = self._split(tokens + key_position, 1)
        v = self._split(tokens, 2)
        # The arg-maxima and the softmax must see the same numbers, also under autocast.
        affinity = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).float()  # B h N T
        if self.cyclic:
            consistent = cyclic_consistency(affinity, mask)
            affinity = affinity.masked_fill(~consistent.unsqueeze(2), -torch.inf)
        weights = affinity.softmax(dim=3).to(v.dtype)
        gathered = self.output((weights @ v).transpose(1, 2).flatten(2))  # B N C
        if value_position is not None:
            gathered = gathered + weights.mean(dim=1) @ value_position
        return self.norm(prompts + gathered)
