"""Which episodes are tested: by flags, by the checkpoint's header, or by a file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from common.cli import option
from common.errors import UsageError
from data.benchmarks import EpisodeKey, Split
from data.classes import BENCHMARKS, FOLDS_OF, TESTED, class_meanings
from data.episode_files import (
    EpisodeHeader,
    episode_hash,
    is_episode_file,
    read_header,
    read_keys,
    write_keys,
)
from data.listed_episodes import find_episodes
from data.options import DataOptions
from data.sampler import SAMPLERS, EpisodeSampler
from evaluation.exposure import Exposure, TrainingData


@dataclass(frozen=True)
class TestedData(DataOptions):
    """Which episodes are read."""

    __test__ = False  # pytest: this is no test

    benchmark: str | None = option(
        None,
        "whose images and folds are tested (default: as the checkpoint was trained)",
        TESTED,
    )
    fold: int | None = option(
        None,
        "fold whose classes are tested, 0 to 3, of isaid5i 0 to 2, of lvis92i 0 to 9 (default: the "
        "one that training kept for it)",
        tuple(range(10)),
    )
    sampler: str | None = option(
        None,
        "how episodes are drawn (default: the protocol's; data/sampler.py explains them)",
        SAMPLERS,
    )
    seen_classes: bool = option(
        False, "evaluate also where the checkpoint was trained on the tested classes"
    )

    def completed(self, facts: Mapping[str, Any], checkpoint: object) -> Self:
        """With a checkpoint's benchmark and fold where none are given.

        Raises:
            UsageError: nothing says which, or the checkpoint was trained on the tested classes.
        """
        trained = TrainingData.of(facts)
        if self.benchmark is not None and len(FOLDS_OF[self.benchmark]) == 1:
            return replace(self, fold=FOLDS_OF[self.benchmark][0])
        if trained is None and (self.benchmark is None or self.fold is None):
            lacking = "--benchmark and --fold" if self.benchmark is None else "--fold"
            raise UsageError(
                f"{checkpoint} does not say what it was trained on, so nothing says on what to "
                f"test it: name {lacking}"
            )
        benchmark = self.benchmark or trained.images
        if trained is None or not trained.is_of_coco or benchmark not in BENCHMARKS:
            if self.fold is None and (trained is None or benchmark != trained.images):
                raise UsageError(f"name the --fold of {benchmark}")
            fold = trained.fold if self.fold is None else self.fold
            return replace(self, benchmark=benchmark, fold=fold)
        fold = trained.fold if self.fold is None else self.fold
        own = benchmark == trained.images and (fold == trained.fold or benchmark == "coco_all")
        tested = class_meanings(benchmark, fold, "test")
        seen = Exposure.of(facts, tested).seen
        if seen and not own and not self.seen_classes:
            raise UsageError(
                f"{checkpoint} was trained on {trained}, and so on {len(seen)} of the "
                f"{len(tested)} classes that {benchmark} fold {fold} tests: leave --benchmark and "
                "--fold to its header, or add --seen_classes"
            )
        return replace(self, benchmark=benchmark, fold=fold)


@dataclass(frozen=True)
class TestedEpisodes:
    """The episodes of an evaluation."""

    __test__ = False

    keys: list[EpisodeKey]
    header: EpisodeHeader
    """Of the file that holds them, or will."""
    file: Path | None = None
    """Where they stand in this program's form; None: nowhere yet."""
    remarks: tuple[str, ...] = ()
    """What is to be said of a list, or of classes that have too few images for an episode."""

    @classmethod
    def draw(cls, split: Split, shots: int, seed: int, count: int | None) -> Self:
        """Draw episodes; classes that have too few images are left out.

        Args:
            count: None: as many as the classes have images.
        """
        sampler = EpisodeSampler(split, shots, seed, leave_out_rare=True)
        keys = sampler.evaluation_keys(count)
        header = EpisodeHeader(
            split.benchmark, split.fold, shots, seed, len(keys), episode_hash(keys), split.sampler
        )
        remarks = tuple(
            f"left out: class {split.class_names[class_id]} has {images} images, too few for an "
            "episode"
            for class_id, images in sampler.left_out.items()
        )
        return cls(keys, header, None, remarks)

    @classmethod
    def read(
        cls, file: Path, data: DataOptions, split: Split, seed: int, count: int | None
    ) -> Self:
        """Read episodes that were drawn for the benchmark, fold and shots of some data.

        Args:
            split, seed, count: of a published list, see `data.listed_episodes.find_episodes`.

        Raises:
            UsageError: the file is missing, changed or made for something else, or it is neither
                one of this program nor a list that can be read.
        """
        if not is_episode_file(file):
            found = find_episodes(file, split, data.nshot, seed, count)
            supports = ", supports drawn" if found.drawn else ""
            header = EpisodeHeader(
                *(split.benchmark, split.fold, data.nshot, seed, len(found.keys)),
                *(episode_hash(found.keys), f"list {file.name}{supports}"),
            )
            told = (
                f"{file}: {len(found.keys)} episodes, classes counted {found.numbering}{supports}"
            )
            return cls(found.keys, header, None, (told,))
        keys = read_keys(
            file,
            benchmark=data.benchmark,
            fold=data.fold,
            shots=data.nshot,
            sampler=data.sampler,
        )
        return cls(keys, read_header(file), file)

    @property
    def facts(self) -> dict[str, Any]:
        """What results say of them."""
        return {
            "benchmark": self.header.benchmark,
            "fold": self.header.fold,
            "shots": self.header.shots,
            "seed": self.header.seed,
            "sampler": self.header.sampler,
            "episode_hash": self.header.sha256,
        }

    def write(self, file: Path) -> None:
        """Write episodes down that stand nowhere yet."""
        if self.file is None:
            header = self.header
            write_keys(
                file,
                self.keys,
                benchmark=header.benchmark,
                fold=header.fold,
                seed=header.seed,
                sampler=header.sampler,
            )
