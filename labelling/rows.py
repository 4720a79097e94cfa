"""The labels of pictures as rows of a table, and the two files that are made of a shard's rows.

name         the picture's path or URI; of a WebDataset FILE.tar::MEMBER, of Parquet FILE::ROW
sha256       of its content, and bytes, the length of it
height       of the picture, upright, and width
scores       of every class: {class, score}
annotations  {category_id, counts, area, bbox, score, instance}: counts are COCO's compressed run
             lengths of a mask of height x width; instance only where objects are told apart
error        why the picture could not be labelled; then the columns above are empty
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from common.errors import UsageError
from common.files import write_atomically
from common.logger import write_json
from common.settings import claim_folder
from labelling.annotations import coco_file, picture_entry
from labelling.objects import Labels
from labelling.records import Source
from labelling.results import PictureResults
from labelling.shards import Shard, Storage

_SCORE = pa.struct([("class", pa.string()), ("score", pa.float64())])
_ANNOTATION = pa.struct(
    [
        *(("category_id", pa.int32()), ("counts", pa.string()), ("area", pa.int64())),
        *(("bbox", pa.list_(pa.float64())), ("score", pa.float64()), ("instance", pa.int32())),
    ]
)
ROW = pa.schema(
    [
        *(("name", pa.string()), ("sha256", pa.string()), ("bytes", pa.int64())),
        *(("height", pa.int32()), ("width", pa.int32()), ("scores", pa.list_(_SCORE))),
        *(("annotations", pa.list_(_ANNOTATION)), ("error", pa.string())),
    ]
)
"""The columns of a shard's Parquet file."""

IDS_OF_A_SHARD = 10**8
"""Images and annotations of a shard are numbered from its number times this, plus 1."""


class NamedBytes(io.BytesIO):
    """The content of a picture, which messages call by its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class StoredPicture:
    """A picture in some storage."""

    name: str
    path: str | None = None
    """Its file, where it is one."""
    content: bytes | None = None
    """What was in the row or member that it is, where it is none."""
    error: str | None = None
    """Why it could not even be read from there."""


@dataclass(frozen=True)
class RowResults(PictureResults[StoredPicture]):
    """Collects the labels of pictures as rows."""

    storage: Storage
    classes: Mapping[int, str]
    """Class id -> name."""
    calibrated: bool
    """Whether scores are probabilities."""
    instances: bool
    """Whether objects are told apart."""
    overlays: bool = False
    rows: dict[StoredPicture, dict[str, Any]] = field(default_factory=dict)
    """What is known of each picture."""

    def open(self, target: StoredPicture) -> tuple[Source, BinaryIO]:
        if target.error is not None:
            raise UsageError(target.error)
        content = target.content
        if content is None:
            if target.path is None:
                raise UsageError(f"{target.name} holds no picture")
            content = self.storage.read(target.path)
        source = Source(target.name, len(content), 0, sha256(content).hexdigest())
        return source, NamedBytes(content, target.name)

    def write(
        self,
        target: StoredPicture,
        source: Source,
        labels: Labels,
        picture: np.ndarray | None = None,
    ) -> None:
        entry = picture_entry({}, labels, self.classes, self.calibrated, self.instances)
        scores = entry["image"]["presence" if self.calibrated else "score"]
        self.rows[target] = {
            **{"name": target.name, "sha256": source.sha256, "bytes": source.size},
            **{side: entry["image"][side] for side in ("height", "width")},
            "scores": [{"class": name, "score": score} for name, score in scores.items()],
            "annotations": [
                {
                    **{name: one[name] for name in ("category_id", "area", "bbox", "score")},
                    "counts": one["segmentation"]["counts"],
                    "instance": one.get("instance"),
                }
                for one in entry["annotations"]
            ],
        }

    def fail(self, target: StoredPicture, error: UsageError) -> None:
        self.rows[target] = {"name": target.name, "error": str(error)}


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table; what a row does not say is empty."""
    return pa.Table.from_pylist([{name: row.get(name) for name in ROW.names} for row in rows], ROW)


def coco_entry(row: Mapping[str, Any], calibrated: bool) -> dict[str, Any]:
    """The part of a COCO file of a row without an error: "image" and "annotations", without ids."""
    size = [row["height"], row["width"]]
    annotations = []
    for one in row["annotations"]:
        segmentation = {"size": size, "counts": one["counts"]}
        numbered = {} if one["instance"] is None else {"instance": one["instance"]}
        plain = {name: one[name] for name in ("category_id", "area", "bbox", "score")}
        annotations.append({**plain, "segmentation": segmentation, "iscrowd": 0, **numbered})
    scores = {one["class"]: one["score"] for one in row["scores"]}
    image = {"file_name": row["name"], "height": size[0], "width": size[1]}
    return {
        "image": {**image, "presence" if calibrated else "score": scores},
        "annotations": annotations,
    }


@dataclass(frozen=True)
class ShardFolder:
    """The results of a cluster: parquet/NAME.parquet and coco/NAME.json of each shard."""

    path: Path
    classes: Mapping[int, str]
    """Class id -> name."""
    calibrated: bool
    """Whether scores are probabilities."""

    def claim(self, settings: dict[str, Any]) -> None:
        """Write down what the results depend on (JSON values).

        Raises:
            UsageError: the folder holds results of other settings, or cannot be written.
        """
        classes = {str(class_id): name for class_id, name in self.classes.items()}
        claim_folder(self.path, settings | {"classes": classes})

    @property
    def plan(self) -> Path:
        """The file that says which picture is in which shard."""
        return self.path / "plan.parquet"

    def files(self, shard: Shard) -> tuple[Path, Path]:
        """Where a shard's COCO and Parquet files go; the latter is written last."""
        return self.path / "coco" / f"{shard.name}.json", self._rows(shard)

    def is_done(self, shard: Shard) -> bool:
        return all(file.exists() for file in self.files(shard))

    def write(self, shard: Shard, rows: pa.Table) -> None:
        """Write a shard's results, each file all or nothing.

        Raises:
            UsageError: a file cannot be written.
        """
        coco, table = self.files(shard)
        found = [row for row in rows.to_pylist() if row["error"] is None]
        entries = [coco_entry(row, self.calibrated) for row in found]
        content = coco_file(entries, self.classes, 1 + shard.number * IDS_OF_A_SHARD)
        info = {"image_folder": "", "presence_calibrated": self.calibrated}
        write_json(coco, {"info": info, **content})
        write_atomically(table, lambda place: parquet.write_table(rows, place))

    def failures(self, shards: Sequence[Shard]) -> int:
        """How many pictures of some shards that are done could not be labelled."""
        errors = (parquet.read_table(self._rows(one), columns=["error"])["error"] for one in shards)
        return sum(len(column) - column.null_count for column in errors)

    def clear(self, shards: Sequence[Shard]) -> None:
        """Delete results of other shards, which were made of files that are gone or changed."""
        kept = {file for shard in shards for file in self.files(shard)}
        for file in [*(self.path / "coco").glob("*"), *(self.path / "parquet").glob("*")]:
            if file not in kept:
                file.unlink(missing_ok=True)

    def _rows(self, shard: Shard) -> Path:
        return self.path / "parquet" / f"{shard.name}.parquet"
