"""What holds for every method: the interface of `model.method`, on tiny networks."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from common.errors import UsageError
from model.predictor import InContextSegmenter
from model.registry import METHODS
from tests.helpers import coloured_cells

TINY = {
    "dc_sam": {"backbone": "tiny", "sam_model": "tiny", "image_size": 64, "num_query": 5},
    "insid3": {"size": "tiny"},
    "persam": {"sam_model": "tiny"},
    "persam_f": {"sam_model": "tiny"},
    "matcher": {"size": "tiny"},
    "sansa": {"sam_model": "tiny", "image_size": 64},
    "sine": {"size": "tiny"},
    "segic": {"size": "tiny"},
    "pfenet": {"backbone": "tiny", "image_size": 64, "scales": "shares", "width": 16},
    "vrp_sam": {"backbone": "tiny", "sam_model": "tiny", "image_size": 64},
}
PHOTOS = [coloured_cells(1), coloured_cells(2, (40, 90)), coloured_cells(3, (64, 64))]
MASK = np.zeros((50, 70), dtype=bool)
MASK[10:30, 20:50] = True


@pytest.fixture(scope="module", params=METHODS)
def segmenter(request) -> InContextSegmenter:
    """Each method with the tiny networks; its learnable part is not trained."""
    entry = METHODS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return InContextSegmenter(entry.build(entry.options(**TINY[request.param])).eval())


@pytest.fixture(scope="module")
def concept(segmenter):
    return segmenter.learn(coloured_cells(9), MASK)


def test_a_batch_gives_what_single_pictures_give(segmenter, concept):
    batch = segmenter.predict(PHOTOS, [concept])
    for photo, found in zip(PHOTOS, batch, strict=True):
        [alone] = segmenter.predict([photo], [concept])
        assert found.logits.shape == alone.logits.shape
        flipped = ((found.logits > 0) != (alone.logits > 0)).float().mean()
        assert flipped < 0.01
        assert found.scores == pytest.approx(alone.scores, abs=1e-2)
        assert all(0 <= score <= 1 for score in found.scores)


def test_results_have_the_pictures_own_size(segmenter, concept):
    for photo, found in zip(PHOTOS, segmenter.segment_batch(PHOTOS, concept), strict=True):
        assert found.mask.shape == photo.shape[:2]


def test_several_classes_share_the_pixels(segmenter, concept):
    other = segmenter.learn(coloured_cells(8), np.roll(MASK, 15, axis=1), "other")
    [found] = segmenter.segment_classes(PHOTOS[:1], [concept, other])
    assert set(np.unique(found.labels)) <= {0, 1, 2}
    assert len(found.scores) == 2


def test_objects_are_told_apart_at_the_pictures_own_size(segmenter, concept):
    method, geometry = segmenter.method, segmenter.method.instance_geometry
    reference = geometry.image(coloured_cells(9))[None]
    images = torch.stack([geometry.image(photo) for photo in PHOTOS])
    sizes = [photo.shape[:2] for photo in PHOTOS]
    with torch.no_grad():
        features = method.encode(reference, support_only=True, sizes=torch.tensor([MASK.shape]))
        support = method.encode_support(features, geometry.mask(MASK)[None, None], names=["thing"])
        queries = method.encode(images, sizes=torch.tensor(sizes))
        found = method.find_instances(queries, [support.expand(3)] * 2, sizes, most=5)
    for one, size in zip(found, sizes, strict=True):
        assert len(one) <= 5
        assert one.masks.shape[1:] == size
        assert one.masks.flatten(1).any(1).all()
        assert ((one.scores >= 0) & (one.scores <= 1)).all()
        assert (one.scores.diff() <= 0).all()
        assert set(one.concepts.tolist()) <= {0, 1}
        assert one.boxes.shape == (len(one), 4)


def test_objects_of_a_picture_come_one_by_one(segmenter, concept):
    found = segmenter.segment_instances(PHOTOS[1], [concept, concept], threshold=0.0)
    for mask, score, (left, top, right, bottom), position in found:
        assert mask.shape == (90, 40)
        rows, columns = np.nonzero(mask)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (left, top, right, bottom) == box
        assert 0 <= score <= 1
        assert position in (0, 1)
    least = found[len(found) // 2].score if found else 0.5
    better = segmenter.segment_instances(PHOTOS[1], [concept, concept], threshold=least)
    assert [one.score for one in better] == [o.score for o in found if o.score >= least]


def test_objects_keep_their_numbers_through_a_video(segmenter, concept):
    if segmenter.method.name == "persam_f":
        pytest.skip("it fits its weights for each object anew: half a minute")
    frames = [np.roll(coloured_cells(9), 2 * t, axis=1) for t in range(3)]
    found = list(segmenter.track_instances(frames, concept, threshold=0.0, look_every=2))
    assert [one.numbers.shape for one in found] == [(50, 70)] * 3
    for before, after in pairwise(found):
        assert after.concepts[: len(before.concepts)] == before.concepts
        assert len(after.scores) == len(after.concepts)
        assert after.numbers.max() <= len(after.concepts)
    assert found[0].concepts == found[1].concepts or not found[0].concepts
    with pytest.raises(ValueError, match="look_every"):
        next(segmenter.track_instances(frames, concept, look_every=-1))


def test_features_can_be_split_and_joined(segmenter, concept):
    method, geometry = segmenter.method, segmenter.geometry
    images = torch.stack([geometry.image(photo) for photo in PHOTOS])
    sizes = torch.tensor([photo.shape[:2] for photo in PHOTOS])
    with torch.no_grad():
        together = method.encode(images, sizes=sizes)
        parts = [together[row : row + 1] for row in range(len(PHOTOS))]
        joined = parts[0].join(parts[::-1])
        expected = method.predict(together, concept.support.expand(3)).logits
        found = method.predict(joined, concept.support.expand(3)).logits
    flipped = ((found.flip(0) > 0) != (expected > 0)).float().mean()
    assert flipped < 0.01


def test_several_shots_are_taken_or_refused_before_work(segmenter):
    images, masks = [coloured_cells(9), coloured_cells(7)], [MASK, MASK]
    if segmenter.method.most_shots == 1:
        with pytest.raises(UsageError, match="takes 1 reference at most, not 2"):
            segmenter.learn(images, masks)
    else:
        learned = segmenter.learn(images, masks)
        assert segmenter.segment(PHOTOS[0], learned).mask.shape == PHOTOS[0].shape[:2]


def test_a_concept_of_any_method_is_learned_by_this_one(segmenter, concept, tmp_path):
    concept.save(tmp_path / "thing.concept")
    again = segmenter.load(tmp_path / "thing.concept")
    found, expected = (segmenter.segment(PHOTOS[0], one) for one in (again, concept))
    assert np.array_equal(found.mask, expected.mask)
    assert found.score == pytest.approx(expected.score, abs=1e-6)


def test_half_precision_gives_finite_numbers_of_full_precision(segmenter):
    half = InContextSegmenter(segmenter.method, "bf16")
    learned = half.learn(coloured_cells(9), MASK)
    [found] = half.predict(PHOTOS[:1], [learned])
    assert found.logits.float().isfinite().all()
    assert 0 <= found.scores[0] <= 1
    assert half.segment(PHOTOS[0], learned).mask.shape == PHOTOS[0].shape[:2]


def test_videos_are_segmented_frame_by_frame(segmenter, concept):
    frames = [np.roll(coloured_cells(9), 2 * t, axis=1) for t in range(3)]
    found = list(segmenter.segment_video(frames, concept))
    assert [one.mask.shape for one in found] == [(50, 70)] * 3


def test_given_masks_are_followed_and_objects_may_appear_later(segmenter):
    method = segmenter.method
    if not method.takes_given_masks:
        return
    geometry, size = method.tracking_geometry, torch.tensor([MASK.shape])
    masks = torch.from_numpy(np.stack([MASK, np.roll(MASK, 12, axis=1) & ~MASK]))
    video, found = method.video([]), []
    for number in range(4):
        frame = geometry.image(np.roll(coloured_cells(9), number, axis=1))[None]
        given = {0: masks[:1], 2: masks[1:]}.get(number)
        found.append(video.step(frame, given, sizes=size))
    assert [len(one.logits) for one in found] == [1, 1, 2, 2]
    for one in found:
        assert one.logits.shape[1:] == (geometry.side, geometry.side)
        assert one.logits.isfinite().all()
        assert one.object_logit.shape == one.quality.shape == one.logits.shape[:1]
    with pytest.raises(ValueError, match="nothing to segment"):
        method.video([]).step(frame, sizes=size)


def test_frozen_parts_keep_their_weights(segmenter, concept):
    method = segmenter.method
    before = {
        part: [p.clone() for p in method.get_submodule(part).parameters()]
        for part in method.frozen_parts
    }
    assert before
    segmenter.segment(PHOTOS[0], concept)
    for part, weights in before.items():
        now = list(method.get_submodule(part).parameters())
        assert all(torch.equal(a, b) for a, b in zip(weights, now, strict=True))
