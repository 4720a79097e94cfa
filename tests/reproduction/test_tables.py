import re
from pathlib import Path

import pytest

from reproduction import trainings
from reproduction.recipe import FOLD_COLUMNS, MEAN, Training
from reproduction.tables import BY_NAME, TABLES

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
ROWS = [pytest.param(t, row, id=f"{t.name}-{row.name}") for t in TABLES for row in t.rows]


@pytest.fixture(scope="module")
def paper() -> str:
    texts = [path.read_text() for path in sorted(SEEDS.glob("002*.txt"))]
    if not texts:
        pytest.skip(f"the paper's text is not in {SEEDS}")
    return texts[0]


def numbers_in(line: str) -> list[str]:
    """The numbers of a table's line, without gains in parentheses and references in brackets."""
    plain = re.sub(r"\([+-][\d.]+\)|\[\d+\]|</?u>", " ", line)
    return re.findall(r"(?<![\w.])\d+\.\d+(?=[MG]?(?:\s|$|<))", plain)


def lines_of(paper: str, table: str) -> list[list[str]]:
    """The numbers of every line after a table's title, up to the next title."""
    title = f"TABLE {table.removeprefix('table')}:"
    after = paper[paper.index(title) :]
    end = after.find("\nTABLE ", 1)
    return [numbers_in(line) for line in after[:end].splitlines()]


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_numbers_are_those_in_the_papers_text(table, row, paper):
    if table.name in ("figure9", "table11"):
        pytest.skip("no numbers are printed there")
    written = [str(row.paper[c]).rstrip("0") for c in table.columns if c in row.paper]
    found = []
    for line in lines_of(paper, table.name):
        line = [number.rstrip("0") for number in line]
        found += [line[i : i + len(written)] for i in range(len(line))]
    assert written in [[n.rstrip("0") for n in window] for window in found]


def test_the_classes_of_table_11_are_those_in_the_papers_text(paper):
    lines = paper[paper.index("TABLE 11:") :].splitlines()
    for fold, row in enumerate(BY_NAME["table11"].rows):
        (line,) = [line for line in lines if re.match(rf"{fold}\t[A-Z]", line)]
        names = line.split("\t")[1].lower().replace(" ", "").replace("tv/", "tv").split(",")
        assert ", ".join(sorted(names)) == row.paper["test classes"]


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_means_agree_with_what_they_are_means_of(table, row):
    parts = FOLD_COLUMNS if MEAN in table.columns else ("J", "F")
    whole = MEAN if MEAN in table.columns else "J&F"
    if any(column not in row.paper for column in (*parts, whole)):
        pytest.skip("the paper has no parts of this number")
    if row.name == "matcher":
        pytest.skip("the paper's own J&F of Matcher is not the mean of its J and F")
    mean = sum(row.paper[column] for column in parts) / len(parts)
    assert row.paper[whole] == pytest.approx(mean, abs=0.0501 if whole == MEAN else 0.00501)


def test_every_table_from_2_to_14_and_figure_9_is_there():
    assert list(BY_NAME) == [f"table{number}" for number in range(2, 15)] + ["figure9"]


def test_a_name_stands_for_one_training():
    used: dict[str, Training] = {}
    for row in (row for table in TABLES for row in table.rows):
        training = row.training
        while training:
            assert used.setdefault(training.name, training) == training
            training = training.start
    assert len(used) == 24


def test_the_same_result_in_two_tables_is_one_training():
    def training(table: str, row: str, benchmark: str) -> Training:
        rows = BY_NAME[table].rows
        (found,) = {
            r.training.name: r.training for r in rows if (r.name, r.benchmark) == (row, benchmark)
        }.values()
        return found

    full = training("table3", "resnet50", "pascal")
    assert full is training("table5", "cyclic", "pascal")
    assert full is training("table9", "resnet50", "pascal")
    assert full is training("figure9", "25", "pascal")
    assert training("table3", "resnet50", "coco") is training("table12", "resnet50", "coco2pascal")
    assert training("table4", "dc_sam", "icvos") is training("table13", "fine_tuned", "lvos")


def test_hyper_parameters_of_section_5():
    pascal, coco = trainings.RESNET50["pascal"], trainings.RESNET50["coco"]
    assert (pascal.flags["epochs"], pascal.flags["lr"]) == (100, 2e-4)
    assert (coco.flags["epochs"], coco.flags["lr"]) == (50, 1e-4)
    for training in (pascal, coco):
        assert training.batch == 8
        assert training.flags["weight_decay"] == 1e-5
        assert training.flags["num_query"] == 25
        assert training.flags["image_size"] == 512
    first, second = trainings.IMAGES.flags, trainings.TUBES_BOTH.flags
    assert (first["max_iterations"], first["lr"]) == (40_000, 1e-4)
    assert (second["max_iterations"], second["lr"]) == (10_000, 1e-5)


def test_components_come_one_by_one():
    switches = {"no_negative_branch", "no_sam_fusion", "no_cyclic"}
    left_out = [switches & row.training.flags.keys() for row in BY_NAME["table5"].rows]
    assert left_out == [switches, {"no_sam_fusion", "no_cyclic"}, {"no_cyclic"}, set()]


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_epochs_are_as_long_as_the_updates(table, row):
    training = row.training
    while training:
        flags = training.flags
        if "max_iterations" in flags:
            updates = flags["epochs"] * (flags["episodes_per_epoch"] // training.batch)
            assert updates == flags["max_iterations"]
        training = training.start
