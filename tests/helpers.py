"""What tests share: tiny models with fixed weights, random episodes, and both steps in one call.

Shapes: B batch, K shots, T frames, S side of images.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from common.checkpoint import save_checkpoint
from model.checkpoint import learnable_weights
from model.dc_sam.builder import build_dc_sam
from model.dc_sam.config import DcSamOptions
from model.dc_sam.network import DcSam
from model.sam.sam2 import Sam2

TINY = DcSamOptions(
    backbone="tiny", sam_model="tiny", random_weights=True, image_size=64, num_query=5
)
"""A model that is built in a second and needs no file."""


def tiny_model(version: int = 1, lively: bool = False, **options: object) -> DcSam:
    """DC-SAM in evaluation mode, of seeded random weights.

    Args:
        version: of SAM.
        lively: BatchNorm statistics that are not the initial ones, and a SAM 2 whose memory counts.
        options: other flags than those of TINY.
    """
    flags = {**vars(TINY), "sam_version": version, **options}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_dc_sam(DcSamOptions(**flags))
        if lively:
            enliven_backbone(model.backbone)
            if version == 2:
                enliven_memory(model.segmenter.network)
    return model.eval()


def save_tiny_checkpoint(path: Path, version: int = 1, **options: object) -> Path:
    """The checkpoint of a tiny model that was never trained."""
    flags = DcSamOptions(**{**vars(TINY), "sam_version": version, **options})
    weights = learnable_weights(tiny_model(version, **options))
    save_checkpoint(path, weights, {"method": "dc_sam", "model": flags.to_json()})
    return path


def sam2_without_weights(name: str, **options: object) -> Sam2:
    """A variant of any size in no time, of tensors that hold no numbers."""
    linspace = torch.linspace  # the package reads its drop rates off a tensor
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "linspace", lambda *ends: linspace(*ends, device="cpu"))
        return Sam2(name, **options)


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """A number of bytes after which writing fails, as on a disk without room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def coloured_cells(seed: int, size: tuple[int, int] = (70, 50)) -> np.ndarray:
    """A picture of 7 x 5 cells of random colours, of some width and height."""
    cells = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize(size, Image.Resampling.NEAREST))


def save_reference(folder: Path) -> tuple[object, ...]:
    """Write reference.png and mask.png, and return the flags that name them."""
    Image.fromarray(coloured_cells(9)).save(folder / "reference.png")
    mask = np.zeros((50, 70), dtype=np.uint8)
    mask[10:30, 20:50] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return "--reference", folder / "reference.png", folder / "mask.png"


@torch.no_grad()
def enliven_backbone(backbone: nn.Module) -> None:
    """Weights and statistics with which features differ from place to place."""
    generator = torch.Generator().manual_seed(0)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


@torch.no_grad()
def enliven_memory(network: nn.Module) -> None:
    """Give an untrained SAM 2 weights of unit gain, so that its memory counts."""
    for name, value in network.named_parameters():
        if name.startswith("image_encoder."):
            continue
        if value.dim() > 1:
            value.normal_(0, value[0].numel() ** -0.5)
        elif name.endswith("gamma"):
            value.fill_(0.1)
    network.maskmem_tpos_enc.normal_(0, 0.2)
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].weight.mul_(0.1)
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)


class Episodes(NamedTuple):
    """Random episodes."""

    query: Tensor
    """B x 3 x S x S."""
    support: Tensor
    """B x K x 3 x S x S."""
    masks: Tensor
    """B x K x S x S, exactly 0 or 1, neither empty nor full."""


def random_episodes(seed: int, batch: int = 2, shots: int = 1, side: int = 64) -> Episodes:
    """Noise for images and blocks of 8 pixels for masks."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(batch, shots, side // 8, side // 8, generator=generator) > 0.6
    cells[..., 2:4, 2:4] = True
    cells[..., 6:, 6:] = False
    return Episodes(
        torch.randn(batch, 3, side, side, generator=generator),
        torch.randn(batch, shots, 3, side, side, generator=generator),
        cells.float().repeat_interleave(8, -1).repeat_interleave(8, -2),
    )


class BothSteps(NamedTuple):
    """What DC-SAM makes of episodes, step by step; shapes as in `model.dc_sam.network`."""

    logits: Tensor
    pseudo_logits: Tensor
    quality: Tensor
    object_logit: Tensor


def both_steps(model: DcSam, query: Tensor, support: Tensor, masks: Tensor) -> BothSteps:
    """Encode, prompt, decode, refine, decode; gradients flow where they are enabled."""
    encoded = model.encode_support(model.encode(support.flatten(0, 1), support_only=True), masks)
    images = model.encode(query)
    prompts, pseudo_logits = model.prompt(images, encoded)
    decoded = model.decode(images.sam, model.prompt_tokens(prompts), images.size)
    return BothSteps(decoded.logits, pseudo_logits, decoded.quality, decoded.object_logit)
