"""The web page: label one picture, get the rest, on this computer.

    python app.py                          the best method whose weights are there
    python app.py --ckpt last.safetensors  begin with your own model

Open the address that it prints. Nobody else can reach it unless --host says so. Files that visitors
bring lie in a temporary folder, and are removed with the tab or at the end of the program.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, option, run_script, script_parser
from common.distributed import DEVICES
from common.training_options import PRECISIONS
from page.limits import PageLimits


@dataclass(frozen=True)
class PageOptions:
    """What is served, and where."""

    ckpt: Path | None = option(
        None,
        "checkpoint to begin with (default: the best method whose weights are there, else the tiny "
        "model for drawn pictures)",
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 lets other computers in")
    port: int = option(7860, "port to listen on; 0 takes a free one")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt and not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if not 0 <= self.port < 65536:
            found.append(f"--port must be between 0 and 65535, not {self.port}")
        return found


def parse_options() -> tuple[PageOptions, PageLimits]:
    groups = (PageOptions, PageLimits)
    return checked_options(groups, script_parser(__doc__, groups).parse_args())


answer_early(__name__, parse_options)

import os
import shutil
import signal
import sys
import tempfile
import threading

from common.files import was_killed
from common.logger import quiet_libraries
from page.methods import Methods

PREFIX = "dc-sam-page-"
"""Of the folder of all visitors' files; the number of the process follows."""


def remove_leftovers(folder: Path) -> None:
    """Remove what pages left that were killed: visitors were told that nothing stays."""
    for left in folder.glob(f"{PREFIX}*-*"):
        number = left.name.removeprefix(PREFIX).partition("-")[0]
        mine = left.is_dir() and not left.is_symlink() and left.stat().st_uid == os.getuid()
        if mine and number.isdecimal() and was_killed(int(number), left):
            shutil.rmtree(left, ignore_errors=True)


def main() -> int:
    options, limits = parse_options()
    quiet_libraries()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed
    methods = Methods.found(options.ckpt, options.device, options.precision)
    remove_leftovers(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as name:
        folder = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")  # read when Gradio is imported
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
        from page.server import served

        with served(methods, folder, options.host, options.port, limits) as address:
            print(f"Visitors begin with {methods.first}", flush=True)
            print(f"The page is at {address} (stop with Ctrl-C)", flush=True)
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
