import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train_video
from common.checkpoint import read_facts
from data.synthetic.image_sets import write_coco
from model.checkpoint import load_method
from model.sam.adapters import adapter_names, unadapted_name
from tools import cache_features

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


def load_quietly(path: Path, capsys: pytest.CaptureFixture[str]) -> torch.nn.Module:
    """The model of a checkpoint, which holds all the weights that training changed."""
    capsys.readouterr()
    model, _ = load_method(path, torch.device("cpu"))
    assert "warning" not in capsys.readouterr().err
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in load_file(path).items())
    return model


TUBE_FLAGS = ("--benchmark", "coco_mask_tube")
GENERATOR, DECODER = "generator", "sam_mask_decoder"
MEMORY = {"memory_attention", "memory_encoder"}
DATA = {"benchmark", "fold", "nshot", "sampler", "lists", "training_list", "fingerprint"}
"""What headers of train_image.py say of the data, too."""


def test_images_then_mask_tubes(train):
    outcome, images = train("images", "--benchmark", "coco_all")
    assert outcome.code == 0, outcome.error
    assert parts_of(images) == {GENERATOR, DECODER}
    outcome, tubes = train("tubes", *TUBE_FLAGS, "--ckpt", images)
    assert outcome.code == 0, outcome.error
    assert parts_of(tubes) == {GENERATOR, DECODER} | MEMORY
    [record] = map(json.loads, (tubes.parent / "log.jsonl").read_text().splitlines())
    assert record["update"] == 2
    assert 0 <= record["held_out_miou"] <= 100
    for path in (images, tubes):
        facts = read_facts(path)
        assert facts["method"] == "dc_sam"
        assert facts["data"]["benchmark"] == "coco_all"
        assert facts["data"].keys() == DATA
        assert len(facts["data"]["fingerprint"]) >= 16
        assert facts["metrics"]["update"] == 2
        assert str(images.parents[1]) not in json.dumps(facts)
    assert read_facts(tubes)["stage"]["ckpt"] == images.name

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
    load_quietly(tubes, capsys)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--train_parts", "none"], {GENERATOR}),
        (["--data_type", "image"], {GENERATOR, DECODER}),
        (["--data_type", "video", "--train_parts", "decoder"], {GENERATOR, DECODER}),
        ([*TUBE_FLAGS], {GENERATOR, DECODER} | MEMORY),
        ([*TUBE_FLAGS, "--lora"], {GENERATOR, DECODER, "memory_attention"}),
        (["--sam2_cfg", "configs/tiny.yaml", "--nshot", "2"], {GENERATOR, DECODER}),
    ],
    ids=["prompts only", "image", "video decoder", "tubes", "adapters", "other names, two shots"],
)
def test_variants_of_the_tables_train(train, flags: list[str], expected: set[str]):
    outcome, path = train("run", *flags)
    assert outcome.code == 0, outcome.error
    assert parts_of(path) == expected


@pytest.mark.slow
def test_adapters_learn_beside_what_an_earlier_stage_trained(train, capsys):
    _, images = train("images")
    tubes = (*TUBE_FLAGS, "--ckpt")
    outcome, first = train("first", *tubes, images, "--lora")
    assert outcome.code == 0, outcome.error
    assert read_facts(first)["stage"]["lora"] is True
    before, after = load_file(images), load_file(first)
    adapters = adapter_names(after)
    assert all(after[name].any() for name in adapters)  # they start with a factor of zeros
    stayed = {unadapted_name(name): after[name] for name in after.keys() - adapters}
    assert stayed.keys() == before.keys()
    frozen = [name for name in before if DECODER in name]
    assert frozen
    assert all(torch.equal(before[name], stayed[name]) for name in frozen)
    assert not any(p.requires_grad for p in load_quietly(first, capsys).segmenter.parameters())
    outcome, second = train("second", *tubes, first, "--lora")
    assert outcome.code == 0, outcome.error
    assert load_file(second).keys() == after.keys()
    outcome, _ = train("third", *tubes, first)
    assert outcome.code == 2
    assert "has adapters, which go on with --lora" in outcome.error


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="weights"),
        pytest.param(("--lora",), id="adapters", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(train, flags: tuple[str, ...]):
    flags = (*TUBE_FLAGS, "--episodes_per_epoch", 2, "--bsz", 1, *flags)
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
    for given in (("--lr", 1), ("--sam_lr", 2), ("--nshot", 2)):
        outcome, _ = train("parts", *flags, "--max_iterations", 3, "--resume", *given)
        assert outcome.code == 2
        assert given[0].removeprefix("--") in outcome.error


@pytest.mark.parametrize("benchmark", ["coco_all", "coco_mask_tube"])
def test_every_epoch_leaves_a_picture(train, benchmark: str):
    flags = ("--benchmark", benchmark, "--episodes_per_epoch", 1, "--bsz", 1)
    outcome, path = train("run", *flags)
    assert outcome.code == 0, outcome.error
    board = EventAccumulator(str(path.parent / "tensorboard")).Reload()
    pictures = board.Images("held-out classes")
    assert [picture.step for picture in pictures] == [1, 2]
    assert all(picture.height > 64 and picture.width > 64 for picture in pictures)


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (
            (*TUBE_FLAGS, "--data_type", "image", "--ckpt", "nowhere", "--train_parts", "encoder"),
            (
                "--data_type image contradicts --benchmark coco_mask_tube",
                "no such checkpoint: nowhere",
                "no part 'encoder'",
            ),
        ),
        (("--train_parts", "memory"), ("images have no memory",)),
        (
            ("--lora", "--train_parts", "decoder"),
            ("--lora: images have no memory", "give one of the two"),
        ),
        (("--sam_version", 1), ("videos need SAM 2",)),
        ((*TUBE_FLAGS, "--store_features"), ("new each time",)),
    ],
    ids=str,
)
def test_wrong_flags_are_named_all_at_once(train, flags: tuple, messages: tuple):
    outcome, _ = train("run", *flags)
    assert outcome.code == 2
    assert all(message in outcome.error for message in messages)
    assert "Traceback" not in outcome.error


