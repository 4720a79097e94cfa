"""What tests of trainings share: equal results of runs, and a run that is stopped and goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import eval_image
import train_image
from data.synthetic.image_sets import write_voc


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """What a run learned."""
    return load_file(folder / "last.safetensors")


def assert_equal(one: Path, other: Path) -> None:
    """Two runs learned the same to the last bit."""
    found, expected = weights_of(one), weights_of(other)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def assert_learned_the_same(one: Path, other: Path) -> None:
    """Compare two runs' weights up to the rounding of sums.

    AdamW blows up the rounding of gradients that are 0: those of the keys' bias, which shifts all
    affinities of a prompt alike, and of few others. A wrong gradient would move whole tensors.
    """
    other_weights = weights_of(other)
    for name, value in weights_of(one).items():
        difference = (value - other_weights[name]).abs()
        if name.endswith(("projection.bias", "in_proj_bias")):
            queries, _, values = difference.chunk(3)
            difference = torch.cat([queries, values])
        assert (difference < 2e-4).float().mean() > 0.99, name


def assert_nothing_depends_on_workers_or_stopping(
    script: Callable, flags: tuple[object, ...], folder: Path
) -> None:
    """Train with 0 and with 2 workers, and with a stop after the first epoch."""
    for workers in (0, 2):
        given = (*flags, "--nworker", workers, "--output", folder / f"workers{workers}")
        assert script(train_image, *given).code == 0
    assert_equal(folder / "workers0", folder / "workers2")

    begun = (*flags, "--nworker", 0, "--output", folder / "stopped")
    finish = train_image.Trainer.finish_epoch

    def stop_after_the_first(self, *arguments: object) -> None:
        finish(self, *arguments)
        if self.epoch == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_image.Trainer, "finish_epoch", stop_after_the_first)
        assert script(train_image, *begun).code != 0
    assert script(train_image, *begun, "--resume").code == 0
    assert_equal(folder / "workers0", folder / "stopped")


def assert_processes_learn_the_same(
    torchrun: Callable, flags: tuple[object, ...], folder: Path
) -> None:
    """Train by 1 process, by 2, and by 2 that accumulate gradients: on the same pictures."""
    torchrun(1, *flags, "--bsz", 4, "--output", folder / "one")
    torchrun(2, *flags, "--bsz", 2, "--output", folder / "two")
    torchrun(2, *flags, "--bsz", 1, "--accumulate", 2, "--output", folder / "four")
    assert_learned_the_same(folder / "one", folder / "two")
    assert_learned_the_same(folder / "one", folder / "four")


def assert_it_beats_what_needs_no_training(
    script: Callable, flags: tuple[object, ...], updates: int, folder: Path
) -> None:
    """Train by the tiny preset on drawn pictures, and test on 80 episodes of unseen classes."""
    write_voc(folder / "VOC2012", {"train": 1400, "val": 260}, seed=0)
    data = ("--datapath", folder, "--fold", 1, "--nworker", 1, "--device", "cpu")

    trained = script(
        train_image,
        *(*flags, "--preset", "tiny", *data, "--output", folder / "run", "--store_features"),
        *("--max_iterations", updates, "--epochs", 99, "--validation_episodes", 8),
    )
    evaluated = script(
        eval_image,
        *("--ckpt", folder / "run" / "last.safetensors", *data, "--baselines"),
        *("--test_episodes", 80, "--output", folder / "scores"),
    )

    assert trained.code == evaluated.code == 0
    results = json.loads((folder / "scores" / "results.json").read_text())
    assert results["miou"] > max(results["baselines"].values())
