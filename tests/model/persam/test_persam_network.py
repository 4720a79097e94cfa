import numpy as np
import pytest
import torch
from torch import Tensor

from common.geometry import Geometry
from model.persam.builder import build_persam
from model.persam.config import PerSamFOptions, PerSamOptions
from model.persam.features import Pictures
from model.persam.frame import Frame
from model.persam.passes import Found
from model.persam.video import PerSam
from model.registry import METHODS
from model.sam.sam1 import Sam
from tests.helpers import coloured_cells

SIZES = [(90, 128), (128, 70), (128, 128)]
GEOMETRY = Geometry(128, padded=True)


def build(tuned: bool = False, **options: object) -> PerSam:
    kind = PerSamFOptions if tuned else PerSamOptions
    steps = {"steps": 20} if tuned else {}
    return build_persam(kind(sam_model="tiny", **steps, **options)).eval()


@pytest.fixture(scope="module")
def models() -> dict[bool, PerSam]:
    return {tuned: build(tuned) for tuned in (False, True)}


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Three pictures in squares that are padded."""
    pixels = [coloured_cells(seed, (w, h)) for seed, (h, w) in enumerate(SIZES)]
    return torch.stack([GEOMETRY.image(one) for one in pixels])


@pytest.fixture(scope="module")
def masks() -> Tensor:
    mask = torch.zeros(3, 1, 128, 128)
    mask[:, :, 20:60, 15:50] = 1
    return mask


def encode(model: PerSam, images: Tensor) -> Pictures:
    return model.encode(images, sizes=torch.tensor(SIZES))


@pytest.mark.parametrize("tuned", [False, True])
def test_a_batch_gives_what_each_picture_gives_alone(models, images, masks, tuned: bool):
    model = models[tuned]
    pictures = encode(model, images)
    support = model.encode_support(pictures, masks)
    together = model.predict(pictures, support)

    assert together.logits.shape == (3, 128, 128)
    assert ((together.presence >= 0) & (together.presence <= 1)).all()
    assert ((together.quality >= 0) & (together.quality <= 1)).all()
    for row in range(3):
        one = model.predict(pictures[row : row + 1], support[[row]])
        torch.testing.assert_close(one.logits[0], together.logits[row], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(one.presence[0], together.presence[row], atol=1e-4, rtol=0)


def test_features_are_split_and_joined(models, images):
    pictures = encode(models[False], images)
    joined = Pictures.join([pictures[:1], pictures[1:]])
    assert torch.equal(joined.sam.embedding, pictures.sam.embedding)
    assert torch.equal(joined.sizes, pictures.sizes)


def test_nothing_is_drawn_in_the_padding(models, images, masks):
    model = models[False]
    pictures = encode(model, images)
    support = model.encode_support(pictures, masks)
    logits = model.predict(pictures, support).logits
    assert (logits[0, 90:] < 0).all()
    assert (logits[1, :, 70:] < 0).all()


def test_the_squares_are_the_pictures_where_no_sizes_are_told(models, images):
    assert models[False].encode(images).sizes.tolist() == [[128, 128]] * 3


def test_of_several_references_the_mean_counts(models, images, masks):
    for model in models.values():
        pictures = encode(model, images)
        each = model.encode_support(pictures, masks)
        together = model.encode_support(pictures, masks.view(1, 3, 128, 128))
        torch.testing.assert_close(together.target.mean, each.target.mean.mean(0, keepdim=True))
        if each.weights is not None:
            torch.testing.assert_close(together.weights, each.weights.mean(0, keepdim=True))
            assert each.weights.sum(1).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("mask", ["cells", "released"])
def test_an_empty_mask_is_refused(images, masks, mask: str):
    model = build(mask=mask)
    with pytest.raises(ValueError, match="empty support mask"):
        model.encode_support(encode(model, images), masks * 0)


def test_a_value_that_the_release_cannot_read_is_refused(images, masks):
    model = build(mask="released", mask_value=1)
    with pytest.raises(ValueError, match="as the release reads masks"):
        model.encode_support(encode(model, images), masks)


def test_switches_change_what_is_found(images, masks):
    found = []
    for options in ({}, {"guidance": "released"}, {"mask": "released", "mask_value": 255}):
        model = build(**options)
        model.segmenter.takes_masks = True  # otherwise the first pass leads to nothing
        pictures = encode(model, images)
        support = model.encode_support(pictures, masks)
        found.append(model.predict(pictures[:1], support[[0]]).logits)
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("tuned", [False, True])
def test_half_precision_finds_nearly_the_same(models, images, masks, tuned: bool):
    model = models[tuned]

    def labels() -> Tensor:
        pictures = encode(model, images)
        return model.predict(pictures, model.encode_support(pictures, masks)).logits > 0

    full = labels()
    with torch.autocast("cpu", torch.bfloat16):
        half = labels()
    assert (full != half).float().mean() < 0.05


def test_nothing_learns(models):
    for model in models.values():
        assert not any(weight.requires_grad for weight in model.parameters())
        assert model.frozen_parts == ("segmenter",)


def test_the_tiny_sam_is_not_given_masks_which_it_never_learned_to_take(models, images, masks):
    model = models[False]
    assert not model.segmenter.takes_masks
    assert Sam("vit_t", shrunk=True).takes_masks
    pictures = encode(model, images)
    support = model.encode_support(pictures, masks)
    expected = model.predict(pictures, support).logits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.segmenter, "takes_masks", True)
        assert not torch.equal(model.predict(pictures, support).logits, expected)


def test_a_drawn_square_is_found_again():
    model = build()

    def drawn(left: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.full((90, 140, 3), (60, 120, 60), dtype=np.uint8)
        mask = np.zeros((90, 140), dtype=bool)
        mask[30:64, left : left + 34] = True
        pixels[mask], pixels[5:25, 5:25] = (200, 60, 40), (40, 60, 200)
        return pixels, mask

    def encoded(pixels: np.ndarray) -> Pictures:
        return model.encode(GEOMETRY.image(pixels)[None], sizes=torch.tensor([pixels.shape[:2]]))

    reference, mask = drawn(60)
    support = model.encode_support(encoded(reference), GEOMETRY.mark(mask)[None, None])
    pixels, truth = drawn(90)
    pictures = encoded(pixels)
    logits = model.predict(pictures, support).logits
    found = model.frames(pictures)[0].restore(logits)[0].numpy() > 0
    assert (found & truth).sum() > 0.8 * (found | truth).sum()


def found(*masks: Tensor) -> Found:
    """Masks of squares of 16, whose pictures are as large."""
    low = torch.stack([mask.float() * 2 - 1 for mask in masks])
    return Found(low, torch.ones(len(masks)), [Frame((16, 16), (16, 16), 16)] * len(masks))


def test_a_pass_that_finds_nothing_leaves_what_was_found():
    full, empty = torch.zeros(16, 16), torch.zeros(16, 16)
    full[4:8, 2:6] = 1
    earlier, later = found(full, empty), found(empty, full)
    assert earlier.corners[1] is None
    assert earlier.boxes[1].tolist() == [0, 0, 15, 15]
    assert (later.or_else(earlier).low > 0).flatten(1).any(1).all()
    kept = earlier.then(later).low > 0
    assert torch.equal(kept[0], full > 0)
    assert not kept[1].any()  # what was not found at all stays absent


def test_an_empty_sum_of_proposals_takes_the_box_of_another():
    full, empty = torch.zeros(16, 16), torch.zeros(16, 16)
    full[4:8, 2:6] = 1
    bare, other = found(empty), found(full)
    helped = Found(bare.low, bare.quality, bare.frames, stand_in=other)
    assert helped.boxes.tolist() == other.boxes.tolist() == [[2, 4, 5, 7]]


def test_both_are_in_the_registry():
    for name, tuned in (("persam", False), ("persam_f", True)):
        entry = METHODS[name]
        options = entry.options(sam_model="tiny")
        model = entry.build(options)
        assert entry.ready
        assert model.name == name == options.method
        assert (model.training_plan is not None) is tuned
        assert type(options).from_json(options.to_json(), "here") == options
        assert options.files() == ()
        assert entry.options().files() == ("vit_h",)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sam_model": "vit_x"}, "--sam_model"),
        ({"mask_value": 0}, "--mask_value"),
        ({"video_points": 0}, "--video_points"),
        ({"steps": 0}, "--steps"),
        ({"learning_rate": 0.0}, "--learning_rate"),
    ],
)
def test_options_that_cannot_be_used_are_named(options: dict, complaint: str):
    [problem] = PerSamFOptions(**options).problems()
    assert problem.startswith(complaint)


def test_every_size_of_sam_shrinks(images, masks):
    for name in ("vit_b", "vit_t"):
        model = build_persam(PerSamOptions(sam_model=name, shrunk=True)).eval()
        geometry = model.geometry
        pictures = model.encode(torch.randn(1, 3, geometry.side, geometry.side))
        mask = torch.ones(1, 1, geometry.side, geometry.side)
        logits = model.predict(pictures, model.encode_support(pictures, mask)).logits
        assert logits.shape == (1, geometry.side, geometry.side)
