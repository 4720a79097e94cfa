"""Names of the released program's tensors, and the names they have here."""

import re

BACKBONE_RULES = [
    (r"^layer0\.0\.", "network.conv1."),
    (r"^layer0\.1\.", "network.bn1."),
    (r"^layer0\.3\.", "network.conv2."),
    (r"^layer0\.4\.", "network.bn2."),
    (r"^layer0\.6\.", "network.conv3."),
    (r"^layer0\.7\.", "network.bn3."),
    (r"^(layer[1-4])\.", r"network.\1."),
]
GENERATOR_RULES = [
    (r"^downsample_query\.0\.", "reduce.0."),
    (r"^merge_1\.0\.", "positive.fuse."),
    (r"^merge_2\.0\.", "negative.fuse."),
    (r"^sam_downscaling\.0\.", "fold_levels.shrink_fine."),
    (r"^sam_downscaling\.1\.", "fold_levels.norm."),
    (r"^sam_downscaling\.3\.", "fold_levels.shrink_middle."),
    (r"^neg_transformer_decoder\.", "negative."),
    (r"^transformer_decoder\.", "positive."),
    (r"transformer_self_attention_layers\.0\.self_attn\.", "self_attention."),
    (r"transformer_self_attention_layers\.0\.norm\.", "norm."),
    (r"transformer_cross_attention_layers\.0\.", "query_attention."),
    (r"transformer_cross_attention_layers_0\.0\.", "support_attention."),
    (r"multihead_attn\.in_proj_", "projection."),
    (r"multihead_attn\.out_proj\.", "output."),
    (r"supp_q_feat\.", "query."),
    (r"q_embed\.", "query_position."),
]


def rename(name: str, rules: list[tuple[str, str]]) -> str:
    """Apply every rule that fits, in order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
