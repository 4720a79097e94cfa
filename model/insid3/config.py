"""What INSID3 is made of: its flags."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from common.cli import option
from common.errors import UsageError
from model.backbones.sizes import DINOV3_PATCH
from model.method_options import LARGEST_SIDE, MethodOptions


@dataclass(frozen=True)
class Size:
    """The defaults of one encoder."""

    weights: str | None
    """Name of the official file; None: the tiny backbone that is part of the repository."""
    channels: int
    components: int
    """Where no paper says, the setting with which correspondence was measured."""
    image_size: int = 1024
    stride: int = DINOV3_PATCH


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
        None, "side to which pictures are squashed (default: 1024; tiny: 128)", most=LARGEST_SIDE
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


def refuse_components(components: int, channels: int, cells: int) -> None:
    """Check before work begins.

    Raises:
        UsageError: a basis of so many components would span everything that features can say.
    """
    most = min(channels, cells - 1) - 1
    if not 0 < components <= most:
        raise UsageError(
            f"--components {components}: {cells} cells of {channels} channels have between 1 and "
            f"{most} of use; more would leave nothing of the features but rounding noise"
        )
