"""docs/benchmarks.md has every benchmark and protocol, and says of each what its file says."""

import re
from collections.abc import Iterator

import pytest

from evaluation.protocol import all_protocols
from tests.conftest import ROOT
from tests.evaluation.test_protocol import OF_SCRIPT

PAGE = (ROOT / "docs" / "benchmarks.md").read_text()
START = ["protocol", "`--benchmark`", "size", "trained on"]


def rows() -> Iterator[tuple[str, dict[str, str]]]:
    """The script of a section, and the rows of its table of protocols."""
    script, header = "", None
    for line in PAGE.splitlines():
        if line.startswith("## "):
            script = (re.findall(r"`(eval_\w+\.py)`", line) or [""])[0]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
        elif header[: len(START)] == START and not set(line) <= set("|- "):
            yield script, dict(zip(header, cells, strict=True))


ROWS = [(row["protocol"].strip("`"), script, row) for script, row in rows()]


def test_each_protocol_stands_there_once():
    assert sorted(name for name, _, _ in ROWS) == sorted(all_protocols())


@pytest.mark.parametrize(("name", "script", "row"), ROWS)
def test_a_row_says_what_the_file_says(name, script, row):
    protocol = all_protocols()[name]
    assert script == protocol.script
    assert row["`--benchmark`"] == f"`{protocol.benchmark}`"
    assert (row["size"], row["trained on"]) == (protocol.size, protocol.trained)
    if protocol.episodes:
        assert row["episodes"].startswith(f"{protocol.episodes:,}")
    for flag in protocol.settings:
        assert f"--{flag}" in PAGE


@pytest.mark.parametrize("script", OF_SCRIPT)
def test_each_benchmark_stands_in_the_section_of_its_script(script):
    shown = {row["`--benchmark`"].strip("`") for _, place, row in ROWS if place == script}
    assert shown == {*OF_SCRIPT[script]}


def test_what_commands_name_is_there():
    commands = re.findall(r"^python .*", PAGE, re.MULTILINE)
    assert len(commands) > 10
    known = {name for names in OF_SCRIPT.values() for name in names}
    for command in commands:
        assert set(re.findall(r"--protocol (\w+)", command)) <= set(all_protocols())
        assert set(re.findall(r"--benchmark (\w+)", command)) <= known
