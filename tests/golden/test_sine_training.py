"""One training step of SINE as its released program makes it: matching, losses, gradients."""

import re
import zlib
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from model.point_losses import PointDraws
from model.sine import criterion, training
from model.sine.canvas import Canvas
from model.sine.criterion import Answers, SamplePoints
from model.sine.matching import Matching
from model.sine.network import Sine
from model.sine.released_names import renamed
from model.sine.training import pair_losses, targets_of
from tests.golden.golden_set import REPOSITORY_SET, Weights, assert_close
from tests.golden.method_set import MethodSet, assert_changes_are_seen, method_set
from tests.golden.sine_case import PUBLISHED, SineCase, drawn_mask

TOLERANCES = {"gradient": 5e-4, "": 1e-4}
"""Of gradients: as parts of the largest number in each."""
KEPT = r"gradient/|loss_total|.*_logits|.*layer[06]/"
"""Which of the values are in the repository."""
ROWS = {0: [0, 1, 5, 6], 1: [2, 3, 4]}
"""Of each sample's masks, instances first, the places in the released program's order."""


@dataclass(frozen=True)
class DrawnObjects:
    """What a view of the case shows."""

    masks: Tensor
    class_ids: Tensor
    ids: Tensor


@dataclass(frozen=True)
class DrawnPairs:
    """The case's samples."""

    support_names: list[str]
    query_names: list[str]
    support: list[DrawnObjects]
    query: list[DrawnObjects]


class RecordedPoints(SamplePoints):
    """The points of one sample, cut out of what the released program drew for both."""

    def __init__(self, prefix: str, shapes: list[list[int]], sample: int) -> None:
        """
        Args:
            shapes: of all draws, in their order: for each output one for the matching of each
                sample, then two for all masks.
        """
        self.prefix, self.shapes, self.sample, self.output = prefix, shapes, sample, -1

    def shared(self) -> Tensor:
        self.output += 1
        return self._draw(self.sample)

    def of_masks(self, count: int) -> PointDraws:
        rows = ROWS[self.sample]
        assert count == len(rows)
        return PointDraws(self._draw(2)[rows], self._draw(3)[rows])

    def _draw(self, place: int) -> Tensor:
        number = 4 * self.output + place
        generator = torch.Generator()
        generator.manual_seed(zlib.crc32(f"{self.prefix}input/rand{number}".encode()))
        return torch.rand(self.shapes[number], generator=generator)


@dataclass(frozen=True)
class Step:
    """What came of a step."""

    model: Sine
    losses: dict[str, Tensor]
    answers: list[list[Answers]]
    """By layer, of each sample."""
    matchings: list[Matching]
    """Of instances, by output and sample."""
    identities: list[Matching]
    facts: dict[str, Any]


def objects_of(rows: list, side: int) -> DrawnObjects:
    classes, ids, shapes = zip(*rows, strict=True)
    masks = torch.stack([drawn_mask(shape, side) for shape in shapes]) > 0
    return DrawnObjects(masks, torch.tensor(classes), torch.tensor(ids))


@pytest.fixture(scope="module")
def golden() -> MethodSet:
    return method_set("sine")


@pytest.fixture(scope="module")
def step(golden: MethodSet) -> Step:
    case = SineCase(golden)
    facts, told = case.facts["train"], golden.json("sine_train.json")["meta"]
    samples, side = facts["samples"], facts["canvas"]
    pairs = DrawnPairs(
        [f"picture {i}" for i, _ in enumerate(samples)],
        [f"picture {i}" if s["same_image"] else "other" for i, s in enumerate(samples)],
        *(
            [objects_of(sample[view], side) for sample in samples]
            for view in ("reference", "target")
        ),
    )
    shapes = told["shapes of the random draws in order"]
    points = [RecordedPoints(case.facts["prefix"], shapes, sample) for sample in ROWS]
    model = case.model("train", Canvas(side), PUBLISHED).train()
    references, targets = (
        model.encode(
            torch.cat([case.picture(f"train{i}_{view}", *size, side) for i, size in sizes])
        )
        for view, sizes in (
            ("reference", [(i, (side, side)) for i, _ in enumerate(samples)]),
            ("target", [(i, sample["target_size"]) for i, sample in enumerate(samples)]),
        )
    )
    answers: list[list[Answers]] = []
    matchings: list[Matching] = []
    compare, match = training.sine_losses, criterion.match_instances

    def noting(layers, *given):
        answers.extend(layers)
        return compare(layers, *given)

    def noting_matches(*given):
        matchings.append(match(*given))
        return matchings[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "sine_losses", noting)
        patch.setattr(criterion, "match_instances", noting_matches)
        losses = pair_losses(model.former, targets.maps, references.maps, pairs, points, True)
    sum(losses.values()).backward()
    identities = [target.identities for target in targets_of(pairs)]
    return Step(model, losses, answers, matchings, identities, told)


