from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.checkpoint import learnable_weights
from model.correspondence import prior_mask
from model.dc_sam.features import EncodedImages, Support
from model.dc_sam.network import DcSam
from model.layers import drawn_by_episode, sine_position
from model.losses import mask_loss
from model.method_options import LossOptions
from model.sam.segmenter import POINT_NEGATIVE, POINT_POSITIVE
from tests.helpers import BothSteps, Episodes, both_steps, random_episodes, tiny_model

SIZE, SIDE = 64, 8
"""Of the images and of the backbone's map."""


@pytest.fixture(scope="module", params=[1, 2], ids=["SAM", "SAM 2"])
def model(request: pytest.FixtureRequest) -> DcSam:
    """Tests leave its weights as they are."""
    return tiny_model(request.param, lively=True)


@torch.no_grad()
def predict(model: DcSam, *episodes: Tensor) -> BothSteps:
    return both_steps(model, *episodes)


@torch.no_grad()
def encode_support(model: DcSam, support: Tensor, masks: Tensor) -> Support:
    return model.encode_support(model.encode(support.flatten(0, 1), support_only=True), masks)


def assert_alike(one: BothSteps, other: BothSteps) -> None:
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def random_labels(episodes: Episodes) -> SimpleNamespace:
    """What a loss asks of episodes; a quarter of the pixels does not count."""
    target = torch.rand(2, SIZE, SIZE, generator=torch.Generator().manual_seed(9)) > 0.5
    ignore = torch.zeros_like(target)
    ignore[:, : SIZE // 2, : SIZE // 2] = True
    return SimpleNamespace(
        support_masks=episodes.masks, query_mask=target.float(), query_ignore=ignore
    )


def losses(model: DcSam, episodes: Episodes, options: LossOptions) -> dict[str, Tensor]:
    support = model.encode(episodes.support.flatten(0, 1), support_only=True)
    return model(model.encode(episodes.query), support, random_labels(episodes), options)


def train_once(model: DcSam, episodes: Episodes) -> None:
    """One step; gradients stay for inspection, and every learnable weight must have one."""
    model.train()
    sum(losses(model, episodes, LossOptions()).values()).backward()
    learnable = learnable_weights(model)
    assert all(parameter.grad.isfinite().all() for parameter in learnable.values())
    torch.optim.SGD(learnable.values(), lr=0.1).step()


def recording(monkeypatch: pytest.MonkeyPatch, part: nn.Module, method: str) -> list[Tensor]:
    """The first argument of every call of a method from now on."""
    calls: list[Tensor] = []
    original = getattr(part, method)

    def recorded(first: Tensor, *others, **named):
        calls.append(first)
        return original(first, *others, **named)

    monkeypatch.setattr(part, method, recorded)
    return calls


def test_a_prediction_is_that_of_both_steps_with_presence(model: DcSam):
    episodes = random_episodes(1, shots=2)
    expected = predict(model, *episodes)
    assert expected.logits.shape == expected.pseudo_logits.shape == (2, SIZE, SIZE)
    assert expected.quality.shape == expected.object_logit.shape == (2,)
    assert expected.logits.isfinite().all()

    support = encode_support(model, episodes.support, episodes.masks)
    with torch.no_grad():
        prediction = model.predict(model.encode(episodes.query), support)
    torch.testing.assert_close(prediction.logits, expected.logits)
    torch.testing.assert_close(prediction.quality, expected.quality)
    assert prediction.presence.shape == (2,)
    assert ((prediction.presence >= 0) & (prediction.presence <= 1)).all()
    assert len(prediction.signals) == 2


@pytest.mark.parametrize("training", [False, True])
def test_each_image_is_encoded_once(model: DcSam, training: bool, monkeypatch: pytest.MonkeyPatch):
    batch, shots = 2, 3
    query, support, masks = random_episodes(0, batch, shots)
    encoded = recording(monkeypatch, model.segmenter, "encode_images")
    extracted = recording(monkeypatch, model.backbone, "extract")

    model.train(training)
    with torch.no_grad():
        concept, images = encode_support(model, support, masks), model.encode(query)
        for _ in range(3):
            model.predict(images, concept)
    model.eval()

    given = torch.cat([support.flatten(0, 1), query])
    assert torch.equal(torch.cat(extracted), given)
    assert [len(images) for images in encoded] == [batch * shots, batch]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"version": 2},
        {"negative_branch": False},
        {"segmenter_fusion": False, "cyclic": False},
        {"prior": True},
        {"position": "sam"},
        {"wiring": "release"},
    ],
    ids=str,
)
def test_a_step_moves_what_learns_and_nothing_else(options: dict):
    model = tiny_model(lively=True, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    train_once(model, random_episodes(0, shots=1 if "wiring" in options else 2))

    learnable = {f"generator.{name}" for name, _ in model.generator.named_parameters()}
    assert learnable_weights(model).keys() == learnable
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None and parameter.grad.any()) == (name in learnable), name
    moved = {name for name, value in model.state_dict().items() if value.ne(before[name]).any()}
    assert moved == learnable
    assert any(name.endswith("running_mean") for name in before)


