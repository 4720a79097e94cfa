"""What SINE is made of: its flags."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from common.cli import option
from model.backbones.sizes import PATCH
from model.method_options import (
    LARGEST_SIDE,
    MOST_QUERIES,
    POINTS,
    OfficialNetworksOptions,
    trained_on_all,
)
from model.official import OFFICIAL
from model.sine.decays import DECAYS

OVERLAPS = ("best", "score", "last")
"""Which of several objects has a pixel: that of the highest logit there, that of the highest score
in the frame, or the one that came last."""
FITS = ("whole", "squashed", "video")
"""The longer side fills the canvas, as in training; or the picture is squashed to a square of 37 in
64 tokens, as few-shot benchmarks were published; or it comes by way of half of that size, as
videos were."""
CHANNEL_ORDERS = ("rgb", "bgr")
RELEASE = "sine"
PUBLISHED_SOURCES = ("ade20k_panoptic", "coco_panoptic", "objects365")
"""What the released weights saw beside COCO's masks of classes."""
FRESH = "fresh"
_PAPER = {
    "released": FRESH,
    "sources": "coco_panoptic=4,ade20k_panoptic=4,coco_instance=5,objects365=15",
    "episodes_per_epoch": 64_000,
    "epochs": 50,
    "bsz": 2,
    "accumulate": 32,
    "lr": 1e-4,
    "schedule": "linear",
    "warmup": 100,
    "weight_decay": 0.05,
    "undecayed": "vectors",
    "clip_norm": 1.0,
}
_TINY = {
    **_PAPER,
    "size": "tiny",
    "sources": "coco_instance",
    "points": 512,
    "least_scale": 0.7,
    "largest_scale": 1.7,
    "refresh_attention_mask": True,
    "episodes_per_epoch": 800,
    "epochs": 10,
    "bsz": 4,
    "accumulate": 1,
    "lr": 1e-3,
    "warmup": 20,
}
_BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": dict.fromkeys(_BENCHMARKS, _PAPER),
    "tiny": dict.fromkeys(_BENCHMARKS, _TINY),
}
"""Preset -> benchmark -> defaults of flags; batches of 64 as in the release, on one GPU."""


@dataclass(frozen=True)
class FormerSize:
    """How large the transformer is."""

    channels: int = 256
    heads: int = 8
    hidden: int = 2048
    layers: int = 6


PUBLISHED_SIZE = FormerSize()


@dataclass(frozen=True)
class Size:
    """The defaults of one backbone."""

    channels: int
    """That it gives."""
    canvas: int = 896
    video_canvas: int = 1036
    cell: int = PATCH
    queries: int = 200
    former: FormerSize = PUBLISHED_SIZE


PLACE_CHANNELS = 64
"""Of the tiny size's features those that say where a place is, see `model.sine.drawn_features`; 192
are of the tiny backbone, 128 of the tiny SAM."""
SIZES = {
    "l": Size(1024),
    "b": Size(768),
    "s": Size(384),
    "tiny": Size(
        192 + 128 + PLACE_CHANNELS,
        128,
        128,
        8,
        20,
        FormerSize(channels=128, heads=8, hidden=512, layers=3),
    ),
}
_SHRUNK = Size(48, 112, 112, PATCH, 10, FormerSize(channels=32, heads=4, hidden=64, layers=2))


