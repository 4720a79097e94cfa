import pytest
import torch
from torch.nn import functional as F

from model.sam.sam1 import Sam
from model.sam.segmenter import BOX_TOP_LEFT, POINT_NEGATIVE, POINT_POSITIVE, SegmenterFeatures


@pytest.fixture(scope="module")
def segmenter() -> Sam:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Sam("tiny").eval().requires_grad_(False)


def test_images_come_to_the_size_of_the_encoder(segmenter: Sam):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(images, (128, 128), mode="bilinear", align_corners=True)
    features = segmenter.encode(images)
    assert features.embedding.shape == (2, segmenter.channels, 16, 16)
    assert segmenter.embedding_size == 16
    torch.testing.assert_close(features.embedding, segmenter.encode_images(resized).embedding)


def test_features_are_indexed_by_image():
    features = SegmenterFeatures(torch.arange(3.0), (torch.arange(3.0) + 10, torch.arange(3.0)))
    picked = features[torch.tensor([2, 0])]
    assert picked.embedding.tolist() == [2, 0]
    assert [level.tolist() for level in picked.levels] == [[12, 10], [2, 0]]
    assert features[1:].levels[0].tolist() == [11, 12]


def test_prompts_are_labelled_and_the_positive_ones_come_first(segmenter: Sam):
    generator = torch.Generator().manual_seed(0)
    positive, negative = torch.randn(2, 2, 3, segmenter.channels, generator=generator)
    tokens = segmenter.prompt(positive, negative)
    table = segmenter.prompt_encoder.point_embeddings
    torch.testing.assert_close(tokens[:, :3], positive + table[POINT_POSITIVE].weight)
    torch.testing.assert_close(tokens[:, 3:], negative + table[POINT_NEGATIVE].weight)
    assert torch.equal(segmenter.prompt(positive, None), tokens[:, :3])


def test_clicks_become_the_tokens_of_the_package(segmenter: Sam):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 4, 2, generator=generator) * 128
    labels = torch.tensor([[POINT_POSITIVE, POINT_NEGATIVE, -1, POINT_POSITIVE]] * 2)
    expected = segmenter.prompt_encoder._embed_points(points, labels, pad=False)
    torch.testing.assert_close(segmenter.point_tokens(points, labels), expected)


def test_box_corners_become_the_tokens_of_the_package(segmenter: Sam):
    boxes = torch.tensor([[[3.0, 5.0], [60.0, 90.0]]])
    labels = torch.tensor([[BOX_TOP_LEFT, BOX_TOP_LEFT + 1]])
    expected = segmenter.prompt_encoder._embed_boxes(boxes.flatten(1))
    torch.testing.assert_close(segmenter.point_tokens(boxes, labels), expected)


def test_dense_position_is_that_of_the_package(segmenter: Sam):
    assert torch.equal(segmenter.dense_position(), segmenter.prompt_encoder.get_dense_pe())
    assert segmenter.dense_position(5).shape == (1, segmenter.channels, 5, 5)
