import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from common.coco_masks import mask_annotation
from common.errors import UsageError
from common.pair_rules import PairRules, ScaleJitter
from data.annotated.ade20k import Ade20k, read_class_names
from data.annotated.catalogue import LeftOut, open_source
from data.annotated.meanings import coco_meanings
from data.classes import COCO_CATEGORY_IDS, COCO_CLASSES, fold_classes
from data.mixture import Mixture, Part
from data.pairs import PairDataset
from data.synthetic.coco_sets import write_coco2017, write_lvis

OF_COCO = ("coco_instance", "coco_panoptic", "lvis", "paco_part")
READABLE = (*OF_COCO, "ade20k_semantic", "ade20k_panoptic")


def halves(content, split):
    """PACO's annotations of COCO's objects; the parts of each are its left and its right half."""
    names = {c["id"]: c["name"].replace(" ", "_") for c in content["categories"]}
    halves = {"left": 1000, "right": 2000}
    categories = [{"id": c, "name": name, "supercategory": "OBJECT"} for c, name in names.items()]
    categories += [
        {"id": c + more, "name": f"{name}:{half}", "supercategory": "PART"}
        for half, more in halves.items()
        for c, name in names.items()
    ]
    annotations = []
    for one in content["annotations"]:
        if one["iscrowd"]:
            continue
        annotations.append({**one, "obj_ann_id": one["id"]})
        mask = run_lengths.decode(one["segmentation"]).astype(bool)
        middle = round(one["bbox"][0] + one["bbox"][2] / 2)
        for more, columns in zip(
            halves.values(), (slice(None, middle), slice(middle, None)), strict=True
        ):
            part = np.zeros_like(mask)
            part[:, columns] = mask[:, columns]
            facts = {key: one[key] for key in ("image_id", "iscrowd")}
            numbers = {"id": 10 * one["id"] + more // 1000 + 10**8, "obj_ann_id": one["id"]}
            number = {**numbers, "category_id": one["category_id"] + more}
            if part.any():
                annotations.append({**mask_annotation(part), **facts, **number})
    images = [
        {**image, "file_name": f"{split}2017/{image['file_name']}"} for image in content["images"]
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture(scope="session", autouse=True)
def paco(annotated):
    """PACO's annotations of the generated COCO2017."""
    file = annotated / "COCO2017" / "annotations" / "instances_train2017.json"
    place = annotated / "PACO" / "annotations"
    place.mkdir(parents=True)
    content = halves(json.loads(file.read_text()), "train")
    (place / "paco_lvis_v1_train.json").write_text(json.dumps(content))
    (annotated / "PACO" / "benchmark.json").write_text(json.dumps({"generated": True}))


def by_class(annotation, crowds=True):
    """Class id -> all of its pixels."""
    return {
        int(c): annotation.masks[(annotation.class_ids == c) & (crowds | ~annotation.crowd)].any(0)
        for c in np.unique(annotation.class_ids[crowds | ~annotation.crowd])
    }


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", READABLE)
def test_every_source_is_read(annotated, name):
    source = open_source(name, annotated)
    assert source.name == name
    assert source.domain == "drawings"
    shown = {n: set(source.classes_of[place].tolist()) for place, n in enumerate(source.names)}
    for picture in source.names[:12]:
        pixels, annotation = source.read(picture)
        assert pixels.shape == (*annotation.masks.shape[1:], 3)
        assert annotation.masks.any(axis=(1, 2)).all()
        assert len(set(annotation.ids.tolist())) == len(annotation.ids)
        assert set(annotation.class_ids[~annotation.crowd].tolist()) == shown[picture]
        assert shown[picture] <= source.class_names.keys()
    assert open_source(name, annotated).fingerprint() == source.fingerprint()
    with pytest.raises(UsageError, match="has no"):
        source.read("elsewhere.jpg")


def test_segments_are_the_objects_and_what_is_behind_them(annotated):
    objects, segments = (open_source(n, annotated) for n in ("coco_instance", "coco_panoptic"))
    crowds = 0
    for name in objects.names:
        found, seen = objects.read(name)[1], segments.read(name)[1]
        behind = by_class(seen).pop(193)
        assert np.array_equal(behind, ~found.masks.any(axis=0))
        things = seen.chosen(seen.class_ids != 193)
        assert_same(by_class(things), by_class(found))
        assert sorted(things.crowd) == sorted(found.crowd)
        crowds += found.crowd.sum()
        assert seen.masks.sum(axis=0).tolist() == np.ones((128, 128)).tolist()
    assert crowds >= 1
    assert segments.class_names[193] == "grass-merged"


def test_lvis_has_cocos_objects_under_its_own_numbers(annotated):
    coco, lvis = open_source("coco_instance", annotated), open_source("lvis", annotated)
    number = {name: n for n, name in lvis.class_names.items()}
    assert number["airplane"] == 1
    assert lvis.kind == "instance"
    for name in coco.names:
        own = f"train2017/{name}"
        if own in lvis.names:
            wanted = by_class(coco.read(name)[1], crowds=False)
            named = {number[coco.class_names[c]]: m for c, m in wanted.items()}
            assert_same(by_class(lvis.read(own)[1]), named)


def test_parts_are_seen_in_the_cut_of_their_object(annotated):
    """Halves of the objects: side by side they are the whole object in its box."""
    source, coco = open_source("paco_part", annotated), open_source("coco_instance", annotated)
    assert source.kind == "semantic"
    assert len(source.names) == sum((~coco.read(name)[1].crowd).sum() for name in coco.names)
    for name in source.names[:20]:
        file, _, number = name.rpartition("#")
        pixels, halves = source.read(name)
        whole, objects = coco.read(file.rpartition("/")[2])
        [mask] = objects.masks[objects.ids == int(number)]
        rows, columns = (np.flatnonzero(mask.any(axis=side)) for side in (1, 0))
        cut = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        assert np.array_equal(pixels, whole[cut])
        assert np.array_equal(halves.masks.any(axis=0), mask[cut])
        left, right = (source.class_names[c].partition(" of ") for c in halves.class_ids)
        assert (left[2], left[0], right[0]) == (right[2], "left", "right")
        edge = halves.masks[0].any(axis=0)
        assert not (edge & halves.masks[1].any(axis=0)).any()


def test_ade20k(annotated):
    masks, segments = (open_source(n, annotated) for n in ("ade20k_semantic", "ade20k_panoptic"))
    assert masks.kind == "semantic"
    assert masks.class_names[24] == "sofa"
    assert segments.class_names[23] == "sofa"
    several = 0
    for name in masks.names:
        found, seen = masks.read(name)[1], segments.read(f"{name}.jpg")[1]
        assert found.ids.tolist() == found.class_ids.tolist()
        assert_same(by_class(found), {c + 1: mask for c, mask in by_class(seen).items()})
        several += len(seen.ids) > len(found.ids)
    assert several > 5  # pictures with two objects of a class
    assert len(Ade20k(annotated / "ADEChallengeData2016", "validation").names) == 4


def test_boxes_alone_are_refused(annotated):
    with pytest.raises(UsageError, match=r"Objects365/masks/train"):
        open_source("objects365", annotated)


@pytest.mark.parametrize("fold", [0, 1, 2, 3])
@pytest.mark.parametrize("name", READABLE)
def test_nothing_of_a_tested_class_is_seen(annotated, name, fold):
    tested = fold_classes("coco", fold, "test")
    whole = open_source(name, annotated)
    source = open_source(name, annotated, LeftOut(frozenset(tested)))
    in_coco = {COCO_CATEGORY_IDS[c] for c in tested}
    names = {c: n for c, n in whole.class_names.items() if c not in source.class_names}
    if name.startswith("coco"):
        assert set(names) == in_coco
    else:
        meant = coco_meanings(source.class_names).values()
        assert not set().union(*meant) & set(tested)
    kept, marked = set(source.names), open_source("coco_instance", annotated)
    assert kept
    assert kept < set(whole.names)
    for picture in whole.names:
        shown = set(whole.read(picture)[1].class_ids.tolist())
        if picture in kept:
            assert not shown & names.keys()
        elif name not in ("lvis", "paco_part"):
            assert shown & names.keys()
    if name in OF_COCO:  # where crowds are marked, too
        for picture in kept:
            file = picture.rpartition("/")[2].partition("#")[0]
            assert not set(marked.read(file)[1].class_ids) & in_coco


def test_pictures_can_be_left_out_by_name(annotated):
    unwanted = open_source("coco_instance", annotated).names[:3]
    for name in OF_COCO:
        source = open_source(name, annotated, LeftOut(files=frozenset(unwanted)))
        files = {n.rpartition("/")[2].partition("#")[0] for n in source.names}
        assert not files & set(unwanted)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("sofa, couch, lounge", {"couch"}),
        ("Handbag/Satchel", {"handbag"}),
        ("cab_(taxi)", {"car"}),
        ("taxi", {"car"}),
        ("Potted Plant", {"potted plant"}),
        ("teddy_bear", {"teddy bear"}),
        ("minibike, motorbike", {"motorcycle"}),
        ("television receiver, tv", {"tv"}),
        ("food, solid food", None),
        ("animal, animate being", None),
        ("wall", set()),
        ("bearded_seal", set()),
        ("pug-dog", {"dog"}),
        ("scissors:blade", {"scissors"}),
        ("blade of scissors", {"scissors"}),
        ("dog (2)", {"dog"}),
        ("object", None),
    ],
)
def test_what_names_mean(name, meaning):
    found = {COCO_CLASSES[c] for c in coco_meanings({7: name}).get(7, ())}
    if meaning is None:  # many
        assert len(found) >= 10
    else:
        assert found == meaning


