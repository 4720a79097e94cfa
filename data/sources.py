"""Which annotated pictures a training draws pairs from, by name, and what is kept out of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.cli import option, to_json
from common.distributed import Processes
from common.errors import UsageError
from common.pair_rules import PairRules
from data.annotated import catalogue
from data.annotated.catalogue import NOTHING, LeftOut, open_source
from data.annotated.class_masks import BenchmarkMasks
from data.annotated.source import AnnotatedImages
from data.benchmarks import Benchmark
from data.classes import class_meanings
from data.coco import Coco
from data.mixture import Mixture, Part

EXCLUSIONS = ("strict", "published")


def kept_out(benchmark: Benchmark) -> LeftOut:
    """What training may not see: the classes that a fold tests but does not train, and COCO's
    validation pictures."""
    trained = class_meanings(benchmark.name, benchmark.fold, "train").values()
    tested = class_meanings(benchmark.name, benchmark.fold, "test").values()
    files: set[str] = set()
    for reader in {id(s): s.reader for s in (benchmark.held_out, benchmark.validation)}.values():
        if isinstance(reader, Coco):
            names = (name.rpartition("_")[2] for name in reader.files("test"))
            files |= {f"{name}.jpg" for name in names}
    return LeftOut(frozenset(tested) - frozenset(trained), frozenset(files))


Opener = Callable[[Benchmark, Path, LeftOut], AnnotatedImages]


def _of_benchmark(benchmark: Benchmark, datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    return BenchmarkMasks("benchmark", benchmark.training)


def _of_catalogue(
    name: str, benchmark: Benchmark, datapath: Path, left_out: LeftOut
) -> AnnotatedImages:
    return open_source(name, datapath, left_out)


SOURCES: Mapping[str, Opener] = {
    "benchmark": _of_benchmark,
    **{name: partial(_of_catalogue, name) for name in catalogue.SOURCES},
}
"""Name -> what opens it; the first is the training side of the benchmark itself, whose pictures
show no pixel of a tested class in any case."""


@dataclass(frozen=True)
class SourceOptions:
    """Which annotated pictures pairs are drawn from."""

    sources: str | None = option(
        None,
        "sources of training pairs and how often each is drawn, such as benchmark,coco_instance=2; "
        f"there are {', '.join(SOURCES)} (default: episodes of the benchmark)",
    )
    exclusion: str = option(
        "strict",
        "strict: no source shows tested classes, or pictures that are tested on; published: the "
        "other sources are taken whole, as publications do, and all classes count as seen",
        EXCLUSIONS,
    )

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint's header says; nothing of episodes."""
        return {} if self.sources is None else to_json(self)

    def weights(self) -> dict[str, float]:
        """Source -> its weight.

        Raises:
            UsageError: the flag is in another form, or names what there is not.
        """
        found: dict[str, float] = {}
        for part in (self.sources or "").split(","):
            name, _, weight = part.strip().partition("=")
            if name not in SOURCES or name in found:
                raise UsageError(
                    f"--sources: {name!r} is no source, or named twice; there are "
                    + ", ".join(SOURCES)
                )
            try:
                found[name] = float(weight or 1)
            except ValueError:
                raise UsageError(f"--sources: {weight!r} is no weight of {name}") from None
        return found

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        if self.sources is None:
            return []
        try:
            weights = self.weights()
        except UsageError as error:
            return [str(error)]
        return [f"--sources: {n} needs a weight above 0" for n, w in weights.items() if w <= 0]


def open_mixture(
    options: SourceOptions,
    benchmark: Benchmark,
    datapath: Path,
    rules: Mapping[str, tuple[PairRules, str]],
    pairs_per_epoch: int | None,
    seed: int,
    processes: Processes,
) -> Mixture:
    """Open what the flags name; the main process indexes it, the others read what it wrote.

    Args:
        rules: by a source's name or kind, how pairs are made of it and what is drawn first.
        pairs_per_epoch: None: as many as the first source has pictures.

    Raises:
        UsageError: a source is missing, or the method cannot learn from its kind.
    """
    if not processes.is_main:
        processes.wait()
    left_out = kept_out(benchmark) if options.exclusion == "strict" else NOTHING
    parts = []
    for name, weight in options.weights().items():
        source = SOURCES[name](benchmark, datapath, left_out)
        rule = rules.get(name) or rules.get(source.kind)
        if rule is None:
            raise UsageError(f"--sources: this method does not learn from {source.kind} masks")
        parts.append(Part(source, rule[0], weight, rule[1]))
    mixture = Mixture(parts, pairs_per_epoch or len(parts[0].source.names), seed)
    if processes.is_main:
        processes.wait()
    return mixture
