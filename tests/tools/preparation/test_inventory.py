from tools.preparation.inventory import (
    COCO_PARTS,
    PASCAL_COUNTS,
    PASCAL_PARTS,
    Archive,
    Part,
    count_lists,
    describe,
    differences,
    lacking,
    take_stock,
)

ARCHIVE = Archive("http://example.org/files/raw.tar", {"raw/": "raw/"})
PARTS = (
    Part("raw", 2, ARCHIVE, ".mat", needed_for=("made",)),
    Part("names.txt", 3, ARCHIVE, counts_names=True),
    Part("made", 2, "made here", ".png"),
)


def fill(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_what_is_missing_is_told_with_its_source(tmp_path):
    fill(tmp_path / "raw", ["1.mat", "note.txt", ".2.mat"])

    stock = take_stock(tmp_path, PARTS)

    assert [presence.found for presence in stock] == [1, 0, 0]
    assert describe(stock) == [
        "  partial   raw        1 of 2, from http://example.org/files/raw.tar",
        "  missing   names.txt  0 of 3, from http://example.org/files/raw.tar",
        "  missing   made       0 of 2, made here",
    ]


def test_raw_files_are_not_needed_once_all_is_made(tmp_path):
    fill(tmp_path / "made", ["1.png", "2.png"])
    (tmp_path / "names.txt").write_text("a\nb\n\nc\n")

    stock = take_stock(tmp_path, PARTS)

    assert lacking(stock) == []
    assert describe(stock)[0] == "  unneeded  raw        0 of 2"


def test_more_files_than_there_are_is_a_difference_too(tmp_path):
    fill(tmp_path / "made", ["1.png", "2.png", "3.png"])

    stock = take_stock(tmp_path, PARTS)

    assert [presence.part.path for presence in lacking(stock)] == ["raw", "names.txt", "made"]
    assert describe(stock)[2].startswith("  excess ")


def test_the_numbers_of_voc_and_sbd_agree_with_one_another():
    count = {part.path.split("/", 1)[1]: part.expected for part in PASCAL_PARTS}
    lists = "ImageSets/Segmentation"

    assert count[f"{lists}/train.txt"] + count[f"{lists}/val.txt"] == count["SegmentationClass"]
    assert count["train.txt"] + count["val.txt"] == count["cls"]
    assert count["SegmentationClassAug"] - count[f"{lists}/val.txt"] == 10582
    assert count[f"{lists}/trainaug.txt"] == 10582
    assert count[f"{lists}/train_sbd.txt"] == 1464 + 5623 - 1134


def test_everything_that_is_made_names_parts_that_exist():
    for parts in (PASCAL_PARTS, COCO_PARTS):
        paths = {part.path for part in parts}
        assert all(paths.issuperset(part.needed_for) for part in parts)


def test_images_are_counted_by_fold_and_class():
    assert count_lists(2, "test", {"a": (11, 12), "b": (12,)}) == {
        "fold 2 test": 2,
        "fold 2 test class 11": 1,
        "fold 2 test class 12": 2,
    }


def test_every_difference_is_reported():
    found = {**PASCAL_COUNTS, "fold 3 train": 4509}
    del found["fold 2 test class 15"]

    assert differences(found, PASCAL_COUNTS) == [
        "fold 3 train: 4509 instead of 4510",
        "fold 2 test class 15: 0 instead of 386",
    ]
