"""Checkpoints of DC-SAM's released program under the names used here.

Such a file holds the learned prompt generator and the frozen backbone; one of the video model also
holds all of SAM 2, some of which was trained.
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from common.errors import UsageError
from model.backbones.backbone import BUILDERS, Backbone
from model.dc_sam.builder import build_generator
from model.dc_sam.config import DcSamOptions
from model.dc_sam.prompt_generator import PromptGenerator
from model.sam.adapters import adapter_names, add_adapters
from model.sam.sam2 import Sam2
from model.weights import compare_names, read_weights

VGG_STAGES = (0, 7, 14, 24, 34)
"""Where the release cuts VGG-16-BN: the first feature of each stage."""

_NETWORK, _GENERATOR, _SAM2 = "segmenter.network.", "prompt_encoder.", "sam2."
_ADAPTED = "base_model.model."
"""What the release's adapters put before SAM 2's names."""

SAM2_TRUNKS = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l", (24, 8): "tiny"}
"""Which SAM 2 has an image encoder of this width and so many blocks."""

_RULES = (
    (r"^generator\.reduce\.", "downsample_query."),
    (r"^generator\.positive\.fuse\.", "merge_1.0."),
    (r"^generator\.negative\.fuse\.", "merge_2.0."),
    (r"^generator\.fold_levels\.shrink_fine\.", "sam_downscaling.0."),
    (r"^generator\.fold_levels\.norm\.", "sam_downscaling.1."),
    (r"^generator\.fold_levels\.shrink_middle\.", "sam_downscaling.3."),
    (r"^generator\.positive\.", "transformer_decoder."),
    (r"^generator\.negative\.", "neg_transformer_decoder."),
    (r"decoder\.query\.", "decoder.supp_q_feat."),
    (r"decoder\.query_position\.", "decoder.q_embed."),
    (r"decoder\.self_attention\.", "decoder.transformer_self_attention_layers.0.self_attn."),
    (r"decoder\.norm\.", "decoder.transformer_self_attention_layers.0.norm."),
    (
        r"decoder\.early_self_attention\.",
        "decoder.transformer_self_attention_layers_0.0.self_attn.",
    ),
    (r"decoder\.early_norm\.", "decoder.transformer_self_attention_layers_0.0.norm."),
    (r"decoder\.support_attention\.", "decoder.transformer_cross_attention_layers_0.0."),
    (r"decoder\.query_attention\.", "decoder.transformer_cross_attention_layers.0."),
    (r"\.projection\.", ".multihead_attn.in_proj_"),
    (r"\.output\.", ".multihead_attn.out_proj."),
    (r"^backbone\.network\.conv1\.", "layer0.0."),
    (r"^backbone\.network\.bn1\.", "layer0.1."),
    (r"^backbone\.network\.conv2\.", "layer0.3."),
    (r"^backbone\.network\.bn2\.", "layer0.4."),
    (r"^backbone\.network\.conv3\.", "layer0.6."),
    (r"^backbone\.network\.bn3\.", "layer0.7."),
    (r"^backbone\.network\.layer", "layer"),
)


def released_name(name: str) -> str:
    """What the releases of DC-SAM and VRP-SAM call a tensor of a generator or backbone."""
    vgg = re.match(r"backbone\.network\.features\.(\d+)\.(\w+)$", name)
    if vgg:
        index = int(vgg[1])
        stage = max(i for i, first in enumerate(VGG_STAGES) if first <= index)
        return f"layer{stage}.{index - VGG_STAGES[stage]}.{vgg[2]}"
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name


def is_release(names: Collection[str]) -> bool:
    """Whether a state dict with these names, without `module.`, may be one of DC-SAM's release."""
    return any(name.endswith("transformer_decoder.q_embed.weight") for name in names)


def released_options(state: Mapping[str, Tensor], sam_model: str | None = None) -> DcSamOptions:
    """Read from a state dict's names and shapes what kind of model it belongs to.

    Args:
        state: named as in the release, without `module.`.
        sam_model: the variant of SAM, which the state dict does not tell.

    Raises:
        UsageError: the names are of no model of the release.
    """
    for name in ("transformer_decoder.supp_q_feat.weight", "merge_1.0.weight"):
        if name not in state:
            raise UsageError(f"no checkpoint of DC-SAM's release: it has no {name}")
    num_query, channels = state["transformer_decoder.supp_q_feat.weight"].shape
    reduced = any(name.startswith("downsample_query.") for name in state)
    fused = (state["merge_1.0.weight"].shape[1] - 1) // channels  # maps, and the prototype
    return DcSamOptions(
        backbone=backbone_name(state),
        sam_version=2 if any(name.startswith("sam_downscaling.") for name in state) else 1,
        sam_model=sam_model,
        num_query=num_query,
        fusion="full" if reduced else "prior",
        segmenter_fusion=fused == 3 or not reduced,
        wiring="release",
    )


