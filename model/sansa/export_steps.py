"""SANSA as steps between named tensors: what other runtimes can run one by one.

Shapes: K references, C channels, S side of pictures and masks, s side of the embedding; one picture
at a time.
"""

import torch

from model.export_step import ExportStep, Values
from model.sam.memory_bank import FrameMemory
from model.sam.rotary import use_real_numbers
from model.sam.segmenter import SegmenterFeatures
from model.sansa.features import EncodedImages, Support
from model.sansa.network import Sansa


class Step(ExportStep):
    """One step of SANSA."""

    model: Sansa

    def __init__(self, model: Sansa, side: int) -> None:
        super().__init__(model, side)
        segmenter = model.segmenter
        use_real_numbers(segmenter.network.memory_attention, segmenter.embedding_size)

    def features(self, given: Values) -> EncodedImages:
        """What `Encode` made of a picture, or of K of them."""
        levels = tuple(given[name] for name in sorted(given) if name.startswith("level_"))
        features = SegmenterFeatures(given["embedding"], levels)
        return EncodedImages(features, (self.side, self.side))


class Encode(Step):
    """`image`, 1 x 3 x S x S and normalised, to features."""

    def forward(self, given: Values) -> Values:
        images = self.model.encode(given["image"]).sam
        levels = {f"level_{number}": level for number, level in enumerate(images.levels)}
        return {"embedding": images.embedding} | levels


class Remember(Step):
    """Features of K references and `masks`, K x S x S, to a concept.

    With M channels of a memory: `memories`, K x M x s x s, and `pointers`, K x C.
    """

    def forward(self, given: Values) -> Values:
        features = self.features(given).sam
        found, _ = self.model.take_masks(features, given["masks"])
        memory = self.model.segmenter.encode_memory(features, found, binary=False)
        return {"memories": memory.features, "pointers": memory.pointer}


class Find(Step):
    """Features and a concept, whose references count in their order, to a mask.

    `logits`, 1 x S x S, and `quality`, 1.
    """

    def forward(self, given: Values) -> Values:
        features, segmenter = self.features(given).sam, self.model.segmenter
        memories = tuple(
            FrameMemory(pointer, memory)
            for pointer, memory in zip(
                given["pointers"].split(1), given["memories"].split(1), strict=True
            )
        )
        nothing = torch.zeros(1, 0)
        bank = Support(memories, nothing, nothing).remembered(segmenter)
        found = self.model.track(features, bank, len(memories))
        logits = self.model.enlarge(found.logits, (self.side, self.side))
        return {"logits": logits, "quality": found.quality.squeeze(1)}


STEPS: dict[str, type[Step]] = {"encode": Encode, "learn": Remember, "decode": Find}
"""In the order in which they are taken."""
