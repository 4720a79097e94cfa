"""Who labels: the model of a checkpoint, a method that was named, or the best that is at hand."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.distributed import Processes
from common.errors import UsageError
from common.files import digest
from labelling.options import LabellingOptions
from model.checkpoint import build_method, entry_of, load_method
from model.choice import CLICK_SAMS, available_methods
from model.encoding import set_up_encoding
from model.fetching import ensure
from model.method_options import MethodOptions
from model.official_paths import how_to_get
from model.predictor import InContextSegmenter
from model.registry import METHODS
from model.sam.variants import segmenter_weights

BESIDE = "sam2.1_hiera_b+"
"""The SAM that is fetched where one is needed beside a method and none is there."""
UNTRAINED = "its weights are random: the masks mean nothing"


@dataclass(frozen=True)
class Labeller:
    """A segmenter, and what it is."""

    segmenter: InContextSegmenter
    title: str
    settings: dict[str, Any]
    """Where its weights come from, for the record of what results depend on."""
    named: MethodOptions | None = None
    """The method's options, with which other processes build it; None: a checkpoint has them."""


def open_labeller(
    options: LabellingOptions, named: MethodOptions | None, processes: Processes
) -> Labeller:
    """Build the checkpoint's model, the named method, or the best at hand; say which and why.

    Args:
        named: the options of a method that was asked for.

    Raises:
        UsageError: weights are missing and may not, or cannot, be fetched; or the checkpoint is
            broken.
    """
    if options.ckpt is not None:
        method, facts = load_method(options.ckpt, processes.device)
        title, chosen = entry_of(facts, options.ckpt).title, None
        settings = {"checkpoint": digest(options.ckpt)}
    else:
        chosen = named or _best(options.fetch, say=processes.is_main)
        method, facts = build_method(chosen, processes.device, options.fetch)
        title = METHODS[chosen.method].title
        settings = {"method": chosen.method, "model": facts["model"]}
    if options.feature_cache:
        settings["features"] = "half precision"
    set_up_encoding(method, facts["model"], options, processes.is_main)
    segmenter = InContextSegmenter(method, options.precision)
    is_random = any(getattr(chosen, name, False) for name in ("random_weights", "shrunk"))
    caution = UNTRAINED if is_random else segmenter.caution
    if caution and processes.is_main:
        print(f"warning: {options.ckpt or title}: {caution}", file=sys.stderr)
    return Labeller(segmenter, title, settings, chosen)


def require_sam(
    segmenter: InContextSegmenter, kinds: Iterable[str], has_videos: bool, fetch: bool
) -> None:
    """Have a SAM beside the method where it needs one.

    Args:
        kinds: what marks the objects in the references.
        has_videos: whether there are videos to label.

    Raises:
        UsageError: there is none, and none may be fetched.
    """
    method = segmenter.method
    for_videos = has_videos and not method.has_memory
    for_marks = not {*kinds} <= {*method.prompt_kinds} and method.promptable is None
    if not (for_videos or for_marks) or method.knows_drawings_only:
        return
    versions = (2,) if for_videos else (2, 1)
    suitable = [sam for sam in CLICK_SAMS if sam[0] in versions]
    if not any(segmenter_weights(*sam).is_file() for sam in suitable):
        ensure([BESIDE], fetch)


def _best(fetch: bool, say: bool) -> MethodOptions:
    choices = available_methods()
    ready = next((choice for choice in choices if not choice.missing), None)
    if ready is None and not fetch:
        raise UsageError(
            f"no method has its weights here: {how_to_get(choices[0].missing)}; --fetch does that "
            "on the way, --method takes another method, --ckpt a checkpoint of your own"
        )
    choice = ready or choices[0]
    if say:
        why = choice.reason if ready else f"{choice.reason}; no method had its weights here"
        size = getattr(choice.options, "size", None)
        print(f"method: {choice.title}{f' ({size})' if size else ''}, {why} (--method for another)")
    return choice.options
