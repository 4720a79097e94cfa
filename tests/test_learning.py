import json

import pytest

import eval_image
import train_image
from data.synthetic.image_sets import write_voc


@pytest.mark.slow
def test_a_short_training_beats_what_needs_no_training_on_unseen_classes(script, tmp_path):
    write_voc(tmp_path / "VOC2012", {"train": 1400, "val": 260}, seed=0)
    data = ("--datapath", tmp_path, "--fold", 1, "--nworker", 1, "--device", "cpu")

    trained = script(
        train_image,
        *("--preset", "tiny", *data, "--output", tmp_path / "run", "--store_features"),
        *("--max_iterations", 420, "--epochs", 99, "--validation_episodes", 8),
    )
    evaluated = script(
        eval_image,
        *("--ckpt", tmp_path / "run" / "last.safetensors", *data, "--baselines"),
        *("--test_episodes", 80, "--output", tmp_path / "scores"),
    )

    assert trained.code == evaluated.code == 0
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert results["miou"] > max(results["baselines"].values())
