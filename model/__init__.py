"""The methods. Other programs enter through `from model import InContextSegmenter`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.choice import available_methods
    from model.predictor import InContextSegmenter

__all__ = ["InContextSegmenter", "available_methods"]


def __getattr__(name: str) -> Any:
    # on demand: whoever imports one module of this package need not wait for all the others
    if name == "InContextSegmenter":
        from model.predictor import InContextSegmenter

        return InContextSegmenter
    if name == "available_methods":
        from model.choice import available_methods

        return available_methods
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
