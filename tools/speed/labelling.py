"""Labelling: pictures per second through predict.py, with everything that it writes."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from common.files import ROOT
from tools.speed.report import Row

CHECKPOINT = ROOT / "checkpoints" / "tiny" / "pascal_fold0.safetensors"
SIZE = (1024, 768)
"""Width and height of the pictures, photographs' common proportions."""


def measure_labelling(pictures: int, device: str) -> Row:
    """A picture labelled by the tiny model that is shipped: what all around a network costs.

    The program runs for one picture and for all, and the difference counts: it leaves out the
    start. Masks, overlays, coco.json and records are written.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cells = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(cells).resize(SIZE, Image.Resampling.BICUBIC)
        mask = np.zeros(SIZE[::-1], dtype=np.uint8)
        mask[200:400, 300:600] = 255
        picture.save(root / "reference.jpg")
        Image.fromarray(mask).save(root / "mask.png")
        for name, count in (("one", 1), ("all", pictures + 1)):
            (root / name).mkdir()
            for number in range(count):
                rolled = np.roll(np.array(picture), 16 * number, axis=1)
                Image.fromarray(rolled).save(root / name / f"{number:04d}.jpg")
        (first, first_wall), (every, every_wall) = (
            _label(root, name, device) for name in ("one", "all")
        )
    return Row(
        subject="predict.py, tiny",
        part=f"a picture of {SIZE[0]} x {SIZE[1]}, all written",
        seconds=(every - first) / pictures,
        wall=(every_wall - first_wall) / pictures,
    )


def _label(root: Path, name: str, device: str) -> tuple[float, float]:
    """Processor seconds and seconds of the clock."""
    flags = {"ckpt": CHECKPOINT, "target": root / name, "output": root / f"{name}_out"}
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    reference = ["--reference", str(root / "reference.jpg"), str(root / "mask.png")]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "predict.py", *reference, *words, "--device", device],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, time.perf_counter() - start
