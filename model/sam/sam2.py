"""SAM 2 behind the segmenter interface, made of the `sam2` package's own modules.

`Sam2.network` is the package's model; its state dict has the names of the official files.
Shapes: B images or objects, C channels, S side of the embedding, M channels of a memory.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from model.sam.memory_bank import FrameMemory, MemoryBank
from model.sam.segmenter import DecodedMasks, Segmenter, SegmenterFeatures

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
"""What our tiny SAM 2 changes in the package's configuration of SAM 2.1 tiny, and what a shrunk
variant changes in its own."""

STABILITY_FALLBACK = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


WITHOUT_OBJECT_SCORES = {
    "pred_obj_scores": False,
    "pred_obj_scores_mlp": False,
    "fixed_no_obj_ptr": False,
    "no_obj_embed_spatial": False,
}
_OF_OBJECT_SCORES = (
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "sam_mask_decoder.obj_score_token.",
    "sam_mask_decoder.pred_obj_score_head.",
)
"""Beginnings of the names of weights that only object scores need."""

ABSENT_LOGIT = -1024.0
"""What SAM 2 puts in every place of a mask before it remembers that the object is absent."""


class ObjectMask(NamedTuple):
    """One object in one frame, as SAM 2's decoder found it or somebody drew it."""

    logits: Tensor
    """B x 1 x 4S x 4S, or at `image_size` where somebody gave the mask."""
    quality: Tensor
    """B x 1, estimated IoU."""
    object_logit: Tensor
    """B x 1, above 0 where the object is present."""
    pointer: Tensor
    """The object pointer, B x C."""


def configuration(name: str, shrunk: bool = False, object_scores: bool = True) -> DictConfig:
    """The package's configuration of a variant, or the tiny or shrunk one derived from it."""
    official = "sam2.1_hiera_t" if name == "tiny" else name
    path = files("sam2") / "configs" / official.split("_")[0] / f"{official}.yaml"
    model = OmegaConf.load(str(path)).model
    if object_scores:
        model.sam_mask_decoder_extra_args = STABILITY_FALLBACK
    else:
        model = OmegaConf.merge(model, WITHOUT_OBJECT_SCORES)
    return OmegaConf.merge(model, _TINY) if shrunk or name == "tiny" else model


