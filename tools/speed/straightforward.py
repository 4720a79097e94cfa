"""The flow that this project is compared with: one image after the other, each step by itself.

The same modules and the same weights, used as in a program that follows the paper line by line: the
query is encoded for the fusion and again for the decoder, supports one by one, and attention is
computed as matrices of all pairs.
Shapes: B batch, K shots, H and W image height and width.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.dc_sam.network import DcSam
from model.losses import mask_loss
from model.sam.sam1 import FusedAttention


@contextmanager
def explicit_attention(model: nn.Module) -> Iterator[None]:
    """Let all attention multiply queries and keys out, as the packages' own modules do.

    Nor is anything compiled.
    """
    fused = [module for module in model.modules() if isinstance(module, FusedAttention)]
    for module in fused:
        module.__class__ = Attention
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module in fused:
            module.__class__ = FusedAttention


def encode(model: DcSam, images: Tensor) -> Tensor:
    """SAM's embeddings of images, B x 3 x H x W, one at a time."""
    with explicit_attention(model), torch.no_grad():
        parts = [model.segmenter.encode(image[None]).embedding for image in images]
        return torch.cat(parts)


def segment(model: DcSam, query: Tensor, supports: Tensor, masks: Tensor) -> Tensor:
    """Logits of the queries, B x H x W; gradients flow where they are enabled.

    Args:
        query: B x 3 x H x W.
        supports: B x K x 3 x H x W.
        masks: exactly 0 or 1, B x K x H x W.
    """
    with explicit_attention(model):
        episodes = zip(query, supports, masks, strict=True)
        return torch.cat([_segment_one(model, *episode) for episode in episodes])


def training_losses(
    model: DcSam, query: Tensor, supports: Tensor, masks: Tensor, truth: Tensor
) -> Tensor:
    """The paper's loss of each episode, B; the truth is exactly 0 or 1, B x H x W."""
    logits = segment(model, query, supports, masks)
    return mask_loss(logits, truth, torch.zeros_like(truth, dtype=torch.bool), "paper")


def _segment_one(model: DcSam, query: Tensor, supports: Tensor, masks: Tensor) -> Tensor:
    image = model.encode(query[None])
    shots = [model.encode(support[None]) for support in supports]
    prompts, _ = model.prompt(image, model.encode_support(shots[0].join(shots), masks[None]))
    with torch.no_grad():
        again = model.segmenter.encode(query[None])
    return model.decode(again, model.prompt_tokens(prompts), image.size).logits
