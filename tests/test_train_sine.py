import json
import math
from pathlib import Path

import pytest
import torch

import eval_image
import train_image
from common.checkpoint import read_facts
from data.annotated.catalogue import open_source
from data.mixture import Mixture, Part
from data.pairs import PairDataset
from data.synthetic.coco_sets import write_coco2017
from data.synthetic.image_sets import write_coco, write_voc
from data.synthetic.paco import write_paco
from model.sine.config import SineLossOptions
from model.sine.training import pair_rules, targets_of
from tests.runs import (
    assert_nothing_depends_on_workers_or_stopping,
    assert_processes_learn_the_same,
    weights_of,
)

TINY = ("--preset", "tiny", "--method", "sine", "--device", "cpu")
SHORT = (*TINY, "--fold", "1", "--validation_episodes", "2", "--points", "64", "--warmup", "1")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Few generated pictures: objects and their parts to learn from, class masks to validate on."""
    root = tmp_path_factory.mktemp("objects")
    write_voc(root / "VOC2012", {"train": 40, "val": 40}, seed=3, workers=0)
    write_coco2017(root / "COCO2017", {"train": 12, "val": 1}, seed=3, workers=0)
    write_paco(root / "PACO", classes=3, images=12, seed=3, workers=0)
    return root


def test_a_run_on_objects_leaves_a_checkpoint_that_is_evaluated(script, drawn, tmp_path):
    data, run = ("--datapath", drawn, "--nworker", 0), tmp_path / "run"
    flags = (*SHORT, *data, "--output", run, "--max_iterations", 2, "--bsz", 2)
    trained = script(train_image, *flags)
    assert trained.code == 0, trained.error
    facts = read_facts(run / "last.safetensors")
    assert (facts["method"], facts["data"]["sources"]) == ("sine", "coco_instance")
    assert (facts["training"]["schedule"], facts["training"]["undecayed"]) == ("linear", "vectors")
    assert facts["losses"]["points"] == 64
    assert not any(name.startswith("backbone.") for name in weights_of(run))

    scores = tmp_path / "scores"
    tested = script(
        *(eval_image, "--ckpt", run / "last.safetensors", *data, "--fold", 1, "--device", "cpu"),
        *("--test_episodes", 2, "--output", scores),
    )
    assert tested.code == 0, tested.error
    assert json.loads((scores / "results.json").read_text())["exposure"] == "strict"


def test_class_masks_are_no_objects(script, drawn, tmp_path):
    flags = ("--sources", "benchmark", "--datapath", drawn, "--output", tmp_path)
    outcome = script(train_image, *SHORT, *flags)
    assert outcome.code == 2
    assert "does not learn from semantic masks" in outcome.error


def test_parts_are_objects_of_their_own_object(drawn):
    """Views of one object show its parts again; another object's are others, of one picture too."""
    source = open_source("paco_part", drawn)
    rules, draw = pair_rules(112, SineLossOptions())["paco_part"]
    mixture = Mixture([Part(source, rules, draw=draw)], 40, seed=0)
    same, different = 0, 0
    for pair in PairDataset(mixture, epoch=0):
        for shown in (*pair.support, *pair.query):
            assert len(shown.class_ids.unique()) == len(shown.class_ids)  # a mask for each kind
        [target], [one] = targets_of(pair), pair.keys
        known = [c in pair.support[0].class_ids for c in pair.query[0].class_ids]
        assert all(known)
        if one.query == one.support:
            found = target.identities
            assert len(found) == len(known)
            reference = pair.support[0].class_ids[found.queries]
            assert torch.equal(reference, pair.query[0].class_ids[found.objects])
            same += 1
        else:
            assert len(target.identities) == 0
            different += 1
    assert min(same, different) > 10


def test_a_run_on_parts_leaves_a_checkpoint(script, drawn, tmp_path):
    flags = (*SHORT, "--datapath", drawn, "--nworker", 0, "--output", tmp_path)
    sources = ("--sources", "coco_instance,paco_part=3", "--max_iterations", 2, "--bsz", 2)
    trained = script(train_image, *flags, *sources)
    assert trained.code == 0, trained.error
    facts = read_facts(tmp_path / "last.safetensors")
    assert facts["data"]["sources"] == "coco_instance,paco_part=3"
    assert math.isfinite(facts["metrics"]["loss"])


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_objects(torchrun, drawn, tmp_path):
    flags = ("train_image.py", *SHORT, "--datapath", drawn, "--max_iterations", 3, "--nworker", 0)
    assert_processes_learn_the_same(torchrun, flags, tmp_path)


@pytest.mark.slow
def test_objects_depend_neither_on_workers_nor_on_stopping(script, drawn, tmp_path):
    flags = (*SHORT, "--datapath", drawn, "--bsz", 2, "--epochs", 2, "--episodes_per_epoch", 6)
    assert_nothing_depends_on_workers_or_stopping(script, flags, tmp_path)


@pytest.mark.slow
def test_the_tiny_preset_learns_classes_that_it_then_finds_among_others(script, tmp_path):
    write_coco2017(tmp_path / "COCO2017", {"train": 600, "val": 1}, seed=0)
    write_coco(tmp_path / "COCO2014", {"train": 160, "val": 160}, seed=0)
    data = ("--datapath", tmp_path, "--benchmark", "coco", "--fold", 0, "--nworker", 1)
    run = tmp_path / "run"
    trained = script(train_image, *TINY, *data, "--output", run, "--validation_episodes", 20)
    assert trained.code == 0, trained.error
    losses = [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 4

    def score(name: str, *tested: object) -> float:
        flags = (*data, "--test_episodes", 100, "--device", "cpu", "--output", tmp_path / name)
        assert script(eval_image, *tested, *flags).code == 0
        return json.loads((tmp_path / name / "results.json").read_text())["miou"]

    untrained = score("untrained", "--method", "sine", "--size", "tiny")
    assert score("trained", "--ckpt", run / "last.safetensors") > untrained + 25
