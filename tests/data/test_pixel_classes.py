"""Benchmarks whose masks give every pixel a class."""

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.benchmarks import Split
from data.pixel_classes import DeepGlobe, Isaid, Suim, read_colours

FISH, DIVER = (255, 250, 3), (0, 20, 200)
"""Yellow is a fish and blue a diver; SUIM's colours are not quite pure."""


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def split_of(reader) -> Split:
    return Split(reader, images="test", classes="test")


@pytest.fixture
def suim(tmp_path):
    """A picture with a fish, one with a diver in a single pixel, and one of water alone."""
    root = tmp_path / "SUIM"
    for name, colours in (("f", [FISH] * 6), ("d", [DIVER] + [FISH] * 2), ("w", [])):
        mask = np.zeros((4, 6, 3))
        mask[0, : len(colours)] = colours or mask[0, :0]
        save(root / "train_val" / "masks" / f"{name}.bmp", mask)
        save(root / "train_val" / "images" / f"{name}.jpg", np.full((4, 6, 3), 90))
    save(root / "TEST" / "masks" / "t.bmp", np.full((4, 6, 3), 255))
    save(root / "TEST" / "images" / "t.jpg", np.full((4, 6, 3), 90))
    return root


def test_colours_are_classes(suim):
    ids = read_colours(suim / "train_val" / "masks" / "d.bmp")
    assert ids[0].tolist() == [1, 6, 6, 0, 0, 0]
    assert not ids[1:].any()


def test_an_image_of_suim_counts_from_the_first_pixel_on(suim):
    split = split_of(Suim(suim))
    assert split.class_lists == {"d": (1, 6), "f": (6,)}
    assert split.class_names[6] == "fish"
    assert split.read_class("d", 1)[1].sum() == 1
    assert split.read_class("f", 6)[1].tolist() == [[1] * 6] + [[0] * 6] * 3


def test_the_two_parts_of_suim_are_apart(suim):
    assert split_of(Suim(suim, part="TEST")).class_lists == {"t": (7,)}


def test_deepglobe_counts_from_2048_pixels_on(tmp_path):
    colours = {"water": (0, 0, 255), "barren": (255, 255, 255), "urban": (0, 255, 255)}
    mask = np.zeros((100, 100, 3))
    mask[:] = colours["water"]
    mask[:20] = colours["barren"]  # 2,000 pixels
    mask[50:] = colours["urban"]
    save(tmp_path / "pieces" / "masks" / "1_0_0.png", mask)
    save(tmp_path / "pieces" / "images" / "1_0_0.png", np.full((100, 100, 3), 90))
    split = split_of(DeepGlobe(tmp_path))
    assert split.class_lists == {"1_0_0": (1, 3)}
    assert (split.class_names[1], split.class_names[3]) == ("water", "urban land")
    assert split.classes == (1, 2, 3, 5, 6, 7)


def test_folds_of_isaid_are_five_classes_in_a_row(tmp_path):
    mask = np.full((100, 100), 8)
    mask[:50] = 11
    mask[:10] = 255
    save(tmp_path / "val" / "semantic_png" / "P1_0_instance_color_RGB.png", mask)
    save(tmp_path / "val" / "images" / "P1_0.png", np.full((100, 100, 3), 90))
    lists = [split_of(Isaid(tmp_path, fold)).class_lists for fold in (1, 2)]
    assert lists == [{"P1_0": (8,)}, {"P1_0": (11,)}]
    split = split_of(Isaid(tmp_path, 2))
    assert tuple(split.class_names.values())[:2] == ("swimming pool", "roundabout")
    found = split.read_class("P1_0", 11)[1]
    assert [np.unique(part).tolist() for part in (found[:10], found[10:50], found[50:])] == [
        [255],
        [1],
        [0],
    ]
    with pytest.raises(UsageError, match="no fold 3 of isaid5i: choose 0, 1 or 2"):
        Isaid(tmp_path, 3)
    with pytest.raises(UsageError, match="no test image shows a test class of fold 0"):
        _ = split_of(Isaid(tmp_path, 0)).class_lists


def test_what_is_missing_is_told(suim, tmp_path):
    (suim / "train_val" / "images" / "f.jpg").unlink()
    with pytest.raises(UsageError, match=r"1 missing files: .*f\.jpg"):
        _ = split_of(Suim(suim)).class_lists
    with pytest.raises(UsageError, match=r"lacks pieces/images.*tools.prepare deepglobe"):
        DeepGlobe(tmp_path)
