"""What an instances file in COCO's JSON says, kept beside it as arrays that open in no time.

Reading hundreds of megabytes of JSON takes minutes and gigabytes, in every process that does it.
So it is done once: outlines become run lengths, and everything becomes arrays in a folder, which
are mapped into memory. Processes share them, and only the masks of a picture that is read are
decoded.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths
from tqdm import tqdm

from common.errors import UsageError
from common.files import temporary_beside
from data.annotated.source import Annotation
from data.class_index import personal_copy

_FORMAT = 1
_HEADER = "header.json"
_TRIANGLE = 6
"""Numbers of the shortest outline that encloses anything."""


@dataclass(frozen=True)
class InstanceIndex:
    """Pictures and objects of one or several instances files; objects are ordered by picture."""

    categories: Mapping[int, str]
    files: np.ndarray
    """P file names as bytes, below the data set's folder where the file says so (LVIS)."""
    image_ids: np.ndarray
    """P int64."""
    sizes: np.ndarray
    """P x 2 int32: height and width."""
    starts: np.ndarray
    """P + 1: where each picture's objects begin."""
    object_ids: np.ndarray
    """int64."""
    category_ids: np.ndarray
    """int32."""
    crowd: np.ndarray
    """bool."""
    run_starts: np.ndarray
    """Where each object's run lengths begin in `runs`, and the end of the last."""
    runs: np.ndarray
    """uint8: COCO's compressed run lengths."""

    @cached_property
    def positions(self) -> np.ndarray:
        """Of each object: its picture's position."""
        return np.repeat(np.arange(len(self.files)), np.diff(self.starts))

    def file(self, picture: int) -> str:
        return self.files[picture].decode()

    def annotation(self, picture: int) -> Annotation:
        """What is marked in a picture, in the order of the file, H x W each."""
        start, end = int(self.starts[picture]), int(self.starts[picture + 1])
        height, width = (int(side) for side in self.sizes[picture])
        bounds = self.run_starts[start : end + 1]
        counts = [bytes(self.runs[begin:stop]) for begin, stop in pairwise(bounds)]
        masks = np.zeros((0, height, width), dtype=bool)
        if counts:
            coded = [{"size": [height, width], "counts": one} for one in counts]
            masks = np.array([run_lengths.decode(one) for one in coded], dtype=bool)
        return Annotation(
            masks,
            np.array(self.category_ids[start:end], dtype=np.int64),
            np.array(self.object_ids[start:end], dtype=np.int64),
            np.array(self.crowd[start:end]),
        )


_ARRAYS = tuple(name for name in InstanceIndex.__annotations__ if name != "categories")


def open_index(file: Path) -> InstanceIndex:
    """Open an instances file's arrays, which are made if they are not there or are out of date.

    They lie beside the file in `<its name>.index`, or in the user's cache folder where that cannot
    be written.

    Args:
        file: a JSON file, or a folder of JSON files whose pictures are different ones.

    Raises:
        UsageError: there is no such file, or it is not in COCO's format.
    """
    parts = sorted(file.glob("*.json")) if file.is_dir() else [file]
    try:
        states = [(part.name, part.stat().st_size, part.stat().st_mtime_ns) for part in parts]
    except OSError as error:
        raise UsageError(
            f"cannot read the annotations {error.filename}: {error.strerror}"
        ) from None
    if not states:
        raise UsageError(f"{file} holds no .json file of annotations")
    stamp = hashlib.sha256(json.dumps([_FORMAT, states]).encode()).hexdigest()
    place = file.with_name(f"{file.name}.index")
    places = (place, personal_copy(place))
    for folder in places:
        if (index := _read(folder, stamp)) is not None:
            return index
    arrays, categories = _parse(parts)
    for folder in places[1:] if _read_only(place.parent) else places:
        with contextlib.suppress(OSError, UsageError):
            _write(folder, arrays, {"stamp": stamp, "categories": categories})
            if (index := _read(folder, stamp)) is not None:
                return index
    return InstanceIndex(categories=categories, **arrays)  # no place to keep them: made every time


