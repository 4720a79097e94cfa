"""SegIC from pictures to masks, as its published program computes it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.segic.features import SegicSupport
from model.segic.network import Segic
from model.segic.text import INSTANCE, NO_TEXT, sentence_about
from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import assert_changes_are_seen, method_set
from tests.golden.segic_case import SegicCase, hint_values, mask, noted

CASES = {"one": "class", "one_no_text": NO_TEXT, "several": INSTANCE}


@pytest.fixture(scope="module")
def case() -> SegicCase:
    return SegicCase(method_set("segic"))


@pytest.fixture(scope="module")
def model(case: SegicCase) -> Segic:
    return case.model(case.facts["small"])


def restored(model: Segic, low: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at a picture's own size."""
    content = model.geometry.crop(model.enlarge(low), size)
    return F.interpolate(content[:, None], size, mode="bilinear", align_corners=False)


@torch.no_grad()
def run_pair(case: SegicCase, model: Segic, facts: dict, sentence: str) -> Weights:
    """One reference with one or several masks, and one target."""
    name, *size = facts["target"]
    target, features = case.encode(model, name, *size)
    dual, dual_features = case.encode(model, *facts["reference"])
    masks = torch.stack([model.geometry.mask(mask(*one)) for one in facts["reference_mask"]])
    count = len(masks)
    cells = dual_features.cells.expand(count, -1, -1, -1)[:, None]
    support = model.support(cells, masks[:, None], [sentence] * count)
    supports = [
        SegicSupport(*(value[row : row + 1] for value in vars(support).values()))
        for row in range(count)
    ]
    with noted(model.decoder) as notes:
        predictions = model.predict_together(features, supports)
    low = notes.decoded[-1].logits[:, 0]
    step = model.image_size // 56
    found = {
        "input_image_stride4": target[0, :, ::step, ::step],
        "input_image_dual_stride4": dual[0, :, ::step, ::step],
        "input_label_dual_stride2": masks[:, ::2, ::2],
        "features_sliced": torch.cat([features.cells, dual_features.cells])[:, ::16],
        "neck_sliced": notes.embeddings[-1][:1, ::16],
        "prototype0": support.prototypes[:, 0],
        **hint_values(model.decoder, notes),
        "logits_stride2": restored(model, low, tuple(size))[..., ::2, ::2],
    }
    for one, prediction in zip(low, predictions, strict=True):
        inside = prediction.logits > -1000
        assert torch.equal(prediction.logits[inside], model.enlarge(one[None])[inside])
    return found


@pytest.mark.parametrize("name", CASES)
def test_pairs(case: SegicCase, model: Segic, name: str):
    facts = case.facts[name.removesuffix("_no_text")]
    sentence = CASES[name]
    if sentence == "class":
        sentence = sentence_about(facts["class_name"])
    expected = case.golden.tensors("segic_inference", f"{name}/")
    found = run_pair(case, model, facts, sentence)
    assert_close({key: found[key] for key in found if key in expected}, expected)


@pytest.mark.slow
def test_a_pair_at_full_size(case: SegicCase):
    """Of large maps the files hold fewer places."""
    expected = case.golden.tensors("segic_full", "full/")
    facts = case.facts["full_case"]
    model = case.model(case.facts["full"])
    found = run_pair(case, model, facts, sentence_about(facts["class_name"]))
    for name in ("features_sliced", "neck_sliced", "dense_sliced"):
        found[name] = found[name][..., ::4, ::4]
    found["low_res4_stride4"] = found["low_res4"][..., ::4, ::4]
    found["logits_stride4"] = found["logits_stride2"][..., ::2, ::2]
    assert_close({key: found[key] for key in found if key in expected}, expected)


@torch.no_grad()
def run_classes(case: SegicCase, model: Segic, zeroed: bool) -> tuple[Weights, Weights]:
    """References of several classes, each from its own picture; also the files' numbers."""
    facts, supports = case.facts["classes"], []
    for row, (name, *size, shape, value, class_name) in enumerate(facts["references"]):
        _, features = case.encode(model, name, *size)
        soft = model.geometry.sample(torch.from_numpy(mask(*shape))[None] * (value / 255))
        side = model.image_size
        soft = F.pad(soft, (0, side - soft.shape[2], 0, side - soft.shape[1]))
        support = model.support(features.cells[None], soft[None], [sentence_about(class_name)])
        silent = zeroed and row in facts["zeroed"]
        supports.append(support.silenced() if silent else support)
    name, *size = facts["target"]
    _, features = case.encode(model, name, *size)
    with noted(model.decoder) as notes:
        predictions = model.predict_together(features, supports)
    found = hint_values(model.decoder, notes)
    own = restored(model, notes.decoded[-1].logits[:, 0], tuple(size))
    found["logits_stride2"] = own[..., ::2, ::2]
    found["extracted_text"] = torch.stack([support.meta for support in supports])
    found["extracted_prototype"] = torch.cat([support.prototypes for support in supports])
    return found, {"mask_score": torch.cat([one.quality for one in predictions])}


@pytest.mark.parametrize("name", ["classes", "classes_zeroed"])
def test_classes(case: SegicCase, model: Segic, name: str):
    expected = case.golden.tensors("segic_inference", f"{name}/")
    found, numbers = run_classes(case, model, name == "classes_zeroed")
    assert_close({key: found[key] for key in found if key in expected}, expected)
    listed = case.golden.json("segic_inference.json")["numbers"]
    expected = {key: torch.tensor(listed[f"{name}/{key}"]) for key in numbers}
    assert_close(numbers, expected)


def test_places_of_the_picture(case: SegicCase, model: Segic):
    name = "dense_position_sliced"
    expected = case.golden.tensors("segic_inference", name)
    assert_close({"": model.decoder.dense_position()[:, ::16]}, expected)


@pytest.mark.parametrize("name", ["one", "one_no_text", "several", "classes", "classes_zeroed"])
def test_a_changed_value_is_seen(case: SegicCase, name: str):
    assert_changes_are_seen(case.golden.tensors("segic_inference", f"{name}/"))


def test_a_changed_value_is_seen_at_full_size(case: SegicCase):
    assert_changes_are_seen(case.golden.tensors("segic_full", "full/"))
