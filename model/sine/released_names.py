"""Checkpoints of SINE's released program (`pytorch_model.bin`) under the names used here.

Such a file holds everything, DINOv2 included; that stays under its official names, so that it can
be made ready for any canvas.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from common.errors import UsageError

BACKBONE = "backbone."
"""What stands before DINOv2's official names in weights that hold it."""
_ENCODER = "image_encoder.encoder."
_QUERIES = "transformer_decoder.query_feat.weight"
_CLASS_TOKEN = f"{_ENCODER}cls_token"
_DROPPED = r"criterion\.empty_weight$|segmenter\."
"""A constant of the losses, and what a file may have left from its program's development."""
_RULES = (
    (r"image_encoder\.neck", "neck"),
    (r"transformer_decoder\.", "former."),
    (r"fusion_layers\.0\.", "fusion."),
    (r"transformer_layers\.", "layers."),
    (r"transformer_self_attention_layer\.self_attn\.", "self_attention."),
    (r"transformer_self_attention_layer\.norm\.", "self_norm."),
    (r"transformer_cross_attention_layer\.multihead_attn\.", "cross_attention."),
    (r"transformer_cross_attention_layer\.norm\.", "cross_norm."),
    (r"transformer_ffn_layer1\.norm\.", "object_norm."),
    (r"transformer_ffn_layer1\.", "object_forward."),
    (r"transformer_ffn_layer2\.norm\.", "class_norm."),
    (r"transformer_ffn_layer2\.", "class_forward."),
    (r"transformer_ffn_layer\.norm\.", "feed_norm."),
    (r"transformer_ffn_layer\.", "feed_forward."),
    (r"linear1\.", "expand."),
    (r"linear2\.", "reduce."),
    (r"\.temp$", ".temperature"),
    (r"decoder_norm\.", "norm."),
    (r"mask_feat_layer\.", "mask_features."),
    (r"query_feat\.", "query_content."),
    (r"query_embed\.", "query_code."),
    (r"query_grained_embed\.", "kinds."),
    (r"id_class_embed\.", "identity_head."),
    (r"neg_class_embed\.", "no_class."),
    (r"mask_embed\.", "mask_tokens."),
)
"""Parts of released names -> ours, one after the other."""
SIZE_OF_WIDTH = {384: "s", 768: "b", 1024: "l", 1536: "g"}
"""DINOv2's width -> its letter."""


def is_release(names: Collection[str]) -> bool:
    """Whether a state dict with these names may be one of SINE's."""
    return _QUERIES in names


def renamed(name: str) -> str | None:
    """Our name of a released tensor; None: it is of no use."""
    if re.match(_DROPPED, name):
        return None
    if name.startswith(_ENCODER):
        return BACKBONE + name.removeprefix(_ENCODER)
    for pattern, ours in _RULES:
        name = re.sub(pattern, ours, name)
    return name


def released_names(names: Iterable[str]) -> dict[str, str]:
    """Released name -> ours, of those that are of use."""
    return {name: ours for name in names if (ours := renamed(name)) is not None}


def import_release(
    state: Mapping[str, Tensor], source: object
) -> tuple[str | None, int, dict[str, Tensor]]:
    """Give every tensor of a released checkpoint its name here.

    Args:
        source: what to call it in messages, usually the file.

    Returns:
        DINOv2's size, None where the file lacks it; how many queries there are; and the weights.

    Raises:
        UsageError: it is something else.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    queries = state.get(_QUERIES)
    if queries is None or queries.ndim != 2:
        raise UsageError(f"{source}: no checkpoint of SINE: it has no {_QUERIES}")
    size, class_token = None, state.get(_CLASS_TOKEN)
    if class_token is not None:
        size = SIZE_OF_WIDTH.get(class_token.shape[-1])
        if size is None:
            raise UsageError(f"{source} holds no DINOv2: its width is {class_token.shape[-1]}")
    names = released_names(state)
    weights = {ours: state[name].float() for name, ours in names.items()}
    return size, len(queries), weights
