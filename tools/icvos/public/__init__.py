"""What public lists say of IC-VOS: names of DAVIS's videos, classes of their objects, decisions.

`davis_videos.csv`: the 90 videos of DAVIS 2017 trainval, their split, frames and objects (from the
list in the package davisinteractive 0.0.5). `mapping.csv` and `decisions.csv` are for
`tools.build_icvos`; docs/icvos.md tells what they lack.
"""

import csv
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
MAPPING, DECISIONS = FOLDER / "mapping.csv", FOLDER / "decisions.csv"
_MOSE, _LVOS = re.compile(r"[0-9a-f]{8}"), re.compile(r"[0-9A-Za-z]{8}")


@cache
def davis_videos() -> dict[str, tuple[str, int, int]]:
    """Video of DAVIS 2017 -> its split, its frames and its objects."""
    with (FOLDER / "davis_videos.csv").open() as file:
        return {
            row["video"]: (row["split"], int(row["frames"]), int(row["objects"]))
            for row in csv.DictReader(file)
        }


def source_by_name(video: str) -> str | None:
    """The data set that a video is from, by its name alone; None: the name fits none.

    DAVIS's names are listed; MOSE's are eight hexadecimal digits, LVOS's eight letters and digits.
    """
    if video in davis_videos():
        return "davis"
    if _MOSE.fullmatch(video):
        return "mose"
    return "lvos" if _LVOS.fullmatch(video) else None
