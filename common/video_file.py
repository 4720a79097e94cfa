"""Video files, decoded by FFmpeg's libraries through PyAV: upright RGB frames, or one plain line.

PyAV brings libraries of its own, so every codec reads alike on every machine, AV1 included, and it
tells of broken packets and incomplete frames, which OpenCV takes for the end of a video.
PyAV's log stays off, as it is by default: its callback takes Python's lock in FFmpeg's own threads,
which then wait for whoever closes a video, for ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from common.containers import is_cut_short
from common.errors import UsageError

TAIL = 4
"""Among so many last frames one of incomplete data means that the file was cut."""

LEADING = {"mpegts": 8}
"""By container, frames that may be missing because they refer to others before the beginning."""


class VideoFacts(NamedTuple):
    """What is known of a video file before its frames are decoded."""

    count: int
    """Frames that are shown; VP8 may hold a few invisible ones, which are counted."""
    frames_per_second: float | None
    """The average; None where the file does not tell."""
    size: tuple[int, int]
    """Height and width of the first frame, upright."""


def probe_video(path: Path) -> VideoFacts:
    """Look at a video's first frame, and read it to its end without decoding it.

    Raises:
        UsageError: it is missing, no video, damaged or cut short.
    """
    if is_cut_short(path):
        raise UsageError(f"the video {path} is truncated: copy or download it again")
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or 0) or None
        first = next(container.decode(stream), None)
        if first is None:
            raise UsageError(f"cannot read a frame of {path}: not a video, or damaged")
        size = _upright(first).shape[:2]
    with _opened(path) as (container, stream):
        count = 0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise UsageError(f"the video {path} is truncated: copy or download it again")
            count += bool(packet.size) and not packet.is_discard
    return VideoFacts(count, rate, size)


def decode_video(path: Path, announced: int = 0) -> Iterator[np.ndarray]:
    """Yield a video's frames, H x W x 3 uint8 RGB, turned as the file says.

    Args:
        announced: how many frames the file holds.

    Raises:
        UsageError: the file is missing or no video, a frame is broken or incomplete, or frames are
            lost.
    """
    count, incomplete = 0, -TAIL
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        try:
            for frame in container.decode(stream):
                yield _upright(frame)
                count += 1
                if frame.is_corrupt:
                    incomplete = count
        except av.error.FFmpegError as error:
            raise UsageError(
                f"the video {path} is damaged: frame {count} cannot be decoded ({error.strerror})"
            ) from None
        may_lack = LEADING.get(container.format.name, 2)
        has_invisible = stream.codec_context.name == "vp8"
    # elsewhere a frame may lack others that it refers to; at the end, data of its own
    if count - incomplete < TAIL:
        raise UsageError(f"the video {path} is truncated: its last frames are incomplete")
    if count < announced - may_lack and not has_invisible:
        raise UsageError(f"the video {path} is damaged: only {count} of {announced} frames decode")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            streams = container.streams.video
            if not streams:
                raise UsageError(f"cannot read a frame of {path}: it has no pictures")
            yield container, streams[0]
    except av.error.FFmpegError:
        raise UsageError(f"cannot read a frame of {path}: not a video, or damaged") from None


def _upright(frame: av.VideoFrame) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
