"""SPair-71k: pairs of pictures of one category, with the places that they both show.

SPair-71k/JPEGImages/<category>/<name>.jpg, PairAnnotation/<split>/<pair>.json, and the names of the
pairs in Layout/<large or small>/<split>.txt.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import shown
from common.errors import UsageError
from common.files import BROKEN, parse_json
from common.images import read_image
from data.class_index import name_some
from data.reader import Description

FOLDER = "SPair-71k"
SPLITS = ("test", "val", "trn")
LAYOUTS = ("large", "small")
_FORBIDDEN = ":"
"""In the names of the data set's files; some file systems have another character in its place."""


@dataclass(frozen=True)
class KeypointPair:
    """Two pictures and the places that both show."""

    name: str
    category: str
    source: str
    """The picture's name: category and file."""
    target: str
    source_points: np.ndarray
    """P x 2 float32: x and y in pixels."""
    target_points: np.ndarray
    target_box: tuple[float, float, float, float]
    """Left, top, right and bottom of the object in the target."""

    @property
    def box_side(self) -> float:
        """The longer side of the target's box."""
        left, top, right, bottom = self.target_box
        return max(right - left, bottom - top)


class SPair71k:
    """Reads an SPair-71k folder.

    Args:
        datapath: the folder that contains SPair-71k, or that one.
        split: one of `SPLITS`.
        layout: one of `LAYOUTS`: all pairs, or a part of them.

    Raises:
        UsageError: the folder is missing or in another layout.
    """

    def __init__(self, datapath: Path, split: str = "test", layout: str = "large") -> None:
        root = datapath / FOLDER if (datapath / FOLDER).is_dir() else datapath
        self.root, self.split = root, split
        self.domain = "drawings" if Description.read(root).generated else "photographs"
        self._list = root / "Layout" / layout / f"{split}.txt"
        if not self._list.is_file():
            raise UsageError(
                f"{datapath} holds no {FOLDER}: {self._list} is not there. python -m tools.prepare "
                f"spair71k --root {datapath} says what is missing"
            )

    @cached_property
    def pairs(self) -> tuple[KeypointPair, ...]:
        """All pairs, those of one source picture together.

        Raises:
            UsageError: a pair's file is missing or in another format.
        """
        names = sorted({line.strip() for line in self._list.read_text().splitlines()} - {""})
        if not names:
            raise UsageError(f"{self._list} lists no pair")
        folder = self.root / "PairAnnotation" / self.split
        files = {name: _file_of(folder, name) for name in names}
        missing = [name for name, file in files.items() if not file.is_file()]
        if missing:
            raise UsageError(f"{folder} lacks {len(missing)} pairs: {name_some(missing)}")
        pairs = [_read_pair(name, file) for name, file in files.items()]
        return tuple(sorted(pairs, key=lambda pair: (pair.source, pair.name)))

    def read(self, picture: str) -> np.ndarray:
        """A picture, H x W x 3 uint8 RGB.

        Raises:
            UsageError: it is missing or corrupt.
        """
        return read_image(self.root / "JPEGImages" / f"{picture}.jpg", upright=False)


def _file_of(folder: Path, name: str) -> Path:
    file = folder / f"{name}.json"
    return file if file.is_file() else folder / f"{name.replace(_FORBIDDEN, '_')}.json"


def _read_pair(name: str, file: Path) -> KeypointPair:
    try:
        facts: dict[str, Any] = parse_json(file.read_text())
        category = str(facts["category"])
        points = [np.array(facts[key], np.float32) for key in ("src_kps", "trg_kps")]
        left, top, right, bottom = map(float, facts["trg_bndbox"])
        if points[0].shape != points[1].shape or points[0].ndim != 2 or len(points[0]) == 0:
            raise ValueError(f"places of shapes {points[0].shape} and {points[1].shape}")
        names = [f"{category}/{Path(facts[key]).stem}" for key in ("src_imname", "trg_imname")]
    except (OSError, *BROKEN) as error:
        raise UsageError(f"{file} is no pair of {FOLDER}: {shown(error)}") from None
    return KeypointPair(name, category, *names, *points, (left, top, right, bottom))
