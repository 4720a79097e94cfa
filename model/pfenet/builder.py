"""PFENet from its flags, and from a checkpoint's weights."""

from torch import Tensor

from model.backbones.backbone import frozen_backbone
from model.pfenet.config import PfenetOptions
from model.pfenet.network import Pfenet
from model.weights import load_strictly

SHRUNK_WIDTH = 8
"""The most channels that learn where everything is small."""


def build_pfenet(options: PfenetOptions, read_backbone: bool = True) -> Pfenet:
    """Build PFENet, what learns seeded by torch.

    Args:
        read_backbone: False leaves the backbone random, for a checkpoint that holds its weights.

    Raises:
        UsageError: the backbone's file is missing, broken or of another network.
    """
    random = options.random_weights or not read_backbone
    backbone = frozen_backbone(options.backbone, options.backbone_weights, random, options.shrunk)
    width = min(options.width, SHRUNK_WIDTH) if options.shrunk else options.width
    return Pfenet(backbone, options.image_size, options.scales, width)


def restore_pfenet(options: PfenetOptions, weights: dict[str, Tensor], source: object) -> Pfenet:
    """Build PFENet with a checkpoint's weights; a backbone that it holds needs no file.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another configuration, or the backbone's file is missing.
    """
    has_backbone = any(name.startswith("backbone.") for name in weights)
    model = build_pfenet(options, read_backbone=not has_backbone)
    names = [n for n in model.state_dict() if has_backbone or not n.startswith("backbone.")]
    load_strictly(model, weights, source, names)
    return model