def import_release(
    state: Mapping[str, Tensor], source: object, sam_model: str | None = None
) -> tuple[DcSamOptions, dict[str, Tensor]]:
    """Give every tensor of a released checkpoint its name here.

    Args:
        state: the checkpoint as saved, with `module.` or without.
        source: what to call it in messages, usually the file.
        sam_model: the variant of SAM, which a checkpoint of the image model does not tell.

    Returns:
        The model's options, and tensors `generator.*` and `backbone.*`; of the video model also
        all of SAM 2, `segmenter.*`, with the adapters of LoRA if it has them.

    Raises:
        UsageError: with the names that are missing, unknown or of another shape.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    network = _below(state, _SAM2)
    adapted = bool(adapter_names(network))
    start = _GENERATOR if network else ""
    image = _below(state, start)
    try:
        if network:
            found = _sam2_name({n.removeprefix(_ADAPTED): v for n, v in network.items()})
            if sam_model not in (None, found):
                raise UsageError(f"it holds {found}, not {sam_model}")
            sam_model = found
        options = released_options(image, sam_model)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    channels = image["merge_1.0.weight"].shape[0]
    expected = expected_tensors(
        options.backbone, lambda middle: build_generator(options, middle, channels)
    )
    names = {start + released_name(name): name for name in expected}
    if network:
        for name, value in _expected_sam2(options.segmenter, adapted).items():
            names[_SAM2 + _ADAPTED * adapted + name] = _NETWORK + name
            expected[_NETWORK + name] = value
    compare_names(
        state,
        {name: expected[own] for name, own in names.items()},
        f"{source} does not fit the release's model with {options.backbone} and "
        f"SAM {options.sam_version}",
    )
    return options, {names[name]: value for name, value in state.items()}


def read_release(
    path: Path, sam_model: str | None = None
) -> tuple[DcSamOptions, dict[str, Tensor]]:
    """Read a checkpoint file of the release: see `import_release`.

    Raises:
        UsageError: also when the file is missing, broken or holds more than tensors.
    """
    return import_release(read_weights(path), path, sam_model)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}


def _sam2_name(network: Mapping[str, Tensor]) -> str:
    """Which SAM 2 a state dict is of; 2.1 has an embedding for absent objects."""
    patches = network.get("image_encoder.trunk.patch_embed.proj.weight")
    blocks = {n.split(".")[3] for n in network if n.startswith("image_encoder.trunk.blocks.")}
    size = (0 if patches is None else len(patches), len(blocks))
    if size not in SAM2_TRUNKS:
        raise UsageError(f"its SAM 2 is none of the known ones: width {size[0]}, {size[1]} blocks")
    version = "sam2.1" if "no_obj_embed_spatial" in network else "sam2"
    letter = SAM2_TRUNKS[size]
    return letter if letter == "tiny" else f"{version}_hiera_{letter}"


def _expected_sam2(name: str, adapted: bool) -> dict[str, Tensor]:
    """Every tensor of SAM 2 by its official name, and of adapters; their values mean nothing."""
    network = Sam2(name).network
    if adapted:
        add_adapters(network)
    return network.state_dict()


def backbone_name(state: Mapping[str, Tensor]) -> str:
    """Which backbone a released state dict holds.

    Raises:
        UsageError: none that the releases have.
    """
    if "layer0.0.bias" in state:
        return "vgg16"
    blocks = {name.split(".")[1] for name in state if name.startswith("layer3.")}
    names = {6: "resnet50", 23: "resnet101"}
    if len(blocks) not in names:
        raise UsageError(
            "its backbone is neither VGG-16-BN nor ResNet-50 or 101: layer3 has "
            f"{len(blocks)} blocks"
        )
    return names[len(blocks)]


def expected_tensors(backbone: str, build: Callable[[int], PromptGenerator]) -> dict[str, Tensor]:
    """Every tensor of a model, by its name here; they have shapes but no values.

    Args:
        build: from the backbone's middle channels, the generator.
    """
    with torch.device("meta"):
        network = Backbone(backbone, BUILDERS[backbone]({}))
        generator = build(network.middle_channels)
    return {
        f"{part}.{name}": value
        for part, module in (("generator", generator), ("backbone", network))
        for name, value in module.state_dict().items()
    }
