import csv
from pathlib import Path

import pytest
from PIL import Image

from common.logger import write_json
from reproduction.recipe import IMAGE_COLUMNS, VIDEO_COLUMNS, Row, Table
from reproduction.report import markdown, write
from reproduction.results import cells_of
from reproduction.steps import Settings, evaluation_step
from reproduction.trainings import RESNET50, TUBES_BOTH

PAPER = dict(zip(IMAGE_COLUMNS, (70.0, 71.0, 72.0, 73.0, 71.5), strict=True))
IMAGES = Row("resnet50", "ResNet-50", PAPER, "pascal", RESNET50["pascal"])
VIDEOS = Row("dc_sam", "DC-SAM", {"J": 68.0, "F": 74.0, "J&F": 71.0}, "icvos", TUBES_BOTH)
COUNTED = Row("full", "full", {"size": 1.9, "names": "a, b"}, counted=lambda: COUNTS)
COUNTS = {"size": 2.4, "names": "a, c"}
TABLE = Table("table3", "Few-shot methods", IMAGE_COLUMNS, (IMAGES,), plot="backbone")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(work=tmp_path, datapath=tmp_path, seeds=(0, 1))


def evaluated(
    row: Row, fold: int | None, seed: int, settings: Settings, finished: bool = True, **numbers
) -> None:
    """What a step leaves that found these numbers."""
    step = evaluation_step(row, fold, seed, settings)
    write_json(step.folder / "results.json", numbers)
    write_json(step.folder / "step.json", {"recipe": step.recipe, "finished": finished})


def all_folds(settings: Settings) -> None:
    for fold in range(4):
        evaluated(IMAGES, fold, 0, settings, miou=70.0 + fold)
        evaluated(IMAGES, fold, 1, settings, miou=74.0 + fold)


def test_mean_and_deviation_over_seeds(settings):
    all_folds(settings)
    cells = cells_of(IMAGES, TABLE, settings)

    # fold 1: 71 and 75; their mean is 73 and the sample's deviation sqrt(2 * 2**2 / 1)
    assert (cells["F-1"].ours, cells["F-1"].seeds) == (73.0, 2)
    assert cells["F-1"].deviation == pytest.approx(8**0.5)
    assert cells["F-1"].difference == 2.0
    # the folds' means are 71.5 and 75.5
    assert cells["Mean"].ours == 73.5
    assert cells["Mean"].deviation == pytest.approx(8**0.5)
    assert cells["Mean"].difference == 2.0


def test_the_mean_needs_all_folds_of_a_seed(settings):
    for fold in range(3):
        evaluated(IMAGES, fold, 0, settings, miou=70.0)
    cells = cells_of(IMAGES, TABLE, settings)
    assert cells["F-0"].ours == 70.0
    assert cells["F-0"].deviation is None
    assert cells["Mean"].ours is None
    assert cells["Mean"].difference is None


def test_results_of_an_unfinished_step_do_not_count(settings):
    evaluated(IMAGES, 0, 0, settings, finished=False, miou=70.0)
    assert cells_of(IMAGES, TABLE, settings)["F-0"].ours is None


def test_videos_have_j_and_f(settings):
    evaluated(VIDEOS, None, 0, settings, jf=70.0, j=67.0, f=73.0)
    evaluated(VIDEOS, None, 1, settings, jf=72.0, j=69.0, f=75.0)
    table = Table("table4", "", VIDEO_COLUMNS, (VIDEOS,))
    cells = cells_of(VIDEOS, table, settings)
    assert [cells[column].ours for column in VIDEO_COLUMNS] == [68.0, 74.0, 71.0]


def test_counts_and_names_are_compared(settings):
    table = Table("table14", "", ("size", "names"), (COUNTED,))
    cells = cells_of(COUNTED, table, settings)
    assert cells["size"].difference == pytest.approx(0.5)
    assert cells["names"].difference == "differs"
    assert "| full | paper | 1.90 | a, b |" in markdown(table, [(COUNTED, cells)])


def test_files_for_people_and_programs(settings):
    all_folds(settings)
    path = write(TABLE, [IMAGES], settings)

    lines = path.read_text().splitlines()
    assert "| ResNet-50, PASCAL-5i, 1-shot | paper | 70.0 | 71.0 | 72.0 | 73.0 | 71.5 |" in lines
    assert "|  | ours | 72.0 ± 2.8 | 73.0 ± 2.8 | 74.0 ± 2.8 | 75.0 ± 2.8 | 73.5 ± 2.8 |" in lines
    assert "|  | difference | +2.0 | +2.0 | +2.0 | +2.0 | +2.0 |" in lines
    rows = list(csv.DictReader(path.with_suffix(".csv").open()))
    assert [row["column"] for row in rows] == list(IMAGE_COLUMNS)
    assert rows[4]["row"] == "resnet50"
    assert (rows[4]["paper"], rows[4]["ours"], rows[4]["difference"]) == ("71.5", "73.5", "2.0")
    with Image.open(path.with_suffix(".png")) as plot:
        assert plot.size == (960, 600)
        assert len(plot.convert("RGB").getcolors(1 << 20)) > 100


def test_a_table_tells_the_protocol_of_what_was_measured(settings):
    for seed, changes in ((0, []), (1, ["seed 1"])):
        for fold in range(4):
            told = {"protocol": "pascal", "exposure": "strict", "protocol_changes": changes}
            evaluated(IMAGES, fold, seed, settings, miou=70.0, **told)
    path = write(TABLE, [IMAGES], settings)
    assert "| pascal, strict | ours | 70.0 ± 0.0 |" in path.read_text()
    rows = list(csv.DictReader(path.with_suffix(".csv").open()))
    assert {row["protocol"] for row in rows} == {"pascal, strict"}

    told = {"protocol": "pascal", "exposure": "in-domain", "protocol_changes": ["episodes 4"]}
    evaluated(IMAGES, 0, 1, settings, miou=70.0, **told)
    cells = cells_of(IMAGES, TABLE, settings)
    assert cells["Mean"].tested == "pascal, episodes 4, in-domain; pascal, strict"


def test_nothing_measured_is_an_empty_place(settings):
    path = write(TABLE, [IMAGES], settings)
    assert "|  | ours |  |  |  |  |  |" in path.read_text().splitlines()
    assert path.with_suffix(".png").is_file()


def test_a_smoke_run_says_that_it_is_one(settings):
    assert "smoke" in markdown(TABLE, [], smoke=True)
    assert "smoke" not in markdown(TABLE, [])
