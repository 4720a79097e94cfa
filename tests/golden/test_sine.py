"""SINE's numbers: tokens, fusion, layers, heads, semantic masks and instances."""

import pytest
import torch

from model.sine.canvas import Canvas
from model.sine.features import SineFeatures
from model.sine.network import SHARPNESS
from model.sine.references import inside_of, pool
from model.sine.results import score_instances
from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import assert_changes_are_seen, method_set
from tests.golden.sine_case import (
    PUBLISHED,
    SineCase,
    bits,
    drawn_mask,
    flips,
    former_values,
)

FLIPPED = 3
"""Pixels of a mask that may fall to the other side."""
TOLERANCES = {
    r".*(_inside|blocked|labels|classes)": 0,
    r".*area": FLIPPED,
    r".*boxes": 0.5,
    r".*scores": 1e-4,
    "": 1e-4,
}
MASKS = ("prediction", "masks")


@pytest.fixture(scope="module")
def case() -> SineCase:
    return SineCase(method_set("sine"))


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def assert_agrees(found: Weights, case: SineCase, name: str) -> None:
    """Every value of a file, and of masks all but a few pixels."""
    expected, found = case.golden.tensors(name), case.kept(name, found)
    masks = [n for n in expected if n.rpartition("/")[2] in MASKS]
    assert {n for n in found if n.rpartition("/")[2] in MASKS} == {*masks}
    for n in masks:
        assert flips(found[n], expected[n]) <= FLIPPED, n
    # tensors without numbers (no identity was asked for) agree by their shapes
    empty = {n for n, value in expected.items() if not value.numel()}
    assert all(found[n].shape == expected[n].shape for n in empty)
    skipped = {*masks, *empty}
    assert_close(
        {n: v for n, v in found.items() if n not in skipped},
        {n: v for n, v in expected.items() if n not in skipped},
        TOLERANCES,
    )