def test_sources_make_pairs(annotated):
    rules = PairRules(ScaleJitter(64, low=0.5), keep="classes")
    parts = [Part(open_source(name, annotated), rules) for name in READABLE]
    dataset = PairDataset(Mixture(parts, 12, 0), 0)
    batch = dataset.join([dataset[index] for index in range(12)])
    assert len({key.source for key in batch.keys}) >= 3
    assert set(batch.kinds) <= {"semantic", "instance", "panoptic"}
    for support, query in zip(batch.support, batch.query, strict=True):
        assert support.masks.flatten(1).any(dim=1).all()
        assert set(query.class_ids.tolist()) <= set(support.class_ids.tolist())


def test_what_is_missing_or_broken_is_named(annotated, tmp_path):
    with pytest.raises(UsageError, match="no source 'coco'"):
        open_source("coco", annotated)
    with pytest.raises(UsageError, match="no such folder of segments"):
        open_source("coco_panoptic", tmp_path)
    with pytest.raises(UsageError, match="table of classes"):
        open_source("ade20k_semantic", tmp_path)
    table = tmp_path / "objectInfo150.txt"
    table.write_text("Idx\tName\n1\twall\n")
    with pytest.raises(UsageError, match="does not name the classes 1 to 150"):
        read_class_names(table)
    for writer in (write_coco2017, write_lvis):
        folder = {"write_coco2017": "COCO2017", "write_lvis": "LVIS"}[writer.__name__]
        flags = ({"train": 2, "val": 1}, 0, 0) if folder == "COCO2017" else ()
        writer(tmp_path / folder, *flags)
    segments = tmp_path / "COCO2017" / "annotations" / "panoptic_train2017"
    source = open_source("coco_panoptic", tmp_path)
    file = segments / source.names[0].replace("jpg", "png")
    Image.new("RGB", (128, 128)).save(file)
    with pytest.raises(UsageError, match="does not show the segments"):
        source.read(source.names[0])
    Image.new("L", (128, 128)).save(file)
    with pytest.raises(UsageError, match="L values"):
        source.read(source.names[0])
