"""What public lists say of IC-VOS can be read, and says of DAVIS what DAVIS has."""

import pytest

from data.classes import COCO_CLASSES
from tools.icvos.lists import ACCEPT, read_decisions, read_mapping
from tools.icvos.public import DECISIONS, MAPPING, davis_videos, source_by_name


def test_the_list_of_davis_has_the_published_counts():
    videos = davis_videos().values()
    train, val = ([row for row in videos if row[0] == split] for split in ("train", "val"))
    assert (len(train), len(val)) == (60, 30)
    # of the validation: 1,999 frames and 61 objects, as the benchmark's pages say
    assert (sum(row[1] for row in val), sum(row[2] for row in val)) == (1999, 61)
    assert sum(row[2] for row in train) == 144


def test_every_object_of_a_mapped_video_has_a_line():
    mapping, decisions = read_mapping(MAPPING), {}
    for name, video in mapping.items():
        objects = davis_videos()[name][2]
        assert video.source == "davis"
        assert video.objects == set(range(1, objects + 1))
    decisions = read_decisions(DECISIONS, mapping)
    named = {(video, COCO_CLASSES[class_id]): d for (video, class_id), d in decisions.items()}
    assert named == dict.fromkeys(
        [("bear", "bear"), ("dog", "dog"), ("drift-straight", "car")], ACCEPT
    )
    # docs/icvos.md counts them
    assert sum(not video.classes for video in mapping.values()) == 7
    assert sum(len(video.classes) == 1 and not video.others for video in mapping.values()) == 38
    assert len(mapping) == 46


@pytest.mark.parametrize(
    ("video", "source"),
    [
        *(("bear", "davis"), ("india", "davis")),
        *(("0a43a414", "mose"), ("vVTtLJFm", "lvos"), ("video_0001", None)),
    ],
)
def test_names_tell_sources(video: str, source: str | None):
    assert source_by_name(video) == source
