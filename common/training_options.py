"""How a model is trained, as flags."""

import math
from dataclasses import dataclass, replace
from typing import Any

from common.cli import option, to_json
from common.distributed import DEVICES
from common.errors import UsageError

PRECISIONS = {"fp32": None, "bf16": "bfloat16", "fp16": "float16"}
"""Name -> what PyTorch calls the type to which a forward pass is lowered."""
STATE_FILE = "state.pt"
"""In a run's folder, what resuming needs."""
OPTIMIZERS = ("adamw", "sgd")
MOMENTUM = 0.9
"""Of SGD."""
SCHEDULES = ("cosine", "step", "linear", "poly", "poly_tenfold")
"""How the rate falls: to zero along a cosine, a line or a curve, or in one step to a tenth. In
"poly_tenfold" the peak is ten times the rate that was asked for, as in PFENet's program."""
POWER = 0.9
"""Of the curve: what is left of the updates to this power."""
UNDECAYED = ("nothing", "layer_norms", "vectors")
"""What weight decay leaves alone: nothing; LayerNorm modules and embeddings; or embeddings and all
that has one dimension or none: norms of any kind, biases, temperatures."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained."""

    epochs: int = option(50, "passes over the training episodes")
    bsz: int = option(2, "episodes per process and step")
    accumulate: int = option(1, "steps whose gradients make one update")
    update_size: int | None = option(
        None,
        "episodes of one update, however many processes there are: --accumulate follows from it",
    )
    optimizer: str = option(
        "adamw", f"what makes updates of gradients; sgd has a momentum of {MOMENTUM}", OPTIMIZERS
    )
    lr: float = option(1e-4, "peak learning rate")
    schedule: str = option(
        "cosine",
        "how the rate falls, per update: to zero along a cosine, a line or a curve of the power "
        f"{POWER} (poly; poly_tenfold begins at ten times --lr, as PFENet's program does), or "
        "(step) to a tenth after --drop_after epochs",
        SCHEDULES,
    )
    warmup: int = option(0, "updates in which the rate rises to its peak, before it falls")
    drop_after: int | None = option(None, "with --schedule step: epochs at the full rate")
    weight_decay: float = option(1e-5, "weight decay")
    undecayed: str = option(
        "nothing",
        "what weight decay leaves alone; vectors: embeddings, norms, biases and single numbers",
        UNDECAYED,
    )
    clip_norm: float | None = option(
        None, "shorten the gradient of an update to this norm where it is longer; inf: never"
    )
    max_iterations: int | None = option(None, "stop after so many updates; the decay ends there")
    nworker: int = option(2, "processes that read episodes; 0: none but this one")
    skip_bad: bool = option(
        False, "go on where a file cannot be read: name it, and draw another episode in its place"
    )
    seed: int = option(0, "seed of weights and episodes")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = [
            f"--{name} must be at least 1, not {getattr(self, name)}"
            for name in ("epochs", "bsz", "accumulate")
            if getattr(self, name) < 1
        ]
        if self.update_size is not None and self.accumulate != 1:
            found.append("--update_size says how much is accumulated: leave out --accumulate")
        if not 0 < self.lr < math.inf:
            found.append(f"--lr must be above 0 and finite, not {self.lr}")
        if self.weight_decay == math.inf:
            found.append("--weight_decay must be finite")
        if self.weight_decay < 0 or self.nworker < 0 or self.seed < 0:
            found.append("--weight_decay, --nworker and --seed cannot be negative")
        if self.warmup < 0:
            found.append(f"--warmup cannot be negative: {self.warmup}")
        if (self.schedule == "step") != (self.drop_after is not None):
            found.append("--schedule step and --drop_after belong together")
        if self.drop_after is not None and self.drop_after < 1:
            found.append(f"--drop_after must be at least 1, not {self.drop_after}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            found.append(f"--clip_norm must be above 0, not {self.clip_norm}")
        if self.max_iterations is not None and self.max_iterations < 1:
            found.append(f"--max_iterations must be at least 1, not {self.max_iterations}")
        return found

    def deciding(self, update_size: int) -> dict[str, Any]:
        """What decides the weights, however many processes share an update's episodes."""
        left_out = ("bsz", "accumulate", "update_size", "nworker", "device", "skip_bad")
        decisions = {n: v for n, v in to_json(self).items() if n not in left_out}
        return {**decisions, "episodes_per_update": update_size}

    def shared_by(self, processes: int) -> "TrainingOptions":
        """The options with as many accumulated steps as `update_size` asks for.

        Raises:
            UsageError: so many processes cannot share an update evenly.
        """
        if self.update_size is None:
            return self
        accumulate, rest = divmod(self.update_size, self.bsz * processes)
        if rest or not accumulate:
            raise UsageError(
                f"--update_size {self.update_size} is no multiple of --bsz {self.bsz} times "
                f"{processes} processes"
            )
        return replace(self, accumulate=accumulate)
