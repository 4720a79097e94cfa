"""Episodes: one query image, K support images of the same class, and where the class is.

Shapes: B batch, K shots, H and W the side of the square that a method takes, H0 and W0 an image's
own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import UsageError
from common.geometry import Geometry
from common.images import IGNORED
from data.benchmarks import EpisodeKey, Split
from data.marking import Marking
from data.tensor_record import TensorRecord


@dataclass(frozen=True)
class Batch(TensorRecord):
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
    """B x K x H x W, float32, exactly 0 or 1, never empty: masks or other marks."""
    support_sizes: Tensor
    """B x K x 2, int64: height and width of the support images as they were read."""
    support_kinds: tuple[tuple[str, ...], ...]
    """What each support mask was drawn of, one of `common.geometry.KINDS`; B times K."""

    @property
    def shots(self) -> int:
        """K."""
        return self.support_masks.shape[1]

    @property
    def support_names(self) -> list[str]:
        """Names of the B*K support images."""
        return [name for key in self.keys for name in key.support]

    @property
    def query_names(self) -> list[str]:
        """Names of the B query images."""
        return [key.query for key in self.keys]


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
    query_sizes: Tensor
    """B x 2, int64: height and width of the query images as they were read."""
    support_objects: tuple[Tensor, ...] = ()
    """Where supports are marked by more than their masks (see `data.marking`): the masks of each
    episode, K x H x W."""
    original_masks: tuple[Tensor, ...] = ()
    """One for each query where they were asked for, H0 x W0 uint8: 0, 1, or 255 for ignored."""


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
        geometry: how images and masks come to the square H x W.
        keep_original: keep the query masks at their own size too.
        marking: mark supports otherwise than by their masks.

    Raises:
        UsageError: a key names an image that the split does not have.
    """

    join = staticmethod(Episode.join)

    def __init__(
        self,
        split: Split,
        keys: Sequence[EpisodeKey],
        geometry: Geometry,
        keep_original: bool = False,
        marking: Marking | None = None,
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
        self.geometry = geometry
        self.keep_original = keep_original
        self.marking = marking

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Episode:
        key, geometry = self.keys[index], self.geometry
        image, mask = self.split.read_class(key.query, key.class_id)
        support = read_supports(self.split, key, geometry)
        ignore = geometry.mask(mask == IGNORED).bool() | geometry.padding(mask.shape)
        marks, kinds = support.masks, ("mask",) * len(key.support)
        if self.marking:
            drawn, kinds = self.marking.mark(support.masks[0], index)
            marks = drawn[None]
        return Episode(
            query_image=geometry.image(image)[None],
            query_mask=geometry.mask(mask == 1)[None],
            query_ignore=ignore[None],
            query_sizes=torch.tensor([mask.shape]),
            support_images=support.images,
            support_masks=marks,
            support_sizes=support.sizes,
            support_kinds=(kinds,),
            support_objects=(support.masks[0],) if self.marking else (),
            class_ids=torch.tensor([key.class_id]),
            keys=(key,),
            indices=(index,),
            class_names=(self.split.class_names[key.class_id],),
            original_masks=(torch.from_numpy(mask),) if self.keep_original else (),
        )


class LabelledImages(NamedTuple):
    """Support images at the size of the square."""

    images: Tensor
    """1 x K x 3 x H x W, normalised."""
    masks: Tensor
    """1 x K x H x W, exactly 0 or 1 and never empty."""
    sizes: Tensor
    """1 x K x 2, int64: height and width as they were read."""


def read_supports(split: Split, key: EpisodeKey, geometry: Geometry) -> LabelledImages:
    """Read the support images of an episode or item and their masks of its class.

    Raises:
        UsageError: a file is missing or corrupt, or an image does not show the class.
    """
    images, masks, sizes = [], [], []
    for name in key.support:
        image, mask = split.read_class(name, key.class_id)
        if not (mask == 1).any():
            raise UsageError(
                f"empty support mask: {name} shows no pixel of class {key.class_id} "
                f"({split.class_names.get(key.class_id)})"
            )
        images.append(geometry.image(image))
        masks.append(geometry.mask(mask == 1, keep_small=True))
        sizes.append(mask.shape)
    return LabelledImages(
        torch.stack(images)[None], torch.stack(masks)[None], torch.tensor([sizes])
    )
