import json

import pytest
import torch

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.cli import to_json
from common.files import ROOT
from data.benchmarks import make_benchmark
from data.sampler import EpisodeSampler
from model.checkpoint import learnable_weights
from model.dc_sam.builder import build_dc_sam
from model.dc_sam.config import DcSamOptions
from model.predictor import InContextSegmenter
from tools import calibrate

DATA = {"benchmark": "pascal", "fold": 1, "nshot": 1}


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny model that was never trained."""
    options = DcSamOptions(
        backbone="tiny", sam_model="tiny", random_weights=True, image_size=64, num_query=4
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = learnable_weights(build_dc_sam(options))
    save_checkpoint(
        tmp_path / "last.safetensors", weights, {"model": to_json(options), "data": DATA}
    )
    return tmp_path / "last.safetensors"


@pytest.fixture
def flags(generated):
    return ("--datapath", generated, "--episodes", 8, "--nworker", 0, "--device", "cpu")


def test_a_checkpoint_gets_its_own_scale(script, checkpoint, flags):
    before = read_weights(checkpoint)

    outcome = script(calibrate, "--ckpt", checkpoint, *flags)

    assert outcome.code == 0, outcome.error
    assert "16 queries (strict)" in outcome.output
    stored = read_facts(checkpoint)["presence"]
    used = InContextSegmenter.from_checkpoint(checkpoint, device="cpu").method.presence_scale
    assert json.loads(json.dumps(used.weights)) == stored["weights"]
    assert 0 <= stored["unseen_classes_auc"] <= 1
    after = read_weights(checkpoint)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_classes_that_training_has_seen_are_refused_or_named(script, checkpoint, flags):
    refused = script(calibrate, "--ckpt", checkpoint, *flags, "--fold", 0)
    assert refused.code == 2
    assert "--seen_classes" in refused.error
    outcome = script(calibrate, "--ckpt", checkpoint, *flags, "--fold", 0, "--seen_classes")
    assert outcome.code == 0, outcome.error
    assert "(in-domain)" in outcome.output
    assert "seen_classes_auc" in read_facts(checkpoint)["presence"]
    assert "unseen_classes_auc" not in read_facts(checkpoint)["presence"]


def test_where_all_classes_were_seen_the_tested_episodes_are_not_the_fitted_ones(
    script, checkpoint, flags, monkeypatch
):
    weights = read_weights(checkpoint)
    data = {"data": {"benchmark": "coco_all", "nshot": 1}}
    save_checkpoint(checkpoint, weights, {**read_facts(checkpoint), **data})
    keys, measure = [], calibrate.measure

    def keep_the_keys(method, episodes, *rest):
        keys.append(set(episodes.keys))
        return measure(method, episodes, *rest)

    monkeypatch.setattr(calibrate, "measure", keep_the_keys)
    outcome = script(calibrate, "--ckpt", checkpoint, *flags)

    assert outcome.code == 0, outcome.error
    assert "(in-domain)" in outcome.output
    fitted, tested = keys
    assert len(fitted & tested) < 4  # of 16; so few images let some be drawn again


def test_queries_without_the_class_have_no_pixel_of_it(generated):
    split = make_benchmark("pascal", generated, 0).validation
    keys = EpisodeSampler(split, 1, 0, leave_out_rare=True).evaluation_keys(12)
    absent = calibrate.without_class(split, keys)
    assert len(absent) == 12
    for key, other in zip(keys, absent, strict=True):
        assert (other.class_id, other.support) == (key.class_id, key.support)
        assert not (split.read(other.query)[1] == key.class_id).any()


def test_a_missing_checkpoint_is_named(script, generated):
    outcome = script(calibrate, "--ckpt", "absent.safetensors", "--datapath", generated)
    assert outcome.code == 2
    assert "absent.safetensors" in outcome.error


@pytest.mark.parametrize(
    ("name", "auc"),
    [
        ("tiny/pascal_fold0", "unseen_classes_auc"),
        ("tiny-video/coco_mask_tube", "seen_classes_auc"),  # it was trained on all classes
    ],
)
def test_shipped_checkpoints_are_calibrated(name, auc):
    presence = read_facts(ROOT / "checkpoints" / f"{name}.safetensors")["presence"]
    assert len(presence["weights"]) == 3
    assert presence[auc] > 0.9
