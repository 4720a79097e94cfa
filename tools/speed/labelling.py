"""Labelling: pictures per second through predict.py, with everything that it writes."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from common.distributed import peak_resident
from common.files import ROOT
from tools.speed.report import Row

CHECKPOINT = ROOT / "checkpoints" / "tiny" / "pascal_fold0.safetensors"
SIZE = (1024, 768)
"""Width and height of the pictures, photographs' common proportions."""
PICTURES = (1, 25, 100)
PROCESSES = (1, 2, 4, 8)
"""As far as there are GPUs or, without any, cores."""
SHARED_PICTURES = 50
"""What several processes label together."""


class Spent(NamedTuple):
    """What a run of predict.py took, its start included."""

    seconds: float
    """Of the processor."""
    wall: float
    """Of the clock."""
    peak_memory_gib: float
    """Of the largest process that this program has started so far."""


def measure_labelling(pictures: int, device: str) -> Row:
    """A picture labelled by the tiny model that is shipped: what all around a network costs.

    The program runs for one picture and for all, and the difference counts: it leaves out the
    start. Masks, overlays, coco.json and records are written.
    """
    with _drawn_pictures() as root:
        first, every = (_label(root, count, device) for count in (1, pictures + 1))
    return Row(
        subject="predict.py, tiny",
        part=f"a picture of {SIZE[0]} x {SIZE[1]}, all written",
        seconds=(every.seconds - first.seconds) / pictures,
        wall=(every.wall - first.wall) / pictures,
    )


def labelling_growth(device: str) -> dict[str, list[dict]]:
    """Quantity -> points of its curve: pictures, and processes that share some by torchrun."""
    most = torch.accelerator.device_count() or os.cpu_count() or 1
    with _drawn_pictures() as root:
        alone = [(count, _label(root, count, device)) for count in PICTURES]
        together = [
            (count, _label(root, SHARED_PICTURES, device, count))
            for count in PROCESSES
            if count <= most
        ]
    return {
        "pictures": [
            {"pictures": n, "seconds": spent.seconds, "peak_memory_gib": spent.peak_memory_gib}
            for n, spent in alone
        ],
        "processes": [
            {"processes": n, "seconds": spent.wall, "peak_memory_gib": spent.peak_memory_gib}
            for n, spent in together
        ],
    }


@contextmanager
def _drawn_pictures() -> Iterator[Path]:
    """A folder with a reference, its mask, and a picture of which others are made."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cells = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(cells).resize(SIZE, Image.Resampling.BICUBIC)
        mask = np.zeros(SIZE[::-1], dtype=np.uint8)
        mask[200:400, 300:600] = 255
        picture.save(root / "reference.jpg")
        Image.fromarray(mask).save(root / "mask.png")
        yield root


def _label(root: Path, count: int, device: str, processes: int = 1) -> Spent:
    """Label so many pictures."""
    target, output = root / f"{count}", root / f"{count}_by_{processes}"
    if not target.exists():
        target.mkdir()
        picture = np.array(Image.open(root / "reference.jpg"))
        for number in range(count):
            rolled = np.roll(picture, 16 * number, axis=1)
            Image.fromarray(rolled).save(target / f"{number:04d}.jpg")
    flags = {"ckpt": CHECKPOINT, "target": target, "output": output, "device": device}
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    reference = ["--reference", str(root / "reference.jpg"), str(root / "mask.png")]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *launcher * (processes > 1), "predict.py", *reference, *words],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(spent, wall, peak_resident(children=True) / 2**30)