IMAGES, TUBES = "coco_all", "coco_mask_tube"
ROWS = {
    "6, no pre-training": (TUBES, "decoder,memory", "--max_iterations 50000 --lr 1e-4", 50_000),
    "6, generator alone": (IMAGES, "", "--train_parts none", 40_000),
    "6 to 8, first stage": (IMAGES, "decoder", "", 40_000),
    "7 and 10, decoder": (TUBES, "decoder", "--train_parts decoder --ckpt CKPT", 10_000),
    "7 and 10, memory": (TUBES, "memory", "--train_parts memory --ckpt CKPT", 10_000),
    "7 and 10, both": (TUBES, "decoder,memory", "--ckpt CKPT", 10_000),
    "8, no tubes": (IMAGES, "decoder", "--max_iterations 50000", 50_000),
    "10, adapters": (TUBES, "", "--lora --ckpt CKPT", 10_000),
}


@pytest.mark.parametrize("row", ROWS)
def test_rows_of_the_tables_are_flags(row: str, tmp_path, monkeypatch):
    benchmark, parts, flags, updates = ROWS[row]
    (tmp_path / "CKPT").touch()
    monkeypatch.chdir(tmp_path)
    words = ["--datapath", ".", "--benchmark", benchmark, *flags.split()]
    monkeypatch.setattr(sys, "argv", ["train_video.py", *words])

    stage, model, _, training, run = train_video.parse_options()

    assert ",".join(stage.parts) == parts
    assert stage.tubes == (benchmark == TUBES)
    assert model.segmenter == "sam2.1_hiera_l"
    assert training.max_iterations == updates
    rate = 1e-5 if stage.tubes and "--lr" not in flags else 1e-4
    assert (training.lr, run.episodes_per_epoch) == (rate, 10_000 if stage.tubes else 32_000)


@pytest.mark.slow
@pytest.mark.parametrize("adapters", [(), ("--lora",)], ids=["weights", "adapters"])
def test_two_processes_learn_what_one_learns_from_the_same_global_batch(
    torchrun, coco, tmp_path, adapters: tuple[str, ...]
):
    flags = ["train_video.py", *TINY, "--datapath", coco, "--benchmark", "coco_mask_tube"]
    flags += ["--max_iterations", "2", "--validation_episodes", "2", *adapters]

    torchrun(1, *flags, "--bsz", 2, "--output", tmp_path / "one")
    torchrun(2, *flags, "--bsz", 1, "--output", tmp_path / "two")

    one = load_file(tmp_path / "one" / "last.safetensors")
    two = load_file(tmp_path / "two" / "last.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.slow
def test_kept_features_give_the_same_training(train, script, coco, tmp_path):
    folder = ("--feature_cache", tmp_path / "features")
    flags = ("--benchmark", "coco_all", "--datapath", coco, *folder)
    filled = script(cache_features, "--sam_version", 2, *TINY, *flags)
    assert filled.code == 0, filled.error
    assert "200 images encoded, 0 were there" in filled.output

    one, plain = train("plain", "--benchmark", "coco_all")
    two, stored = train("stored", "--benchmark", "coco_all", "--store_features")
    other, cached = train("cached", "--benchmark", "coco_all", *folder)

    assert one.code == two.code == other.code == 0, two.error + other.error
    expected = load_file(plain)
    for name, value in load_file(stored).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=2e-4, msg=name)
    assert f"{tmp_path / 'features'}: 200 images" in other.output
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 200  # no new ones
    losses = [json.loads((p.parent / "log.jsonl").read_text())["loss"] for p in (plain, cached)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)


def test_sams_weights_learn_at_their_own_rate(train):
    flags = ("--benchmark", "coco_all", "--lr", 1e-3, "--max_iterations", 1)
    (still, before), (slow, after) = (
        train(name, *flags, "--sam_lr", rate) for name, rate in (("a", 1e-6), ("b", 0.1))
    )
    assert still.code == slow.code == 0, slow.error
    start, moved = load_file(before), load_file(after)
    steps = {name: (moved[name] - start[name]).abs().max() for name in moved}
    # AdamW's first step is the learning rate wherever there is a gradient
    decoder = [step for name, step in steps.items() if DECODER in name]
    assert max(decoder) == pytest.approx(1e-4, rel=0.02)
    assert all(step == 0 for name, step in steps.items() if name.startswith(GENERATOR))


@pytest.mark.parametrize("name", ["sam2.1_hiera_l", "configs/sam2.1/sam2.1_hiera_l.yaml"])
def test_a_configuration_may_be_a_name_or_a_file(name, coco, monkeypatch):
    words = ["train_video.py", "--sam2_cfg", name, "--datapath", str(coco)]
    monkeypatch.setattr(sys, "argv", words)
    _, model, *_ = train_video.parse_options()
    assert model.sam_model == "sam2.1_hiera_l"
