"""One training step of SegIC as its released program makes it, in both directions."""

import zlib
from dataclasses import dataclass
from functools import cached_property

import pytest
import torch
from torch import Tensor

from common.pixels import standardize
from model.point_losses import PointDraws, point_losses, sample, unsure_points
from model.sam.segmenter import BOX_TOP_LEFT
from model.segic.config import SegicLossOptions
from model.segic.features import SegicFeatures
from model.segic.network import Segic
from model.segic.training import PairDraws, WayDraws, pair_losses
from tests.golden.fill import MASKS
from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import MethodSet, assert_changes_are_seen, method_set
from tests.golden.segic_case import Notes, SegicCase, noted
from tests.training_pairs import Pairs, Shown

WAYS = ("forward", "reverse")
TOLERANCES = {"point[0-3]|box": 0.0, r".*point_label_sum": 2e-2, "": 1e-4}
NORM_SCALE = 1e-3
"""Largest difference of a gradient's norm, relative; 1e-6 absolute."""


@dataclass(frozen=True)
class TrainingCase(SegicCase):
    """The step's pictures, masks and scripted numbers."""

    @cached_property
    def training(self) -> dict:
        return self.facts["train"]

    def features(self, model: Segic, part: str) -> SegicFeatures:
        """Pictures that came to the square before: all of them, and then 0 outside of a part."""
        side = self.facts["small"]
        images = []
        for name, _, _, (height, width) in self.training[part]:
            pixels = torch.from_numpy(self.picture(name, side, side).transpose(2, 0, 1).copy())
            image = torch.zeros(3, side, side)
            image[:, :height, :width] = standardize(pixels.float())[:, :height, :width]
            images.append(image)
        return model.encode(torch.stack(images))

    def objects(self, part: str) -> tuple[Shown, ...]:
        rows = ([MASKS[kind](*n) for kind, *n in row[2]] for row in self.training[part])
        return tuple(Shown.of(*row) for row in rows)

    def pairs(self) -> Pairs:
        kinds = ["instance" if single else "semantic" for single in self.training["is_inst"]]
        names = tuple(self.training["class_name"])
        return Pairs(self.objects("duals"), self.objects("images"), tuple(kinds), names)

    def draws(self) -> list[PairDraws]:
        """A box or negatives are there where the scripted number is at least one half."""
        counts = [row[1] for row in self.training["images"]]
        uniform, ways = self.training["uniform"], []
        for number, way in enumerate(WAYS):
            texts = uniform["text"][2 * number : 2 * number + 2]
            others = [1 - value for value in uniform[way]]
            points = self.points(way).split(counts)
            triples = zip(texts, others[::2], others[1::2], points, strict=True)
            ways.append([WayDraws(*triple) for triple in triples])
        return [PairDraws(*both) for both in zip(*ways, strict=True)]

    def points(self, way: str) -> "Points":
        shapes = {"candidates": (4, 37632, 2), "random": (4, 3136, 2)}
        drawn = []
        for kind, shape in shapes.items():
            seed = zlib.crc32(f"{self.prefix}input/points/{way}/{kind}".encode())
            drawn.append(torch.rand(shape, generator=torch.Generator().manual_seed(seed)))
        return Points(*drawn)


class Points(PointDraws):
    def split(self, counts: list[int]) -> list[PointDraws]:
        parts = (self.candidates.split(counts), self.fresh.split(counts))
        return [PointDraws(*both) for both in zip(*parts, strict=True)]


@pytest.fixture(scope="module")
def golden() -> MethodSet:
    return method_set("segic")


def step(case: TrainingCase, model: Segic) -> tuple[Weights, Notes, Tensor]:
    """What the file holds of the step, but for gradients; its notes and the loss."""
    target, reference = (case.features(model, part) for part in ("images", "duals"))
    pairs = case.pairs()
    with noted(model.decoder) as notes:
        losses = pair_losses(model, target, reference, pairs, SegicLossOptions(), case.draws())
    loss = sum(losses.values())
    found = {
        "features_sliced": torch.cat([target.cells, reference.cells])[:, ::32],
        "loss": loss.detach(),
    }
    texts = ["a photo of a dog", "please segment the instances", "", "please segment the instances"]
    found["text"] = model.sentences(texts)
    for number, hints in enumerate(notes.hints):
        own = hints.prototypes
        if hints.own is not None:
            own = own[hints.own]
        found[f"prototype{number}"] = own.reshape(len(hints.maps), -1)
        found[f"point{number}"] = hints.points[:, :1].float()
        found[f"sparse{number}"] = model.decoder.sparse_tokens(hints)
        if BOX_TOP_LEFT in hints.labels:
            found[f"box{number}"] = hints.points[:, 1:].flatten(1).float()
    for way, calls in zip(WAYS, (notes.decoded[:2], notes.decoded[2:]), strict=True):
        low = torch.cat([call.logits[:, 0] for call in calls])
        objects = pairs.query if way == "forward" else pairs.support
        truth = torch.cat([one.masks.float() for one in objects])
        draws = case.points(way)
        points = unsure_points(low, draws)
        each = torch.stack(point_losses(low, truth, draws), dim=1)
        found[f"{way}_low_res"] = low[:, None]
        found[f"{way}_entropy_dice_per_mask"] = each
        found[f"{way}_loss"] = torch.cat([each.mean(0), each.mean(0).sum()[None]])
        found[f"{way}_point_logits_sorted_stride196"] = (
            sample(low, points).sort(dim=1).values[:, ::196]
        )
        found[f"{way}_point_label_sum"] = sample(truth, points).sum(dim=1)
        if way == "forward":
            guess = (model.enlarge(low) > 0).float()
            found["predicted_reference_stride2"] = guess[:, ::2, ::2]
    return {name: value.detach() for name, value in found.items()}, notes, loss


def test_a_step_in_both_directions(golden: MethodSet):
    case = TrainingCase(golden)
    model = case.model(case.facts["small"]).train()
    found, _, loss = step(case, model)
    loss.backward()
    gradients = {name: p.grad for name, p in model.decoder.named_parameters()}
    expected = golden.tensors("segic_training", "train/")
    listed = [name.removeprefix("grad/") for name in expected if name.startswith("grad/")]
    found |= {f"grad/{name}": gradients[name] for name in listed}
    guessed = "predicted_reference_stride2"
    wrong = found.pop(guessed) != expected.pop(guessed)
    assert wrong.float().mean() <= 1e-3
    assert_close(found, expected, TOLERANCES)

    norms = golden.json("segic_training.json")["numbers"]["train/gradient_norm"]
    assert norms.keys() == gradients.keys()
    for name, norm in norms.items():
        gradient = gradients[name]
        assert (gradient is None) == (norm is None), name
        if norm is not None:
            assert gradient.norm().item() == pytest.approx(norm, rel=NORM_SCALE, abs=1e-6), name
    frozen = [*model.backbone.parameters()]
    assert frozen
    assert all(parameter.grad is None for parameter in frozen)


def test_changed_values_are_seen(golden: MethodSet):
    expected = golden.tensors("segic_training", "train/")
    assert_changes_are_seen(expected, {**TOLERANCES, "point[0-3]|box": 0.1})
