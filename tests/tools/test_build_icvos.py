import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.icvos import IcVos, read_class_mask, read_sources
from tools import build_icvos
from tools.icvos import tubes as icvos_tubes
from tools.icvos.lists import read_decisions, read_mapping
from tools.icvos.statistics import count

HEADER = "source,video,object,class"
MAPPING = f"""{HEADER}
davis,park,1,dog
DAVIS,park,2,17
davis,park,3,person
davis,park,4,-
mose,street,1,car
lvos,late,1,aeroplane
lvos,late,2,kite
"""
"""Class 17 is dog; aeroplane is VOC's word for COCO's airplane, 5."""
APPEARANCE = {"park": {1: 0, 2: 0, 3: 0, 4: 1}, "street": {1: 0}, "late": {1: 1, 2: 0}}
"""Object -> the first frame that shows it; object n covers column n - 1 from then on."""


def write_source(root: Path, name: str, inner: str = "", frames: int = 3) -> None:
    images, masks = root / "JPEGImages" / inner / name, root / "Annotations" / inner / name
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for number in range(frames):
        Image.new("RGB", (8, 6), (10, 20, 30 + 40 * number)).save(images / f"{number:05}.jpg")
        mask = np.zeros((6, 8), dtype=np.uint8)
        for value, first in APPEARANCE[name].items():
            mask[:, value - 1] = value if number >= first else 0
        mask[:, 7] = 255
        Image.fromarray(mask).save(masks / f"{number:05}.png")


class Bench:
    """Sources, a mapping and the command that builds from them."""

    def __init__(self, root: Path, script: Callable) -> None:
        self.root, self.output, self.script = root, root / "IC-VOS", script
        self.mapping = root / "objects.csv"
        self.decisions = root / "IC-VOS-review" / "decisions.csv"

    def __call__(self, *more: object):
        sources = [word for n in ("davis", "mose", "lvos") for word in (f"--{n}", self.root / n)]
        flags = ("--mapping", self.mapping, "--output", self.output, *more)
        return self.script(build_icvos, *sources, *flags)

    def decide(self, **by_class: str) -> None:
        """Replace decisions: dog="accept"."""
        lines = [line.split(",") for line in self.decisions.read_text().splitlines()]
        for line in lines:
            line[2] = by_class.get(line[1], line[2])
        self.decisions.write_text("".join(",".join(line) + "\n" for line in lines))


@pytest.fixture
def bench(tmp_path: Path, script: Callable) -> Bench:
    write_source(tmp_path / "davis", "park", "480p")
    write_source(tmp_path / "mose" / "train", "street")
    write_source(tmp_path / "lvos" / "valid", "late", frames=2)
    (tmp_path / "objects.csv").write_text(MAPPING)
    return Bench(tmp_path, script)


def test_the_first_call_draws_what_keeps_the_rules_and_asks_for_decisions(bench: Bench):
    outcome = bench()
    assert outcome.code == 0
    assert bench.decisions.read_text().splitlines() == [
        "video,class,decision,reason",
        "late,kite,undecided,",
        "park,person,undecided,",
        "park,dog,undecided,",
        "street,car,undecided,",
    ]
    assert "not eligible: airplane in late" in outcome.output
    assert "object 1 first in frame 00001" in outcome.output
    gifs = sorted(path.name for path in bench.decisions.parent.glob("*.gif"))
    assert gifs == ["late_kite_2.gif", "park_dog_1-2.gif", "park_person_3.gif", "street_car_1.gif"]
    assert not bench.output.exists()


def test_a_gif_shows_each_object_in_its_colour(bench: Bench):
    bench()
    with Image.open(bench.decisions.parent / "park_dog_1-2.gif") as gif:
        assert gif.size == (8, 6)
        assert gif.info["duration"] == 1500
        picture = np.array(gif.convert("RGB")).astype(int)
    first, second, plain = picture[3, 0], picture[3, 1], picture[3, 4]
    assert first[0] > 100 > first[1]  # DAVIS paints object 1 red and object 2 green
    assert second[1] > 100 > second[0]
    assert abs(plain - (10, 20, 30)).max() < 12


def test_accepted_classes_become_merged_tubes_that_the_reader_takes(bench: Bench):
    bench()
    bench.decide(dog="accept", car="accept", person="reject")
    outcome = bench()
    assert outcome.code == 0
    assert "2 videos built" in outcome.output
    benchmark = IcVos(bench.output)
    assert benchmark.items == [("park", 17), ("street", 3)]
    assert not benchmark.problems
    video = benchmark.open("park", 17)
    assert len(video) == 3
    for number in range(3):
        inside = read_class_mask(video, number)
        assert inside[:, :2].all()  # objects 1 and 2 are one mask
        assert not inside[:, 2:].any()  # neither 3, which was rejected, nor 4, nor ignored pixels
    assert set(np.unique(video.read_mask(0)).tolist()) == {0, 1}
    assert read_sources(bench.output) == {"park": "davis", "street": "mose"}
    frame = bench.output / "park" / "JPEGImages" / "00000.jpg"
    assert frame.samefile(bench.root / "davis/JPEGImages/480p/park/00000.jpg")  # a hard link


