"""Training pairs: two views with masks of several objects, as SegIC and SINE learn from.

A batch has what the loop of train_image.py needs of a `data.episode.Episode`, under the same names,
and instead of one mask for each picture all that is kept of its annotations.
Shapes: B batch, N masks of a view (different for each), M the side of the square.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.errors import UsageError
from common.pair_rules import PairRules
from data.annotated.source import Annotation, Kind
from data.episode import Joinable
from data.mixture import Mixture, PairKey
from data.tensor_record import TensorRecord
from data.views import View, view_of

ATTEMPTS = 100
"""So many pairs are drawn for a place at most, where views show nothing of what is kept."""


@dataclass(frozen=True)
class Objects(TensorRecord):
    """What is kept of one view's annotations."""

    masks: Tensor
    """N x M x M bool."""
    class_ids: Tensor
    """N int64, of the pair's source."""
    ids: Tensor
    """N int64; the same id in the other view is the same object only where both views are of one
    picture (see `PairBatch.same_image`). Of semantic sources the class ids."""


@dataclass(frozen=True)
class PairBatch(TensorRecord):
    """Pairs side by side: tensors with B first, and tuples with one entry for each."""

    keys: tuple[PairKey, ...]
    indices: tuple[int, ...]
    """Each pair's position in the epoch."""
    kinds: tuple[Kind, ...]
    """What its source's masks are: "semantic", "instance" or "panoptic"."""
    class_names: tuple[str, ...]
    """Of the class that was drawn."""
    support_images: Tensor
    """B x 1 x 3 x M x M, float32, normalised with ImageNet's mean and deviation; 0 outside of
    what `support_sizes` says."""
    support_sizes: Tensor
    """B x 1 x 2, int64: height and width of the upper left part of the square that shows the
    view. An augmented view has no size of its own beside this one."""
    query_image: Tensor
    """B x 3 x M x M, like `support_images`."""
    query_sizes: Tensor
    """B x 2, int64, like `support_sizes`."""
    support: tuple[Objects, ...]
    """Of each support's view. By `PairRules.keep`: "class" one mask; "classes" N masks ascending by
    class; "objects" as many as in `query`, the same ones in the same order."""
    query: tuple[Objects, ...]

    @property
    def shots(self) -> int:
        """1."""
        return self.support_images.shape[1]

    @property
    def support_names(self) -> list[str]:
        """Names of the B supports' pictures, different for each source. The views of a picture
        differ from each other: features must not be stored by these names."""
        return [f"{key.source}/{key.support}" for key in self.keys]

    @property
    def query_names(self) -> list[str]:
        """Names of the B queries' pictures, see `support_names`."""
        return [f"{key.source}/{key.query}" for key in self.keys]

    @property
    def same_image(self) -> tuple[bool, ...]:
        """Whether both views are of one picture, so that equal ids are the same object."""
        return tuple(key.query == key.support for key in self.keys)


class PairDataset(Joinable[PairBatch]):
    """Reads the pairs of one epoch of a mixture; each item is a batch of one.

    Where a view shows nothing of what is to be kept, another pair is drawn for the same place
    (unless the rules take such pairs), so that `PairBatch.keys` may differ from `Mixture.keys`.
    Items are a pure function of (seed, epoch, index).

    Args:
        mixture: what is drawn from, and by which rules.
        epoch: counted from 0.
    """

    join = staticmethod(PairBatch.join)

    def __init__(self, mixture: Mixture, epoch: int) -> None:
        self.mixture = mixture
        self.epoch = epoch

    def __len__(self) -> int:
        return self.mixture.pairs_per_epoch

    def __getitem__(self, index: int) -> PairBatch:
        """
        Raises:
            UsageError: a file is missing or broken, or 100 pairs in a row show nothing.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        for attempt in range(ATTEMPTS):
            key = self.mixture.key(self.epoch, index, attempt)
            pair = self._read(key, index, self.mixture.view_random(self.epoch, index, attempt))
            if pair is not None:
                return pair
        raise UsageError(
            f"{ATTEMPTS} pairs in a row show nothing that is to be kept, the last of {key.source} "
            f"({key.query} and {key.support}): are annotations empty, or views too small?"
        )

    def _read(self, key: PairKey, index: int, random: np.random.Generator) -> PairBatch | None:
        """One pair, or None if a view shows nothing that is to be kept."""
        part = self.mixture.part(key)
        source, rules = part.source, part.rules
        read = {}
        for name in dict.fromkeys((key.support, key.query)):
            pixels, annotation = source.read(name)
            read[name] = pixels, _candidates(annotation, key, rules)
        pictures = [read[key.support], read[key.query]]
        views = []
        for (pixels, annotation), rule in zip(pictures, rules.views, strict=True):
            placement = rule.draw(pixels.shape[:2], random)
            views.append(view_of(pixels, annotation.masks, placement, rules.side))
        found = [annotation for _, annotation in pictures]
        chosen = _chosen(views, found, rules, random)
        if chosen is None:
            return None
        support, query = (
            Objects(
                view.masks[torch.from_numpy(which)],
                torch.from_numpy(annotation.class_ids[which]),
                torch.from_numpy(annotation.ids[which]),
            )
            for view, annotation, which in zip(views, found, chosen, strict=True)
        )
        return PairBatch(
            keys=(key,),
            indices=(index,),
            kinds=(source.kind,),
            class_names=(source.class_names[key.class_id],),
            support_images=views[0].image[None, None],
            support_sizes=torch.tensor([[views[0].size]]),
            query_image=views[1].image[None],
            query_sizes=torch.tensor([views[1].size]),
            support=(support,),
            query=(query,),
        )


def _candidates(annotation: Annotation, key: PairKey, rules: PairRules) -> Annotation:
    """What of a picture may be kept, in the order in which it will be."""
    if not rules.crowd:
        annotation = annotation.chosen(~annotation.crowd)
    if rules.keep == "class":
        mask = annotation.masks[annotation.class_ids == key.class_id].any(axis=0)
        number = np.array([key.class_id])
        return Annotation(mask[None], number, number, np.array([False]))
    if rules.keep == "classes":
        return annotation.chosen(np.argsort(annotation.class_ids, kind="stable"))
    return annotation


def _chosen(
    views: Sequence[View],
    found: Sequence[Annotation],
    rules: PairRules,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Positions of what is kept of the support's and of the query's view; None: draw anew."""
    seen = [view.masks.flatten(1).any(dim=1).numpy() for view in views]
    if rules.keep == "objects":
        both = random.permutation(np.flatnonzero(seen[0] & seen[1]))
        most = len(both) if rules.most_objects is None else random.integers(rules.most_objects + 1)
        which = both[: max(1, most)]
        if not len(which) and rules.allow_empty:
            which = np.arange(len(seen[0]))[:1]
        return (which, which) if len(which) else None
    if rules.keep == "class":
        chosen = tuple(np.arange(1) for _ in seen)
        return chosen if rules.allow_empty or all(one.all() for one in seen) else None
    support = np.flatnonzero(seen[0])
    known = np.isin(found[1].class_ids, found[0].class_ids[support])
    query = np.flatnonzero(seen[1] & known)
    enough = rules.allow_empty or (len(support) and len(query))
    return (support, query) if enough else None
