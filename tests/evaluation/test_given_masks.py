"""Masks of the first frames, the true ones or others, are carried on by SAM 2."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval_video
from tests.video_cases import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    mask_of,
    numbers,
    read,
    save_checkpoint_of_videos,
    slow_scores,
    square,
    write_frames,
    write_icvos,
    write_masks,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_checkpoint_of_videos(tmp_path_factory.mktemp("model") / "last.safetensors")


@pytest.fixture(scope="module")
def icvos(tmp_path_factory) -> Path:
    return write_icvos(tmp_path_factory.mktemp("data") / "IC-VOS")


def test_a_true_first_frame_scores_full_marks_there(script, checkpoint, icvos, tmp_path):
    outcome = script(
        eval_video,
        *("--ckpt", checkpoint, "--icvos_path", icvos, "--coco_path", "nowhere"),
        *("--first_frame", "oracle", "--max_frames", 1, "--output", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    results = read(tmp_path / "out")
    assert (results["j"], results["f"], results["original_size"]["jf"]) == (100, 100, 100)
    assert results["supports_sha256"] is None


def write_first_masks(folder: Path) -> Path:
    """The true masks of all first frames, as another program would write them."""
    for video, classes in CLASSES.items():
        for class_id, left in classes.items():
            write_masks(
                folder / video / "Annotations" / str(class_id), {0: square(left, 0) * np.uint8(255)}
            )
    return folder


@pytest.fixture(scope="module")
def given_flags(checkpoint, icvos):
    return ("--ckpt", checkpoint, "--icvos_path", icvos, "--device", "cpu", "--sheet_rows", 1)


def test_true_masks_in_a_folder_are_the_oracle(script, given_flags, tmp_path):
    folder = write_first_masks(tmp_path / "first")
    for name, first in (("oracle", "oracle"), ("folder", folder)):
        outcome = script(
            eval_video, *given_flags, "--first_frame", first, "--output", tmp_path / name
        )
        assert outcome.code == 0, outcome.error
    oracle, given = (numbers(tmp_path / name) for name in ("oracle", "folder"))
    assert (oracle[0].pop("first_frame"), given[0].pop("first_frame")) == ("oracle", str(folder))
    protocols = oracle[0].pop("protocol"), given[0].pop("protocol")
    for results in (oracle[0], given[0]):
        del results["protocol_pool"]
    assert protocols == ("icvos_oracle", "icvos_masks")
    assert oracle[0] == given[0]
    assert [record.pop("first_mask") for record in oracle[1]] == [None] * 4
    assert all(len(record.pop("first_mask")) == 64 for record in given[1])
    assert oracle[1] == given[1]


def test_a_given_mask_is_its_own_result(script, given_flags, tmp_path):
    folder = write_first_masks(tmp_path / "first")
    wrong = square(CLASSES["one"][1] + 4, 0)
    Image.fromarray(wrong.astype(np.uint8)).save(folder / "one" / "Annotations" / "1" / "00000.png")
    Image.new("L", (WIDTH, HEIGHT)).save(folder / "two" / "Annotations" / "3" / "00000.png")
    flags = ("--first_frame", folder, "--max_frames", 1, "--save_masks")
    outcome = script(eval_video, *given_flags, *flags, "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    records = {record["item"]: record for record in read(tmp_path / "out", "items.jsonl")}
    assert records["a pair/1"]["original_size"]["jf"] == 100
    assert records["one/1"]["original_size"]["j"] == pytest.approx(100 * 12 / 20)
    assert records["two/3"]["original_size"]["jf"] == 0
    written = mask_of(tmp_path / "out" / "masks" / "one" / "Annotations" / "1" / "00000.png")
    assert np.array_equal(written, wrong)


def test_missing_and_wrong_given_masks_are_named_by_item(script, given_flags, tmp_path):
    folder = write_first_masks(tmp_path / "first")
    missing = folder / "one" / "Annotations" / "1" / "00000.png"
    missing.unlink()
    small = folder / "a pair" / "Annotations" / "3" / "00000.png"
    Image.new("L", (WIDTH // 2, HEIGHT)).save(small)
    flags = (*given_flags, "--first_frame", folder, "--output", tmp_path / "out")

    outcome = script(eval_video, *flags)

    assert outcome.code == 1
    failed = read(tmp_path / "out")["failed"]
    assert set(failed) == {"one/1", "a pair/3"}
    assert str(missing) in failed["one/1"]
    assert str(small) in failed["a pair/3"]
    assert "sizes differ" in failed["a pair/3"]

    write_first_masks(tmp_path / "again")
    for path in (missing, small):
        path.write_bytes((tmp_path / "again" / path.relative_to(folder)).read_bytes())
    assert script(eval_video, *flags).code == 0  # the failed items are tried again
    small.write_bytes(missing.read_bytes())
    outcome = script(eval_video, *flags)
    assert outcome.code == 2
    assert "other first masks (a pair/3)" in outcome.error


def labels_of(frame: int) -> np.ndarray:
    """Two objects side by side, the second one from frame 1 on, and pixels of value 255."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[8:28, 6 + frame : 26 + frame] = 1
    if frame:
        labels[8:28, 26 + frame : 44 + frame] = 2
    labels[26:30] = 255
    return labels


