"""DAVIS 2017 and LVOS v2: videos of numbered objects, whose first masks are given.

DAVIS: JPEGImages/480p/<video>/, Annotations/480p/<video>/, ImageSets/2017/<split>.txt; every frame
has a mask. LVOS: <split>/JPEGImages/<video>/, <split>/Annotations/<video>/; the first frame has a
mask, others may. Masks hold object numbers; `data.video_items` says what 255 means.
"""

from pathlib import Path

from common.errors import UsageError
from data.class_index import name_some
from data.videos import FRAMES, LISTS, MASKS, RESOLUTIONS, AnnotatedVideo, open_video


class Davis:
    """Reads a folder in either layout, which it tells by itself.

    Args:
        root: of DAVIS; or of LVOS, with or without the split's folder.
        split: whose videos: val, train, ...

    Raises:
        UsageError: there is no such folder, it has another layout or lacks the split.
    """

    def __init__(self, root: Path, split: str = "val") -> None:
        if not root.is_dir():
            raise UsageError(f"no such folder of DAVIS or LVOS: {root}")
        inner = [root / FRAMES / resolution for resolution in RESOLUTIONS]
        found = [folder for folder in inner if folder.is_dir()]
        if found:
            self.layout = "DAVIS"
            self._frames, self._masks = found[0], root / MASKS / found[0].name
            self.videos = _listed(root / LISTS / f"{split}.txt", self._frames)
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

    def open(self, video: str) -> AnnotatedVideo:
        """Look at a video's folders.

        Raises:
            UsageError: frames or masks are missing.
        """
        frames, masks = self._frames / video, self._masks / video
        return open_video(video, frames, masks, every_frame=self.layout == "DAVIS")


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
