"""What tables 10, 11 and 14 say that needs no data: parameters, classes, operations."""

import copy
from collections.abc import Mapping

from data.classes import VOC_CLASSES, fold_classes
from model.dc_sam.config import DcSamOptions
from reproduction.recipe import Training

MILLION = 1_000_000


def shifted_classes(fold: int) -> Mapping[str, str]:
    """Table 11: the classes of PASCAL that a fold tests after training on COCO."""
    tested = fold_classes("coco2pascal", fold, "test")
    return {"test classes": ", ".join(VOC_CLASSES[number] for number in tested)}


def table_14(fusion: str) -> Mapping[str, float]:
    """Multiply-adds of an episode (in billions) and learnable parameters (in millions)."""
    from reproduction import operations  # networks: only who counts waits for them

    options = DcSamOptions(fusion=fusion)
    part = operations.count(options)
    total = 2 * part.backbone + (1 + part.branches) * part.high + part.support + part.query
    parameters = operations.learnable_parameters(options)
    return {"FLOPs (G)": total / 2, "parameters (M)": parameters / MILLION}


def table_14_vrp_sam() -> Mapping[str, float]:
    """The same of VRP-SAM with ResNet-50."""
    from model.vrp_sam.builder import build_generator
    from model.vrp_sam.config import VrpSamOptions
    from reproduction.baseline_operations import vrp_sam_parts

    frozen, learned, _ = vrp_sam_parts("resnet50")
    generator = build_generator(VrpSamOptions(), middle_channels=1536, channels=256)
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    return {"FLOPs (G)": (2 * frozen + learned) / 2, "parameters (M)": parameters / MILLION}


def table_14_pfenet() -> Mapping[str, float]:
    """The same of PFENet with ResNet-50, at the size of PASCAL."""
    import torch

    from model.checkpoint import learnable_weights
    from model.pfenet.builder import build_pfenet
    from model.pfenet.config import PfenetOptions
    from reproduction.baseline_operations import pfenet_operations

    options = PfenetOptions(random_weights=True)
    part = pfenet_operations(options.backbone, options.image_size, options.scales)
    with torch.device("meta"):
        learned = learnable_weights(build_pfenet(options))
    parameters = sum(parameter.numel() for parameter in learned.values())
    total = 2 * (part.encoder + part.neck) + part.answer
    return {"FLOPs (G)": total / 2, "parameters (M)": parameters / MILLION}


def tuned_parameters(training: Training) -> Mapping[str, float]:
    """Table 10: the parameters of SAM 2 that a training on mask tubes changes, in millions."""
    from model.backbones.backbone import BUILDERS, Backbone
    from model.dc_sam.builder import build_generator
    from model.dc_sam.network import DcSam
    from model.dc_sam.video_training import unfreeze
    from model.sam.adapters import add_adapters, unfreeze_adapters
    from reproduction import operations

    options = DcSamOptions(sam_version=2)
    backbone = Backbone("tiny", BUILDERS["tiny"]({}))
    segmenter = copy.deepcopy(operations.build_on_meta(2, options.segmenter))
    generator = build_generator(options, backbone.middle_channels, segmenter.channels)
    model = DcSam(backbone, segmenter, generator)
    if training.flags.get("lora"):
        add_adapters(segmenter.network)
        unfreeze_adapters(segmenter.network)
    else:
        unfreeze(model, str(training.flags["train_parts"]).split(","))
    learning = sum(p.numel() for p in segmenter.parameters() if p.requires_grad)
    return {"parameters (M)": learning / MILLION}
