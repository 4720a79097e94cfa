import re
from pathlib import Path

import pytest

from reproduction import pfenet, segic, sine, trainings
from reproduction.recipe import FOLD_COLUMNS, MEAN, Released, Training
from reproduction.tables import BY_NAME, DC_SAM, TABLES

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
ROWS = [
    pytest.param(t, row, id=f"{t.name}-{row.name}-{row.benchmark}-{row.shots}")
    for t in TABLES
    for row in t.rows
]
DC_SAM_ROWS = [param for param in ROWS if param.values[0] in DC_SAM]


TWO_SEGICS = (segic.GIANT, segic.BASE)
SINE_DIGEST = {
    ("sine-images", "coco_legacy", "released", 1): (64.5,),
    ("sine-images", "coco_legacy", "released", 5): (66.1,),
    ("sine-images", "pascal_legacy", "released", 1): (85.4,),
    ("sine-images", "pascal_legacy", "released", 5): (86.2,),
    ("sine-images", "lvis92i_turns", "released", 1): (31.2,),
    ("sine-images", "lvis92i_turns", "released", 5): (35.5,),
    ("sine-images", "coco_legacy", "without_objects365", 1): (67.1,),
    ("sine-images", "pascal_legacy", "without_objects365", 1): (86.3,),
    ("sine-images", "lvis92i_turns", "without_objects365", 1): (28.8,),
    ("sine-parts", "pascal_part_legacy", "with_paco", 1): (36.2,),
    ("sine-instances", "coco_novel", "released", 1): (18.0, 16.9),
    ("sine-instances", "coco_novel", "released", 5): (22.5, 21.8),
    ("sine-instances", "coco2voc", "released", 1): (35.9, 27.6),
    ("sine-instances", "coco2voc", "released", 5): (42.8, 33.3),
    ("sine-videos", "davis", "released", 1): (72.6, 81.3, 77.0),
    ("sine-videos", "davis16", "released", 1): (82.3,),
    ("sine-videos", "ytvos18", "released", 1): (66.2,),
    ("sine-lora", "", "ade20k", 1): (54.1,),
    ("sine-lora", "", "coco", 1): (51.0,),
}


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


@pytest.mark.parametrize(("table", "row"), DC_SAM_ROWS)
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
    if (row.name, row.benchmark) == ("pfenet_resnet50", "pascal_padded"):
        pytest.skip("PFENet's paper, too, prints 60.8 for the mean of folds whose mean is 60.7")
    mean = sum(row.paper[column] for column in parts) / len(parts)
    one_place = whole == MEAN or table not in DC_SAM
    assert row.paper[whole] == pytest.approx(mean, abs=0.0501 if one_place else 0.00501)


def test_every_table_from_2_to_14_and_figure_9_is_there():
    names = [table.name for table in DC_SAM]
    assert names == [f"table{number}" for number in range(2, 15)] + ["figure9"]


def test_names_of_tables_are_unique():
    assert len(BY_NAME) == len(TABLES)


def test_a_name_stands_for_one_training():
    used: dict[str, Training] = {}
    for row in (row for table in TABLES for row in table.rows):
        training = row.training
        while training:
            assert used.setdefault(training.name, training) == training
            training = training.start
    assert len([t for t in used.values() if t.method == "dc_sam"]) == 24


def test_a_name_stands_for_one_set_of_public_weights():
    used: dict[str, Released] = {}
    for row in (row for table in TABLES for row in table.rows):
        if row.released:
            assert used.setdefault(row.released.name, row.released) == row.released


def test_sines_numbers_are_those_of_its_digest():
    assert {
        (t.name, row.benchmark, row.name, row.shots): tuple(row.paper.values())
        for t in TABLES
        if t.name.startswith("sine-")
        for row in t.rows
        if row.name != "trained" and row.paper
    } == SINE_DIGEST


def test_segics_numbers_are_those_in_the_papers_text():
    texts = sorted(SEEDS.glob("004*.txt"))
    if not texts:
        pytest.skip(f"the paper's text is not in {SEEDS}")
    lines = [re.findall(r"\d+\.\d", line) for line in texts[0].read_text().splitlines()]
    groups: dict[tuple[str, str], list[str]] = {}
    for table, row in (param.values for param in ROWS):
        if table.name.startswith("segic-") and row.paper:
            numbers = groups.setdefault((table.name, row.name), [])
            numbers += [str(number) for number in row.paper.values()]
    assert len(groups) == 31
    for group, numbers in groups.items():
        assert any(follow(numbers, line) for line in lines), (group, numbers)


def follow(numbers: list[str], line: list[str]) -> bool:
    """Whether all numbers are in a line, in this order."""
    left = iter(line)
    return all(number in left for number in numbers)


def test_segics_trainings_are_the_papers():
    assert segic.GIANT.batch == segic.BASE.batch == 32
    updates = [t.flags["episodes_per_epoch"] * t.flags["epochs"] / t.batch for t in TWO_SEGICS]
    assert updates == [60_000, 30_000]
    assert (segic.NEITHER.flags["no_reversion"], segic.NEITHER.flags["negative_share"]) == (True, 0)
    assert segic.STRICT.flags.get("exclusion", "strict") == "strict"


def test_pfenet_is_trained_as_published():
    coco, pascal = (pfenet.TRAININGS[name, "vgg16"] for name in ("coco", "pascal"))
    for training, size, epochs, rate, batch in (
        *((pascal, 473, 200, 0.0025, 4), (coco, 641, 50, 0.005, 8)),
        (pfenet.ALL_CLASSES, 641, 50, 0.005, 8),
    ):
        flags = training.flags
        assert (flags["image_size"], flags["epochs"], flags["lr"]) == (size, epochs, rate)
        assert (flags["optimizer"], flags["schedule"]) == ("sgd", "poly_tenfold")
        assert training.batch == batch


def test_sine_is_trained_as_published():
    training = sine.ALL_DATA
    assert training.batch == 64
    pairs = training.flags["episodes_per_epoch"] * training.flags["epochs"]
    assert pairs // training.batch == 50_000
    weights = dict(part.split("=") for part in training.flags["sources"].split(","))
    shares = {name: float(weight) / 28 for name, weight in weights.items()}
    assert [round(share, 3) for share in shares.values()] == [0.143, 0.143, 0.179, 0.536]


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
