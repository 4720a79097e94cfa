"""What is remembered of an object in a video: its first frame, and the best of those after it.

Source: SINE's released program. Of a frame only the sums inside of the object's mask are kept.
"""

from dataclasses import dataclass, field

import torch

from model.sine.decays import DECAYS
from model.sine.references import MaskedSums


@dataclass(frozen=True)
class MemoryRules:
    """What is kept and what goes."""

    capacity: int = 6
    """Frames, the first one included."""
    decay: str = "linear"
    """One of `DECAYS`."""
    span: float = 20.0
    """Ages are divided by it."""
    fixed_first: bool = True
    """The first frame never leaves."""
    fixed_last: bool = False
    """The frame that has just come stays."""


@dataclass(frozen=True)
class RememberedFrame:
    """An object in one frame."""

    number: float
    """When it was."""
    score: float
    sums: MaskedSums


@dataclass
class ObjectMemory:
    """The memory of one object; it does not grow with the video."""

    rules: MemoryRules
    first: RememberedFrame
    others: list[RememberedFrame] = field(default_factory=list)
    """In the order in which they came."""

    @property
    def frames(self) -> list[RememberedFrame]:
        return [self.first, *self.others]

    def decayed(self, frame: RememberedFrame, now: float) -> float:
        """A frame's score when it is looked back at."""
        return frame.score * DECAYS[self.rules.decay](now - frame.number, self.rules.span)

    def add(self, frame: RememberedFrame) -> None:
        """Remember one more; where there is no room the one of the lowest decayed score goes."""
        known = [*self.others, frame] if self.rules.fixed_first else [*self.frames, frame]
        room = self.rules.capacity - self.rules.fixed_first
        if len(known) > room:
            free = known[:-1] if self.rules.fixed_last and room > 0 else known
            now = frame.number
            lowest = min(free, key=lambda one: (self.decayed(one, now), one.score, one.number))
            known = [one for one in known if one is not lowest]
        if not self.rules.fixed_first:
            self.first, *known = known
        self.others = known

    def sums(self) -> MaskedSums:
        """The frames' sums together, as if the frames lay side by side: C, and a number."""
        return MaskedSums(
            torch.stack([frame.sums.total for frame in self.frames]),
            torch.stack([frame.sums.count for frame in self.frames]),
        ).joined(0)
