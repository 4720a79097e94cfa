"""What a run leaves behind for people to look at: TensorBoard, JSON lines, results.

Only the main process writes; in the others every call does nothing.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from common.distributed import Processes
from common.errors import UsageError
from common.files import BROKEN, parse_json, write_atomically


class RunLogger:
    """The logs of one run's folder."""

    def __init__(self, folder: Path, processes: Processes, update: int = 0) -> None:
        """Go on with the logs of a run, without what was written after its state was saved.

        Args:
            update: how many updates the run has made.
        """
        self.folder, self.writes, self.board = folder, processes.is_main, None
        if self.writes:
            from torch.utils.tensorboard import SummaryWriter  # takes seconds

            self._forget_after(update)
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=update + 1)

    def _forget_after(self, update: int) -> None:
        path = self.folder / "log.jsonl"
        if not path.is_file():
            return
        try:
            *lines, _ = path.read_text().split("\n")  # what a kill cut off has no end
            kept = [line for line in lines if parse_json(line)["update"] <= update]
        except BROKEN:
            raise UsageError(f"{path} is no log of a training: choose another folder") from None
        text = "".join(f"{line}\n" for line in kept)
        if text != path.read_text():
            write_atomically(path, lambda place: place.write_text(text))

    def epoch(self, record: dict[str, Any]) -> None:
        """What came out of an epoch of training: a line, curves, and a word on the terminal."""
        self.line(record)
        curves = ("loss", "learning_rate", "held_out_miou")
        self.scalars(record["update"], {name: record[name] for name in curves})
        if self.writes:
            print(
                f"epoch {record['epoch']}: loss {record['loss']:.3f}, held-out mIoU of training "
                f"classes {record['held_out_miou']:.1f} ({record['seconds']:.0f} s)"
            )

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Curves in TensorBoard."""
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture in TensorBoard: H x W x 3, uint8 RGB."""
        if self.board:
            self.board.add_image(name, image, step, dataformats="HWC")

    def line(self, record: dict[str, Any]) -> None:
        """One more line of `log.jsonl`, on disk when this returns."""
        if self.writes:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        if self.board:
            self.board.close()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write readable JSON, all or nothing."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda place: Path(place).write_text(text))


def quiet_libraries() -> None:
    """Keep the chatter of libraries off the terminal."""
    for name in ("root", "sam2", "timm", "xFormers"):
        logging.getLogger(name).setLevel(logging.ERROR)
