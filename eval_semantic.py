"""Evaluate a method on semantic segmentation from one reference image for each class.

    python eval_semantic.py --method sansa --benchmark ade20k --datapath Datasets
    python eval_semantic.py --ckpt last.safetensors --benchmark a847 --form present \\
        --references validation

--form full asks for all classes in every image, and they compete; --form present, the published
form, asks only for those that the image's ground truth shows. References are drawn from the
training images; --references validation, the published choice, takes the tested images themselves.
torchrun spreads the images over processes and the numbers stay the same; an interrupted evaluation
goes on where it was. The output folder gets results.json, items.jsonl, contact_sheet.png and
settings.json.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import answer_early, option, run_script
from data.semantic import LAYOUTS, SHIFTED
from evaluation.choices import FORMS, SELF_REFERENCES
from evaluation.protocol import Followed, Protocol, protocol_option, values_of
from evaluation.subject_options import SubjectOptions, parse_subject
from model.method_options import MethodOptions

SCRIPT = "eval_semantic.py"


@dataclass(frozen=True)
class SemanticOptions:
    """What is evaluated, and how."""

    protocol: str | None = protocol_option(SCRIPT)
    benchmark: str = option("ade20k", "whose images and classes are tested", tuple(LAYOUTS))
    datapath: Path = option(Path("Datasets"), "folder that holds the benchmarks' folders")
    form: str = option(
        "full", "which classes are asked: all, which compete, or those that are present", FORMS
    )
    references: str = option(
        "training", "which images references are drawn from", ("training", "validation")
    )
    self_reference: str = option(
        "other",
        "where a class's reference is the image itself: another one, or as published nothing",
        SELF_REFERENCES,
    )
    a847_shifted_names: bool = option(
        False, "read a847 as published: no first class, all others by the name of the one before"
    )
    no_names: bool = option(
        False, "do not tell the method what the classes are called, even if it reads text"
    )
    together: int | None = option(
        None, "ask for at most so many classes at a time, to save memory (default: all)"
    )
    images: int | None = option(None, "test so many images only, evenly among all (default: all)")
    seed: int = option(0, "seed with which references are drawn")
    nworker: int = option(2, "number of processes that read images; 0: none but this one")

    @property
    def followed(self) -> Followed:
        """The protocol, and what is not as in it."""
        deciding = ("form", "references", "self_reference", SHIFTED, "no_names", "images", "seed")
        found = values_of(self, *deciding)
        return Protocol.followed(SCRIPT, self.benchmark, found, self.protocol)

    @property
    def test(self) -> str:
        """What a folder of results is called after, beside the method."""
        words = [self.benchmark, self.form, f"references_of_{self.references}"]
        words += ["silenced"] if self.self_reference == "silenced" else []
        words += ["shifted_names"] if self.a847_shifted_names else []
        return "_".join(words + (["no_names"] if self.no_names else []))

    def chosen(self, names: list[str]) -> list[str]:
        """Which of the validation images are tested."""
        count = min(self.images or len(names), len(names))
        return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not self.datapath.is_dir():
            found.append(f"--datapath: no such folder: {self.datapath}")
        if self.a847_shifted_names and self.benchmark != "a847":
            found.append(f"--a847_shifted_names is for a847, not for {self.benchmark}")
        if any(count is not None and count < 1 for count in (self.together, self.images)):
            found.append("--together and --images must be at least 1")
        if min(self.nworker, self.seed) < 0:
            found.append("--nworker and --seed cannot be negative")
        return found


def parse_options() -> tuple[list[Any], MethodOptions | None]:
    (options, about), method_options = parse_subject(
        __doc__, (SemanticOptions, SubjectOptions), SCRIPT
    )
    return [options, about], method_options


answer_early(__name__, parse_options)

import time
from collections.abc import Mapping

from torch.utils.data import DataLoader
from tqdm import tqdm

from common.distributed import Processes, process_group
from common.errors import UsageError
from common.images import read_image
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.visualize import SheetRow, contact_sheet, label_overlay, write_png
from data.semantic import References, SemanticImages, open_semantic
from evaluation.exposure import Exposure
from evaluation.item_log import ItemLog
from evaluation.semantic import (
    Segmented,
    SemanticSegmenter,
    TestedImage,
    TestedImages,
    score_image,
    summarise,
)
from evaluation.subject import Subject

_COLOURS = 255


def main() -> int:
    (options, about), method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(about.device) as processes:
        subject = Subject.load(about, method_options, processes.device, processes.is_main)
        model, facts = subject.method, subject.facts
        if options.self_reference == "silenced" and not model.can_silence:
            raise UsageError(f"--self_reference silenced: {model.name} cannot be told nothing")
        tested, references = open_images(options, processes)
        names = options.chosen(list(tested.files))
        folder = about.folder(model.name, f"semantic_{options.test}")
        settings = {
            "benchmark": options.benchmark,
            "protocol": options.followed.protocol.name,
            "form": options.form,
            "references": options.references,
            "reference_images": {str(c): some[0] for c, some in references.names.items()},
            "self_reference": options.self_reference,
            "names": not options.no_names,
            "together": options.together,
            "images_chosen": len(names),
            "seed": options.seed,
            "data": str(options.datapath.resolve()),
            **subject.settings,
        }
        log = ItemLog(folder, processes.rank)
        if processes.is_main:
            claim_folder(folder, settings)
        mine = log.share_left(names, processes)
        segmenter = SemanticSegmenter(
            model,
            references,
            options.form,
            processes.device,
            about.precision,
            names=not options.no_names,
            self_reference=options.self_reference,
            together=options.together,
        )
        images = DataLoader(
            TestedImages(tested, mine, model.geometry),
            batch_size=None,
            num_workers=options.nworker,
        )
        shown = set(names[: about.sheet_rows])
        for image in tqdm(images, options.benchmark, disable=not processes.is_main, leave=False):
            record, found = score_image(segmenter, image, references.images.part == tested.part)
            if image.name in shown:
                write_png(folder / "tiles" / f"{image.name}.png", tile(tested, image, found))
            log.append([record])
        processes.wait()
        if processes.is_main:
            records = log.join()
            exposure = Exposure.of_names(facts, tested.class_names, options.benchmark)
            results = {
                **summarise(records, tested.class_names, references),
                **exposure.results(facts, tested.class_names),
                **settings,
                **options.followed.results(exposure),
                **subject.results,
                "seconds": round(time.time() - start, 1),
            }
            write_json(folder / "results.json", results)
            rows = sheet_rows(folder, names[: about.sheet_rows])
            heading = f"{options.followed}, {subject.title}, {exposure}"
            if rows:
                sheet = contact_sheet(("image", "ground truth", "prediction"), rows, heading)
                write_png(folder / "contact_sheet.png", sheet)
            print_results(results, options.followed, folder)
    return 0


def open_images(
    options: SemanticOptions, processes: Processes
) -> tuple[SemanticImages, References]:
    """The tested images, and references; the main process scans masks for the others."""
    given = (options.benchmark, options.datapath)
    tested = open_semantic(*given, "validation", options.a847_shifted_names)
    source = tested
    if options.references == "training":
        source = open_semantic(*given, "training", options.a847_shifted_names)
    if processes.is_main:
        _ = source.class_pixels
    processes.wait()
    return tested, References.draw(source, options.seed)


def tile(tested: SemanticImages, image: TestedImage, found: Segmented) -> np.ndarray:
    """An image, its truth and its prediction side by side, H x 3W x 3 uint8."""
    pixels, truth = tested.read(image.name)
    maps = (np.maximum(truth, 0), found.labels.cpu().numpy())
    drawn = [
        label_overlay(pixels, labels, {c: 1 + (c - 1) % _COLOURS for c in np.unique(labels) if c})
        for labels in maps
    ]
    return np.concatenate([pixels, *drawn], axis=1)


def sheet_rows(folder: Path, names: list[str]) -> list[SheetRow]:
    """The tiles that were kept of some images, one row each."""
    tiles = [(name, folder / "tiles" / f"{name}.png") for name in names]
    return [
        SheetRow(np.split(read_image(path), 3, axis=1), name)
        for name, path in tiles
        if path.is_file()
    ]


def print_results(results: Mapping[str, Any], followed: Followed, folder: Path) -> None:
    print(f"\n{results['method']}, {followed}, {results['exposure']}")
    print(
        f"mIoU {results['miou']:.1f} over {results['classes_tested']} classes, "
        f"{results['images']} images"
    )
    if without := results["classes_without_reference"]:
        print(f"without a reference, and so left out: {len(without)} classes")
    print(f"written to {folder}: results.json, items.jsonl, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
