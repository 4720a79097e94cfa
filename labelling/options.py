"""What a prediction looks for and how it is done."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from common.cli import from_namespace, method_parser, option, refuse_problems
from common.distributed import DEVICES
from common.errors import UsageError
from common.run_options import CacheOptions
from common.training_options import PRECISIONS
from labelling.marks import Mark
from model.registry import READY
from model.thresholds import CALIBRATED_THRESHOLD, LEAST_SCORE


@dataclass(frozen=True)
class Examples:
    """What to look for, and where."""

    reference: tuple[tuple[Path, str], ...] = ()
    """Labelled pictures, and what marks the object in them (see `labelling.marks`)."""
    class_name: tuple[str, ...] = ()
    """One name for all references, one for each, or ID=NAME for ids of indexed masks."""
    target: tuple[str, ...] = ()
    """Files, folders and glob patterns."""
    ids: tuple[int, ...] = ()
    """The ids of indexed masks that are classes; none: all."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser, targets: str) -> None:
        """Add their flags to a parser.

        Args:
            targets: what --target takes.
        """
        group = parser.add_argument_group(cls.__doc__)
        group.add_argument(
            "--reference",
            nargs=2,
            action="append",
            default=[],
            metavar=("IMAGE", "MASK"),
            help="labelled picture and its mask, or box:LEFT,TOP,RIGHT,BOTTOM, points:X,Y;X,Y or "
            "scribble:FILE; give it again for more shots or classes",
        )
        group.add_argument(
            "--class_name",
            action="extend",
            nargs="+",
            default=[],
            metavar="NAME",
            help="name of all references, or of each in turn, or 3=dog for an id of indexed masks",
        )
        group.add_argument(
            "--target", action="extend", nargs="+", default=[], metavar="PATH", help=targets
        )
        group.add_argument(
            "--ids",
            type=int,
            nargs="+",
            default=[],
            metavar="ID",
            help="ids of indexed masks that are looked for (default: all)",
        )

    @classmethod
    def from_namespace(cls, namespace: argparse.Namespace) -> Self:
        """Fill them from parsed flags."""
        return cls(
            tuple((Path(image), mark) for image, mark in namespace.reference),
            tuple(namespace.class_name),
            tuple(namespace.target),
            tuple(namespace.ids),
        )

    @property
    def marks(self) -> list[Mark]:
        """What marks the object, of each reference.

        Raises:
            UsageError: one cannot be understood.
        """
        return [Mark.parse(text) for _, text in self.reference]

    @property
    def names_of_ids(self) -> dict[int, str]:
        """The names that were given to ids of indexed masks."""
        pairs = [name.partition("=") for name in self.class_name]
        return {int(number): name for number, _, name in pairs if number.isdecimal() and name}

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not self.reference:
            found.append("--reference IMAGE MASK is required: a labelled picture")
        try:
            _ = self.marks
        except UsageError as error:
            found.append(f"--reference: {error}")
        if not self.target:
            found.append("--target is required: a file, a folder or a glob pattern in quotes")
        names, references = len(self.class_name), len(self.reference)
        if names and not self.names_of_ids and names not in (1, references):
            found.append(f"--class_name: {names} names for {references} references")
        if self.names_of_ids and len(set(self.names_of_ids.values())) != names:
            found.append("--class_name: either names or ID=NAME, each id and each name once")
        return found


FORMATS = ("polygons", "labelme", "yolo", "label_studio")
"""What can be written beside coco.json."""


@dataclass(frozen=True)
class LabellingOptions(CacheOptions):
    """What labels pictures, and how."""

    ckpt: Path | None = option(
        None, "checkpoint to label with; or --method; or the best method whose weights are there"
    )
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    output: Path = option(Path("predictions"), "folder that the results are written to")
    presence: float | None = option(
        None,
        "leave out classes whose score is lower, 0 to 1; 0 keeps all (default: 0.5 where the "
        "checkpoint's score is calibrated, otherwise 0)",
    )
    instances: bool = option(
        False,
        "tell the objects of a class apart: by the method, or each connected part is one; also "
        "written as indexed PNG",
    )
    instance_score: float = option(
        LEAST_SCORE, "with --instances and a method that scores objects, leave out lower scores"
    )
    bsz: int = option(1, "number of pictures in a forward pass")
    nworker: int = option(2, "number of threads that read pictures ahead")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "number format of the forward pass", tuple(PRECISIONS))

    def threshold(self, calibrated: bool) -> float:
        """The score below which a class is left out; a score that is no probability has none."""
        if self.presence is not None:
            return self.presence
        return CALIBRATED_THRESHOLD if calibrated else 0.0

    def problems(self) -> list[str]:
        found = super().problems()
        if self.ckpt is not None and not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if self.presence is not None and not 0 <= self.presence <= 1:
            found.append(f"--presence must be between 0 and 1, not {self.presence}")
        if not 0 <= self.instance_score <= 1:
            found.append(f"--instance_score must be between 0 and 1, not {self.instance_score}")
        if self.bsz < 1 or self.nworker < 1:
            found.append("--bsz and --nworker must be at least 1")
        return found


@dataclass(frozen=True)
class PredictionOptions(LabellingOptions):
    """How targets are labelled, and what is written."""

    frames: bool = option(False, "take a folder with pictures for a video, whose frames they are")
    prompt_every: int = option(
        0, "prompt again every so many frames of a video; 0: on the first frame only"
    )
    overlays: bool = option(True, "write no overlays", flag="--no_overlays")
    polygons: bool = option(False, "also write coco_polygons.json")
    labelme: bool = option(False, "also write a LabelMe file for every picture")
    yolo: bool = option(False, "also write yolo/, a data set for YOLO segmentation")
    label_studio: bool = option(False, "also write label_studio.json, to correct the labels there")
    shard: str = option("1/1", "label only one part of the targets: 1/4, 2/4, 3/4 or 4/4")

    @property
    def part(self) -> tuple[int, int]:
        """Which part of the targets, counted from 0, and of how many."""
        number, _, count = self.shard.partition("/")
        return int(number) - 1, int(count)

    @property
    def formats(self) -> frozenset[str]:
        """What is written beside coco.json."""
        return frozenset(name for name in FORMATS if getattr(self, name))

    def problems(self) -> list[str]:
        found = super().problems()
        if not re.fullmatch(r"\d{1,6}/\d{1,6}", self.shard) or not 0 <= self.part[0] < self.part[1]:
            found.append(f"--shard must be i/n with i from 1 to n, such as 2/4, not {self.shard}")
        if self.prompt_every < 0:
            found.append("--prompt_every cannot be negative")
        return found


def parse_labelling(description: str | None, targets: str, *groups: type) -> tuple[Any, ...]:
    """Read a labelling script's command line.

    Args:
        description: of the script.
        targets: what --target takes.
        groups: the script's options dataclasses; one of them has --ckpt.

    Returns:
        `Examples`, one of each group, and the options of the method that --method names, or None.

    Raises:
        UsageError: naming every problem of all of them at once.
    """
    parser, filled = method_parser(description, groups, READY)
    Examples.add_arguments(parser, targets)
    namespace = parser.parse_args()
    examples = Examples.from_namespace(namespace)
    if namespace.method and namespace.ckpt:
        raise UsageError("give --method or --ckpt, not both")
    chosen = [from_namespace(group, namespace) for group in filled]
    refuse_problems(examples, *chosen)
    return examples, *chosen, *([] if namespace.method else [None])
