"""What is remembered of a running video: as much as SAM 2's memory attention can reach.

Shapes: B objects, C channels of the embedding, M channels of a memory, S side of the embedding.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

PROMPTED_FRAMES = 4
"""The latest so many prompted frames stay; one is the paper's protocol."""


@dataclass(frozen=True)
class FrameMemory:
    """What SAM 2 remembers of one frame."""

    pointer: Tensor
    """The object pointer, B x C."""
    features: Tensor | None
    """B x M x S x S; None once only the pointer can be reached."""

    def rounded(self) -> "FrameMemory":
        """With the features in bfloat16, as SAM 2 keeps them while it propagates."""
        return replace(self, features=self.features.to(torch.bfloat16))


class MemoryBank:
    """Memories by frame number: of prompted frames, and of the latest tracked ones.

    Args:
        window: memories of so many tracked frames stay.
        pointers: object pointers of so many tracked frames stay.
    """

    def __init__(self, window: int, pointers: int) -> None:
        self.window, self.pointers = window, pointers
        self.prompted: dict[int, FrameMemory] = {}
        self.tracked: dict[int, FrameMemory] = {}

    def add(self, index: int, memory: FrameMemory, prompted: bool) -> None:
        """Remember a frame and forget what the frames after it cannot reach.

        Args:
            index: number of the frame, above those before.
        """
        (self.prompted if prompted else self.tracked)[index] = memory
        for number in sorted(self.prompted)[:-PROMPTED_FRAMES]:
            del self.prompted[number]
        for number, kept in list(self.tracked.items()):
            if number <= index - self.pointers:
                del self.tracked[number]
            elif number <= index - self.window and kept.features is not None:
                self.tracked[number] = replace(kept, features=None)

    @property
    def batch(self) -> int:
        """B; 0 while nothing is remembered."""
        return max((len(memory.pointer) for memory in self.prompted.values()), default=0)

    @property
    def numbers(self) -> int:
        """How many numbers all memories hold."""
        memories = [*self.prompted.values(), *self.tracked.values()]
        tensors = [t for m in memories for t in (m.pointer, m.features) if t is not None]
        return sum(tensor.numel() for tensor in tensors)
