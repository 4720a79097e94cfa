"""Building SegIC from its options, from checkpoints, and from files of its published program."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from common.errors import UsageError
from model.backbones.backbone import SHRUNK, Backbone, build_backbone
from model.backbones.dino import Dino, vit_14
from model.backbones.sizes import TABLE_SIDE
from model.official import OFFICIAL
from model.official_paths import official_path
from model.segic.config import CHANNELS, CLIP_FILES, FRESH, SegicOptions, stored_path
from model.segic.decoder import DecoderSize, SegicDecoder
from model.segic.network import Segic
from model.segic.released_names import import_release
from model.segic.text import ClipSentences, HashedSentences, Sentences, read_sentences
from model.weights import load_strictly, read_weights

_SHRUNK_CHANNELS = 48
_SMALL = {"channels": 64, "hidden": 128, "quality_hidden": 32}
"""Of the decoders of tiny and shrunk networks."""


def build_segic(options: SegicOptions) -> Segic:
    """Build SegIC with the weights of its frozen networks and a released decoder or a fresh one.

    Raises:
        UsageError: a file is missing, broken or of another model.
    """
    if options.released is None:
        model = _assemble(options)
        model.untrained = True
        return model
    name = options.released if options.released in OFFICIAL else None
    path = official_path(name) if name else Path(options.released)
    weights = import_release(read_weights(path, name), path)
    return restore_segic(options, weights, path)


def restore_segic(options: SegicOptions, weights: Mapping[str, Tensor], source: object) -> Segic:
    """Build SegIC with the decoder of a checkpoint.

    Args:
        weights: under our names.
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another size, or a file of the frozen networks is missing.
    """
    model = _assemble(options)
    load_strictly(model, weights, source, set(decoder_names(model)))
    return model


def decoder_names(model: Segic) -> list[str]:
    """What a checkpoint holds: the weights of the decoder and its random Fourier code."""
    return [f"decoder.{name}" for name in model.decoder.state_dict()]


def read_release(path: Path) -> tuple[SegicOptions, dict[str, Tensor]]:
    """Options and weights of a published checkpoint, for `Entry.read_published`.

    Raises:
        UsageError: the file holds anything else, or is of no DINOv2 that SegIC uses.
    """
    weights = import_release(read_weights(path), path)
    channels = weights["decoder.neck.0.weight"].shape[1]
    sizes = [size for size, width in CHANNELS.items() if width == channels]
    if not sizes:
        raise UsageError(f"{path} is for features of {channels} channels, which no DINOv2 here has")
    return SegicOptions(size=sizes[0], decoder=FRESH), weights


def _assemble(options: SegicOptions) -> Segic:
    small = _SMALL if options.shrunk or options.size == "tiny" else {}
    channels = _SHRUNK_CHANNELS if options.shrunk else CHANNELS[options.size]
    if options.size == "tiny":
        channels = CHANNELS["tiny"]
    return Segic(
        _backbone(options),
        SegicDecoder(DecoderSize(channels, options.side, options.patch, **small), options.told),
        _sentences(options),
        options.text,
        options.correspondence,
        options.small_masks_vanish,
        options.negative_clicks,
        options.padded_prototype,
    )


def _backbone(options: SegicOptions) -> Backbone:
    name = f"dinov2_{options.size}"
    if options.size == "tiny":
        if options.random:
            return Backbone("tiny", SHRUNK["tiny"]())
        return build_backbone("tiny", None)
    table = TABLE_SIDE if options.positions == "hub" else options.side
    if options.shrunk:
        small = {"embed_dim": _SHRUNK_CHANNELS, "depth": 2, "num_heads": 4}
        return Backbone(name, Dino(vit_14("b", table, **small), options.positions))
    network = Dino(vit_14(options.size, table), options.positions)
    if not options.random_weights:
        path = options.dino_weights or official_path(name)
        load_strictly(network, network.rename_official(read_weights(path, name)), path)
    return Backbone(name, network)


def _sentences(options: SegicOptions) -> Sentences:
    if options.hashes_words:
        return HashedSentences()
    if options.needs_clip:
        return ClipSentences.load(*map(official_path, CLIP_FILES))
    return read_sentences(stored_path())
