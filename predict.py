"""Label one picture, get the rest: masks for photographs and videos from one labelled example.

    python predict.py --ckpt FILE --reference dog.jpg dog_mask.png --target photos --output out
    python predict.py --ckpt FILE --reference dog.jpg dog_mask.png --target walk.mp4 --output out

Several references of a class are several shots; several classes (of an indexed mask, or by
--class_name) compete for every pixel. Videos need a checkpoint with SAM 2; with --frames a folder
of pictures is a video, too. The output folder gets masks/ (indexed PNG, at the targets' own size),
overlays/, coco.json and a record of every picture and video: what has one is skipped when the
command is given again. torchrun or --shard spread the targets over processes or machines.
"""

import itertools
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from common.cli import from_namespace, option, refuse_problems, run_script, script_parser
from common.distributed import DEVICES, Processes, process_group
from common.errors import UsageError
from common.files import digest
from common.logger import quiet_libraries
from common.trainer import PRECISIONS
from common.video_io import FrameReader
from labelling.examples import Examples, name_classes
from labelling.label_folder import LabelFolder, LabelledFrame
from labelling.references import read_reference
from labelling.targets import Opened, Target, list_targets, preview, read_ahead
from model import InContextSegmenter
from model.predictor import LearnedConcept


@dataclass(frozen=True)
class PredictionOptions:
    """How it is done, and what is written."""

    ckpt: Path | None = option(None, "checkpoint to use (required)")
    output: Path = option(Path("predictions"), "folder for the results")
    frames: bool = option(False, "a folder with pictures is a video, whose frames they are")
    prompt_every: int = option(0, "look anew every so many frames of a video; 0: only on the first")
    presence: float = option(0.0, "leave out classes whose presence score is lower, 0 to 1")
    overlays: bool = option(True, "write no overlays", flag="--no_overlays")
    polygons: bool = option(False, "also write coco_polygons.json")
    labelme: bool = option(False, "also write a LabelMe file for every picture")
    shard: str = option("1/1", "do one part of the targets: 1/4, 2/4, 3/4 or 4/4")
    bsz: int = option(1, "pictures per forward pass")
    nworker: int = option(2, "threads that read pictures ahead")
    device: str = option("auto", "where to compute", DEVICES)
    precision: str = option("fp32", "of the forward pass", tuple(PRECISIONS))

    @property
    def part(self) -> tuple[int, int]:
        """Which part of the targets, counted from 0, and of how many."""
        number, _, count = self.shard.partition("/")
        return int(number) - 1, int(count)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt is None:
            found.append("--ckpt is required: the checkpoint to use")
        elif not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if not 0 <= self.presence <= 1:
            found.append(f"--presence must be between 0 and 1, not {self.presence}")
        if not re.fullmatch(r"\d{1,6}/\d{1,6}", self.shard) or not 0 <= self.part[0] < self.part[1]:
            found.append(f"--shard must be i/n with i from 1 to n, such as 2/4, not {self.shard}")
        if self.bsz < 1 or self.nworker < 1:
            found.append("--bsz and --nworker must be at least 1")
        if self.prompt_every < 0:
            found.append("--prompt_every cannot be negative")
        return found


def main() -> int:
    examples, options = parse_options()
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with process_group(options.device) as processes:
        targets = list_targets(examples.target, options.output, options.frames)
        references = [read_reference(image, mask) for image, mask in examples.reference]
        classes, shots = name_classes(examples, references)
        segmenter = InContextSegmenter.from_checkpoint(
            options.ckpt, processes.device, options.precision
        )
        if any(target.is_video for target in targets):
            segmenter.require_memory()
        folder = LabelFolder(
            options.output, classes, options.overlays, options.polygons, options.labelme
        )
        folder.claim(settings(examples, options))
        concepts = {
            class_id: segmenter.learn(*zip(*shots[class_id], strict=True), name)
            for class_id, name in classes.items()
        }
        first, step = options.part
        part = targets[first::step]
        mine = [part[number] for number in processes.share(len(part))]
        left = [target for target in mine if not folder.is_done(target)]
        labelling = Labelling(segmenter, concepts, folder, options, processes)
        failed = labelling.label_pictures([target for target in left if not target.is_video])
        failed += labelling.label_videos([target for target in left if target.is_video])
        counts = processes.gather((len(mine), len(left), failed))
        total, tried, failures = (sum(column) for column in zip(*counts, strict=True))
        if processes.is_main:
            folder.join()
            print(
                f"{tried - failures} labelled, {total - tried} were done before, "
                f"{failures} failed; results in {options.output}"
            )
    return 1 if failures else 0