def test_encoder_and_neck(case: SineCase):
    side, content = case.facts["fss"]["canvas"], case.facts["fss"]["image"]
    model = case.model("encoder", Canvas(side, fit="squashed"))
    assert model.geometry.content((33, 44)) == (content, content)
    canvas = case.picture("query", content, content, side)
    vit = model.backbone.network.transformer
    blocks: list[torch.Tensor] = []
    hooks = [
        vit.blocks[0].register_forward_hook(
            lambda _, given, answer: blocks.extend((given[0], answer))
        ),
        vit.blocks[-1].register_forward_hook(lambda _, __, answer: blocks.append(answer)),
    ]
    maps = model.dense(canvas)
    for hook in hooks:
        hook.remove()
    first, after, last = blocks
    grid = (side // 14,) * 2
    position = model.backbone.network.patch_positions(grid).flatten(2).transpose(1, 2)
    found = {
        "canvas": canvas[..., ::7, ::7],
        "patch_embed": (first[:, 1:] - position)[..., ::4],
        "position": position[..., ::4],
        "class_token": first[:, 0],
        "block0": after[..., ::4],
        "prenorm": last[..., ::4],
    }
    assert torch.equal(maps.flatten(2).transpose(1, 2), last[:, 1:])
    for number, layer in enumerate(model.neck):
        maps = layer(maps)
        found[f"neck{number}"] = maps[:, ::4]
    assert_agrees(found, case, "sine_encoder")


def test_semantic_masks_from_one_and_five_shots(case: SineCase):
    side, content = case.facts["fss"]["canvas"], case.facts["fss"]["image"]
    model = case.model("fss", Canvas(side, fit="squashed"), PUBLISHED)
    query = model.encode(case.picture("query", content, content, side))
    pictures = [case.picture(f"support{n}", content, content, side) for n in range(5)]
    references = model.encode(torch.cat(pictures))
    masks = torch.stack([drawn_mask(s, side) for s in case.facts["fss_support_masks"]])
    kind, *numbers = case.facts["fss_query_mask"]
    truth = drawn_mask((kind, *numbers), side)[:content, :content] > 0
    found = {}
    for shots in (1, 5):
        support = model.encode_support(references[:shots], masks[None, :shots])
        values = former_values(model.former, query, support.identities, support.classes)
        inside = inside_of(masks[:shots], 4 * query.maps.shape[-1], plain=True)
        scores = model.predict(query, support).logits / SHARPNESS + model.rules.threshold
        scores = model.geometry.crop(scores, (content, content))
        mask = scores[0] > model.rules.threshold
        both, either = (
            torch.stack([one.sum().float() for one in pair])
            for pair in ((~mask & ~truth, mask & truth), (~mask | ~truth, mask | truth))
        )
        values |= {
            "pool0": support.identities.transpose(0, 1),
            "pool1": support.classes,
            "pool0_inside": bits(inside[:, None]),
            "pool1_inside": bits(torch.cat(list(inside), dim=1)[None, None]),
            "semantic": scores,
            "prediction": bits(mask[None]),
            "area_intersection": both,
            "area_union": either,
        }
        if shots == 5:
            values = {n: v for n, v in values.items() if n[:6] not in middle_layers()}
        found |= {f"shots{shots}/{name}": value for name, value in values.items()}
    assert_agrees(found, case, "sine_fss")


def middle_layers() -> set[str]:
    """Of which the files hold nothing for five shots."""
    return {f"layer{number}" for number in range(1, 6)}


class PublishedCut(Canvas):
    """The target's size on the canvas and its own size do not go together there."""

    def content(self, size: tuple[int, int]) -> tuple[int, int]:
        return 224, 168


def test_instances_of_six_classes(case: SineCase):
    facts = case.facts["instance"]
    side, size = facts["canvas"], tuple(facts["output"])
    model = case.model("instance", PublishedCut(side), PUBLISHED)
    shapes = facts["references"]
    pictures = [
        case.picture(f"reference{n}", height, width, side)
        for n, (_, height, width, _) in enumerate(shapes)
    ]
    references = model.encode(torch.cat(pictures))
    masks = torch.stack([drawn_mask(shape, side) for *_, shape in shapes])
    classes = [class_id for class_id, *_ in shapes]
    order = list(dict.fromkeys(classes))
    supports = []
    for class_id in order:
        rows = [n for n, one in enumerate(classes) if one == class_id]
        supports.append(
            model.encode_support(SineFeatures(references.maps[rows]), masks[None, rows])
        )
    target = model.encode(case.picture("target", *facts["target"], side))
    identities = pool(references.maps, masks, plain=True).tokens()
    tokens = torch.cat([support.classes for support in supports], dim=1)
    found = {
        "id_labels": torch.tensor(classes),
        "id_queries": identities,
        "seg_labels": torch.tensor(order),
        "seg_queries": tokens[0],
    }
    [instances] = model.find_instances(target, supports, [size])
    answer = model.former(target.maps, identities[None], tokens)[-1]
    with_identities = score_instances(
        answer.probabilities[0],
        answer.instance_masks[0],
        model.instance_geometry,
        size,
        most=100,
        inclusive_boxes=True,
    )
    lots = {
        "without_id": (identities[None, :0], instances),
        "with_id": (identities[None], with_identities),
    }
    for name, (known, lot) in lots.items():
        values = former_values(model.former, target, known, tokens)
        values |= {
            "scores": lot.scores,
            "classes": torch.tensor(order)[lot.concepts],
            "boxes": lot.boxes,
            "areas": lot.masks.flatten(1).sum(1).float(),
            "masks": bits(lot.masks[:, ::2, ::2]),
        }
        held = case.golden.tensors("sine_instance", f"{name}/")
        found |= {f"{name}/{n}": v for n, v in values.items() if n in held}
    assert_agrees(found, case, "sine_instance")


@pytest.mark.parametrize("name", ["sine_encoder", "sine_fss", "sine_instance", "sine_vos"])
def test_a_changed_value_is_seen(case: SineCase, name: str):
    values = {n: value for n, value in case.golden.tensors(name).items() if value.numel()}
    assert_changes_are_seen(values, TOLERANCES)
