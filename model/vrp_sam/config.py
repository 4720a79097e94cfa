"""What VRP-SAM is made of and how it is trained: its flags, the paper's numbers."""

from dataclasses import dataclass
from typing import Any, ClassVar

from common.cli import option
from model.dc_sam.parts_options import PartsOptions
from model.method_options import MOST_QUERIES

WIRINGS = ("paper", "release")
"""How points and scribbles come to the map: every cell that they touch is marked, or as in the
released program the nearest pixel counts, which loses most points."""

BACKBONES = ("vgg16", "resnet50", "resnet101", "tiny")

_PAPER = {"loss": "release", "weight_decay": 1e-6}
_COCO = {**_PAPER, "epochs": 50, "lr": 1e-4}
_BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
_TINY = {
    **_PAPER,
    "backbone": "tiny",
    "sam_model": "tiny",
    "image_size": 128,
    "num_query": 10,
    "position": "sam",
    "epochs": 8,
    "bsz": 8,
    "lr": 5e-4,
}

HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {**dict.fromkeys(_BENCHMARKS, _COCO), "pascal": {**_PAPER, "epochs": 100, "lr": 2e-4}},
    "tiny": dict.fromkeys(_BENCHMARKS, _TINY),
}
"""Preset -> benchmark -> defaults of flags.

PASCAL's are what DC-SAM's paper says of the setting: the released program has COCO's alone."""


@dataclass(frozen=True)
class VrpSamOptions(PartsOptions):
    """What the model is made of (VRP-SAM)."""

    method: ClassVar[str] = "vrp_sam"

    backbone: str = option("resnet50", "network that gives frozen image features", BACKBONES)
    num_query: int = option(50, "prompt tokens of each reference", most=MOST_QUERIES)
    wiring: str = option(
        "paper",
        "points and scribbles mark every place of the map that they touch, or the nearest as in "
        "the released program",
        WIRINGS,
    )
