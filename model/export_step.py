"""A step of a method between named tensors: what other runtimes can run by itself.

A method names its steps in `model.registry`, in the order in which they are taken. The first takes
a picture. Where there are more, the second takes what the first made of K references, one below the
other, and `masks`; the others take what the first made of the query and all that came since; one of
them, `decode`, gives `logits`. A method without it decides outside of graphs.
Shapes: K references, S side of pictures and masks; one picture at a time.
"""

from typing import Any

from torch import Tensor, nn

from model.method_data import Features

Values = dict[str, Tensor]
"""Named tensors that a step is given or gives."""


class ExportStep(nn.Module):
    """One step.

    Args:
        model: the method.
        side: S.
    """

    def __init__(self, model: Any, side: int) -> None:
        super().__init__()
        self.model, self.side = model, side
        self.eval()

    def forward(self, given: Values) -> Values:
        """Take the step; what it has no use for may be among the given tensors."""
        raise NotImplementedError

    def features(self, given: Values) -> Features:
        """What the first step made of pictures, as the method takes it; where nothing decodes.

        Args:
            given: what it gave, and the normalised pictures as `image`.
        """
        raise NotImplementedError