def _read_only(folder: Path) -> bool:
    return not folder.stat().st_mode & 0o222


def _read(folder: Path, stamp: str) -> InstanceIndex | None:
    """The arrays of the same file, else None."""
    try:
        header = json.loads((folder / _HEADER).read_text())
        if header["stamp"] != stamp:
            return None
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        return InstanceIndex(categories={int(c): n for c, n in header["categories"]}, **arrays)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, arrays: Mapping[str, np.ndarray], header: dict[str, Any]) -> None:
    """Fill a folder that appears when it is complete, in the place of an older one."""
    unfinished = temporary_beside(folder)
    try:
        unfinished.mkdir()
        for name, array in arrays.items():
            np.save(unfinished / f"{name}.npy", array)
        header = {**header, "categories": list(header["categories"].items())}
        (unfinished / _HEADER).write_text(json.dumps(header))
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _parse(parts: Sequence[Path]) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    categories: dict[int, str] = {}
    images: list[dict[str, Any]] = []
    objects: list[tuple[int, int, int, bool, bytes]] = []
    for part in parts:
        try:
            content = json.loads(part.read_bytes())
            own = {int(image["id"]): image for image in content["images"]}
            categories |= {int(c["id"]): str(c["name"]) for c in content["categories"]}
            offset = len(images)
            images += own.values()
            place = {image_id: offset + n for n, image_id in enumerate(own)}
            title = f"reading {part.name}"
            annotations: Iterable[dict[str, Any]] = content.pop("annotations")
            objects += [
                (
                    place[int(one["image_id"])],
                    int(one["id"]),
                    int(one["category_id"]),
                    bool(one.get("iscrowd", 0)),
                    _counts(one["segmentation"], own[int(one["image_id"])]),
                )
                for one in tqdm(annotations, title, mininterval=0.5)
            ]
        except OSError as error:
            raise UsageError(f"cannot read the annotations {part}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UsageError(f"{part} is no instances file in COCO's format: {error!r}") from None
    unknown = {category for _, _, category, _, _ in objects} - categories.keys()
    if unknown:
        raise UsageError(f"{parts[0]}: objects of categories that are not listed: {unknown}")
    objects.sort(key=lambda one: one[0])  # stable: within a picture, the order of the file
    columns = list(zip(*objects, strict=True)) if objects else [()] * 5
    counts = np.bincount(np.array(columns[0], dtype=np.int64), minlength=len(images))
    arrays = {
        "files": np.array([_file(image).encode() for image in images]),
        "image_ids": np.array([int(image["id"]) for image in images], dtype=np.int64),
        "sizes": np.array([(i["height"], i["width"]) for i in images], np.int32).reshape(-1, 2),
        "starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "object_ids": np.array(columns[1], dtype=np.int64),
        "category_ids": np.array(columns[2], dtype=np.int32),
        "crowd": np.array(columns[3], dtype=bool),
        "run_starts": np.cumsum([0, *map(len, columns[4])]).astype(np.int64),
        "runs": np.frombuffer(b"".join(columns[4]), dtype=np.uint8),
    }
    return arrays, categories


def _file(image: Mapping[str, Any]) -> str:
    """Where a picture lies: its file name, or of LVIS folder and name as in its address."""
    if "file_name" in image:
        return str(image["file_name"])
    return "/".join(PurePosixPath(str(image["coco_url"])).parts[-2:])


def _counts(segmentation: Any, image: Mapping[str, Any]) -> bytes:
    """Compressed run lengths of outlines, of plain run lengths, or of compressed ones."""
    height, width = int(image["height"]), int(image["width"])
    if isinstance(segmentation, list):
        outlines = [one for one in segmentation if len(one) >= _TRIANGLE]
        if not outlines:
            return run_lengths.encode(np.zeros((height, width), np.uint8, order="F"))["counts"]
        return run_lengths.merge(run_lengths.frPyObjects(outlines, height, width))["counts"]
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"run lengths for {segmentation['size']} in a picture of {height, width}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return run_lengths.frPyObjects(segmentation, height, width)["counts"]
    return counts.encode() if isinstance(counts, str) else counts
