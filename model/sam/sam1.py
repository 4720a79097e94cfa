"""Segment Anything behind the segmenter interface, made of the `segment_anything` package's parts.

The state dict has the names of the official checkpoint files.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor, nn
from torch.nn import functional as F

from common.distributed import bound_by_cache
from model.sam.segmenter import DecodedMasks, Segmenter, SegmenterFeatures
from model.sam.tiny_vit import TinyViT


@dataclass(frozen=True)
class SamSize:
    """Sizes of one variant of SAM; the defaults are those which vit_b, vit_l and vit_h share."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    patch: int = 16
    window: int = 14
    mlp_ratio: float = 4.0
    channels: int = 256
    decoder_mlp: int = 2048
    quality_hidden: int = 256
    takes_masks: bool = True
    """Whether it was trained with masks for prompts."""

    def image_encoder(self) -> nn.Module:
        """Build the encoder with random weights."""
        encoder = ImageEncoderViT(
            img_size=self.image_size,
            patch_size=self.patch,
            embed_dim=self.width,
            depth=self.depth,
            num_heads=self.heads,
            mlp_ratio=self.mlp_ratio,
            out_chans=self.channels,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=self.window,
            global_attn_indexes=self.global_blocks,
        )
        for block in encoder.blocks:  # these keep their own weights
            block.attn.__class__ = FusedAttention
        return encoder

    def shrunk(self) -> "SamSize":
        """The same with few and narrow layers, for small images."""
        return replace(self, **_SHRUNK)


@dataclass(frozen=True)
class MobileSamSize(SamSize):
    """Sizes of MobileSAM; its encoder is a TinyViT, of four stages."""

    width: int = 320
    depth: int = 12
    heads: int = 10
    global_blocks: tuple[int, ...] = ()
    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    stage_heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)
    classes: int = 1000

    def image_encoder(self) -> nn.Module:
        return TinyViT(
            self.widths, self.depths, self.stage_heads, self.windows, self.channels, self.classes
        )

    def shrunk(self) -> "MobileSamSize":
        stages = {"widths": (16, 32, 32, 64), "depths": (1, 1, 1, 1), "stage_heads": (1, 2, 2, 4)}
        return replace(super().shrunk(), classes=10, **stages)


