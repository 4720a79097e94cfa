"""What Matcher is made of: its flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from common.cli import option
from model.backbones.sizes import SIZES
from model.matcher.settings import OVERLAPS, SETTINGS
from model.method_options import OfficialNetworksOptions
from model.sam.names import DEFAULT_SAM_MODEL, SAM_MODELS


@dataclass(frozen=True)
class MatcherOptions(OfficialNetworksOptions):
    """What the model is made of (Matcher)."""

    method: ClassVar[str] = "matcher"

    setting: str = option(
        "objects",
        "what is looked for: objects of a class, one large object (fss), or parts of objects",
        tuple(SETTINGS),
    )
    size: str = option(
        "l", "DINOv2 of which size, or the tiny networks that know drawings", (*SIZES, "tiny")
    )
    sam_model: str | None = option(
        None, "variant of SAM: vit_b, vit_l, vit_h or tiny (default: largest; with size tiny, tiny)"
    )
    dino_weights: Path | None = option(
        None, "file of DINOv2 (default: the official one in the folder of weights)"
    )
    sam_weights: Path | None = option(
        None, "file of SAM (default: the official one in the folder of weights)"
    )
    prompt_seed: int = option(0, "seed of the prompts that are drawn at random")
    threshold: float = option(
        0.5, "masks count above it when they are resized; the released demo has 0"
    )
    keep_empty: bool = option(
        False, "score empty proposals as the whole picture, as the released program does"
    )
    centre_for_empty: bool = option(
        False, "let the middle stand for an empty reference, as the released program does"
    )
    video_overlap: str = option(
        "best",
        "which object of a video has a pixel that several claim: that of the highest score, or "
        "(the released program) the one that came last",
        OVERLAPS,
    )

    @property
    def segmenter(self) -> str:
        """The variant of SAM."""
        return self.sam_model or ("tiny" if self.size == "tiny" else DEFAULT_SAM_MODEL[1])

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.segmenter not in SAM_MODELS[1]:
            names = ", ".join(SAM_MODELS[1])
            found.append(f"--sam_model {self.segmenter} is no SAM version 1; there are {names}")
        if not 0 <= self.threshold < 1:
            found.append(f"--threshold must be from 0 to below 1, not {self.threshold}")
        if self.prompt_seed < 0:
            found.append(f"--prompt_seed cannot be negative, as {self.prompt_seed} is")
        found += self.useless_files(dino_weights=self.dino_weights, sam_weights=self.sam_weights)
        if self.size == "tiny" and self.dino_weights:
            found.append("--size tiny has no DINOv2, so no use for --dino_weights")
        return found

    def files(self) -> tuple[str, ...]:
        """Names of the official files that building reads."""
        if self.random:
            return ()
        dino = () if self.size == "tiny" or self.dino_weights else (f"dinov2_{self.size}",)
        sam = () if self.segmenter == "tiny" or self.sam_weights else (self.segmenter,)
        return (*dino, *sam)
