"""Run this repository's scripts as a person would type them in its folder."""

import shlex
import subprocess
import sys

from common.files import ROOT


class CommandFailed(Exception):
    """A command ended with an error, which it has told."""


def command_line(*words: object, processes: int = 1) -> str:
    """The line that a person would type to run `python WORDS`, or torchrun for many processes."""
    launcher = ["python"]
    if processes > 1:
        launcher = ["torchrun", "--standalone", f"--nproc_per_node={processes}"]
    return shlex.join([*launcher, *map(str, words)])


def run_command(*words: object, processes: int = 1) -> None:
    """Run such a line, and show it first.

    Raises:
        CommandFailed: it failed.
    """
    line = command_line(*words, processes=processes)
    print(f"\n$ {line}", flush=True)
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", *shlex.split(line)[1:3]]
    code = subprocess.run([*launcher, *map(str, words)], cwd=ROOT, check=False).returncode
    if code:
        raise CommandFailed(f"exit code {code} of: {line}")
