"""YouTube-VOS 2018 and 2019: videos of numbered objects, some of which appear later.

<split>/JPEGImages/<video>/, every fifth frame; <split>_all_frames/JPEGImages/<video>/, every one;
<split>/Annotations/<video>/, of valid only the masks by which objects are given; <split>/meta.json:
the objects of each video, their categories and the frames whose masks the server asks for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import BROKEN, parse_json
from data.class_index import name_some
from data.videos import FRAMES, MASKS, VideoObjects, open_video

META = "meta.json"
VALID_VIDEOS = {2018: 474, 2019: 507}
"""Published counts."""
_TRAINING = """
    airplane ape bear bike bird boat bucket bus camel cat cow crocodile deer dog dolphin duck
    eagle earless_seal elephant fish fox frisbee frog giant_panda giraffe hand hat hedgehog horse
    knife leopard lion lizard monkey motorbike mouse others owl paddle parachute parrot penguin
    person plant rabbit raccoon sedan shark sheep sign skateboard snail snake snowboard squirrel
    surfboard tennis_racket tiger toilet tortoise train truck turtle umbrella zebra
"""
TRAINING_CATEGORIES = frozenset(_TRAINING.split())
"""The 65 of the training split; those of validation that are not among them are unseen."""


class YouTubeVos:
    """Reads one split.

    Args:
        root: the folder that contains the split's.
        split: valid, train or test.
        all_frames: of the videos take every frame instead of every fifth.

    Raises:
        UsageError: a folder or the list of objects is missing, or of another layout.
    """

    skips_last = False

    def __init__(self, root: Path, split: str = "valid", all_frames: bool = False) -> None:
        part = root / split
        pictures = root / f"{split}_all_frames" if all_frames else part
        self._frames, self._masks = pictures / FRAMES, part / MASKS
        for folder in (self._frames, self._masks):
            if not folder.is_dir():
                raise UsageError(f"{root} is not in the layout of YouTube-VOS: it lacks {folder}")
        self._objects = _read_objects(part / META)
        self.videos = sorted(self._objects)
        missing = [name for name in self.videos if not (self._frames / name).is_dir()]
        if missing:
            raise UsageError(
                f"{len(missing)} videos of {part / META} without frames in {self._frames}: "
                f"{name_some(missing)}"
            )

    def objects(self, video: str) -> VideoObjects:
        """A video, and where its objects appear: each has a mask on its first frame.

        Raises:
            UsageError: frames or masks are missing or broken, or an object has no mask.
        """
        opened = open_video(video, self._frames / video, self._masks / video, "no frame")
        known, shown = self._objects[video], opened.appearances()
        absent = sorted(known.keys() - shown.keys())
        if absent:
            raise UsageError(
                f"objects of video {video} without a mask: {name_some([*map(str, absent)])}"
            )
        names = {name for one in known.values() for name in one["frames"]}
        asked = frozenset(n for n, path in enumerate(opened.frames) if path.stem in names)
        return VideoObjects(
            opened,
            {number: shown[number] for number in sorted(known)},
            {
                number: {
                    "category": one["category"],
                    "seen": one["category"] in TRAINING_CATEGORIES,
                }
                for number, one in known.items()
            },
            asked,
            complete=asked <= opened.masks.keys() and bool(asked - {*shown.values()}),
        )

    def mask_folder(self, video: str) -> Path:
        return Path(MASKS, video)


def _read_objects(path: Path) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Video -> object number -> its category and frames."""
    try:
        videos = parse_json(path.read_text())["videos"]
        found = {
            Path(video).name: {
                int(number): {
                    "category": str(one["category"]),
                    "frames": [*map(str, one["frames"])],
                }
                for number, one in facts["objects"].items()
            }
            for video, facts in videos.items()
        }
    except OSError as error:
        raise UsageError(
            f"cannot read the objects of YouTube-VOS: {path}: {error.strerror}"
        ) from None
    except BROKEN:
        raise UsageError(f"{path} does not list objects as YouTube-VOS does") from None
    if not found:
        raise UsageError(f"{path} lists no video")
    return found
