"""TinyViT-5M, the image encoder of MobileSAM, with the names of its official file.

Source: "TinyViT: Fast Pretraining Distillation for Small Vision Transformers" (2022), and
"Faster Segment Anything" (2023), which leaves out the last reduction and adds SAM's neck.
Shapes: B batch, C channels, H and W of a feature map, w side of a window.
"""

from itertools import pairwise

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4
"""How much wider a block is within than without."""


class ConvNorm(nn.Sequential):
    """A convolution without bias, and batch normalisation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)


class PatchEmbedding(nn.Module):
    """Two convolutions that leave a quarter of the side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first = ConvNorm(3, width // 2, 3, stride=2)
        self.seq = nn.Sequential(first, nn.GELU(), ConvNorm(width // 2, width, 3, stride=2))

    def forward(self, images: Tensor) -> Tensor:
        return self.seq(images)


class MobileBlock(nn.Module):
    """An inverted bottleneck with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = EXPANSION * width
        self.conv1 = ConvNorm(width, inner)
        self.conv2 = ConvNorm(inner, inner, 3, groups=inner)
        self.conv3 = ConvNorm(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(inner))


class Reduction(nn.Module):
    """From one stage to the next: more channels and, with a stride, half the side."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Attention within windows; a learned bias for each head and distance in x and y."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, x: Tensor) -> Tensor:
        """B x w*w x C to the same shape."""
        # each head's query, key and value lie side by side
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (self.heads, 3, -1)).unbind(3)
        attended = F.scaled_dot_product_attention(
            *(part.transpose(1, 2) for part in (q, k, v)), attn_mask=self.bias.to(q.dtype)
        )
        return self.proj(attended.transpose(1, 2).flatten(2))

    @property
    def bias(self) -> Tensor:
        """heads x w*w x w*w, by the distances of each pair of places."""
        places = torch.arange(self.window, device=self.attention_biases.device)
        distance = (places[:, None] - places).abs()  # w w
        index = self.window * distance[:, None, :, None] + distance[None, :, None, :]
        return self.attention_biases[:, index.flatten(0, 1).flatten(1)]


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class AttentionBlock(nn.Module):
    """Attention in windows, a convolution of each channel, and an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window)
        self.mlp = Mlp(width)
        self.local_conv = ConvNorm(width, width, 3, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape; windows beyond the edge are filled with zeros."""
        height, width = x.shape[2:]
        side = self.attn.window
        padded = F.pad(x, (0, -width % side, 0, -height % side))
        grid = padded.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # B C rows w columns w
        rows, columns = grid.shape[2], grid.shape[4]
        windows = grid.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)
        attended = self.attn(windows).view(-1, rows, columns, side, side, x.shape[1])
        merged = attended.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
        x = self.local_conv(x + merged[:, :, :height, :width])
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks of one width, then the way to the next."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """Images of a side that 16 divides to an embedding of a sixteenth of it."""

    def __init__(
        self,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        windows: tuple[int, ...],
        channels: int,
        classes: int,
    ) -> None:
        """Build with random weights.

        Args:
            widths, depths, heads, windows: of the four stages; the first is convolutional.
            channels: of the embedding.
            classes: of the classifier's head, which the official file holds and nothing uses.
        """
        super().__init__()
        self.patch_embed = PatchEmbedding(widths[0])
        first = [MobileBlock(widths[0]) for _ in range(depths[0])]
        blocks = [first] + [
            [AttentionBlock(width, count, window) for _ in range(depth)]
            for width, depth, count, window in zip(
                widths[1:], depths[1:], heads[1:], windows[1:], strict=True
            )
        ]
        strides = (2, 2, 1)
        reductions = [
            Reduction(*pair, stride) for pair, stride in zip(pairwise(widths), strides, strict=True)
        ]
        self.layers = nn.ModuleList(
            Stage(some, downsample)
            for some, downsample in zip(blocks, [*reductions, None], strict=True)
        )
        self.norm_head = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], classes)
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], channels, 1, bias=False),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            LayerNorm2d(channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """B x 3 x 16S x 16S to B x C x S x S."""
        x = self.patch_embed(images)
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)