def without_object_scores(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a SAM 2 that is built without object scores takes of an official state dict."""
    return {n: value for n, value in state.items() if not n.startswith(_OF_OBJECT_SCORES)}


class Sam2(Segmenter):
    """Segment Anything 2 or 2.1."""

    def __init__(self, name: str, shrunk: bool = False, object_scores: bool = True) -> None:
        """Build a variant with random weights.

        Args:
            name: one of `model.sam.names.SAM_MODELS`.
            shrunk: few and narrow layers, for small images.
            object_scores: tell whether objects are in the picture, and replace unstable masks;
                without both, every object is taken to be there.
        """
        super().__init__()
        self.name = name
        self.network = instantiate(configuration(name, shrunk, object_scores), _recursive_=True)
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

    def decode_all(
        self, features: SegmenterFeatures, tokens: Tensor, dense: Tensor | None = None
    ) -> DecodedMasks:
        if dense is None:
            dense = self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        logits, quality, mask_tokens, object_logit = self.network.sam_mask_decoder.predict_masks(
            image_embeddings=features.embedding,
            image_pe=self.dense_position(),
            sparse_prompt_embeddings=tokens,
            dense_prompt_embeddings=dense.expand_as(features.embedding),
            repeat_image=False,
            high_res_features=list(features.levels),
        )
        return DecodedMasks(logits, quality, object_logit, mask_tokens)

    def select(self, decoded: DecodedMasks, fallback: bool) -> tuple[Tensor, Tensor]:
        """With the fallback an unstable single mask gives way to the best of the proposals."""
        if not fallback:
            return super().select(decoded, fallback)
        return self.network.sam_mask_decoder._dynamic_multimask_via_stability(
            decoded.logits, decoded.quality
        )

    def decode_object(
        self,
        features: SegmenterFeatures,
        tokens: Tensor,
        fallback: bool,
        best_of_three: bool = False,
        dense: Tensor | None = None,
    ) -> ObjectMask:
        """Decode prompt tokens, B x any number x C, to one mask and its object pointer.

        Args:
            fallback: see `select`.
            best_of_three: the proposal of the highest estimated quality instead of the single mask.
            dense: see `decode_all`.
        """
        network = self.network
        decoded = self.decode_all(features, tokens, dense)
        token = decoded.tokens[:, 0]
        if best_of_three:
            row = torch.arange(len(token), device=token.device)
            best = 1 + decoded.quality[:, 1:].argmax(dim=1)
            logits, quality = decoded.logits[row, best, None], decoded.quality[row, best, None]
            if network.use_multimask_token_for_obj_ptr:
                token = decoded.tokens[row, best]
        else:
            logits, quality = self.select(decoded, fallback)
        pointer = network.obj_ptr_proj(token)
        if network.pred_obj_scores:
            present = (decoded.object_logit > 0).to(token.dtype)
            pointer = present * pointer + (1 - present) * network.no_obj_ptr
        return ObjectMask(logits, quality, decoded.object_logit, pointer)

    def use_mask(self, features: SegmenterFeatures, masks: Tensor) -> ObjectMask:
        """Take a mask that somebody gives for what the decoder found.

        Args:
            masks: 0 or 1, B x 1 x image_size x image_size.
        """
        _, logits, quality, _, _, pointer, object_logit = self.network._use_mask_as_output(
            self.without_no_memory(features), list(features.levels), masks
        )
        return ObjectMask(logits, quality, object_logit, pointer)

    def encode_memory(
        self, features: SegmenterFeatures, found: ObjectMask, binary: bool
    ) -> FrameMemory:
        """Encode a frame and the mask found in it into a memory.

        Args:
            features: of the frame, as `encode` gives them.
            binary: remember which pixels are in the mask, without how sure that is.
        """
        network = self.network
        absent = found.object_logit <= 0
        logits = found.logits.float().masked_fill(absent[..., None, None], ABSENT_LOGIT)
        size = (self.image_size, self.image_size)
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        mask = (logits > 0).float() if binary else logits.sigmoid()
        mask = mask * network.sigmoid_scale_for_mem_enc + network.sigmoid_bias_for_mem_enc
        encoded = network.memory_encoder(
            self.without_no_memory(features), mask, skip_mask_sigmoid=True
        )
        memory = encoded["vision_features"]
        if network.no_obj_embed_spatial is not None:  # SAM 2.1
            memory = memory + (absent * network.no_obj_embed_spatial)[..., None, None]
        return FrameMemory(found.pointer, memory)

    def attend_memory(
        self, features: SegmenterFeatures, bank: MemoryBank, index: int, length: int | None
    ) -> SegmenterFeatures:
        """Condition a frame's features on what is remembered.

        Args:
            features: of the frame, as `encode` gives them.
            index: number of the frame.
            length: frames of the whole video, by which object pointers are then timed; None: they
                are timed as in a long video.
        """
        network = self.network
        bare = self.without_no_memory(features)
        position = network.image_encoder.neck.position_encoding(bare)
        memories = next(iter(bank.prompted.values())).features
        places = network.memory_encoder.position_encoding(memories).to(bare.dtype)
        conditioned = network._prepare_memory_conditioned_features(
            frame_idx=index,
            is_init_cond_frame=False,
            current_vision_feats=[bare.flatten(2).permute(2, 0, 1)],
            current_vision_pos_embeds=[position.flatten(2).permute(2, 0, 1)],
            feat_sizes=[bare.shape[-2:]],
            output_dict={
                "cond_frame_outputs": _package_names(bank.prompted, places),
                "non_cond_frame_outputs": _package_names(bank.tracked, places),
            },
            # the package also takes frames from here on for frames that do not exist
            num_frames=length or max(index + 1, network.max_obj_ptrs_in_encoder),
        )
        return SegmenterFeatures(conditioned, features.levels)

    def new_memory_bank(self) -> MemoryBank:
        """An empty bank of the size that memory attention can reach."""
        return MemoryBank(
            window=self.network.num_maskmem - 1, pointers=self.network.max_obj_ptrs_in_encoder - 1
        )

    def padding_tokens(self, batch: int) -> Tensor:
        """The two tokens that the package decodes with where nobody prompts, B x 2 x C."""
        return self.prompt_encoder.not_a_point_embed.weight.expand(batch, 2, -1)

    def without_no_memory(self, features: SegmenterFeatures) -> Tensor:
        """The embedding as the image encoder gives it, without the no-memory embedding."""
        return features.embedding - self.network.no_mem_embed.view(1, -1, 1, 1)


def _package_names(memories: dict[int, FrameMemory], places: Tensor) -> dict[int, dict]:
    """Memories as the package calls their parts; all of them have the same places."""
    return {
        index: {
            "maskmem_features": memory.features,
            "maskmem_pos_enc": [places],
            "obj_ptr": memory.pointer,
        }
        for index, memory in memories.items()
    }
