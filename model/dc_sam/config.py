"""What DC-SAM is made of and how it is trained: its flags, the paper's numbers."""

from dataclasses import dataclass
from typing import Any, ClassVar

from common.cli import option
from model.dc_sam.parts_options import PartsOptions

PARTS = ("decoder", "memory")
"""What of SAM 2 can learn beside the prompt generator (table 7)."""

_TINY_MODEL = {
    "backbone": "tiny",
    "sam_model": "tiny",
    "image_size": 128,
    "num_query": 10,
    "position": "sam",
}
_COCO = {"epochs": 50, "lr": 1e-4}
_TINY_IMAGES = {**_TINY_MODEL, "epochs": 8, "bsz": 8, "lr": 2e-3}

HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "pascal": {"epochs": 100, "lr": 2e-4},
        "coco": _COCO,
        "coco_all": _COCO,
        "coco2pascal": _COCO,
        "video_images": {
            "max_iterations": 40_000,
            "epochs": 40,
            "lr": 1e-4,
            "sam_lr": 1.0,
            "bsz": 8,
            "episodes_per_epoch": 32_000,
        },
        "mask_tubes": {
            "max_iterations": 10_000,
            "epochs": 10,
            "lr": 1e-5,
            "sam_lr": 1.0,
            "bsz": 1,
            "episodes_per_epoch": 10_000,
        },
    },
    "tiny": {
        **dict.fromkeys(("pascal", "coco", "coco_all", "coco2pascal"), _TINY_IMAGES),
        "video_images": {**_TINY_IMAGES, "sam_lr": 0.02},
        "mask_tubes": {**_TINY_MODEL, "epochs": 2, "lr": 5e-5, "sam_lr": 5.0, "bsz": 4},
    },
}
"""Preset -> benchmark or stage -> defaults of flags.

"paper" has section 5's numbers, "tiny" is what trains on a laptop in minutes: there the rate of a
new prompt generator would spoil SAM 2's decoder, and that of a trained one would hardly move SAM
2's memory."""


@dataclass(frozen=True)
class DcSamOptions(PartsOptions):
    """What the model is made of (DC-SAM)."""

    method: ClassVar[str] = "dc_sam"

    sam_version: int = option(1, "version of SAM", (1, 2))
    sam_model: str | None = option(
        None,
        "variant of SAM: vit_b, vit_l, vit_h or tiny; sam2.1_hiera_t, ..., or tiny "
        "(default: largest)",
    )
    fusion: str = option(
        "full",
        "features that are fused: of backbone and SAM, or prior masks and SAM's",
        ("full", "prior"),
    )
    prior: bool = option(False, "fuse prior masks and SAM features, the same as --fusion prior")
    segmenter_fusion: bool = option(
        True, "leave SAM features out of the fusion (ablation)", flag="--no_sam_fusion"
    )
    negative_branch: bool = option(
        True, "leave the negative branch out (ablation)", flag="--no_negative_branch"
    )
    cyclic: bool = option(True, "use plain cross-attention (ablation)", flag="--no_cyclic")

    @property
    def uses_prior_fusion(self) -> bool:
        return self.prior or self.fusion == "prior"

    def problems(self) -> list[str]:
        found = super().problems()
        if self.backbone.startswith("dinov2") and not self.uses_prior_fusion:
            found.append(f"--backbone {self.backbone} has no middle features: add --prior")
        if self.uses_prior_fusion and not self.segmenter_fusion:
            found.append("--prior fuses SAM features, which --no_sam_fusion leaves out")
        return found
