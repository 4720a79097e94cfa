"""Pack trained models for publication, and verify such a folder before use.

    python -m tools.publish runs/pascal_fold0 --output released
    python -m tools.publish runs/fold0 runs/fold1 runs/fold2 runs/fold3 --output released \\
        --row "table3 resnet50 pascal"
    python -m tools.publish --verify released

Several runs are the folds of one row. The folder holds the weights, README.md (the model card) and
SHA256SUMS. The card's metrics come from the results.json files in the runs' folders. The exit code
is 0, 1 when a folder fails the verification, 2 for wrong use.
"""

import argparse
from pathlib import Path

from common.cli import add_weights_flag, answer_early, run_script


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", type=Path, nargs="*", metavar="RUN", help="folder of a run to pack")
    add("--output", type=Path, metavar="FOLDER", help="new folder to write")
    add(
        "--which",
        choices=("last", "best"),
        default="last",
        help="which weights of a run are packed (default: %(default)s)",
    )
    add("--title", help="title of the card (default: the configuration)")
    add("--row", default="", help="row of a table it is, such as 'table3 resnet50 coco'")
    add("--about", type=Path, metavar="FILE", help="text on what the model can and cannot do")
    add("--generated", action="store_true", help="say that it was trained on generated images")
    add("--half", action="store_true", help="store weights in half precision: half the size")
    add("--verify", type=Path, metavar="FOLDER", help="released folder to check")
    add_weights_flag(parser)
    options = parser.parse_args()
    if bool(options.runs) == bool(options.verify):
        parser.error("name the folder of at least one RUN, or a folder to --verify")
    if options.runs and not options.output:
        parser.error("--output is required: the folder to write")
    return options


answer_early(__name__, parse_options)

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.errors import UsageError
from common.files import BROKEN, digest, parse_json, temporary_beside, write_atomically
from common.sums import SUMS, check_sum, read_sums, write_sums
from model.checkpoint import load_method, options_of
from tools.model_card import Part, file_name, write_card

CARD = "README.md"


RESULTS = "results.json"


def main() -> int:
    options = parse_options()
    if options.verify:
        return verify(options.verify)
    pack(options)
    return 0


def pack(options: argparse.Namespace) -> None:
    """Write a release, whole or not at all.

    Raises:
        UsageError: a run cannot be packed, or the folder is there already.
    """
    output: Path = options.output
    if output.exists():
        raise UsageError(f"{output} is there already: choose another folder, or delete it")
    sources = [run / f"{options.which}.safetensors" for run in options.runs]
    parts = read_parts(sources)
    about = read_text(options.about).strip() if options.about else ""
    card = write_card(
        parts,
        title=options.title,
        row=options.row,
        about=about,
        generated=options.generated,
        half=options.half,
    )
    temporary = temporary_beside(output)
    try:
        temporary.mkdir()
        for source, part in zip(sources, parts, strict=True):
            if options.half:
                save_checkpoint(temporary / part.name, halved(read_weights(source)), part.facts)
            else:
                shutil.copyfile(source, temporary / part.name)
        write_atomically(temporary / CARD, lambda place: place.write_text(card, encoding="utf-8"))
        write_sums(temporary, [CARD, *(part.name for part in parts)])
        os.replace(temporary, output)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    count = sum(len(part.results) for part in parts)
    print(f"{output}: {', '.join(part.name for part in parts)}; metrics of {count} evaluations")


def halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point weights in half precision, the others as they are."""
    return {n: w.half() if w.is_floating_point() else w for n, w in weights.items()}


def read_parts(sources: list[Path]) -> list[Part]:
    """Look at the checkpoints of one row.

    Raises:
        UsageError: one cannot be read, or they are not the folds of one configuration.
    """
    parts: dict[str, Part] = {}
    for source in sources:
        facts = read_facts(source)
        options_of(facts, source)
        first = next((part.facts["model"] for part in parts.values()), facts["model"])
        differing = sorted(key for key in first if facts["model"].get(key) != first[key])
        if differing:
            raise UsageError(
                f"{source} is no fold of the same row as {sources[0]}: it differs in "
                f"{', '.join(differing)}"
            )
        name = file_name(facts)
        if name in parts:
            raise UsageError(f"{source}: a second {Path(name).stem}; pack it separately")
        parts[name] = Part(name, facts, read_results(source, facts))
        if not parts[name].results:
            print(f"warning: {source} has no {RESULTS}: evaluate it first", file=sys.stderr)
    return list(parts.values())


def read_results(source: Path, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The evaluations of a checkpoint that lie in its run's folder.

    Raises:
        UsageError: a file cannot be read.
    """
    found, content = [], digest(source)
    for path in sorted(source.parent.glob(f"*/{RESULTS}")):
        try:
            results = parse_json(read_text(path))
            same_name = Path(results["checkpoint"]).name == source.name
            version = results.get("checkpoint_version", facts["version"])
            weights = results.get("weights", content)
        except BROKEN:
            raise UsageError(f"{path} does not hold results of an evaluation") from None
        if same_name and (version, weights) == (facts["version"], content):
            found.append(results)
    return found


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def verify(folder: Path) -> int:
    """Say whether a released folder is whole and can be used here; 0 or 1.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"--verify: no such folder: {folder}")
    problems = list(find_problems(folder))
    for problem in problems:
        print(f"failed: {problem}", file=sys.stderr)
    if not problems:
        listed = read_sums(folder)
        count = sum(is_checkpoint(name) for name in listed)
        were = "model was" if count == 1 else "models were"
        print(
            f"{folder}: {len(listed)} files are as {SUMS} says; "
            f"{count} {were} built and run on noise"
        )
    return 1 if problems else 0


def is_checkpoint(name: str) -> bool:
    return name.endswith(".safetensors")


def find_problems(folder: Path) -> Iterator[str]:
    """What is wrong with a released folder."""
    try:
        listed = read_sums(folder)
    except UsageError as error:
        yield str(error)
        return
    if CARD not in listed or not any(is_checkpoint(name) for name in listed):
        yield f"{folder / SUMS} must list {CARD} and at least one .safetensors file"
    for path in sorted(folder.iterdir()):
        if path.name not in (*listed, SUMS):
            yield f"{path} is not in {SUMS}"
    for name in sorted(listed):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            yield f"{path} is missing, or no plain file"
            continue
        try:
            check_sum(path)
            if is_checkpoint(name):
                try_model(path)
        except UsageError as error:
            yield str(error) if str(path) in str(error) else f"{path}: {error}"
        except OSError as error:
            yield f"cannot read {path}: {error.strerror}"


@torch.no_grad()
def try_model(path: Path) -> None:
    """Build a checkpoint's model, and let it segment a picture of noise by another one.

    Raises:
        UsageError: the model cannot be built, which includes that a file of its frozen parts is
            absent, or some of its numbers are not finite.
    """
    model, _ = load_method(path, torch.device("cpu"))
    side = model.image_size
    generator = torch.Generator().manual_seed(0)
    query, support = torch.randn(2, 1, 3, side, side, generator=generator)
    mask = torch.zeros(1, 1, side, side)
    mask[..., : side // 2] = 1
    encoded = model.encode_support(model.encode(support, support_only=True), mask)
    if not model.predict(model.encode(query), encoded).logits.isfinite().all():
        raise UsageError(f"{path} gives logits that are not finite")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