def test_frozen_parts_stay_in_evaluation_mode(model: DcSam):
    model.train()
    frozen = [*model.backbone.modules(), *model.segmenter.modules()]
    assert model.training
    assert all(module.training for module in model.generator.modules())
    assert not any(module.training for module in frozen)
    model.eval()
    assert not any(module.training for module in model.modules())


def test_the_loss_is_of_the_final_mask_and_if_asked_for_of_the_pseudo_mask(model: DcSam):
    episodes = random_episodes(0)
    drawn = both_steps(model, *episodes)
    labels = random_labels(episodes)
    truth = (labels.query_mask, labels.query_ignore, "release")
    expected = mask_loss(drawn.logits, *truth).mean()
    pseudo = mask_loss(drawn.pseudo_logits, *truth).mean()

    alone = losses(model, episodes, LossOptions("release"))
    both = losses(model, episodes, LossOptions("release", pseudo_weight=0.3))

    torch.testing.assert_close(alone, {"mask": expected})
    torch.testing.assert_close(both, {"mask": expected, "pseudo_mask": 0.3 * pseudo})


def test_a_mask_is_replaced_in_evaluation_only(model: DcSam, monkeypatch: pytest.MonkeyPatch):
    asked, select = [], model.segmenter.select
    monkeypatch.setattr(
        model.segmenter, "select", lambda d, fallback: asked.append(fallback) or select(d, fallback)
    )
    for training in (False, True):
        predict(model.train(training), *random_episodes(0))
    model.eval()
    assert asked == [True, True, False, False]


