"""The folder of a training run, what is watched while it trains, and where features are kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import option
from common.training_options import STATE_FILE


@dataclass(frozen=True)
class EncodingOptions:
    """How images are encoded."""

    compile: bool = option(
        False, "compile what encodes images: minutes at the start, each image faster"
    )


@dataclass(frozen=True)
class CacheOptions(EncodingOptions):
    """How images are encoded, and where their features are kept for this and other runs."""

    feature_cache: Path | None = option(
        None, "folder that keeps frozen features of images for this and other runs"
    )
    feature_cache_gb: float = option(
        50.0, "how many gigabytes that folder may hold; what comes later is not kept"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not self.feature_cache_gb > 0:
            found.append(f"--feature_cache_gb must be above 0, not {self.feature_cache_gb}")
        if self.feature_cache and self.feature_cache.exists() and not self.feature_cache.is_dir():
            found.append(f"--feature_cache: {self.feature_cache} is no folder")
        return found


@dataclass(frozen=True)
class RunOptions(CacheOptions):
    """What a run writes, and how it is watched."""

    output: Path | None = option(None, "the run's folder (default: runs/LOGPATH)")
    logpath: str = option("image", "name of the run's folder under runs/")
    resume: bool = option(False, "continue the run in that folder where it stopped")
    resume_if_begun: bool = option(
        False, "continue that run, or begin it: for torchrun --max-restarts and schedulers"
    )
    validation_episodes: int = option(
        100, "held-out episodes of training classes scored each epoch"
    )
    episodes_per_epoch: int | None = option(
        None, "training episodes drawn for an epoch (default: one for each training image)"
    )
    store_features: bool = option(
        False, "keep frozen features of images in memory as well (tiny models: 0.7 MB an image)"
    )

    @property
    def stores(self) -> bool:
        """Whether features are kept at all."""
        return self.store_features or self.feature_cache is not None

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides the weights of the run."""
        return {
            "episodes_per_epoch": self.episodes_per_epoch,
            "validation_episodes": self.validation_episodes,
        }

    @property
    def folder(self) -> Path:
        return self.output or Path("runs") / self.logpath

    @property
    def begun(self) -> bool:
        """Whether the folder holds a run that can be continued."""
        return (self.folder / STATE_FILE).is_file()

    def problems(self) -> list[str]:
        found = super().problems()
        if self.resume and not self.begun:
            found.append(f"--resume: nothing to continue in {self.folder} (no {STATE_FILE})")
        if not (self.resume or self.resume_if_begun) and self.begun:
            found.append(f"{self.folder} holds a run already: add --resume or choose --output")
        if self.validation_episodes < 1:
            found.append("--validation_episodes must be at least 1")
        if self.episodes_per_epoch is not None and self.episodes_per_epoch < 1:
            found.append("--episodes_per_epoch must be at least 1")
        return found
