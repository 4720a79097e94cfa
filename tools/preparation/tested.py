"""Count what is there of benchmarks that are tested on only; compare it with published numbers."""

from pathlib import Path

from common.errors import UsageError
from data.annotated.instances import open_instances
from data.class_index import name_some
from data.fss1000 import Fss1000
from data.lvis import Lvis
from data.parts import PacoPart, paco_file
from data.reader import Description
from data.semantic import LAYOUTS, open_semantic
from data.spair import FOLDER as SPAIR
from data.spair import SPLITS, SPair71k
from tools.preparation.inventory import differences
from tools.preparation.steps import collected

FSS1000_COUNTS = {"tested classes": 240, "tested images": 2400}
LVIS_ADDRESS = "https://www.lvisdataset.org/dataset"
FSS1000_ADDRESS = "https://github.com/HKUSTCV/FSS-1000"
LVIS_COUNTS = {"images": 19809, "instances": 244707, "classes of each fold": 92}
"""Of LVIS v1's validation set (its paper), and of LVIS-92i (Matcher)."""

SEMANTIC_COUNTS = {
    "pc459": {"classes": 459, "training images": 4998, "validation images": 5105},
    "a847": {"classes": 847, "training images": 25574, "validation images": 2000},
}
"""Of PASCAL-Context's lists and of ADE20K's full release."""
SEMANTIC_ADDRESSES = {
    "pc459": "https://cs.stanford.edu/~roozbeh/pascal-context",
    "a847": "https://groups.csail.mit.edu/vision/datasets/ADE20K",
}

SPAIR_COUNTS = {"test pairs": 12234, "val pairs": 5384, "trn pairs": 53340, "categories": 18}
SPAIR_ADDRESS = "https://cvlab.postech.ac.kr/research/SPair-71k"

PACO_COUNTS = {
    "parts of each fold": 112,
    "val pictures": 2410,
    "train pictures": 45790,
    "train parts": 456,
}
"""A quarter of the 448 of Matcher; PACO-LVIS's own."""
PACO_ADDRESS = "https://github.com/facebookresearch/paco"


def check_fss1000(root: Path) -> list[str]:
    """Print the numbers of tested classes and images of FSS-1000 and return what is wrong."""
    folder = root / Fss1000.folder
    if not folder.is_dir():
        return [f"missing: {folder}, from {FSS1000_ADDRESS} (by hand)"]
    try:
        reader = Fss1000(folder)
        images = reader.class_lists("test", "test")
    except UsageError as error:
        return [str(error)]
    found = {"tested classes": len(reader.class_names), "tested images": len(images)}
    print("\n".join(f"  {what}: {count}" for what, count in found.items()))
    without = [name for name in images if not reader.files_of(name).mask.is_file()]
    problems = [f"{len(without)} images have no mask: {name_some(without)}"][: len(without)]
    generated = Description.read(folder).generated
    return problems + ([] if generated else differences(found, FSS1000_COUNTS))


def check_lvis(root: Path) -> list[str]:
    """Print the numbers of LVIS-92i and return what is wrong with its files."""
    folder = root / Lvis.folder
    if not folder.is_dir():
        return [f"missing: {folder}, from {LVIS_ADDRESS} (by hand)"]
    try:
        reader = Lvis(folder, fold=0)
        index, pictures = reader.index, reader.pictures
    except UsageError as error:
        return [str(error)]
    found = {
        "images": len(index.files),
        "instances": len(index.category_ids),
        "classes of each fold": len(reader.classes_of("test")),
    }
    print("\n".join(f"  {what}: {count}" for what, count in found.items()))
    names = [index.file(number) for number in range(len(index.files))]
    without = [name for name in names if not (pictures / name).is_file()]
    problems = [f"{len(without)} pictures are missing: {name_some(without)}"][: len(without)]
    generated = Description.read(folder).generated
    return problems + ([] if generated else differences(found, LVIS_COUNTS))


def check_semantic(benchmark: str, root: Path) -> list[str]:
    """Print the numbers of PC-459 or A-847 and return what is wrong with its files."""
    folder = root / LAYOUTS[benchmark].folder
    if not folder.is_dir():
        return [f"missing: {folder}, from {SEMANTIC_ADDRESSES[benchmark]} (by hand)"]
    found: dict[str, int] = {}
    problems: list[str] = []
    for part in ("training", "validation"):
        try:
            images = open_semantic(benchmark, root, part)
            found |= {"classes": len(images.class_names), f"{part} images": len(images.files)}
        except UsageError as error:
            problems.append(str(error))
    print("\n".join(f"  {what}: {count}" for what, count in found.items()))
    generated = Description.read(folder).generated
    return problems + ([] if generated else differences(found, SEMANTIC_COUNTS[benchmark]))


def check_spair(root: Path) -> list[str]:
    """Print the numbers of SPair-71k's pairs and return what is wrong with its files."""
    folder = root / SPAIR
    if not folder.is_dir():
        return [f"missing: {folder}, from {SPAIR_ADDRESS} (by hand)"]
    found: dict[str, int] = {}
    try:
        for split in SPLITS:
            pairs = SPair71k(root, split).pairs
            found[f"{split} pairs"] = len(pairs)
            found["categories"] = len({pair.category for pair in pairs})
    except UsageError as error:
        return [str(error)]
    print("\n".join(f"  {what}: {count}" for what, count in found.items()))
    generated = Description.read(folder).generated
    return [] if generated else differences(found, SPAIR_COUNTS)


def check_paco(root: Path) -> list[str]:
    """Print the numbers of PACO-Part and return what is wrong with its files.

    Without training pictures there is nothing to say of them: PACO may be there to be tested on.
    """
    folder = root / PacoPart.folder
    if not folder.is_dir():
        return [f"missing: {folder}, from {PACO_ADDRESS} (by hand)"]
    problems: list[str] = []
    found: dict[str, int] = {}
    with collected(problems, "count what is annotated"):
        reader = PacoPart(folder, fold=0)
        pictures = reader.pictures
        found["parts of each fold"] = len(reader.classes_of("test"))
        for split in ("val", "train"):
            file = paco_file(folder, split)
            if split == "train" and not file.is_file():
                print(f"  no {file.name}: PACO is tested on, not trained on")
                continue
            index = open_instances(file)
            parts = sum(":" in name for name in index.categories.values())
            found |= {f"{split} pictures": len(index.files), f"{split} parts": parts}
            names = [index.file(number) for number in range(len(index.files))]
            without = [name for name in names if not (pictures / name).is_file()]
            gone = f"{len(without)} {split} pictures are missing: {name_some(without)}"
            problems += [gone][: len(without)]
    print("\n".join(f"  {what}: {count}" for what, count in found.items()))
    generated = Description.read(folder).generated
    expected = {what: count for what, count in PACO_COUNTS.items() if what in found}
    return problems + ([] if generated else differences(found, expected))
