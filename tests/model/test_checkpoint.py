from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from common.checkpoint import FORMAT, save_checkpoint
from common.cli import script_parser
from common.errors import UsageError
from model.checkpoint import (
    frozen_fingerprint,
    learnable_weights,
    load_method,
    options_of,
    restore_method,
)
from model.presence import PresenceScale
from model.registry import METHODS
from model.sam.variants import build_segmenter
from tests.helpers import TINY, tiny_model

CPU = torch.device("cpu")
FACTS = {"method": "dc_sam", "model": TINY.to_json()}


def other_weights(**options: object) -> dict[str, Tensor]:
    """Weights that a tiny model could have learned."""
    return {n: v.detach() + 1 for n, v in learnable_weights(tiny_model(**options)).items()}


def test_what_was_learned_comes_back():
    weights = other_weights()
    model = restore_method(FACTS, weights, "last.safetensors")
    learned = learnable_weights(model)
    assert learned.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in learned.items())
    assert not model.training


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_query": 6}, r"of another shape: .*generator\.\w+\.query\.weight \(6, "),
        ({"segmenter_fusion": False}, r"of another shape: .*generator\.negative\.fuse\.weight"),
        ({"prior": True}, r"of another shape: .*generator\.negative\.fuse\.weight"),
        ({"negative_branch": False}, r"missing: generator\.negative\."),
    ],
    ids=str,
)
def test_weights_of_another_configuration_are_refused(options: dict, words: str):
    with pytest.raises(UsageError, match=f"^best.safetensors does not fit.*{words}"):
        restore_method(FACTS, other_weights(**options), Path("best.safetensors"))


def test_weights_of_a_branch_too_many_are_refused():
    facts = {"model": {**TINY.to_json(), "negative_branch": False}}
    with pytest.raises(UsageError, match=r"unknown: generator\.negative\."):
        restore_method(facts, other_weights(), "file")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"method": "other"}, "last is of an unknown method: other"),
        ({}, "last does not describe a model"),
        ({"model": {**TINY.to_json(), "depth": 3}}, "last does not describe a model"),
        ({"model": [1]}, "last does not describe a model"),
        ({"method": ["dc_sam"]}, "last is of an unknown method"),
        (
            {"model": {**TINY.to_json(), "backbone": "resnet5O"}},
            "last does not describe a model: backbone 'resnet5O' is unknown; there are .*resnet50",
        ),
        ({"model": {**TINY.to_json(), "sam_model": "vit_x"}}, "vit_x is no SAM version 1"),
        (
            {"model": {**TINY.to_json(), "image_size": "64", "prior": 1}},
            "last does not describe a model: image_size cannot be '64'; prior cannot be 1",
        ),
    ],
)
def test_a_header_that_this_program_does_not_know_is_refused(facts: dict, words: str):
    with pytest.raises(UsageError, match=words):
        options_of(facts, "last")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"presence": {"bias": 1.0}}, "last has a broken header: no scale of presence"),
        ({"presence": [1, 2]}, "last has a broken header: no scale of presence"),
        ({"presence": {"weights": [1, 2], "bias": 1}}, "2 weights for the signals resemblance"),
        ({"presence": {"weights": "abc", "bias": 1}}, "last has a broken header"),
        ({"training": "long"}, "last has a broken header: no seed"),
        ({"training": {"seed": "x"}}, "last has a broken header: no seed"),
    ],
)
def test_a_broken_part_of_a_header_is_refused(facts: dict, words: str):
    with pytest.raises(UsageError, match=words):
        restore_method({**FACTS, **facts}, other_weights(), "last")


@pytest.mark.parametrize("facts", [None, "no JSON", "[1]", "3"])
def test_a_header_whose_facts_cannot_be_read_names_the_file(tmp_path: Path, facts: str | None):
    header = {"format": FORMAT, "version": "1", **({} if facts is None else {"facts": facts})}
    save_file({"weight": torch.zeros(1)}, tmp_path / "last.safetensors", metadata=header)
    with pytest.raises(UsageError, match=r"last\.safetensors has a broken header"):
        load_method(tmp_path / "last.safetensors", CPU)


def test_a_method_without_checkpoints_has_none(monkeypatch: pytest.MonkeyPatch):
    entry = replace(METHODS["dc_sam"], restore=None)
    monkeypatch.setitem(METHODS, "dc_sam", entry)
    with pytest.raises(UsageError, match="last is of DC-SAM, which has no checkpoints"):
        restore_method(FACTS, {}, "last")


def test_a_header_without_a_method_is_of_dc_sam():
    assert options_of({"model": TINY.to_json()}, "last") == TINY == options_of(FACTS, "last")


def test_the_fingerprint_tells_frozen_weights_apart():
    model = tiny_model()
    before = frozen_fingerprint(model)
    assert before == frozen_fingerprint(tiny_model()) != frozen_fingerprint(tiny_model(lively=True))
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.add_(1)
        assert frozen_fingerprint(model) == before
        for part in ("backbone", "segmenter"):
            before = frozen_fingerprint(model)
            name, parameter = next(iter(model.get_submodule(part).named_parameters()))
            left_out = frozen_fingerprint(model, {f"{part}.{name}"})
            parameter.add_(1)
            assert frozen_fingerprint(model) != before
            assert frozen_fingerprint(model, {f"{part}.{name}"}) == left_out


def test_other_frozen_weights_than_in_training_give_a_warning(
    capsys: pytest.CaptureFixture[str],
):
    for digest, warned in ((frozen_fingerprint(tiny_model()), False), ("0123456789abcdef", True)):
        restore_method({**FACTS, "frozen": digest}, other_weights(), "last.safetensors")
        error = capsys.readouterr().err
        assert ("last.safetensors was trained with other frozen weights" in error) == warned


