"""What INSID3 is made of: its flags and its builder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from common.cli import option
from common.errors import UsageError
from model.backbones.backbone import BUILDERS, Backbone, build_backbone
from model.backbones.dinov3 import PATCH, DinoV3, vit_16
from model.insid3.crf import DenseCrf
from model.insid3.encoder import BackboneCells, CellEncoder
from model.insid3.network import Insid3
from model.insid3.positional_basis import refuse_components
from model.insid3.segmentation import Thresholds
from model.method_options import MethodOptions
from model.weights import load_strictly, official_path, read_weights, weights_folder


@dataclass(frozen=True)
class Size:
    """The defaults of one encoder."""

    weights: str | None
    """Name of the official file; None: the tiny backbone that is part of the repository."""
    channels: int
    components: int
    """Where no paper says, the setting with which correspondence was measured."""
    image_size: int = 1024
    stride: int = PATCH


SIZES = {
    "large": Size("dinov3_l", 1024, 500),
    "base": Size("dinov3_b", 768, 500),
    "small": Size("dinov3_s", 384, 20),
    "tiny": Size(None, 192, 8, image_size=128, stride=8),
}


@dataclass(frozen=True)
class Insid3Options(MethodOptions):
    """What the method is made of (INSID3)."""

    method: ClassVar[str] = "insid3"

    size: str = option(
        "large", "DINOv3 that gives the features; tiny: the repository's own network", tuple(SIZES)
    )
    image_size: int | None = option(
        None, "side to which pictures are squashed (default: 1024; tiny: 128)"
    )
    components: int | None = option(
        None, "dimensions of position that are projected out (default: 500; small: 20; tiny: 8)"
    )
    tau: float = option(0.6, "parts that are more similar than this on average are merged")
    merge_threshold: float = option(0.2, "score above which a part belongs to the object")
    crf: bool = option(False, "refine edges by the picture's colours, as the paper's tables do")
    exact_periods: bool = option(
        False, "take the position encoding's exact periods instead of the official rounded ones"
    )
    basis_coordinate_factors: str | None = option(
        None,
        "numbers with commas, one for each block: the factors of coordinates with which the "
        "released program happened to compute its positional basis (default: none, as intended)",
    )
    random_weights: bool = option(False, "an untrained encoder, to try things without files")

    @property
    def side(self) -> int:
        return SIZES[self.size].image_size if self.image_size is None else self.image_size

    @property
    def basis_size(self) -> int:
        """Components of the positional basis."""
        return SIZES[self.size].components if self.components is None else self.components

    @property
    def factors(self) -> Sequence[float]:
        """`basis_coordinate_factors` as numbers."""
        return [
            float(number) for number in (self.basis_coordinate_factors or "").split(",") if number
        ]

    def files(self) -> tuple[str, ...]:
        weights = SIZES[self.size].weights
        return () if weights is None or self.random_weights else (weights,)

    def problems(self) -> list[str]:
        found = []
        if self.side < 64 or self.side % 16:
            found.append(f"--image_size must be a multiple of 16 and at least 64, not {self.side}")
        else:
            found += self._problems_of_components()
        if not 0 <= self.tau < 1:
            found.append(f"--tau must be at least 0 and below 1, not {self.tau}")
        if not 0 <= self.merge_threshold < 1:
            found.append(
                f"--merge_threshold must be at least 0 and below 1, not {self.merge_threshold}"
            )
        if self.basis_coordinate_factors is not None:
            found += self._problems_of_factors()
        return found

    def _problems_of_components(self) -> list[str]:
        size = SIZES[self.size]
        try:
            refuse_components(self.basis_size, size.channels, (self.side // size.stride) ** 2)
        except UsageError as error:
            return [str(error)]
        return []

    def _problems_of_factors(self) -> list[str]:
        if self.size == "tiny":
            return ["--basis_coordinate_factors: the tiny network has no coordinates"]
        try:
            wrong = any(factor <= 0 for factor in self.factors)
        except ValueError:
            wrong = True
        return ["--basis_coordinate_factors: positive numbers with commas between"] if wrong else []


def build_insid3(options: Insid3Options) -> Insid3:
    """Build INSID3 with the encoder's official weights.

    Raises:
        UsageError: the weights file is missing, broken or of another network, or there are more
            components than features have.
    """
    return Insid3(
        build_encoder(options),
        options.side,
        options.basis_size,
        Thresholds(options.tau, options.merge_threshold),
        DenseCrf() if options.crf else None,
        options.factors,
        weights_folder() / "insid3_basis" if options.files() else None,
    )


def build_encoder(options: Insid3Options) -> CellEncoder:
    """The frozen network; raises as `build_insid3` does."""
    size = SIZES[options.size]
    name = size.weights
    if name is None:
        backbone = (
            Backbone("tiny", BUILDERS["tiny"]({}))
            if options.random_weights
            else build_backbone("tiny", None)
        )
        return BackboneCells(backbone, size.channels, size.stride)
    encoder = DinoV3(vit_16(name), options.exact_periods)
    if not options.random_weights:
        path = official_path(name)
        load_strictly(encoder, encoder.rename_official(read_weights(path, name)), path)
    return encoder
