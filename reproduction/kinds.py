"""Tables by the kind of references: masks, boxes, scribbles and points drawn from them.

VRP-SAM's numbers are those of its paper (arXiv 2402.17726), with one training for each kind. Those
of SANSA's (arXiv 2505.21795) are in its paper alone, which was not at hand: its rows measure the
published universal adapters, which have learned all of COCO's classes.
"""

from dataclasses import replace

from reproduction.baselines import VRP_SAM_TRAININGS
from reproduction.recipe import IMAGE_COLUMNS, MEAN, Released, Row, Table, Training

_MASKS = VRP_SAM_TRAININGS["coco", "resnet50"]
_UNIVERSAL = Released(
    "sansa-universal",
    {"method": "sansa", "adapters": "sansa_universal"},
    smoke={"adapters": "fresh"},
)
_KINDS = {"points": "point", "scribble": "scribble", "box": "box", "mask": "mask"}
"""Kind of references -> what training calls it."""


def _trained_with(mark: str) -> Training:
    if mark == "mask":
        return _MASKS
    return replace(_MASKS, name=f"{_MASKS.name}-{mark}", flags={**_MASKS.flags, "prompt": mark})


VRP_SAM = Table(
    "vrp-sam-kinds",
    "VRP-SAM by the kind of its references, on COCO-20i (mIoU)",
    IMAGE_COLUMNS,
    tuple(
        Row(
            kind,
            f"VRP-SAM, ResNet-50, {kind}",
            {MEAN: number},
            "coco",
            _trained_with(_KINDS[kind]),
            flags={"reference_kind": kind},
        )
        for kind, number in zip(_KINDS, (38.4, 47.3, 49.7, 53.9), strict=True)
    ),
    note="Trained and tested with the same kind. Points and scribbles mark every place of the "
    "feature map that they touch; the published program takes the nearest pixel (--wiring release "
    "in training), which loses most points.",
)
SANSA = Table(
    "sansa-kinds",
    "SANSA's universal adapters by the kind of references, on COCO-20i (mIoU)",
    IMAGE_COLUMNS,
    tuple(
        Row(
            kind,
            f"SANSA, universal, {kind}",
            {},
            "coco",
            released=_UNIVERSAL,
            flags={"reference_kind": kind, "seen_classes": True},
        )
        for kind in _KINDS
    ),
    note="In-domain. The paper's numbers are not here.",
)
TABLES = (VRP_SAM, SANSA)
