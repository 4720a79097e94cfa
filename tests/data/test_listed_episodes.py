"""Published lists of episodes, in the forms in which they are passed on."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from common.errors import UsageError
from data.benchmarks import EpisodeKey
from data.listed_episodes import find_episodes

PASCAL = {"2007_000033": (1,), "2007_000042": (1, 2), "2008_000291": (1,), "2008_000300": (2,)}
COCO = {
    "val2014/COCO_val2014_000000000139": (2, 61),
    "val2014/COCO_val2014_000000000285": (2, 61),
    "val2014/COCO_val2014_000000001139": (61,),
}
FSS = {"abacus/1": (1,), "abacus/2": (1,), "ab_wheel/1": (2,), "ab_wheel/2": (2,)}


@dataclass
class Pictures:
    """What of a split lists are compared with."""

    class_lists: dict[str, tuple[int, ...]]
    class_names: dict[int, str]
    benchmark: str = "pascal"
    fold: int = 0
    role: str = "test"
    sampler: str = "image"
    small: dict[str, int] = field(default_factory=dict)
    """Picture -> a class of which it shows a pixel."""

    @property
    def classes(self) -> tuple[int, ...]:
        return tuple(self.class_names)

    def read_class(self, name: str, class_id: int) -> tuple[None, np.ndarray]:
        mask = np.zeros((2, 2), np.uint8)
        mask[0, 0] = self.small.get(name) == class_id
        return None, mask


PASCAL_FOLD = Pictures(PASCAL, {1: "aeroplane", 2: "bicycle"})
COCO_FOLD = Pictures(COCO, {2: "bicycle", 61: "dining table"}, "coco")
FSS_TEST = Pictures(FSS, {1: "abacus", 2: "ab wheel"}, "fss1000")
FIRST = EpisodeKey(1, "2007_000033", ("2008_000291",))


def find(tmp_path, text: str, split: Pictures = PASCAL_FOLD, shots: int = 1, **options):
    path = tmp_path / "list.txt"
    path.write_text(text)
    return find_episodes(path, split, shots, seed=0, **options)


@pytest.mark.parametrize(
    "text",
    [
        "2007_000033 2008_000291 1\n",
        "# query support class\n\n1 2007_000033 2008_000291\n",
        "2007_000033.jpg, 2008_000291.jpg, aeroplane",
        "2007_000033__01 2008_000291__01",
        "VOC2012/JPEGImages/2007_000033.jpg\tJPEGImages/2008_000291.jpg\t1",
        "JPEGImages/2007_000033.jpg SegmentationClassAug/2007_000033.png "
        "JPEGImages/2008_000291.jpg SegmentationClassAug/2008_000291.png 1",
        '[{"query": "2007_000033", "support": ["2008_000291"], "class": 1}]',
        '{"episodes": [{"query_name": "2007_000033.jpg", "support_names": "2008_000291",\n'
        '"class_name": "aeroplane"}]}',
        '{"query": "2007_000033", "reference": "2008_000291", "category_id": "1"}\n',
        '[1, "2007_000033", ["2008_000291"]]\n',
        '[["2007_000033", "2008_000291", 1]]',
    ],
)
def test_every_form_says_the_same(tmp_path, text):
    found = find(tmp_path, text)
    assert found.keys == [FIRST]
    assert (found.numbering, found.drawn) == ("as here", False)


def test_classes_may_be_counted_from_0(tmp_path):
    # 1 would be bicycle if counted as here, which 2007_000042 shows and 2008_000291 does not
    text = "2007_000042 2008_000300 1\n2007_000033 2008_000291 0\n"
    found = find(tmp_path, text)
    assert [key.class_id for key in found.keys] == [2, 1]
    assert found.numbering == "from 0"


def test_coco_has_numbers_of_its_own(tmp_path):
    # the dining table is COCO's category 67 and the 61st class here; pictures have numbers, too
    text = "139 285 67\n000000000285 COCO_val2014_000000001139.jpg 67\n"
    found = find(tmp_path, text, COCO_FOLD)
    assert found.numbering == "by COCO's category_id"
    one, other, third = COCO
    assert found.keys == [EpisodeKey(61, one, (other,)), EpisodeKey(61, other, (third,))]


def test_folders_tell_pictures_of_the_same_name_apart(tmp_path):
    found = find(tmp_path, "ab_wheel/1.jpg ab_wheel/2.jpg ab_wheel", FSS_TEST)
    assert found.keys == [EpisodeKey(2, "ab_wheel/1", ("ab_wheel/2",))]
    with pytest.raises(UsageError, match=r"line 1: 1\.jpg may be ab_wheel/1 or abacus/1"):
        find(tmp_path, "1.jpg 2.jpg ab_wheel", FSS_TEST)


def test_a_list_of_queries_has_its_supports_drawn(tmp_path):
    # of the bicycle there are two pictures, so each can only be shown by the other
    found = find(tmp_path, "2007_000042__02\n2008_000300__02\n", count=3)
    one, other = "2007_000042", "2008_000300"
    assert found.drawn
    assert found.keys == [
        EpisodeKey(2, one, (other,)),
        EpisodeKey(2, other, (one,)),
        EpisodeKey(2, one, (other,)),
    ]


def test_few_pixels_of_a_class_are_enough_for_a_support(tmp_path):
    shown = Pictures(PASCAL, PASCAL_FOLD.class_names, small={"2008_000300": 1})
    assert find(tmp_path, "2007_000033 2008_000300 1", shown).keys[0].class_id == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2007_000033 2008_000291 1\n2007_000033 2009_000001 1", r"line 2: unknown picture 2009_0"),
        ("\n2007_000033 2008_000300 1", r"line 2: 2008_000300 does not show class 1 \(aeroplane\)"),
        ("2007_000033 2008_000291 7", "line 1: class 7 is not tested; there are 1 aeroplane, 2 bi"),
        ("2007_000033 2008_000291 cat", "line 1: class cat is not tested"),
        ("2007_000033__01 2008_000291__02", "line 1: an episode has one class, not 01 and 02"),
        ("2007_000033\n", "line 1: an episode has one class, not none"),
        ("2007_000033 2008_000291 1\n2007_000033 1", "line 2: 0 supports, where line 1 has 1"),
        ("2007_000033 2007_000042 2008_000291 1", "has episodes of 2 supports, not of 1"),
        ('{"query": "2007_000033"', "line 1: no JSON"),
        ('[{"query": "2007_000033", "class": 1}, {"class": 1}]', "episode 2: an episode has one q"),
        ('{"query": "a", "target": "b", "class": 1}', "line 1: query and target both name the que"),
        ('[["2007_000033", null, 1]]', "episode 1: neither a picture nor a class: null"),
        ("# nothing\n", "lists no episode"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, told):
    with pytest.raises(UsageError, match=told):
        find(tmp_path, text)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "fold0.pkl").write_bytes(b"\x80\x04\x95\xff")
    with pytest.raises(UsageError, match="is no text"):
        find_episodes(tmp_path / "fold0.pkl", PASCAL_FOLD, 1, 0)
    with pytest.raises(UsageError, match="cannot read the episode file"):
        find_episodes(tmp_path / "nowhere", PASCAL_FOLD, 1, 0)
