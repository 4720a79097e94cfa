"""PerSAM and PerSAM-F on pictures answer as the published program, decoder pass by decoder pass."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from model.persam import network
from model.persam.features import Pictures, Support
from model.persam.frame import Frame
from model.persam.location import cosine_map, find_target, highest_places, locate, released_mask
from model.persam.network import PerSamImages
from model.persam.rules import Rules, Training
from model.sam.sam1 import Sam
from tests.golden.golden_set import Weights
from tests.golden.method_set import method_set
from tests.golden.persam_case import PersamCase
from tests.golden.persam_log import (
    Log,
    assert_equal,
    feature_values,
    logged,
    logged_training,
    named,
    stats,
    training_values,
)

RELEASED = Rules(released_guidance=True)


@pytest.fixture(scope="module")
def case() -> PersamCase:
    return PersamCase.of(method_set("persam"))


@pytest.fixture(scope="module")
def sam(case: PersamCase) -> Sam:
    return case.sam()


@pytest.fixture(scope="module")
def encoded(case: PersamCase, sam: Sam) -> Callable[[int, int], Pictures]:
    """Pictures by number, each encoded once."""
    method, known = PerSamImages(sam, RELEASED), {}

    def encode(number: int, crc: int) -> Pictures:
        if number not in known:
            known[number] = encode_picture(method, case.image(number, crc))
        return known[number]

    return encode


def encode_picture(method: PerSamImages, pixels: np.ndarray) -> Pictures:
    sizes = torch.tensor([pixels.shape[:2]])
    return method.encode(method.geometry.image(pixels)[None], sizes=sizes)


def search_values(
    pictures: Pictures, vector: Tensor, frame: Frame, sampled: bool, worst: bool
) -> Weights:
    """What the files hold of a cosine map and its best places."""
    [cosines] = cosine_map(pictures.sam.embedding, vector)
    own = locate(cosines, frame)
    found = {
        "cosine_64": cosines,
        "cosine_stats": stats(own),
        "points": highest_places(own),
        "point_labels": torch.tensor([1]),
    }
    if sampled:
        found["cosine_stride8"] = own[4::8, 4::8]
    if worst:
        found |= {"worst": highest_places(-own), "worst_labels": torch.tensor([0])}
    return found


def answer(logits: Tensor, frame: Frame) -> Weights:
    mask = frame.restore(logits)[0] > 0
    return {"bits": mask, "shape": torch.tensor(mask.shape)}


def prompt_values(log: Log, sampled: bool) -> Weights:
    found = {}
    for number, call in enumerate(log.calls):
        found |= named(f"prompt{number}", log.prompt(call, 0, sampled))
    return found


def flat(name: str, values: Weights) -> Weights:
    return {f"{name}_{key}": value for key, value in values.items()}


def reference_values(masks: Tensor, target: Tensor | None) -> Weights:
    found = {"reference/mask_64": masks[0]}
    return found if target is None else found | {"reference/target_embedding": target[0]}


@pytest.mark.parametrize(("value", "numbers"), [(128, (0, 1, 2)), (255, (0,))])
def test_pictures(case: PersamCase, encoded: Callable, value: int, numbers: tuple[int, ...], sam):
    group = f"mask{value}/"
    expected = case.golden.tensors("persam_images", group)
    crcs = case.golden.json("persam_images.json")
    method = PerSamImages(sam, RELEASED)
    reference = encoded(0, crcs[f"{group}image0/crc"])
    masks = case.square(method.geometry, case.image_mask()[None], value)
    small = released_mask(masks, 64)
    support = Support(find_target(reference.sam.embedding, small > 0), None)
    found = reference_values(small, support.target.mean)
    if value == 128:
        found |= named("image0", feature_values(reference))
    if not case.whole:
        numbers = (0, 1) if value == 128 else ()
    for number in numbers:
        pictures = encoded(number, crcs[f"{group}image{number + 1}/crc"])
        with logged() as log:
            prediction = method.predict(pictures, support)
        [frame] = method.frames(pictures)
        image = search_values(pictures, support.target.mean, frame, sampled=True, worst=True)
        image = named("search0", image) | prompt_values(log, sampled=True)
        guided = log.guided[0]
        image["guidance_64"] = guided.pop("guidance_64")
        if number == 0:
            found |= named("first", guided)
        else:
            image |= feature_values(pictures)
        found |= named(f"image{number + 1}", image)
        found |= flat(f"final/{number:02d}", answer(prediction.logits, frame))
        assert prediction.quality.item() == pytest.approx(
            log.calls[-1].decoded.quality[0, 1:].max().clamp(0, 1).item()
        )
    assert_equal(case.kept("persam_images", group, found), expected)


@pytest.fixture(scope="module")
def mobile(case: PersamCase) -> PerSamImages:
    return PerSamImages(case.mobile_sam(), RELEASED)


def test_mobile_sam(case: PersamCase, mobile: PerSamImages, monkeypatch: pytest.MonkeyPatch):
    expected = case.golden.tensors("persam_mobile")
    crcs = case.golden.json("persam_mobile.json")
    masks = case.square(mobile.geometry, case.image_mask()[None], 128)
    small = released_mask(masks, 64)
    found = reference_values(small, None)
    support = None
    for number in (0, 1) if case.whole else (0,):
        pictures = encode_picture(mobile, case.image(number, crcs[f"image{number + 1}/crc"]))
        name = f"image{number + 1}"
        if support is None:  # the first picture is the reference
            support = Support(find_target(pictures.sam.embedding, small > 0), None)
            found |= named("image0", feature_values(pictures))
        else:
            found |= named(name, feature_values(pictures))
        [frame] = mobile.frames(pictures)
        search = search_values(pictures, support.target.mean, frame, sampled=False, worst=True)
        # the worst value stands in many places: the file has one of them
        own = locate(cosine_map(pictures.sam.embedding, support.target.mean)[0], frame)
        x, y = expected[f"{name}/search0/worst"][0].tolist()
        assert own[y, x].item() == pytest.approx(own.min().item(), abs=1e-6)
        search["worst"] = expected[f"{name}/search0/worst"]
        given = iter([search["points"], search["worst"]])
        with monkeypatch.context() as patch, logged() as log:
            patch.setattr(network, "highest_places", lambda _, given=given: next(given))
            prediction = mobile.predict(pictures, support)
        image = named("search0", search) | prompt_values(log, sampled=False)
        image["guidance_64"] = log.guided[0]["guidance_64"]
        found |= named(name, image)
        found |= flat(f"final/{number:02d}", answer(prediction.logits, frame))
    assert_equal(case.kept("persam_mobile", "", found), expected)


def finetuned(
    case: PersamCase, encoded: Callable, sam: Sam, run: str, training: Training, numbers: Sequence
) -> Weights:
    """PerSAM-F learned on the first picture, then applied to some."""
    crcs = case.golden.json("persam_finetune.json")
    method = PerSamImages(sam, RELEASED, training)
    reference = encoded(0, crcs[f"{run}/image0/crc"])
    small = released_mask(case.square(method.geometry, case.image_mask()[None], 128), 64)
    target = find_target(reference.sam.embedding, small > 0)
    [frame] = method.frames(reference)
    with logged() as log, logged_training() as steps:
        mask = method.geometry.mask(case.image_mask())
        weights = method._train(reference, mask[None], target)
    search = search_values(reference, target.mixed, frame, sampled=False, worst=False)
    first = named("search0", search) | prompt_values(log, sampled=False)
    found = reference_values(small, None) | named("image0", first)
    if run == "short":
        found |= named("image0", feature_values(reference))
    found["training"] = training_values(steps, every=training.steps // 20)
    found["training_final"] = weights[0]
    for number in numbers:
        pictures = encoded(number, crcs[f"{run}/image{number + 1}/crc"])
        with logged() as log:
            prediction = method.predict(pictures, Support(target, weights))
        if number == 0:  # it begins as the training did, which the files hold once
            del log.calls[0]
        [frame] = method.frames(pictures)
        search = search_values(pictures, target.mixed, frame, sampled=False, worst=False)
        image = named("search0", search) | prompt_values(log, sampled=False)
        if number:
            image |= feature_values(pictures)
        found |= named(f"image{number + 1}", image)
        found |= flat(f"final/{number:02d}", answer(prediction.logits, frame))
    return found


def test_two_weights(case: PersamCase, encoded: Callable, sam: Sam):
    facts = case.facts["finetune"]
    expected = case.golden.tensors("persam_finetune", "short/")
    training = Training(facts["steps"], facts["lr"])
    numbers = (0, 1, 2) if case.whole else (0, 1)
    found = finetuned(case, encoded, sam, "short", training, numbers)
    assert_equal(case.kept("persam_finetune", "short/", found), expected)


@pytest.mark.slow
def test_two_weights_of_a_long_training(case: PersamCase, encoded: Callable, sam: Sam):
    facts = case.facts["finetune"]
    expected = case.golden.tensors("persam_finetune", "long/")
    training = Training(facts["long_steps"], facts["long_lr"])
    found = finetuned(case, encoded, sam, "long", training, (0,))
    assert_equal(case.kept("persam_finetune", "long/", found), expected)
