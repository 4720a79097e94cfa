"""SAM 2 behind the segmenter interface, made of the `sam2` package's own modules.

`Sam2.network` is the package's model; its state dict has the names of the official files.
"""

from importlib.resources import files

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from model.segmenter import DecodedMasks, Segmenter, SegmenterFeatures

OFFICIAL_NAMES = tuple(
    f"{version}_hiera_{size}" for version in ("sam2", "sam2.1") for size in ("t", "s", "b+", "l")
)
NAMES = (*OFFICIAL_NAMES, "tiny")

_TINY_WIDTH = 80
_TINY_MEMORY_WIDTH = 40
_TINY = {
    "image_size": 256,
    "image_encoder": {
        "trunk": {
            "embed_dim": 24,
            "stages": [1, 2, 4, 1],
            "global_att_blocks": [4, 6],
            "window_spec": [8, 4, 8, 8],
        },
        "neck": {
            "d_model": _TINY_WIDTH,
            "backbone_channel_list": [192, 96, 48, 24],
            "position_encoding": {"num_pos_feats": _TINY_WIDTH},
        },
    },
    "memory_attention": {
        "d_model": _TINY_WIDTH,
        "num_layers": 2,
        "layer": {
            "d_model": _TINY_WIDTH,
            "dim_feedforward": 2 * _TINY_WIDTH,
            "self_attention": {"embedding_dim": _TINY_WIDTH, "feat_sizes": [16, 16]},
            "cross_attention": {
                "embedding_dim": _TINY_WIDTH,
                "feat_sizes": [16, 16],
                "kv_in_dim": _TINY_MEMORY_WIDTH,
            },
        },
    },
    "memory_encoder": {
        "in_dim": _TINY_WIDTH,
        "out_dim": _TINY_MEMORY_WIDTH,
        "position_encoding": {"num_pos_feats": _TINY_MEMORY_WIDTH},
        "mask_downsampler": {"embed_dim": _TINY_WIDTH},
        "fuser": {"num_layers": 1, "layer": {"dim": _TINY_WIDTH}},
    },
}
"""What our tiny SAM 2 changes in the package's configuration of SAM 2.1 tiny."""

STABILITY_FALLBACK = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


def configuration(name: str) -> DictConfig:
    """The package's configuration of a variant, or the tiny one derived from it."""
    official = "sam2.1_hiera_t" if name == "tiny" else name
    path = files("sam2") / "configs" / official.split("_")[0] / f"{official}.yaml"
    model = OmegaConf.load(str(path)).model
    model.sam_mask_decoder_extra_args = STABILITY_FALLBACK
    return OmegaConf.merge(model, _TINY) if name == "tiny" else model


class Sam2(Segmenter):
    """Segment Anything 2 or 2.1."""

    def __init__(self, name: str) -> None:
        """Build a variant, one of `NAMES`, with random weights."""
        super().__init__()
        self.name = name
        self.network = instantiate(configuration(name), _recursive_=True)
        self.image_size, self.channels = self.network.image_size, self.network.hidden_dim

    @property
    def prompt_encoder(self) -> nn.Module:
        return self.network.sam_prompt_encoder

    @property
    def official(self) -> nn.Module:
        return self.network

    def encode_images(self, images: Tensor) -> SegmenterFeatures:
        """The embedding contains the no-memory embedding: a picture is a video's first frame."""
        *levels, embedding = self.network.forward_image(images)["backbone_fpn"]
        return SegmenterFeatures(
            embedding + self.network.no_mem_embed.view(1, -1, 1, 1), tuple(levels)
        )

    def decode_all(self, features: SegmenterFeatures, tokens: Tensor) -> DecodedMasks:
        no_mask = self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        logits, quality, _, object_logit = self.network.sam_mask_decoder.predict_masks(
            image_embeddings=features.embedding,
            image_pe=self.dense_position(),
            sparse_prompt_embeddings=tokens,
            dense_prompt_embeddings=no_mask.expand_as(features.embedding),
            repeat_image=False,
            high_res_features=list(features.levels),
        )
        return DecodedMasks(logits, quality, object_logit)

    def select(self, decoded: DecodedMasks, fallback: bool) -> tuple[Tensor, Tensor]:
        """With the fallback an unstable single mask gives way to the best of the proposals."""
        if not fallback:
            return super().select(decoded, fallback)
        return self.network.sam_mask_decoder._dynamic_multimask_via_stability(
            decoded.logits, decoded.quality
        )
