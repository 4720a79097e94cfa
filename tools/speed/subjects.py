"""What is measured: DC-SAM of random weights, as large as the published networks or cut down.

Time does not depend on what weights say. Shapes: B batch, K shots, S side of images.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.backbones.backbone import BUILDERS, Backbone
from model.dc_sam.builder import build_generator
from model.dc_sam.config import DcSamOptions
from model.dc_sam.network import DcSam
from model.sam import sam1
from model.sam.names import SAM_MODELS
from model.sam.segmenter import Segmenter
from model.sam.variants import build_segmenter

QUARTER = {
    "vit_b": {"depth": 3, "global_blocks": (2,)},
    "vit_l": {"depth": 6, "global_blocks": (5,)},
    "vit_h": {"depth": 8, "global_blocks": (7,)},
}
"""What is left of an encoder whose blocks repeat: a quarter, with the same share of global ones."""


@dataclass(frozen=True)
class Subject:
    """A model, and inputs of the size that it takes."""

    title: str
    model: DcSam
    query: Tensor
    """B x 3 x S x S."""
    supports: Tensor
    """B x K x 3 x S x S."""
    masks: Tensor
    """B x K x S x S, exactly 0 or 1."""

    @property
    def truth(self) -> Tensor:
        """What the query shows in a training step, B x S x S."""
        return self.masks[:, 0]


def build_subject(
    name: str, device: torch.device, full: bool, batch: int = 1, shots: int = 1
) -> Subject:
    """DC-SAM around a variant of SAM or SAM 2, in evaluation mode.

    Args:
        name: of the variant; "tiny" is the first SAM's.
        full: all blocks of encoders whose blocks repeat; False: a quarter.
    """
    version = 1 if name in SAM_MODELS[1] else 2
    tiny = name == "tiny"
    options = DcSamOptions(
        backbone="tiny" if tiny else "resnet50",
        sam_version=version,
        sam_model=name,
        random_weights=True,
        image_size=128 if tiny else 512,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone(options.backbone, BUILDERS[options.backbone]({}))
        segmenter, title = _segmenter(version, name, full)
        generator = build_generator(options, backbone.middle_channels, segmenter.channels)
        model = DcSam(backbone, segmenter, generator, options.position, options.image_size)
        model = model.eval().to(device)
        inputs = random_episodes(options.image_size, batch, shots)
    return Subject(title, model, *(tensor.to(device) for tensor in inputs))


def random_episodes(side: int, batch: int, shots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise for images, and masks of a sixth of an image."""
    masks = torch.zeros(batch, shots, side, side)
    masks[..., side // 4 : side // 2, side // 4 : -side // 8] = 1
    return torch.randn(batch, 3, side, side), torch.randn(batch, shots, 3, side, side), masks


def _segmenter(version: int, name: str, full: bool) -> tuple[Segmenter, str]:
    if full or name not in QUARTER:
        return build_segmenter(version, name, None), name
    size = replace(sam1.SIZES[name], **QUARTER[name])
    return sam1.Sam(name, size), f"{name}, a quarter"
