"""Which method to use where nobody names one, by the official files that are there."""

from dataclasses import dataclass
from typing import Any

from model.fetching import absent
from model.registry import METHODS
from model.sam.names import SAM_MODELS
from model.sam.segmenter import Segmenter
from model.sam.variants import build_segmenter, segmenter_weights

PREFERENCE: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("insid3", {"size": "large"}, "the best of those that need no training"),
    ("insid3", {"size": "base"}, "nearly the large one, at a third of its time"),
    ("insid3", {"size": "small"}, "the fastest that needs no training"),
    ("sansa", {"adapters": "sansa_generalist"}, "trained on everyday objects"),
    ("sine", {}, "trained on everyday objects, and tells those of a class apart"),
    ("matcher", {}, "needs no training, and takes its time"),
    ("persam", {}, "needs no training and SAM alone"),
)
"""Method, its options, and why: the first whose files are there is taken."""

CLICK_SAMS = (
    *((2, name) for name in ("sam2.1_hiera_l", "sam2.1_hiera_b+", "sam2.1_hiera_s")),
    (2, "sam2.1_hiera_t"),
    *((1, name) for name in ("vit_h", "vit_l", "vit_b")),
)
"""Version and variant of SAM, the best first: for clicks, and (version 2) for videos."""


@dataclass(frozen=True)
class Choice:
    """A method with its options."""

    method: str
    options: Any
    reason: str

    @property
    def title(self) -> str:
        """What people call the method."""
        return METHODS[self.method].title

    @property
    def missing(self) -> tuple[str, ...]:
        """Names in `model.weights.OFFICIAL` of the files it needs which are neither in the folder
        of weights nor in a cache."""
        return absent(self.options.files())


def available_methods() -> list[Choice]:
    """Every method that segments without a training of one's own, the preferred first."""
    return [
        Choice(name, METHODS[name].options(**options), reason)
        for name, options, reason in PREFERENCE
        if name in METHODS
    ]


def best_sam(versions: tuple[int, ...] = (2, 1), tiny: bool = False) -> Segmenter | None:
    """The best SAM whose official file is there, in evaluation mode on the CPU, if there is one.

    Args:
        versions: 1: SAM; 2: SAM 2, which also carries masks through videos.
        tiny: take the tiny one that is part of the repository: it knows drawings only.
    """
    wanted = [(versions[0], "tiny")] if tiny else [v for v in CLICK_SAMS if v[0] in versions]
    for version, name in wanted:
        path = segmenter_weights(version, name)
        if name in SAM_MODELS[version] and path.is_file():
            return build_segmenter(version, name, path).eval()
    return None
