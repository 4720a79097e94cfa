"""What segments videos, as flags."""

from dataclasses import dataclass
from pathlib import Path

from common.cli import option
from common.run_options import EncodingOptions
from common.training_options import PRECISIONS
from model.sam.names import SAM_MODELS
from model.sam.video_wiring import WIRINGS


@dataclass(frozen=True)
class VideoMethodOptions(EncodingOptions):
    """What segments the videos."""

    ckpt: Path | None = option(None, "checkpoint to evaluate")
    sam2_cfg: str | None = option(
        None,
        "variant of the original SAM 2, in place of a checkpoint, or to carry on the masks that a "
        "method finds on the first frame",
    )
    sam2_checkpoint: Path | None = option(
        None, "file of the original SAM 2 (default: the official one)"
    )
    wiring: str | None = option(
        None,
        "wiring with which SAM 2 propagates frames (default: streaming on IC-VOS, package "
        "elsewhere; release for a checkpoint of the released program)",
        tuple(WIRINGS),
    )
    prompt_every: int = option(
        0, "number of frames after which to prompt again; 0: only on the first"
    )
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    @property
    def variant(self) -> str | None:
        """The name of the original SAM 2, also where its configuration file was given."""
        return self.sam2_cfg and Path(self.sam2_cfg).name.removesuffix(".yaml")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.sam2_cfg and self.variant not in SAM_MODELS[2]:
            found.append(f"--sam2_cfg: there are {', '.join(SAM_MODELS[2])}, not {self.variant}")
        if self.sam2_checkpoint and not self.sam2_cfg:
            found.append("--sam2_checkpoint needs --sam2_cfg, the name of a variant")
        for flag, path in (("ckpt", self.ckpt), ("sam2_checkpoint", self.sam2_checkpoint)):
            if path and not path.is_file():
                found.append(f"--{flag}: no such file: {path}")
        if self.prompt_every < 0:
            found.append(f"--prompt_every cannot be negative, but is {self.prompt_every}")
        return found


@dataclass(frozen=True)
class FrameOptions:
    """How frames come to a checkpoint or to SAM 2; other methods have flags of their own."""

    image_size: int | None = option(
        None, "side to which frames are squashed (default: the checkpoint's; SAM 2's for DAVIS)"
    )
    shrunk: bool = option(
        False, "the original SAM 2 with few layers and random weights, to try this in seconds"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 32):
            return [f"--image_size must be a multiple of 32, not {self.image_size}"]
        return []
