"""Encoders that PyTorch compiles: slow at the first picture of a size, faster afterwards."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from model.backbones.backbone import Backbone
from model.sam.segmenter import Segmenter

ENCODING: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (Segmenter, ("encode_images",)),
    (Backbone, ("extract", "high")),
)
"""Networks that read pictures, and what of them is compiled."""


def compile_encoders(model: nn.Module) -> None:
    """Compile what reads pictures in a model, each when it is first used.

    What cannot be compiled, for instance because there is no C++ compiler, says so in one line and
    runs as it is.
    """
    for module in model.modules():
        for kind, names in ENCODING:
            if isinstance(module, kind):
                for name in names:
                    setattr(
                        module, name, _Compiled(getattr(module, name), f"{kind.__name__}.{name}")
                    )


class _Compiled:
    """A function, compiled as far as that works."""

    def __init__(self, plain: Callable[..., Any], title: str) -> None:
        self.plain, self.title = plain, title
        self.chosen = torch.compile(plain, dynamic=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.chosen(*args, **kwargs)
        except TorchDynamoException as error:
            why = " ".join(str(error).split("\n")[:2])  # the first says only who complained
            print(f"--compile: {self.title} runs as it is ({why})", file=sys.stderr)
            self.chosen = self.plain
            return self.plain(*args, **kwargs)
