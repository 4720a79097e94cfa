"""Building SINE from its options, from checkpoints, and from files of its published program."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from common.errors import UsageError
from model.backbones.backbone import SHRUNK, Backbone
from model.backbones.dino import Dino, vit_14
from model.backbones.sizes import TABLE_SIDE
from model.official import OFFICIAL
from model.official_paths import official_path
from model.sine.canvas import Canvas
from model.sine.config import FRESH, SineOptions
from model.sine.drawn_features import drawn_features
from model.sine.former import MFormer
from model.sine.layers import Neck
from model.sine.memory import MemoryRules
from model.sine.network import Rules, Sine
from model.sine.quick_start import begin_quickly
from model.sine.released_names import BACKBONE, import_release
from model.sine.video import VideoRules
from model.weights import load_strictly, read_weights


def build_sine(options: SineOptions) -> Sine:
    """Build SINE with released weights, or fresh ones on DINOv2's, seeded by torch.

    Raises:
        UsageError: a file is missing, broken or of another model.
    """
    if options.source is None:
        model = assemble(options, _read_backbone(options))
        model.untrained = True
        if options.size == "tiny":
            begin_quickly(model.neck, model.former)
        return model
    name = options.source if options.source in OFFICIAL else None
    path = official_path(name) if name else Path(options.source)
    size, queries, weights = import_release(read_weights(path, name), path)
    if size not in (None, options.size):
        raise UsageError(f"{path} holds DINOv2 of size {size}, not {options.size}")
    if queries != (options.queries or options.design.queries):
        raise UsageError(f"{path} has {queries} queries: give --queries {queries}")
    return restore_sine(options, weights, path)


def restore_sine(options: SineOptions, weights: Mapping[str, Tensor], source: object) -> Sine:
    """Build SINE with a checkpoint's weights; one that holds DINOv2 needs no file of it.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another configuration, or DINOv2's file is missing.
    """
    official = {
        name.removeprefix(BACKBONE): value
        for name, value in weights.items()
        if name.startswith(BACKBONE)
    }
    if official and options.size != "tiny" and not options.shrunk:
        backbone = Backbone(f"dinov2_{options.size}", _filled(options.size, official, source))
    else:
        backbone = _read_backbone(options)
    model = assemble(options, backbone)
    learned = {name: value for name, value in weights.items() if not name.startswith(BACKBONE)}
    names = {name for name, p in model.named_parameters() if not name.startswith(BACKBONE)}
    load_strictly(model, learned, source, names)
    return model


def read_release(path: Path) -> tuple[SineOptions, dict[str, Tensor]]:
    """Options and weights of a published checkpoint, for `Entry.read_published`.

    Raises:
        UsageError: the file holds anything else.
    """
    size, queries, weights = import_release(read_weights(path), path)
    return SineOptions(size=size or "l", released=FRESH, queries=queries), weights


def assemble(options: SineOptions, backbone: Backbone) -> Sine:
    """Put a backbone and fresh parts together."""
    design = options.design
    former = MFormer(
        options.queries or design.queries, design.former, options.refresh_attention_mask
    )
    canvas = Canvas(
        options.side, fit=options.fit, cell=design.cell, channel_order=options.channel_order
    )
    rules = Rules(options.threshold, options.plain_pooling, options.inclusive_boxes)
    video = VideoRules(
        MemoryRules(options.memory, options.decay, options.decay_span),
        options.echo_given,
        options.overlap,
        options.age_step,
    )
    neck = Neck(design.channels, design.former.channels)
    return Sine(backbone, neck, former, canvas, rules, video, options.video_side)


def _read_backbone(options: SineOptions) -> Backbone:
    if options.shrunk:
        return Backbone("dinov2_b", SHRUNK["dinov2_b"]())
    if options.size == "tiny":
        return drawn_features(options.random_weights)
    name = f"dinov2_{options.size}"
    if options.random_weights:
        return Backbone(name, dino(options.size))
    path = options.dino_weights or official_path(name)
    return Backbone(name, _filled(options.size, read_weights(path, name), path))


def dino(size: str) -> Dino:
    """DINOv2 of a size, without weights."""
    return Dino(vit_14(size, TABLE_SIDE), positions="hub")


def _filled(size: str, official: Mapping[str, Tensor], source: object) -> Dino:
    network = dino(size)
    load_strictly(network, network.rename_official(official), source)
    return network
