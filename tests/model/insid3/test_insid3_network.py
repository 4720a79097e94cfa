"""INSID3 behind the interface of methods, on the tiny network of the repository."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from data.synthetic.drawing import random_scene
from data.synthetic.shapes import SHAPES, TEXTURES
from model.insid3.builder import build_encoder, build_insid3
from model.insid3.config import SIZES, Insid3Options
from model.insid3.encoder import CellFeatures
from model.insid3.network import Insid3
from model.presence import PresenceScale
from model.registry import METHODS
from tests.helpers import coloured_cells

SIDE = 128


@pytest.fixture(scope="module")
def tiny() -> Insid3:
    return build_insid3(Insid3Options(size="tiny"))


@pytest.fixture(scope="module")
def pictures(tiny) -> Tensor:
    return torch.stack([tiny.geometry.image(coloured_cells(seed)) for seed in range(4)])


def masks(shots: int) -> Tensor:
    marked = torch.zeros(1, shots, SIDE, SIDE)
    for shot in range(shots):
        marked[0, shot, 30 + 4 * shot : 70, 20:80] = 1
    return marked


def drawn_scene(random: np.random.Generator, pair: tuple[str, str]) -> tuple[np.ndarray, Tensor]:
    """A drawn picture of a pair of shape and texture among others, and the pair's mask."""
    others = [(shape, texture) for shape in SHAPES for texture in TEXTURES if shape != pair[0]]
    instances, drawing = random_scene(random, SIDE, pair, others)
    wanted = [i + 1 for i, one in enumerate(instances) if (one.shape, one.texture) == pair]
    return drawing.image, torch.from_numpy(np.isin(drawing.instances, wanted)).float()


class TestInterface:
    def test_it_is_ready_without_training(self):
        entry = METHODS["insid3"]
        assert entry.ready
        assert entry.restore is None
        assert not entry.hyper_parameters

    def test_it_finds_what_is_drawn_again_among_other_things(self, tiny):
        random, overlaps = np.random.default_rng(0), []
        for pair in zip(SHAPES, TEXTURES, strict=False):
            (shown, marked), (picture, wanted) = (drawn_scene(random, pair) for _ in range(2))
            reference, query = (tiny.encode(tiny.geometry.image(p)[None]) for p in (shown, picture))
            found = tiny.predict(query, tiny.encode_support(reference, marked[None, None]))
            inside, wanted = found.logits[0] > 0, wanted > 0
            overlaps.append((inside & wanted).sum() / (inside | wanted).sum())
        assert len(overlaps) >= 5
        assert torch.stack(overlaps).mean() > 0.6

    def test_a_prediction_has_the_promised_shapes_and_ranges(self, tiny, pictures):
        support = tiny.encode_support(tiny.encode(pictures[:2], support_only=True), masks(2))
        found = tiny.predict(tiny.encode(pictures[2:]), support.expand(2))
        assert found.logits.shape == (2, SIDE, SIDE)
        assert found.logits.dtype == torch.float32
        assert found.signals.shape == (2, 3)
        for value in (found.quality, found.presence):
            assert value.shape == (2,)
            assert ((value >= 0) & (value <= 1)).all()
        assert found.objects is None

    def test_a_batch_gives_what_each_query_gives_alone(self, tiny, pictures):
        support = tiny.encode_support(tiny.encode(pictures[:2]), masks(2))
        images = tiny.encode(pictures[2:])
        together = tiny.predict(images, support.expand(2))
        for row in range(2):
            alone = tiny.predict(images[row : row + 1], support)
            assert torch.equal(together.logits[row] > 0, alone.logits[0] > 0)
            torch.testing.assert_close(together.signals[row], alone.signals[0])

    def test_features_are_joined_as_they_were_split(self, tiny, pictures):
        images = tiny.encode(pictures)
        joined = CellFeatures.join([images[:1], images[1:]])
        assert torch.equal(joined.cells, images.cells)
        assert joined.grid == (16, 16)

    def test_the_order_of_references_does_not_matter(self, tiny, pictures):
        images, marked = tiny.encode(pictures[:3]), masks(3)
        order = [2, 0, 1]
        turned = CellFeatures(images.cells[order], images.grid)
        query = tiny.encode(pictures[3:])
        one = tiny.predict(query, tiny.encode_support(images, marked))
        other = tiny.predict(query, tiny.encode_support(turned, marked[:, order]))
        torch.testing.assert_close(one.logits, other.logits)

    def test_concepts_are_independent_of_each_other(self, tiny, pictures):
        images, marked = tiny.encode(pictures[:2]), masks(2)
        both = tiny.encode_support(images, marked.transpose(0, 1))
        second = tiny.encode_support(images[1:], marked[:, 1:])
        assert torch.equal(both.masks[1:], second.masks)
        torch.testing.assert_close(both.references[1:], second.references)

    def test_an_empty_mask_is_refused(self, tiny, pictures):
        with pytest.raises(ValueError, match="empty support mask"):
            tiny.encode_support(tiny.encode(pictures[:1]), torch.zeros(1, 1, SIDE, SIDE))

    def test_it_stays_frozen_and_in_evaluation_mode(self, tiny, pictures):
        before = {name: value.clone() for name, value in tiny.state_dict().items()}
        tiny.train()
        assert not any(module.training for module in tiny.modules())
        assert not any(value.requires_grad for value in tiny.parameters())
        assert not tiny.encode(pictures[:1].clone().requires_grad_()).cells.requires_grad
        assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())

    def test_in_bfloat16_only_the_encoder_is_rounded(self, tiny, pictures):
        exact = tiny.encode(pictures)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = tiny.encode(pictures)
            support = tiny.encode_support(exact[:2], masks(2))
            found = tiny.predict(exact[2:3], support)
        assert rounded.cells.dtype == torch.float32
        similarity = (rounded.cells * exact.cells).sum(dim=2)
        assert 0.99 < similarity.min() < 1
        expected = tiny.predict(exact[2:3], tiny.encode_support(exact[:2], masks(2)))
        assert torch.equal(found.logits, expected.logits)

    def test_a_calibration_is_used(self, pictures):
        method = build_insid3(Insid3Options(size="tiny"))
        images = method.encode(pictures[:2])
        support = method.encode_support(images[:1], masks(1))
        method.presence_scale = PresenceScale((0.0, 0.0, 0.0), 0.0)
        assert method.predict(images[1:], support).presence.tolist() == [0.5]


