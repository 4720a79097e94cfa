"""Labelled pictures, what a method takes from them, and the small file that keeps them.

Shapes: K shots, S the network's image size.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.errors import UsageError
from model.method import Support


@dataclass(frozen=True)
class LearnedConcept:
    """Labelled pictures of one concept, encoded; good for any number of other pictures."""

    name: str
    """What the concept is called."""
    pictures: np.ndarray
    """The references at the network's size, K x S x S x 3 uint8 RGB."""
    masks: np.ndarray
    """K x S x S uint8, 0 or 1."""
    support: Support
    """What the method took from them."""

    def save(self, path: Path | str) -> None:
        """Write a small file that `InContextSegmenter.load` reads, also with another checkpoint.

        It holds the reference pictures at the network's size, not their features, which would be
        many times larger.

        Raises:
            UsageError: the file cannot be written.
        """
        tensors = {
            "pictures": torch.from_numpy(self.pictures),
            "masks": torch.from_numpy(self.masks),
        }
        save_checkpoint(Path(path), tensors, {"concept": self.name})


def read_references(path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """The pictures, masks and name which a learned concept was saved with.

    Raises:
        UsageError: the file is missing, broken or no concept.
    """
    facts = read_facts(path)
    if "concept" not in facts:
        raise UsageError(f"{path} is no concept: it was not written by LearnedConcept.save")
    tensors = read_weights(path)
    return tensors["pictures"].numpy(), tensors["masks"].numpy(), facts["concept"]
