"""Shards of pictures through Ray Data: read anywhere, labelled by actors, taken back in order.

Rows come back in the order of the shards, so that a shard is whole when the next begins, whoever
labelled it and however often a process died on the way.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby

import psutil
import pyarrow as pa
import ray
import torch
from ray.data import ActorPoolStrategy, DataContext, Dataset

from common.distributed import Processes, choose_device
from common.errors import UsageError
from common.files import ROOT
from labelling.choice import open_labeller
from labelling.cluster_reading import COLUMNS, READING_CPUS, picture_rows
from labelling.learning import learn_classes
from labelling.loop import Labelling
from labelling.options import LabellingOptions
from labelling.references import Shots
from labelling.rows import ROW, RowResults, StoredPicture, table_of
from labelling.shards import PARQUET, PICTURES, Shard, Storage
from model.checkpoint import frozen_fingerprint
from model.method_options import MethodOptions

RETRIES = 10
"""So often is a batch given to another process when the one that had it died."""
STARTS = 8
"""So often is a start on this machine tried: Ray gives each half a minute, also on a busy one."""
BLOCK = 32 * 2**20
"""Bytes of pictures that travel together."""


@dataclass(frozen=True)
class Work:
    """What an actor has to know; small enough to be sent to many."""

    options: LabellingOptions
    named: MethodOptions | None
    """The method, where no checkpoint has it."""
    classes: Mapping[int, str]
    """Class id -> name."""
    taken: Mapping[int, Shots]
    """The shots of each class, with the masks that the method takes."""
    threshold: float
    fingerprint: str
    """Of the frozen weights that the results are claimed for."""
    storage: Storage
    threads: int


@dataclass(frozen=True)
class Resources:
    """How many actors there are, and what each takes."""

    actors: int
    cpus: float
    gpus: float
    batch: int
    """Pictures that an actor is given at a time."""


class Actor:
    """A process with a model of its own that labels batches of pictures."""

    def __init__(self, work: Work) -> None:
        """Build the model.

        Raises:
            UsageError: weights are missing on this node, or are others than elsewhere.
        """
        torch.set_num_threads(work.threads)
        silent = Processes(1, 2, choose_device(work.options.device))  # the driver has said it all
        segmenter = open_labeller(work.options, work.named, silent).segmenter
        if frozen_fingerprint(segmenter.method) != work.fingerprint:
            raise UsageError(f"other weights on {os.uname().nodename} than where the work began")
        self.work, self.segmenter = work, segmenter
        self.concepts = learn_classes(segmenter, work.classes, work.taken)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The rows of a batch's pictures, and the shard's file of each."""
        work = self.work
        pictures = [self._picture(**row) for row in batch.select(COLUMNS.names).to_pylist()]
        calibrated = self.segmenter.is_calibrated
        results = RowResults(work.storage, work.classes, calibrated, work.options.instances)
        Labelling(
            *(self.segmenter, self.concepts, results, work.options, work.threshold), silent=True
        ).label_pictures(pictures)
        rows = table_of([results.rows[picture] for picture in pictures])
        return rows.append_column("file", batch["file"].cast(pa.string()))

    def _picture(
        self, file: str, member: str | None, content: bytes | None, error: str | None
    ) -> StoredPicture:
        whole = f"{self.work.storage.prefix}{file}"
        if member is None:
            return StoredPicture(whole, file, error=error)
        name = f"{whole}::{member}" if member else whole
        return StoredPicture(name, None, content, error)


