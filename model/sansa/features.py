"""What SANSA keeps of images and of references; both hold no weights.

Shapes: B batch, K shots, C channels of the embedding, S side of the embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from model.sam.memory_bank import FrameMemory, MemoryBank
from model.sam.sam2 import Sam2
from model.sam.segmenter import SegmenterFeatures


@dataclass(frozen=True)
class EncodedImages:
    """Images after the adapted encoder."""

    sam: SegmenterFeatures
    size: tuple[int, int]
    """H and W."""

    def __getitem__(self, rows: slice) -> "EncodedImages":
        return EncodedImages(self.sam[rows], self.size)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "EncodedImages":
        """One batch of several; all of the same size."""
        return EncodedImages(SegmenterFeatures.join([part.sam for part in parts]), parts[0].size)


@dataclass(frozen=True)
class Support:
    """The references of a concept as frames that SAM 2 remembers, in their order."""

    memories: tuple[FrameMemory, ...]
    """K memories of B references each."""
    prototypes: Tensor
    """Mean of the embedding inside of the object, B x K x C: what a presence score compares."""
    drawn: Tensor
    """What the decoder drew on the references, B x K x 4S x 4S logits."""

    def expand(self, batch: int) -> "Support":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        if len(self.prototypes) == batch:
            return self

        def repeat(tensor: Tensor) -> Tensor:
            return tensor.expand(batch, *tensor.shape[1:])

        memories = tuple(
            FrameMemory(repeat(memory.pointer), repeat(memory.features)) for memory in self.memories
        )
        return Support(memories, repeat(self.prototypes), repeat(self.drawn))

    def row(self, index: int) -> "Support":
        """The support of one of the concepts."""
        rows = slice(index, index + 1)
        memories = tuple(
            FrameMemory(memory.pointer[rows], memory.features[rows]) for memory in self.memories
        )
        return Support(memories, self.prototypes[rows], self.drawn[rows])

    def remembered(self, segmenter: Sam2) -> MemoryBank:
        """A new memory of a video that began with the references.

        Only the first counts as prompted, as the published weights know it: references after it
        are timed as tracked frames, and the seventh last is forgotten but for its pointer.
        """
        bank = segmenter.new_memory_bank()
        for index, memory in enumerate(self.memories):
            bank.add(index, memory, prompted=index == 0)
        return bank
