"""Turn a checkpoint of DC-SAM's, VRP-SAM's or PFENet's program into one of this project.

    python -m tools.import_checkpoint best.pt --out pascal_fold0.safetensors --sam_model vit_h
    python -m tools.import_checkpoint best.pth --out pfenet.safetensors --sizes coco

Whose it is its tensors' names tell. The result holds the frozen backbone too, so that it needs no
other file than SAM's; of DC-SAM's video model it holds all of SAM 2 as well and needs none, nor
does PFENet.
"""

import argparse
from pathlib import Path

from common.cli import answer_early, run_script
from model.pfenet.config import SIZES, PfenetOptions
from model.sam.names import SAM_MODELS


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.import_checkpoint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CKPT", help="checkpoint as the release saved it"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="safetensors file to write"
    )
    parser.add_argument(
        "--sam_model",
        choices=sorted({name for names in SAM_MODELS.values() for name in names} - {"tiny"}),
        help="variant of SAM it was trained with, which the image model's file does not tell "
        "(default: largest)",
    )
    parser.add_argument(
        "--sizes",
        choices=SIZES,
        help="benchmark whose sizes PFENet was trained with, which its file does not tell "
        "(default: pascal)",
    )
    return parser.parse_args()


answer_early(__name__, parse_options)

from common.checkpoint import save_checkpoint
from common.cli import refuse_problems
from common.errors import UsageError
from model.checkpoint import imported_facts, published_by
from model.dc_sam.parts_options import PartsOptions


def main() -> int:
    flags = parse_options()
    program = published_by(flags.checkpoint)
    if issubclass(program.options, PartsOptions):
        untold = flags.sam_model
    elif program.options is PfenetOptions:
        untold = flags.sizes
    else:
        raise UsageError(
            f"{flags.checkpoint} is of {program.title}, which reads such files as they are"
        )
    options, weights = program.read_published(flags.checkpoint, untold)
    refuse_problems(options)
    save_checkpoint(flags.out, weights, imported_facts(options, flags.checkpoint))
    known = ", ".join(f"{name} {value}" for name, value in options.to_json().items() if value)
    print(f"{flags.out}: {program.title}, {len(weights)} tensors; {known}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
