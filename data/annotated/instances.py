"""Instance sources: annotations in COCO's JSON, one mask for each object.

COCO 2017:   COCO2017/annotations/instances_train2017.json and pictures in COCO2017/train2017/
LVIS v1:     LVIS/lvis_v1_train.json, pictures in COCO2017/{train2017,val2017}/
Objects365:  Objects365/masks/train/*.json, which `tools.box_masks` makes, pictures in
             Objects365/train/<patch>/
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths
from tqdm import tqdm

from common.cli import shown
from common.coco_masks import listed_size, refuse_outlines, refuse_runs
from common.errors import UsageError
from common.files import BROKEN, parse_json
from data.annotated.array_store import Parsed, stored_arrays
from data.annotated.object_index import IndexedImages, ObjectIndex, object_arrays
from data.annotated.source import Annotation

_TRIANGLE = 6
"""Numbers of the shortest outline that encloses anything."""


@dataclass(frozen=True)
class InstanceIndex(ObjectIndex):
    """Objects with masks, which are decoded when they are asked for."""

    boxes: np.ndarray
    """O x 4 float32: left, top, width and height, as the file says."""
    owners: np.ndarray
    """O int64: of a part, the id of the object that it belongs to (PACO); -1: nothing is said."""
    run_starts: np.ndarray
    """O + 1 int64: where each object's run lengths begin in `runs`; of an object without a mask
    there are none."""
    runs: np.ndarray
    """uint8: COCO's compressed run lengths."""

    def masks(self, picture: int) -> np.ndarray:
        """The masks of a picture's objects, N x H x W bool."""
        objects, size = self.objects(picture), self.sizes[picture].tolist()
        masks = np.zeros((objects.stop - objects.start, *size), dtype=bool)
        for mask, number in zip(masks, range(objects.start, objects.stop), strict=True):
            mask[:] = self.mask(number)
        return masks

    def mask(self, number: int) -> np.ndarray:
        """The mask of one object, H x W uint8."""
        begin, stop = self.run_starts[number : number + 2].tolist()
        size = self.sizes[self.positions[number]].tolist()
        return run_lengths.decode({"size": size, "counts": bytes(self.runs[begin:stop])})


def open_instances(file: Path) -> InstanceIndex:
    """Read an instances file, or the arrays that were made of it.

    Args:
        file: a JSON file, or a folder of part-*.json whose pictures are different ones.

    Raises:
        UsageError: there is no such file, or it is not in COCO's format.
    """
    arrays, categories = stored_arrays(file, _parse)
    return InstanceIndex(categories=categories, **arrays)


class Instances(IndexedImages):
    """Pictures of an instances file; the arguments are those of `IndexedImages`.

    Raises:
        UsageError: objects have boxes and no masks, or as `open_instances` and `IndexedImages`.
    """

    kind = "instance"
    index: InstanceIndex

    def __init__(
        self,
        name: str,
        root: Path,
        annotations: Path,
        images: Path,
        without: Collection[int] = (),
        without_files: Collection[str] = (),
    ) -> None:
        index = open_instances(annotations)
        bare = int((np.diff(index.run_starts) == 0).sum())
        if bare:
            raise UsageError(
                f"{annotations}: {bare} objects have no masks. python -m tools.box_masks makes "
                "them from boxes"
            )
        super().__init__(name, root, index, images, without, without_files)

    def facts(self) -> Sequence[np.ndarray]:
        return (self.index.run_starts,)  # other masks have run lengths of other lengths

    def read(self, name: str) -> tuple[np.ndarray, Annotation]:
        pixels, picture = self.pixels(name), self.picture(name)
        own = self.index.objects(picture)
        return pixels, Annotation(
            self.index.masks(picture),
            np.array(self.index.category_ids[own]),
            np.array(self.index.object_ids[own]),
            np.array(self.index.crowd[own]),
        )


def _parse(parts: Sequence[Path]) -> Parsed:
    categories: dict[int, str] = {}
    images: list[dict[str, Any]] = []
    found: list[tuple[tuple[int, int, int, bool], Sequence[float], bytes]] = []
    owners: list[tuple[int, int]] = []
    for part in parts:
        try:
            content = parse_json(part.read_bytes())
            categories |= {int(c["id"]): str(c["name"]) for c in content["categories"]}
            own = {int(image["id"]): image for image in content["images"]}
            place = {image_id: n for n, image_id in enumerate(own, start=len(images))}
            images += own.values()
            annotations = content.pop("annotations")
            title = {"desc": f"reading {part.name}", "total": len(annotations), "mininterval": 0.5}
            for one in tqdm(_emptied(annotations), **title):
                image_id = int(one["image_id"])
                facts = (place[image_id], int(one["id"]), int(one["category_id"]))
                crowd = bool(one.get("iscrowd", 0))
                counts = _counts(one.get("segmentation"), own[image_id])
                found.append(((*facts, crowd), one.get("bbox", (0, 0, 0, 0)), counts))
                owners.append((place[image_id], int(one.get("obj_ann_id", -1))))
        except OSError as error:
            raise UsageError(f"cannot read the annotations {part}: {error.strerror}") from None
        except BROKEN as error:
            raise UsageError(
                f"{part} is no instances file in COCO's format: {shown(error)}"
            ) from None
    unknown = {objects[2] for objects, _, _ in found} - categories.keys()
    if unknown:
        raise UsageError(f"{parts[0]}: objects of categories that are not listed: {unknown}")
    found.sort(key=lambda one: one[0][0])  # stable: within a picture, the order of the file
    owners.sort(key=lambda one: one[0])
    sizes = [listed_size(image) for image in images]
    lengths = [0, *(len(counts) for _, _, counts in found)]
    arrays = {
        **object_arrays([_file(image) for image in images], sizes, [one[0] for one in found]),
        "boxes": np.array([box for _, box, _ in found], dtype=np.float32).reshape(-1, 4),
        "owners": np.array([owner for _, owner in owners], dtype=np.int64),
        "run_starts": np.cumsum(lengths).astype(np.int64),
        "runs": np.frombuffer(b"".join(counts for _, _, counts in found), dtype=np.uint8),
    }
    return arrays, categories


def _emptied(values: list[Any]) -> Iterator[Any]:
    """The values in their order; the list lets go of each, so that less memory is needed."""
    values.reverse()
    while values:
        yield values.pop()


def _file(image: Mapping[str, Any]) -> str:
    """Where a picture lies: its file name, or of LVIS folder and name as in its address."""
    if "file_name" in image:
        return str(image["file_name"])
    return "/".join(PurePosixPath(str(image["coco_url"])).parts[-2:])


def _counts(segmentation: Any, image: Mapping[str, Any]) -> bytes:
    """Compressed run lengths of outlines or of run lengths of any kind; none of nothing."""
    if segmentation is None:
        return b""
    height, width = size = listed_size(image)
    if isinstance(segmentation, list):
        refuse_outlines(segmentation, size)
        outlines = [one for one in segmentation if len(one) >= _TRIANGLE]
        if not outlines:
            return run_lengths.encode(np.zeros((height, width), np.uint8, order="F"))["counts"]
        return run_lengths.merge(run_lengths.frPyObjects(outlines, height, width))["counts"]
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"run lengths for {segmentation['size']}, a picture of {height, width}")
    counts = segmentation["counts"]
    refuse_runs(counts, size)
    if isinstance(counts, list):
        return run_lengths.frPyObjects(segmentation, height, width)["counts"]
    return counts.encode() if isinstance(counts, str) else counts
