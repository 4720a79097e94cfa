import shutil

import pytest

from data.few_shot_instances import VOC_TEST, split_file
from tools import prepare


@pytest.fixture
def copied(few_shot, tmp_path):
    root = tmp_path / "Datasets"
    shutil.copytree(few_shot, root)
    return root


def prepared(root):
    return prepare.main(["few_shot_instances", "--root", str(root), "--workers", "1"])


def test_the_list_of_vocs_objects_is_made(copied, capsys):
    expected = (copied / VOC_TEST).read_bytes()
    (copied / VOC_TEST).unlink()
    assert prepared(copied) == 0
    assert (copied / VOC_TEST).read_bytes() == expected
    told = capsys.readouterr().out
    assert "coco_novel: 12 tested images" in told
    assert "3-shot: 2 of 2 draws" in told


def test_what_is_missing_is_named(copied, capsys):
    split_file(copied / "cocosplit", "dog", 3, 1).unlink()
    next((copied / "COCO2014" / "val2014").iterdir()).unlink()
    (copied / VOC_TEST).unlink()
    shutil.rmtree(copied / "VOC2012" / "SegmentationObject")
    assert prepared(copied) == 1
    told = capsys.readouterr().out
    assert "full_box_3shot_dog_trainval.json" in told
    assert "1 tested images are missing" in told
    assert "cannot make" in told
    assert "3-shot: 1 of 2 draws" in told


def test_published_counts_apply_to_real_data(copied, capsys):
    (copied / "cocosplit" / "benchmark.json").unlink()
    assert prepared(copied) == 1
    told = capsys.readouterr().out
    assert "coco_novel: 12 instead of 5000" in told
    assert "full_box_5shot_person_trainval.json" in told


def test_without_the_draws_their_address_is_told(copied, capsys):
    shutil.rmtree(copied / "cocosplit")
    assert prepared(copied) == 1
    assert "few-shot-object-detection (by hand)" in capsys.readouterr().out