@pytest.mark.parametrize("void", [False, True], ids=["background", "void"])
@pytest.mark.parametrize(
    ("layout", "scored"), [("davis", {1: [1, 2, 3], 2: [2, 3]}), ("lvos", {1: [2, 4], 2: [4]})]
)
def test_objects_whose_masks_are_given(script, tmp_path, checkpoint, layout, scored, void):
    labels = {number: labels_of(number) for number in range(FRAMES)}
    if layout == "davis":
        root = tmp_path / "DAVIS"
        frames, masks = root / "JPEGImages/480p/clip", root / "Annotations/480p/clip"
        (root / "ImageSets" / "2017").mkdir(parents=True)
        (root / "ImageSets" / "2017" / "val.txt").write_text("clip\n")
    else:  # every other frame is annotated, so that the second object is first seen in frame 2
        root = tmp_path / "LVOS"
        frames, masks = root / "val/JPEGImages/clip", root / "val/Annotations/clip"
        labels = {number: labels[number] for number in (0, 2, 4)}
    write_frames(frames, [labels_of(number) == 1 for number in range(FRAMES)])
    write_masks(masks, labels)
    out, given = tmp_path / "out", 1 if layout == "davis" else 2

    outcome = script(
        eval_video,
        *("--benchmark", layout, f"--{layout}_path", root, "--ckpt", checkpoint),
        *("--device", "cpu", "--save_masks", "--save_overlays", "--output", out),
        *(("--void",) if void else ()),
    )

    assert outcome.code == 0, outcome.error
    assert read(out)["exposure"] == "unknown"  # nothing says what the objects are
    found = [mask_of(out / "masks" / "clip" / f"{n:05}.png") for n in range(FRAMES)]
    assert np.array_equal(found[0] == 1, labels[0] == 1)
    assert not any((mask == 2).any() for mask in found[:given])
    assert np.array_equal(found[given] == 2, labels[given] == 2)
    assert {n for mask in found for n in np.unique(mask).tolist()} == {0, 1, 2}
    [record] = read(out, "items.jsonl")
    expected = []
    for label, numbers_of_frames in scored.items():
        j, f = np.mean(
            [
                slow_scores(found[n] == label, labels[n] == label, void & (labels[n] == 255))
                for n in numbers_of_frames
            ],
            axis=0,
        )
        scores = record["objects"][str(label)]
        assert (scores["j"], scores["f"]) == (pytest.approx(j), pytest.approx(f))
        expected.append((j + f) / 2)
    assert read(out)["jf"] == pytest.approx(np.mean(expected))


def test_the_original_sam2_runs_by_the_same_command(script, icvos, tmp_path):
    outcome = script(
        eval_video,
        *("--sam2_cfg", "configs/tiny.yaml", "--icvos_path", icvos, "--first_frame", "oracle"),
        *("--image_size", 64, "--device", "cpu", "--output", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    results = read(tmp_path / "out")
    assert results["items"] == 4
    assert "at_64x64" in results
