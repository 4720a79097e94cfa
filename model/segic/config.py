"""What SegIC is made of: its flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from common.cli import option
from model.backbones.sizes import PATCH, POSITIONS
from model.method_options import LARGEST_SIDE, POINTS, OfficialNetworksOptions, trained_on_all
from model.official import OFFICIAL
from model.official_paths import weights_folder

RULES = ("kept_aspect", "release")
TEXTS = ("name", "none", "instance")
"""What is said of a concept in pictures: its name, nothing, or `INSTANCE`."""
CLIP_FILES = ("clip_l", "clip_l_tokenizer")
"""Names of the official files of CLIP's text tower, see `model.official`."""
CORRESPONDENCES = ("mean_feature", "dense")
"""What a query's features are compared with. *mean_feature*: the mean of the object's features, as
in the released program. *dense*: every one of them, and the mean over the answers, as the paper has
it."""
INSTRUCTIONS = ("geometric", "visual", "meta")
"""What hints are: the map with its click, mean features, and words."""
PUBLISHED_SOURCES = ("ade20k_semantic", "coco_instance", "lvis")
"""What released decoders saw beside COCO's masks of classes."""
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
        None,
        "side of the square into which pictures fit (default: 896; tiny: 128)",
        most=LARGEST_SIDE,
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
        return None if self.released is None else trained_on_all(*PUBLISHED_SOURCES)

    @staticmethod
    def data_of(released: str) -> dict[str, Any]:
        return trained_on_all(*PUBLISHED_SOURCES) if released.startswith("segic_l_") else {}

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


def stored_path() -> Path:
    """Where the file of stored vectors lies or belongs."""
    return weights_folder() / "segic_sentences.safetensors"


@dataclass(frozen=True)
class SegicLossOptions:
    """What a training minimises (SegIC)."""

    points: int = option(POINTS, "points of each mask that are compared")
    text_share: float = option(0.75, "how often a class is named, else nothing is said")
    box_share: float = option(
        0.5, "how often the true box is told as well, as the release does and the paper does not"
    )
    negative_share: float = option(0.5, "how often objects are told of the others in the picture")
    reversion: bool = option(
        True, "learn the way there only, not back from what was found", flag="--no_reversion"
    )
    most_objects: int = option(19, "objects of a picture that are learned together, at most")
    views: str = option(
        "kept_aspect",
        "how views are made; release: references are squashed to squares, groups count as "
        "objects, and views that show nothing are kept",
        RULES,
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = [
            f"--{name} must be from 0 to 1, not {getattr(self, name)}"
            for name in ("text_share", "box_share", "negative_share")
            if not 0 <= getattr(self, name) <= 1
        ]
        found += [
            f"--{name} must be at least {least}, not {getattr(self, name)}"
            for name, least in (("points", 4), ("most_objects", 1))
            if getattr(self, name) < least
        ]
        return found
