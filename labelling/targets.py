"""What a prediction labels: photographs and videos, found by file, folder or pattern, and named."""

import glob
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.images import read_photo
from common.pixels import squash
from common.video_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES, list_frames

PREVIEW_SIDE = 1600
"""The longer side of an overlay has at most so many pixels."""


@dataclass(frozen=True)
class Target:
    """One picture or video to label."""

    path: Path
    file_name: str
    """Its path below the folder that all targets have in common."""
    name: str
    """What its results are called."""
    is_video: bool = False
    """A video file or a folder of frames."""

    @property
    def changed(self) -> float:
        """When the file, or the latest of the frames, was changed, in seconds.

        Raises:
            OSError: it is missing.
        """
        paths = [self.path, *(list_frames(self.path) if self.path.is_dir() else [])]
        return max(path.stat().st_mtime for path in paths)

    def frame_names(self) -> Iterable[tuple[str, str]]:
        """What the results of each frame of a video are called, and what coco.json calls it.

        A frame of a video file gets its number, from 0; of a folder, the name of its file.
        """
        if self.path.is_dir():
            files = [path.name for path in list_frames(self.path)]
            return zip(short_names(files), [f"{self.file_name}/{f}" for f in files], strict=True)
        return ((f"{n:05d}", f"{self.name}/{n:05d}.png") for n in itertools.count())


@dataclass(frozen=True)
class Opened:
    """A picture that was read, no larger than needed."""

    target: Target
    size: tuple[int, int]
    """Height and width of the picture."""
    squashed: np.ndarray
    """S x S x 3 uint8, what the network sees."""
    preview: np.ndarray | None
    """What the overlay is drawn on."""


def list_targets(sources: Sequence[str], output: Path, frames: bool = False) -> list[Target]:
    """The pictures and videos that files, folders and patterns name, but for results among them.

    Args:
        frames: a folder with pictures is a video, whose frames they are.

    Raises:
        UsageError: there is none.
    """
    inside = output.resolve()
    paths = [p for p in find_paths(sources, frames) if not p.resolve().is_relative_to(inside)]
    if not paths:
        raise UsageError(f"no image or video found outside of {output}, where the results go")
    files = relative_names(paths)
    videos = [_is_video(path) for path in paths]
    return [
        Target(*one) for one in zip(paths, files, short_names(files, videos), videos, strict=True)
    ]


def find_paths(sources: Sequence[str], frames: bool = False) -> list[Path]:
    """The images and videos that files, folders and glob patterns name, each once, in fixed order.

    Of a folder these are the files directly in it; `folder/**/*.jpg` goes deeper. A file that is
    named alone may have any suffix.

    Args:
        frames: folders with images are found as such, and not the images directly in them.

    Raises:
        UsageError: a source names nothing.
    """
    found: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir() and not (frames and _holds_images(path)):
            paths = sorted(p for p in path.iterdir() if _is_wanted(p, frames))
        elif path.exists():
            paths = [path]
        else:
            matches = map(Path, glob.glob(str(source), recursive=True))
            paths = sorted(p for p in matches if _is_wanted(p, frames))
        if not paths:
            raise UsageError(f"no image or video found: {source}")
        found |= dict.fromkeys(paths)
    return list(found)


def relative_names(paths: Sequence[Path]) -> list[str]:
    """Each file's path below the folder that all have in common, with forward slashes."""
    whole = [Path(os.path.abspath(path)) for path in paths]
    root = os.path.commonpath([path.parent for path in whole])
    return [path.relative_to(root).as_posix() for path in whole]


def short_names(names: Sequence[str], videos: Sequence[bool] = ()) -> list[str]:
    """Relative names without the suffixes of images and videos.

    Where two would be the same, or one would lie in the folder of a video's results, all keep their
    suffixes.

    Args:
        videos: which names are those of videos (default: none).
    """
    short = [_without_suffix(PurePosixPath(name)) for name in names]
    folders = {name for name, is_video in zip(short, videos, strict=False) if is_video}
    nested = any(folder in folders for name in short for folder in name.parents)
    if nested or len(set(short)) < len(short):
        return list(names)
    return [name.as_posix() for name in short]


def read_ahead(
    targets: Sequence[Target], side: int, threads: int, with_preview: bool
) -> Iterator[Opened | UsageError]:
    """Read pictures in threads, in their order; what cannot be read comes as its error.

    Args:
        side: S, of what the network sees.
    """

    def read(target: Target) -> Opened | UsageError:
        try:
            photo = read_photo(target.path)
        except UsageError as error:
            return error
        picture = preview(photo.pixels, photo.size) if with_preview else None
        return Opened(target, photo.size, squash(photo.pixels, side), picture)

    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for target in targets:
            waiting.append(pool.submit(read, target))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def preview(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture for its overlay, H x W x 3 uint8, in the proportions of the height and width."""
    scale = min(1, PREVIEW_SIDE / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _without_suffix(name: PurePosixPath) -> PurePosixPath:
    known = name.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
    return name.with_suffix("") if known else name


def _is_wanted(path: Path, frames: bool) -> bool:
    if path.name.startswith("."):
        return False
    return _is_image(path) or _is_video_file(path) or (frames and _holds_images(path))


def _holds_images(path: Path) -> bool:
    return path.is_dir() and any(map(_is_image, path.iterdir()))


def _is_image(path: Path) -> bool:
    return (
        path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _is_video_file(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _is_video(path: Path) -> bool:
    return path.is_dir() or _is_video_file(path)
