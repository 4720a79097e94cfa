import json
from pathlib import Path

import pytest

import eval_image
import train_image
from common.checkpoint import read_facts
from data.synthetic.coco_sets import write_coco2017
from data.synthetic.image_sets import write_voc
from tests.runs import (
    assert_nothing_depends_on_workers_or_stopping,
    assert_processes_learn_the_same,
)

TINY = ("--preset", "tiny", "--method", "segic", "--device", "cpu", "--fold", "1")
SHORT = (*TINY, "--nworker", "0", "--validation_episodes", "4")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A folder with few generated pictures of both sources."""
    root = tmp_path_factory.mktemp("pairs")
    write_voc(root / "VOC2012", {"train": 40, "val": 40}, seed=3, workers=0)
    write_coco2017(root / "COCO2017", {"train": 12, "val": 1}, seed=3, workers=0)
    return root


def test_a_run_on_pairs_leaves_a_checkpoint_that_is_evaluated(script, drawn, tmp_path):
    data = ("--datapath", drawn)
    run = tmp_path / "run"
    trained = script(train_image, *SHORT, *data, "--output", run, "--max_iterations", 2, "--bsz", 2)
    assert trained.code == 0, trained.error
    facts = read_facts(run / "last.safetensors")
    assert facts["data"]["sources"] == "benchmark,coco_instance"
    assert facts["data"]["exclusion"] == "strict"
    assert (facts["method"], facts["domain"]) == ("segic", "drawings")
    assert facts["losses"]["points"] == 1024
    [record] = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    assert record["update"] == 2
    assert str(drawn) not in json.dumps(facts)

    scores = tmp_path / "scores"
    flags = ("--ckpt", run / "last.safetensors", *data, "--fold", 1, "--device", "cpu")
    tested = script(eval_image, *flags, "--test_episodes", 4, "--output", scores, "--nworker", 0)
    assert tested.code == 0, tested.error
    assert json.loads((scores / "results.json").read_text())["exposure"] == "strict"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--sources", "benchmark,nowhere"), "'nowhere' is no source"),
        (("--sources", "benchmark,lvis"), "lvis_v1_train.json"),
        (("--store_features",), "no two views of a picture are the same"),
        (("--prompt", "point"), "marked by their masks"),
        (("--nshot", 2), "pairs have one reference"),
    ],
)
def test_what_pairs_cannot_be_trained_with_is_told(script, drawn, tmp_path, flags, problem):
    outcome = script(
        train_image, *SHORT, *flags, "--datapath", drawn, "--output", tmp_path, "--bsz", 2
    )
    assert outcome.code == 2
    assert problem in outcome.error
    assert "Traceback" not in outcome.error


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_pairs(torchrun, drawn, tmp_path):
    flags = ("train_image.py", *SHORT, "--datapath", drawn, "--max_iterations", 3)
    assert_processes_learn_the_same(torchrun, flags, tmp_path)


@pytest.mark.slow
def test_pairs_depend_neither_on_workers_nor_on_stopping(script, drawn, tmp_path):
    flags = (*TINY, "--validation_episodes", 4, "--datapath", drawn, "--bsz", 2)
    flags += ("--epochs", 2, "--drop_after", 1, "--episodes_per_epoch", 6)
    assert_nothing_depends_on_workers_or_stopping(script, flags, tmp_path)


@pytest.mark.slow
def test_a_short_training_beats_untrained_correspondence_by_far(script, tmp_path):
    write_voc(tmp_path / "VOC2012", {"train": 1000, "val": 260}, seed=0)
    write_coco2017(tmp_path / "COCO2017", {"train": 400, "val": 1}, seed=0)
    data = ("--datapath", tmp_path, "--nworker", 1)
    trained = script(
        *(train_image, *TINY, *data, "--output", tmp_path / "run"),
        *("--validation_episodes", 8),
    )
    evaluated = script(
        *(eval_image, "--ckpt", tmp_path / "run" / "last.safetensors", *data, "--fold", 1),
        *("--baselines", "--test_episodes", 80, "--output", tmp_path / "scores"),
        *("--device", "cpu"),
    )
    assert trained.code == evaluated.code == 0
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert results["miou"] > max(results["baselines"].values()) + 15
