from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.correspondence import prior_mask
from model.dc_sam.config import ModelOptions, build_model, learnable_weights
from model.dc_sam.network import Concept, DcSam, Prediction
from model.layers import sine_position
from model.losses import mask_loss
from model.sam.segmenter import POINT_NEGATIVE, POINT_POSITIVE

SIZE, SIDE = 64, 8
"""Of the images and of the backbone's map."""

Episodes = tuple[Tensor, Tensor, Tensor]
"""Query, support images and support masks."""


def build(**options) -> DcSam:
    """A tiny model with seeded weights, and BatchNorm statistics that are not the initial ones."""
    defaults = {"backbone": "tiny", "sam_model": "tiny", "random_weights": True, "image_size": 128}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(ModelOptions(**defaults | {"num_query": 5} | options))
    generator = torch.Generator().manual_seed(0)
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="module", params=[1, 2], ids=["SAM", "SAM 2"])
def model(request: pytest.FixtureRequest) -> DcSam:
    """Tests leave its weights as they are."""
    return build(sam_version=request.param)


def random_episodes(seed: int, batch: int = 2, shots: int = 1) -> Episodes:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(batch, shots, SIDE, SIDE, generator=generator) > 0.6
    cells[..., 2:4, 2:4] = True
    cells[..., 6:, 6:] = False
    return (
        torch.randn(batch, 3, SIZE, SIZE, generator=generator),
        torch.randn(batch, shots, 3, SIZE, SIZE, generator=generator),
        cells.float().repeat_interleave(SIZE // SIDE, -1).repeat_interleave(SIZE // SIDE, -2),
    )


def predict(model: DcSam, episodes: Episodes) -> Prediction:
    with torch.no_grad():
        return model(*episodes)


def resize(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=True)


def assert_alike(one: Prediction, other: Prediction) -> None:
    for field in ("logits", "pseudo_logits", "quality", "object_logit"):
        torch.testing.assert_close(
            getattr(one, field), getattr(other, field), atol=1e-4, rtol=1e-4, msg=field
        )


def train_once(model: DcSam, episodes: Episodes) -> None:
    """One step on random target masks; gradients stay for inspection."""
    target = (torch.rand(2, SIZE, SIZE, generator=torch.Generator().manual_seed(9)) > 0.5).float()
    model.train()
    optimiser = torch.optim.SGD(learnable_weights(model).values(), lr=0.1)
    mask_loss(model(*episodes).logits, target).mean().backward()
    optimiser.step()


def recording(monkeypatch: pytest.MonkeyPatch, part: nn.Module, method: str) -> list[Tensor]:
    """The first argument of every call of a method from now on."""
    calls: list[Tensor] = []
    original: Callable = getattr(part, method)

    def recorded(first: Tensor, *others, **named):
        calls.append(first)
        return original(first, *others, **named)

    monkeypatch.setattr(part, method, recorded)
    return calls


def test_shapes(model: DcSam):
    prediction = predict(model, random_episodes(0))
    assert prediction.logits.shape == prediction.pseudo_logits.shape == (2, SIZE, SIZE)
    assert prediction.quality.shape == prediction.object_logit.shape == (2,)
    assert prediction.logits.isfinite().all()


@pytest.mark.parametrize("training", [False, True])
def test_each_image_is_encoded_once(model: DcSam, training: bool, monkeypatch: pytest.MonkeyPatch):
    batch, shots = 2, 3
    episodes = query, support, _ = random_episodes(0, batch, shots)
    encoded = recording(monkeypatch, model.segmenter, "encode_images")
    extracted = recording(monkeypatch, model.backbone, "extract")

    model.train(training)
    predict(model, episodes)
    model.eval()

    assert sum(len(images) for images in encoded) == batch + batch * shots
    seen = {tuple(image.flatten()[:9].tolist()) for images in extracted for image in images}
    images = [*query, *support.flatten(0, 1)]
    assert sum(len(images) for images in extracted) == len(images)
    assert seen == {tuple(image.flatten()[:9].tolist()) for image in images}


def test_a_kept_concept_needs_no_support_image_again(model: DcSam, monkeypatch: pytest.MonkeyPatch):
    query, support, masks = random_episodes(0, batch=1)
    with torch.no_grad():
        concept = model.learn(support, masks)
        encoded = recording(monkeypatch, model.segmenter, "encode_images")
        extracted = recording(monkeypatch, model.backbone, "extract")
        for _ in range(3):
            model.segment(query, concept)
    assert sum(len(images) for images in encoded) == 3
    assert sum(len(images) for images in extracted) == 3


@pytest.mark.parametrize("version", [1, 2])
def test_a_step_moves_what_learns_and_nothing_else(version: int):
    model = build(sam_version=version)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    train_once(model, random_episodes(0, shots=2))

    learnable = learnable_weights(model)
    assert learnable
    for name, parameter in model.named_parameters():
        if name in learnable:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
        else:
            assert parameter.grad is None, name
    moved = {name for name, value in model.state_dict().items() if value.ne(before[name]).any()}
    assert moved == set(learnable)
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert statistics
    assert not moved.intersection(statistics)


@pytest.mark.parametrize(
    "switched_off",
    [
        {},
        {"negative_branch": False},
        {"segmenter_fusion": False},
        {"cyclic": False},
        {"negative_branch": False, "segmenter_fusion": False, "cyclic": False},
        {"prior": True},
        {"position": "sam"},
        {"wiring": "release"},
    ],
    ids=str,
)
def test_every_variant_trains(switched_off: dict):
    model = build(**switched_off)
    train_once(model, random_episodes(0))
    for name, parameter in learnable_weights(model).items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_only_the_generator_learns(model: DcSam):
    assert all(name.startswith("generator.") for name in learnable_weights(model))
    assert len(learnable_weights(model)) == len(list(model.generator.parameters()))


def test_frozen_parts_stay_in_evaluation_mode(model: DcSam):
    model.train()
    frozen = [*model.backbone.modules(), *model.segmenter.modules()]
    assert model.training
    assert all(module.training for module in model.generator.modules())
    assert not any(module.training for module in frozen)
    model.eval()
    assert not any(module.training for module in model.modules())


def test_a_mask_is_replaced_in_evaluation_only(model: DcSam, monkeypatch: pytest.MonkeyPatch):
    asked = []
    select = model.segmenter.select

    def recorded(decoded, fallback: bool):
        asked.append(fallback)
        return select(decoded, fallback)

    monkeypatch.setattr(model.segmenter, "select", recorded)
    predict(model, random_episodes(0))
    model.train()
    predict(model, random_episodes(0))
    model.eval()
    assert asked == [True, True, False, False]


def test_equals_the_steps_of_algorithm_1(model: DcSam):
    query, support, masks = random_episodes(9)
    backbone, segmenter, generator = model.backbone, model.segmenter, model.generator
    small = masks[..., :: SIZE // SIDE, :: SIZE // SIDE]
    embeddings = {}
    with torch.no_grad():
        seen, shown = backbone.extract(query), backbone.extract(support[:, 0])
        encoded = {"query": segmenter.encode(query), "support": segmenter.encode(support[:, 0])}
        for role, features in encoded.items():
            fold = generator.fold_levels
            embedding = fold(features) if fold else features.embedding
            embeddings[role] = resize(embedding, SIDE)
        position = sine_position(segmenter.channels, SIDE), None
        reduced = {
            "query": generator.reduce(seen.middle),
            "support": generator.reduce(shown.middle),
        }

        starts, refined, kept = [], [], []
        for branch, region in ((generator.positive, small), (generator.negative, 1 - small)):
            high = backbone.high(shown.trunk, region)
            prior = prior_mask(backbone.high(seen.trunk, None), high[:, None], region)
            area = region.sum((2, 3), keepdim=True) + 0.0005
            prototype = (reduced["support"] * region).sum((2, 3), keepdim=True) / area
            tokens = branch.fused([reduced["support"], embeddings["support"]], prototype, region)
            starts.append(branch.mediate(tokens, region.flatten(1), position))
            kept.append((prototype, prior))
        pseudo_logits = resize(segmenter.decode(encoded["query"], *starts), SIZE)
        pseudo = (pseudo_logits > 0).float()[..., :: SIZE // SIDE, :: SIZE // SIDE]
        for branch, start, region, (prototype, prior) in zip(
            generator.branches, starts, (pseudo, 1 - pseudo), kept, strict=True
        ):
            tokens = branch.fused([reduced["query"], embeddings["query"]], prototype, prior)
            refined.append(branch.refine(start, tokens, region.flatten(1), position))
        logits = resize(segmenter.decode(encoded["query"], *refined), SIZE)

    prediction = predict(model, (query, support, masks))
    torch.testing.assert_close(prediction.pseudo_logits, pseudo_logits[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prediction.logits, logits[:, 0], atol=1e-4, rtol=1e-4)


def test_learning_and_segmenting_equal_the_whole(model: DcSam):
    query, support, masks = random_episodes(1, shots=2)
    with torch.no_grad():
        parts = model.segment(query, model.learn(support, masks))
    assert_alike(parts, predict(model, (query, support, masks)))


def test_a_kept_concept_serves_many_queries(model: DcSam):
    _, support, masks = random_episodes(1, batch=1)
    queries = random_episodes(2, batch=2)[0]
    with torch.no_grad():
        concept: Concept = model.learn(support, masks)
        for i in range(2):
            one = queries[i : i + 1]
            assert_alike(model.segment(one, concept), predict(model, (one, support, masks)))


def test_a_batch_equals_one_by_one(model: DcSam):
    episodes = random_episodes(3, batch=3, shots=2)
    batched = predict(model, episodes)
    for i in range(3):
        one = slice(i, i + 1)
        single = predict(model, tuple(part[one] for part in episodes))
        torch.testing.assert_close(batched.logits[one], single.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(batched.quality[one], single.quality, atol=1e-4, rtol=1e-4)


def test_the_order_of_shots_does_not_matter(model: DcSam):
    query, support, masks = random_episodes(4, shots=3)
    order = torch.tensor([1, 2, 0])
    assert_alike(
        predict(model, (query, support, masks)),
        predict(model, (query, support[:, order], masks[:, order])),
    )


def test_equal_shots_say_no_more_than_one(model: DcSam):
    query, support, masks = random_episodes(5)
    three = (query, support.repeat(1, 3, 1, 1, 1), masks.repeat(1, 3, 1, 1))
    assert_alike(predict(model, (query, support, masks)), predict(model, three))


def test_the_support_matters(model: DcSam):
    query, support, masks = random_episodes(6)
    logits = predict(model, (query, support, masks)).logits
    assert not torch.allclose(logits, predict(model, (query, support, 1 - masks)).logits)
    assert not torch.allclose(logits, predict(model, (query, support.flip(0), masks)).logits)


@pytest.mark.parametrize("shots", [1, 2])
def test_an_empty_mask_is_refused(model: DcSam, shots: int):
    query, support, masks = random_episodes(0, shots=shots)
    masks[1, -1] = 0
    with pytest.raises(ValueError, match="empty support mask"):
        model(query, support, masks)


def test_masks_of_one_pixel_and_of_every_pixel_give_finite_gradients():
    model = build()
    query, support, masks = random_episodes(0)
    masks[0], masks[1] = 0, 1
    masks[0, 0, 13, 21] = 1
    train_once(model, (query, support, masks))
    assert all(p.grad.isfinite().all() for p in learnable_weights(model).values())


def test_no_gradient_passes_the_pseudo_mask(model: DcSam):
    prediction = model(*random_episodes(0))
    assert prediction.pseudo_logits.requires_grad  # by way of the decoder, to the prompts
    (gradient,) = torch.autograd.grad(
        prediction.logits.sum(), prediction.pseudo_logits, allow_unused=True
    )
    assert gradient is None


def test_the_frozen_decoder_passes_gradients_to_the_prompts(model: DcSam):
    prediction = model(*random_episodes(0))
    (gradient,) = torch.autograd.grad(
        prediction.pseudo_logits.square().sum(), model.generator.positive.query.weight
    )
    assert gradient.any()


def test_dropout_gets_the_channels_of_its_own_images(model: DcSam):
    query, support, masks = random_episodes(7, shots=2)
    drawn = torch.rand(2, 3, model.segmenter.channels, generator=torch.Generator().manual_seed(0))
    kept = drawn > 0.5
    with torch.no_grad():
        whole = model(query, support, masks, kept)
        concept = model.learn(support, masks, kept[:, 1:])
        assert_alike(whole, model.segment(query, concept, kept[:, 0]))
        for i in range(2):
            one = slice(i, i + 1)
            single = model(query[one], support[one], masks[one], kept[one])
            torch.testing.assert_close(whole.logits[one], single.logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(whole.logits, predict(model, (query, support, masks)).logits)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("option", [{"wiring": "release"}, {"position": "sam"}], ids=str)
def test_an_option_without_parameters_changes_the_result(version: int, option: dict):
    paper, other = build(sam_version=version), build(sam_version=version, **option)
    other.load_state_dict(paper.state_dict())
    episodes = random_episodes(8)
    assert not torch.allclose(
        predict(paper, episodes).logits, predict(other, episodes).logits, atol=1e-5
    )


@pytest.mark.parametrize("version", [1, 2])
def test_refinement_starts_from_shifted_prompts_in_the_release_with_sam_1_alone(
    version: int, monkeypatch: pytest.MonkeyPatch
):
    model = build(sam_version=version, wiring="release")
    query, support, masks = random_episodes(0)
    started = []
    refine = model.generator.refine

    def recorded(contexts, prompts, *others):
        started.extend(prompts)
        return refine(contexts, prompts, *others)

    monkeypatch.setattr(model.generator, "refine", recorded)
    with torch.no_grad():
        concept = model.learn(support, masks)
        model.segment(query, concept)

    table = model.segmenter.prompt_encoder.point_embeddings
    for context, start, label in zip(
        concept.contexts, started, (POINT_POSITIVE, POINT_NEGATIVE), strict=True
    ):
        shift = table[label].weight if version == 1 else torch.zeros(1)
        torch.testing.assert_close(start, context.prompts + shift)


def test_positions_are_on_the_keys_alone_or_on_the_values_too(model: DcSam):
    like = torch.zeros(1, model.segmenter.channels, SIDE, SIDE)
    keys, values = model.positions(SIDE, like)
    assert values is None
    assert torch.equal(keys, sine_position(model.segmenter.channels, SIDE))

    keys, values = build(position="sam").positions(SIDE, torch.zeros(1, 128, SIDE, SIDE))
    assert keys.shape == (SIDE * SIDE, 128)
    assert torch.equal(keys, values)


def test_half_precision_gives_finite_masks_and_gradients(model: DcSam):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(*random_episodes(0))
    assert prediction.logits.dtype == torch.float32
    assert prediction.logits.isfinite().all()
    gradients = torch.autograd.grad(
        prediction.logits.square().mean(), list(learnable_weights(model).values())
    )
    assert all(gradient.isfinite().all() for gradient in gradients)
