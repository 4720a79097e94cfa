"""DAVIS, LVOS v2 and MOSE: videos of numbered objects, whose first masks are given.

DAVIS: JPEGImages/480p/<video>/, Annotations/480p/<video>/, ImageSets/<year>/<split>.txt; every
frame has a mask. LVOS and MOSE: <split>/JPEGImages/<video>/, <split>/Annotations/<video>/; the
first frame has a mask, others may. Masks hold object numbers; `data.object_items` says what 255
means.
"""

from pathlib import Path

from common.errors import UsageError
from data.class_index import name_some
from data.videos import FRAMES, LISTS, MASKS, RESOLUTIONS, AnnotatedVideo, VideoObjects, open_video


class Davis:
    """Reads a folder in either layout, which it tells by itself.

    Args:
        root: of DAVIS; or of LVOS or MOSE, with or without the split's folder.
        split: whose videos: val, train, ...
        year: of DAVIS's lists: 2016 or 2017.

    Raises:
        UsageError: there is no such folder, it has another layout or lacks the split.
    """

    def __init__(self, root: Path, split: str = "val", year: int = 2017) -> None:
        if not root.is_dir():
            raise UsageError(f"no such folder of DAVIS, LVOS or MOSE: {root}")
        inner = [root / FRAMES / resolution for resolution in RESOLUTIONS]
        found = [folder for folder in inner if folder.is_dir()]
        if found:
            self.layout = "DAVIS"
            self._frames, self._masks = found[0], root / MASKS / found[0].name
            self.videos = _listed(root / LISTS / str(year) / f"{split}.txt", self._frames)
        else:
            self.layout = "LVOS"
            part = root / split if (root / split).is_dir() else root
            self._frames, self._masks = part / FRAMES, part / MASKS
            if not self._frames.is_dir():
                raise UsageError(
                    f"{root} is in the layout neither of DAVIS ({FRAMES}/480p/<video>) nor of LVOS "
                    f"({split}/{FRAMES}/<video>)"
                )
            self.videos = sorted(
                p.name for p in self._frames.iterdir() if p.is_dir() and p.name[0] != "."
            )
        if not self.videos:
            raise UsageError(f"{self._frames} holds no folder of frames")

    @property
    def skips_last(self) -> bool:
        """Whether the last frame of a video does not count: so DAVIS has it."""
        return self.layout == "DAVIS"

    def objects(self, video: str) -> VideoObjects:
        """A video and where its objects are given. Reads all masks.

        Raises:
            UsageError: frames or masks are missing, or broken.
        """
        opened = self.open(video)
        return VideoObjects(opened, opened.appearances())

    def mask_folder(self, video: str) -> Path:
        return Path(video)

    def open(self, video: str) -> AnnotatedVideo:
        """Look at a video's folders.

        Raises:
            UsageError: frames or masks are missing.
        """
        frames, masks = self._frames / video, self._masks / video
        needed = "every frame" if self.layout == "DAVIS" else "first frame"
        return open_video(video, frames, masks, needed)


def _listed(path: Path, frames: Path) -> list[str]:
    """The videos that a list names."""
    try:
        names = path.read_text().split()
    except OSError as error:
        raise UsageError(f"cannot read the list of videos {path}: {error.strerror}") from None
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise UsageError(f"{path} names no video of this folder: {name_some(outside)}")
    missing = [str(frames / name) for name in names if not (frames / name).is_dir()]
    if missing:
        raise UsageError(f"{path} names {len(missing)} videos without frames: {name_some(missing)}")
    return sorted(names)
