"""A scheduler's wish that a program stops: it says SIGTERM, and kills some time later."""

import signal
from types import FrameType
from typing import Any, Self


class StopSignal:
    """Remembers that SIGTERM came while its block runs, instead of ending the process."""

    def __init__(self) -> None:
        self.asked = False
        """Whether it came."""
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, _: int, __: FrameType | None) -> None:
        self.asked = True


def outlive_stop_signal(_: int) -> None:
    """Let a DataLoader's worker process ignore SIGTERM: its parent still needs it to stop well.

    A scheduler signals all processes alike; workers end when their parent does.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
