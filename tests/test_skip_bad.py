"""Pictures that cannot be read: named, and where that is asked for left out or replaced."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

import eval_image
import train_image
import train_video
from common.errors import UsageError
from common.unreadable import Tolerant, drawn_instead
from data.episode_files import read_header, read_keys

RUN = ("--epochs", 1, "--episodes_per_epoch", 8, "--update_size", 4, "--bsz", 2)


@pytest.fixture
def damaged(generated: Path, tmp_path: Path) -> Path:
    """The generated benchmarks, of whose pictures every third is cut after its header."""
    shutil.copytree(generated, tmp_path / "data")
    for folder in ("VOC2012/JPEGImages", "COCO2014/train2014", "COCO2014/val2014"):
        for path in sorted((tmp_path / "data" / folder).iterdir())[::3]:
            path.write_bytes(path.read_bytes()[:1500])
    return tmp_path / "data"


def flags_of(tiny_flags: tuple, damaged: Path) -> tuple:
    return (*tiny_flags[: tiny_flags.index("--datapath")], "--datapath", damaged, *RUN)


def test_a_training_names_what_it_cannot_read_and_ends(script, tiny_flags, damaged, tmp_path):
    flags = (*flags_of(tiny_flags, damaged), "--nworker", 1, "--output", tmp_path / "run")
    outcome = script(train_image, *flags)
    assert outcome.code == 2
    [line] = [one for one in outcome.error.splitlines() if one.startswith("error:")]
    assert "JPEGImages" in line
    assert "Traceback" not in outcome.error


@pytest.mark.parametrize(
    ("module", "benchmark"),
    [
        (train_image, "pascal"),
        pytest.param(train_video, "coco_all", marks=pytest.mark.slow),
        pytest.param(train_video, "coco_mask_tube", marks=pytest.mark.slow),
    ],
)
def test_a_training_goes_on_the_same_with_any_workers(
    script, tiny_flags, damaged, tmp_path, module, benchmark
):
    flags = (*flags_of(tiny_flags, damaged), "--benchmark", benchmark, "--skip_bad")
    learned = []
    for workers in (0, 1):
        run = tmp_path / str(workers)
        outcome = script(module, *flags, "--nworker", workers, "--output", run)
        assert outcome.code == 0, outcome.error
        told = [one for one in outcome.error.splitlines() if "warning: skipped" in one]
        [line] = (run / "log.jsonl").read_text().splitlines()
        assert len(told) == json.loads(line)["unreadable_files"] > 0
        learned.append(load_file(run / "last.safetensors"))
    assert all(value.equal(learned[1][name]) for name, value in learned[0].items())


def test_an_evaluation_leaves_out_what_it_cannot_read(script, trained, damaged, tmp_path):
    flags = ("--ckpt", trained, "--datapath", damaged, "--device", "cpu", "--test_episodes", 8)
    flags = (*flags, "--sheet_rows", 1)
    ended = script(eval_image, *flags, "--nworker", 0, "--output", tmp_path / "ended")
    assert ended.code == 2
    assert "Traceback" not in ended.error

    found = []
    for workers in (0, 1):
        out = tmp_path / str(workers)
        flags = (*flags, "--skip_bad")
        outcome = script(eval_image, *flags, "--nworker", workers, "--output", out)
        assert outcome.code == 0, outcome.error
        found.append(json.loads((out / "results.json").read_text()))
        assert outcome.output.count("left out: ") == len(found[-1]["left_out"])
    results, other = found
    pictures = (damaged / "VOC2012" / "JPEGImages").iterdir()
    cut = {path.stem for path in pictures if path.stat().st_size == 1500}
    header = read_header(tmp_path / "0" / "episodes.jsonl")
    keys = read_keys(tmp_path / "0" / "episodes.jsonl", benchmark="pascal", fold=0, shots=1)
    readable = [key for key in keys if not {key.query, *key.support} & cut]
    assert 0 < len(readable) < header.episodes
    assert results["episodes"] == len(readable)
    assert len(results["left_out"]) == header.episodes - len(readable)
    assert (results["miou"], results["left_out"]) == (other["miou"], other["left_out"])


class Unreadable:
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> None:
        raise UsageError(f"cannot read {index}")


def test_where_nothing_can_be_read_a_training_ends():
    items = Tolerant(Unreadable(), drawn_instead(seed=0, epoch=0, length=5))
    with pytest.raises(UsageError, match="101 items in a row cannot be read, the last: cannot rea"):
        items[0]
    assert Tolerant(Unreadable())[3] == (None, ["cannot read 3"])
    assert Tolerant(Unreadable()).join([(None, ["a"]), (None, ["b"])]) == (None, ["a", "b"])
