"""What SANSA is made of and how it is trained: its flags, the paper's numbers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from common.cli import option
from model.method_options import LARGEST_SIDE, OfficialNetworksOptions, trained_on_all
from model.official import OFFICIAL

SAM_MODELS = ("sam2_hiera_t", "sam2_hiera_b+", "sam2_hiera_l", "tiny")
FRESH = "fresh"
GENERALIST = "sansa_generalist"

_PAPER = {
    "adapters": FRESH,
    "loss": "focal",
    "epochs": 5,
    "bsz": 8,
    "accumulate": 4,
    "lr": 1e-4,
    "weight_decay": 0.0,
    "clip_norm": 0.1,
}
_TINY = {
    **_PAPER,
    "sam_model": "tiny",
    "image_size": 128,
    "factor": 0.8,
    "epochs": 8,
    "bsz": 4,
    "accumulate": 1,
    "lr": 1e-2,
}
_BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": dict.fromkeys(_BENCHMARKS, _PAPER),
    "tiny": dict.fromkeys(_BENCHMARKS, _TINY),
}
"""Preset -> benchmark -> defaults of flags; batches of 32 as in the release, on one GPU."""


@dataclass(frozen=True)
class SansaOptions(OfficialNetworksOptions):
    """What the model is made of (SANSA)."""

    method: ClassVar[str] = "sansa"

    sam_model: str = option("sam2_hiera_l", "variant of SAM 2.0, or our tiny one", SAM_MODELS)
    sam_weights: Path | None = option(
        None, "file of SAM 2 (default: the official one in the folder of weights)"
    )
    adapters: str | None = option(
        None,
        "released adapters: a name such as sansa_coco_fold0 or a file; fresh: begin as plain SAM 2 "
        "(default: sansa_generalist, or fresh where SAM 2 is not the official large one)",
    )
    factor: float = option(0.3, "width of fresh adapters as a part of that of their blocks")
    image_size: int = option(640, "side to which images are squashed", most=LARGEST_SIDE)
    most_points: int | None = option(
        None, "take at most so many points of a reference; as published all pixels of a scribble"
    )

    @property
    def released(self) -> str | None:
        """The released adapters to begin with, a name or a file; None: fresh ones."""
        if self.adapters is not None:
            return None if self.adapters == FRESH else self.adapters
        return None if self.random or self.sam_model != "sam2_hiera_l" else GENERALIST

    def trained_on(self) -> dict[str, Any] | None:
        return None if self.released is None else self.data_of(self.released)

    @staticmethod
    def data_of(released: str) -> dict[str, Any]:
        """By the names of the files, which their authors gave them."""
        strict = re.search(r"(coco|lvis)_fold(\d)|(fss)", released)
        if strict:
            benchmark = {"coco": "coco", "lvis": "lvis92i"}.get(strict[1], "fss1000")
            return {"benchmark": benchmark, "fold": int(strict[2] or 0)}
        if not re.search("generalist|universal", released):
            return {}
        return trained_on_all("ade20k_semantic", "lvis", "paco_part")

    def to_json(self) -> dict[str, Any]:
        """As everywhere; of adapters from a file it says the file's name."""
        stored = super().to_json()
        return {**stored, "adapters": self.adapters and Path(self.adapters).name}

    def files(self) -> tuple[str, ...]:
        sam = (
            () if self.random or self.sam_weights or self.sam_model == "tiny" else (self.sam_model,)
        )
        return sam + ((self.released,) if self.released in OFFICIAL else ())

    def problems(self) -> list[str]:
        found = []
        if self.factor <= 0:
            found.append(f"--factor must be above 0, not {self.factor}")
        if self.image_size < 32:
            found.append(f"--image_size must be at least 32, not {self.image_size}")
        if self.most_points is not None and self.most_points < 1:
            found.append(f"--most_points must be at least 1, not {self.most_points}")
        found += self.useless_files(sam_weights=self.sam_weights)
        if self.shrunk and self.released:
            found.append("--shrunk leaves no use for released --adapters")
        return found
