from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.layers import drawn_by_episode
from model.sam.segmenter import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NOT_A_POINT, POINT_POSITIVE
from model.segic.builder import build_segic
from model.segic.config import SegicLossOptions, SegicOptions
from model.segic.network import Segic
from model.segic.training import PairDraws, pair_rules
from tests.golden.fill import disc, image, rect
from tests.golden.segic_case import noted
from tests.training_pairs import Pairs, Shown

SIDE = 112
OPTIONS = SegicLossOptions(points=64)


PAIRS = Pairs(
    support=(
        Shown.of(disc(SIDE, SIDE, 40, 60, 30)),
        Shown.of(rect(SIDE, SIDE, 4, 4, 50, 60), disc(SIDE, SIDE, 80, 80, 25)),
    ),
    query=(
        Shown.of(disc(SIDE, SIDE, 60, 40, 20)),
        Shown.of(rect(SIDE, SIDE, 20, 14, 70, 70), disc(SIDE, SIDE, 90, 90, 15)),
    ),
    kinds=("semantic", "instance"),
    class_names=("dog", "dog"),
)
SEEDS = [(0, 1, 7), (0, 1, 8)]


@pytest.fixture(scope="module")
def model() -> Segic:
    torch.manual_seed(0)
    return build_segic(SegicOptions(shrunk=True, image_size=SIDE)).train()


def loss(model: Segic, rows: slice, options: SegicLossOptions = OPTIONS) -> dict[str, Tensor]:
    pairs, seeds = PAIRS[rows], SEEDS[rows]
    pictures = [image(f"input/{name}", 2, SIDE, SIDE)[rows] for name in ("query", "support")]
    with drawn_by_episode(model, seeds, shots=1):
        return model.training_loss(*map(model.encode, pictures), pairs, options)


def test_pairs_lose_together_what_they_lose_alone(model: Segic):
    together = loss(model, slice(0, 2))
    alone = [loss(model, slice(row, row + 1)) for row in range(2)]
    assert model.loss_terms(PAIRS) == {"mask": 3.0, "dice": 3.0}
    for name, value in together.items():
        terms = [model.loss_terms(PAIRS[row : row + 1])[name] for row in range(2)]
        mean = sum(n * one[name] for n, one in zip(terms, alone, strict=True)) / sum(terms)
        assert value.item() == pytest.approx(mean.item(), rel=1e-5)


def test_what_is_drawn_depends_on_the_seeds_alone():
    def drawn(*seed: int) -> list:
        draws = PairDraws.of(np.random.SeedSequence(seed), 2, 16)
        ways = (draws.there, draws.back)
        return [(way.text, way.box, way.negatives, way.points.candidates.sum()) for way in ways]

    assert drawn(0, 1, 2) == drawn(0, 1, 2)
    every = [value for way in (*drawn(0, 1, 2), *drawn(0, 1, 3)) for value in way]
    assert len(set(map(float, every))) == len(every)


def labels(model: Segic, options: SegicLossOptions) -> Sequence[list[int]]:
    with noted(model.decoder) as notes:
        loss(model, slice(0, 2), options)
    return [hints.labels[0].tolist() for hints in notes.hints]


def test_boxes_and_negatives_as_often_as_they_are_asked_for(model: Segic):
    never = replace(OPTIONS, box_share=0.0, negative_share=0.0, reversion=False)
    assert labels(model, never) == [[POINT_POSITIVE, NOT_A_POINT]] * 2
    always = replace(never, box_share=1.0, negative_share=1.0)
    boxed = [POINT_POSITIVE, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
    assert labels(model, always) == [boxed] * 2
    assert labels(model, replace(always, reversion=True)) == [boxed] * 4
    for options, tokens in ((never, [1, 1]), (always, [1, 2])):
        with noted(model.decoder) as notes:
            loss(model, slice(0, 2), options)
        assert [hints.prototypes.shape[1] for hints in notes.hints] == tokens
        assert all((hints.own is None) == (options is never) for hints in notes.hints)


def test_names_are_said_as_often_as_they_are_asked_for(model: Segic, monkeypatch):
    said = []
    monkeypatch.setattr(
        type(model), "meta_tokens", lambda self, some: said.append(list(some)) or torch.zeros(2, 64)
    )
    for share in (1.0, 0.0):
        loss(model, slice(0, 2), replace(OPTIONS, text_share=share, reversion=False))
    instances = "please segment the instances"
    assert said == [["a photo of a dog", instances], ["", instances]]


def test_only_the_decoder_learns(model: Segic):
    model.zero_grad()
    sum(loss(model, slice(0, 2)).values()).backward()
    learned = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learned
    assert all(name.startswith("decoder.") for name in learned)


def test_how_pairs_are_made():
    ours, release = (
        pair_rules(896, SegicLossOptions(views=views)) for views in ("kept_aspect", "release")
    )
    for rules, wrong in ((ours, False), (release, True)):
        classes, objects = rules["semantic"][0], rules["instance"][0]
        assert (classes.same_image, classes.keep, objects.same_image, objects.keep) == (
            *(0, "class"),
            *(1, "objects"),
        )
        assert objects.most_objects == 19
        assert [view.squash for view in classes.views] == [wrong, False]
        assert objects.crowd == classes.allow_empty == wrong
        draws = {name: draw for name, (_, draw) in rules.items()}
        assert draws == {"semantic": "class", "ade20k_semantic": "image", "instance": "image"}


def test_options_that_cannot_be_used():
    wrong = SegicLossOptions(points=3, text_share=1.5, most_objects=0).problems()
    assert [problem.split()[0] for problem in wrong] == [
        "--text_share",
        "--points",
        "--most_objects",
    ]
    assert SegicLossOptions().problems() == []
