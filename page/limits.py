"""How much one visitor of the page may ask for."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from common.cli import option
from common.errors import UsageError
from common.images import UNREADABLE, upright_size
from common.video_io import FrameReader


@dataclass(frozen=True)
class PageLimits:
    """What the page refuses."""

    max_upload: int = option(200, "largest file, in megabytes")
    max_megapixels: int = option(100, "largest picture, in megapixels")
    max_references: int = option(10, "most references (shots) at a time")
    max_pictures: int = option(64, "most pictures at a time")
    max_frames: int = option(2000, "longest video, in frames")
    max_files: int = option(4000, "all files of all visitors together, in megabytes")
    max_visitors: int = option(16, "most browser tabs that are served at a time")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        return [
            f"--{name} must be at least 1, not {value}"
            for name, value in vars(self).items()
            if value < 1
        ]

    def check_picture(self, path: Path) -> tuple[int, int]:
        """Read a picture's header: its upright height and width.

        Raises:
            UsageError: it is no picture, or has too many pixels.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(path) as stored:
                    height, width = upright_size(stored)
        except Image.DecompressionBombError:
            raise UsageError(self._too_large(path, "")) from None
        except UNREADABLE:
            raise UsageError(f"{path.name} is not a picture that can be read") from None
        if height * width > self.max_megapixels * 1e6:
            raise UsageError(self._too_large(path, f": it has {height * width / 1e6:.0f}"))
        return height, width

    def check_video(self, path: Path) -> FrameReader:
        """Read a video's header and first frame.

        Raises:
            UsageError: it is no video, too long, or has too many pixels.
        """
        try:
            reader = FrameReader(path)
        except UsageError:
            raise UsageError(f"{path.name} is not a video that can be read") from None
        self.check_frames(path, reader.count or 0)
        if reader.size[0] * reader.size[1] > self.max_megapixels * 1e6:
            raise UsageError(self._too_large(path, ""))
        return reader

    def check_frames(self, path: Path, count: int) -> None:
        """Refuse more frames than are allowed.

        Raises:
            UsageError: there are more.
        """
        if count > self.max_frames:
            raise UsageError(
                f"{path.name} has more than the {self.max_frames} frames that are allowed here: "
                "cut it, or use predict.py"
            )

    def check_count(self, what: str, count: int, name: str = "") -> None:
        """Refuse more references or pictures than are allowed.

        Args:
            name: of the file that is one too many, where there is such.

        Raises:
            UsageError: there are more.
        """
        most = {"references": self.max_references, "pictures": self.max_pictures}[what]
        if count > most:
            too_many = f"at most {most} {what} at a time"
            raise UsageError(f"{name}: {too_many}" if name else too_many)

    def _too_large(self, path: Path, detail: str) -> str:
        return f"{path.name} is larger than {self.max_megapixels} megapixels{detail}"
