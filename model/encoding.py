"""How a model encodes pictures, as flags say: compiled, and what is kept for other runs."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from common.run_options import CacheOptions
from model.backbones.backbone import Backbone
from model.feature_store import GIGABYTE, FeatureFolder, FeatureStore, model_key
from model.method import Method
from model.sam.segmenter import Segmenter

ENCODING: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (Segmenter, ("encode_images",)),
    (Backbone, ("extract", "high")),
)
"""Networks that read pictures, and what of them is compiled."""


def set_up_encoding(
    method: Method,
    built_from: dict[str, Any],
    options: CacheOptions,
    announce: bool,
    in_memory: bool = False,
) -> None:
    """Let a method keep features and compile its encoders, as far as flags ask for it.

    Args:
        built_from: the options which the method was built from, see `model_key`.
        announce: say where features are kept, and how many are there.
        in_memory: keep features of pictures for this run, too.
    """
    folder = None
    if options.feature_cache:
        key = model_key(method, built_from)
        folder = FeatureFolder(options.feature_cache, key, options.feature_cache_gb * GIGABYTE)
        if announce:
            print(folder)
    method.store = FeatureStore(folder, in_memory) if folder or in_memory else None
    if options.compile:
        compile_encoders(method)


def compile_encoders(model: nn.Module) -> None:
    """Compile what reads pictures in a model: slow at the first one of a size, then faster.

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
            print(f"cannot compile {self.title}, which runs as it is: {why}", file=sys.stderr)
            self.chosen = self.plain
            return self.plain(*args, **kwargs)