def test_decisions_can_be_changed(bench: Bench):
    bench()
    bench.decide(dog="accept", car="accept")
    bench("--copy")
    assert not any(p.stat().st_nlink > 1 for p in bench.output.rglob("*.jpg"))
    bench.decide(car="reject", person="accept")
    outcome = bench()
    assert outcome.code == 0
    assert "1 videos built, 1 videos removed" in outcome.output
    assert IcVos(bench.output).items == [("park", 1), ("park", 17)]
    assert read_sources(bench.output) == {"park": "davis"}
    assert "0 videos built, 0 videos removed" in bench().output


def test_an_interrupted_build_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench()
    bench.decide(dog="accept", car="accept")
    write, written = icvos_tubes.write_indexed_mask, []

    def interrupt(path: Path, mask: np.ndarray) -> None:
        if len(written) == 4:  # in the second video
            raise KeyboardInterrupt
        written.append(path)
        write(path, mask)

    monkeypatch.setattr(icvos_tubes, "write_indexed_mask", interrupt)
    assert bench().code == 130
    assert [path.name for path in bench.output.iterdir()] == ["park"]
    monkeypatch.undo()
    (bench.output / ".street.building" / "JPEGImages").mkdir(parents=True)  # as a kill leaves it
    before = (bench.output / "park").stat().st_mtime_ns

    assert "1 videos built" in bench().output
    assert IcVos(bench.output).items == [("park", 17), ("street", 3)]
    assert (bench.output / "park").stat().st_mtime_ns == before
    assert not list(bench.output.glob(".*"))


def test_a_video_that_fails_does_not_stop_the_others(bench: Bench):
    (bench.root / "mose/train/Annotations/street/00001.png").unlink()
    shutil.rmtree(bench.root / "lvos/valid/JPEGImages/late")
    outcome = bench()
    assert outcome.code == 1
    assert "street/00001.png" in outcome.error
    assert "no video late in" in outcome.error
    bench.decide(dog="accept")
    outcome = bench()
    assert outcome.code == 1
    assert IcVos(bench.output).items == [("park", 17)]


def test_an_accepted_class_that_breaks_a_rule_fails(bench: Bench):
    bench()
    with bench.decisions.open("a") as file:
        file.write("late,airplane,accept,looks fine\n")
    bench.decide(kite="accept")
    outcome = bench()
    assert outcome.code == 1
    assert "airplane in late is accepted, but not all instances" in outcome.error
    assert IcVos(bench.output).items == [("late", 34)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (MAPPING.replace("davis,park,4,-\n", ""), "lacks objects 4 of video park"),
        (MAPPING + "mose,street,9,car\n", "names objects 9 of video street, which no mask"),
    ],
)
def test_masks_and_mapping_must_name_the_same_objects(bench: Bench, lines: str, message: str):
    bench.mapping.write_text(lines)
    outcome = bench()
    assert outcome.code == 1
    assert message in outcome.error


def test_frames_of_different_sizes_are_named(bench: Bench):
    Image.new("RGB", (9, 6)).save(bench.root / "davis/JPEGImages/480p/park/00002.jpg")
    outcome = bench()
    assert outcome.code == 1
    assert "frames of different sizes" in outcome.error
    assert "park/00002.jpg" in outcome.error


def test_a_folder_of_somebody_else_is_never_replaced(bench: Bench):
    bench()
    bench.decide(dog="accept", car="accept")
    (bench.output / "street").mkdir(parents=True)
    (bench.output / "street" / "notes.txt").write_text("mine")
    outcome = bench()
    assert outcome.code == 1
    assert "street was not built here: move it away" in outcome.error
    assert (bench.output / "street" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("davis,park,1,swan", "line 2: 'swan' is no COCO class"),
        ("davis,park,1,persn", "did you mean person"),
        ("davis,park,1,81", "line 2: '81' is no COCO class"),
        ("imagenet,park,1,dog", "line 2: no source 'imagenet'"),
        ("davis,../park,1,dog", "line 2: '../park' is no name"),
        ("davis,..,1,dog", "line 2: '..' is no name"),
        ("davis,/etc,1,dog", "line 2: '/etc' is no name"),
        ("davis,park,0,dog", "line 2: object '0' is no number"),
        ("davis,park,255,dog", "line 2: object '255' is no number"),
        ("davis,park,dog", "line 2: 3 values instead of 4"),
        ("davis,park,1,dog\ndavis,park,01,cat", "line 3: a second line on object 1"),
        ("davis,park,1,dog\nmose,park,1,dog", "line 3: davis has a video park too"),
        ('davis,"park,1,dog', "line 2: unexpected end of data"),
        ("", "names no object"),
    ],
)
def test_lines_of_the_mapping_that_make_no_sense_are_numbered(
    tmp_path: Path, line: str, message: str
):
    path = tmp_path / "objects.csv"
    path.write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(UsageError) as error:
        read_mapping(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("park,cat,accept,", "line 2: the mapping has no cat in a video 'park'"),
        ("nowhere,dog,accept,", "line 2: the mapping has no dog in a video 'nowhere'"),
        ("park,dog,yes,", "line 2: 'yes' is no decision"),
        ("park,dog,accept,\npark,17,reject,blurred", "line 3: a second decision on 17"),
    ],
)
def test_decisions_that_make_no_sense_are_numbered(tmp_path: Path, line: str, message: str):
    mapping, path = tmp_path / "objects.csv", tmp_path / "decisions.csv"
    mapping.write_text(MAPPING)
    path.write_text(f"video,class,decision,reason\n{line}\n")
    with pytest.raises(UsageError, match=message):
        read_decisions(path, read_mapping(mapping))


