"""SANSA's golden case: its model and inputs, and a run that notes what each frame was made of."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.sam.sam2 import ObjectMask, Sam2
from model.sam.segmenter import DecodedMasks
from model.sansa.adapters import adapter_widths, add_adapters
from model.sansa.features import EncodedImages
from model.sansa.network import Sansa
from tests.golden.fill import MASKS, fill, image
from tests.golden.golden_set import Weights, summary
from tests.golden.method_set import MethodSet
from tests.helpers import sam2_without_weights


@dataclass
class Notes:
    """What SAM 2's parts were given and said, call by call."""

    decoded: list[tuple[Tensor, Tensor, Tensor, DecodedMasks]] = field(default_factory=list)
    """Embedding, tokens, dense prompts, and all masks."""
    remembered: list[tuple[ObjectMask, Tensor]] = field(default_factory=list)
    """What was found in a frame, and its memory."""
    attended: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)
    """Memory's tokens, their positions, and how many are pointers."""


@contextmanager
def noted(segmenter: Sam2) -> Iterator[Notes]:
    """Note what is decoded, remembered and attended to meanwhile."""
    notes = Notes()
    decode_all, encode_memory = segmenter.decode_all, segmenter.encode_memory

    def note_decoded(features, tokens, dense=None):
        decoded = decode_all(features, tokens, dense)
        if dense is None:
            dense = segmenter.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        dense = dense.expand_as(features.embedding)
        notes.decoded.append((features.embedding, tokens, dense, decoded))
        return decoded

    def note_remembered(features, found, binary):
        memory = encode_memory(features, found, binary)
        notes.remembered.append((found, memory.features))
        return memory

    def note_attended(_, __, given):
        pointers = given["num_obj_ptr_tokens"]
        notes.attended.append((given["memory"], given["memory_pos"], pointers))

    attention = segmenter.network.memory_attention
    hook = attention.register_forward_pre_hook(note_attended, with_kwargs=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "decode_all", note_decoded)
        patch.setattr(segmenter, "encode_memory", note_remembered)
        yield notes
    hook.remove()


@contextmanager
def encoder_noted(segmenter: Sam2, found: Weights) -> Iterator[None]:
    """Note what an image is on its way through the encoder, under the names of the file."""
    trunk = segmenter.network.image_encoder.trunk
    ends = trunk.stage_ends
    places = {
        ends[1] + 1: "stage2_first",
        ends[2]: "stage2_last",
        ends[2] + 1: "stage3_first",
        ends[3]: "stage3_last",
    }

    def note_input(_, given):
        found["resized_s"] = given[0][0, :, ::64, ::64]

    def note_stages(_, __, outputs):
        for stage, output in enumerate(outputs):
            found[f"stage{stage}_s"] = output[:, ::16, ::8, ::8]
            found[f"stage{stage}_mean_c"] = output.mean((2, 3))

    hooks = [
        trunk.register_forward_pre_hook(note_input),
        trunk.register_forward_hook(note_stages),
    ]
    for index, place in places.items():

        def note_adapter(_, given, answer, place=place):
            found[f"adapter_{place}_in_s"] = given[0][:, ::8, ::8, ::16]
            found[f"adapter_{place}_out_s"] = answer[:, ::8, ::8, ::16]

        def note_block(_, __, answer, place=place):
            found[f"block_{place}_s"] = answer[:, ::8, ::8, ::16]

        block = trunk.blocks[index]
        hooks.append(block.adapter.register_forward_hook(note_adapter))
        hooks.append(block.register_forward_hook(note_block))
    yield
    for hook in hooks:
        hook.remove()


