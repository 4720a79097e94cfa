from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.video_io import VideoWriter
from page.limits import PageLimits


def save(path: Path, height: int, width: int, **more: object) -> Path:
    Image.new("RGB", (width, height)).save(path, **more)
    return path


def test_a_picture_is_measured_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    path = save(tmp_path / "turned.jpg", 30, 50, exif=exif)
    assert PageLimits().check_picture(path) == (50, 30)


def test_a_large_picture_is_refused_by_its_header(tmp_path):
    path = save(tmp_path / "large.png", 1000, 1100)
    with pytest.raises(UsageError, match=r"^large\.png is larger than 1 megapixels: it has 1$"):
        PageLimits(max_megapixels=1).check_picture(path)


def test_what_is_no_picture_or_video_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no picture")
    with pytest.raises(UsageError, match=r"^notes\.txt is not a picture that can be read$"):
        PageLimits().check_picture(path)
    with pytest.raises(UsageError, match=r"^notes\.txt is not a video that can be read$"):
        PageLimits().check_video(path)


def test_a_long_video_is_refused(tmp_path):
    path = tmp_path / "long.mp4"
    with VideoWriter(path) as writer:
        for _ in range(5):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    assert PageLimits(max_frames=5).check_video(path).count == 5
    with pytest.raises(UsageError, match=r"long\.mp4 has more than the 4 frames"):
        PageLimits(max_frames=4).check_video(path)


def test_too_many_pictures_are_refused():
    limits = PageLimits(max_pictures=3)
    limits.check_count("pictures", 3)
    with pytest.raises(UsageError, match="at most 3 pictures at a time"):
        limits.check_count("pictures", 4)


def test_limits_are_positive():
    assert PageLimits().problems() == []
    assert PageLimits(max_frames=0).problems() == ["--max_frames must be at least 1, not 0"]
