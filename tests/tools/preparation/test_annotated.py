import shutil
import zipfile

import pytest

from tools import prepare
from tools.preparation import annotated as annotated_sets


@pytest.fixture
def copied(annotated, tmp_path):
    """A copy of the generated data that does not say that it is generated."""
    shutil.copytree(annotated, tmp_path / "data")
    for folder in (tmp_path / "data").iterdir():
        (folder / "benchmark.json").unlink()
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["coco2017", "ade20k"])
def test_generated_data_are_counted_and_compared_with_nothing(annotated, script, name):
    outcome = script(prepare, name, "--root", annotated)
    assert outcome.code == 0
    assert "holds generated data" in outcome.output
    counted = {"coco2017": "train2017 images: 24", "ade20k": "training: 24 images"}
    assert counted[name] in outcome.output


def test_real_data_are_compared_with_published_numbers(copied, script):
    outcome = script(prepare, "coco2017", "--root", copied)
    assert outcome.code == 1
    assert "train2017 images: 24 instead of 118287" in outcome.output
    assert "val2017 objects:" in outcome.output
    assert "instead of 36781" in outcome.output
    assert "118287, from http://images.cocodataset.org/zips/train2017.zip" in outcome.output
    outcome = script(prepare, "ade20k", "--root", copied)
    assert outcome.code == 1
    assert "24 of 20210, from http://data.csail.mit.edu/places" in outcome.output


def test_lvis_is_counted_for_training_too(copied, script):
    outcome = script(prepare, "lvis", "--root", copied)
    assert outcome.code == 1
    assert "training images: 24 instead of 100170" in outcome.output
    (copied / "LVIS" / "lvis_v1_train.json").unlink()
    outcome = script(prepare, "lvis", "--root", copied)
    assert "tested on, not trained on" in outcome.output
    assert "100170" not in outcome.output


def test_missing_pictures_and_masks_are_named(copied, script):
    (copied / "COCO2017" / "train2017" / "000000500001.jpg").unlink()
    outcome = script(prepare, "coco2017", "--root", copied)
    assert "1 pictures are missing: 000000500001.jpg" in outcome.output
    outcome = script(prepare, "objects365", "--root", copied)
    assert outcome.code == 1
    assert "tools.box_masks" in outcome.output
    shutil.rmtree(copied / "Objects365")
    outcome = script(prepare, "objects365", "--root", copied)
    assert "from https://www.objects365.org" in outcome.output


def test_segments_are_unpacked_from_the_archive_within_the_archive(annotated, tmp_path):
    """As if panoptic_annotations_trainval2017.zip had been fetched."""
    folder = tmp_path / "COCO2017" / "annotations"
    folder.mkdir(parents=True)
    segments = annotated / "COCO2017" / "annotations" / "panoptic_val2017"
    with zipfile.ZipFile(folder / "panoptic_val2017.zip", "w") as archive:
        for file in sorted(segments.glob("*.png")):
            archive.write(file, f"panoptic_val2017/{file.name}")
    problems = annotated_sets._unfold(tmp_path, annotated_sets.COCO2017_PARTS)
    assert problems == []
    assert {f.name: f.read_bytes() for f in (folder / "panoptic_val2017").iterdir()} == {
        f.name: f.read_bytes() for f in segments.iterdir()
    }
    (folder / "panoptic_train2017.zip").write_bytes(b"nothing")
    assert "is broken" in annotated_sets._unfold(tmp_path, annotated_sets.COCO2017_PARTS)[0]
