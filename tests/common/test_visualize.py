import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import UsageError
from common.visualize import (
    EPISODE_HEADER,
    SheetRow,
    contact_sheet,
    denormalize,
    episode_row,
    overlay,
    write_png,
)


def grey(height: int = 12, width: int = 12) -> np.ndarray:
    return np.full((height, width, 3), 100, dtype=np.uint8)


def box() -> np.ndarray:
    mask = np.zeros((12, 12), dtype=bool)
    mask[3:9, 3:9] = True
    return mask


def test_overlay_tints_the_inside_outlines_it_and_leaves_the_rest():
    image = grey()

    shown = overlay(image, box(), colour=(200, 0, 100), opacity=0.5)

    assert shown[0, 0].tolist() == [100, 100, 100]
    assert shown[2, 5].tolist() == [100, 100, 100]
    assert shown[3, 5].tolist() == [200, 0, 100]  # outline
    assert shown[5, 5].tolist() == [150, 50, 100]  # tint: half of each
    assert (image == 100).all()


def test_overlay_without_outline_or_without_object():
    plain = overlay(grey(), box(), colour=(200, 0, 100), outline=False, opacity=0.5)
    assert plain[3, 5].tolist() == [150, 50, 100]

    assert np.array_equal(overlay(grey(), np.zeros((12, 12), dtype=bool)), grey())


def test_the_image_frame_is_no_outline():
    full = overlay(grey(), np.ones((12, 12), dtype=bool), colour=(200, 0, 100), opacity=0.5)
    assert (full == (150, 50, 100)).all()


def test_overlay_refuses_a_mask_of_another_size():
    with pytest.raises(ValueError, match="over an image"):
        overlay(grey(), np.ones((12, 11), dtype=bool))


def test_a_sheet_holds_each_tile_in_its_place():
    red, blue = grey(), grey(30, 60)
    red[:], blue[:] = (255, 0, 0), (0, 0, 255)

    sheet = contact_sheet(["a", "b"], [SheetRow([red, blue], "cow", "IoU 50.0")], tile_side=60)

    assert sheet.dtype == np.uint8
    # red fills its square of 60 x 60; blue, twice as wide as high, half of its own
    assert (sheet == (255, 0, 0)).all(axis=2).sum() == 60 * 60
    blue_rows, blue_columns = (sheet == (0, 0, 255)).all(axis=2).nonzero()
    assert (np.ptp(blue_rows) + 1, np.ptp(blue_columns) + 1) == (30, 60)
    red_columns = (sheet == (255, 0, 0)).all(axis=2).nonzero()[1]
    assert red_columns.max() < blue_columns.min()
    beside = sheet[:, blue_columns.max() + 1 :]
    assert (beside < 128).any()  # the label's ink


def test_a_sheet_grows_by_one_tile_per_row():
    row = SheetRow([grey()], "cow")
    heights = [contact_sheet(["a"], [row] * n, tile_side=50).shape[0] for n in (1, 2, 3)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 50


def test_a_sheet_takes_long_labels():
    short = contact_sheet(["a"], [SheetRow([grey()], "w" * 60)])
    long = contact_sheet(["a"], [SheetRow([grey()], "w" * 90)], title="t" * 200)
    assert short.shape[1] == long.shape[1]


def test_a_sheet_refuses_rows_that_do_not_fit_its_header():
    with pytest.raises(ValueError, match="needs 2 tiles"):
        contact_sheet(["a", "b"], [SheetRow([grey()], "cow")])
    with pytest.raises(ValueError, match="one row must exist"):
        contact_sheet(["a"], [])


@pytest.mark.parametrize("shots", [1, 5, 10])
def test_an_episode_is_one_row_for_any_number_of_shots(shots):
    row = episode_row([(grey(), box())] * shots, grey(), box(), ~box(), "cow", 12.345)

    assert len(row.tiles) == len(EPISODE_HEADER)
    assert (row.label, row.detail) == ("cow", "IoU 12.3")
    assert contact_sheet(EPISODE_HEADER, [row]).ndim == 3


def test_denormalize_undoes_the_normalisation():
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)
    image = torch.tensor([[-1.0, 1.0], [0.0, 1.0], [0.2, 7.0]]).view(3, 1, 2)

    assert denormalize(image, mean, std).tolist() == [[[0, 64, 51], [255, 128, 255]]]
    assert denormalize(image[None], mean, std).shape == (1, 1, 2, 3)


def test_write_png_keeps_every_value_and_names_a_place_it_cannot_write(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)

    write_png(tmp_path / "new" / "sheet.png", image)

    assert np.array_equal(np.array(Image.open(tmp_path / "new" / "sheet.png")), image)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        write_png(tmp_path / "file" / "sheet.png", image)
