import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.davis import Davis
from data.icvos import IcVos, read_class_mask
from data.synthetic import __main__ as command
from data.synthetic.style import COCO_PAIRS
from data.synthetic.video_sets import (
    classes_of,
    generated_clip,
    video_name,
    write_davis,
    write_icvos,
)

VIDEOS, FRAMES = 3, 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated_videos")
    write_icvos(root / "IC-VOS", VIDEOS, FRAMES, seed=4, workers=0)
    write_davis(root / "DAVIS", VIDEOS, FRAMES, seed=4, workers=0)
    return root


def test_the_icvos_reader_reads_it(folders):
    items = IcVos(folders / "IC-VOS").items
    assert {video for video, _ in items} == {video_name(number) for number in range(VIDEOS)}
    for number in range(VIDEOS):
        drawn = list(generated_clip(4, number, FRAMES).frames(FRAMES))
        classes = classes_of(generated_clip(4, number, FRAMES))
        assert sorted(c for video, c in items if video == video_name(number)) == list(classes)
        for class_id, labels in classes.items():
            item = IcVos(folders / "IC-VOS").open(video_name(number), class_id)
            assert len(item) == FRAMES
            for index in range(FRAMES):
                expected = np.isin(drawn[index].instances, labels)
                assert np.array_equal(read_class_mask(item, index), expected)


def test_every_class_is_in_the_first_frame(folders):
    reader = IcVos(folders / "IC-VOS")
    assert all(read_class_mask(reader.open(*item), 0).any() for item in reader.items)


def test_the_davis_reader_reads_it(folders):
    davis = Davis(folders / "DAVIS")
    assert davis.videos == [video_name(number) for number in range(VIDEOS)]
    video = davis.open(video_name(1))
    clip = generated_clip(4, 1, FRAMES)
    assert list(video.appearances()) == list(range(1, len(clip.instances) + 1))
    assert np.array_equal(video.read_mask(3), clip.frame(3).instances)


def test_both_layouts_have_the_same_frames(folders):
    for path in sorted((folders / "DAVIS" / "JPEGImages" / "480p").rglob("*.jpg")):
        other = folders / "IC-VOS" / path.parent.name / "JPEGImages" / path.name
        assert path.read_bytes() == other.read_bytes()
        with Image.open(path) as image:
            shown = np.asarray(image, dtype=float)
        number = int(path.parent.name.removeprefix("video_")) - 1
        drawn = generated_clip(4, number, FRAMES).frame(int(path.stem)).image
        assert np.abs(shown - drawn).mean() < 6  # JPEG


def test_a_finished_folder_is_kept_and_another_is_refused(folders):
    before = {p: p.stat().st_mtime_ns for p in (folders / "DAVIS").rglob("*.png")}
    write_davis(folders / "DAVIS", VIDEOS, FRAMES, seed=4, workers=0)
    assert before == {p: p.stat().st_mtime_ns for p in (folders / "DAVIS").rglob("*.png")}
    with pytest.raises(UsageError, match="holds something else"):
        write_davis(folders / "DAVIS", VIDEOS, FRAMES, seed=5, workers=0)


def test_the_command_line(tmp_path, script):
    words = ["icvos", "--root", tmp_path, "--workers", "0", "--frames", "2"]
    assert script(command, *words, "--videos", "1").code == 0
    assert IcVos(tmp_path / "IC-VOS").items
    outcome = script(command, *words, "--videos", "0")
    assert outcome.code == 2
    assert "positive number of videos" in outcome.error


def test_classes_have_the_names_of_what_is_drawn(folders):
    names = IcVos(folders / "IC-VOS").class_names
    shape, texture = COCO_PAIRS[1]
    assert names[1] == f"{texture} {shape}"
    assert len(names) == 80
