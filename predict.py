"""Label one picture, get the rest: masks for photographs and videos from one labelled example.

    python predict.py --reference dog.jpg dog_mask.png --target photos --output out
    python predict.py --reference dog.jpg box:40,60,300,420 --target walk.mp4 --output out
    python predict.py --ckpt FILE --reference dog.jpg points:120,80 --target photos --output out

The best method whose official weights are there does it, unless --method names another or --ckpt
gives a trained one; --fetch fetches what is missing. A reference's object is marked by a mask, a
box, points or a scribble (scribble:FILE). Several references of a class are several shots; several
classes (of an indexed mask, or by --class_name) share the pixels by the highest logit. With
--frames a folder of pictures is a video. The output folder gets masks/ (indexed PNG, at the
targets' own size), overlays/, references/, coco.json and a record of every picture and video: what
has one is skipped when the command is given again. torchrun or --shard spread the targets over
processes or machines.
"""

from common.cli import answer_early, run_script
from labelling.options import Examples, PredictionOptions, parse_labelling
from model.method_options import MethodOptions


def parse_options() -> tuple[Examples, PredictionOptions, MethodOptions | None]:
    targets = "pictures and videos to label: files, folders, or glob patterns in quotes"
    return parse_labelling(__doc__, targets, PredictionOptions)


answer_early(__name__, parse_options)

import warnings

from PIL import Image

from common.distributed import process_group
from common.logger import quiet_libraries
from labelling.choice import open_labeller, require_sam
from labelling.label_folder import LabelFolder
from labelling.learning import as_taken, learn_classes, result_settings
from labelling.loop import Labelling
from labelling.references import describe_classes, read_examples
from labelling.targets import list_targets, tell_left_out


def main() -> int:
    examples, options, method_options = parse_options()
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with process_group(options.device) as processes:
        targets = list_targets(examples.target, options.output, options.frames)
        processes.wait()  # all name targets by the same records
        references, classes, shots = read_examples(examples)
        labeller = open_labeller(options, method_options, processes)
        segmenter = labeller.segmenter
        if processes.is_main:
            left_out = tell_left_out(examples.target, options.output, options.frames)
            print(*describe_classes(examples, references, classes), *left_out, sep="\n")
        kinds, has_videos = [r.kind for r in references], any(t.is_video for t in targets)
        require_sam(segmenter, kinds, has_videos, options.fetch)
        if has_videos:
            segmenter.require_memory()
        threshold = options.threshold(segmenter.is_calibrated)
        folder = LabelFolder(
            *(options.output, classes, segmenter.is_calibrated),
            *(options.overlays, options.formats, labeller.title, options.instances),
        )
        deciding = result_settings(examples, options, labeller, threshold)
        folder.claim(deciding | {"prompt_every": options.prompt_every})
        taken = as_taken(segmenter, shots)
        if processes.is_main:
            folder.show_references(taken)
            if not {*kinds} <= {*segmenter.method.prompt_kinds}:
                print(f"SAM made masks of the marks: see {options.output / 'references'}")
        concepts = learn_classes(segmenter, classes, taken)
        first, step = options.part
        part = targets[first::step]
        mine = [part[number] for number in processes.share(len(part))]
        left = [target for target in mine if not folder.is_done(target)]
        labelling = Labelling(
            *(segmenter, concepts, folder, options, threshold, options.prompt_every),
            silent=not processes.is_main,
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


if __name__ == "__main__":
    raise SystemExit(run_script(main))
