"""Labelling: pictures per second through predict.py, with everything that it writes."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from common.errors import Failure
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
_LOOK_EVERY = 0.05
"""Seconds after which the memory of a running program is looked at again."""


class Spent(NamedTuple):
    """What a run of predict.py took, its start included."""

    seconds: float
    """Of the processor."""
    wall: float
    """Of the clock."""
    peak_memory_gib: float
    """Of the largest process."""


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
    with TemporaryDirectory() as folder:
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
    command = [sys.executable, *launcher * (processes > 1), "predict.py", *reference, *words]
    with TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
        ended, memory = 0, 0
        while not ended:
            memory = max(memory, _largest_peak(process.pid))
            time.sleep(_LOOK_EVERY)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise Failure(f"predict.py ended with {process.returncode}: {said.read()[-500:]}")
    return Spent(used.ru_utime + used.ru_stime, wall, memory / 2**30)


def _largest_peak(process: int) -> int:
    """The most bytes that a process or one that it has started has had so far; 0: it has ended.

    What `wait4` says of it counts this program's memory as well, of which the process is a copy
    before it begins. Only Linux tells.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
        started = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    own = 1024 * int(found[1]) if found else 0
    return max([own, *(_largest_peak(int(child)) for child in started)])
