"""Frozen features of images, kept in memory: what never changes is computed once in a run."""

from collections.abc import Sequence

from torch import Tensor

from model.method import Method
from model.method_data import Features


class Encoder:
    """Encodes images by a method, each batch as it comes."""

    def __init__(self, method: Method) -> None:
        self.method = method

    def encode(
        self,
        names: Sequence[str],
        images: Tensor,
        support_only: bool = False,
        sizes: Tensor | None = None,
    ) -> Features:
        """Features of a batch of images, B x 3 x H x W, each with the name of its file.

        Args:
            support_only, sizes: see `Method.encode`.
        """
        return self.method.encode(images, support_only, sizes)


class FeatureStore(Encoder):
    """Encodes every image once and keeps its features on the model's device, by name.

    An image is encoded alone, so that its features do not depend on what it was met with. The tiny
    models take about 0.7 MB an image; at full size it is 80 MB, too much for a benchmark.
    """

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        self._stored: dict[str, Features] = {}

    def encode(
        self,
        names: Sequence[str],
        images: Tensor,
        support_only: bool = False,
        sizes: Tensor | None = None,
    ) -> Features:
        for row, name in enumerate(names):
            if name not in self._stored:
                size = None if sizes is None else sizes[row : row + 1]
                self._stored[name] = self.method.encode(images[row : row + 1], sizes=size)
        features = [self._stored[name] for name in names]
        return features[0].join(features)
