"""Run this repository's scripts as a person would type them."""

import shlex
import subprocess
import sys

from common.errors import UsageError


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
