import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.cli import option, run_script, value_problems


@dataclass(frozen=True)
class Options:
    """A field of each kind."""

    size: str = option("base", "which", ("base", "large"))
    side: int = option(64, "how many")
    rate: float = option(0.5, "how fast")
    limit: int | None = option(None, "how many at most")
    file: Path | None = option(None, "where")
    quick: bool = option(False, "whether")


def test_values_of_every_kind_pass():
    assert value_problems(Options()) == []
    assert value_problems(Options("large", 7, 1, 3, Path("a"), True)) == []


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"size": "huge"}, ["size 'huge' is unknown; there are base, large"]),
        ({"size": 3}, ["size cannot be 3"]),
        ({"side": True}, ["side cannot be True"]),
        ({"side": 1.5, "rate": "1"}, ["side cannot be 1.5", "rate cannot be '1'"]),
        ({"limit": "1", "file": "a"}, ["limit cannot be '1'", "file cannot be 'a'"]),
        ({"quick": 0}, ["quick cannot be 0"]),
    ],
)
def test_values_that_no_parser_would_let_through_are_named(values: dict, problems: list[str]):
    assert value_problems(Options(**values)) == problems


def test_a_warning_is_one_plain_line(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back at the end
    assert run_script(lambda: 0) == 0
    told = warnings.formatwarning("the object is small", UserWarning, "network.py", 7)
    assert told == "warning: the object is small\n"
