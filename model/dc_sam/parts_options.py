"""The flags of the frozen parts of DC-SAM and VRP-SAM."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from common.cli import option
from model.backbones.sizes import BACKBONES
from model.method_options import LARGEST_SIDE, MOST_QUERIES, OfficialNetworksOptions
from model.sam.names import DEFAULT_SAM_MODEL, SAM_MODELS


@dataclass(frozen=True)
class PartsOptions(OfficialNetworksOptions):
    """Which frozen networks a model is made of, and the size of its pictures and prompts."""

    sam_version: ClassVar[int] = 1

    backbone: str = option("resnet50", "network that gives frozen image features", BACKBONES)
    backbone_weights: Path | None = option(
        None, "file of the backbone (default: the official one in the folder of weights)"
    )
    sam_model: str | None = option(
        None, "variant of SAM: vit_b, vit_l, vit_h or tiny (default: largest)"
    )
    sam_weights: Path | None = option(
        None, "file of SAM (default: the official one in the folder of weights)"
    )
    image_size: int = option(512, "side to which images are squashed", most=LARGEST_SIDE)
    num_query: int = option(25, "prompt tokens in each branch", most=MOST_QUERIES)
    position: str = option(
        "sine", "position encoding: sine on keys, or SAM's own on keys and values", ("sine", "sam")
    )
    wiring: str = option(
        "paper", "connections as in the paper, or as in the released program", ("paper", "release")
    )

    @property
    def segmenter(self) -> str:
        """The variant of SAM or SAM 2."""
        return self.sam_model or DEFAULT_SAM_MODEL[self.sam_version]

    def files(self) -> tuple[str, ...]:
        if self.random:
            return ()
        names = {self.backbone: self.backbone_weights, self.segmenter: self.sam_weights}
        return tuple(name for name, given in names.items() if not given and name != "tiny")

    def problems(self) -> list[str]:
        found = []
        if self.segmenter not in SAM_MODELS[self.sam_version]:
            names = ", ".join(SAM_MODELS[self.sam_version])
            found.append(
                f"--sam_model {self.segmenter} is no SAM version {self.sam_version}; "
                f"there are {names}"
            )
        if self.num_query < 1:
            found.append(f"--num_query must be at least 1, not {self.num_query}")
        if self.image_size < 32 or self.image_size % 32:
            found.append(f"--image_size must be a multiple of 32, not {self.image_size}")
        return found + self.useless_files(
            backbone_weights=self.backbone_weights, sam_weights=self.sam_weights
        )
