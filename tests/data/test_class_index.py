import os

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data import class_index as class_lists
from data.class_index import (
    ImageFiles,
    class_lists_from_pixels,
    read_given_lists,
    scan_class_pixels,
)


def write_pair(folder, name, mask, image_shape=None):
    height, width = image_shape or mask.shape
    files = ImageFiles(image=folder / f"{name}.jpg", mask=folder / f"{name}.png")
    Image.new("RGB", (width, height)).save(files.image)
    Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(files.mask)
    return files


def test_pixels_are_counted_by_class(tmp_path):
    mask = np.array([[0, 3, 3, 255], [0, 0, 3, 20]])
    files = {"a": write_pair(tmp_path, "a", mask)}
    assert scan_class_pixels(files, tmp_path / "cache.json", 20) == {"a": {3: 3, 20: 1}}


def test_an_image_counts_from_the_threshold_on():
    pixels = {"a": {1: 2048, 2: 2047}, "b": {2: 5000}, "c": {3: 9999}}
    assert class_lists_from_pixels(pixels, (1, 2)) == {"a": (1,), "b": (2,)}
    assert class_lists_from_pixels(pixels, (2, 1), min_pixels=2047)["a"] == (1, 2)


def test_one_pixel_of_a_dropped_class_drops_the_image():
    pixels = {"a": {1: 5000, 6: 1}, "b": {1: 5000, 2: 1}}
    assert class_lists_from_pixels(pixels, (1, 2), dropped=(6, 7)) == {"b": (1,)}


def test_a_second_scan_reads_the_cache_and_a_changed_mask_is_noticed(tmp_path, monkeypatch):
    cache = tmp_path / "cache.json"
    files = {"a": write_pair(tmp_path, "a", np.full((4, 4), 2))}
    first = scan_class_pixels(files, cache, 20)
    with monkeypatch.context() as patch:
        patch.setattr(class_lists, "parallel_map", lambda *_, **__: pytest.fail("scanned again"))
        assert scan_class_pixels(files, cache, 20) == first

    write_pair(tmp_path, "a", np.full((4, 4), 5))
    os.utime(files["a"].mask, ns=(1, 1))
    assert scan_class_pixels(files, cache, 20) == {"a": {5: 16}}

    files["b"] = write_pair(tmp_path, "b", np.full((2, 2), 7))
    assert scan_class_pixels(files, cache, 20) == {"a": {5: 16}, "b": {7: 4}}
    cache.write_text("{ broken")
    assert scan_class_pixels(files, cache, 20)["b"] == {7: 4}


def test_data_that_cannot_be_written_is_cached_for_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    files = {"a": write_pair(tmp_path, "a", np.full((4, 4), 2))}
    blocked = tmp_path / "a.jpg" / "cache.json"  # a folder that can never be made
    scan_class_pixels(files, blocked, 20)
    assert len(list((tmp_path / "home" / "dc-sam").glob("*/cache.json"))) == 1


def test_a_folder_marked_read_only_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    data.mkdir()
    files = {"a": write_pair(data, "a", np.full((4, 4), 2))}
    data.chmod(0o555)
    first = scan_class_pixels(files, data / "cache.json", 20)
    assert sorted(path.name for path in data.iterdir()) == ["a.jpg", "a.png"]
    monkeypatch.setattr(class_lists, "parallel_map", lambda *_, **__: pytest.fail("scanned again"))
    assert scan_class_pixels(files, data / "cache.json", 20) == first
    data.chmod(0o755)


def test_processes_find_what_one_process_finds(tmp_path, monkeypatch):
    files = {
        f"{number}": write_pair(tmp_path, f"{number}", np.full((3, 4), number))
        for number in range(1, 9)
    }
    alone = scan_class_pixels(files, tmp_path / "alone.json", 20)
    monkeypatch.setattr(class_lists, "_PARALLEL_FROM", 0)
    assert scan_class_pixels(files, tmp_path / "two.json", 20, workers=2) == alone
    assert list(alone) == list(files)


def test_unusable_files_are_named_together(tmp_path):
    files = {
        "good": write_pair(tmp_path, "good", np.ones((4, 4))),
        "sizes": write_pair(tmp_path, "sizes", np.ones((4, 4)), image_shape=(4, 5)),
        "value": write_pair(tmp_path, "value", np.full((4, 4), 21)),
        "cut": write_pair(tmp_path, "cut", np.ones((4, 4))),
    }
    files["cut"].mask.write_bytes(files["cut"].mask.read_bytes()[:40])
    with pytest.raises(UsageError) as caught:
        scan_class_pixels(files, tmp_path / "cache.json", 20)
    message = str(caught.value)
    assert "3 of 4 images" in message
    assert "sizes.png (4, 4)" in message
    assert "sizes.jpg (4, 5)" in message
    assert "value.png holds 21" in message
    assert "cut.png" in message
    assert "good" not in message
    assert not (tmp_path / "cache.json").exists()


def test_missing_files_are_named(tmp_path):
    files = {"a": write_pair(tmp_path, "a", np.ones((4, 4)))}
    files["a"].image.unlink()
    with pytest.raises(UsageError, match=r"1 missing files: .*a\.jpg"):
        scan_class_pixels(files, tmp_path / "cache.json", 20)


def stem(path):
    return path.split("/")[-1].split(".")[0]


def write_lists(folder, data_list, sub_class_list):
    (folder / "val").mkdir()
    (folder / "val" / "data_list_1.txt").write_text(data_list)
    (folder / "val" / "sub_class_file_list_1.txt").write_text(sub_class_list)


def test_given_lists_are_read(tmp_path):
    write_lists(
        tmp_path,
        "JPEGImages/a.jpg Masks/a.png\nJPEGImages/b.jpg Masks/b.png\n",
        "{6: [('JPEGImages/a.jpg', 'Masks/a.png')], "
        "7: [('JPEGImages/b.jpg', 'Masks/b.png'), ('JPEGImages/a.jpg', 'Masks/a.png')]}",
    )
    found = read_given_lists(tmp_path, "test", 1, (6, 7, 8), stem)
    assert found == {"a": (6, 7), "b": (7,)}


@pytest.mark.parametrize(
    "text",
    ["__import__('os').mkdir('ran')", "{1: open('ran', 'w')}", "{1: [x for x in 'ab']}", "{1: 2}"],
)
def test_code_in_a_list_is_refused_and_not_run(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    write_lists(tmp_path, "a.jpg a.png\n", text)
    with pytest.raises(UsageError, match="not a printed dictionary"):
        read_given_lists(tmp_path, "test", 1, (6, 7), stem)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data_list", "sub_class_list", "message"),
    [
        ("a.jpg a.png\n", "{3: [('a.jpg', 'a.png')]}", "class 3 is not among"),
        ("a.jpg a.png\n", "{6: [('b.jpg', 'b.png')]}", "b is not in"),
        ("a.jpg a.png\n", "{6: []}", "no class is given for a"),
        ("\n", "{6: []}", "lists no image"),
    ],
)
def test_lists_that_disagree_are_refused(tmp_path, data_list, sub_class_list, message):
    write_lists(tmp_path, data_list, sub_class_list)
    with pytest.raises(UsageError, match=message):
        read_given_lists(tmp_path, "test", 1, (6, 7), stem)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"data_list_1\.txt"):
        read_given_lists(tmp_path, "test", 1, (6, 7), stem)
