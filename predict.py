"""Label one picture, get the rest: masks for photographs and videos from one labelled example.

    python predict.py --ckpt FILE --reference dog.jpg dog_mask.png --target photos --output out
    python predict.py --ckpt FILE --reference dog.jpg dog_mask.png --target walk.mp4 --output out

Several references of a class are several shots; several classes (of an indexed mask, or by
--class_name) share the pixels by the highest logit. Videos need a checkpoint with SAM 2; with
--frames a folder of pictures is a video, too. The output folder gets masks/ (indexed PNG, at the
targets' own size), overlays/, coco.json and a record of every picture and video: what has one is
skipped when the command is given again. torchrun or --shard spread the targets over processes or
machines.
"""

import warnings
from pathlib import Path
from typing import Any

from PIL import Image

from common.cli import from_namespace, refuse_problems, run_script, script_parser
from common.distributed import process_group
from common.files import digest
from common.logger import quiet_libraries
from labelling.label_folder import LabelFolder
from labelling.loop import Labelling
from labelling.options import Examples, PredictionOptions
from labelling.references import name_classes, read_reference
from labelling.targets import list_targets, tell_left_out
from model import InContextSegmenter
from model.checkpoint import frozen_fingerprint


def main() -> int:
    examples, options = parse_options()
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with process_group(options.device) as processes:
        targets = list_targets(examples.target, options.output, options.frames)
        if processes.is_main:
            for line in tell_left_out(examples.target, options.output, options.frames):
                print(line)
        processes.wait()  # all name targets by the same records
        references = [read_reference(image, mask) for image, mask in examples.reference]
        classes, shots = name_classes(examples, references)
        segmenter = InContextSegmenter.from_checkpoint(
            options.ckpt, processes.device, options.precision
        )
        if any(target.is_video for target in targets):
            segmenter.require_memory()
        threshold = options.threshold(segmenter.is_calibrated)
        folder = LabelFolder(
            options.output, classes, segmenter.is_calibrated, options.overlays, options.formats
        )
        folder.claim(settings(examples, options, segmenter, threshold))
        concepts = {
            class_id: segmenter.learn(*zip(*shots[class_id], strict=True), name)
            for class_id, name in classes.items()
        }
        first, step = options.part
        part = targets[first::step]
        mine = [part[number] for number in processes.share(len(part))]
        left = [target for target in mine if not folder.is_done(target)]
        labelling = Labelling(
            segmenter, concepts, folder, options, threshold, silent=not processes.is_main
        )
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
        help="labelled picture and its mask; give it again for more shots or classes",
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
        "--target",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="pictures and videos to label: files, folders, or glob patterns in quotes",
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


def settings(
    examples: Examples,
    options: PredictionOptions,
    segmenter: InContextSegmenter,
    threshold: float,
) -> dict[str, Any]:
    """What decides the results, but for the targets themselves."""
    return {
        "checkpoint": digest(options.ckpt),
        "frozen": frozen_fingerprint(segmenter.method),
        "references": [[digest(image), digest(mask)] for image, mask in examples.reference],
        "presence": threshold,
        "prompt_every": options.prompt_every,
        "instances": options.instances,
        "precision": options.precision,
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
