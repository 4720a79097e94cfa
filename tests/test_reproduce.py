import csv
from pathlib import Path

import pytest
import torch

import reproduce
from model.backbones.vgg import Vgg16
from model.checkpoint import load_method
from model.sam.sam1 import Sam
from reproduction.steps import Step
from reproduction.tables import TABLES

SMOKE = ("--smoke", "--seeds", "0")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets and trainings that recipes share."""
    return tmp_path_factory.mktemp("reproduction")


def numbers(work: Path, table: str) -> list[dict[str, str]]:
    """The lines of a table's CSV file."""
    with (work / "tables" / f"{table}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_recipe_of_images_runs_and_is_not_run_again(script, work):
    row = ("table3", "--row", "vgg16", "--benchmark", "pascal")
    outcome = script(reproduce, *row, *SMOKE, "--work", work)

    assert outcome.code == 0, outcome.error
    trained = work / "train" / "pascal-vgg16" / "fold0" / "last.safetensors"
    model, _ = load_method(trained, torch.device("cpu"))
    assert isinstance(model.backbone.network, Vgg16)
    assert isinstance(model.promptable, Sam)
    assert (model.promptable.name, model.image_size) == ("vit_h", 512)
    assert "A smoke run" in outcome.output
    found = {line["column"]: line for line in numbers(work, "table3")}
    assert 0 <= float(found["F-0"]["ours"]) <= 100
    assert (found["F-0"]["paper"], found["F-0"]["seeds"]) == ("71.7", "1")
    assert (found["Mean"]["paper"], found["Mean"]["ours"]) == ("70.4", "")
    again = script(reproduce, *row, *SMOKE, "--work", work)
    assert again.code == 0
    assert again.output.count("done before") == 3
    assert "\n$ " not in again.output


@pytest.mark.slow
def test_a_recipe_of_videos_runs(script, work):
    row = ("table13", "--row", "original", "--benchmark", "lvos")
    outcome = script(reproduce, *row, *SMOKE, "--work", work)

    assert outcome.code == 0, outcome.error
    found = {line["column"]: line for line in numbers(work, "table13")}
    assert 0 <= float(found["J&F"]["ours"]) <= 100
    assert found["J&F"]["paper"] == "78.58"
    (line,) = [line for line in outcome.output.splitlines() if line.startswith("$ python eval_")]
    assert "--sam2_cfg sam2.1_hiera_l --shrunk" in line


def test_a_counted_table_needs_nothing(script, work):
    outcome = script(reproduce, "table11", *SMOKE, "--work", work)
    assert outcome.code == 0
    assert {line["difference"] for line in numbers(work, "table11")} == {"same"}


@pytest.mark.slow
@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_every_recipe_runs(table, script, work):
    outcome = script(reproduce, table, *SMOKE, "--work", work)
    assert outcome.code == 0, outcome.error
    measured = [line for line in numbers(work, table) if line["column"] in ("F-0", "J", "F", "J&F")]
    assert all(line["ours"] for line in measured)


def test_list_shows_tables_rows_and_the_papers_numbers(script):
    outcome = script(reproduce, "--list")
    assert outcome.code == 0
    for table in TABLES:
        assert f"\n{table.name}: {table.title}\n" in outcome.output
    assert "F-0 50.4, F-1 56.0, F-2 61.0, F-3 54.4, Mean 55.5" in outcome.output


def test_print_shows_every_command_and_runs_none(script, tmp_path):
    row = ("table3", "--row", "resnet50", "--benchmark", "coco")
    outcome = script(reproduce, *row, "--print", "--gpus", 4, "--work", tmp_path / "work")
    commands = [line for line in outcome.output.splitlines() if not line.startswith("#")]
    assert outcome.code == 0
    assert len(commands) == 4 * (1 + 5)
    assert commands[0].startswith("torchrun --standalone --nproc_per_node=4 train_image.py ")
    assert commands[1].startswith("torchrun --standalone --nproc_per_node=4 eval_image.py ")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("table99",), "no table 'table99': there are table2, table3"),
        (("table3", "--row", "x"), "table3 has no row 'x': there are vgg16, resnet50"),
        (("table3", "--benchmark", "icvos"), "table3 has no benchmark 'icvos': there are coco, p"),
        (("table9", "--shots", "3"), "table9 has no shots 3: there are 1, 5"),
        ((), "name a table: table2, table3"),
        (("table3", "--gpus", "0"), "--gpus must be at least 1"),
    ],
)
def test_wrong_use_is_one_line(flags, message, script):
    outcome = script(reproduce, *flags)
    assert outcome.code == 2
    assert outcome.error.startswith(f"error: {message}")
    assert outcome.error.count("\n") == 1


def test_a_failing_step_is_named_and_the_table_is_written(script, tmp_path, monkeypatch):
    failing = Step(tmp_path / "step", ("-c", "exit(3)"), (), ())
    monkeypatch.setattr(reproduce, "steps_of", lambda row, settings: [failing])
    outcome = script(reproduce, "table4", "--work", tmp_path)
    assert outcome.code == 1
    assert outcome.error == "error: exit code 3 of: python -c 'exit(3)'\n"
    assert numbers(tmp_path, "table4")[0]["paper"] == "32.23"
