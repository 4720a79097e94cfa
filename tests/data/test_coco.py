import shutil

import numpy as np
import pytest

from common.errors import UsageError
from data.benchmarks import make_benchmark
from data.classes import VOC_CLASSES


@pytest.fixture
def coco(generated, tmp_path):
    """A copy of the generated COCO2014 that a test may spoil."""
    return shutil.copytree(generated / "COCO2014", tmp_path / "COCO2014")


def test_names_say_which_folder_an_image_lies_in(generated):
    benchmark = make_benchmark("coco", generated, 0)
    name = next(iter(benchmark.validation.class_lists))
    assert name.startswith("val2014/COCO_val2014_0000")
    image, mask = benchmark.validation.read(name)
    assert image.shape == (*mask.shape, 3)


def test_training_and_tested_classes_stay_apart(generated):
    benchmark = make_benchmark("coco", generated, 2)
    for name, classes in benchmark.training.class_lists.items():
        assert all(c % 4 != 3 for c in classes)
        _, mask = benchmark.training.read(name)
        assert not any(c % 4 == 3 for c in np.unique(mask) if c)
    assert all(c % 4 == 3 for v in benchmark.validation.class_lists.values() for c in v)


def test_coco_all_uses_every_class_and_drops_nothing(generated):
    benchmark = make_benchmark("coco_all", generated, 0)
    assert len(benchmark.training.class_lists) == 20
    assert benchmark.training.classes == benchmark.validation.classes == tuple(range(1, 81))


@pytest.mark.parametrize(
    ("name", "training", "validation"),
    [
        ("coco", "class", "class"),
        ("coco_all", "class", "class"),
        ("coco2pascal", "class", "image"),
        ("pascal", "image", "image"),
    ],
)
def test_coco_draws_classes_first_and_pascal_images(generated, name, training, validation):
    benchmark = make_benchmark(name, generated, 0)
    splits = benchmark.training, benchmark.held_out, benchmark.validation
    assert [split.sampler for split in splits] == [training, training, validation]
    for sampler in ("class", "image"):
        benchmark = make_benchmark(name, generated, 0, sampler=sampler)
        assert benchmark.training.sampler == benchmark.validation.sampler == sampler


def test_coco_to_pascal_reads_both(generated):
    benchmark = make_benchmark("coco2pascal", generated, 1)
    assert benchmark.training.reader.name == "coco"
    assert benchmark.validation.reader.name == "pascal"
    names = {VOC_CLASSES[c] for c in benchmark.validation.classes}
    assert names == {"horse", "sofa", "bicycle", "bus"}
    assert not any(c % 4 == 2 for v in benchmark.training.class_lists.values() for c in v)


def test_without_train2014_evaluation_still_works(coco):
    shutil.rmtree(coco / "train2014")
    benchmark = make_benchmark("coco", coco, 0)
    assert benchmark.validation.class_lists
    with pytest.raises(UsageError, match=r"training needs .*train2014, which is not there"):
        _ = benchmark.training.class_lists


def test_a_mask_without_image_and_an_image_without_mask_are_named(coco):
    name = "COCO_val2014_000000000003"
    (coco / "val2014" / f"{name}.jpg").rename(coco / "kept.jpg")
    with pytest.raises(UsageError, match=f"have no image in .*{name}"):
        _ = make_benchmark("coco", coco, 0).validation.class_lists
    (coco / "kept.jpg").rename(coco / "val2014" / f"{name}.jpg")
    (coco / "annotations" / "val2014" / f"{name}.png").unlink()
    with pytest.raises(UsageError, match=f"have no mask in .*{name}"):
        _ = make_benchmark("coco", coco, 0).validation.class_lists


def test_another_layout_is_refused(tmp_path):
    (tmp_path / "COCO2014").mkdir()
    with pytest.raises(UsageError, match="neither train2014 nor val2014"):
        make_benchmark("coco", tmp_path, 0)
    with pytest.raises(UsageError, match="training list can be chosen for pascal only"):
        make_benchmark("coco", tmp_path, 0, training_list="trainaug")


def test_real_images(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lists = make_benchmark("coco", real_data, 2).validation.class_lists
    # fold 2 tests 3 (car), 15 (bird) and others: three images of either are large enough
    assert sorted(c for classes in lists.values() for c in classes) == [3, 3, 3, 15, 15, 15]
