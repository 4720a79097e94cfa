from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.davis import Davis


def write_frames(folder: Path, masks: Path, annotated: tuple[int, ...]) -> None:
    folder.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (8, 6)).save(folder / f"{number:05}.jpg")
    for number in annotated:
        pixels = np.zeros((6, 8), dtype=np.uint8)
        pixels[0, 0], pixels[0, 1] = 1, 2 if number else 0
        Image.fromarray(pixels).save(masks / f"{number:05}.png")


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    root = tmp_path / "DAVIS"
    for name in ("swan", "bear", "train-only"):
        write_frames(
            root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name, (0, 1, 2, 3)
        )
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("swan\nbear\n")
    return root


@pytest.fixture
def lvos(tmp_path: Path) -> Path:
    root = tmp_path / "LVOS"
    for name in ("b", "a"):
        part = root / "val"
        write_frames(part / "JPEGImages" / name, part / "Annotations" / name, (0, 2))
    return root


def test_reads_the_listed_videos_of_davis(davis: Path):
    benchmark = Davis(davis)
    assert (benchmark.layout, benchmark.videos) == ("DAVIS", ["bear", "swan"])
    video = benchmark.open("swan")
    assert (len(video), list(video.masks)) == (4, [0, 1, 2, 3])
    assert video.appearances() == {1: 0, 2: 1}


def test_every_frame_of_davis_has_a_mask(davis: Path):
    (davis / "Annotations" / "480p" / "swan" / "00002.png").unlink()
    with pytest.raises(UsageError, match=r"missing masks of video swan: .*swan/00002\.png"):
        Davis(davis).open("swan")


@pytest.mark.parametrize("inner", ["", "val"])
def test_reads_lvos_whose_masks_are_sparse(lvos: Path, inner: str):
    benchmark = Davis(lvos / inner)
    assert (benchmark.layout, benchmark.videos) == ("LVOS", ["a", "b"])
    video = benchmark.open("a")
    assert (len(video), list(video.masks)) == (4, [0, 2])
    (lvos / "val" / "Annotations" / "a" / "00000.png").unlink()
    with pytest.raises(UsageError, match=r"missing masks of video a: .*00000\.png"):
        benchmark.open("a")


def test_wrong_folders_and_lists_are_refused(davis: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="no such folder of DAVIS, LVOS or MOSE"):
        Davis(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="in the layout neither of DAVIS"):
        Davis(tmp_path)
    with pytest.raises(UsageError, match=r"cannot read the list of videos .*train\.txt"):
        Davis(davis, "train")
    listed = davis / "ImageSets" / "2017" / "val.txt"
    listed.write_text("swan\nghost\n")
    with pytest.raises(UsageError, match=r"names 1 videos without frames: .*ghost"):
        Davis(davis)
    listed.write_text("\n")
    with pytest.raises(UsageError, match="holds no folder of frames"):
        Davis(davis)


def test_reads_real_videos(real_data: Path):
    benchmark = Davis(real_data / "DAVIS")
    assert benchmark.videos == ["blackswan", "tennis"]
    swan, tennis = (benchmark.open(name) for name in benchmark.videos)
    assert (len(swan), len(tennis)) == (12, 2)
    assert swan.appearances() == {1: 0}
    assert tennis.appearances() == {1: 0, 2: 0}  # 255 is no object
