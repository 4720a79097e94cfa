"""Whoever reads, in batches of any size, with features kept or not: the same comes out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval_image
import predict
import train_image
from tests.helpers import coloured_cells, save_reference
from tests.runs import assert_equal, assert_learned_the_same

TRAINING = ("--epochs", 2, "--episodes_per_epoch", 8, "--update_size", 4)


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_pictures_labelled_alone_or_together_by_any_readers_get_the_same(script, trained, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(5):
        picture = Image.fromarray(coloured_cells(number, (60 + number, 50)))
        picture.save(tmp_path / "photos" / f"{number}.png")
    flags = ("--ckpt", trained, "--device", "cpu", *save_reference(tmp_path), "--no_overlays")
    flags = (*flags, "--target", tmp_path / "photos")
    found = {}
    for batch, readers in ((1, 1), (4, 1), (4, 4)):
        out = tmp_path / f"{batch}{readers}"
        given = ("--bsz", batch, "--nworker", readers, "--output", out)
        assert script(predict, *flags, *given).code == 0
        coco = json.loads((out / "coco.json").read_text())
        masks = [np.array(Image.open(path)) for path in sorted((out / "masks").iterdir())]
        found[batch, readers] = [image["score"]["object"] for image in coco["images"]], masks
    scores, masks = found[4, 1]
    assert found[4, 4][0] == scores
    assert all(np.array_equal(*both) for both in zip(found[4, 4][1], masks, strict=True))
    assert found[1, 1][0] == pytest.approx(scores, abs=1e-4)  # they are written with 4 digits
    assert all(np.array_equal(*both) for both in zip(found[1, 1][1], masks, strict=True))


@pytest.mark.slow
def test_a_training_is_the_same_with_0_1_and_4_workers(script, tiny_flags, tmp_path):
    for workers in (0, 1, 4):
        given = ("--nworker", workers, "--bsz", 2, "--output", tmp_path / str(workers))
        assert script(train_image, *tiny_flags, *TRAINING, *given).code == 0
    for workers in (1, 4):
        assert_equal(tmp_path / "0", tmp_path / str(workers))
        assert losses(tmp_path / "0") == losses(tmp_path / str(workers))


@pytest.mark.slow
def test_an_evaluation_is_the_same_with_0_1_and_4_workers(script, trained, generated, tmp_path):
    flags = ("--ckpt", trained, "--datapath", generated, "--device", "cpu", "--test_episodes", 20)
    found = []
    for workers in (0, 1, 4):
        out = tmp_path / str(workers)
        assert script(eval_image, *flags, "--nworker", workers, "--output", out).code == 0
        found.append((out / "items.jsonl").read_text())
    assert found[0].count("\n") == 20
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_a_training_learns_the_same_with_features_kept_and_found(script, tiny_flags, tmp_path):
    cache = ("--feature_cache", tmp_path / "cache")
    kinds = {"none": (), "memory": ("--store_features",), "cold": cache, "warm": cache}
    for name, more in kinds.items():
        given = (*more, "--bsz", 2, "--output", tmp_path / name)
        assert script(train_image, *tiny_flags, *TRAINING, *given).code == 0
    for name, bound in (("memory", 1e-5), ("cold", 1e-2), ("warm", 1e-2)):  # of 16 bits on disk
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "none"), abs=bound)
    assert_learned_the_same(tmp_path / "none", tmp_path / "memory")