def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path):
    path = tmp_path / "objects.csv"
    path.write_bytes(b"\xef\xbb\xbfSource,Video,Object,Class\r\ndavis, park ,2,Dog\r\n\r\n")
    assert read_mapping(path)["park"].classes == {17: [2]}


def test_wrong_use_is_told_at_once(bench: Bench):
    outcome = bench.script(build_icvos, "--davis", bench.root / "none", "--gif_frames", 0)
    assert outcome.code == 2
    for word in ("--mapping is required", "--davis: no such folder", "--gif_frames"):
        assert word in outcome.error
    outcome = bench("--review", bench.output / "review")
    assert outcome.code == 2
    assert "lies in --output" in outcome.error
    bench.mapping.unlink()
    assert "cannot read the table" in bench().error


def test_statistics_are_those_of_the_tables(bench: Bench):
    bench()
    bench.decide(dog="accept", person="accept", kite="accept", car="accept")
    bench()
    statistics, problems = count(bench.output)
    assert not problems
    # park has 3 frames, street 3, late 2; park is two clips
    expected = {"videos": 3, "frames": 8, "classes": 4, "clips": 4, "objects": 5}
    assert {key: statistics[key] for key in expected} == expected
    assert statistics["mean_frames"] == pytest.approx(8 / 3)
    assert statistics["per_source"]["lvos"] == {
        "videos": 1,
        "frames": 2,
        "share_of_videos": pytest.approx(100 / 3),
    }
    assert statistics["per_class"]["dog"] == {
        "clips": 1,
        "frames": 3,
        "objects": 2,
        "share_of_frames": pytest.approx(100 * 3 / 11),
    }
    written = json.loads((bench.decisions.parent / "statistics.json").read_text())
    assert written == statistics
    with Image.open(bench.decisions.parent / "figure2.png") as chart:
        pixels = np.array(chart.convert("RGB"))
    blue = (pixels == (58, 130, 246)).all(axis=2)
    lengths = blue.sum(axis=1)
    starts = (lengths[1:] > 0) & (lengths[:-1] == 0)
    assert starts.sum() == 4  # a bar for each class; all have one clip, so one length
    assert np.ptp(lengths[lengths > 0]) <= 2
    # a video of each source: a third of the ring each
    ring = [(142, 68, 173), (212, 172, 13), (23, 165, 137)]
    davis, mose, lvos = ((pixels == colour).all(axis=2).sum() for colour in ring)
    assert davis == pytest.approx(lvos, rel=0.05)
    assert mose == pytest.approx(lvos, rel=0.05)
    cloud = pixels[: pixels.shape[0] // 2, pixels.shape[1] // 2 :]
    assert (cloud < 128).any(axis=2).mean() > 0.02
    outcome = bench.script(build_icvos, "--statistics", "--output", bench.output)
    assert outcome.code == 0
    assert "3            3        8        4" in outcome.output


def test_builds_from_the_real_davis(real_data: Path, tmp_path: Path, script: Callable):
    mapping = tmp_path / "objects.csv"
    mapping.write_text(
        f"{HEADER}\ndavis,blackswan,1,bird\ndavis,tennis,1,person\ndavis,tennis,2,tennis racket\n"
    )
    flags = ("--mapping", mapping, "--davis", real_data / "DAVIS", "--gif_frames", "3")
    output = tmp_path / "IC-VOS"
    assert script(build_icvos, *flags, "--output", output).code == 0
    table = tmp_path / "IC-VOS-review" / "decisions.csv"
    table.write_text(table.read_text().replace("undecided", "accept"))
    assert script(build_icvos, *flags, "--output", output).code == 0
    benchmark = IcVos(output)
    assert benchmark.items == [("blackswan", 15), ("tennis", 1), ("tennis", 39)]
    video = benchmark.open("tennis", 1)
    with Image.open(real_data / "DAVIS/Annotations/480p/tennis/00001.png") as mask:
        assert np.array_equal(read_class_mask(video, 1), np.array(mask) == 1)