SIZES = {
    "vit_b": SamSize(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "vit_l": SamSize(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "vit_h": SamSize(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
    "vit_t": MobileSamSize(),
    "tiny": SamSize(
        width=128,
        depth=5,
        heads=4,
        global_blocks=(2, 4),
        image_size=128,
        patch=8,
        window=8,
        mlp_ratio=2.0,
        channels=128,
        decoder_mlp=256,
        quality_hidden=64,
        takes_masks=False,
    ),
}
_SHRUNK = {
    "width": 64,
    "depth": 2,
    "heads": 4,
    "global_blocks": (1,),
    "image_size": 256,
    "channels": 64,
    "decoder_mlp": 128,
    "quality_hidden": 32,
}
"""What a shrunk variant has in the place of its own sizes."""


BIAS_NUMBERS = 4 * 2**20
"""How many numbers of a bias are made at once where caches matter: more would be written to memory
that the system has to hand out anew each time, and read back from there."""


class FusedAttention(Attention):
    """The package's attention computed by `scaled_dot_product_attention`.

    The relative position enters as the additive bias q . R_h + q . R_w of each query and key.
    """

    def forward(self, x: Tensor) -> Tensor:
        """B x H x W x width to the same shape."""
        batch, height, width, channels = x.shape
        q, k, v = (
            self.qkv(x)
            .view(batch, height * width, 3, self.num_heads, channels // self.num_heads)
            .permute(2, 0, 3, 1, 4)
        )  # each B heads H*W channels/heads
        if self.use_rel_pos:
            attended = self._attend(q, k, v, height, width)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(attended.transpose(1, 2).reshape(batch, height, width, channels))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """With the bias, some heads and rows of queries at a time; B x heads x H*W x D."""
        grid = q.unflatten(2, (height, width))
        rows = get_rel_pos(height, height, self.rel_pos_h)
        columns = get_rel_pos(width, width, self.rel_pos_w)
        # contiguous: else the sum has another order, and each kernel copies the whole bias
        along_y = torch.einsum("bnhwc,hkc->bnhwk", grid, rows).contiguous().flatten(0, 1)
        along_x = torch.einsum("bnhwc,wkc->bnhwk", grid, columns).contiguous().flatten(0, 1)
        queries, keys, values = (tensor.flatten(0, 1) for tensor in (grid, k, v))
        heads, lines = self._at_once(q.device, len(keys), height, width)

        def part(some: slice, line: int) -> Tensor:
            lot = (some, slice(line, line + lines))
            bias = along_y[lot].unsqueeze(-1) + along_x[lot].unsqueeze(-2)
            return F.scaled_dot_product_attention(
                queries[lot].flatten(1, 2)[None],
                keys[None, some],
                values[None, some],
                attn_mask=bias.flatten(3).flatten(1, 2)[None],
                scale=self.scale,
            )[0]

        parts = []
        for head in range(0, len(keys), heads):
            some = slice(head, head + heads)
            parts.append(torch.cat([part(some, line) for line in range(0, height, lines)], dim=1))
        return torch.cat(parts).unflatten(0, q.shape[:2])

    @staticmethod
    def _at_once(device: torch.device, heads: int, height: int, width: int) -> tuple[int, int]:
        """How many heads, and how many rows of their queries."""
        if not bound_by_cache(device) or torch.compiler.is_exporting():
            return heads, height
        line = width * height * width
        return max(1, BIAS_NUMBERS // (height * line)), min(height, max(1, BIAS_NUMBERS // line))


class SamDecoder(Segmenter):
    """SAM's prompt encoder and mask decoder: all that draws masks in an embedding."""

    def __init__(self, size: SamSize, image_encoder: nn.Module | None = None) -> None:
        """Build with random weights.

        Args:
            image_encoder: what gives the embedding; None: nothing here does.
        """
        super().__init__()
        self.image_size, self.channels = size.image_size, size.channels
        grid = size.image_size // size.patch
        if image_encoder is not None:
            self.image_encoder = image_encoder  # before the others, as in the official files
        self.prompt_encoder = PromptEncoder(
            embed_dim=size.channels,
            image_embedding_size=(grid, grid),
            input_image_size=(size.image_size, size.image_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=size.channels,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=size.channels, num_heads=8, mlp_dim=size.decoder_mlp
            ),
            iou_head_hidden_dim=size.quality_hidden,
        )

    def decode_all(
        self, features: SegmenterFeatures, tokens: Tensor, dense: Tensor | None = None
    ) -> DecodedMasks:
        return self.decode_with(self.mask_decoder.transformer, features, tokens, dense)

    def decode_with(
        self,
        transformer: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
        features: SegmenterFeatures,
        tokens: Tensor,
        dense: Tensor | None = None,
    ) -> DecodedMasks:
        """`decode_all` with another transformer in the place of the decoder's own.

        The package's decoder repeats one image per prompt; here every prompt has its own.

        Args:
            transformer: from the image and its position, each B x C x S x S, and the decoder's
                tokens before the prompt's, B x N x C, to tokens and image tokens, B x S*S x C.
        """
        decoder, encoder = self.mask_decoder, self.prompt_encoder
        batch = tokens.shape[0]
        outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([outputs.expand(batch, -1, -1), tokens], dim=1)
        if dense is None:
            dense = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        image = features.embedding + dense
        position = self.dense_position().expand(batch, -1, -1, -1)
        tokens, image_tokens = transformer(image, position, tokens)
        image = image_tokens.transpose(1, 2).unflatten(2, image.shape[-2:])
        pixels = decoder.output_upscaling(image)  # B C/8 4S 4S
        filters = torch.stack(
            [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)],
            dim=1,
        )  # B 4 C/8
        return DecodedMasks(
            logits=torch.einsum("bmc,bchw->bmhw", filters, pixels),
            quality=decoder.iou_prediction_head(tokens[:, 0]),
            object_logit=tokens.new_full((batch, 1), 10.0),
        )


class Sam(SamDecoder):
    """Segment Anything."""

    def __init__(self, name: str, size: SamSize | None = None, shrunk: bool = False) -> None:
        """Build a variant with random weights.

        Args:
            name: one of `SIZES`, or any name if the size is given.
            shrunk: few and narrow layers, for small images.
        """
        size = size or SIZES[name]
        if shrunk and name != "tiny":
            size = size.shrunk()
        super().__init__(size, size.image_encoder())
        self.name = name
        self.takes_masks = size.takes_masks
        """Whether `dense` prompts mean anything to it."""

    def encode_images(self, images: Tensor) -> SegmenterFeatures:
        return SegmenterFeatures(self.image_encoder(images))
