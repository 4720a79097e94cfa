import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train_video
from data.generated import write_coco
from model.checkpoint import load_model
from model.dc_sam_video import DcSamVideo

TINY = ("--preset", "tiny", "--random_weights", "--device", "cpu", "--nworker", "0")


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("Datasets")
    write_coco(root / "COCO2014", {"train": 120, "val": 80}, seed=3, workers=0)
    return root


@pytest.fixture
def train(script, coco, tmp_path):
    """Train for two updates of two episodes; returns the outcome and the run's folder."""

    def run(name: str, *flags: object):
        folder = tmp_path / name
        short = ("--max_iterations", 2, "--bsz", 2, "--validation_episodes", 1)
        given = (*TINY, "--datapath", coco, "--output", folder, *short, *flags)
        return script(train_video, *given), folder / "last.safetensors"

    return run


def parts_of(path: Path) -> set[str]:
    """Which parts of the model a checkpoint holds."""
    names = (name.removeprefix("segmenter.network.") for name in load_file(path))
    return {name.split(".")[0] for name in names}


GENERATOR, DECODER = "generator", "sam_mask_decoder"
MEMORY = {"memory_attention", "memory_encoder"}


def test_images_then_mask_tubes(train):
    outcome, images = train("images", "--benchmark", "coco_all")
    assert outcome.code == 0, outcome.error
    assert parts_of(images) == {GENERATOR, DECODER}
    outcome, tubes = train("tubes", "--benchmark", "coco_mask_tube", "--ckpt", images)
    assert outcome.code == 0, outcome.error
    assert parts_of(tubes) == {GENERATOR, DECODER} | MEMORY
    [record] = map(json.loads, (tubes.parent / "log.jsonl").read_text().splitlines())
    assert record["update"] == 2
    assert 0 <= record["held_out_miou"] <= 100

    before, after = load_file(images), load_file(tubes)
    assert all(value.isfinite().all() for value in after.values())
    assert not torch.equal(
        before["generator.positive.query.weight"], after["generator.positive.query.weight"]
    )
    # the convolutions of SAM 2's levels learn with tubes alone
    assert not any("conv_s" in name for name in before)
    assert any("conv_s0" in name for name in after)


def test_what_an_earlier_stage_changed_stays_in_the_checkpoint(train, capsys):
    _, images = train("images")
    outcome, tubes = train(
        "tubes", "--benchmark", "coco_mask_tube", "--ckpt", images, "--train_parts", "memory"
    )
    assert outcome.code == 0, outcome.error
    assert parts_of(tubes) == {GENERATOR, DECODER} | MEMORY
    before, after = load_file(images), load_file(tubes)
    decoder = [name for name in before if DECODER in name]
    assert decoder
    assert all(torch.equal(before[name], after[name]) for name in decoder)

    capsys.readouterr()
    model, _ = load_model(tubes, torch.device("cpu"))
    assert "warning" not in capsys.readouterr().err
    loaded = DcSamVideo.from_image_model(model).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in after.items())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--train_parts", "none"], {GENERATOR}),
        (["--data_type", "image"], {GENERATOR, DECODER}),
        (["--data_type", "video", "--train_parts", "decoder"], {GENERATOR, DECODER}),
        (["--benchmark", "coco_mask_tube"], {GENERATOR, DECODER} | MEMORY),
        (["--sam2_cfg", "configs/tiny.yaml", "--nshot", "2"], {GENERATOR, DECODER}),
    ],
    ids=["prompts only", "image", "video decoder", "tubes", "other names, two shots"],
)
def test_variants_of_the_tables_train(train, flags: list[str], expected: set[str]):
    outcome, path = train("run", *flags)
    assert outcome.code == 0, outcome.error
    assert parts_of(path) == expected


def test_a_resumed_run_ends_as_an_uninterrupted_one(train):
    flags = ("--benchmark", "coco_mask_tube", "--episodes_per_epoch", 2, "--bsz", 1)
    _, whole = train("whole", *flags, "--max_iterations", 3)
    with pytest.MonkeyPatch.context() as patch:
        finish = train_video.Trainer.finish_epoch

        def stop(trainer, *given):
            finish(trainer, *given)
            raise KeyboardInterrupt

        patch.setattr(train_video.Trainer, "finish_epoch", stop)
        outcome, parts = train("parts", *flags, "--max_iterations", 3)
        assert outcome.code == 130
    outcome, _ = train("parts", *flags, "--max_iterations", 3, "--resume")
    assert outcome.code == 0, outcome.error
    one, other = load_file(whole), load_file(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    outcome, _ = train("parts", "--benchmark", "coco_all", "--resume")
    assert outcome.code == 2
    assert "other weights learn" in outcome.error


def test_wrong_flags_are_named_all_at_once(train):
    outcome, _ = train(
        "run",
        *("--benchmark", "coco_mask_tube", "--data_type", "image", "--ckpt", "nowhere"),
        *("--train_parts", "decoder,encoder"),
    )
    assert outcome.code == 2
    assert "--data_type image contradicts --benchmark coco_mask_tube" in outcome.error
    assert "no such checkpoint: nowhere" in outcome.error
    assert "no part 'encoder'" in outcome.error
    assert "Traceback" not in outcome.error
    outcome, _ = train("run", "--train_parts", "memory")
    assert outcome.code == 2
    assert "images have no memory" in outcome.error
    outcome, _ = train("run", "--sam_version", 1)
    assert outcome.code == 2
    assert "videos need SAM 2" in outcome.error


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_global_batch(torchrun, coco, tmp_path):
    flags = ["train_video.py", *TINY, "--datapath", coco, "--benchmark", "coco_mask_tube"]
    flags += ["--max_iterations", "2", "--validation_episodes", "2"]

    torchrun(1, *flags, "--bsz", 2, "--output", tmp_path / "one")
    torchrun(2, *flags, "--bsz", 1, "--output", tmp_path / "two")

    one = load_file(tmp_path / "one" / "last.safetensors")
    two = load_file(tmp_path / "two" / "last.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=2e-4, rtol=1e-3, msg=name)
