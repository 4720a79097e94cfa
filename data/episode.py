"""Episodes: one query image, K support images of the same class, and where the class is.

Shapes: B batch, K shots, H and W the side to which images are squashed, H0 and W0 an image's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import UsageError
from common.images import IGNORED
from common.pixels import squash_image, squash_mask
from data.benchmarks import Split


@dataclass(frozen=True)
class EpisodeKey:
    """What an episode is made of; names are those of images of one split."""

    class_id: int
    query: str
    support: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """Episodes side by side: tensors with B first, and tuples with one entry for each."""

    keys: tuple[EpisodeKey, ...]
    indices: tuple[int, ...]
    """Each episode's position among those of the epoch or of the evaluation."""
    class_names: tuple[str, ...]
    class_ids: Tensor
    """B, int64."""
    support_images: Tensor
    """B x K x 3 x H x W, float32, normalised with ImageNet's mean and deviation."""
    support_masks: Tensor
    """B x K x H x W, float32, exactly 0 or 1, never empty."""

    @property
    def shots(self) -> int:
        """K."""
        return self.support_masks.shape[1]

    @property
    def support_names(self) -> list[str]:
        """Names of the B*K support images."""
        return [name for key in self.keys for name in key.support]

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device; tuples stay where they are."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory; `DataLoader` calls this."""
        return self._map(Tensor.pin_memory)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One batch of several, along B."""
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        return cls(
            **{
                name: torch.cat(column) if isinstance(column[0], Tensor) else sum(column, ())
                for name, column in columns.items()
            }
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: function(v) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


SomeBatch = TypeVar("SomeBatch", bound=Batch)


@dataclass(frozen=True)
class Episode(Batch):
    """A batch of episodes on images."""

    query_image: Tensor
    """B x 3 x H x W, like `support_images`."""
    query_mask: Tensor
    """B x H x W, float32, exactly 0 or 1."""
    query_ignore: Tensor
    """B x H x W, bool: pixels that count neither in the loss nor in the metric."""
    original_masks: tuple[Tensor, ...] = ()
    """One for each query where they were asked for, H0 x W0 uint8: 0, 1, or 255 for ignored."""

    @property
    def query_names(self) -> list[str]:
        """Names of the B query images."""
        return [key.query for key in self.keys]


class Joinable(Dataset[SomeBatch]):
    """A data set whose items are batches of one, which can be joined."""

    join: Callable[[Sequence[SomeBatch]], SomeBatch]

    def __len__(self) -> int:
        raise NotImplementedError


class EpisodeDataset(Joinable[Episode]):
    """Reads episodes; each item is a batch of one.

    Args:
        split: where the images are read.
        keys: which episodes.
        image_size: the side H = W to which images and masks are squashed.
        keep_original: keep the query masks at their own size too.

    Raises:
        UsageError: a key names an image that the split does not have.
    """

    join = staticmethod(Episode.join)

    def __init__(
        self, split: Split, keys: Sequence[EpisodeKey], image_size: int, keep_original: bool = False
    ) -> None:
        known = split.class_lists
        unknown = [n for key in keys for n in (key.query, *key.support) if n not in known]
        if unknown:
            raise UsageError(
                f"episodes name {len(unknown)} images that {split.benchmark} fold {split.fold} "
                f"({split.role}) does not have, the first is {unknown[0]}"
            )
        self.split = split
        self.keys = tuple(keys)
        self.image_size = image_size
        self.keep_original = keep_original

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Episode:
        key = self.keys[index]
        image, mask = self.split.read(key.query)
        support = [
            read_support(self.split, name, key.class_id, self.image_size) for name in key.support
        ]
        original = np.where(mask == IGNORED, IGNORED, mask == key.class_id).astype(np.uint8)
        return Episode(
            query_image=squash_image(image, self.image_size)[None],
            query_mask=squash_mask(mask == key.class_id, self.image_size)[None],
            query_ignore=squash_mask(mask == IGNORED, self.image_size).bool()[None],
            support_images=torch.stack([image for image, _ in support])[None],
            support_masks=torch.stack([mask for _, mask in support])[None],
            class_ids=torch.tensor([key.class_id]),
            keys=(key,),
            indices=(index,),
            class_names=(self.split.class_names[key.class_id],),
            original_masks=(torch.from_numpy(original),) if self.keep_original else (),
        )


def read_support(split: Split, name: str, class_id: int, image_size: int) -> tuple[Tensor, Tensor]:
    """A support image, 3 x H x W, and its mask, H x W, exactly 0 or 1 and never empty.

    Raises:
        UsageError: a file is missing or corrupt, or the image does not show the class.
    """
    image, mask = split.read(name)
    if not (mask == class_id).any():
        raise UsageError(
            f"empty support mask: {name} shows no pixel of class {class_id} "
            f"({split.class_names.get(class_id)})"
        )
    marked = squash_mask(mask == class_id, image_size, keep_small=True)
    return squash_image(image, image_size), marked
