"""tools.prepare of folders of images: what is made of others' files, and what is counted."""

import json

import numpy as np
import pytest
from PIL import Image

from common.coco_masks import run_length
from common.errors import UsageError
from data.pixel_classes import DeepGlobe, Isaid
from data.synthetic.folder_sets import FOLDER_SETS, write_folder_set
from tools import prepare
from tools.preparation.image_sets import IMAGE_SETS
from tools.preparation.patches import isaid_ids, make_deepglobe, make_isaid
from tools.preparation.permis import choose


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


@pytest.mark.parametrize("name", FOLDER_SETS)
def test_generated_copies_are_complete_and_not_the_published_ones(tmp_path, capsys, name):
    folder = tmp_path / FOLDER_SETS[name].folder
    assert prepare.main([name, "--root", str(tmp_path)]) == 1
    assert IMAGE_SETS[name].address in capsys.readouterr().out
    write_folder_set(name, folder, 2, 2, workers=0)
    assert prepare.main([name, "--root", str(tmp_path)]) == 0
    (folder / "benchmark.json").unlink()  # now it passes for the real one
    code = prepare.main([name, "--root", str(tmp_path)])
    assert (code, " instead of " in capsys.readouterr().out) == (
        (0, False) if name == "isaid5i" else (1, True)  # no originals: nothing to compare
    )
    reader = FOLDER_SETS[name](folder)
    files = reader.files_of(next(iter(reader.class_lists("test", "test"))))
    gone = files.mask if name in ("isic2018", "perseg") else files.image  # images are listed there
    gone.unlink()
    assert prepare.main([name, "--root", str(tmp_path)]) == 1
    assert str(gone) in capsys.readouterr().out


def test_isaid_is_cut_into_patches_that_show_something(tmp_path):
    original = tmp_path / "original" / "val"
    mask = np.zeros((300, 520, 3), dtype=np.uint8)
    mask[280:, 500:] = (0, 127, 255)  # plane, in the last patch and in none else
    mask[:10, :10] = (0, 0, 63)  # ship
    image = np.random.default_rng(0).integers(0, 255, mask.shape, dtype=np.uint8)
    save(original / "images" / "P0003.png", image)
    save(original / "masks" / "P0003_instance_color_RGB.png", mask)
    save(original / "masks" / "P0003_instance_id_RGB.png", mask)
    assert np.unique(isaid_ids(original / "masks" / "P0003_instance_color_RGB.png")).tolist() == [
        0,
        1,
        14,
    ]

    make_isaid(tmp_path, 0)

    files = Isaid(tmp_path, 0).files("test")
    # rows begin at 0 and 44, columns at 0, 256 and 264: the last ones are moved in
    assert list(files) == ["P0003_0_256_0_256", "P0003_44_300_256_512", "P0003_44_300_264_520"]
    for name, pair in files.items():
        top, bottom, left, right = map(int, name.split("_")[1:])
        assert np.array_equal(Image.open(pair.image), image[top:bottom, left:right])
    ids = np.array(Image.open(files["P0003_44_300_264_520"].mask))
    assert (ids[236:, 236:] == 14).all()
    assert ids.sum() == 14 * 20 * 20

    save(original / "masks" / "P0003_instance_color_RGB.png", mask + 1)
    with pytest.raises(UsageError, match=r"colours that are no class: 010101"):
        make_isaid(tmp_path, 0)
    (original / "images" / "P0003.png").unlink()
    with pytest.raises(UsageError, match="1 pictures or masks lack the other: P0003"):
        make_isaid(tmp_path, 0)


def test_pieces_of_deepglobe_show_several_classes_and_nothing_unknown(tmp_path):
    mask = np.zeros((816, 816, 3), dtype=np.uint8)
    mask[:, :] = (0, 255, 0)
    mask[:100] = (0, 0, 255)  # two classes in the upper pieces
    mask[500, 700] = 0  # unknown in the last one, whose rest is of one class
    mask[0, 0] = 0  # and in the first
    save(tmp_path / "train" / "77_mask.png", mask)
    save(tmp_path / "train" / "77_sat.jpg", np.full(mask.shape, 90))

    make_deepglobe(tmp_path, 0)

    assert list(DeepGlobe(tmp_path).files("test")) == ["77_0_1"]
    lists = DeepGlobe(tmp_path).class_lists("test", "test")
    assert lists == {"77_0_1": (1, 2)}


def burst(shape=(6, 8)):
    """Two cats, a dog and in the last frame one cat alone."""
    whole, part = np.zeros(shape, bool), np.zeros(shape, bool)
    whole[:3], part[5] = True, True
    boxes = {"1": part, "2": whole, "3": ~whole & ~part}
    rle = {track: {"rle": run_length(mask)["counts"]} for track, mask in boxes.items()}
    return {
        "dataset": "LaSOT",
        "seq_name": "cat-1",
        "height": shape[0],
        "width": shape[1],
        "annotated_image_paths": [f"{n:05d}.jpg" for n in (1, 31, 61, 91)],
        "track_category_ids": {"1": 20, "2": 20, "3": 30},
        "segmentations": [rle, rle, rle, {"1": rle["1"], "3": rle["3"]}],
    }


def test_two_objects_of_a_kind_are_chosen_and_the_last_frame_that_shows_both():
    choice = choose(burst())
    assert choice.tracks == ("2", "1")  # the larger one first
    assert choice.frames == (0, 2)
    alone = burst()
    alone["track_category_ids"]["1"] = 40
    assert choose(alone) is None


def test_permis_is_made_of_burst(tmp_path, capsys):
    video = burst()
    file = tmp_path / "BURST" / "annotations" / "val" / "all_classes.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"sequences": [video]}))
    frames = tmp_path / "TAO" / "frames" / "val" / "LaSOT" / "cat-1"
    for name in video["annotated_image_paths"]:
        save(frames / name, np.full((6, 8, 3), 90))
    assert prepare.main(["permis", "--root", str(tmp_path), "--workers", "1"]) == 1
    assert "videos: 1 instead of 216" in capsys.readouterr().out
    made = {path.name for path in (tmp_path / "PerMIS" / "LaSOT_cat-1").iterdir()}
    assert made == {
        f"{frame}{end}" for frame in ("00000", "00002") for end in (".jpg", "_1.png", "_2.png")
    }
    first = np.array(Image.open(tmp_path / "PerMIS" / "LaSOT_cat-1" / "00002_1.png"))
    assert (first[:3] == 255).all()
    assert not first[3:].any()


def test_a_frame_that_is_missing_is_told(tmp_path, capsys):
    file = tmp_path / "BURST" / "annotations" / "val" / "all_classes.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"sequences": [burst()]}))
    assert prepare.main(["permis", "--root", str(tmp_path), "--workers", "1"]) == 1
    assert "no such image" in capsys.readouterr().out
    assert not (tmp_path / "PerMIS").exists()
    file.write_text("[]")
    assert prepare.main(["permis", "--root", str(tmp_path)]) == 1
    assert "is no file of BURST" in capsys.readouterr().out