@dataclass(frozen=True)
class SineOptions(OfficialNetworksOptions):
    """What the model is made of (SINE)."""

    method: ClassVar[str] = "sine"

    size: str = option(
        "l", "DINOv2 that gives the features; tiny: the repository's own networks", tuple(SIZES)
    )
    released: str | None = option(
        None,
        "weights of the neck and M-Former: a file of the published program, or fresh (default: the "
        "official file, which exists for size l)",
    )
    dino_weights: Path | None = option(
        None, "file of DINOv2, where the weights do not hold it (default: the official one)"
    )
    fit: str = option(
        "whole",
        "pictures fill the canvas, or are squashed to 37 in 64 of it, as few-shot benchmarks were "
        "published",
        FITS[:2],
    )
    image_size: int | None = option(
        None, "side of the canvas for pictures (default: 896; tiny: 128)", most=LARGEST_SIDE
    )
    video_size: int | None = option(
        None,
        "and for videos whose objects are given by masks (default: 1036; tiny: 128)",
        most=LARGEST_SIDE,
    )
    queries: int | None = option(
        None, "instance queries (default: 200; tiny: 20)", most=MOST_QUERIES
    )
    threshold: float = option(0.7, "score above which a pixel belongs to a class")
    refresh_attention_mask: bool = option(
        False, "let every layer look where the masks of the one before are, as in Mask2Former"
    )
    plain_pooling: bool = option(
        False, "let masks of references vanish that are too thin, as the released program does"
    )
    inclusive_boxes: bool = option(
        False, "boxes end with the index of their last pixel, as in the released program"
    )
    channel_order: str = option(
        "rgb", "bgr: exchange colours, as the released instance evaluation does", CHANNEL_ORDERS
    )
    memory: int = option(6, "frames that are remembered of an object, the first one included")
    decay: str = option(
        "linear", "how the scores of remembered frames fade with their age", tuple(DECAYS)
    )
    decay_span: float = option(20.0, "age, in frames, by which ages are divided")
    age_step: float = option(
        1.0,
        "age from one frame to the next; the released program takes it of file names: 5 on "
        "YouTube-VOS",
    )
    overlap: str = option(
        "best",
        "which object of a video has a pixel: that of the highest logit there, or of the highest "
        "score in the frame, or as in the released program the one that came last",
        OVERLAPS,
    )
    echo_given: bool = option(
        True,
        "on frames with given masks show, and remember, what is found there, as the released "
        "program does",
        flag="--no_echo_given",
    )

    @property
    def design(self) -> Size:
        """The defaults of its size."""
        return _SHRUNK if self.shrunk else SIZES[self.size]

    @property
    def side(self) -> int:
        """Of the canvas."""
        return self.image_size or self.design.canvas

    @property
    def video_side(self) -> int:
        """Of the canvas of videos."""
        return self.video_size or self.design.video_canvas

    @property
    def source(self) -> str | None:
        """The released weights, a name or a file; None: fresh ones."""
        if self.released is not None:
            return None if self.released == FRESH else self.released
        return None if self.random or self.size != "l" else RELEASE

    def files(self) -> tuple[str, ...]:
        if self.random or self.size == "tiny":
            return ()
        if self.source is None:
            return () if self.dino_weights else (f"dinov2_{self.size}",)
        return (self.source,) if self.source in OFFICIAL else ()

    def lacks(self) -> str | None:
        if self.source is not None or self.random or self.size == "tiny":  # to try things with
            return None
        if self.size == "l":
            return "its weights are to be fresh"
        return f"weights were published for size l, none for {self.size}"

    def trained_on(self) -> dict[str, Any] | None:
        return trained_on_all(*PUBLISHED_SOURCES) if self.source else None

    @staticmethod
    def data_of(released: str) -> dict[str, Any]:
        return trained_on_all(*PUBLISHED_SOURCES) if released == RELEASE else {}

    def to_json(self) -> dict[str, Any]:
        """As everywhere; of released weights from a file it says the file's name."""
        stored = super().to_json()
        return {**stored, "released": self.released and Path(self.released).name}

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found, cell = [], self.design.cell
        for flag, side in (("--image_size", self.side), ("--video_size", self.video_side)):
            if side < 8 * cell or side % cell:
                least = 8 * cell
                found.append(f"{flag} must be a multiple of {cell} from {least} on, not {side}")
        if self.memory < 2:
            found.append(f"--memory must be at least 2 frames, not {self.memory}")
        if not (self.decay_span > 0 and self.age_step > 0):
            found.append("--decay_span and --age_step must be above 0")
        if self.queries is not None and self.queries < 1:
            found.append(f"--queries must be at least 1, not {self.queries}")
        if not self.threshold > 0:
            found.append(f"--threshold must be above 0, not {self.threshold}")
        found += self.useless_files(
            dino_weights=self.dino_weights, released=self.released not in (None, FRESH)
        )
        if self.size == "tiny" and self.dino_weights:
            found.append("--size tiny has no DINOv2, so no use for --dino_weights")
        return found


@dataclass(frozen=True)
class SineLossOptions:
    """What a training minimises (SINE)."""

    points: int = option(POINTS, "points at which a mask is compared")
    least_scale: float = option(
        0.1, "least scale of views; at 1 the longer side of a picture fills the canvas"
    )
    largest_scale: float = option(2.0, "and the largest")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.points < 4:
            found.append(f"--points must be at least 4, not {self.points}")
        if not 0 < self.least_scale <= self.largest_scale < math.inf:
            scales = f"{self.least_scale} and {self.largest_scale}"
            found.append(f"--least_scale is above 0 and not over --largest_scale: {scales}")
        return found
