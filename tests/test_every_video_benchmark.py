"""Every benchmark of videos evaluates every method that can; the others say that they cannot."""

from pathlib import Path

import pytest
import torch

import eval_video
from common.checkpoint import save_checkpoint
from data.synthetic.video_sets import (
    write_davis,
    write_icvos,
    write_lvos,
    write_mose,
    write_youtube_vos,
)
from data.video_benchmarks import SPLITS
from model.checkpoint import learnable_weights
from model.registry import METHODS, READY
from tests.model.test_methods import TINY
from tests.video_cases import read

TAKE_GIVEN_MASKS = {"persam", "persam_f", "matcher", "sansa", "segic", "sine"}
"""Those that follow objects themselves."""
HAVE_MEMORY = TAKE_GIVEN_MASKS - {"matcher"}
SAM2 = "sam2"
TESTED = [*METHODS, SAM2]
SLOW = ("persam_f", "matcher")
FEW = {"persam_f": {"steps": 2}}
"""Flags that make an evaluation short."""
NO_TRUTH = ("mose", "ytvos18", "ytvos19")
"""Their servers have it."""


def pairs() -> list:
    """All benchmarks with all methods; each benchmark and most methods are among the quick ones."""
    found = []
    for row, method in enumerate(TESTED):
        for column, benchmark in enumerate(SPLITS):
            quick = column == row % len(SPLITS) and method not in SLOW
            marks = () if quick else pytest.mark.slow
            found.append(pytest.param(benchmark, method, id=f"{benchmark}-{method}", marks=marks))
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A video of each benchmark."""
    root = tmp_path_factory.mktemp("Datasets")
    write_icvos(root / "IC-VOS", videos=1, frames=2, workers=0)
    write_davis(root / "DAVIS", videos=1, frames=3, workers=0)
    write_lvos(root / "LVOS", videos=1, frames=2, workers=0)
    write_mose(root / "MOSE", videos=1, frames=2, workers=0)
    for year in (2018, 2019):
        write_youtube_vos(root / f"YouTube-VOS-{year}", videos=1, frames=6, workers=0)
    return root


def flags_of(method: str, folder: Path) -> tuple[object, ...]:
    """How a method is named; one without public weights has a checkpoint that was not trained."""
    if method == SAM2:
        return ("--sam2_cfg", "tiny")
    options = {**TINY[method], **FEW.get(method, {})}
    if method in READY:
        words = [(f"--{name}", value) for name, value in options.items()]
        return ("--method", method, *(word for pair in words for word in pair))
    entry, path = METHODS[method], folder / f"{method}.safetensors"
    torch.manual_seed(0)
    chosen = entry.options(**options)
    facts = {"method": method, "model": chosen.to_json()}
    save_checkpoint(path, learnable_weights(entry.build(chosen)), facts)
    return ("--ckpt", path)


@pytest.mark.parametrize(("benchmark", "method"), pairs())
def test_methods_meet_benchmarks(script, root, generated, tmp_path, benchmark, method):
    named = flags_of(method, tmp_path)
    if benchmark == "icvos":
        paths = ("--icvos_path", root / "IC-VOS", "--coco_path", generated)
        given = method == SAM2
        named += ("--first_frame", "oracle") if given else ()
        named += () if given or method in HAVE_MEMORY else ("--sam2_cfg", "tiny")
    else:
        folder = {"davis16": "davis"}.get(benchmark, benchmark)
        names = {"davis": "DAVIS", "lvos": "LVOS", "mose": "MOSE"}
        places = names | {f"ytvos{year}": f"YouTube-VOS-20{year}" for year in (18, 19)}
        paths = (f"--{folder}_path", root / places[folder])
        given = True
    out = tmp_path / "out"
    flags = ("--benchmark", benchmark, *named, *paths, "--device", "cpu", "--output", out)
    outcome = script(eval_video, *flags)
    if given and method not in {*TAKE_GIVEN_MASKS, SAM2}:
        assert outcome.code == 2
        assert f"{method} takes no given masks" in outcome.error
        return
    assert outcome.code == 0, outcome.error
    results = read(out)
    assert results["protocol"].startswith(benchmark)
    assert results["failed"] == {}
    assert results["items"] >= 1
    if benchmark in NO_TRUTH:
        assert results["jf"] is None
        assert results["intervals"] == {}
    else:
        assert 0 <= results["jf"] <= 100
