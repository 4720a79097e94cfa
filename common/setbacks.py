"""What goes wrong in a training that goes on: losses that are no number, unreadable files."""

import math
import sys
from collections.abc import Iterable, Sequence
from itertools import chain

from torch import Tensor
from tqdm import tqdm

from common.distributed import Processes
from common.errors import Failure

MOST_SKIPPED = 5
"""Updates in a row without a loss that is a number, after which a training ends."""
_NAMES = 8


class Setbacks:
    """They are noted, told and counted; too many in a row end the training."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.skipped = 0
        """Updates that were left out because a loss was no number."""
        self._in_a_row = 0
        self._broken: list[str] = []
        self._unreadable: set[str] = set()

    def noted(self, loss: Tensor, names: Sequence[str]) -> float:
        """A batch's loss as a number; one that is none spoils its update, see `spoil`.

        Args:
            names: of the batch's episodes, for the message.
        """
        value = loss.item()
        if not math.isfinite(value):
            self._broken += names
        return value

    def spoil(self, update: int) -> bool:
        """Whether a loss of this update, anybody's since the last one, was no number.

        Args:
            update: its number, counted from 1, for the message.

        Raises:
            Failure: so many updates in a row were spoilt that nothing will be learned any more.
        """
        if not self.processes.any(bool(self._broken)):
            self._in_a_row = 0
            return False
        names = [*chain(*self.processes.gather(self._broken))]
        self._broken = []
        self.skipped += 1
        self._in_a_row += 1
        told = ", ".join(names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
        if self._in_a_row >= MOST_SKIPPED:
            raise Failure(
                f"the loss was no number in {MOST_SKIPPED} updates in a row, the last with {told}: "
                "the training diverges; begin again with a lower learning rate"
            )
        if self.processes.is_main:
            print(
                f"warning: update {update} is skipped: the loss is no number ({told})",
                file=sys.stderr,
            )
        return True

    def name_unreadable(self, lines: Iterable[str]) -> None:
        """Tell of files that cannot be read, of each once."""
        for line in lines:
            if line not in self._unreadable:
                tqdm.write(f"warning: skipped: {line}", file=sys.stderr)
                self._unreadable.add(line)

    def counts(self) -> dict[str, int]:
        """What was skipped: updates since the run began, files since it began or went on."""
        unreadable = {*chain(*self.processes.gather([*self._unreadable]))}
        counts = {"skipped_updates": self.skipped, "unreadable_files": len(unreadable)}
        return {name: count for name, count in counts.items() if count}