def test_a_calibration_comes_with_its_checkpoint():
    scale = PresenceScale((1.5, -2.0, 0.25), 3.0)
    weights = other_weights()
    facts = {**FACTS, "presence": asdict(scale)}
    assert restore_method(facts, weights, "last").presence_scale == scale
    assert restore_method(FACTS, weights, "last").presence_scale is None


@pytest.mark.parametrize("way", ["DCSAM_WEIGHTS", "--weights"])
def test_files_of_frozen_parts_are_looked_up_in_the_folder_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path / "empty"))
    (tmp_path / "there").mkdir()
    mine = build_segmenter(1, "tiny", None).official.state_dict()
    save_file(mine, tmp_path / "there" / "mine.safetensors")
    facts = {
        "model": {**FACTS["model"], "random_weights": False, "sam_weights": "mine.safetensors"}
    }
    save_checkpoint(tmp_path / "last.safetensors", other_weights(), facts)
    with pytest.raises(UsageError, match=r"no such weights file: .*empty.mine\.safetensors$"):
        load_method(tmp_path / "last.safetensors", CPU)

    if way == "--weights":
        script_parser("", []).parse_args(["--weights", str(tmp_path / "there")])
    else:
        monkeypatch.setenv(way, str(tmp_path / "there"))
    model, _ = load_method(tmp_path / "last.safetensors", CPU)

    loaded = model.segmenter.official.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in mine.items())


def test_a_missing_official_file_is_told_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    facts = {"model": {**FACTS["model"], "random_weights": False, "sam_model": "vit_b"}}
    with pytest.raises(
        UsageError, match=r"`python -m tools\.weights fetch vit_b --weights .*` gets sam_vit_b_"
    ):
        restore_method(facts, {}, "last")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("image_size", 10**9 // 32 * 32, "--image_size must be at most 8192"),
        ("image_size", float("nan"), "image_size cannot be nan"),
        ("num_query", 10**9, "--num_query must be at most 10000"),
        ("num_query", 2**70, "--num_query must be at most 10000"),
        ("backbone_weights", 5, "backbone_weights cannot be 5"),
        ("sam_weights", ["x"], r"sam_weights cannot be \['x'\]"),
        ("wiring", "other", "wiring 'other' is unknown"),
        ("position", "x" * 100_000, r"position 'x+\.\.\. is unknown"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_model_that_nobody_can_build_is_refused_before_it_is_built(name, value, words):
    with pytest.raises(UsageError, match=words) as refused:
        options_of({"model": {**TINY.to_json(), name: value}}, "last")
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"data": "pascal"}, "data cannot be 'pascal'"),
        ({"data": {"fold": "0", "benchmark": 3}}, "data.benchmark cannot be 3; data.fold cannot"),
        ({"training": {"seed": 1.5}}, "training.seed cannot be 1.5"),
        ({"training": [0]}, r"training cannot be \[0\]"),
        ({"domain": ["drawings"], "frozen": 7}, "domain cannot be .*; frozen cannot be 7"),
        ({"metrics": 3, "losses": 4}, "losses cannot be 4; metrics cannot be 3"),
        ({"untrained": "yes"}, "untrained cannot be 'yes'"),
    ],
    ids=str,
)
def test_facts_of_another_kind_are_refused_as_they_are_read(tmp_path: Path, facts, words):
    save_checkpoint(tmp_path / "last.safetensors", {"weight": torch.zeros(1)}, {**FACTS, **facts})
    with pytest.raises(UsageError, match=rf"last\.safetensors has a broken header: .*{words}"):
        load_method(tmp_path / "last.safetensors", CPU)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_a_seed_that_no_generator_takes_is_refused(seed: int):
    with pytest.raises(UsageError, match="last has a broken header: no seed"):
        restore_method({**FACTS, "training": {"seed": seed}}, other_weights(), "last")


@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_a_deeply_nested_header_is_refused(tmp_path: Path, depth: int):
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        text = opening * depth + "1" + closing * depth
        header = {"format": FORMAT, "version": "1", "facts": text}
        save_file({"weight": torch.zeros(1)}, tmp_path / "last.safetensors", metadata=header)
        with pytest.raises(UsageError, match="its facts cannot be read"):
            load_method(tmp_path / "last.safetensors", CPU)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda value: value / 0, "that are not finite in: generator"),
        (
            lambda value: (value * float("nan")).to(torch.float8_e4m3fn),
            "numbers that are not finite",
        ),
        (lambda value: value.to(torch.int64), "of another type: generator.* torch.int64 instead"),
        (lambda value: value > 0, "of another type: generator.* torch.bool instead"),
    ],
    ids=["infinite", "nan of 8 bits", "whole numbers", "bool"],
)
def test_weights_that_are_no_numbers_are_refused(spoil, words):
    weights = other_weights()
    name = next(iter(weights))
    with pytest.raises(UsageError, match=f"last .*{words}"):
        restore_method(FACTS, {**weights, name: spoil(weights[name])}, "last")


@pytest.mark.parametrize(
    "scale",
    [{"weights": [1, 2, float("nan")], "bias": 1}, {"weights": [1, 2, 3], "bias": float("inf")}],
    ids=["weights", "bias"],
)
def test_a_calibration_without_numbers_is_refused(scale):
    with pytest.raises(UsageError, match="no finite scale of presence"):
        restore_method({**FACTS, "presence": scale}, other_weights(), "last")