@dataclass(frozen=True)
class SansaCase:
    """Weights and inputs, drawn anew by the fill rule."""

    golden: MethodSet

    @cached_property
    def facts(self) -> dict:
        return self.golden.json("case.json")

    @cached_property
    def model(self) -> Sansa:
        """SAM 2.0 tiny with adapters, of filled weights."""
        segmenter = sam2_without_weights("sam2_hiera_t", object_scores=False)
        trunk = segmenter.network.image_encoder.trunk
        add_adapters(trunk, adapter_widths(trunk, self.facts["channel_factor"]))
        prefix = self.facts["prefix_of_weights"] + "sam."
        filled = {
            name: fill(prefix + name, value.shape)
            for name, value in segmenter.network.state_dict().items()
        }
        segmenter.network.load_state_dict(filled, assign=True)
        _rebuild_constants(segmenter)
        return Sansa(segmenter, self.facts["image_size_given"]).eval()

    @cached_property
    def images(self) -> Tensor:
        side, prefix = self.facts["image_size_given"], self.facts["prefix_of_inputs"]
        return torch.cat([image(f"{prefix}image{i}", 1, side, side) for i in range(4)])

    @cached_property
    def masks(self) -> Tensor:
        """4 x H x W."""
        shapes = self.facts["masks"]
        return torch.stack([sum(MASKS[k](*n) for k, *n in mask).clamp(max=1) for mask in shapes])

    @cached_property
    def encoder_notes(self) -> list[Weights]:
        """Of each image, what the file holds of its way through the adapted encoder."""
        return [{} for _ in self.images]

    @cached_property
    @torch.no_grad()
    def encoded(self) -> EncodedImages:
        """All images; what happens on the way is noted."""
        parts = []
        for picture, notes in zip(self.images, self.encoder_notes, strict=True):
            with encoder_noted(self.model.segmenter, notes):
                parts.append(self.model.encode(picture[None]))
        return EncodedImages.join(parts)

    def marks(self, name: str, kinds: Sequence[str], frames: Sequence[int]) -> Tensor:
        """What the references of a case were prompted with, 1 x K x H x W."""
        prompted = any(kind != "mask" for kind in kinds)
        given = self.golden.tensors("sansa_infer", f"{name}/prompt") if prompted else {}
        return torch.stack(
            [
                self.masks[frame]
                if kind == "mask"
                else drawn_mark(given[f"{shot}_coords"][0], kind, self.masks.shape[-1])
                for shot, (kind, frame) in enumerate(zip(kinds, frames, strict=False))
            ]
        )[None]

    @torch.no_grad()
    def run(self, name: str) -> Weights:
        """Everything that the file holds of a case but for the given prompts."""
        facts, model, segmenter = self.facts["cases"][name], self.model, self.model.segmenter
        kinds, frames = facts["kinds"], facts["frames"]
        shots, size = len(kinds), self.masks.shape[-2:]
        with noted(segmenter) as notes:
            images = EncodedImages(self.encoded.sam[torch.tensor(frames)], size)
            marks = self.marks(name, kinds, frames)
            support = model.encode_support(images[:shots], marks, [kinds])
            video = model.video([support])
            with pytest.MonkeyPatch.context() as patch:
                shown = iter(range(shots, len(frames)))
                patch.setattr(model, "encode", lambda _: images[(t := next(shown)) : t + 1])
                logits = [video.step(torch.empty(1, 3, *size)).logits for _ in frames[shots:]]
        found: Weights = {}
        for frame in range(len(frames)):
            values = self._frame(notes, frame, shots)
            found |= {f"frame{frame}/{key}": value for key, value in values.items()}
        found |= {f"logits{shots + n}_s": x[0, ::8, ::8] for n, x in enumerate(logits)}
        drawn = model.enlarge(support.drawn.transpose(0, 1), size)
        found["logits_stats"] = summary(torch.cat([drawn, *logits]))
        pointers = [seen.pointer for seen, _ in notes.remembered]
        found["pointers"] = torch.cat(pointers)[:, ::2]
        predicted, truth = logits[-1][0] > 0, self.masks[frames[-1]] > 0
        areas = (predicted & truth, predicted | truth, predicted, truth)
        found["areas"] = torch.stack([area.sum().float() for area in areas])
        return found

    def _frame(self, notes: Notes, frame: int, shots: int) -> Weights:
        embedding, tokens, dense, decoded = notes.decoded[frame]
        remembered, memory = notes.remembered[frame]
        target = frame >= shots
        masks = slice(1, 4) if target else slice(0, 1)
        side = (self.model.segmenter.image_size,) * 2
        large = F.interpolate(remembered.logits, side, mode="bilinear", align_corners=False)
        values = {
            "sparse_first_last": torch.cat([tokens[:, :3], tokens[:, -2:]], dim=1),
            "sparse_sum": tokens.sum(1),
            "dense_s": dense[:, ::16, ::8, ::8],
            "decoded_avg4": F.avg_pool2d(decoded.logits[:, masks], 8 if target else 4),
            "ious": decoded.quality[:, masks],
            "mask_tokens_s": decoded.tokens[:, masks, ::4],
            "memory_mask_avg16": F.avg_pool2d(large, 16),
            "memory_s": memory[:, ::4, ::4, ::4],
            "memory_mean_c": memory.mean((2, 3)),
        }
        if target:
            given, positions, pointers = notes.attended[frame - shots]
            values |= {
                "memory_length": torch.tensor([len(given), pointers]),
                "memory_tokens_s": given[::61, :, ::4],
                "memory_positions_s": positions[::61, :, ::4],
                "conditioned_s": embedding[:, ::8, ::4, ::4],
            }
        return values


def drawn_mark(coordinates: Tensor, kind: str, side: int) -> Tensor:
    """The mark of which a reference's points, N x 2, or box corners were read."""
    mark = torch.zeros(side, side)
    columns, rows = coordinates.long().T
    if kind == "box":
        mark[rows[0] : rows[1], columns[0] : columns[1]] = 1
    else:
        mark[rows, columns] = 1
    return mark


def _rebuild_constants(segmenter: Sam2) -> None:
    """What the package computes as it builds, and no state dict holds: drawn where it is used."""
    for module in segmenter.network.modules():
        if hasattr(module, "freqs_cis"):
            module.freqs_cis = module.compute_cis(end_x=64, end_y=64)
        if hasattr(module, "cache"):
            module.cache.clear()
