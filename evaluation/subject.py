"""The method that an evaluation tests: its flags, where its results go, what they say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from common.cli import checked_options, method_parser, option
from common.distributed import DEVICES
from common.errors import UsageError
from common.files import digest
from common.run_options import CacheOptions
from common.trainer import PRECISIONS
from evaluation.protocol import protocol_flags
from model.checkpoint import build_method, entry_of, frozen_fingerprint, load_method
from model.feature_store import open_store
from model.method import Method
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


class Subject(NamedTuple):
    """A method in evaluation mode, and what is known of it."""

    options: SubjectOptions
    method: Method
    facts: dict[str, Any]
    """What its checkpoint's header says, or would say."""

    @classmethod
    def load(
        cls,
        options: SubjectOptions,
        method: MethodOptions | None,
        device: torch.device,
        announce: bool,
    ) -> Self:
        """Open the checkpoint, or build a method from public weights.

        Args:
            announce: say where its features are kept, if they are.

        Raises:
            UsageError: it cannot be built, see `model.checkpoint`.
        """
        if method:
            opened, facts = build_method(method, device, options.fetch)
        else:
            opened, facts = load_method(options.ckpt, device)
        opened.store = open_store(opened, facts["model"], options, announce)
        return cls(options, opened, facts)

    @property
    def title(self) -> str:
        """The method's name for people."""
        return entry_of(self.facts, self.options.ckpt).title

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides results."""
        ckpt = self.options.ckpt
        return {
            "weights": digest(ckpt) if ckpt else self.facts["model"],
            "frozen": frozen_fingerprint(self.method),
            "precision": self.options.precision,
            **({"features": "half precision"} if self.options.feature_cache else {}),
        }

    @property
    def results(self) -> dict[str, Any]:
        """What results say of it beside `settings`."""
        ckpt = self.options.ckpt
        return {
            "method": self.title,
            "checkpoint": ckpt and str(ckpt),
            "checkpoint_version": self.facts["version"],
        }


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
