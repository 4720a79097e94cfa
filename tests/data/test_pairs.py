from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from common.errors import UsageError
from common.pair_rules import PairRules, Placement, ResizedCrop, ScaleJitter, ViewRule
from data.annotated.source import AnnotatedImages, Annotation, lists_by_class
from data.mixture import Mixture, Part
from data.pairs import PairDataset


class Whole(ViewRule):
    """Shows the picture as it is, or only its left part."""

    side = 8

    def __init__(self, width=8):
        self.width = width

    def draw(self, size, random):
        return Placement(False, (0, 0, *size), size, (0, 0, size[0], self.width))


class Blocks(AnnotatedImages):
    """Pictures of 8 x 8; each object is a column, listed as (column, class, id, crowd)."""

    kind = "instance"
    domain = "drawings"

    def __init__(self, pictures, name="blocks"):
        self.name = name
        self.pictures = pictures
        self.class_names = {c: f"class {c}" for p in pictures.values() for _, c, _, _ in p}

    @property
    def names(self):
        return list(self.pictures)

    @property
    def images_of(self):
        shown = [
            (c, place)
            for place, objects in enumerate(self.pictures.values())
            for _, c, _, crowd in objects
            if not crowd
        ]
        return lists_by_class(*np.array(shown).T)

    def fingerprint(self):
        return str(self.pictures)

    def read(self, name):
        objects = self.pictures[name]
        masks = np.zeros((len(objects), 8, 8), dtype=bool)
        for mask, (column, *_) in zip(masks, objects, strict=True):
            mask[:, column] = True
        classes, ids, crowd = (np.array([o[k] for o in objects]) for k in (1, 2, 3))
        pixels = np.full((8, 8, 3), self.names.index(name), dtype=np.uint8)
        return pixels, Annotation(masks, classes, ids, crowd.astype(bool))


PICTURES = {
    "a": [(0, 5, 11, False), (6, 3, 12, False), (2, 5, 13, False), (4, 9, 14, True)],
    "b": [(1, 5, 21, False), (7, 2, 22, False)],
}


def pair(rules, pictures=PICTURES, index=0, **part):
    return PairDataset(Mixture([Part(Blocks(pictures), rules, **part)], 50, 0), 0)[index]


def columns(objects):
    assert torch.equal(objects.masks.all(dim=1), objects.masks.any(dim=1))
    return [mask[0].nonzero().flatten().tolist() for mask in objects.masks]


def test_one_mask_of_the_drawn_class():
    found = pair(PairRules(Whole(), same_image=0.0, keep="class"))
    assert found.keys[0].class_id == 5  # the only class with two pictures
    shown = {"a": [[0, 2]], "b": [[1]]}
    assert columns(found.support[0]) == shown[found.keys[0].support]
    assert columns(found.query[0]) == shown[found.keys[0].query]
    assert found.query[0].class_ids.tolist() == found.query[0].ids.tolist() == [5]
    assert found.class_names == ("class 5",)
    assert found.same_image == (False,)
    assert {*found.query_names, *found.support_names} == {"blocks/a", "blocks/b"}


def test_all_classes_of_the_support():
    found = pair(PairRules(Whole(), same_image=1.0, keep="classes"), {"a": PICTURES["a"]})
    assert found.same_image == (True,)
    for objects in (found.support[0], found.query[0]):  # by class; the crowd is left out
        assert objects.class_ids.tolist() == [3, 5, 5]
        assert objects.ids.tolist() == [12, 11, 13]
        assert columns(objects) == [[6], [0], [2]]


def test_the_query_keeps_classes_that_the_supports_view_shows():
    rules = PairRules(Whole(), support_view=Whole(3), same_image=1.0, keep="classes")
    found = pair(rules, {"a": PICTURES["a"]})
    assert found.support_sizes.tolist() == [[[8, 3]]]
    assert found.query_sizes.tolist() == [[8, 8]]
    assert found.support[0].ids.tolist() == found.query[0].ids.tolist() == [11, 13]
    rules = replace(rules, view=Whole(2), support_view=Whole(), crowd=True)
    found = pair(rules, {"a": PICTURES["a"]})
    assert found.support[0].ids.tolist() == [12, 11, 13, 14]
    assert found.query[0].ids.tolist() == [11]


