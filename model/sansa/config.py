"""What SANSA is made of and how it is trained: its flags, the paper's numbers, its builder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from common.cli import option
from common.errors import UsageError
from model.method_options import OfficialNetworksOptions, trained_on_all
from model.sam.sam2 import Sam2, without_object_scores
from model.sam.variants import segmenter_weights
from model.sansa.adapters import adapted_blocks, adapter_widths, add_adapters, widths_of
from model.sansa.network import Sansa
from model.sansa.released_names import TRUNK, read_adapters
from model.weights import OFFICIAL, load_strictly, official_path, read_weights

SAM_MODELS = ("sam2_hiera_t", "sam2_hiera_b+", "sam2_hiera_l", "tiny")
FRESH = "fresh"
GENERALIST = "sansa_generalist"

_PAPER = {
    "adapters": FRESH,
    "loss": "focal",
    "epochs": 5,
    "bsz": 8,
    "accumulate": 4,
    "lr": 1e-4,
    "weight_decay": 0.0,
    "clip_norm": 0.1,
}
_TINY = {
    **_PAPER,
    "sam_model": "tiny",
    "image_size": 128,
    "factor": 0.8,
    "epochs": 8,
    "bsz": 4,
    "accumulate": 1,
    "lr": 1e-2,
}
_BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": dict.fromkeys(_BENCHMARKS, _PAPER),
    "tiny": dict.fromkeys(_BENCHMARKS, _TINY),
}
"""Preset -> benchmark -> defaults of flags; batches of 32 as in the release, on one GPU."""


@dataclass(frozen=True)
class SansaOptions(OfficialNetworksOptions):
    """What the model is made of (SANSA)."""

    method: ClassVar[str] = "sansa"

    sam_model: str = option("sam2_hiera_l", "variant of SAM 2.0, or our tiny one", SAM_MODELS)
    sam_weights: Path | None = option(
        None, "file of SAM 2 (default: the official one in the folder of weights)"
    )
    adapters: str | None = option(
        None,
        "released adapters: a name such as sansa_coco_fold0 or a file; fresh: begin as plain SAM 2 "
        "(default: sansa_generalist, or fresh where SAM 2 is not the official large one)",
    )
    factor: float = option(0.3, "width of fresh adapters as a part of that of their blocks")
    image_size: int = option(640, "side to which images are squashed")
    most_points: int | None = option(
        None, "take at most so many points of a reference; as published all pixels of a scribble"
    )

    @property
    def released(self) -> str | None:
        """The released adapters to begin with, a name or a file; None: fresh ones."""
        if self.adapters is not None:
            return None if self.adapters == FRESH else self.adapters
        return None if self.random or self.sam_model != "sam2_hiera_l" else GENERALIST

    def trained_on(self) -> dict[str, Any] | None:
        """By the names of the files, which their authors gave them."""
        if self.released is None:
            return None
        strict = re.search(r"(coco|lvis)_fold(\d)|(fss)", self.released)
        if strict:
            benchmark = {"coco": "coco", "lvis": "lvis92i"}.get(strict[1], "fss1000")
            return {"benchmark": benchmark, "fold": int(strict[2] or 0)}
        if not re.search("generalist|universal", self.released):
            return {}
        return trained_on_all("ade20k_semantic", "lvis", "paco_part")

    def to_json(self) -> dict[str, Any]:
        """As everywhere; of adapters from a file it says the file's name."""
        stored = super().to_json()
        return {**stored, "adapters": self.adapters and Path(self.adapters).name}

    def files(self) -> tuple[str, ...]:
        sam = (
            () if self.random or self.sam_weights or self.sam_model == "tiny" else (self.sam_model,)
        )
        return sam + ((self.released,) if self.released in OFFICIAL else ())

    def problems(self) -> list[str]:
        found = []
        if self.factor <= 0:
            found.append(f"--factor must be above 0, not {self.factor}")
        if self.image_size < 32:
            found.append(f"--image_size must be at least 32, not {self.image_size}")
        if self.most_points is not None and self.most_points < 1:
            found.append(f"--most_points must be at least 1, not {self.most_points}")
        found += self.useless_files(sam_weights=self.sam_weights)
        if self.shrunk and self.released:
            found.append("--shrunk leaves no use for released --adapters")
        return found


def build_sansa(options: SansaOptions) -> Sansa:
    """Build SANSA with SAM 2's weights and released adapters, or fresh ones seeded by torch.

    Raises:
        UsageError: a file is missing, broken or of another model.
    """
    if options.released is None:
        segmenter = build_segmenter(options)
        trunk = segmenter.network.image_encoder.trunk
        add_adapters(trunk, adapter_widths(trunk, options.factor))
        return Sansa(segmenter, options.image_size, options.most_points)
    name = options.released if options.released in OFFICIAL else None
    path = official_path(name) if name else Path(options.released)
    sam_model, weights = read_adapters(path, name)
    if sam_model != options.sam_model:
        raise UsageError(f"{path} holds adapters of {sam_model}, not of {options.sam_model}")
    return restore_sansa(options, weights, path)


def build_segmenter(options: SansaOptions) -> Sam2:
    """SAM 2 as SANSA uses it: without object scores, and without adapters yet."""
    segmenter = Sam2(options.sam_model, options.shrunk, object_scores=False)
    if not options.random:
        path = options.sam_weights or segmenter_weights(2, options.sam_model)
        state = {n: v.float() for n, v in read_weights(path, options.sam_model).items()}
        load_strictly(segmenter.official, without_object_scores(state), path)
    return segmenter


def restore_sansa(options: SansaOptions, weights: Mapping[str, Tensor], source: object) -> Sansa:
    """Build SANSA with the adapters of a checkpoint, as wide as they are.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another SAM 2, or its file is missing.
    """
    segmenter = build_segmenter(options)
    trunk = segmenter.network.image_encoder.trunk
    widths, wanted = widths_of(weights, TRUNK), set(adapted_blocks(trunk))
    if different := sorted(widths.keys() ^ wanted):
        word = "lacks the adapter of" if different[0] in wanted else "adapts"
        raise UsageError(
            f"{source} does not fit {options.sam_model}: it {word} block {different[0]}"
        )
    add_adapters(trunk, widths)
    model = Sansa(segmenter, options.image_size, options.most_points)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    load_strictly(model, weights, source, names)
    return model


def read_release(path: Path) -> tuple[SansaOptions, dict[str, Tensor]]:
    """Options and weights of released adapters, for `Entry.read_published`.

    Raises:
        UsageError: the file holds anything else.
    """
    sam_model, weights = read_adapters(path)
    return SansaOptions(sam_model=sam_model, adapters=FRESH), weights