class TestOptions:
    def test_every_size_reads_one_official_file_but_tiny(self):
        files = {size: Insid3Options(size=size).files() for size in ("large", "base", "small")}
        assert files == {"large": ("dinov3_l",), "base": ("dinov3_b",), "small": ("dinov3_s",)}
        assert Insid3Options(size="tiny").files() == ()
        assert Insid3Options(random_weights=True).files() == ()

    def test_all_problems_are_told_at_once(self):
        options = Insid3Options(
            image_size=1000, tau=1.5, merge_threshold=-0.1, basis_coordinate_factors="1,x"
        )
        assert [problem.split()[0] for problem in options.problems()] == [
            "--image_size",
            "--tau",
            "--merge_threshold",
            "--basis_coordinate_factors:",
        ]
        assert Insid3Options(size="tiny", basis_coordinate_factors="1").problems()
        assert not Insid3Options(basis_coordinate_factors="0.9,1.1").problems()

    @pytest.mark.parametrize(
        ("size", "side", "components", "most"),
        [("small", 128, 63, 62), ("small", None, 384, 383), ("large", 256, None, 254)],
    )
    def test_a_basis_that_would_span_everything_is_refused(self, size, side, components, most):
        options = Insid3Options(size=size, image_size=side, components=components)
        (problem,) = options.problems()
        assert f"between 1 and {most} of use" in problem
        assert not replace(options, components=most).problems()
        assert replace(options, components=0).problems()

    def test_the_encoder_is_as_wide_as_the_table_says(self):
        for size in ("tiny", "small"):
            options = Insid3Options(size=size, random_weights=True)
            encoder = build_encoder(options)
            assert encoder.channels == SIZES[size].channels
            assert encoder.stride == SIZES[size].stride

    def test_options_survive_a_header(self):
        options = Insid3Options(size="tiny", crf=True, tau=0.5)
        assert Insid3Options.from_json(options.to_json(), "a file") == options


def test_an_untrained_dinov3_runs_with_refined_edges_and_published_factors(pictures):
    options = Insid3Options(
        size="small",
        image_size=SIDE,
        random_weights=True,
        crf=True,
        basis_coordinate_factors=",".join(["1.1"] * 12),
    )
    method = build_insid3(options)
    images = method.encode(pictures[:2])
    assert images.pictures is not None
    joined = CellFeatures.join([images[:1], images[1:]])
    assert torch.equal(joined.pictures, pictures[:2])
    reference = method.encode(pictures[:1], support_only=True)
    assert reference.pictures is None
    found = method.predict(images[:1], method.encode_support(reference, masks(1)))
    assert found.logits.isfinite().all()
