import json

import pytest
import torch

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.cli import to_json
from data.benchmarks import make_benchmark
from data.sampler import EpisodeSampler
from model.dc_sam.config import ModelOptions, build_model, learnable_weights
from model.predictor import InContextSegmenter
from tools import calibrate


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny model that was never trained."""
    options = ModelOptions(
        backbone="tiny", sam_model="tiny", random_weights=True, image_size=64, num_query=4
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = learnable_weights(build_model(options))
    save_checkpoint(tmp_path / "last.safetensors", weights, {"model": to_json(options)})
    return tmp_path / "last.safetensors"


def test_a_checkpoint_gets_its_own_scale(script, checkpoint, generated):
    before = read_weights(checkpoint)
    flags = ("--datapath", generated, "--episodes", 8, "--nworker", 0, "--device", "cpu")

    outcome = script(calibrate, "--ckpt", checkpoint, *flags)

    assert outcome.code == 0, outcome.error
    assert "16 queries of unseen classes" in outcome.output
    stored = read_facts(checkpoint)["presence"]
    used = InContextSegmenter.from_checkpoint(checkpoint, device="cpu").presence
    assert json.loads(json.dumps(used.weights)) == stored["weights"]
    assert 0 <= stored["unseen_classes_auc"] <= 1
    after = read_weights(checkpoint)
    assert all(torch.equal(after[name], value) for name, value in before.items())


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
