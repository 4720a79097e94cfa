import json

import numpy as np
import pytest
import torch
from PIL import Image

from common.distributed import Processes
from common.errors import UsageError
from common.geometry import Geometry
from common.pair_rules import PairRules, ScaleJitter
from data.benchmarks import EpisodeKey, make_benchmark
from data.classes import COCO_CATEGORY_IDS
from data.episode import EpisodeDataset
from data.marking import Marking
from data.sampler import training_samplers
from data.sources import SourceOptions, kept_out, open_mixture
from data.synthetic.image_sets import write_coco
from data.training import MixtureEpisodes, TrainingEpisodes, TrainingPairs, whole_pictures

ONE = Processes(0, 1, torch.device("cpu"))
RULES = {
    "semantic": (PairRules(ScaleJitter(32)), "class"),
    "coco_instance": (PairRules(ScaleJitter(32)), "image"),
}


@pytest.fixture(scope="module")
def datapath(tmp_path_factory):
    """Drawn COCO2014, and instances of class 1, 2 and (in the second picture) of both.

    The third picture is one of COCO2014's validation pictures.
    """
    root = tmp_path_factory.mktemp("data")
    write_coco(root / "COCO2014", {"train": 40, "val": 12}, seed=0)
    tested = next((root / "COCO2014" / "val2014").glob("*.jpg")).stem.rpartition("_")[2]
    folder = root / "COCO2017"
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    shown = {"a": (1,), "b": (1, 2), tested: (2,), "c": (2,), "d": (2,)}
    square = [[2, 1, 30, 1, 30, 30, 2, 30]]
    content = {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "height": 32, "width": 32}
            for n, name in enumerate(shown)
        ],
        "annotations": [
            {"id": 10 * n + c, "image_id": n, "category_id": c, "segmentation": square}
            for n, classes in enumerate(shown.values())
            for c in classes
        ],
        "categories": [{"id": c, "name": f"class {c}"} for c in (1, 2)],
    }
    for name in shown:
        pixels = np.full((32, 32, 3), 99, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "train2017" / f"{name}.jpg")
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return root


def names(datapath, benchmark, fold, exclusion):
    options = SourceOptions("coco_instance=2,benchmark", exclusion)
    opened = make_benchmark(benchmark, datapath, fold)
    mixture = open_mixture(options, opened, datapath, RULES, None, 0, ONE)
    instances, semantic = mixture.parts
    assert (instances.weight, instances.draw, semantic.draw) == (2.0, "image", "class")
    assert semantic.source.fingerprint() == opened.training.fingerprint()
    assert mixture.pairs_per_epoch == len(instances.source.names)
    return [name.partition(".")[0] for name in instances.source.names]


def test_strict_folds_see_neither_tested_classes_nor_tested_pictures(datapath):
    assert names(datapath, "coco", 0, "strict") == ["c", "d"]  # class 1 is tested
    assert names(datapath, "coco", 1, "strict") == ["a"]
    assert names(datapath, "coco_all", 0, "strict") == ["a", "b", "c", "d"]
    assert len(names(datapath, "coco", 0, "published")) == 5


def test_tested_classes_are_left_out_by_what_they_mean(datapath):
    left_out = kept_out(make_benchmark("coco", datapath, 3))
    assert left_out.classes == frozenset(range(4, 81, 4))
    assert left_out.categories == [COCO_CATEGORY_IDS[c] for c in range(4, 81, 4)]
    assert len(left_out.files) == 12


def test_what_cannot_be_drawn_from_is_told(datapath):
    for sources, problem in (
        ("benchmark,nothing", "'nothing' is no source"),
        ("benchmark,benchmark", "named twice"),
        ("benchmark=often", "'often' is no weight of benchmark"),
        ("benchmark=0", "benchmark needs a weight above 0"),
    ):
        assert problem in SourceOptions(sources).problems()[0]
    assert SourceOptions().problems() == []
    benchmark = make_benchmark("coco", datapath, 0)
    rules = {"panoptic": RULES["semantic"]}
    with pytest.raises(UsageError, match="does not learn from semantic masks"):
        open_mixture(SourceOptions("benchmark"), benchmark, datapath, rules, 4, 0, ONE)


def test_epochs_of_both_kinds_are_told_by_their_facts(datapath):
    benchmark = make_benchmark("coco", datapath, 0)
    sampler, _ = training_samplers(benchmark, 1, 0, 6)
    mixture = open_mixture(SourceOptions("benchmark"), benchmark, datapath, RULES, 6, 0, ONE)
    for data in (
        TrainingEpisodes(sampler, Geometry(32), lambda epoch: None),
        TrainingPairs(mixture),
    ):
        assert (data.per_epoch, len(data.at(0)), data.domain) == (6, 6, "drawings")
        assert data.facts() == data.facts()
        assert set(data.facts()) == {"fingerprint", "training_episodes"}
        first, again, later = data.at(0)[3], data.at(0)[3], data.at(1)[3]
        assert torch.equal(first.query_image, again.query_image)
        assert not torch.equal(first.query_image, later.query_image)


def test_pairs_of_whole_pictures_are_the_episodes_of_a_benchmark(datapath):
    benchmark, geometry = make_benchmark("coco", datapath, 0), Geometry(64)
    rules = whole_pictures(geometry)
    mixture = open_mixture(SourceOptions("benchmark"), benchmark, datapath, rules, 4, 0, ONE)
    found = MixtureEpisodes(mixture, lambda epoch: None).at(1)
    key = found.pairs[2].keys[0]
    keys = [EpisodeKey(key.class_id, key.query, (key.support,))]
    [expected], one = EpisodeDataset(benchmark.training, keys, geometry), found[2]
    for name in ("query_image", "query_mask", "query_ignore", "support_images", "support_masks"):
        torch.testing.assert_close(getattr(one, name), getattr(expected, name))
    assert (one.class_names, one.shots) == (expected.class_names, 1)
    assert one.support_names == [f"benchmark/{key.support}"]
    assert found.join([one, found[3]]).indices == (2, 3)

    marked = MixtureEpisodes(mixture, lambda epoch: Marking("box", "around", True, 0, epoch))
    boxed = marked.at(1)[2]
    assert boxed.support_kinds == (("box",),)
    assert torch.equal(boxed.support_objects[0], one.support_masks[0])
    assert (boxed.support_masks >= one.support_masks).all()


def test_padded_squares_keep_proportions_and_ignore_what_they_do_not_show(datapath):
    benchmark, geometry = make_benchmark("coco", datapath, 0), Geometry(64, padded=True)
    rules = whole_pictures(geometry)
    assert not rules["semantic"][0].view.squash
    mixture = open_mixture(SourceOptions("benchmark"), benchmark, datapath, rules, 4, 0, ONE)
    episode = MixtureEpisodes(mixture, lambda epoch: None).at(0)[0]
    height, width = episode.query_sizes[0].tolist()
    assert max(height, width) == 64
    assert episode.query_ignore.sum() == 64 * 64 - height * width
