import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.images import read_image
from common.video_io import FrameReader, VideoWriter, davis_palette, write_indexed_mask
from tests.helpers import no_file_grows_beyond


def frame(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey frame whose brightness tells its number."""
    return np.full((height, width, 3), 20 * number, dtype=np.uint8)


def save(folder: Path, name: str, image: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / name)
    return folder / name


def write_video(path: Path, count: int = 10, codec: str = "mp4v") -> Path:
    with VideoWriter(path, frames_per_second=12, codec=codec) as writer:
        for number in range(count):
            writer.write(frame(number))
    return path


def numbers(reader: FrameReader) -> list[int]:
    return [round(float(image.mean()) / 20) for image in reader]


def decoding_threads() -> int:
    return sum(thread.name.startswith("frames") for thread in threading.enumerate())


def test_a_folder_is_read_in_natural_order_whatever_the_extension(tmp_path):
    for name, number in (("10.png", 3), ("2.jpg", 1), ("9.bmp", 2), ("1.PNG", 0)):
        save(tmp_path, name, frame(number))
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_text("no frame")

    with FrameReader(tmp_path) as reader:
        assert (reader.count, reader.size) == (4, (48, 64))
        assert reader.names == ["1", "2", "9", "10"]
        assert numbers(reader) == [0, 1, 2, 3]
        assert numbers(reader) == [0, 1, 2, 3]  # again from the start


@pytest.mark.parametrize("codec", ["mp4v", "vp09"])
def test_a_video_comes_back_as_it_was_written(tmp_path, codec):
    path = write_video(tmp_path / "new" / "clip.mp4", codec=codec)

    with FrameReader(path) as reader:
        assert (reader.count, reader.size, reader.names) == (10, (48, 64), None)
        assert reader.frames_per_second == 12
        assert numbers(reader) == list(range(10))
    assert list(path.parent.iterdir()) == [path]


def test_channels_are_red_green_blue_in_files_and_in_memory(tmp_path):
    red = frame(0)
    red[..., 0] = 200
    save(tmp_path / "frames", "0.png", red)
    with VideoWriter(tmp_path / "red.mp4") as writer:
        writer.write(red)

    for path in (tmp_path / "frames", tmp_path / "red.mp4"):
        channels = next(iter(FrameReader(path))).mean(axis=(0, 1))
        assert np.abs(channels - (200, 0, 0)).max() < 12


def test_leaving_early_stops_the_thread(tmp_path):
    for number in range(10):
        save(tmp_path, f"{number}.png", frame(number))

    with FrameReader(tmp_path, ahead=1) as reader:
        held = iter(reader)
        next(held)
        assert decoding_threads() == 1
    assert decoding_threads() == 0

    for _ in FrameReader(tmp_path, ahead=1):
        break
    assert decoding_threads() == 0


def test_at_most_the_frames_ahead_are_decoded(tmp_path, monkeypatch):
    for number in range(20):
        save(tmp_path, f"{number}.png", frame(1))
    decoded = []

    def read_and_count(path, upright):
        decoded.append(path)
        return read_image(path, upright)

    monkeypatch.setattr("common.video_io.read_image", read_and_count)
    with FrameReader(tmp_path, ahead=2) as reader:
        for taken, _ in enumerate(reader, start=1):
            # the first frame's size, what waits, one in hand on either side
            assert len(decoded) <= 1 + taken + 2 + 1


def test_a_frame_of_another_size_is_named(tmp_path):
    save(tmp_path, "0.png", frame(0))
    odd = save(tmp_path, "1.png", frame(1, height=50))

    with pytest.raises(UsageError, match="64 x 50 pixels") as raised:
        list(FrameReader(tmp_path))
    assert str(odd) in str(raised.value)


def test_frames_are_upright_and_keep_their_highest_eight_bits(tmp_path):
    deep = Image.fromarray(np.full((4, 6), 40 * 257, dtype=np.uint16) + np.uint16(40000))
    turned = deep.getexif()
    turned[0x0112] = 6
    deep.save(tmp_path / "0.png", exif=turned)
    with FrameReader(tmp_path) as reader:
        [only] = reader
    assert reader.size == only.shape[:2] == (6, 4)
    assert np.unique(only).tolist() == [(40 * 257 + 40000) >> 8]
    assert FrameReader(tmp_path, upright=False).size == (4, 6)


def test_a_broken_image_is_named(tmp_path):
    save(tmp_path, "0.png", np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"cannot read the image .*1\.png"):
        list(FrameReader(tmp_path))

    (tmp_path / "0.png").write_text("no image")
    with pytest.raises(UsageError, match=r"cannot read the image .*0\.png"):
        FrameReader(tmp_path)


def test_absent_and_empty_sources_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"no such folder of frames or video file: .*absent"):
        FrameReader(tmp_path / "absent")
    with pytest.raises(UsageError, match="no frame in"):
        FrameReader(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_video_is_named_before_the_first_frame(tmp_path, share):
    path = write_video(tmp_path / "clip.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(UsageError, match=r"clip\.mp4"):
        FrameReader(path)


def test_a_file_that_is_no_video_is_named_in_one_line(tmp_path, capfd):
    path = tmp_path / "text.mp4"
    path.write_text("no video" * 100)

    with pytest.raises(UsageError, match=r"cannot read a frame of .*text\.mp4"):
        FrameReader(path)
    assert capfd.readouterr() == ("", "")


def test_a_video_that_loses_frames_on_the_way_is_named(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    reader = FrameReader(path)
    reader.count = 20

    with pytest.raises(UsageError, match="only 10 of 20 frames"):
        list(reader)


def test_an_interrupted_video_leaves_the_old_file(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    before = path.read_bytes()

    def interrupted():
        with VideoWriter(path) as writer:
            writer.write(frame(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_of_odd_size_gains_a_row_and_a_column(tmp_path):
    with VideoWriter(tmp_path / "odd.mp4") as writer:
        for number in range(3):
            writer.write(frame(number, height=37, width=53))

    reader = FrameReader(tmp_path / "odd.mp4")
    assert reader.size == (38, 54)
    assert len(list(reader)) == 3


def test_the_writer_refuses_other_files_and_frames(tmp_path):
    with pytest.raises(UsageError, match=r"\.mp4"):
        VideoWriter(tmp_path / "clip.gif")
    with pytest.raises(UsageError, match="positive"):
        VideoWriter(tmp_path / "clip.mp4", frames_per_second=0)
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        writer.write(frame(0))
        with pytest.raises(ValueError, match="32 x 48 pixels"):
            writer.write(frame(0, width=32))
        with pytest.raises(ValueError, match="uint8"):
            writer.write(frame(0).astype(float))


def test_a_writer_without_frames_leaves_no_file(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_palette_begins_with_the_known_colours():
    palette = davis_palette()
    assert palette.shape == (256, 3)
    assert palette[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert palette[[8, 15, 20, 255]].tolist() == [
        [64, 0, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


def test_an_indexed_mask_keeps_its_numbers(tmp_path):
    path = tmp_path / "video" / "00000.png"
    mask = np.arange(256, dtype=np.int64).reshape(16, 16)

    write_indexed_mask(path, mask)

    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), mask)
        assert np.array_equal(np.array(image.convert("RGB"))[0], davis_palette()[:16])
    write_indexed_mask(path, mask > 99)
    assert np.array_equal(np.array(Image.open(path)), mask > 99)


def test_an_indexed_mask_refuses_what_a_byte_cannot_hold(tmp_path):
    for mask in (np.array([[256]]), np.array([[-1]]), np.ones((2, 2)), np.ones(3, dtype=bool)):
        with pytest.raises(ValueError, match="numbers 0 to 255"):
            write_indexed_mask(tmp_path / "mask.png", mask)
    assert list(tmp_path.iterdir()) == []


def test_a_video_for_which_there_is_no_room_leaves_the_old_file(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    before = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3), dtype=np.uint8)

    def fill():
        with no_file_grows_beyond(20_000), VideoWriter(path) as writer:
            for picture in noise:
                writer.write(picture)

    with pytest.raises(UsageError, match=rf"^cannot write {path}: "):
        fill()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
