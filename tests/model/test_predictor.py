import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from common.checkpoint import save_checkpoint
from common.cli import to_json
from common.errors import UsageError
from common.pixels import squash_image, squash_mask
from model import InContextSegmenter
from model.dc_sam.config import ModelOptions, build_model, learnable_weights
from model.dc_sam.network import Concept, EncodedImages, Prediction
from model.label_map import compete, enlarge
from model.presence import PresenceScale

ROOT = Path(__file__).parents[2]
OPTIONS = ModelOptions(
    backbone="tiny", sam_model="tiny", random_weights=True, image_size=64, num_query=4
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "last.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = learnable_weights(build_model(OPTIONS))
    save_checkpoint(path, weights, {"model": to_json(OPTIONS)})
    return path


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
    with torch.no_grad():
        model = segmenter.model
        support = model.learn(
            squash_image(picture(0), 64)[None, None], squash_mask(mask(), 64)[None, None]
        )
        images = model.encode(squash_image(photo, 64)[None])
        found = model.find(images, support)
    logits = F.interpolate(found.logits[None], (90, 40), mode="bilinear", align_corners=False)

    result, score = segmenter.segment(photo, concept)

    assert result.dtype == bool
    assert 0 < result.mean() < 1
    assert np.array_equal(result, logits[0, 0].numpy() > 0)
    assert score == pytest.approx(float(PresenceScale()(found, images, support)))


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
    back = segmenter.learn(images[::-1], masks[::-1])
    assert there.masks.shape == (2, 64, 64)
    found, again = (segmenter.segment(picture(1), c).score for c in (there, back))
    assert found == pytest.approx(again, abs=1e-3)


class FixedLogits:
    """Stands in for the model: concepts are logits that every picture shows."""

    def encode(self, images):
        return EncodedImages(None, None, torch.ones(len(images), 1, 2, 2), (2, 2))

    def find(self, images, concept):
        logits = concept.logits.expand(len(images.high), -1, -1)
        sure = torch.ones(len(logits))
        return Prediction(logits, logits, sure, 20 * sure)


class FixedConcept(Concept):
    def __init__(self, *rows):
        super().__init__([], torch.ones(1, 1, 2, 2), [torch.ones(1, 1, 1, 2, 2)])
        object.__setattr__(self, "logits", torch.tensor(rows, dtype=torch.float32)[None])

    support = property(lambda self: self)


@pytest.fixture
def fixed(segmenter):
    """Its presence score is the logistic function of the sureness."""
    made = InContextSegmenter(segmenter.model, 2, presence=PresenceScale((0.0, 1.0, 0.0), 0.0))
    made.model = FixedLogits()
    return made


def test_classes_compete_for_every_pixel(fixed):
    concepts = [FixedConcept([9, 1], [-1, -1]), FixedConcept([8, 2], [3, -2])]
    [found] = fixed.segment_classes([np.zeros((2, 2, 3), np.uint8)], concepts)
    assert found.labels.tolist() == [[1, 2], [2, 0]]


def test_an_absent_class_does_not_compete(fixed):
    unsure, sure = FixedConcept([0.2, 0.2], [-1, 0.2]), FixedConcept([-1, 0.1], [9, -1])
    [found] = fixed.segment_classes([np.zeros((2, 2, 3), np.uint8)], [unsure, sure], threshold=0.6)
    assert found.labels.tolist() == [[0, 2], [2, 0]]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-np.tanh(0.1))))

    [empty] = fixed.segment_batch([np.zeros((5, 4, 3), np.uint8)], unsure, threshold=0.6)
    assert empty.mask.shape == (5, 4)
    assert not empty.mask.any()


def test_a_higher_threshold_of_the_logit_claims_fewer_pixels(fixed):
    concepts = [FixedConcept([9, 1], [-1, -1]), FixedConcept([8, 2], [3, -2])]
    logits, _ = fixed.look([np.zeros((2, 2, 3), np.uint8)], concepts)
    assert compete(logits[:, 0], [0, 1], (2, 2), least=2.5).tolist() == [[1, 0], [2, 0]]
    assert compete(logits[:, 0], [0, 1], (2, 2), least=-1.5).tolist() == [[1, 2], [2, 1]]


@pytest.mark.parametrize("size", [(37, 91), (8, 8), (5, 3)])
@pytest.mark.parametrize("strip", [1, 200, 2**24])
def test_strips_make_up_the_whole(size, strip):
    logits = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    strips = dict(enlarge(logits, size, strip))
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
