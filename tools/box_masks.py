"""Make masks of boxes with SAM: Objects365, whose annotations are boxes, becomes a source of pairs.

One GPU:    python -m tools.box_masks --root Datasets/Objects365
Four GPUs:  torchrun --nproc_per_node=4 -m tools.box_masks --root Datasets/Objects365

Writes masks/<split>/part-00000.json and so on, of as many pictures each, in COCO's format with run
lengths. A part that is there is kept, so that an interrupted run goes on where it stopped; parts do
not depend on the number of processes. Of crowds the mask is the filled box. Pictures that cannot be
read are left out and named at the end.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, option, run_script, script_parser
from common.distributed import DEVICES
from common.training_options import PRECISIONS
from model.sam.names import DEFAULT_SAM_MODEL, SAM_MODELS

_SAMS = tuple(dict.fromkeys(name for names in SAM_MODELS.values() for name in names))


@dataclass(frozen=True)
class BoxMaskOptions:
    """Which boxes become masks, and how."""

    root: Path = option(Path("Datasets/Objects365"), "folder of the data set")
    split: str = option("train", "folder of pictures below the root")
    boxes: Path | None = option(
        None, "file of boxes (default: annotations/zhiyuan_objv2_SPLIT.json below the root)"
    )
    sam_version: int = option(1, "SAM (1) or SAM 2 (2)", (1, 2))
    sam_model: str | None = option(None, "variant (default: the largest)", _SAMS)
    part_size: int = option(1000, "pictures in a part")
    bsz: int = option(4, "pictures that are encoded together")
    nworker: int = option(4, "processes that read pictures; 0: none but this one")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    @property
    def variant(self) -> str:
        return self.sam_model or DEFAULT_SAM_MODEL[self.sam_version]

    @property
    def file(self) -> Path:
        return self.boxes or self.root / "annotations" / f"zhiyuan_objv2_{self.split}.json"

    @property
    def output(self) -> Path:
        return self.root / "masks" / self.split

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not (self.root / self.split).is_dir():
            found.append(f"--root, --split: no such folder of pictures: {self.root / self.split}")
        if not self.file.is_file():
            found.append(f"--boxes: no such file: {self.file}")
        if self.variant not in SAM_MODELS[self.sam_version]:
            there = ", ".join(SAM_MODELS[self.sam_version])
            found.append(f"--sam_model {self.variant}: of --sam_version there are {there}")
        if min(self.part_size, self.bsz) < 1 or self.nworker < 0:
            found.append("--part_size and --bsz must be at least 1, --nworker not negative")
        return found


def parse_options() -> BoxMaskOptions:
    groups = (BoxMaskOptions,)
    (options,) = checked_options(groups, script_parser(__doc__, groups).parse_args())
    return options


answer_early(__name__, parse_options)

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from common.coco_masks import mask_annotation
from common.distributed import Processes, process_group
from common.errors import UsageError
from common.files import digest, write_atomically
from common.geometry import Geometry
from common.images import read_image
from common.logger import quiet_libraries
from common.settings import claim_folder
from common.trainer import autocast
from data.annotated.instances import InstanceIndex, open_instances
from data.class_index import name_some
from model.sam.boxes import box_geometry, masks_of_boxes
from model.sam.segmenter import Segmenter
from model.sam.variants import build_segmenter, segmenter_weights


class _Pictures(Dataset):
    """Pictures of a part in the square; of those that cannot be read, what is wrong."""

    def __init__(
        self, index: InstanceIndex, which: range, folder: Path, geometry: Geometry
    ) -> None:
        self.index, self.which, self.folder, self.geometry = index, which, folder, geometry

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, position: int) -> tuple[int, Tensor | str]:
        number = self.which[position]
        try:
            pixels = read_image(self.folder / picture_name(self.index, number), upright=False)
        except UsageError as error:
            return number, str(error)
        size = tuple(self.index.sizes[number].tolist())
        if pixels.shape[:2] != size:
            return number, f"{self.index.file(number)}: {pixels.shape[:2]}, not {size} as listed"
        return number, self.geometry.image(pixels)


def main() -> int:
    options = parse_options()
    quiet_libraries()
    with process_group(options.device) as processes:
        index = open_boxes(options, processes)
        weights = segmenter_weights(options.sam_version, options.variant)
        sam = build_segmenter(options.sam_version, options.variant, weights)
        sam.to(processes.device).eval()
        if processes.is_main:
            claim_folder(options.output, settings(options, index, weights))
        processes.wait()
        parts = -(-len(index.files) // options.part_size)
        failed: list[str] = []
        for part in tqdm(processes.share(parts), "parts", disable=not processes.is_main):
            path = options.output / f"part-{part:05d}.json"
            if not path.exists():
                failed += make_part(options, index, sam, part, path)
        failed = [one for some in processes.gather(failed) for one in some]
        if processes.is_main:
            print(f"masks of {len(index.files)} pictures in {options.output}")
            if failed:
                print(f"{len(failed)} pictures were left out: {name_some(failed)}")
    return 1 if failed else 0


def open_boxes(options: BoxMaskOptions, processes: Processes) -> InstanceIndex:
    """Open the annotations; the main process indexes them, the others read what it wrote."""
    if not processes.is_main:
        processes.wait()
    index = open_instances(options.file)
    if processes.is_main:
        processes.wait()
    return index


def settings(options: BoxMaskOptions, index: InstanceIndex, weights: Path) -> dict[str, Any]:
    """What parts depend on."""
    return {
        "sam": options.variant,
        "weights": digest(weights),
        "precision": options.precision,
        "part_size": options.part_size,
        "pictures": len(index.files),
        "boxes": len(index.boxes),
    }


def make_part(
    options: BoxMaskOptions, index: InstanceIndex, sam: Segmenter, part: int, path: Path
) -> list[str]:
    """Write one part; returns what is wrong with pictures that are not in it."""
    which = range(part * options.part_size, min((part + 1) * options.part_size, len(index.files)))
    pictures = _Pictures(index, which, options.root / options.split, box_geometry(sam))
    loader = DataLoader(
        pictures, options.bsz, num_workers=options.nworker, collate_fn=lambda rows: rows
    )
    images, annotations, failed = [], [], []
    for rows in loader:
        failed += [image for _, image in rows if isinstance(image, str)]
        read = [(number, image) for number, image in rows if not isinstance(image, str)]
        if not read:
            continue
        batch = torch.stack([image for _, image in read]).to(sam.device)
        with torch.no_grad(), autocast(sam.device, options.precision):
            features = sam.encode(batch)
            for place, (number, _) in enumerate(read):
                images.append(listed(index, number))
                one = features[place : place + 1]
                annotations += annotated(index, number, masks_of(sam, one, index, number))
    names = [{"id": c, "name": name} for c, name in index.categories.items()]
    content = {"images": images, "annotations": annotations, "categories": names}
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content)))
    return failed


def masks_of(
    sam: Segmenter, features: Any, index: InstanceIndex, number: int
) -> Iterator[tuple[int, np.ndarray, float]]:
    """Each object of a picture with its mask and SAM's estimate of the mask's IoU."""
    own, size = index.objects(number), tuple(index.sizes[number].tolist())
    objects = np.arange(own.start, own.stop)
    crowd = index.crowd[own]
    for one in objects[crowd]:
        left, top, width, height = index.boxes[one]
        mask = np.zeros(size, dtype=bool)
        mask[round(top) : round(top + height), round(left) : round(left + width)] = True
        yield one, mask, 1.0
    single = objects[~crowd]
    found = masks_of_boxes(sam, features, np.array(index.boxes[single], dtype=np.float64), size)
    for one, (mask, quality) in zip(single, found, strict=True):
        yield one, mask, quality


def annotated(
    index: InstanceIndex, number: int, masks: Iterator[tuple[int, np.ndarray, float]]
) -> list[dict[str, Any]]:
    """The annotations of a picture, in the order of the file, without those of empty masks."""
    found = []
    for one, mask, quality in sorted(masks, key=lambda entry: entry[0]):
        if mask.any():
            facts = {
                "id": int(index.object_ids[one]),
                "image_id": number + 1,
                "category_id": int(index.category_ids[one]),
            }
            marks = {"iscrowd": int(index.crowd[one]), "predicted_iou": round(quality, 3)}
            found.append({**mask_annotation(mask), **facts, **marks})
    return found


def picture_name(index: InstanceIndex, number: int) -> str:
    """Patch and file, whatever folders the annotations put before them."""
    return "/".join(Path(index.file(number)).parts[-2:])


def listed(index: InstanceIndex, number: int) -> dict[str, Any]:
    height, width = index.sizes[number].tolist()
    name = picture_name(index, number)
    return {"id": number + 1, "file_name": name, "height": height, "width": width}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
