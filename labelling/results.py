"""Where the labels of pictures go: a folder of files, or rows of a table."""

import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import numpy as np
from tqdm import tqdm

from common.errors import UsageError
from labelling.objects import Labels
from labelling.records import Source

Picture = TypeVar("Picture")
"""What says which picture is labelled."""


class PictureResults(ABC, Generic[Picture]):
    """Opens pictures and takes what was found in them."""

    overlays: bool
    """Whether `write` wants a picture to draw on."""

    @abstractmethod
    def open(self, target: Picture) -> tuple[Source, Path | BinaryIO]:
        """Say what a picture holds, and give its file; any thread may call this.

        Raises:
            UsageError: it is missing or cannot be read, or there is no place for its results.
        """

    @abstractmethod
    def write(
        self, target: Picture, source: Source, labels: Labels, picture: np.ndarray | None = None
    ) -> None:
        """Keep what was found in a picture.

        Args:
            source: from `open`.
            labels: at the picture's own size.
            picture: h x w x 3 uint8 in the same proportions, to draw on.

        Raises:
            UsageError: it cannot be written.
        """

    @abstractmethod
    def fail(self, target: Picture, error: UsageError) -> None:
        """A picture could not be read, or its labels not be written."""


def report(error: UsageError) -> None:
    """Tell about one failure, beside any progress bar."""
    tqdm.write(f"error: {error}", file=sys.stderr)


def warn(text: str) -> None:
    """Tell about something that is no failure, beside any progress bar."""
    tqdm.write(f"warning: {text}", file=sys.stderr)
