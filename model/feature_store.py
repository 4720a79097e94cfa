"""Frozen features of images, kept in memory: what never changes is computed once in a run."""

from collections.abc import Sequence

from torch import Tensor

from model.dc_sam.network import DcSam, EncodedImages


class FeatureStore:
    """Encodes every image once and keeps its features on the model's device, by name.

    An image is encoded alone, so that its features do not depend on what it was met with. The tiny
    models take about 0.7 MB an image; at full size it is 80 MB, too much for a benchmark.
    """

    def __init__(self, model: DcSam) -> None:
        self.model = model
        self._kept: dict[str, EncodedImages] = {}

    def encode(self, names: Sequence[str], images: Tensor) -> EncodedImages:
        """Features of a batch of images, B x 3 x H x W, each with the name of its file."""
        for name, image in zip(names, images, strict=True):
            if name not in self._kept:
                self._kept[name] = self.model.encode(image.unsqueeze(0))
        return EncodedImages.join([self._kept[name] for name in names])

    def encode_episodes(
        self, names: Sequence[tuple[str, Sequence[str]]], query: Tensor, support: Tensor
    ) -> tuple[EncodedImages, EncodedImages]:
        """Features of a batch of episodes.

        Args:
            names: of each query and of its support.
            query: B x 3 x H x W.
            support: B x K x 3 x H x W.

        Returns:
            B images and B*K images.
        """
        of_support = [name for _, some in names for name in some]
        return (
            self.encode([name for name, _ in names], query),
            self.encode(of_support, support.flatten(0, 1)),
        )
