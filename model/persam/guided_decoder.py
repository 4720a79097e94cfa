"""PerSAM's guided pass: SAM's decoder, drawn to what resembles the reference.

Source: PerSAM, section 3.2 (target-guided attention, target-semantic prompting), as its release
computes it. Nothing is learned: the weights are those of SAM's own two-way transformer.
Shapes: B pictures, N decoder tokens, C channels, T = s*s places of the embedding.
"""

import math
from dataclasses import dataclass

from segment_anything.modeling.transformer import (
    Attention,
    TwoWayAttentionBlock,
    TwoWayTransformer,
)
from torch import Tensor


@dataclass(frozen=True)
class GuidedTransformer:
    """SAM's two-way transformer with a target in its tokens and guidance in their attention."""

    transformer: TwoWayTransformer
    target: Tensor
    """B x C: added to every token before every layer, and to the tokens' position."""
    guidance: Tensor
    """B x T, in [0, 1]: added to the tokens' attention to the image, which is normalised again."""

    def __call__(self, image: Tensor, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Image and position, B x C x s x s, and tokens, B x N x C: tokens and image, B x T x C."""
        keys, key_position = image.flatten(2).mT, position.flatten(2).mT
        target = self.target.to(tokens.dtype).unsqueeze(1)
        own = tokens + target  # the tokens' position
        layers = self.transformer.layers
        queries, keys = self._block(layers[0], own, keys, own, key_position)
        for block in layers[1:]:
            queries, keys = self._block(block, queries + target, keys, own, key_position)
        attended = self.transformer.final_attn_token_to_image(
            q=queries + own + target, k=keys + key_position, v=keys
        )
        return self.transformer.norm_final_attn(queries + attended), keys

    def _block(
        self, block: TwoWayAttentionBlock, queries: Tensor, keys: Tensor, own: Tensor, place: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One layer; `own` and `place` are the positions of queries and keys."""
        if block.skip_first_layer_pe:  # the first: attention replaces the tokens
            queries = block.self_attn(q=queries, k=queries, v=queries)
        else:
            placed = queries + own
            queries = queries + block.self_attn(q=placed, k=placed, v=queries)
        queries = block.norm1(queries)
        attended = guided_attention(
            block.cross_attn_token_to_image, queries + own, keys + place, keys, self.guidance
        )
        queries = block.norm2(queries + attended)
        queries = block.norm3(queries + block.mlp(queries))
        seen = block.cross_attn_image_to_token(q=keys + place, k=queries + own, v=queries)
        return queries, block.norm4(keys + seen)


def guided_attention(
    attention: Attention, query: Tensor, key: Tensor, value: Tensor, guidance: Tensor
) -> Tensor:
    """Attention whose weights are normalised, raised by the guidance and normalised again.

    Args:
        query: B x N x C.
        key, value: B x T x C.
        guidance: B x T, the same for every head and token.

    Returns:
        B x N x C.
    """
    q, k, v = (
        layer(x).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        for layer, x in (
            (attention.q_proj, query),
            (attention.k_proj, key),
            (attention.v_proj, value),
        )
    )  # each B heads N or T C/heads
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)
    weights = (weights + guidance[:, None, None].to(weights.dtype)).softmax(dim=-1)
    return attention.out_proj((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))
