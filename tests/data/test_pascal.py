import os
import re
import shutil

import numpy as np
import pytest

from common.errors import UsageError
from data.benchmarks import Split, make_benchmark
from data.pascal import LARGEST_LIST, PAPER_LIST, VOC_LIST, Pascal


def test_images_and_masks_are_read_as_they_lie_in_the_files(make_voc):
    mask = np.array([[0, 3, 255], [0, 3, 3]])
    image, ids = Pascal(make_voc({"2007_000001": mask}), 0).read("2007_000001")
    assert np.array_equal(ids, mask)
    assert image.shape == (2, 3, 3)
    assert np.abs(image.astype(int) - (128, 64, 32)).max() <= 3  # JPEG


def test_training_leaves_out_every_image_with_a_pixel_of_a_tested_class(make_voc):
    large = np.full((64, 64), 6)
    mixed = large.copy()
    mixed[0, 0] = 1
    small = np.zeros((64, 64))
    small[:31, :] = 7  # 1984 of the 2048 pixels that are needed
    void = np.full((64, 64), 255)
    root = make_voc({"large": large, "mixed": mixed, "small": small, "void": void})
    benchmark = make_benchmark("pascal", root.parent, 0)
    assert benchmark.training.class_lists == {"large": (6,)}
    benchmark = make_benchmark("pascal", root, 1)
    assert benchmark.validation.class_lists == {"large": (6,), "mixed": (6,)}


def test_which_images_are_trained_on_is_chosen_explicitly(make_voc):
    root = make_voc({name: np.full((64, 64), 6) for name in ("voc", "sbd", "more")})
    folder = root / "ImageSets" / "Segmentation"
    (folder / "train.txt").write_text("voc\n")

    def training(choice=None):
        return list(Pascal(root, 0, training_list=choice).files("train"))

    assert training() == ["voc"]
    (folder / f"{LARGEST_LIST}.txt").write_text("voc\nsbd\nmore\n")
    with pytest.raises(UsageError, match="name the training list to use"):
        training()
    assert training(VOC_LIST) == ["voc"]
    assert training(LARGEST_LIST) == ["voc", "sbd", "more"]
    (folder / f"{PAPER_LIST}.txt").write_text("voc\nsbd\n")
    assert training() == ["voc", "sbd"]
    with pytest.raises(UsageError, match=r"missing image list: .*mine\.txt"):
        training("mine")


def test_another_layout_is_refused(tmp_path, make_voc):
    with pytest.raises(UsageError, match=r"holds no VOC2012.*tools\.prepare pascal"):
        make_benchmark("pascal", tmp_path, 0)
    with pytest.raises(UsageError, match="no such folder"):
        make_benchmark("pascal", tmp_path / "nowhere", 0)
    root = make_voc({"a": np.ones((2, 2))})
    (root / "SegmentationClassAug").rename(root / "SegmentationClass")
    with pytest.raises(UsageError, match=r"lacks SegmentationClassAug.*tools\.prepare"):
        make_benchmark("pascal", root, 0)


def test_a_fold_without_images_is_refused(make_voc):
    root = make_voc({"a": np.full((64, 64), 6)})
    with pytest.raises(UsageError, match=r"fold 0 \(aeroplane, bicycle"):
        _ = make_benchmark("pascal", root, 0).validation.class_lists


def test_a_missing_image_is_named(make_voc):
    root = make_voc({"a": np.full((64, 64), 6), "b": np.full((64, 64), 6)})
    (root / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(UsageError, match=r"missing files: .*b\.jpg"):
        _ = make_benchmark("pascal", root, 1).validation.class_lists


def test_given_lists_take_the_place_of_the_scan(make_voc, tmp_path):
    root = make_voc({"a": np.full((8, 8), 6), "b": np.full((8, 8), 7)})  # too small for the rule
    place = tmp_path / "lists" / "val"
    place.mkdir(parents=True)
    (place / "data_list_1.txt").write_text("x/JPEGImages/a.jpg y/a.png\n")
    pairs = "[('x/JPEGImages/a.jpg', 'y/a.png')]"
    (place / "sub_class_file_list_1.txt").write_text(f"{{6: {pairs}}}")
    split = make_benchmark("pascal", root, 1, lists=tmp_path / "lists").validation
    assert split.class_lists == {"a": (6,)}
    (root / "JPEGImages" / "a.jpg").unlink()
    split = make_benchmark("pascal", root, 1, lists=tmp_path / "lists").validation
    with pytest.raises(UsageError, match=r"are missing: .*a\.jpg"):
        _ = split.class_lists


def test_a_fingerprint_tells_other_files_and_no_other_place(make_voc, tmp_path):
    root = make_voc({"a": np.full((64, 64), 6), "b": np.full((64, 64), 7)})

    def fingerprint(root, fold=1):
        return make_benchmark("pascal", root, fold).validation.fingerprint()

    first = fingerprint(root)
    assert re.fullmatch("[0-9a-f]{16}", first)
    copy = tmp_path / "elsewhere" / "VOC2012"
    shutil.copytree(root, copy)
    os.utime(copy / "JPEGImages" / "a.jpg", (1, 1))
    assert fingerprint(copy) == first
    for file in ("JPEGImages/a.jpg", "SegmentationClassAug/b.png"):
        content = (copy / file).read_bytes()
        (copy / file).write_bytes(content + b"\0")
        assert fingerprint(copy) != first
        (copy / file).write_bytes(content)
    (copy / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    assert fingerprint(copy) != first


def test_real_images(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    benchmark = make_benchmark("pascal", real_data, 0)
    validation: Split = benchmark.validation
    # counted by hand over the 27 masks: two images for each class of the fold
    per_class = [c for classes in validation.class_lists.values() for c in classes]
    assert sorted(per_class) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for name, classes in benchmark.training.class_lists.items():
        image, mask = benchmark.training.read(name)
        assert image.shape[:2] == mask.shape
        shown = set(np.unique(mask).tolist())
        assert set(classes) <= shown
        assert not shown & {1, 2, 3, 4, 5}
        assert all((mask == c).sum() >= 2048 for c in classes)
