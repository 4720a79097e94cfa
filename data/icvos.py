"""IC-VOS: videos whose masks belong to COCO classes, and supports from COCO's validation images.

<video>/JPEGImages/<frame>.jpg and <video>/Annotations/<class id 1 to 80>/<frame>.png (0 outside,
one other value inside), one for each frame. An item is one class of one video. `sources.json`, if
there is one, says which data set each video is from: {video: source}.
"""

import zlib
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.files import parse_json
from data.benchmarks import EpisodeKey, Split
from data.classes import COCO_CLASSES
from data.coco import Coco
from data.reader import Description
from data.videos import FRAMES, MASKS, AnnotatedVideo, open_video

SOURCES = "sources.json"


class IcVos:
    """Reads a folder of videos. What is wrong with one video does not hide the others.

    Args:
        root: the folder that contains the videos.

    Raises:
        UsageError: there is no such folder, or nothing in it is such a video.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(f"no such folder of IC-VOS: {root}")
        self.root = root
        self.class_names = {**COCO_CLASSES, **Description.read(root).class_names}
        self.items: list[tuple[str, int]] = []
        """Video and class id of every item, sorted."""
        self.problems: dict[str, str] = {}
        """Video -> why no item of it could be listed."""
        videos = sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
        for video in videos:
            try:
                self.items += [(video.name, class_id) for class_id in _classes_of(video)]
            except UsageError as error:
                self.problems[video.name] = str(error)
        if not self.items:
            reason = next(iter(self.problems.values()), "it holds no folder")
            raise UsageError(
                f"{root} is not in the layout of IC-VOS, <video>/{FRAMES}/<frame>.jpg and "
                f"<video>/{MASKS}/<class id>/<frame>.png: {reason}"
            )

    def open(self, video: str, class_id: int) -> AnnotatedVideo:
        """Look at an item's folders.

        Raises:
            UsageError: frames or masks are missing.
        """
        folder = self.root / video
        masks = folder / MASKS / str(class_id)
        return open_video(video, folder / FRAMES, masks, "every frame")


def read_sources(root: Path) -> dict[str, str]:
    """Video -> the data set which it is from; empty where the benchmark does not say.

    Raises:
        UsageError: the file cannot be read or holds something else.
    """
    path = root / SOURCES
    if not path.exists():
        return {}
    try:
        sources = parse_json(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    if not isinstance(sources, dict) or not all(isinstance(s, str) for s in sources.values()):
        raise UsageError(f"{path} must hold a source for each video: {{video: source}}")
    return sources


def read_class_mask(video: AnnotatedVideo, number: int) -> np.ndarray:
    """Where a frame of an item shows the class, H0 x W0 bool.

    Raises:
        UsageError: the mask is missing, corrupt, of another size or not binary.
    """
    mask = video.read_mask(number)
    inside = np.unique(mask[mask != 0]).tolist()
    if len(inside) > 1:
        raise UsageError(
            f"{video.masks[number]} is not binary: it holds {inside[0]} and {inside[1]}"
        )
    return mask != 0


def check_shows_class(video: AnnotatedVideo) -> None:
    """Refuse an item none of whose masks shows anything. Reads masks up to the first that does.

    Raises:
        UsageError: all masks are empty, or one cannot be read.
    """
    if not any(read_class_mask(video, number).any() for number in video.masks):
        folder = video.masks[0].parent
        raise UsageError(f"annotation without the class: every mask in {folder} is empty")


def support_split(coco: Path) -> Split:
    """The images that supports are drawn from: COCO's validation images, of all 80 classes.

    Args:
        coco: the folder COCO2014 or the one that contains it.

    Raises:
        UsageError: there is no such folder.
    """
    reader = Coco(Coco.folder_in(coco), 0, benchmark="coco_all")
    return Split(reader, images="test", classes="test")


class Supports:
    """Draws an item's support images as a pure function of (seed, video, class).

    An item's support does not depend on which other items there are.

    Args:
        split: from `support_split`.
        shots: K.
    """

    def __init__(self, split: Split, shots: int, seed: int) -> None:
        self.split, self.shots, self.seed = split, shots, seed
        self._images: dict[int, list[str]] = {}
        for name in sorted(split.class_lists):
            for class_id in split.class_lists[name]:
                self._images.setdefault(class_id, []).append(name)

    def key(self, video: str, class_id: int) -> EpisodeKey:
        """The item as an episode whose query is the video.

        Raises:
            UsageError: the class has fewer than K images.
        """
        images = self._images.get(class_id, [])
        if len(images) < self.shots:
            raise UsageError(
                f"support for video {video}: {self.split.reader.root} has {len(images)} images of "
                f"class {class_id} ({COCO_CLASSES.get(class_id)}), and {self.shots} are needed"
            )
        random = np.random.default_rng((self.seed, class_id, zlib.crc32(video.encode())))
        chosen = random.choice(len(images), size=self.shots, replace=False)
        return EpisodeKey(class_id, video, tuple(images[i] for i in chosen))


def _classes_of(video: Path) -> list[int]:
    """The ids of the classes that a video has masks of, ascending."""
    masks = video / MASKS
    if not masks.is_dir():
        raise UsageError(f"video {video.name} has no folder of masks: {masks}")
    names = [p.name for p in masks.iterdir() if p.is_dir() and p.name[0] != "."]
    if not names:
        raise UsageError(f"video {video.name} has no annotated class: {masks} is empty")
    wrong = sorted(name for name in names if name not in map(str, COCO_CLASSES))
    if wrong:
        raise UsageError(f"{masks / wrong[0]} is not the id of a COCO class, 1 to 80")
    return sorted(map(int, names))
