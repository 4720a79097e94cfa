"""The methods. Other programs enter through `from model import InContextSegmenter`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.predictor import InContextSegmenter

__all__ = ["InContextSegmenter"]


def __getattr__(name: str) -> Any:
    # on demand: whoever imports one module of this package need not wait for all the others
    if name == "InContextSegmenter":
        from model.predictor import InContextSegmenter

        return InContextSegmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
