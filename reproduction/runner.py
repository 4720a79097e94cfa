"""Does steps: what is finished is skipped, and an interrupted training goes on."""

import shlex
import time
from collections.abc import Iterable
from typing import Any

from common.commands import command_line, run_command
from common.errors import UsageError
from common.files import BROKEN, parse_json
from common.logger import write_json
from common.training_options import STATE_FILE
from reproduction.steps import Step

RECORD = "step.json"
"""In a step's folder: its recipe, and whether it is finished."""


def run(steps: Iterable[Step]) -> None:
    """Do steps in order, each folder once.

    Raises:
        CommandFailed: one failed; those before it are done.
        UsageError: a folder was filled by another recipe.
    """
    for step in {step.folder: step for step in steps}.values():
        if is_finished(step):
            print(f"done before: {step.folder}", flush=True)
        else:
            _run(step)


def is_finished(step: Step) -> bool:
    """Whether a step was done.

    Raises:
        UsageError: its folder was filled by another recipe.
    """
    record = _record(step)
    if record is None:
        return False
    if record["recipe"] != list(step.recipe):
        raise UsageError(
            f"{step.folder} was made by another recipe ({shlex.join(record['recipe'])}): "
            "remove it or choose another --work"
        )
    return record["finished"]


def command(step: Step) -> str:
    """The line that a person would type in the repository's folder."""
    return command_line(*step.words, processes=step.processes)


def _run(step: Step) -> None:
    begun = _record(step)
    interrupted = step.resumes and begun is not None and (step.folder / STATE_FILE).is_file()
    words = (*step.words, *(["--resume"] if interrupted else []))
    line = command_line(*words, processes=step.processes)
    record = {"recipe": list(step.recipe), "command": line, "finished": False}
    write_json(step.folder / RECORD, record)
    start = time.time()
    run_command(*words, processes=step.processes)
    seconds = round(time.time() - start, 1)
    write_json(step.folder / RECORD, {**record, "finished": True, "seconds": seconds})


def _record(step: Step) -> dict[str, Any] | None:
    """What was written down of a step when it was begun.

    Raises:
        UsageError: it cannot be read.
    """
    path = step.folder / RECORD
    if not path.is_file():
        return None
    try:
        record = parse_json(path.read_text())
        return {"recipe": record["recipe"], "finished": record["finished"]}
    except (OSError, *BROKEN):
        raise UsageError(f"{path} cannot be read: remove {step.folder}") from None
