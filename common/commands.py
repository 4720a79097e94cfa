"""Run this repository's scripts as a person would type them."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.logger import write_json


def run_command(*words: object) -> None:
    """Run `python WORDS` and show the command first.

    Raises:
        UsageError: it failed; it has said why.
    """
    line = [str(word) for word in words]
    print("\n$ python", shlex.join(line), flush=True)
    code = subprocess.run([sys.executable, *line], check=False).returncode
    if code:
        raise UsageError(f"python {line[0]} ended with exit code {code}")


def demonstrate(
    steps: Callable[[], dict[str, Any]],
    show: Callable[[dict[str, Any], Path], None],
    output: Path,
) -> int:
    """Run commands, write what they found to results.json in a folder, and show it.

    Returns:
        The exit code: 1 when a command failed.
    """
    try:
        summary = steps()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_json(output / "results.json", summary)
    show(summary, output)
    return 0
