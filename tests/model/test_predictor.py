import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.errors import UsageError
from common.geometry import Geometry
from common.pixels import squash_mask
from model import InContextSegmenter
from model.dc_sam.network import DcSam
from model.label_map import label_map, resized_strips
from model.method import Method
from model.method_data import Prediction
from tests.helpers import save_tiny_checkpoint, tiny_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "last.safetensors")


@pytest.fixture(scope="module")
def segmenter(checkpoint):
    return InContextSegmenter.from_checkpoint(checkpoint, device="cpu")


def picture(seed, height=50, width=70):
    random = np.random.default_rng(seed)
    cells = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST))


def mask(height=50, width=70):
    marked = np.zeros((height, width), dtype=bool)
    marked[10:30, 20:50] = True
    return marked


@pytest.fixture(scope="module")
def concept(segmenter):
    return segmenter.learn(picture(0), mask(), "brick")


def test_a_mask_is_the_models_at_the_pictures_own_size(segmenter, concept):
    photo = picture(1, 90, 40)
    method = segmenter.method
    with torch.no_grad():
        support = method.encode_support(
            method.encode(Geometry(64).image(picture(0))[None]), squash_mask(mask(), 64)[None, None]
        )
        found = method.predict(method.encode(Geometry(64).image(photo)[None]), support)
    logits = F.interpolate(found.logits[None], (90, 40), mode="bilinear", align_corners=False)

    result, score = segmenter.segment(photo, concept)

    assert result.dtype == bool
    assert 0 < result.mean() < 1
    assert np.array_equal(result, logits[0, 0].numpy() > 0)
    assert score == pytest.approx(float(found.presence))


def test_pictures_and_masks_of_any_kind_mean_the_same(segmenter, concept):
    image, marked = Image.fromarray(picture(0)), mask()
    indexed = Image.fromarray(marked.astype(np.uint8) * 3)
    indexed.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 255, 0, 0])
    kinds = [marked.astype(int), marked.astype(np.uint8) * 255, Image.fromarray(marked), indexed]

    expected = segmenter.segment(picture(1), concept)
    for kind in kinds:
        found = segmenter.segment(Image.fromarray(picture(1)), segmenter.learn(image, kind))
        assert np.array_equal(found.mask, expected.mask)
        assert found.score == expected.score


def test_files_of_pictures_and_masks_are_read(segmenter, concept, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    upright = Image.fromarray(picture(0))
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "dog.png", exif=exif)
    Image.fromarray(mask()).save(tmp_path / "mask.png")
    Image.fromarray(picture(1)).save(tmp_path / "other.png")
    files = [str(tmp_path / "dog.png"), tmp_path / "mask.png", tmp_path / "other.png"]

    expected = segmenter.segment(picture(1), concept)
    for learned in (segmenter.learn(*files[:2]), segmenter.learn(files[:1], files[1:2])):
        for found in (
            segmenter.segment(files[2], learned),
            *segmenter.segment_batch([str(files[2]), picture(1)], learned),
        ):
            assert np.array_equal(found.mask, expected.mask)
            assert found.score == pytest.approx(expected.score, abs=1e-3)


def test_files_that_cannot_be_read_are_named(segmenter, concept):
    with pytest.raises(UsageError, match=r"no such image: dog\.jpg"):
        segmenter.learn("dog.jpg", "mask.png")
    with pytest.raises(UsageError, match=r"no such mask: mask\.png"):
        segmenter.learn(picture(0), "mask.png")
    with pytest.raises(ValueError, match=r"pictures is a list: for one, dog\.jpg"):
        segmenter.segment_batch("dog.jpg", concept)


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_refused(checkpoint, device):
    with pytest.raises(UsageError, match=f"device='{device}': this machine has none"):
        InContextSegmenter.from_checkpoint(checkpoint, device)


def test_a_batch_gives_what_single_pictures_give(segmenter, concept):
    photos = [picture(1), picture(2, 33, 21), picture(3)]
    batch = segmenter.segment_batch(photos, concept)
    for photo, found in zip(photos, batch, strict=True):
        alone = segmenter.segment(photo, concept)
        assert found.mask.shape == photo.shape[:2]
        assert np.mean(found.mask != alone.mask) < 0.01
        assert found.score == pytest.approx(alone.score, abs=1e-3)
    assert segmenter.segment_batch([], concept) == []


