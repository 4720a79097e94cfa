import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from page.limits import PageLimits
from page.session import PAINT, Session, Sessions, different_name


@pytest.fixture
def session(tmp_path):
    return Session(tmp_path / "visitor", PageLimits(max_references=2, max_pictures=2))


def picture(path, height=40, width=60, value=90):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (width, height), (value,) * 3).save(path)
    return path


def mask_file(path, height=40, width=60):
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[10:20, 30:50] = 255
    Image.fromarray(mask).save(path)
    return path


def stroke(height, width):
    layer = np.zeros((height, width, 4), dtype=np.uint8)
    layer[: height // 4] = 160
    return layer


def test_an_upload_moves_into_the_visitors_folder(session, tmp_path):
    upload = picture(tmp_path / "uploads" / "dog.png")
    taken = session.take(upload)
    assert taken.name == "dog.png"
    assert taken.is_relative_to(session.folder)
    assert not upload.exists()
    with pytest.raises(UsageError, match=r"^dog\.png did not arrive"):
        session.take(upload)


def test_paint_adds_to_a_mask_file_at_the_pictures_own_size(session, tmp_path):
    session.open_reference(picture(tmp_path / "large.png", 1000, 2000))
    assert session.draft.shown.shape == (480, 960, 3)
    assert session.draft_mask([], PAINT, None) is None
    painted = session.draft_mask([stroke(480, 960)], PAINT, None)
    assert painted.shape == (1000, 2000)
    assert painted.sum() == 250 * 2000

    session.give_mask(mask_file(tmp_path / "mask.png", 1000, 2000))
    assert session.draft_mask([], PAINT, None).sum() == 10 * 20
    assert session.draft_mask([stroke(480, 960)], PAINT, None).sum() == 250 * 2000
    other = np.zeros((480, 960, 4), dtype=np.uint8)
    other[-48:] = 255
    assert session.draft_mask([other], PAINT, None).sum() == 100 * 2000 + 10 * 20


def test_a_mask_needs_its_picture_and_its_size(session, tmp_path):
    with pytest.raises(UsageError, match="choose the reference picture first"):
        session.give_mask(mask_file(tmp_path / "mask.png"))
    session.open_reference(picture(tmp_path / "photo.png", 50, 60))
    with pytest.raises(UsageError, match="60 x 40 pixels, but its picture"):
        session.give_mask(mask_file(tmp_path / "mask.png"))


def test_references_are_kept_up_to_the_limit_and_come_back_exactly(session, tmp_path):
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:9, 7:30] = True
    for number in range(2):
        session.open_reference(picture(tmp_path / f"{number}.png", value=50 * number))
        session.keep_draft(mask)
    pixels, masks = session.references(None)
    assert [int(one[0, 0, 0]) for one in pixels] == [0, 50]
    np.testing.assert_array_equal(masks[1], mask)
    with pytest.raises(UsageError, match="at most 2 references"):
        session.open_reference(picture(tmp_path / "third.png"))


def test_without_a_reference_nothing_can_be_found(session, tmp_path):
    with pytest.raises(UsageError, match="show the object first"):
        session.references(None)
    session.open_reference(picture(tmp_path / "photo.png"))
    with pytest.raises(UsageError, match="the mask is empty"):
        session.keep_draft(np.zeros((40, 60), dtype=bool))


def test_targets_of_one_name_are_told_apart_and_bad_ones_named(session, tmp_path):
    first, second = picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.jpg")
    (tmp_path / "broken.jpg").write_text("no picture")
    refused = session.add_targets([first, tmp_path / "broken.jpg", second])
    assert refused == ["broken.jpg is not a picture that can be read"]
    assert [target.name for target in session.targets] == ["x.png", "x_2.jpg"]
    assert session.add_targets([first]) == ["x.png: at most 2 pictures at a time"]
    assert len(session.targets) == 2


def test_a_drop_is_taken_without_what_is_bad_or_does_not_go_with_it(session, tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no video")
    cut_off = picture(tmp_path / "cut.jpg")
    cut_off.write_bytes(cut_off.read_bytes()[:300])
    refused = session.add_uploads([film, cut_off, picture(tmp_path / "dog.png")], has_memory=True)
    assert [target.name for target in session.targets] == ["dog.png"]
    assert len(refused) == 2
    assert "cut.jpg" in refused[0]
    assert "/" not in refused[0]
    assert refused[1] == "film.mp4: give pictures, or one video alone"


def test_a_drop_of_bad_files_only_is_refused(session, tmp_path):
    for name in ("a.mp4", "b.jpg"):
        (tmp_path / name).write_text("nothing to see")
    with pytest.raises(UsageError, match=r"b\.jpg is not a picture.*; a\.mp4 is not a video"):
        session.add_uploads([tmp_path / "a.mp4", tmp_path / "b.jpg"], has_memory=True)
    (tmp_path / "a.mp4").write_text("nothing to see")
    with pytest.raises(UsageError, match=r"^a\.mp4: this method cannot label videos$"):
        session.add_uploads([tmp_path / "a.mp4"], has_memory=False)


def test_names_are_numbered():
    assert different_name("a.png", set()) == "a.png"
    assert different_name("a.png", {"a.jpg", "a_2.png"}) == "a_3.png"


def test_a_visitors_folder_goes_with_the_visitor(tmp_path):
    sessions = Sessions(tmp_path, PageLimits(max_visitors=1))
    session = sessions.get("anna")
    assert sessions.get("anna") is session
    with pytest.raises(UsageError, match="too many visitors"):
        sessions.get("bert")
    sessions.close("anna")
    sessions.close("nobody")
    assert session.stopped.is_set()
    assert list(tmp_path.iterdir()) == []
    assert sessions.get("bert") is not session
