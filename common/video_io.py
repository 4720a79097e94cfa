"""Frames in and out: folders of images, video files, MP4 overlays and palette masks.

A frame is an H x W x 3 uint8 RGB array. Frames stream one at a time: memory does not grow with the
length of a video.
"""

import os
import re
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image

from common.errors import UsageError
from common.files import publish, temporary_beside, write_atomically
from common.images import read_image
from common.video_file import decode_video, probe_video

IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpx"),
    ]
)
VIDEO_SUFFIXES = frozenset(
    [
        *(".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"),
        *(".mts", ".m2ts"),
    ]
)

# FFmpeg and OpenCV would write lines of their own beside ours
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


class FrameReader:
    """The frames of a folder of images or of a video file, decoded ahead in a background thread.

    Iterating again starts from the first frame; one iteration runs at a time. Leaving the `with`
    block stops the thread, also in the middle of a video.

    Attributes:
        path: the folder or file.
        size: height and width of every frame.
        count: number of frames.
        current: the frame that came last, H x W x 3 uint8; None before the first.
        names: the images' names without suffix in a folder, None for a video file.
        frames_per_second: as a video file says, None for a folder.
    """

    def __init__(self, path: Path, ahead: int = 4, upright: bool = True) -> None:
        """Look at the source and its first frame.

        Args:
            path: a folder with images, read in the natural order of their names, or a video file.
            ahead: how many decoded frames may wait.
            upright: turn images as their EXIF data say, see `common.images.read_image`.

        Raises:
            UsageError: there is no such path, it holds no frame, or it is broken.
        """
        self.path = Path(path)
        self._ahead, self._upright = ahead, upright
        self.current: np.ndarray | None = None
        # weak, so that an iteration that nobody holds any more ends at once, with its thread
        self._iteration: weakref.ref[Generator[np.ndarray, None, None]] | None = None
        if self.path.is_dir():
            self._images = list_frames(self.path)
            self.names = [image.stem for image in self._images]
            self.count, self.frames_per_second = len(self._images), None
            self.size = read_image(self._images[0], upright).shape[:2]
        elif self.path.is_file():
            self._images = self.names = None
            self.count, self.frames_per_second, self.size = probe_video(self.path)
        else:
            raise UsageError(f"no such folder of frames or video file: {self.path}")

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield each frame in turn.

        Raises:
            UsageError: a frame is broken or of another size, or the video ends too early.
        """
        self.close()
        iteration = self._stream()
        self._iteration = weakref.ref(iteration)
        return iteration

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the running iteration, if any, and its thread."""
        iteration = self._iteration() if self._iteration is not None else None
        if iteration is not None:
            iteration.close()

    def _stream(self) -> Generator[np.ndarray, None, None]:
        frames = self._decode()
        pool = ThreadPoolExecutor(1, thread_name_prefix="frames")
        try:
            waiting = deque(pool.submit(next, frames, None) for _ in range(self._ahead))
            while (frame := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, frames, None))
                self.current = frame
                yield frame
        finally:
            pool.shutdown(cancel_futures=True)
            frames.close()

    def _decode(self) -> Generator[np.ndarray, None, None]:
        if self._images is not None:
            named = ((str(image), read_image(image, self._upright)) for image in self._images)
        else:
            frames = enumerate(decode_video(self.path, self.count))
            named = ((f"frame {number} of {self.path}", frame) for number, frame in frames)
        for name, frame in named:
            if frame.shape[:2] != self.size:
                raise UsageError(
                    f"{name} is {_dimensions(frame.shape)}, "
                    f"but the first frame is {_dimensions(self.size)}"
                )
            yield frame


class VideoWriter:
    """Writes frames to an MP4 file that appears under its name only when it is complete.

    The encoder takes even sizes only: an odd last row or column is written twice.
    """

    def __init__(self, path: Path, frames_per_second: float = 24, codec: str = "mp4v") -> None:
        """Prepare to write; the first frame decides the size.

        Args:
            path: an .mp4 file to make or replace.
            frames_per_second: how fast the video plays.
            codec: four letters: mp4v is quick, vp09 plays in browsers.

        Raises:
            UsageError: another suffix, a rate that is not positive, or no place to write.
        """
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4" or self.path.is_dir():
            raise UsageError(f"a video is written to an .mp4 file, not to {self.path}")
        if not frames_per_second > 0:
            raise UsageError(f"frames per second must be positive, not {frames_per_second}")
        self._temporary = temporary_beside(self.path)
        self._rate, self._codec = frames_per_second, codec
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] | None = None
        self._written = 0

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, H x W x 3 uint8 RGB, of the first frame's size.

        Raises:
            ValueError: not such an array, or of another size.
            UsageError: the file cannot be written.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"a frame is H x W x 3 uint8, not {frame.shape} {frame.dtype}")
        if self._writer is None:
            self._open(frame.shape)
        if frame.shape != self._shape:
            raise ValueError(
                f"a frame of {_dimensions(frame.shape)} in a video of {_dimensions(self._shape)}"
            )
        even = cv2.copyMakeBorder(
            cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
            *(0, frame.shape[0] % 2, 0, frame.shape[1] % 2),
            cv2.BORDER_REPLICATE,
        )
        self._writer.write(even)
        self._written += 1

    def close(self) -> None:
        """Finish the file and put it in its place; a video without frames leaves none.

        Raises:
            UsageError: not all of it could be written, of which OpenCV says nothing.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            whole = probe_video(self._temporary).count == self._written
        except (UsageError, OSError):
            whole = False
        try:
            if not whole:
                raise UsageError(f"cannot write {self.path}: is the disk full?")
            publish(self._temporary, self.path)
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            self._temporary.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what was written so far."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self.close() if kind is None else self.discard()

    def _open(self, shape: tuple[int, ...]) -> None:
        height, width = (side + side % 2 for side in shape[:2])
        self._writer = cv2.VideoWriter(
            str(self._temporary), cv2.VideoWriter.fourcc(*self._codec), self._rate, (width, height)
        )
        if not self._writer.isOpened():
            self.discard()
            raise UsageError(f"cannot write {self.path}: no MP4 encoder takes {width} x {height}")
        self._shape = shape


def list_frames(folder: Path) -> list[Path]:
    """The images of a folder in natural order: 2.jpg before 10.jpg.

    Raises:
        UsageError: there is none.
    """
    images = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not images:
        raise UsageError(f"no frame in {folder}: expected images such as 00000.jpg")
    return sorted(images, key=_natural_order)


def davis_palette() -> np.ndarray:
    """The colours that DAVIS and VOC give to mask values, 256 x 3 uint8.

    Three bits of the value at a time set one bit of red, green and blue, highest first.
    """
    values = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for step in range(8):
        for channel in range(3):
            bit = values >> (3 * step + channel) & 1
            palette[:, channel] |= (bit << (7 - step)).astype(np.uint8)
    return palette


def write_indexed_mask(path: Path, mask: np.ndarray) -> None:
    """Write object numbers as a PNG with the DAVIS palette.

    Args:
        path: the file to make or replace.
        mask: H x W of bool or of integers from 0 to 255.

    Raises:
        ValueError: another shape or other values.
        UsageError: the file cannot be written.
    """
    integral = mask.dtype == bool or np.issubdtype(mask.dtype, np.integer)
    if mask.ndim != 2 or not integral or (mask.size and not 0 <= mask.min() <= mask.max() <= 255):
        raise ValueError(f"a mask is H x W of numbers 0 to 255, not {mask.shape} {mask.dtype}")
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(davis_palette().tobytes())
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))


def _natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", path.stem)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def _dimensions(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