def test_the_order_of_shots_does_not_matter(segmenter):
    images, masks = [picture(0), picture(4)], [mask(), np.roll(mask(), 9, axis=1)]
    there = segmenter.learn(images, masks)
    assert len(there.references) == 2
    back = segmenter.learn(images[::-1], masks[::-1])
    found, again = (segmenter.segment(picture(1), concept).score for concept in (there, back))
    assert found == pytest.approx(again, abs=1e-3)


def test_a_method_that_takes_one_reference_refuses_two(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "last.safetensors", wiring="release")
    segmenter = InContextSegmenter.from_checkpoint(path, device="cpu")
    with pytest.raises(ValueError, match="takes 1 reference at most, not 2"):
        segmenter.learn([picture(0)] * 2, [mask()] * 2)


def test_what_a_method_cannot_do_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    alone = InContextSegmenter(FIXED.method)
    with pytest.raises(UsageError, match="needs a SAM 2 beside it for videos, clicks"):
        alone.prompted(BLANK)
    with pytest.raises(UsageError, match="needs a SAM 2 beside it for videos"):
        alone.segment_video([BLANK], RIVALS)
    with pytest.raises(ValueError, match="precision is one of fp32, bf16, fp16, not int8"):
        InContextSegmenter(FIXED.method, "int8")
    for concepts in ([], RIVALS * 128):
        with pytest.raises(ValueError, match="between 1 and 255 concepts"):
            FIXED.segment_classes([BLANK], concepts)


def test_methods_and_options_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match="unknown method 'psychic'; there are dc_sam"):
        InContextSegmenter.from_method("psychic")
    with pytest.raises(ValueError, match=r"DC-SAM: .*unexpected keyword argument 'size'"):
        InContextSegmenter.from_method("dc_sam", size="base")
    with pytest.raises(UsageError, match="DC-SAM has to be trained: give a checkpoint of it"):
        InContextSegmenter.from_method("dc_sam", random_weights=True)


@pytest.mark.parametrize("kind", ["point", "scribble", "box"])
def test_what_is_no_mask_becomes_one_by_sam(segmenter, kind):
    mark = np.zeros((50, 70), dtype=bool)
    mark[10:30, 20 : 50 if kind == "box" else 22] = True
    concept = segmenter.learn(picture(0), mark, kinds=kind)
    [reference] = concept.references
    assert reference.kind == kind
    assert np.array_equal(reference.mark, mark)
    taken = segmenter.sams.as_taken(reference)
    assert taken.kind == "mask"
    expected = segmenter.prompted(picture(0)).mask_of(mark, kind)
    assert np.array_equal(taken.mark, expected)


def test_a_saved_concept_is_learned_by_another_model(segmenter, concept, tmp_path):
    concept.save(tmp_path / "dog.concept")
    other = InContextSegmenter(tiny_model(1, image_size=128))
    again = other.load(tmp_path / "dog.concept")
    fresh = other.learn(picture(0), mask())
    found, expected = (other.segment(picture(1), one) for one in (again, fresh))
    assert np.array_equal(found.mask, expected.mask)
    assert found.score == expected.score


def test_a_click_asks_the_methods_own_sam(segmenter):
    found = segmenter.prompted(picture(1)).mask((50, 70), clicks=np.array([[0.5, 0.5]]))
    assert found.shape == (50, 70)


@dataclass
class Fixed:
    """A concept whose logits and presence are the same in every picture."""

    rows: tuple[list[float], list[float]]
    presence: float = 1.0

    support = property(lambda self: self)

    def expand(self, batch: int) -> "Fixed":
        return self


class FixedMethod(Method):
    """Stands in for a method."""

    image_size = 2

    def __init__(self) -> None:
        super().__init__()
        self.name, self.weight = "fixed", torch.nn.Parameter(torch.zeros(1))

    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> Tensor:
        return images

    def predict(self, images: Tensor, support: Fixed) -> Prediction:
        logits, ones = torch.tensor([support.rows] * len(images)), torch.ones(len(images))
        return Prediction(logits, ones, support.presence * ones, ones[:, None])


FIXED = InContextSegmenter(FixedMethod())
BLANK = np.zeros((2, 2, 3), np.uint8)
RIVALS = [Fixed(([9.0, 1], [-1, -1])), Fixed(([8.0, 2], [3, -2]))]


