from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from page.items import Mark
from page.limits import PageLimits
from page.session import BOX, CLICK, PAINT, Session, Sessions, different_name


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
    def marked(*layers):
        return session.draft_mark(layers, PAINT, None).pixels

    session.open_reference(picture(tmp_path / "large.png", 1000, 2000))
    assert session.draft.shown.shape == (480, 960, 3)
    assert session.draft_mark([], PAINT, None) is None
    painted = marked(stroke(480, 960))
    assert painted.shape == (1000, 2000)
    assert painted.sum() == 250 * 2000

    session.give_mask(mask_file(tmp_path / "mask.png", 1000, 2000))
    assert marked().sum() == 10 * 20
    assert marked(stroke(480, 960)).sum() == 250 * 2000
    other = np.zeros((480, 960, 4), dtype=np.uint8)
    other[-48:] = 255
    assert marked(other).sum() == 100 * 2000 + 10 * 20


class TakesPointsAndBoxes:
    """A method that needs no SAM for them."""

    method = SimpleNamespace(prompt_kinds=("mask", "point", "box"))


class NeedsMasks:
    """A method beside which SAM answers every prompt with its left half."""

    method = SimpleNamespace(prompt_kinds=("mask",))

    def prompted(self, pixels):
        return self

    def mask(self, size, clicks=None, box=None):
        found = np.zeros(size, dtype=bool)
        found[:, : size[1] // 2] = True
        return found


def test_clicks_and_boxes_stay_what_they_are_where_the_method_takes_them(session, tmp_path):
    session.open_reference(picture(tmp_path / "photo.png", 80, 120))
    dot = np.zeros((80, 120, 4), dtype=np.uint8)
    dot[20:31, 40:51] = 160
    point = session.draft_mark([dot], CLICK, TakesPointsAndBoxes())
    assert (point.kind, np.argwhere(point.pixels).tolist()) == ("point", [[25, 45]])
    box = session.draft_mark([dot], BOX, TakesPointsAndBoxes())
    assert (box.kind, box.pixels.sum()) == ("box", 11 * 11)
    assert box.pixels[20:31, 40:51].all()
    for meaning in (CLICK, BOX):
        drawn = session.draft_mark([dot], meaning, NeedsMasks())
        assert (drawn.kind, drawn.pixels.sum()) == ("mask", 80 * 60)


def test_a_mask_of_several_classes_brings_them_by_name(tmp_path):
    session = Session(tmp_path / "visitor", PageLimits(max_references=3))
    session.open_reference(picture(tmp_path / "photo.png"))
    classes = np.zeros((40, 60), dtype=np.uint8)
    classes[:10], classes[30:] = 3, 7
    Image.fromarray(classes).save(tmp_path / "mask.png")
    assert session.give_mask(tmp_path / "mask.png") == ["class_3", "class_7"]
    assert session.draft is None
    shown = session.references(None, "object")
    assert [mark.pixels.sum() for [(_, mark)] in shown.values()] == [600, 600]
    session.open_reference(picture(tmp_path / "photo.png"))
    with pytest.raises(UsageError, match="at most 3 references"):
        session.give_mask(tmp_path / "mask.png")


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
        session.keep_draft(Mark(mask), "dog")
    [(name, shots)] = session.references(None, "object").items()
    assert name == "dog"
    assert [photo.name for photo, _ in shots] == ["0.png", "1.png"]
    np.testing.assert_array_equal(shots[1][1].pixels, mask)
    with pytest.raises(UsageError, match="at most 2 references"):
        session.open_reference(picture(tmp_path / "third.png"))


def test_classes_go_by_name_and_have_their_own_colours(tmp_path):
    session = Session(tmp_path / "visitor", PageLimits())
    mask = np.ones((40, 60), dtype=bool)
    for name in ("dog", "cat", "dog"):
        session.open_reference(picture(tmp_path / "photo.png", value=0))
        session.keep_draft(Mark(mask), name)
    session.open_reference(picture(tmp_path / "photo.png"))
    shown = session.references(Mark(mask), "cat")
    assert {name: len(shots) for name, shots in shown.items()} == {"dog": 2, "cat": 2}
    assert [name for _, name in session.thumbnails()] == ["dog", "cat", "dog"]
    red, green, again = (
        np.array(Image.open(path)).mean((0, 1)) for path, _ in session.thumbnails()
    )
    assert red.argmax() == again.argmax() == 0
    assert green.argmax() == 1


def test_without_a_reference_nothing_can_be_found(session, tmp_path):
    with pytest.raises(UsageError, match="show the object first"):
        session.references(None, "object")
    session.open_reference(picture(tmp_path / "photo.png"))
    with pytest.raises(UsageError, match="the mask is empty"):
        session.keep_draft(Mark(np.zeros((40, 60), dtype=bool)), "object")


def test_own_pictures_are_told_from_examples(session, tmp_path):
    session.add_targets([picture(tmp_path / "example.png")])
    assert not session.has_own_pictures
    session.add_targets([session.take(picture(tmp_path / "holiday.png"))])
    assert session.has_own_pictures


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
    refused = session.add_uploads([film, cut_off, picture(tmp_path / "dog.png")], lambda: None)
    assert [target.name for target in session.targets] == ["dog.png"]
    assert len(refused) == 2
    assert "cut.jpg" in refused[0]
    assert "/" not in refused[0]
    assert refused[1] == "film.mp4: give pictures, or one video alone"


def test_a_telephones_picture_is_taken_as_reference_and_to_be_labelled(session, tmp_path):
    photo = picture(tmp_path / "photo.HEIC", 64, 96)
    assert session.open_reference(photo).pixels.shape == (64, 96, 3)
    assert session.add_uploads([photo], refuse_videos) == []
    assert session.targets[0].size == (64, 96)


def refuse_videos():
    raise UsageError("no SAM 2 here")


def test_a_drop_of_bad_files_only_is_refused(session, tmp_path):
    for name in ("a.mp4", "b.jpg"):
        (tmp_path / name).write_text("nothing to see")
    with pytest.raises(UsageError, match=r"b\.jpg is not a picture.*; a\.mp4 is not a video"):
        session.add_uploads([tmp_path / "a.mp4", tmp_path / "b.jpg"], lambda: None)
    (tmp_path / "a.mp4").write_text("nothing to see")
    with pytest.raises(UsageError, match=r"^no SAM 2 here$"):
        session.add_uploads([tmp_path / "a.mp4"], refuse_videos)


def test_names_are_numbered():
    assert different_name("a.png", set()) == "a.png"
    assert different_name("a.png", {"a.jpg", "a_2.png"}) == "a_3.png"


def test_a_visitors_folder_goes_with_the_visitor(tmp_path):
    sessions = Sessions(tmp_path, PageLimits(max_visitors=1))
    session = sessions.get("anna")
    assert sessions.get("anna") is session
    session.targets.append("picture.jpg")
    with pytest.raises(UsageError, match="too many visitors"):
        sessions.get("bert")
    sessions.close("anna")
    sessions.close("nobody")
    assert session.stopped.is_set()
    assert list(tmp_path.iterdir()) == []
    assert sessions.get("bert") is not session


def test_invented_visitors_keep_nobody_out(tmp_path):
    sessions = Sessions(tmp_path, PageLimits(max_visitors=3))
    owner = sessions.get("owner")
    owner.targets.append("picture.jpg")
    for number in range(100):
        sessions.get(f"invented{number}")
    assert sessions.get("owner") is owner
    assert owner.folder.is_dir()
    assert len(list(tmp_path.iterdir())) == 3


def test_who_is_silent_for_long_gives_way_and_loses_its_files(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("page.session.time.monotonic", lambda: now[0])
    sessions = Sessions(tmp_path, PageLimits(max_visitors=1))
    first = sessions.get("first")
    first.targets.append("picture.jpg")
    with pytest.raises(UsageError, match="too many visitors"):
        sessions.get("second")
    now[0] = 3601.0
    second = sessions.get("second")
    assert second is not first
    assert first.stopped.is_set()
    assert list(tmp_path.iterdir()) == [second.folder]