@contextmanager
def joined_cluster(address: str | None, object_store_mb: int | None) -> Iterator[None]:
    """Be part of a cluster, or of one that is started on this machine and ends with the block.

    Args:
        address: auto or HOST:PORT; None: what RAY_ADDRESS says, otherwise this machine.
        object_store_mb: memory for what is on its way, where Ray is started here.

    Raises:
        UsageError: there is no such cluster.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    here = {"include_dashboard": False, "num_cpus": max(2, os.cpu_count() or 1)}
    if object_store_mb is not None:
        here["object_store_memory"] = object_store_mb * 2**20
    environment = {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    if "DCSAM_WEIGHTS" in os.environ:
        environment["DCSAM_WEIGHTS"] = os.environ["DCSAM_WEIGHTS"]
    before = psutil.Process().children(recursive=True)
    for left in reversed(range(1 if address else STARTS)):
        try:
            ray.init(
                address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": environment},
                **({} if address else here),
            )
            break
        except Exception as error:  # Ray raises Exception itself where its start takes long
            if "timed out during startup" not in str(error) or not left:
                raise UsageError(f"no cluster of Ray: {error}") from error
            print("Ray starts slowly: once more", file=sys.stderr)
            _end_others(before)
    try:
        yield
    finally:
        ray.shutdown()


def _end_others(before: Sequence[psutil.Process]) -> None:
    """End the processes of a start that came to nothing, which Ray leaves to themselves.

    Args:
        before: the children that there were before.
    """
    started = [one for one in psutil.Process().children(recursive=True) if one not in before]
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(started, timeout=10)


def actors_with_room(cpus: float, gpus: float) -> int:
    """How many actors find room on the nodes that are there now.

    Raises:
        UsageError: none does.
    """
    there = ray.cluster_resources()
    for_actors = there.get("CPU", 0) - READING_CPUS
    count = int(for_actors // cpus)
    if gpus:
        count = min(count, int(there.get("GPU", 0) // gpus))
    if not count:
        raise UsageError(
            f"no room for an actor of {cpus:g} cores and {gpus:g} GPUs: there are "
            f"{for_actors:g} cores and {there.get('GPU', 0):g} GPUs"
        )
    return count


def label_shards(
    shards: Sequence[Shard], work: Work, resources: Resources, column: str
) -> Iterator[tuple[Shard, pa.Table]]:
    """Label shards of one kind; yields each with its rows, in their order.

    Args:
        column: of Parquet files, what the pictures are in.

    Raises:
        UsageError: a model could not be built, a batch's process died again and again, or a file
            that had been listed is gone.
    """
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK
    shard_of = {one.path: shard for shard in shards for one in shard.files}
    labelled = picture_rows(shards, work.storage, resources.batch, column).map_batches(
        Actor,
        fn_constructor_args=(work,),
        batch_format="pyarrow",
        batch_size=resources.batch,
        compute=ActorPoolStrategy(size=resources.actors),
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
        max_restarts=-1,
        max_task_retries=RETRIES,
    )
    waiting = list(shards)
    for shard, rows in _joined(labelled, shard_of):
        while waiting and waiting[0] is not shard:  # those without a picture give no row
            yield waiting.pop(0), ROW.empty_table()
        if not waiting:
            raise RuntimeError(f"rows of shard {shard.number} came out of order")
        if shard.kind == PICTURES and len(rows) != len(shard.files):
            raise RuntimeError(f"shard {shard.number} has {len(rows)} rows of {len(shard.files)}")
        yield waiting.pop(0), _numbered(rows, work.storage, shard)
    for shard in waiting:
        yield shard, ROW.empty_table()


def _joined(labelled: Dataset, shard_of: Mapping[str, Shard]) -> Iterator[tuple[Shard, pa.Table]]:
    """The rows of each shard as soon as they are all there."""
    shard, parts = None, []
    for table in _batches(labelled):
        first = 0
        for found, run in groupby(table["file"].to_pylist(), lambda file: shard_of[file]):
            count = len([*run])
            if found is not shard and parts:
                yield shard, pa.concat_tables(parts)
                parts = []
            shard = found
            parts.append(table.slice(first, count).select(ROW.names).cast(ROW))
            first += count
    if parts:
        yield shard, pa.concat_tables(parts)


def _batches(labelled: Dataset) -> Iterator[pa.Table]:
    try:
        yield from labelled.iter_batches(batch_size=None, batch_format="pyarrow")
    except ray.exceptions.RayError as error:
        told = str(error).strip()
        *_, last = told.rpartition(f"{UsageError.__name__}: ")
        raise UsageError(f"the cluster gave up: {last if last != told else told}") from error


def _numbered(rows: pa.Table, storage: Storage, shard: Shard) -> pa.Table:
    """Rows of a Parquet file that has no names for its pictures are called by their number."""
    whole = f"{storage.prefix}{shard.files[0].path}"
    if shard.kind != PARQUET or whole not in (names := rows["name"].to_pylist()):
        return rows
    names = [f"{whole}::{n}" if name == whole else name for n, name in enumerate(names)]
    return rows.set_column(0, "name", pa.array(names, pa.string()))
