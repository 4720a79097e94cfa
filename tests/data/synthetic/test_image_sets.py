import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from common.errors import UsageError
from data.benchmarks import make_benchmark
from data.classes import COCO_CATEGORY_IDS, COCO_CLASSES, VOC_TO_COCO
from data.synthetic import __main__ as command
from data.synthetic.image_sets import write_coco, write_voc
from data.synthetic.style import BENCHMARK_PAIRS, COCO_PAIRS, PRETRAINING_PAIRS, VOC_PAIRS


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_benchmark_classes_are_no_pretraining_classes():
    assert len(set(PRETRAINING_PAIRS)) == 60
    assert len(set(BENCHMARK_PAIRS)) == 80
    assert not set(PRETRAINING_PAIRS) & set(BENCHMARK_PAIRS)
    assert VOC_PAIRS[15] == COCO_PAIRS[1]  # person
    assert all(VOC_PAIRS[voc] == COCO_PAIRS[coco] for voc, coco in VOC_TO_COCO.items())


def test_masks_have_the_palette_of_a_real_mask(real_data, generated):
    def palette(folder):
        with Image.open(next((folder / "VOC2012" / "SegmentationClassAug").glob("*.png"))) as mask:
            return mask.getpalette()

    real = palette(real_data)
    assert len(real) >= 63
    assert palette(generated)[: len(real)] == real


def test_the_same_files_for_any_number_of_workers(tmp_path):
    for name, write in (("voc", write_voc), ("coco", write_coco)):
        for workers in (0, 2):
            write(tmp_path / f"{name}{workers}", {"train": 6, "val": 3}, seed=5, workers=workers)
        assert contents(tmp_path / f"{name}0") == contents(tmp_path / f"{name}2")
    write_voc(tmp_path / "other", {"train": 6, "val": 3}, seed=6, workers=0)
    assert contents(tmp_path / "other") != contents(tmp_path / "voc0")


def test_the_pascal_reader_reads_it(generated):
    benchmark = make_benchmark("pascal", generated, 0)
    assert benchmark.validation.reader.min_pixels == 128
    classes = {c for v in benchmark.validation.class_lists.values() for c in v}
    assert classes == {1, 2, 3, 4, 5}
    name = next(iter(benchmark.validation.class_lists))
    image, mask = benchmark.validation.read(name)
    assert image.shape == (128, 128, 3)
    shown = set(np.unique(mask).tolist())
    assert 255 in shown
    assert shown - {0, 255} <= set(range(1, 21))


def test_boundaries_are_ignored(generated):
    between = ignored = 0
    for path in sorted((generated / "VOC2012" / "SegmentationClassAug").glob("*.png"))[:40]:
        mask = np.array(Image.open(path))
        left, right = mask[:, :-1], mask[:, 1:]
        between += ((left != right) & (left != 255) & (right != 255)).sum()
        ignored += (mask == 255).sum()
    # classes touch only where an outline runs exactly between two pixels
    assert between < 0.05 * ignored


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("split", ["train", "val"])
def test_instance_annotations_are_the_class_masks(generated, split):
    root = generated / "COCO2014"
    annotations = COCO(root / "annotations" / f"instances_{split}2014.json")
    class_of = {category: c for c, category in COCO_CATEGORY_IDS.items()}
    assert {c["id"]: c["name"] for c in annotations.loadCats(annotations.getCatIds())} == {
        COCO_CATEGORY_IDS[c]: name for c, name in COCO_CLASSES.items()
    }
    for image in annotations.loadImgs(annotations.getImgIds()):
        decoded = np.zeros((image["height"], image["width"]), dtype=np.uint8)
        for annotation in annotations.loadAnns(annotations.getAnnIds(imgIds=image["id"])):
            instance = annotations.annToMask(annotation).astype(bool)
            assert instance.sum() == annotation["area"]
            decoded[instance] = class_of[annotation["category_id"]]
        mask = root / "annotations" / f"{split}2014" / image["file_name"].replace("jpg", "png")
        assert np.array_equal(decoded, np.array(Image.open(mask)))


def test_a_finished_folder_is_kept_and_an_interrupted_one_redone(tmp_path):
    folder = tmp_path / "VOC2012"
    interrupted = tmp_path / ".VOC2012.unfinished"
    interrupted.mkdir()
    (interrupted / "half.jpg").touch()
    write_voc(folder, {"train": 2, "val": 1}, seed=0, workers=0)
    assert not interrupted.exists()
    assert not (folder / "half.jpg").exists()
    (folder / "note.txt").touch()
    write_voc(folder, {"train": 2, "val": 1}, seed=0, workers=0)
    assert (folder / "note.txt").exists()


def test_other_data_is_never_overwritten(tmp_path):
    folder = tmp_path / "VOC2012"
    write_voc(folder, {"train": 2, "val": 1}, seed=0, workers=0)
    before = contents(folder)
    with pytest.raises(UsageError, match="holds something else"):
        write_voc(folder, {"train": 3, "val": 1}, seed=0, workers=0)
    assert contents(folder) == before
    first = next((folder / "JPEGImages").glob("train_000001.jpg"))
    first.write_bytes(b"drawn in another way")
    with pytest.raises(UsageError, match="holds something else"):
        write_voc(folder, {"train": 2, "val": 1}, seed=0, workers=0)


def test_the_command_line(tmp_path, script):
    sizes = ["--train", "2", "--val", "1", "--workers", "0"]
    assert script(command, "coco", "--root", tmp_path, *sizes).code == 0
    description = json.loads((tmp_path / "COCO2014" / "benchmark.json").read_text())
    assert description["images"] == {"train": 2, "val": 1}
    outcome = script(command, "voc", "--root", tmp_path, "--train", "-1")
    assert outcome.code == 2
    assert "number of images" in outcome.error
