"""Count what is there of benchmarks that are tested on only; compare it with published numbers."""

from pathlib import Path

from common.errors import UsageError
from data.class_index import name_some
from data.fss1000 import Fss1000
from data.lvis import Lvis
from data.reader import Description
from tools.preparation.inventory import differences

FSS1000_COUNTS = {"tested classes": 240, "tested images": 2400}
LVIS_ADDRESS = "https://www.lvisdataset.org/dataset"
FSS1000_ADDRESS = "https://github.com/HKUSTCV/FSS-1000"
LVIS_COUNTS = {"images": 19809, "instances": 244707, "classes of each fold": 92}
"""Of LVIS v1's validation set (its paper), and of LVIS-92i (Matcher)."""


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
