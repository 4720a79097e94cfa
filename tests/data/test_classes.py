import pytest

from common.errors import UsageError
from data.classes import (
    COCO_CATEGORY_IDS,
    COCO_CLASSES,
    VOC_CLASSES,
    VOC_TO_COCO,
    every_nth,
    fold_classes,
    in_voc_words,
    in_words,
)


def test_classes_are_numbered_as_in_the_masks():
    assert (len(VOC_CLASSES), VOC_CLASSES[1], VOC_CLASSES[20]) == (20, "aeroplane", "tvmonitor")
    assert (len(COCO_CLASSES), COCO_CLASSES[1], COCO_CLASSES[80]) == (80, "person", "toothbrush")
    # spot checks against the sample's classes and against COCO's own category ids
    assert (COCO_CLASSES[27], COCO_CLASSES[37], COCO_CLASSES[40]) == (
        "handbag",
        "skateboard",
        "bottle",
    )
    assert [COCO_CATEGORY_IDS[c] for c in (1, 11, 12, 40, 80)] == [1, 11, 13, 44, 90]


@pytest.mark.parametrize("benchmark", ["pascal", "coco"])
def test_every_class_is_tested_in_exactly_one_fold(benchmark):
    everything = sorted(c for f in range(4) for c in fold_classes(benchmark, f, "test"))
    assert everything == list(range(1, 21 if benchmark == "pascal" else 81))
    for fold in range(4):
        trained = fold_classes(benchmark, fold, "train")
        assert sorted({*trained, *fold_classes(benchmark, fold, "test")}) == everything
        assert len(trained) == len(everything) * 3 // 4


def test_folds_by_hand():
    assert fold_classes("pascal", 1, "test") == (6, 7, 8, 9, 10)
    assert fold_classes("coco", 0, "test")[:3] == (1, 5, 9)
    assert fold_classes("coco_all", 2, "train") == tuple(range(1, 81))
    assert fold_classes("coco2pascal", 3, "train") == fold_classes("coco", 3, "train")


@pytest.mark.parametrize(
    ("fold", "names"),
    [
        (0, "aeroplane boat chair diningtable dog person"),
        (1, "horse sofa bicycle bus"),
        (2, "bird car pottedplant sheep train tvmonitor"),
        (3, "bottle cow cat motorbike"),
    ],
)
def test_coco_to_pascal_is_table_11(fold, names):
    tested = fold_classes("coco2pascal", fold, "test")
    assert {VOC_CLASSES[c] for c in tested} == set(names.split())
    assert not {VOC_TO_COCO[c] for c in tested} & set(fold_classes("coco2pascal", fold, "train"))


def test_a_wrong_benchmark_or_fold_is_refused():
    with pytest.raises(UsageError, match="no benchmark 'voc'"):
        fold_classes("voc", 0, "test")
    with pytest.raises(UsageError, match="no fold 4"):
        fold_classes("pascal", 4, "test")


def test_vocs_words_for_cocos_categories():
    words = in_voc_words(COCO_CLASSES)
    changed = {COCO_CLASSES[c]: word for c, word in words.items() if word != COCO_CLASSES[c]}
    assert changed == {
        "airplane": "aeroplane",
        "dining table": "diningtable",
        "motorcycle": "motorbike",
        "potted plant": "pottedplant",
        "couch": "sofa",
        "tv": "tvmonitor",
    }


def test_names_are_read_as_people_say_them():
    assert in_words("wine_glass") == "wine glass"
    assert in_words("wine_glass:inner_side") == "inner side of wine glass"
    assert in_words("cat") == "cat"


def test_folds_of_many_classes_take_turns_and_leave_a_rest_out():
    classes = range(10, 33)  # 23 of them: two in each of ten folds
    assert every_nth(classes, "lvis92i", 0) == (10, 20)
    assert every_nth(classes, "lvis92i", 9) == (19, 29)
    assert every_nth(range(9), "paco_part", 3) == (3, 7)