def parse_options() -> tuple[Examples, PredictionOptions]:
    parser = script_parser(__doc__, [PredictionOptions])
    group = parser.add_argument_group(Examples.__doc__)
    group.add_argument(
        "--reference",
        nargs=2,
        type=Path,
        action="append",
        default=[],
        metavar=("IMAGE", "MASK"),
        help="a labelled picture; again for more shots or classes",
    )
    group.add_argument(
        "--class_name",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="of all references, or of each in turn; or 3=dog for ids of indexed masks",
    )
    group.add_argument(
        "--target",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="pictures and videos: files, folders, or glob patterns in quotes",
    )
    namespace = parser.parse_args()
    examples = Examples(
        tuple((image, mask) for image, mask in namespace.reference),
        tuple(namespace.class_name),
        tuple(namespace.target),
    )
    options = from_namespace(PredictionOptions, namespace)
    refuse_problems(examples, options)
    return examples, options


def settings(examples: Examples, options: PredictionOptions) -> dict[str, Any]:
    """What decides the results, but for the targets themselves."""
    return {
        "checkpoint": digest(options.ckpt),
        "references": [[digest(image), digest(mask)] for image, mask in examples.reference],
        "presence": options.presence,
        "prompt_every": options.prompt_every,
        "precision": options.precision,
    }


@dataclass(frozen=True)
class Labelling:
    """Labels one target after the other; those that cannot be read or written are named."""

    segmenter: InContextSegmenter
    concepts: dict[int, LearnedConcept]
    folder: LabelFolder
    options: PredictionOptions
    processes: Processes

    def label_pictures(self, targets: Sequence[Target]) -> int:
        """Label pictures, some at a time. Returns how many failed."""
        failures = 0
        batch: list[Opened] = []
        bar = tqdm(total=len(targets), desc="pictures", disable=self.is_silent or not targets)
        reading = read_ahead(
            targets, self.segmenter.image_size, self.options.nworker, self.options.overlays
        )
        for number, opened in enumerate(reading, start=1):
            if isinstance(opened, UsageError):
                failures += report(opened)
            else:
                batch.append(opened)
            if batch and (len(batch) == self.options.bsz or number == len(targets)):
                failures += self.label_together(batch)
                batch = []
            bar.update()
        bar.close()
        return failures

    def label_together(self, pictures: Sequence[Opened]) -> int:
        """Label pictures together. Returns how many failed."""
        failures = 0
        found = self.segmenter.segment_classes(
            [one.squashed for one in pictures],
            list(self.concepts.values()),
            self.options.presence,
            sizes=[one.size for one in pictures],
        )
        for one, result in zip(pictures, found, strict=True):
            try:
                self.folder.write(one.target, *self.by_class_id(*result), one.preview)
            except UsageError as error:
                failures += report(error)
        return failures

    def label_videos(self, targets: Sequence[Target]) -> int:
        """Label videos, frame by frame. Returns how many failed."""
        failures = 0
        for target in targets:
            try:
                with FrameReader(target.path) as reader:
                    frames = self.label_frames(target, reader)
                    self.folder.write_video(target, frames, reader.frames_per_second)
            except UsageError as error:
                failures += report(error)
        return failures

    def label_frames(self, target: Target, reader: FrameReader) -> Iterator[LabelledFrame]:
        """Label the frames of a video."""
        bar = tqdm(reader, target.name, reader.count, unit="frame", disable=self.is_silent)
        shown, looked_at = itertools.tee(bar)
        found = self.segmenter.segment_video(
            looked_at,
            list(self.concepts.values()),
            self.options.prompt_every,
            self.options.presence,
        )
        for result, frame, names in zip(found, shown, target.frame_names(), strict=False):
            picture = preview(frame, frame.shape[:2]) if self.options.overlays else None
            yield LabelledFrame(*names, *self.by_class_id(*result), picture)

    def by_class_id(
        self, labels: np.ndarray, scores: Sequence[float]
    ) -> tuple[np.ndarray, dict[int, float]]:
        """Labels and scores by class id instead of by position."""
        class_ids = np.array([0, *self.concepts], dtype=np.uint8)
        return class_ids[labels], dict(zip(self.concepts, scores, strict=True))

    @property
    def is_silent(self) -> bool:
        return not self.processes.is_main


def report(error: UsageError) -> int:
    """Tell about one failure, beside any progress bar, and count it."""
    tqdm.write(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(run_script(main))
