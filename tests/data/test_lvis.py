import json

import numpy as np
import pytest
from PIL import Image

import eval_image
from common.errors import UsageError
from data.benchmarks import Split
from data.lvis import Lvis
from data.sampler import EpisodeSampler
from tools.preparation.tested import check_lvis

SIDE = 128
IMAGES_OF = {c: 1 + c % 4 for c in range(1, 44)}
"""Class id -> number of images; every fourth class has one image only."""


def square(x: int, y: int, side: int) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


@pytest.fixture(scope="module")
def lvis(tmp_path_factory):
    """A folder with LVIS and COCO2017: image n of class c has two squares of it that overlap, and
    one of class 1 below them."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    images, annotations = [], []
    for c, count in IMAGES_OF.items():
        for n in range(count):
            number = len(images) + 1
            part = "val2017" if n else "train2017"
            (root / "COCO2017" / part).mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "COCO2017" / part / f"{number:012d}.jpg")
            images.append(
                {
                    "id": number,
                    "height": SIDE,
                    "width": SIDE,
                    "coco_url": f"http://images.cocodataset.org/{part}/{number:012d}.jpg",
                }
            )
            for place in (20, 30):
                outline = [square(place, place, 40)]
                annotations.append({"image_id": number, "category_id": c, "segmentation": outline})
    small = {"image_id": 1, "category_id": 3, "segmentation": [square(5, 5, 0)]}
    for one in (*annotations, small):
        one["id"] = len(annotations)
    content = {
        "images": images,
        "annotations": [*annotations, small],
        "categories": [{"id": c, "name": f"kind_{c}"} for c in (*IMAGES_OF, 1203)],
    }
    (root / "LVIS").mkdir()
    (root / "LVIS" / "lvis_v1_val.json").write_text(json.dumps(content))
    return root


def split_of(root, fold=0, sampler=None, **options) -> Split:
    reader = Lvis(root / "LVIS", fold=fold, **options)
    return Split(reader, images="test", classes="test", sampler=sampler)


def test_every_tenth_class_with_enough_images_makes_a_fold(lvis):
    enough = [c for c, count in IMAGES_OF.items() if count > 1]
    assert split_of(lvis, 0).classes == tuple(enough[0:30:10])
    assert split_of(lvis, 9).classes == tuple(enough[9:30:10])
    enough = [c for c, count in IMAGES_OF.items() if count > 2]
    assert split_of(lvis, 1, fold_shots=2).classes == tuple(enough[1:20:10])
    with pytest.raises(UsageError, match="no fold 10 of lvis92i"):
        split_of(lvis, 10)


def test_a_mask_is_all_instances_of_the_class(lvis):
    split = split_of(lvis)
    first = split.classes[0]
    name = next(name for name, classes in split.class_lists.items() if first in classes)
    image, mask = split.read_class(name, first)
    assert image.shape == (SIDE, SIDE, 3)
    expected = np.zeros((SIDE, SIDE))
    expected[20:60, 20:60] = expected[30:70, 30:70] = 1
    assert mask.dtype == np.uint8
    assert (mask == expected).mean() > 0.99
    assert not split.read_class(name, first + 1)[1].any()


def test_instances_without_a_pixel_do_not_count(lvis):
    fold = next(n for n in range(10) if 3 in split_of(lvis, n).classes)
    lists = split_of(lvis, fold).class_lists
    assert sum(3 in classes for classes in lists.values()) == IMAGES_OF[3]


@pytest.mark.parametrize("sampler", ["turns", "class", "class_self"])
def test_only_the_published_error_lets_a_query_be_its_own_support(lvis, sampler):
    split = split_of(lvis, 0, sampler)
    keys = EpisodeSampler(split, 1, seed=0).evaluation_keys(60)
    own = {key.class_id for key in keys if key.query in key.support}
    pairs = {c for c in split.classes if IMAGES_OF[c] == 2}
    assert pairs
    assert own == (pairs if sampler == "class_self" else set())
    if sampler == "turns":
        assert [key.class_id for key in keys[:4]] == [*split.classes, split.classes[0]]


def test_it_is_evaluated_under_its_protocols(lvis, script, tmp_path):
    method = ("--method", "sansa", "--sam_model", "tiny", "--adapters", "fresh")
    flags = (*method, "--image_size", 128, "--datapath", lvis, "--device", "cpu", "--nworker", 0)
    flags = (*flags, "--sheet_rows", 1, "--test_episodes", 2, "--fold", 1)
    for protocol in ("lvis92i", "lvis92i_turns"):
        chosen = ("--protocol", protocol, "--nshot", 2, "--output", tmp_path / protocol)
        outcome = script(eval_image, *flags, *chosen)
        assert outcome.code == 0, outcome.error
        results = json.loads((tmp_path / protocol / "results.json").read_text())
        assert results["protocol"] == protocol
        assert results["exposure"] == "strict"


def test_what_differs_from_the_published_counts_is_told(lvis):
    problems = check_lvis(lvis)
    assert "classes of each fold: 3 instead of 92" in problems
    assert "instances: 219 instead of 244707" in problems
    (lvis / "COCO2017" / "train2017" / "000000000001.jpg").unlink()
    assert check_lvis(lvis)[0] == "1 pictures are missing: train2017/000000000001.jpg"
    (lvis / "COCO2017").rename(lvis / "elsewhere")
    with pytest.raises(UsageError, match="no pictures of LVIS"):
        split_of(lvis).read_class("val2017/000000000001.jpg", 1)
