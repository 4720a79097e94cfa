import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.sam.sam1 import Sam
from model.sam.sam2 import Sam2
from model.sam.segmenter import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    POINT_NEGATIVE,
    POINT_POSITIVE,
    Segmenter,
    SegmenterFeatures,
)


@pytest.fixture(scope="module", params=[Sam, Sam2], ids=["SAM", "SAM 2"])
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param("tiny").eval().requires_grad_(False)


def random_images(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def random_prompts(segmenter: Segmenter, batch: int) -> Tensor:
    """Positive and negative ones."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, batch, 4, segmenter.channels, generator=generator)


def test_images_come_to_the_size_of_the_encoder(segmenter: Segmenter):
    images, size = random_images(2), (segmenter.image_size,) * 2
    resized = F.interpolate(images, size, mode="bilinear", align_corners=True)
    features = segmenter.encode(images)
    assert segmenter.embedding_size == 16
    assert features.embedding.shape == (2, segmenter.channels, 16, 16)
    torch.testing.assert_close(features.embedding, segmenter.encode_images(resized).embedding)


def test_a_batch_equals_one_by_one(segmenter: Segmenter):
    images, prompts = random_images(2), random_prompts(segmenter, 2)
    batched = segmenter.encode(images)
    logits = segmenter.decode(batched, *prompts)
    assert logits.shape == (2, 1, 64, 64)
    for i in range(2):
        one = slice(i, i + 1)
        single = segmenter.encode(images[one])
        torch.testing.assert_close(batched.embedding[one], single.embedding, atol=1e-5, rtol=1e-4)
        alone = segmenter.decode(single, *prompts[:, one])
        torch.testing.assert_close(logits[one], alone, atol=1e-4, rtol=1e-4)


def test_a_single_branch_can_be_decoded(segmenter: Segmenter):
    positive, negative = random_prompts(segmenter, 1)
    features = segmenter.encode(random_images(1))
    alone = segmenter.decode(features, positive, None)
    assert alone.shape == (1, 1, 64, 64)
    assert not torch.allclose(alone, segmenter.decode(features, positive, negative))


def test_the_tiny_variant_fits_into_five_megabytes_at_half_precision(segmenter: Segmenter):
    assert 2 * sum(p.numel() for p in segmenter.parameters()) < 5e6
    assert segmenter.image_size == (256 if isinstance(segmenter, Sam2) else 128)


def test_features_are_indexed_by_image():
    features = SegmenterFeatures(torch.arange(3.0), (torch.arange(3.0) + 10, torch.arange(3.0)))
    picked = features[torch.tensor([2, 0])]
    assert picked.embedding.tolist() == [2, 0]
    assert [level.tolist() for level in picked.levels] == [[12, 10], [2, 0]]
    assert features[1:].levels[0].tolist() == [11, 12]


def test_prompts_are_labelled_and_the_positive_ones_come_first(segmenter: Segmenter):
    positive, negative = random_prompts(segmenter, 2)
    tokens = segmenter.prompt(positive, negative)
    table = segmenter.prompt_encoder.point_embeddings
    torch.testing.assert_close(tokens[:, :4], positive + table[POINT_POSITIVE].weight)
    torch.testing.assert_close(tokens[:, 4:], negative + table[POINT_NEGATIVE].weight)
    assert torch.equal(segmenter.prompt(positive, None), tokens[:, :4])


def test_clicks_and_box_corners_become_the_tokens_of_the_package(segmenter: Segmenter):
    points = 128 * torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[POINT_POSITIVE, POINT_NEGATIVE, -1, POINT_POSITIVE]] * 2)
    expected = segmenter.prompt_encoder._embed_points(points.clone(), labels, pad=False)
    torch.testing.assert_close(segmenter.point_tokens(points, labels), expected)

    boxes = torch.tensor([[[3.0, 5.0], [60.0, 90.0]]])
    labels = torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]])
    expected = segmenter.prompt_encoder._embed_boxes(boxes.flatten(1))
    torch.testing.assert_close(segmenter.point_tokens(boxes, labels), expected)


def test_dense_position_is_that_of_the_package(segmenter: Segmenter):
    assert torch.equal(segmenter.dense_position(), segmenter.prompt_encoder.get_dense_pe())
    assert segmenter.dense_position(5).shape == (1, segmenter.channels, 5, 5)
