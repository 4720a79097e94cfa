"""Video files of all containers that people have, whole and cut; PyAV writes them."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from common.errors import UsageError
from common.video_io import VIDEO_SUFFIXES, FrameReader

os.environ.setdefault("SVT_LOG", "0")  # its AV1 encoder is talkative
FRAMES = 12
CODECS = {
    "mp4": "libx264",
    "m4v": "mpeg4",
    "mov": "libx264",
    "3gp": "mpeg4",
    "mkv": "libx264",
    "webm": "libvpx-vp9",
    "avi": "mpeg4",
    "wmv": "wmv2",
    "mpg": "mpeg2video",
    "mpeg": "mpeg1video",
    "mts": "libx264",
    "m2ts": "libx264",
}
CONTAINERS = {"m4v": "mp4", "mts": "mpegts", "m2ts": "mpegts", "mpeg": "mpeg"}


def frame(number: int) -> np.ndarray:
    """Noise above, below a grey that tells its number."""
    picture = np.full((48, 64, 3), 20 * number, dtype=np.uint8)
    picture[:24] = np.random.default_rng(number).integers(0, 255, (24, 64, 3))
    return picture


def write(path: Path, codec: str, **more: str) -> Path:
    kind = CONTAINERS.get(path.suffix[1:])
    rate = 25 if codec.startswith("mpeg") else 12  # MPEG-1 and 2 know few rates
    with av.open(str(path), "w", format=kind, container_options=more) as container:
        stream = container.add_stream(codec, rate=rate, width=64, height=48, pix_fmt="yuv420p")
        for number in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(frame(number), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def numbers(path: Path) -> list[int]:
    return [round(float(image[30:].mean()) / 20) for image in FrameReader(path)]


def test_every_suffix_is_tried():
    assert {f".{suffix}" for suffix in CODECS} == VIDEO_SUFFIXES


@pytest.mark.parametrize("suffix", CODECS)
def test_a_whole_file_is_read_and_a_cut_one_named(tmp_path, suffix):
    path = write(tmp_path / f"whole.{suffix}", CODECS[suffix])
    reader = FrameReader(path)
    assert (reader.count, reader.size) == (FRAMES, (48, 64))
    assert reader.frames_per_second == (25 if CODECS[suffix].startswith("mpeg") else 12)
    assert numbers(path) == list(range(FRAMES))

    content, cut = path.read_bytes(), tmp_path / f"cut.{suffix}"
    for share in (0.15, 0.3, 0.5, 0.7, 0.87):
        cut.write_bytes(content[: int(share * len(content)) | 1])  # not after a whole packet
        with pytest.raises(UsageError, match=rf"cut\.{suffix}"):
            list(FrameReader(cut))


@pytest.fixture
def usual_priority() -> Iterator[None]:
    """The AV1 encoder gives root's thread real-time priority, which would starve all others."""
    yield
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.mark.usefixtures("usual_priority")
@pytest.mark.parametrize(
    ("name", "codec", "more"),
    [
        ("av1.mp4", "libsvtav1", {}),
        ("av1.webm", "libsvtav1", {}),
        ("vp8.webm", "libvpx", {}),
        ("index_first.mp4", "libx264", {"movflags": "faststart"}),
        ("fragments.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("timed.m2ts", "libx264", {"mpegts_m2ts_mode": "1"}),
    ],
)
def test_other_codecs_and_layouts_are_read_and_cut_ones_named(tmp_path, name, codec, more):
    path = write(tmp_path / name, codec, **more)
    assert numbers(path) == list(range(FRAMES))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 | 1])
    with pytest.raises(UsageError, match=name):
        list(FrameReader(path))


def test_a_recording_of_unknown_length_is_read(tmp_path):
    """Browsers write such files."""
    assert numbers(write(tmp_path / "live.webm", "libvpx-vp9", live="1")) == list(range(FRAMES))


def test_a_broken_frame_in_the_middle_is_named(tmp_path):
    path = write(tmp_path / "damaged.mp4", "libx264", movflags="faststart")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged\.mp4 is damaged: frame \d+ cannot be decoded"):
        list(FrameReader(path))


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(UsageError, match=r"sound\.mp4: it has no pictures"):
        FrameReader(tmp_path / "sound.mp4")


@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)]
)
def test_a_turned_video_is_read_upright(tmp_path, matrix, turns):
    """Telephones store videos as the sensor lies, and how to turn them in the track's header."""
    path = write(tmp_path / "turned.mp4", "libx264")
    [stored, *_] = FrameReader(path)
    content = bytearray(path.read_bytes())
    place = content.find(b"tkhd") + 44  # after type, version, times, number, layer, volume
    a, b, c, d = (one << 16 for one in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)

    reader = FrameReader(path)

    assert reader.size == ((48, 64) if turns == 2 else (64, 48))
    assert np.array_equal(next(iter(reader)), np.rot90(stored, turns))
