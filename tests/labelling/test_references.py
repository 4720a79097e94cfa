import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from labelling.marks import Mark
from labelling.options import Examples
from labelling.references import (
    describe_classes,
    name_classes,
    read_marked,
    read_reference,
    wanted_classes,
)

GREY = np.array([[0, 100, 200], [255, 50, 150]], dtype=np.uint8)
INSIDE = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)
COLOURED = [0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200]


@pytest.fixture
def photo(tmp_path):
    """A picture of 3 x 2 pixels, the size of the masks here."""
    path = tmp_path / "photo.png"
    Image.fromarray(GREY).save(path)
    return path


def save_mask(tmp_path, values, palette=None):
    path = tmp_path / "mask.png"
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(path)
    return path


def test_what_only_marks_an_inside_is_class_1(tmp_path, photo):
    opaque = np.dstack([np.repeat(GREY[..., None], 3, axis=2), INSIDE * 255])
    red = INSIDE[..., None] * np.array([255, 0, 0])
    white = INSIDE[..., None] * np.array([255, 255, 255])
    for values in (INSIDE, INSIDE * 255, opaque, red, white):
        path = save_mask(tmp_path, values)
        masks = read_reference(photo, path).masks
        assert list(masks) == [1]
        assert np.array_equal(masks[1], INSIDE)


def test_a_mask_of_one_bit_and_one_of_sixteen(tmp_path, photo):
    for number, image in enumerate(
        (Image.fromarray(INSIDE), Image.fromarray(INSIDE.astype(np.uint16) * 65535))
    ):
        image.save(tmp_path / f"{number}.png")
        assert np.array_equal(read_reference(photo, tmp_path / f"{number}.png").masks[1], INSIDE)


@pytest.mark.parametrize("palette", [COLOURED, None], ids=["palette", "grey"])
def test_ids_are_classes(tmp_path, photo, palette):
    values = [[0, 1, 3], [3, 0, 0]]
    masks = read_reference(photo, save_mask(tmp_path, values, palette=palette)).masks
    assert sorted(masks) == [1, 3]
    assert masks[3].tolist() == [[False, False, True], [True, False, False]]


def test_with_a_palette_255_marks_nothing_unless_it_is_alone(tmp_path, photo):
    whole = COLOURED + [7, 8, 9] * 252
    masks = read_reference(photo, save_mask(tmp_path, [[0, 2, 255]] * 2, palette=whole)).masks
    assert list(masks) == [2]
    masks = read_reference(photo, save_mask(tmp_path, [[0, 255, 0]] * 2, palette=whole)).masks
    assert list(masks) == [1]


RAMP = [level for index in range(256) for level in (index, index, index)]


@pytest.mark.parametrize(
    ("values", "palette", "message"),
    [
        ([[0, 128, 255], [0, 60, 255]], None, "antialiased"),
        ([[0, 128, 255], [0, 60, 255]], RAMP, "antialiased"),
        ([[0, 0, 0], [0, 0, 0]], None, "empty mask"),
        ([[0, 0], [0, 1]], None, "2 x 2 pixels, but its picture .* 3 x 2"),
        (np.arange(18).reshape(2, 3, 3) * 9, None, "6 colours"),
        (np.dstack([GREY] * 3 + [GREY]), None, "antialiased"),
    ],
)
def test_masks_that_say_nothing_clear_are_refused_in_one_line(
    tmp_path, photo, values, palette, message
):
    path = save_mask(tmp_path, values, palette=palette)
    with pytest.raises(UsageError, match=message) as refusal:
        read_reference(photo, path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_mask_of_a_huge_picture_shrinks_with_it(tmp_path):
    picture, mask = tmp_path / "huge.png", tmp_path / "mask.png"
    marked = np.zeros((400, 600), dtype=np.uint8)
    marked[100:300, :300] = 255
    Image.new("RGB", (600, 400)).save(picture)
    Image.fromarray(marked).save(mask)
    found = read_reference(picture, mask, largest=6000)
    assert found.pixels.shape[:2] == found.masks[1].shape
    assert found.masks[1].mean() == pytest.approx(0.25, abs=0.02)


def read_with(tmp_path, photo, values, **flags):
    """The lines about a mask's classes, and the classes' names."""
    mask = save_mask(tmp_path, values, palette=COLOURED)
    examples = Examples(reference=((photo, str(mask)),), target=("photos",), **flags)
    marked = [read_marked(image, Mark.parse(text)) for image, text in examples.reference]
    references = wanted_classes(examples, marked)
    classes, shots = name_classes(examples, references)
    assert shots.keys() == classes.keys()
    return describe_classes(examples, references, classes), classes


TRIMAP = [[1, 1, 2], [2, 3, 2]]


def test_every_class_that_a_mask_brings_is_told_with_what_changes_it(tmp_path, photo):
    lines, classes = read_with(tmp_path, photo, TRIMAP)
    start = f"reference {photo}, {tmp_path / 'mask.png'}"
    assert lines == [
        f'{start}, id 1: class "class_1", 33.3 % of the picture',
        f'{start}, id 2: class "class_2", 50 % of the picture',
        f'{start}, id 3: class "class_3", 16.7 % of the picture',
        "each id is a class: --ids takes some of them, --class_name ID=NAME names them, "
        "--class_name NAME makes them one",
    ]
    assert classes == {1: "class_1", 2: "class_2", 3: "class_3"}


def test_a_single_class_can_be_called_something_else(tmp_path, photo):
    lines, _ = read_with(tmp_path, photo, [[0, 1, 1], [0, 0, 1]])
    assert [line.rpartition(": ")[2] for line in lines] == [
        'class "object", 50 % of the picture',
        "--class_name NAME calls it something else",
    ]


def test_some_ids_can_be_taken_alone(tmp_path, photo):
    lines, classes = read_with(tmp_path, photo, TRIMAP, ids=(1,), class_name=("cat",))
    assert [line.rpartition(": ")[2] for line in lines] == ['class "cat", 33.3 % of the picture']
    assert classes == {1: "cat"}
    with pytest.raises(UsageError, match=r"--ids: the mask .* has only 1, 2, 3"):
        read_with(tmp_path, photo, TRIMAP, ids=(7,))


def test_ids_that_make_up_one_class_are_told(tmp_path, photo):
    lines, classes = read_with(tmp_path, photo, TRIMAP, class_name=("cat",))
    assert len([line for line in lines if 'class "cat"' in line]) == 3
    assert lines[-1].startswith("several ids make up one class here")
    assert classes == {1: "cat"}