@pytest.mark.parametrize(
    ("tiny", "domain", "warned"),
    [(True, None, True), (False, "drawings", True), (False, "photographs", False)],
)
def test_who_has_photographs_is_warned_of_what_knows_drawings(
    checkpoint, tmp_path, monkeypatch, tiny, domain, warned
):
    monkeypatch.setattr(DcSam, "knows_drawings_only", tiny)
    path, facts = tmp_path / "last.safetensors", read_facts(checkpoint)
    save_checkpoint(path, read_weights(checkpoint), {**facts, "domain": domain})
    caution = InContextSegmenter.from_checkpoint(path, device="cpu").caution
    assert ("photographs" in caution) if warned else (caution is None)


def test_classes_compete_for_every_pixel():
    [found] = FIXED.segment_classes([BLANK], RIVALS)
    assert found.labels.tolist() == [[1, 2], [2, 0]]
    assert found.labels.dtype == np.uint8


def test_an_absent_class_does_not_compete():
    unsure, sure = Fixed(([9.0, 2], [-1, 2]), 0.55), Fixed(([-1.0, 1], [9, -1]), 0.6)
    [found] = FIXED.segment_classes([BLANK], [unsure, sure], threshold=0.6)
    assert found.labels.tolist() == [[0, 2], [2, 0]]
    assert found.scores == pytest.approx((0.55, 0.6))

    [empty] = FIXED.segment_batch([np.zeros((5, 4, 3), np.uint8)], unsure, threshold=0.6)
    assert empty.mask.shape == (5, 4)
    assert not empty.mask.any()


def test_a_higher_threshold_of_the_logit_claims_fewer_pixels():
    [found] = FIXED.predict([BLANK], RIVALS)
    for least, labels in ((2.5, [[1, 0], [2, 0]]), (-1.5, [[1, 2], [2, 1]])):
        assert label_map(found.logits, [0, 1], (2, 2), least).tolist() == labels


@pytest.mark.parametrize("size", [(37, 91), (8, 8), (5, 3)])
@pytest.mark.parametrize("strip", [1, 200, 2**24])
def test_strips_make_up_the_whole(size, strip):
    logits = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    strips = dict(resized_strips(logits, size, strip))
    assert list(strips) == sorted(strips)
    torch.testing.assert_close(torch.cat(list(strips.values()), dim=1), whole)


def test_a_concept_comes_back_from_its_file(segmenter, concept, tmp_path):
    path = tmp_path / "brick.safetensors"
    concept.save(path)
    loaded = segmenter.load(path)

    assert loaded.name == "brick"
    assert path.stat().st_size < 30_000
    before, after = (segmenter.segment(picture(1), c) for c in (concept, loaded))
    assert np.array_equal(before.mask, after.mask)
    assert before.score == after.score


def test_a_checkpoint_is_no_concept_and_a_concept_is_no_checkpoint(
    segmenter, concept, checkpoint, tmp_path
):
    with pytest.raises(UsageError, match="no concept"):
        segmenter.load(checkpoint)
    concept.save(tmp_path / "brick.safetensors")
    with pytest.raises(UsageError, match="does not describe a model"):
        InContextSegmenter.from_checkpoint(tmp_path / "brick.safetensors")


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ([picture(0)], [], "1 reference images but 0 masks"),
        (picture(0), mask(40), "a mask of 70 x 40 pixels for an image of 70 x 50"),
        (picture(0), mask() & False, "empty mask"),
        (picture(0), np.arange(3500).reshape(50, 70) % 7, "7 values"),
        (picture(0), picture(0), "H x W"),
    ],
)
def test_references_that_cannot_be_learned_are_refused(segmenter, images, masks, message):
    with pytest.raises(ValueError, match=message):
        segmenter.learn(images, masks)


def test_threads_may_share_a_segmenter(segmenter, concept):
    photos = [picture(seed) for seed in range(6)]
    alone = [segmenter.segment(photo, concept) for photo in photos]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda photo: segmenter.segment(photo, concept), photos))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.mask, other.mask)
        assert one.score == other.score


def test_nothing_global_is_touched(checkpoint):
    torch.manual_seed(5)
    state, gradients = torch.get_rng_state(), torch.is_grad_enabled()
    made = InContextSegmenter.from_checkpoint(checkpoint, device="cpu")
    made.segment(picture(1), made.learn(picture(0), mask()))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() == gradients


def test_the_package_alone_imports_nothing_heavy():
    code = "import sys, model; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