def test_two_pictures_share_classes_and_no_objects():
    rules = PairRules(Whole(), same_image=0.0, keep="classes")
    found = next(f for n in range(9) if (f := pair(rules, index=n)).keys[0].support == "b")
    assert found.support[0].ids.tolist() == [22, 21]
    assert found.query[0].ids.tolist() == [11, 13]


def test_objects_seen_in_both_views_in_one_random_order():
    rules = PairRules(
        Whole(), support_view=Whole(3), same_image=1.0, keep="objects", most_objects=2
    )
    orders = set()
    for index in range(40):
        found = pair(rules, {"a": PICTURES["a"]}, index)
        assert found.support[0].ids.tolist() == found.query[0].ids.tolist()
        orders.add(tuple(found.query[0].ids.tolist()))
    assert orders == {(11,), (13,), (11, 13), (13, 11)}


def test_where_nothing_is_seen_another_pair_is_drawn():
    hidden = {"a": [(6, 5, 11, False)], "b": [(0, 5, 21, False)]}
    for keep in ("class", "classes", "objects"):
        rules = PairRules(Whole(3), same_image=1.0, keep=keep)
        assert {pair(rules, hidden, n).keys[0].query for n in range(20)} == {"b"}
        taken = replace(rules, allow_empty=True)
        found = [pair(taken, hidden, n) for n in range(20)]
        assert {one.keys[0].query for one in found} == {"a", "b"}
        empty = next(one for one in found if one.keys[0].query == "a")
        assert not empty.query[0].masks.any()
        assert len(empty.query[0].ids) == (0 if keep == "classes" else 1)
        with pytest.raises(UsageError, match="100 pairs in a row"):
            pair(rules, {"a": hidden["a"]})


SEEN = PairRules(ScaleJitter(8, low=1.0), keep="classes")
FOUND_AGAIN = PairRules(ResizedCrop(8), same_image=1.0, keep="objects")


def mixed(epoch):
    other = Blocks(PICTURES, "other")
    parts = [Part(Blocks(PICTURES), SEEN), Part(other, FOUND_AGAIN, 2.0, "image")]
    return PairDataset(Mixture(parts, 8, 3), epoch)


def batches(epoch, workers):
    dataset = mixed(epoch)
    loader = DataLoader(dataset, 2, num_workers=workers, collate_fn=dataset.join)
    return list(loader)


def everything(batch):
    """Every number and word of a batch, to be compared."""
    objects = [getattr(o, n) for o in batch.support + batch.query for n in vars(o)]
    tensors = [batch.support_images, batch.support_sizes, batch.query_image, batch.query_sizes]
    words = (batch.keys, batch.indices, batch.kinds, batch.class_names)
    return words, [t.tolist() for t in (*tensors, *objects)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_change_nothing():
    alone = [everything(batch) for batch in batches(0, 0)]
    assert [everything(batch) for batch in batches(0, 1)] == alone
    assert [everything(batch) for batch in batches(0, 4)] == alone
    assert [everything(batch) for batch in batches(1, 0)] != alone


def test_batches_have_what_the_loop_of_training_needs():
    dataset = mixed(0)
    batch = dataset.join([dataset[n] for n in range(5)])
    assert batch.shots == 1
    assert batch.indices == (0, 1, 2, 3, 4)
    assert batch.support_images.shape == (5, 1, 3, 8, 8)
    assert batch.query_image.shape == (5, 3, 8, 8)
    assert batch.support_sizes.shape == (5, 1, 2)
    assert len(batch.query) == len(batch.support) == len(batch.class_names) == 5
    assert everything(batch.to("cpu")) == everything(batch)
    meta = batch.to("meta")
    assert meta.query_image.is_meta
    assert meta.support[3].masks.is_meta
    with pytest.raises(IndexError):
        dataset[8]
