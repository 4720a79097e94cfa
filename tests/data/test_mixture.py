from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from common.errors import UsageError
from common.pair_rules import PairRules, ScaleJitter
from data.annotated.source import AnnotatedImages
from data.mixture import Mixture, Part, pair_hash


class Listed(AnnotatedImages):
    """A source of which nothing is read."""

    kind = "instance"
    domain = "drawings"

    def __init__(self, name, images_of):
        self.name = name
        self.class_names = {c: f"class {c}" for c in images_of}
        self._images_of = {c: np.array(images) for c, images in images_of.items()}

    @property
    def names(self):
        return [f"{n}.jpg" for n in range(max(map(max, self._images_of.values())) + 1)]

    @property
    def images_of(self):
        return self._images_of

    def fingerprint(self):
        return f"{self.name}-files"

    def read(self, name):
        raise AssertionError("a mixture reads nothing")


RULES = PairRules(ScaleJitter(64))
MANY = Listed("many", {1: range(90), 2: range(90, 100), 7: [100]})
FEW = Listed("few", {1: [0, 1], 4: [1, 2]})


def test_classes_by_picture():
    assert [FEW.classes_of[n].tolist() for n in range(3)] == [[1], [1, 4], [4]]
    assert len(MANY.classes_of) == 101


def test_sources_by_weight_and_classes_uniformly():
    keys = Mixture([Part(MANY, RULES, 3.0), Part(FEW, RULES, 1.0)], 4000, 0).keys(0)
    counts = Counter(key.source for key in keys)
    assert 2900 < counts["many"] < 3100
    classes = Counter(key.class_id for key in keys if key.source == "many")
    assert all(900 < classes[c] < 1100 for c in (1, 2, 7))


def test_pictures_first():
    keys = Mixture([Part(MANY, RULES, draw="image")], 4000, 0).keys(0)
    classes = Counter(key.class_id for key in keys)
    assert 3480 < classes[1] < 3640  # 90 of 101 pictures
    assert 20 < classes[7] < 65  # one of them


@pytest.mark.parametrize("draw", ["class", "image"])
def test_supports(draw):
    place = {"many": MANY, "few": FEW}
    shown = {
        (name, c): {source.names[i] for i in images}
        for name, source in place.items()
        for c, images in source.images_of.items()
    }
    same = Counter()
    for key in Mixture([Part(MANY, RULES, draw=draw), Part(FEW, RULES, draw=draw)], 3000, 1).keys(
        0
    ):
        assert {key.query, key.support} <= shown[key.source, key.class_id]
        same[key.query == key.support, key.class_id == 7] += 1
    assert same[False, True] == 0  # a class with one picture
    assert 0.45 < same[True, False] / (same[True, False] + same[False, False]) < 0.55


def test_two_pictures_are_two_and_leave_single_ones_out():
    rules = replace(RULES, same_image=0.0)
    for draw in ("class", "image"):
        mixture = Mixture([Part(MANY, rules, draw=draw)], 500, 0)
        keys = mixture.keys(0)
        assert mixture.left_out == {"many": (7,)}
        assert all(key.query != key.support and key.class_id != 7 for key in keys)
    others = Counter(key.support for key in keys if key.query == "95.jpg")
    assert "95.jpg" not in others


def test_one_picture_is_one():
    rules = replace(RULES, same_image=1.0, keep="objects")
    keys = Mixture([Part(MANY, rules)], 100, 0).keys(0)
    assert all(key.query == key.support for key in keys)


def test_a_place_depends_on_seed_epoch_index_and_attempt_alone():
    def make(pairs, seed):
        return Mixture([Part(MANY, RULES), Part(FEW, RULES)], pairs, seed)

    long, short = make(60, 0), make(20, 0)
    assert long.keys(3)[:20] == short.keys(3)
    assert long.key(3, 11) == short.keys(3)[11]
    hashes = {pair_hash(m.keys(e)) for m, e in ((short, 3), (short, 4), (make(20, 1), 3))}
    assert len(hashes) == 3
    assert len({long.key(0, 0, attempt) for attempt in range(20)}) > 4


def test_the_fingerprint_names_what_is_drawn_from():
    part = Part(MANY, RULES)
    prints = {
        Mixture([one, Part(FEW, RULES)], 10, 0).fingerprint()
        for one in (
            part,
            replace(part, weight=2.0),
            replace(part, draw="image"),
            replace(part, rules=replace(RULES, crowd=True)),
        )
    }
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "needs sources"),
        ([Part(MANY, RULES, 0.0)], "above 0"),
        ([Part(MANY, RULES), Part(MANY, RULES)], "different names"),
        ([Part(Listed("one", {1: [0]}), replace(RULES, same_image=0.0))], "no class has the 2"),
    ],
)
def test_what_cannot_be_drawn_from(parts, message):
    with pytest.raises(UsageError, match=message):
        Mixture(parts, 10, 0)
