"""Pictures as datasets of Ray: files, Parquet and WebDataset through Ray's own readers.

Every dataset has the columns file, member, content and error: of a picture's own file only the
first; of Parquet and WebDataset what Ray's reader found in it.
"""

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import pandas as pd
import pyarrow as pa
import ray
from ray.data import Dataset
from ray.data._internal.datasource import webdataset_datasource as webdataset

from common.video_io import IMAGE_SUFFIXES
from labelling.shards import PARQUET, PICTURES, Shard, Storage

READING_CPUS = 0.25
"""What of a processor a task that reads Parquet or tar files is counted as."""
TAR_SAMPLES = 32
"""Pictures of a tar file that are read before any of them goes on."""
_PICTURE = ".picture"

COLUMNS = pa.schema(
    [
        *(("file", pa.string()), ("member", pa.string())),
        *(("content", pa.binary()), ("error", pa.string())),
    ]
)


def picture_rows(shards: Sequence[Shard], storage: Storage, batch: int, column: str) -> Dataset:
    """The pictures of shards of one kind, in their order, in the columns `COLUMNS`.

    Args:
        batch: pictures' own files that travel together.
        column: of Parquet files, what the pictures are in.
    """
    paths = [one.path for shard in shards for one in shard.files]
    if shards[0].kind == PICTURES:
        tables = [_table(file=paths[n : n + batch]) for n in range(0, len(paths), batch)]
        return ray.data.from_arrow(tables)
    given = {"filesystem": storage.files, "override_num_blocks": len(paths)}
    if shards[0].kind == PARQUET:
        read = ray.data.read_parquet(
            *(paths,),
            columns=[column],
            include_paths=True,
            partitioning=None,
            num_cpus=READING_CPUS,
            **given,
        )
    else:
        source = Pictures(
            paths,
            decoder=None,
            fileselect=[f"*{_PICTURE}"],
            filerename=_each_alone,
            include_paths=True,
            filesystem=storage.files,
        )
        read = ray.data.read_datasource(
            source, override_num_blocks=len(paths), num_cpus=READING_CPUS
        )
        column = _PICTURE.removeprefix(".")
    return read.map_batches(
        _as_columns,
        fn_args=(column,),
        batch_format="pyarrow",
        batch_size=None,
        num_cpus=READING_CPUS,
    )


class Pictures(webdataset.WebDatasetDatasource):
    """Ray's reader of tar files, which tells of a broken one instead of stopping everything."""

    def _read_stream(self, stream: Any, path: str) -> Iterator[pd.DataFrame]:
        webdataset.WEBDATASET_READ_CHUNK_SIZE = TAR_SAMPLES  # 512 telephone photographs are 2 GB
        try:
            yield from super()._read_stream(stream, path)
        except (tarfile.TarError, EOFError, ValueError, OSError) as error:
            yield pd.DataFrame([{"__key__": "", "error": f"cannot read {path} on: {error}"}])


def _each_alone(member: str) -> str:
    """Rename a tar's member so that every picture is a sample of its own; others as they are."""
    if PurePosixPath(member).suffix.lower() not in IMAGE_SUFFIXES:
        return member
    return quote(member).replace(".", "%2E") + _PICTURE


def _as_columns(table: pa.Table, column: str) -> pa.Table:
    """What one of Ray's readers found, in the columns of all kinds."""
    count, names = len(table), set(table.column_names)
    content = table[column].to_pylist() if column in names else [None] * count
    if "__key__" in names:
        members = [unquote(key) for key in table["__key__"].to_pylist()]
    else:  # rows of Hugging Face's data sets have a name beside the bytes
        members = [(one.get("path") if isinstance(one, dict) else None) or "" for one in content]
    content = [one.get("bytes") if isinstance(one, dict) else one for one in content]
    errors = table["error"].to_pylist() if "error" in names else [None] * count
    return _table(
        file=table["path"].to_pylist(),
        member=members,
        content=content,
        error=[error if isinstance(error, str) else None for error in errors],
    )


def _table(**columns: Sequence[Any]) -> pa.Table:
    count = len(columns["file"])
    given = {name: columns.get(name, [None] * count) for name in COLUMNS.names}
    return pa.table(given, schema=COLUMNS)
