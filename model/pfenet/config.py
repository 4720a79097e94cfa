"""What PFENet is made of and how it is trained: its flags, the paper's numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from common.cli import option
from model.method_options import OfficialNetworksOptions

SCALES: dict[str, tuple[float, ...]] = {
    "fixed": (60, 30, 15, 8),
    "shares": (1.0, 0.5, 0.25, 0.125),
}
"""Sides of the scales, as the published program has them: cells for PASCAL, and for COCO parts of
the map's side."""

BACKBONES = ("vgg16", "resnet50", "resnet101", "tiny")

SIZES: dict[str, dict[str, Any]] = {
    "pascal": {"image_size": 473, "scales": "fixed"},
    "coco": {"image_size": 641, "scales": "shares"},
}
"""Benchmark -> the sizes that it is trained with."""

_SGD = {"optimizer": "sgd", "schedule": "poly", "weight_decay": 1e-4}
_COCO = {**_SGD, **SIZES["coco"], "epochs": 50, "bsz": 8, "lr": 5e-3}
_BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
_TINY = {
    **_SGD,
    "optimizer": "adamw",  # SGD would take more updates than a laptop has time for
    "backbone": "tiny",
    "image_size": 128,
    "scales": "shares",
    "width": 64,
    "epochs": 8,
    "bsz": 8,
    "lr": 2e-3,
}

HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        **dict.fromkeys(_BENCHMARKS, _COCO),
        "pascal": {**_SGD, **SIZES["pascal"], "epochs": 200, "bsz": 4, "lr": 2.5e-3},
    },
    "tiny": dict.fromkeys(_BENCHMARKS, _TINY),
}
"""Preset -> benchmark -> defaults of flags."""


@dataclass(frozen=True)
class PfenetOptions(OfficialNetworksOptions):
    """What the model is made of (PFENet)."""

    method: ClassVar[str] = "pfenet"

    backbone: str = option("resnet50", "network that gives frozen image features", BACKBONES)
    backbone_weights: Path | None = option(
        None, "file of the backbone (default: the official one in the folder of weights)"
    )
    image_size: int = option(473, "side of the square in which pictures keep their proportions")
    scales: str = option(
        "fixed",
        "sides of the maps on which the query is enriched: 60, 30, 15 and 8 cells, or shares of "
        "the whole map, 1, 1/2, 1/4 and 1/8",
        tuple(SCALES),
    )
    width: int = option(256, "channels of what learns")

    def files(self) -> tuple[str, ...]:
        own = self.random or self.backbone_weights or self.backbone == "tiny"
        return () if own else (self.backbone,)

    def problems(self) -> list[str]:
        found = [
            f"--{name} must be at least {least}, not {getattr(self, name)}"
            for name, least in (("image_size", 32), ("width", 1))
            if getattr(self, name) < least
        ]
        return found + self.useless_files(backbone_weights=self.backbone_weights)


@dataclass(frozen=True)
class PfenetLossOptions:
    """What a training minimises: cross-entropy of the mask, and of those of every scale."""

    auxiliary_weight: float = option(1.0, "weight of the mean loss of the scales")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = self.auxiliary_weight < 0
        return ["--auxiliary_weight cannot be negative"] if wrong else []
