"""What SegIC is made of: its flags, its builder, and the files of its published program."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from common.cli import option
from common.errors import UsageError
from model.backbones.backbone import SHRUNK, Backbone, build_backbone
from model.backbones.dino import PATCH, POSITIONS, TABLE_SIDE, Dino, vit_14
from model.method_options import OfficialNetworksOptions, trained_on_all
from model.segic.decoder import INSTRUCTIONS, DecoderSize, SegicDecoder
from model.segic.hints import CORRESPONDENCES
from model.segic.network import Segic
from model.segic.released_names import import_release
from model.segic.text import (
    CLIP_FILES,
    TEXTS,
    ClipSentences,
    HashedSentences,
    Sentences,
    read_sentences,
    stored_path,
)
from model.weights import OFFICIAL, load_strictly, official_path, read_weights

FRESH = "fresh"
RELEASED = "segic_l_160k"
"""The decoder of the paper's main table."""
_PAPER = {
    "decoder": FRESH,
    "sources": "benchmark,ade20k_semantic,coco_instance,lvis",
    "episodes_per_epoch": 160_000,
    "epochs": 12,
    "schedule": "step",
    "drop_after": 10,
    "bsz": 4,
    "accumulate": 8,
    "lr": 1e-4,
    "weight_decay": 1e-4,
}
_TINY = {
    **_PAPER,
    "size": "tiny",
    "sources": "benchmark,coco_instance",
    "points": 1024,
    "episodes_per_epoch": 400,
    "epochs": 4,
    "drop_after": 3,
    "bsz": 4,
    "accumulate": 1,
    "lr": 1e-3,
}
_BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": dict.fromkeys(_BENCHMARKS, _PAPER),
    "tiny": dict.fromkeys(_BENCHMARKS, _TINY),
}
"""Preset -> benchmark -> defaults of flags; batches of 32 as in the release, on one GPU."""
CHANNELS = {"b": 768, "l": 1024, "g": 1536, "tiny": 192}
"""Of each backbone's map."""
_TINY_SIDE, _TINY_PATCH = 128, 8
_SHRUNK_CHANNELS = 48
_SMALL = {"channels": 64, "hidden": 128, "quality_hidden": 32}
"""Of the decoders of tiny and shrunk networks."""


@dataclass(frozen=True)
class SegicOptions(OfficialNetworksOptions):
    """What the model is made of (SegIC)."""

    method: ClassVar[str] = "segic"

    size: str = option(
        "l", "DINOv2 of which size, or the tiny network that knows drawings", tuple(CHANNELS)
    )
    decoder: str | None = option(
        None,
        "released decoder: segic_l_160k, segic_l_80k or a file; fresh: begin untrained "
        f"(default: {RELEASED}, or fresh where DINOv2 is not the official l)",
    )
    text: str = option(
        "name",
        "what is said of a concept in pictures: its name, which needs CLIP; nothing; or that "
        "instances are to be segmented",
        TEXTS,
    )
    image_size: int | None = option(
        None, "side of the square into which pictures fit (default: 896; tiny: 128)"
    )
    correspondence: str = option(
        "mean_feature",
        "compare a query with the mean feature of the object, as the weights know it, or with all "
        "of them, as the paper says",
        CORRESPONDENCES,
    )
    instructions: str = option(
        ",".join(INSTRUCTIONS),
        "which hints the decoder is given, joined by commas; none: no hint at all. Released "
        "decoders know all three",
    )
    positions: str = option(
        "hub", "how DINOv2's table of positions is resized: hub, as the weights know it", POSITIONS
    )
    negative_clicks: bool = option(
        False,
        "in videos tell each object where the others are, by a vector that was never trained, as "
        "the released program does",
    )
    padded_prototype: bool = option(
        False,
        "in videos remember what was found beside the frame too, as the released program does",
    )
    small_masks_vanish: bool = option(
        False,
        "let a reference's mask that is smaller than a patch say nothing, as the released program "
        "does",
    )
    dino_weights: Path | None = option(
        None, "file of DINOv2 (default: the official one in the folder of weights)"
    )

    @property
    def told(self) -> tuple[str, ...]:
        """The instructions by name."""
        return () if self.instructions == "none" else tuple(self.instructions.split(","))

    @property
    def side(self) -> int:
        """Of the square."""
        if self.image_size is not None:
            return self.image_size
        return _TINY_SIDE if self.size == "tiny" else 896

    @property
    def patch(self) -> int:
        """Pixels of a cell's side."""
        return _TINY_PATCH if self.size == "tiny" else PATCH

    @property
    def released(self) -> str | None:
        """The released decoder to begin with, a name or a file; None: an untrained one."""
        if self.decoder is not None:
            return None if self.decoder == FRESH else self.decoder
        return None if self.random or self.size != "l" else RELEASED

    @property
    def hashes_words(self) -> bool:
        """Whether words are drawn by their letters: tiny and untrained networks have no CLIP."""
        return self.random or self.size == "tiny"

    @property
    def needs_clip(self) -> bool:
        """Whether sentences come of CLIP itself, not of the file of stored vectors."""
        return not self.hashes_words and (self.text == "name" or not stored_path().is_file())

    def trained_on(self) -> dict[str, Any] | None:
        """COCO's masks of classes and of objects, ADE20K and LVIS."""
        if self.released is None:
            return None
        return trained_on_all("ade20k_semantic", "coco_instance", "lvis")

    def to_json(self) -> dict[str, Any]:
        """As everywhere; of a decoder from a file it says the file's name."""
        return {**super().to_json(), "decoder": self.decoder and Path(self.decoder).name}

    def files(self) -> tuple[str, ...]:
        """Names of the official files that building reads."""
        dino = () if self.hashes_words or self.dino_weights else (f"dinov2_{self.size}",)
        released = (self.released,) if self.released in OFFICIAL else ()
        return dino + released + (CLIP_FILES if self.needs_clip else ())

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        step = 4 * self.patch  # the map of correspondence has a quarter of the side
        if self.side < 2 * self.patch or self.side % self.patch or self.side % 4:
            found.append(
                f"--image_size must be a multiple of {self.patch} and of 4, such as {7 * step}, "
                f"not {self.side}"
            )
        if not {*self.told} <= {*INSTRUCTIONS}:
            found.append(
                f"--instructions: some of {', '.join(INSTRUCTIONS)} joined by commas, or none, not "
                f"{self.instructions}"
            )
        found += self.useless_files(dino_weights=self.dino_weights)
        if self.size == "tiny" and self.dino_weights:
            found.append("--size tiny has no DINOv2, so no use for --dino_weights")
        if self.released is not None and (self.shrunk or self.size == "tiny"):
            flag = "--shrunk" if self.shrunk else "--size tiny"
            found.append(f"{flag} leaves no use for a released --decoder")
        return found


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
