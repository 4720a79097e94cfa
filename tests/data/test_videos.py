from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.videos import AnnotatedVideo, open_video

HEIGHT, WIDTH = 6, 8


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def frame(brightness: int = 0, width: int = WIDTH) -> np.ndarray:
    return np.full((HEIGHT, width, 3), brightness, dtype=np.uint8)


def mask(*values: int) -> np.ndarray:
    """A mask whose first row begins with some values."""
    pixels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    pixels[0, : len(values)] = values
    return pixels


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., AnnotatedVideo]:
    """Writes frames 0, 1, 2 and 10 with the masks of some, and opens the video."""

    def write_video(
        masks: dict[str, np.ndarray], suffix: str = ".jpg", needed: str = "first frame"
    ):
        for number in (10, 2, 1, 0):
            write(tmp_path / "frames" / f"{number}{suffix}", frame(10 * number))
        (tmp_path / "masks").mkdir()
        for name, pixels in masks.items():
            write(tmp_path / "masks" / f"{name}.png", pixels)
        return open_video("clip", tmp_path / "frames", tmp_path / "masks", needed)

    return write_video


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG", ".webp"])
def test_frames_come_in_the_order_of_time_with_any_extension(make, suffix: str):
    video = make({"0": mask()}, suffix)
    assert [path.stem for path in video.frames] == ["0", "1", "2", "10"]
    assert len(video) == 4
    assert video.size == (HEIGHT, WIDTH)
    with video.reader() as frames:
        brightness = [int(one.mean().round()) for one in frames]
    assert brightness == pytest.approx([0, 10, 20, 100], abs=3)


def test_masks_belong_to_frames_by_name(make):
    video = make({"0": mask(1), "10": mask(3)})
    assert list(video.masks) == [0, 3]
    assert np.array_equal(video.read_mask(3), mask(3))


def test_an_object_appears_in_the_first_mask_that_shows_it(make):
    video = make({"0": mask(2, 255), "1": mask(2, 1), "10": mask(3, 1)})
    assert video.appearances() == {1: 1, 2: 0, 3: 3}


def test_255_is_an_object_where_there_is_no_other(make):
    video = make({"0": mask(0), "1": mask(255, 255)})
    assert video.appearances() == {255: 1}


def test_missing_masks_are_named(make, tmp_path: Path):
    with pytest.raises(UsageError, match=r"2 missing masks of video clip: .*1\.png, .*10\.png"):
        make({"0": mask(), "2": mask()}, needed="every frame")
    (tmp_path / "masks" / "0.png").unlink()
    with pytest.raises(UsageError, match=r"1 missing masks of video clip: .*masks/0\.png"):
        open_video("clip", tmp_path / "frames", tmp_path / "masks", needed="first frame")


def test_a_mask_without_a_frame_is_named(make):
    with pytest.raises(UsageError, match=r"1 masks without a frame in .*frames: .*7\.png"):
        make({"0": mask(), "7": mask()})


def test_two_frames_of_one_name_are_refused(make, tmp_path: Path):
    write(tmp_path / "frames" / "1.png", frame())
    with pytest.raises(UsageError, match=r"two frames of one name: .*1\.\w+ and .*1\.\w+"):
        make({"0": mask()})


@pytest.mark.parametrize(("gone", "what"), [("frames", "frames"), ("masks", "masks")])
def test_a_missing_folder_is_named(tmp_path: Path, gone: str, what: str):
    for folder in {"frames", "masks"} - {gone}:
        (tmp_path / folder).mkdir()
    with pytest.raises(UsageError, match=f"video clip has no folder of {what}: .*{gone}"):
        open_video("clip", tmp_path / "frames", tmp_path / "masks", needed="every frame")


def test_a_video_without_frames_is_refused(tmp_path: Path):
    for folder in ("frames", "masks"):
        (tmp_path / folder).mkdir()
    with pytest.raises(UsageError, match=r"no frame in .*frames"):
        open_video("clip", tmp_path / "frames", tmp_path / "masks", needed="every frame")


def test_a_mask_of_another_size_is_named(make):
    video = make({"0": mask(), "1": mask()[:3]})
    with pytest.raises(UsageError, match=r"sizes differ .*1\.png \(3, 8\).*0\.jpg \(6, 8\)"):
        video.read_mask(1)


def test_frames_of_another_size_are_named(make, tmp_path: Path):
    video = make({"0": mask()})
    write(tmp_path / "frames" / "2.jpg", frame(width=9))
    with video.reader() as frames, pytest.raises(UsageError, match=r"2\.jpg is 9 x 6"):
        list(frames)


def test_frames_are_read_as_they_are_stored_like_their_masks(make, tmp_path: Path):
    make({"0": mask(1)})
    for path in (tmp_path / "frames").iterdir():
        with Image.open(path) as image:
            exif = image.getexif()
            exif[0x0112] = 6  # says: turn me by a quarter
            image.save(path, exif=exif)
    video = open_video("clip", tmp_path / "frames", tmp_path / "masks", needed="first frame")
    assert {read.shape[:2] for read in video.reader()} == {video.size} == {mask(1).shape}
    assert video.read_mask(0).shape == video.size
