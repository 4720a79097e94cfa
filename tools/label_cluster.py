"""Label a million pictures with many machines, as predict.py labels a folder with one.

    python -m tools.label_cluster --reference dog.jpg dog_mask.png --target photos --output out
    python -m tools.label_cluster --address auto --gpus_per_actor 0.5 --ckpt /shared/FILE \\
        --reference dog.jpg dog_mask.png --target s3://bucket/photos --output /shared/out

Targets are folders or files, here or in object storage: pictures, Parquet files with a column of
encoded pictures, and tar files as WebDataset has them. Ray Data reads them on all nodes of a
cluster; without --address it is started on this machine. The output folder gets parquet/ and
coco/, a file in each for every shard. A shard that is done is skipped when the command is given
again, and one whose files have changed is redone. What cannot be read is a row that says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from common.cli import answer_early, option, run_script
from common.errors import UsageError
from labelling.options import Examples, LabellingOptions, parse_labelling
from model.method_options import MethodOptions

if TYPE_CHECKING:
    from labelling.cluster import Work
    from labelling.rows import ShardFolder
    from labelling.shards import Shard


@dataclass(frozen=True)
class ClusterOptions:
    """Where the work is done, and in which parts."""

    address: str | None = option(
        None, "of a cluster of Ray: auto, or HOST:PORT (default: RAY_ADDRESS, else this machine)"
    )
    actors: int | None = option(
        None, "processes with a model each (default: as many as there is room for)"
    )
    gpus_per_actor: float = option(0.0, "GPUs that each of them takes; 0.25: four share one")
    cpus_per_actor: float = option(1.0, "processor cores that each of them takes")
    shard_size: int = option(1000, "pictures whose results are written together")
    batch: int = option(32, "pictures that an actor is given at a time")
    image_column: str = option("image", "column of Parquet files that the pictures are in")
    object_store_mb: int | None = option(
        None, "memory for what is on its way where Ray is started here (default: Ray's own)"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = [
            f"--{name} must be at least 1, not {getattr(self, name)}"
            for name in ("actors", "shard_size", "batch")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        if self.gpus_per_actor < 0 or self.cpus_per_actor <= 0:
            found.append("--cpus_per_actor must be above 0, and --gpus_per_actor not below")
        if self.object_store_mb is not None and self.object_store_mb < 100:
            found.append("--object_store_mb: Ray needs 100 at least")
        return found


def parse_options() -> tuple[Examples, LabellingOptions, ClusterOptions, MethodOptions | None]:
    targets = "folders, files or patterns, or URIs such as s3://bucket/photos"
    groups = (LabellingOptions, ClusterOptions)
    examples, options, cluster, named = parse_labelling(__doc__, targets, *groups)
    if options.ckpt:  # actors run elsewhere
        options = replace(options, ckpt=options.ckpt.resolve())
    return examples, options, cluster, named


answer_early(__name__, parse_options)

import warnings

from PIL import Image
from tqdm import tqdm

from common.distributed import Processes, choose_device
from common.logger import quiet_libraries
from labelling.choice import open_labeller, require_sam
from labelling.learning import as_taken, result_settings
from labelling.references import describe_classes, read_examples


def main() -> int:
    examples, options, cluster, method_options = parse_options()
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    try:  # so that --help needs neither
        from labelling.cluster import Work, joined_cluster
        from labelling.rows import ShardFolder
        from labelling.shards import cut_into_shards, list_files, read_plan, write_plan
    except ImportError as error:
        raise UsageError(f"{error}: uv pip install -r requirements-cluster.txt") from None

    storage, found = list_files(examples.target, options.output)
    references, classes, shots = read_examples(examples)
    labeller = open_labeller(options, method_options, Processes(0, 1, choose_device("cpu")))
    segmenter = labeller.segmenter
    print(*describe_classes(examples, references, classes), sep="\n")
    require_sam(segmenter, [one.kind for one in references], False, options.fetch)
    threshold = options.threshold(segmenter.is_calibrated)
    folder = ShardFolder(options.output, classes, segmenter.is_calibrated)
    settings = result_settings(examples, options, labeller, threshold)
    folder.claim(settings | {"targets": [*examples.target], "image_column": cluster.image_column})
    shards = cut_into_shards(found, read_plan(folder.plan), cluster.shard_size)
    write_plan(folder.plan, shards)
    left = [shard for shard in shards if not folder.is_done(shard)]
    print(f"{len(found)} files in {len(shards)} shards, {len(shards) - len(left)} done before")
    work = Work(
        options=options,
        named=labeller.named,
        classes=classes,
        taken=as_taken(segmenter, shots),
        threshold=threshold,
        fingerprint=settings["frozen"],
        storage=storage,
        threads=max(1, int(cluster.cpus_per_actor)),
    )
    if left:
        with joined_cluster(cluster.address, cluster.object_store_mb):
            label(left, work, cluster, folder)
    folder.clear(shards)
    failures = folder.failures(shards)
    print(f"{len(left)} shards labelled, {failures} pictures failed; results in {options.output}")
    return 1 if failures else 0


def label(
    shards: Sequence["Shard"], work: "Work", cluster: ClusterOptions, folder: "ShardFolder"
) -> None:
    """Label shards that are left, one kind after the other, and write each as it is done.

    Raises:
        UsageError: the cluster gave up; what is written stays.
    """
    from labelling.cluster import Resources, actors_with_room, label_shards
    from labelling.rows import table_of
    from labelling.shards import PARQUET, PICTURES, TAR, unreadable_parquet

    cpus, gpus = cluster.cpus_per_actor, cluster.gpus_per_actor
    actors = cluster.actors or actors_with_room(cpus, gpus)
    resources = Resources(actors, cpus, gpus, cluster.batch)
    column = cluster.image_column
    with tqdm(desc=f"shards by {actors} actors", total=len(shards)) as bar:
        for kind in (PICTURES, PARQUET, TAR):
            some = [shard for shard in shards if shard.kind == kind]
            broken = unreadable_parquet(work.storage, some, column) if kind == PARQUET else {}
            for shard, error in broken.items():
                name = f"{work.storage.prefix}{shard.files[0].path}"
                folder.write(shard, table_of([{"name": name, "error": error}]))
                bar.update()
            some = [shard for shard in some if shard not in broken]
            for shard, rows in label_shards(some, work, resources, column) if some else ():
                folder.write(shard, rows)
                bar.update()


if __name__ == "__main__":
    raise SystemExit(run_script(main))
