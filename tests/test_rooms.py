"""Imports run downwards only, and never in a circle."""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHOD_PAGE = ROOT / "docs" / "method.md"
FLOORS = {
    "common": 0,
    "data": 1,
    "model": 1,
    "evaluation": 2,
    "labelling": 3,
    "page": 3,
    "reproduction": 3,
    "tools": 3,
}
"""Room -> its floor; scripts stand above all rooms."""
MAY_MEET = {("page", "labelling"), ("tools", "labelling")}
"""Rooms of one floor of which the first may use the second: both label as predict.py does."""
SCRIPTS = 4

Imports = dict[str, set[str]]
"""Module -> the modules of this project that it imports, also within functions."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def project_files() -> list[Path]:
    inside = [path for room in FLOORS for path in (ROOT / room).rglob("*.py")]
    return sorted([*inside, *ROOT.glob("*.py")])


def imports_of(files: Iterable[Path]) -> Imports:
    sources = {module_of(path): path.read_text() for path in files}

    def named(node: ast.AST) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            return [name if name in sources else node.module for name in below]
        return []

    return {
        module: {n for node in ast.walk(ast.parse(text)) for n in named(node) if n in sources}
        for module, text in sources.items()
    }


def room(module: str) -> str:
    return module.partition(".")[0]


def upward(imports: Mapping[str, set[str]]) -> list[str]:
    """Every import of a room that is not below, as an arrow."""
    found = []
    for module, others in imports.items():
        for other in others:
            here, there = (FLOORS.get(room(name), SCRIPTS) for name in (module, other))
            own = room(module) == room(other) or (room(module), room(other)) in MAY_MEET
            if here <= there and not own:
                found.append(f"{module} -> {other}")
    return sorted(found)


def circle(imports: Mapping[str, set[str]]) -> list[str]:
    """The modules of some circle; none if there is none."""
    left = {module: set(others) - {module} for module, others in imports.items()}
    while True:
        free = [module for module, others in left.items() if not others & left.keys()]
        if not free:
            return sorted(left)
        for module in free:
            del left[module]


@pytest.fixture(scope="module")
def imports() -> Imports:
    return imports_of(project_files())


def test_every_room_is_seen(imports):
    assert {room(module) for module in imports} >= {*FLOORS, "train_image", "predict"}
    assert "common.cli" in imports["train_image"]


def test_imports_run_downwards(imports):
    assert upward(imports) == []


def test_no_import_is_part_of_a_circle(imports):
    assert circle(imports) == []


def test_evaluation_knows_no_method_by_name(imports):
    named = {
        f"{module} -> {other}"
        for module, others in imports.items()
        if room(module) == "evaluation"
        for other in others
        if other.startswith("model.dc_sam")
    }
    assert named == set()


def test_the_page_on_the_method_counts_lines():
    rows = re.findall(r"\| \d \| `?(\w+)/?`? \|.*\| ([\d,]+) \|", METHOD_PAGE.read_text())
    said = {room: int(lines.replace(",", "")) for room, lines in rows}
    counted = dict.fromkeys((*FLOORS, "scripts"), 0)
    for path in project_files():
        inside = path.relative_to(ROOT).parts
        counted[inside[0] if len(inside) > 1 else "scripts"] += len(path.read_text().splitlines())
    assert said == pytest.approx(counted, rel=0.05)


def test_an_upward_arrow_and_a_circle_are_noticed():
    assert upward({"common.a": {"model.b"}, "model.b": {"common.a"}}) == ["common.a -> model.b"]
    assert upward({"data.a": {"model.b"}, "model.b": set()}) == ["data.a -> model.b"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "d"]
