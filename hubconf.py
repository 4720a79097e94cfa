"""DC-SAM for any program: torch.hub.load("/path/to/dc-sam", "in_context_segmenter", source="local")

The folders of this repository have common names (`common`, `data`, `model`), which the caller may
use as well. So they are loaded as parts of one package with a name of its own, `dc_sam_hub`, and
nothing of the caller's is replaced or taken for ours: their imports of each other are rewritten.
"""

import ast
import importlib
import sys
import types
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model import InContextSegmenter

dependencies = [
    "PIL",
    "av",
    "cv2",
    "filelock",
    "httpx2",
    "huggingface_hub",
    "hydra",
    "numpy",
    "omegaconf",
    "ot",
    "peft",
    "pillow_heif",
    "pycocotools",
    "safetensors",
    "sam2",
    "scipy",
    "segment_anything",
    "timm",
    "tokenizers",
    "torch",
    "torchvision",
    "tqdm",
    "transformers",
]
"""Packages that torch.hub looks for first; requirements.txt pins them."""

_ROOT = Path(__file__).resolve().parent
_TINY = _ROOT / "checkpoints" / "tiny" / "pascal_fold0.safetensors"
_PACKAGE = "dc_sam_hub"
_ROOMS = frozenset(path.parent.name for path in _ROOT.glob("*/__init__.py"))


def in_context_segmenter(
    checkpoint: str | Path | None = None,
    method: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    **options: Any,
) -> "InContextSegmenter":
    """Build a segmenter: `learn` a reference, then `segment` pictures.

    Args:
        checkpoint: a file. Without a method either it is the tiny one that is here, which knows
            drawn shapes only.
        method: one with public weights, such as "insid3"; or what the checkpoint must hold.
        device: where to compute: auto, or what `torch.device` takes.
        precision: of the forward pass: fp32, bf16 or fp16.
        options: of a method without a checkpoint, such as `size="base"`; `fetch=True` lets
            official files be fetched.

    Raises:
        ValueError: the checkpoint holds another method, a file is missing, or there is no such
            method, option or precision.
        ImportError: another copy of this repository is loaded in this program.
    """
    if checkpoint is None and method is not None:
        entry = _load("model.predictor").InContextSegmenter
        return entry.from_method(method, device, precision, **options)
    if options:
        raise ValueError(f"{', '.join(options)}: a checkpoint has its options in its header")
    if checkpoint is None:
        checkpoint = _TINY
        warnings.warn(f"no checkpoint given: {_TINY.name} knows drawn shapes only", stacklevel=2)
    segmenter = _load("model.predictor").InContextSegmenter.from_checkpoint(
        checkpoint, device, precision
    )
    if method not in (None, segmenter.method.name):
        raise ValueError(f"method={method!r}, but {checkpoint} holds {segmenter.method.name}")
    return segmenter


def _load(name: str) -> types.ModuleType:
    """Import a module of this repository as a part of the package."""
    package = sys.modules.get(_PACKAGE)
    if package is None:
        package = types.ModuleType(_PACKAGE, __doc__)
        package.__path__ = [str(_ROOT)]
        sys.modules[_PACKAGE] = package
        sys.meta_path.insert(0, _Finder)
    if list(package.__path__) != [str(_ROOT)]:
        raise ImportError(
            f"the module {_PACKAGE} is in the way: it was loaded from {package.__path__[0]}, and "
            f"one program cannot load {_ROOT} as well"
        )
    return importlib.import_module(f"{_PACKAGE}.{name}")


class _Finder:
    """Finds the package's modules."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{_PACKAGE}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    """Compiles a module, always anew: a cached one has the imports as they are written."""

    def get_code(self, name: str) -> types.CodeType:
        path = self.get_filename(name)
        tree = ast.parse(self.get_data(path), path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in _ROOMS:
                node.module = f"{_PACKAGE}.{node.module}"
        return compile(tree, path, "exec", dont_inherit=True)
