"""What SINE's neck and transformers are built of.

Shapes: B batch, N and M tokens, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map, each place by itself; B x C x H x W."""

    def __init__(self, channels: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, maps: Tensor) -> Tensor:
        last = maps.movedim(1, -1)
        normed = F.layer_norm(last, last.shape[-1:], self.weight, self.bias, self.epsilon)
        return normed.movedim(-1, 1)


class Attention(nn.Module):
    """Attention of several heads, whose three projections are one matrix."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            query: B x N x C.
            key, value: B x M x C.
            blocked: where a token may not look, bool, N x M or B x N x M.

        Returns:
            B x N x C.
        """
        parts = zip(
            (query, key, value),
            self.in_proj_weight.chunk(3),
            self.in_proj_bias.chunk(3),
            strict=True,
        )
        projected = [
            F.linear(tokens, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for tokens, weight, bias in parts
        ]
        allowed = None
        if blocked is not None:
            allowed = ~blocked if blocked.ndim == 2 else ~blocked[:, None]
        attended = F.scaled_dot_product_attention(*projected, attn_mask=allowed)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers with ReLU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.reduce = nn.Linear(hidden, channels)
        for layer in (self.expand, self.reduce):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.reduce(F.relu(self.expand(tokens)))


class Neck(nn.Sequential):
    """From the backbone's channels to the transformer's; the same for references and targets."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(features, channels, 1, bias=False),
            ChannelNorm(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            ChannelNorm(channels),
        )


class MaskFeatures(nn.Sequential):
    """Features at four times the resolution, with whose channels mask tokens are multiplied."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, channels // 2, 2, stride=2),
            ChannelNorm(channels // 2),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 2, channels, 2, stride=2),
        )


class MaskTokens(nn.Module):
    """The perceptron that turns tokens into what mask features are multiplied with."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(channels, channels) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(tokens)))))
