"""The flags of the method that an evaluation tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import checked_options, method_parser, option
from common.distributed import DEVICES
from common.errors import UsageError
from common.run_options import CacheOptions
from common.training_options import PRECISIONS
from evaluation.protocol import protocol_flags
from model.method_options import MethodOptions
from model.registry import READY


@dataclass(frozen=True)
class SubjectOptions(CacheOptions):
    """What is tested, on what, and where results go."""

    ckpt: Path | None = option(None, "checkpoint to evaluate; or give --method")
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    sheet_rows: int = option(8, "number of rows on the contact sheet")
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def folder(self, method: str, test: str) -> Path:
        """Where results go; by default beside the checkpoint, named after what is tested.

        Args:
            test: what it is tested on.
        """
        name = f"eval_{self.ckpt.stem if self.ckpt else method}_{test}"
        return self.output or (self.ckpt.parent if self.ckpt else Path("runs")) / name

    def problems(self) -> list[str]:
        found = super().problems()
        if self.ckpt and not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if self.sheet_rows < 0:
            found.append("--sheet_rows cannot be negative")
        return found


def parse_subject(
    description: str | None, groups: Sequence[type], script: str | None = None
) -> tuple[list[Any], MethodOptions | None]:
    """Parse the command line of a script that tests a method.

    Args:
        description: the script's docstring.
        groups: options dataclasses, `SubjectOptions` among them.
        script: whose protocols give defaults to the flags; None: they do not.

    Returns:
        The filled groups, and the named method's flags: None where a checkpoint was given.

    Raises:
        UsageError: flags that cannot be used, or neither or both of checkpoint and method.
    """
    protocols = protocol_flags(script) if script else {}
    parser, filled = method_parser(description, groups, READY, protocols=protocols)
    options = list(checked_options(filled, parser.parse_args()))
    named = options.pop() if len(options) > len(groups) else None
    ckpt = next(one.ckpt for one in options if isinstance(one, SubjectOptions))
    if bool(ckpt) == bool(named):
        raise UsageError("give --ckpt, the checkpoint to evaluate, or --method")
    return options, named