@pytest.mark.parametrize("position", ["sine", "sam"])
@torch.no_grad()
def test_equals_the_steps_of_algorithm_1(
    model: DcSam, position: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(model, "position", position)
    query, support, masks = random_episodes(9)
    backbone, segmenter, generator = model.backbone, model.segmenter, model.generator
    dense = segmenter.dense_position(SIDE).flatten(2)[0].T
    sine = sine_position(segmenter.channels, SIDE)
    positions = (sine, None) if position == "sine" else (dense, dense)

    def resize(maps: Tensor, side: int) -> Tensor:
        return F.interpolate(maps, (side, side), mode="bilinear", align_corners=True)

    def shrink(masks: Tensor) -> Tensor:
        return masks[..., :: SIZE // SIDE, :: SIZE // SIDE]

    def maps_of(middle: Tensor, features) -> list[Tensor]:
        fold = generator.fold_levels
        embedding = fold(features) if fold else features.embedding
        return [generator.reduce(middle), resize(embedding, SIDE)]

    seen, shown = backbone.extract(query), backbone.extract(support[:, 0])
    features = segmenter.encode(query)
    query_maps = maps_of(seen.middle, features)
    support_maps = maps_of(shown.middle, segmenter.encode(support[:, 0]))
    starts, refined, known = [], [], []
    for branch, region in zip(generator.branches, (shrink(masks), 1 - shrink(masks)), strict=True):
        high = backbone.high(shown.trunk, region)
        prior = prior_mask(backbone.high(seen.trunk, None), high[:, None], region)
        area = region.sum((2, 3), keepdim=True) + 0.0005
        prototype = (support_maps[0] * region).sum((2, 3), keepdim=True) / area
        tokens = branch.fused(support_maps, prototype, region)
        starts.append(branch.prompt(tokens, region.flatten(1), positions))
        known.append((prototype, prior))
    pseudo_logits = resize(segmenter.decode(features, *starts), SIZE)
    pseudo = shrink((pseudo_logits > 0).float())
    for branch, start, region, fused in zip(
        generator.branches, starts, (pseudo, 1 - pseudo), known, strict=True
    ):
        tokens = branch.fused(query_maps, *fused)
        refined.append(branch.refine(start, tokens, region.flatten(1), positions))
    logits = resize(segmenter.decode(features, *refined), SIZE)

    found = predict(model, query, support, masks)
    torch.testing.assert_close(found.pseudo_logits, pseudo_logits[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.logits, logits[:, 0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_support_serves_many_queries_whose_features_can_be_taken_apart_and_joined(model: DcSam):
    query, support, masks = random_episodes(3, batch=3)
    images, concept = model.encode(query), encode_support(model, support[:1], masks[:1])
    joined = EncodedImages.join([images[2:], images[:2]])
    together = model.predict(joined, concept.expand(3))
    for row, i in enumerate((2, 0, 1)):
        alone = predict(model, query[i : i + 1], support[:1], masks[:1])
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dropping", [False, True])
def test_a_batch_equals_one_by_one(model: DcSam, dropping: bool):
    episodes, seeds = random_episodes(3, batch=3, shots=2), [(0, 1, i) for i in range(3)]

    def predict_some(rows: slice) -> BothSteps:
        dropout = drawn_by_episode(model, seeds[rows], shots=2) if dropping else nullcontext()
        with dropout:
            return predict(model, *(part[rows] for part in episodes))

    together = predict_some(slice(3))
    assert torch.equal(together.logits, predict(model, *episodes).logits) != dropping
    for i in range(3):
        row = slice(i, i + 1)
        assert_alike(BothSteps(*(part[row] for part in together)), predict_some(row))


@pytest.mark.parametrize("shots", [([0, 1, 2], [1, 2, 0]), ([0], [0, 0, 0])], ids=str)
def test_neither_the_order_nor_copies_of_shots_matter(model: DcSam, shots: tuple[list, list]):
    query, support, masks = random_episodes(4, shots=3)
    one, other = (predict(model, query, support[:, some], masks[:, some]) for some in shots)
    assert_alike(one, other)


def test_the_support_matters(model: DcSam):
    query, support, masks = random_episodes(6)
    logits = predict(model, query, support, masks).logits
    for other in ((support, 1 - masks), (support.flip(0), masks)):
        assert not torch.allclose(logits, predict(model, query, *other).logits)


@pytest.mark.parametrize("shots", [1, 2])
def test_an_empty_mask_is_refused(model: DcSam, shots: int):
    _, support, masks = random_episodes(0, shots=shots)
    masks[1, -1] = 0
    with pytest.raises(ValueError, match="empty support mask"):
        encode_support(model, support, masks)


def test_masks_of_one_pixel_and_of_every_pixel_give_finite_gradients():
    episodes = random_episodes(0)
    episodes.masks[0], episodes.masks[1] = 0, 1
    episodes.masks[0, 0, 13, 21] = 1
    train_once(tiny_model(lively=True), episodes)


def test_gradients_pass_the_frozen_decoder_but_not_the_pseudo_mask(model: DcSam):
    drawn = both_steps(model, *random_episodes(0))
    final = torch.autograd.grad(
        drawn.logits.sum(), drawn.pseudo_logits, allow_unused=True, retain_graph=True
    )
    assert final == (None,)
    (gradient,) = torch.autograd.grad(
        drawn.pseudo_logits.square().sum(), model.generator.positive.query.weight
    )
    assert gradient.any()


@pytest.mark.parametrize("option", [{"wiring": "release"}, {"position": "sam"}], ids=str)
def test_an_option_without_parameters_changes_the_result(model: DcSam, option: dict):
    other = tiny_model(1 + model.has_memory, **option)
    other.load_state_dict(model.state_dict())
    paper, changed = (predict(one, *random_episodes(8)).logits for one in (model, other))
    assert not torch.allclose(paper, changed, atol=1e-5)


@pytest.mark.parametrize("version", [1, 2])
def test_the_release_takes_one_shot_and_with_sam_1_alone_refines_shifted_prompts(
    version: int, monkeypatch: pytest.MonkeyPatch
):
    model = tiny_model(version, wiring="release")
    assert model.most_shots == 1
    query, support, masks = random_episodes(0)
    concept = encode_support(model, support, masks)
    started = [recording(monkeypatch, branch, "refine") for branch in model.generator.branches]
    with torch.no_grad():
        model.predict(model.encode(query), concept)

    table = model.segmenter.prompt_encoder.point_embeddings
    labels = (POINT_POSITIVE, POINT_NEGATIVE)
    for branch, (start,), label in zip(concept.branches, started, labels, strict=True):
        shift = table[label].weight if version == 1 else torch.zeros(1)
        torch.testing.assert_close(start, branch.prompts + shift)


def test_half_precision_gives_finite_masks_and_gradients(model: DcSam):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drawn = both_steps(model, *random_episodes(0))
    assert drawn.logits.dtype == torch.float32
    assert drawn.logits.isfinite().all()
    gradients = torch.autograd.grad(
        drawn.logits.square().mean(), list(learnable_weights(model).values())
    )
    assert all(gradient.isfinite().all() for gradient in gradients)
