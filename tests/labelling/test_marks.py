from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.geometry import touched
from labelling.marks import Mark, visible_mark
from labelling.references import read_marked

PHOTO = Path("dog.jpg")


def test_a_box_is_filled_to_its_sides():
    mark = Mark.parse("box:1,0,4,2")
    assert mark.kind == "box"
    assert mark.drawn((3, 5), PHOTO).tolist() == [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0] * 5]
    assert Mark.parse("box:-9,1.5,99,99").drawn((3, 5), PHOTO).sum() == 10  # cut at the edges


def test_points_are_pixels():
    mark = Mark.parse("points:4,0;1.7,2")
    assert mark.kind == "point"
    assert np.argwhere(mark.drawn((3, 5), PHOTO)).tolist() == [[0, 4], [2, 1]]


@pytest.mark.parametrize("kind", ["grey", "palette", "layer", "colour"])
def test_strokes_are_what_is_drawn(tmp_path, kind):
    strokes = np.zeros((3, 5), dtype=np.uint8)
    strokes[1, 1:4] = 255
    picture = {
        "grey": Image.fromarray(strokes),
        "palette": Image.fromarray(strokes).convert("P"),
        "layer": Image.fromarray(np.dstack([np.full((3, 5, 3), 90, np.uint8), strokes])),
        "colour": Image.fromarray(np.dstack([strokes, strokes * 0, strokes * 0])),
    }[kind]
    picture.save(tmp_path / "strokes.png")
    mark = Mark.parse(f"scribble:{tmp_path / 'strokes.png'}")
    assert np.array_equal(mark.drawn((3, 5), PHOTO), strokes > 0)


def test_anything_else_is_the_file_of_a_mask():
    for text in ("dog_mask.png", "C:mask.png", "boxes/a.png"):
        assert (Mark.parse(text).kind, Mark.parse(text).path) == ("mask", Path(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("box:1,2,3", "expected numbers as in box:40,60,300,420"),
        ("box:4,0,1,2", "is empty: a box is left,top,right,bottom"),
        ("points:1,2;3", "expected numbers as in points:120,80;200,90"),
        ("points:", "expected numbers as in points"),
        ("points:nan,1", "not finite"),
    ],
)
def test_marks_that_are_no_marks_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        Mark.parse(text)


def test_marks_outside_of_the_picture_and_empty_ones_are_refused(tmp_path):
    for text in ("box:5,0,9,2", "points:5,0", "points:0,-1"):
        with pytest.raises(UsageError, match=r"outside of dog\.jpg, which is 5 x 3 pixels"):
            Mark.parse(text).drawn((3, 5), PHOTO)
    scribble = Mark.parse(f"scribble:{tmp_path / 's.png'}")
    with pytest.raises(UsageError, match=r"no such scribble: .*s\.png"):
        scribble.drawn((3, 5), PHOTO)
    for shade, size, message in ((0, (5, 3), "no strokes"), (9, (5, 3), "marks everything")):
        Image.new("L", size, shade).save(tmp_path / "s.png")
        with pytest.raises(UsageError, match=message):
            scribble.drawn((3, 5), PHOTO)
    with pytest.raises(UsageError, match="5 x 3 pixels, but its picture"):
        scribble.drawn((3, 6), PHOTO)


def test_a_point_survives_a_smaller_picture(tmp_path):
    Image.new("RGB", (600, 400)).save(tmp_path / "huge.png")
    found = read_marked(tmp_path / "huge.png", Mark.parse("points:599,0"), largest=6000)
    assert found.kind == "point"
    assert np.argwhere(found.masks[1]).tolist() == [[0, found.pixels.shape[1] - 1]]
    assert touched(np.full((2, 2), True), (2, 2)).all()


def test_points_are_shown_as_dots_and_masks_as_they_are():
    point = np.zeros((300, 300), dtype=bool)
    point[150, 150] = True
    assert visible_mark(point, "point").sum() > 20
    assert np.array_equal(visible_mark(point, "mask"), point)
