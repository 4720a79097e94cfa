"""Every benchmark of episodes scores every method, on generated copies and tiny networks."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from common.distributed import Processes
from common.images import IGNORED
from data.benchmarks import EpisodeKey, Split, open_tested
from data.classes import BENCHMARKS, TESTED
from data.episode import Episode, EpisodeDataset
from data.options import DataOptions
from data.sampler import EpisodeSampler, count_queries
from data.synthetic.coco_sets import write_coco2017, write_lvis
from data.synthetic.folder_sets import FOLDER_SETS, write_folder_set
from data.synthetic.fss1000 import write_fss1000
from data.synthetic.paco import write_paco, write_pascal_part
from evaluation.image import EpisodeSegmenter, MethodSegmenter, evaluate
from evaluation.protocol import Protocol, protocol_names
from model.method import Method
from model.registry import METHODS
from tests.model.test_methods import TINY

ALONE = Processes(0, 1, torch.device("cpu"))
EPISODES = 2
OPTIONS = {**TINY, "persam_f": {**TINY["persam_f"], "steps": 20}}
QUICK = [
    (benchmark, sorted(METHODS)[place % len(METHODS)]) for place, benchmark in enumerate(TESTED)
]
"""Every benchmark once, and every method at least once."""
CELLS = [
    pytest.param(b, m, marks=() if (b, m) in QUICK else pytest.mark.slow)
    for b in TESTED
    for m in sorted(METHODS)
]


@pytest.fixture(scope="module")
def copies(tmp_path_factory, generated) -> Path:
    """A folder with a small copy of every benchmark."""
    root = tmp_path_factory.mktemp("benchmarks")
    for folder in generated.iterdir():
        (root / folder.name).symlink_to(folder)
    for name, reader in FOLDER_SETS.items():
        write_folder_set(name, root / reader.folder, 2, 2, workers=0)
    write_fss1000(root / "FSS-1000", 1, workers=0)
    write_paco(root / "PACO", 3, 8, workers=0)
    write_pascal_part(root / "PASCAL-Part", 4, 8, workers=0)
    write_coco2017(root / "COCO2017", {"train": 1, "val": 32}, seed=1, workers=0)
    write_lvis(root / "LVIS")
    return root


def open_copy(root: Path, protocol: Protocol) -> Split:
    data = DataOptions(benchmark=protocol.benchmark, datapath=root, sampler=protocol.sampler)
    return open_tested(data, ALONE, protocol.reader_options(shots=1))


def draw(split: Split, protocol: Protocol, shots: int = 1) -> list[EpisodeKey]:
    count = protocol.count(len(split.class_lists), count_queries(split, shots))
    return EpisodeSampler(split, shots, seed=0, leave_out_rare=True).evaluation_keys(count)


@cache
def tiny_method(name: str) -> Method:
    entry = METHODS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return entry.build(entry.options(**OPTIONS[name])).eval()


class Remembering(EpisodeSegmenter):
    """Keeps what another segmenter finds."""

    def __init__(self, other: EpisodeSegmenter) -> None:
        self.other, self.found = other, {}

    def segment(self, episodes: Episode) -> Tensor:
        logits = self.other.segment(episodes)
        self.found |= dict(zip(episodes.indices, logits, strict=True))
        return logits


class Truth(EpisodeSegmenter):
    """Finds what is there, or (sign -1) everything else."""

    def __init__(self, sign: int = 1) -> None:
        self.sign = sign

    def segment(self, episodes: Episode) -> Tensor:
        return self.sign * (episodes.query_mask - 0.5)


@pytest.mark.parametrize(("benchmark", "name"), CELLS)
def test_every_method_is_scored_on_every_benchmark(copies, benchmark, name):
    protocol, method = Protocol.named(None, benchmark), tiny_method(name)
    split = open_copy(copies, protocol)
    keys = draw(split, protocol)[:EPISODES]
    episodes = EpisodeDataset(split, keys, method.geometry, keep_original=True)
    segmenter = Remembering(MethodSegmenter(method))

    scores = evaluate(segmenter, episodes, ALONE)

    assert len(scores.squashed) == EPISODES
    sums: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        mask = split.read_class(key.query, key.class_id)[1]
        truth = method.geometry.mask(mask == 1).numpy() > 0
        counted = ~(method.geometry.mask(mask == IGNORED).numpy() > 0)
        counted &= ~method.geometry.padding(mask.shape).numpy()
        found = segmenter.found[index].numpy() > 0
        both = np.array([(found & truth & counted).sum(), ((found | truth) & counted).sum()])
        sums[key.class_id] = sums.get(key.class_id, 0) + both
    expected = {c: 100 * inside / union for c, (inside, union) in sums.items()}
    assert scores.squashed.per_class() == pytest.approx(expected)


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_draws_from_its_benchmark_and_knows_the_truth(copies, name):
    protocol = Protocol.named(name, None)
    split = open_copy(copies, protocol)
    keys = draw(split, protocol)
    assert keys == draw(split, protocol)
    supports = {
        (key.query, support) for key in keys for support in key.support if support == key.query
    }
    assert not supports or protocol.sampler == "class_self"
    geometry = tiny_method("sansa").geometry
    episodes = EpisodeDataset(split, keys[:3], geometry, keep_original=True)
    for sign in (1, -1):
        scores = evaluate(Truth(sign), episodes, ALONE)
        assert scores.squashed.miou() == (100 if sign == 1 else 0)
        assert scores.squashed.fb_iou() == (100 if sign == 1 else 0)


def test_the_quick_table_has_every_benchmark_and_method():
    assert {b for b, _ in QUICK} == {*TESTED, *BENCHMARKS}
    assert {m for _, m in QUICK} == {*METHODS}
