"""Building SANSA from its options, from checkpoints, and from files of its published program."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from common.errors import UsageError
from model.official import OFFICIAL
from model.official_paths import official_path
from model.sam.sam2 import Sam2, without_object_scores
from model.sam.variants import segmenter_weights
from model.sansa.adapters import adapted_blocks, adapter_widths, add_adapters, widths_of
from model.sansa.config import FRESH, SansaOptions
from model.sansa.network import Sansa
from model.sansa.released_names import TRUNK, read_adapters
from model.weights import load_strictly, read_weights


def build_sansa(options: SansaOptions) -> Sansa:
    """Build SANSA with SAM 2's weights and released adapters, or fresh ones seeded by torch.

    Raises:
        UsageError: a file is missing, broken or of another model.
    """
    if options.released is None:
        segmenter = build_segmenter(options)
        trunk = segmenter.network.image_encoder.trunk
        add_adapters(trunk, adapter_widths(trunk, options.factor))
        return Sansa(segmenter, options.image_size, options.most_points)
    name = options.released if options.released in OFFICIAL else None
    path = official_path(name) if name else Path(options.released)
    sam_model, weights = read_adapters(path, name)
    if sam_model != options.sam_model:
        raise UsageError(f"{path} holds adapters of {sam_model}, not of {options.sam_model}")
    return restore_sansa(options, weights, path)


def build_segmenter(options: SansaOptions) -> Sam2:
    """SAM 2 as SANSA uses it: without object scores, and without adapters yet."""
    segmenter = Sam2(options.sam_model, options.shrunk, object_scores=False)
    if not options.random:
        path = options.sam_weights or segmenter_weights(2, options.sam_model)
        state = {n: v.float() for n, v in read_weights(path, options.sam_model).items()}
        load_strictly(segmenter.official, without_object_scores(state), path)
    return segmenter


def restore_sansa(options: SansaOptions, weights: Mapping[str, Tensor], source: object) -> Sansa:
    """Build SANSA with the adapters of a checkpoint, as wide as they are.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another SAM 2, or its file is missing.
    """
    segmenter = build_segmenter(options)
    trunk = segmenter.network.image_encoder.trunk
    widths, wanted = widths_of(weights, TRUNK), set(adapted_blocks(trunk))
    if different := sorted(widths.keys() ^ wanted):
        word = "lacks the adapter of" if different[0] in wanted else "adapts"
        raise UsageError(
            f"{source} does not fit {options.sam_model}: it {word} block {different[0]}"
        )
    add_adapters(trunk, widths)
    model = Sansa(segmenter, options.image_size, options.most_points)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    load_strictly(model, weights, source, names)
    return model


def read_release(path: Path) -> tuple[SansaOptions, dict[str, Tensor]]:
    """Options and weights of released adapters, for `Entry.read_published`.

    Raises:
        UsageError: the file holds anything else.
    """
    sam_model, weights = read_adapters(path)
    return SansaOptions(sam_model=sam_model, adapters=FRESH), weights