def test_the_matching(step: Step):
    (told,) = [value for name, value in step.facts.items() if name.startswith("matching")]
    instances = iter(step.matchings)
    for identities, found in told:
        for sample, pairs in enumerate(identities):
            assert as_lists(step.identities[sample]) == pairs
        for pairs in found:
            assert as_lists(next(instances)) == pairs
    assert next(instances, None) is None


def as_lists(matching: Matching) -> list[list[int]]:
    return [matching.queries.tolist(), matching.objects.tolist()]


def test_the_losses(step: Step):
    told = step.facts["losses, weighted"]
    assert step.losses.keys() == told.keys()
    for name, value in told.items():
        assert step.losses[name].item() == pytest.approx(value, rel=1e-5), name


def test_the_norms_of_all_gradients(step: Step):
    ours = dict(step.model.named_parameters())
    told = {renamed(name): norm for name, norm in step.facts["gradient norms"].items()}
    learning = {name: p for name, p in ours.items() if p.requires_grad}
    assert learning.keys() == told.keys()
    for name, norm in told.items():
        tolerance = 5e-3 if name.endswith("temperature") else 5e-4
        assert learning[name].grad.norm().item() == pytest.approx(norm, rel=tolerance), name
    whole = torch.stack([p.grad.norm() for p in learning.values()]).norm()
    assert whole.item() == pytest.approx(step.facts["gradient norm, all"], rel=1e-4)
    count = sum(p.numel() for p in learning.values())
    assert count == step.facts["trainable parameters (ViT-S, 20 queries)"]


def test_heads_and_gradients(step: Step, golden: MethodSet):
    expected = golden.tensors("sine_train")
    found: Weights = {"loss_total": sum(step.losses.values()).detach()}
    for layer, samples in enumerate(step.answers):
        for sample, answer in enumerate(samples):
            found |= {
                f"sample{sample}/layer{layer}/pred_{name}": value.detach()[None]
                for name, value in (
                    ("id_logits", answer.identity_logits),
                    ("ins_logits", answer.instance_logits),
                    ("id_masks", answer.identity_masks[..., ::5, ::5]),
                    ("ins_masks", answer.instance_masks[..., ::5, ::5]),
                )
            }
    ours = dict(step.model.named_parameters())
    for name in expected:
        if name.startswith("gradient/"):
            gradient = ours[renamed(name.removeprefix("gradient/"))].grad
            shape = expected[name].shape
            if gradient.shape != shape:
                gradient = gradient.flatten(1)[::16, ::16]
            found[name] = gradient
    if golden.folder.is_relative_to(REPOSITORY_SET):
        found = {name: value for name, value in found.items() if re.match(KEPT, name)}
    assert_close(relative(found, expected), relative(expected, expected), TOLERANCES)


def relative(values: Weights, scale: Weights) -> Weights:
    """Gradients and the loss as parts of the largest number in each."""
    return {
        name: value / scale[name].abs().max() if name.startswith(("gradient/", "loss")) else value
        for name, value in values.items()
    }


def test_changed_values_are_seen(golden: MethodSet):
    values = golden.tensors("sine_train")
    assert_changes_are_seen(relative(values, values), TOLERANCES)
