"""What PerSAM and PerSAM-F are made of: their flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from common.cli import option
from model.method_options import OfficialNetworksOptions
from model.persam.rules import Training
from model.sam.names import SAM_MODELS


@dataclass(frozen=True)
class PerSamOptions(OfficialNetworksOptions):
    """What the method is made of (PerSAM)."""

    method: ClassVar[str] = "persam"

    sam_model: str = option(
        "vit_h", "variant of SAM; vit_t is MobileSAM, tiny the repository's own", SAM_MODELS[1]
    )
    sam_weights: Path | None = option(
        None, "file of SAM (default: the official one in the folder of weights)"
    )
    mask: str = option(
        "cells",
        "what of a reference's mask counts: cells that it covers by half, or (released) what the "
        "released program makes of a mask file of --mask_value",
        ("cells", "released"),
    )
    mask_value: int = option(128, "value of the object in a mask file, for --mask released")
    guidance: str = option(
        "padded",
        "attention guided in its place, or (released) as if every picture were square",
        ("padded", "released"),
    )
    areas: str = option(
        "real",
        "which proposal is the largest in a video: by its area, or by the area modulo 256",
        ("real", "uint8"),
    )
    hand_over: str = option(
        "labels",
        "an object that vanishes from a video keeps its box, or (released) leaves the next "
        "object's box to it",
        ("labels", "released"),
    )
    video_points: int = option(2, "places that prompt each frame of a video; PerSAM-F: always one")
    points_apart: bool = option(False, "let those places be a cell of the features apart")
    video_box: bool = option(
        True, "prompt frames without the box on the frame before", flag="--no_video_box"
    )
    video_center: bool = option(
        True, "prompt frames without the centre of that box", flag="--no_video_center"
    )
    video_largest: bool = option(
        True,
        "in videos refine the proposal that SAM thinks best, not the largest",
        flag="--no_video_largest",
    )

    @property
    def training(self) -> Training | None:
        """How PerSAM-F learns its weights; None: PerSAM."""
        return None

    def files(self) -> tuple[str, ...]:
        own = self.random or self.sam_weights is not None or self.sam_model == "tiny"
        return () if own else (self.sam_model,)

    def problems(self) -> list[str]:
        found = []
        if self.sam_model not in SAM_MODELS[1]:
            found.append(f"--sam_model {self.sam_model}: there are {', '.join(SAM_MODELS[1])}")
        if not 1 <= self.mask_value <= 255:
            found.append(f"--mask_value is 1 to 255, not {self.mask_value}")
        if self.video_points < 1:
            found.append(f"--video_points must be at least 1, not {self.video_points}")
        return found + self.useless_files(sam_weights=self.sam_weights)


@dataclass(frozen=True)
class PerSamFOptions(PerSamOptions):
    """What the method is made of (PerSAM-F)."""

    method: ClassVar[str] = "persam_f"

    steps: int = option(1000, "steps of training on a reference")
    learning_rate: float = option(1e-3, "peak rate of that training")

    @property
    def training(self) -> Training:
        return Training(self.steps, self.learning_rate)

    def problems(self) -> list[str]:
        found = super().problems()
        if self.steps < 1:
            found.append(f"--steps must be at least 1, not {self.steps}")
        if self.learning_rate <= 0:
            found.append(f"--learning_rate must be above 0, not {self.learning_rate}")
        return found
