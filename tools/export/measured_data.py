"""On what an export is measured, as flags."""

from dataclasses import dataclass

from common.cli import option
from evaluation.choices import BATCH
from evaluation.episodes import TestedData


@dataclass(frozen=True)
class MeasuredData(TestedData):
    """On what the export is measured, if it is."""

    measure: bool = option(False, "also measure mIoU and speed of what is exported, on a benchmark")
    test_episodes: int = option(100, "episodes on which --measure runs every runtime")
    seed: int = option(0, "seed with which they are drawn")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        if not self.measure:  # the other flags are of no effect
            few = f"--nshot must be at least 1, not {self.nshot}"
            return [] if self.nshot >= 1 else [few]
        few = f"--test_episodes must be more than {BATCH}: the first ones warm up"
        return super().problems() + ([] if self.test_episodes > BATCH else [few])
