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
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.cli import run_script
from common.errors import UsageError
from common.files import digest, temporary_beside, write_atomically
from common.sums import SUMS, check_sum, read_sums, write_sums
from model.checkpoint import model_options
from tools.model_card import Part, write_card

CARD = "README.md"
RESULTS = "results.json"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="folder of a run")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="new folder to write")
    parser.add_argument(
        "--weights", choices=("last", "best"), default="last", help="which (default: %(default)s)"
    )
    parser.add_argument("--title", help="of the card (default: from the configuration)")
    parser.add_argument("--row", default="", help="row of a table, e.g. 'table3 resnet50 coco'")
    parser.add_argument("--about", type=Path, metavar="FILE", help="what it can and cannot do")
    parser.add_argument("--generated", action="store_true", help="trained on generated images")
    parser.add_argument(
        "--half", action="store_true", help="store weights in half precision: half the size"
    )
    parser.add_argument("--verify", type=Path, metavar="FOLDER", help="check a released folder")
    options = parser.parse_args()
    if bool(options.runs) == bool(options.verify):
        parser.error("name the folder of at least one RUN, or a folder to --verify")
    if options.runs and not options.output:
        parser.error("--output is required: the folder to write")
    return options


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
    sources = [run / f"{options.weights}.safetensors" for run in options.runs]
    parts = read_parts(sources)
    model = parts[0].facts["model"]
    title = options.title or f"DC-SAM: {model['backbone']}, SAM {model['sam_version']}"
    about = read_text(options.about).strip() if options.about else ""
    card = write_card(parts, title, options.row, about, options.generated, options.half)
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
    parts: list[Part] = []
    for source in sources:
        facts = read_facts(source)
        model_options(facts, source)
        part = Part("", facts, read_results(source, facts))
        if parts:
            first = parts[0].facts["model"]
            differing = sorted(key for key in first if facts["model"].get(key) != first[key])
            if differing:
                raise UsageError(
                    f"{source} is no fold of the same row as {sources[0]}: it differs in "
                    f"{', '.join(differing)}"
                )
        name = part_name(part)
        if name in (other.name for other in parts):
            raise UsageError(
                f"{source}: a second {name.removesuffix('.safetensors')}; pack it separately"
            )
        if not part.results:
            print(f"warning: {source} has no {RESULTS}: evaluate it first", file=sys.stderr)
        parts.append(Part(name, facts, part.results))
    return parts


def part_name(part: Part) -> str:
    """How a checkpoint's file is called: after what it was trained on."""
    fold = "" if part.fold is None else f"_fold{part.fold}"
    return f"{part.benchmark or 'model'}{fold}.safetensors"


def read_results(source: Path, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The evaluations of a checkpoint that lie in its run's folder.

    Raises:
        UsageError: a file cannot be read.
    """
    found, content = [], digest(source)
    for path in sorted(source.parent.glob(f"*/{RESULTS}")):
        try:
            results = json.loads(read_text(path))
            same_name = Path(results["checkpoint"]).name == source.name
            version = results.get("checkpoint_version", facts["version"])
            weights = results.get("weights", content)
        except (ValueError, KeyError, TypeError):
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
        print(f"{folder}: {len(read_sums(folder))} files are as {SUMS} says, and can be loaded")
    return 1 if problems else 0


def find_problems(folder: Path) -> Iterator[str]:
    """What is wrong with a released folder."""
    try:
        listed = read_sums(folder)
    except UsageError as error:
        yield str(error)
        return
    checkpoints = sorted(name for name in listed if name.endswith(".safetensors"))
    if CARD not in listed or not checkpoints:
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
            if name in checkpoints:
                model_options(read_facts(path), path)
        except UsageError as error:
            yield str(error)
        except OSError as error:
            yield f"cannot read {path}: {error.strerror}"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
