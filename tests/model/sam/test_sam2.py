from collections.abc import Callable

import pytest
import torch

from model.sam.names import OFFICIAL_NAMES
from model.sam.sam2 import Sam2
from model.sam.segmenter import DecodedMasks, SegmenterFeatures


@pytest.fixture(scope="module")
def segmenter() -> Sam2:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Sam2("tiny").eval().requires_grad_(False)


IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def features(segmenter: Sam2) -> SegmenterFeatures:
    return segmenter.encode(IMAGES)


def test_features_have_three_levels(features: SegmenterFeatures, segmenter: Sam2):
    channels, side = segmenter.channels, segmenter.embedding_size
    fine, middle = features.levels
    assert features.embedding.shape == (2, channels, side, side)
    assert fine.shape == (2, channels // 8, 4 * side, 4 * side)
    assert middle.shape == (2, channels // 4, 2 * side, 2 * side)


def test_the_embedding_contains_the_no_memory_embedding(
    features: SegmenterFeatures, segmenter: Sam2
):
    network, size = segmenter.network, (segmenter.image_size,) * 2
    images = torch.nn.functional.interpolate(IMAGES, size, mode="bilinear", align_corners=True)
    bare = network.forward_image(images)["vision_features"]
    no_memory = network.no_mem_embed.view(1, -1, 1, 1).expand_as(bare)
    assert no_memory.any()
    torch.testing.assert_close(features.embedding - bare, no_memory, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fallback", [True, False])
def test_decoding_equals_the_package(segmenter: Sam2, features: SegmenterFeatures, fallback: bool):
    generator = torch.Generator().manual_seed(3)
    positive, negative = torch.randn(2, 2, 4, segmenter.channels, generator=generator)
    decoder = segmenter.network.sam_mask_decoder
    no_mask = segmenter.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
    decoder.train(not fallback)  # the package leaves its fallback out in training
    try:
        expected, _, _, object_logit = decoder(
            image_embeddings=features.embedding,
            image_pe=segmenter.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=segmenter.prompt(positive, negative),
            dense_prompt_embeddings=no_mask.expand_as(features.embedding),
            multimask_output=False,
            repeat_image=False,
            high_res_features=list(features.levels),
        )
    finally:
        decoder.eval()
    logits = segmenter.decode(features, positive, negative, fallback)
    decoded = segmenter.decode_all(features, segmenter.prompt(positive, negative))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoded.object_logit, object_logit, atol=1e-5, rtol=1e-5)


def test_an_unstable_mask_gives_way_to_the_best_proposal(segmenter: Sam2):
    # sample 0: every logit is far from 0, stable; sample 1: half of the object lies within 0.05
    side = 4 * segmenter.embedding_size
    single = torch.full((2, side, side), 1.0)
    single[:, side // 2 :] = -1.0
    single[1, : side // 4] = 0.01
    proposals = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1).expand(2, 3, side, side)
    decoded = DecodedMasks(
        logits=torch.cat([single[:, None], proposals], dim=1),
        quality=torch.tensor([[0.1, 0.2, 0.9, 0.3], [0.1, 0.2, 0.9, 0.3]]),
        object_logit=torch.ones(2, 1),
    )

    logits, quality = segmenter.select(decoded, fallback=True)
    assert torch.equal(logits[0, 0], single[0])
    assert torch.equal(logits[1, 0], torch.full((side, side), 20.0))
    torch.testing.assert_close(quality, torch.tensor([[0.1], [0.9]]))

    logits, quality = segmenter.select(decoded, fallback=False)
    assert torch.equal(logits, decoded.logits[:, :1])
    assert torch.equal(quality, decoded.quality[:, :1])


@pytest.mark.parametrize("name", OFFICIAL_NAMES)
def test_official_variants_have_their_sizes(name: str, sam2_without_weights: Callable[[str], Sam2]):
    segmenter = sam2_without_weights(name)
    assert (segmenter.image_size, segmenter.channels, segmenter.embedding_size) == (1024, 256, 64)
    blocks = {"t": 12, "s": 16, "b+": 24, "l": 48}[name.split("_")[-1]]
    assert len(segmenter.network.image_encoder.trunk.blocks) == blocks
    # 2.1 marks frames without the object in its memory
    assert ("no_obj_embed_spatial" in segmenter.official.state_dict()) == name.startswith("sam2.1")
