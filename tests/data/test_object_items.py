import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.davis import Davis
from data.object_items import ObjectRules, ObjectsItems

FIRST = [[1, 2, 255, 0]]
SECOND = [[1, 2, 255, 3]]


def write_davis(root, *masks):
    """A video of frames with these masks, in the layout of DAVIS."""
    for year in ("2016", "2017"):
        (root / "ImageSets" / year).mkdir(parents=True)
        (root / "ImageSets" / year / "val.txt").write_text("clip\n")
    for number, mask in enumerate(masks):
        pixels = np.array(mask, np.uint8)
        for folder, content in (("JPEGImages", np.stack([pixels] * 3, 2)), ("Annotations", pixels)):
            path = root / folder / "480p" / "clip" / f"{number:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
    return Davis(root)


@pytest.mark.parametrize(("void", "shown"), [(False, 0), (True, 255)])
def test_255_is_background_unless_it_shall_not_count(tmp_path, void, shown):
    item = ObjectsItems(write_davis(tmp_path, FIRST, SECOND), ObjectRules(void=void)).open("clip")
    assert item.given == {1: 0, 2: 0, 3: 1}
    assert item.truth(0).tolist() == [[1, 2, shown, 0]]


def test_255_is_an_object_where_there_is_no_other(tmp_path):
    item = ObjectsItems(write_davis(tmp_path, [[0, 255]], [[255, 255]])).open("clip")
    assert item.labels == (255,)
    assert item.truth(1).tolist() == [[255, 255]]


def test_only_the_masks_of_objects_that_begin_on_a_frame_are_given_there(tmp_path):
    item = ObjectsItems(write_davis(tmp_path, FIRST, SECOND)).open("clip")
    assert item.given_map(0).tolist() == [[1, 2, 0, 0]]
    assert item.given_map(1).tolist() == [[0, 0, 0, 3]]
    assert (item.given_on(0), item.given_on(1)) == ([1, 2], [3])


def test_masks_from_a_folder_are_given_in_the_place_of_the_true_ones(tmp_path):
    davis = write_davis(tmp_path / "davis", FIRST, SECOND)
    folder = tmp_path / "first" / "clip"
    folder.mkdir(parents=True)
    Image.fromarray(np.array([[0, 2, 2, 1]], np.uint8)).save(folder / "00000.png")
    source = ObjectsItems(davis, given_folder=tmp_path / "first")
    with pytest.raises(UsageError, match=r"clip/00001\.png"):  # object 3 begins there
        source.open("clip")
    before = source.given_hash("clip")
    Image.fromarray(np.array([[0, 0, 3, 3]], np.uint8)).save(folder / "00001.png")
    item = source.open("clip")
    assert item.given_map(0).tolist() == [[0, 2, 2, 1]]
    assert item.given_map(1).tolist() == [[0, 0, 3, 3]]
    assert item.truth(0).tolist() == [[1, 2, 0, 0]]
    assert source.given_hash("clip") != before


@pytest.mark.parametrize("void", [False, True])
def test_all_objects_may_be_one_as_in_davis_2016(tmp_path, void):
    davis = write_davis(tmp_path, FIRST, SECOND)
    item = ObjectsItems(davis, ObjectRules(void=void, merged=True)).open("clip")
    assert item.given == {1: 0}
    assert item.given_map(0).tolist() == [[1, 1, 0, 0]]
    assert item.truth(1).tolist() == [[1, 1, 255 if void else 0, 1]]


def test_the_one_object_of_davis_2016_itself_has_255(tmp_path):
    davis = write_davis(tmp_path, [[0, 255]], [[255, 255]])
    item = ObjectsItems(davis, ObjectRules(merged=True)).open("clip")
    assert item.given == {1: 0}
    assert (item.given_map(0).tolist(), item.truth(1).tolist()) == ([[0, 1]], [[1, 1]])


def test_objects_that_appear_later_may_be_left_out(tmp_path):
    davis = write_davis(tmp_path, FIRST, SECOND)
    item = ObjectsItems(davis, ObjectRules(first_only=True)).open("clip")
    assert item.given == {1: 0, 2: 0}
    assert item.labels == (1, 2)
