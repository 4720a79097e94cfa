"""torch.hub from another program, in an empty folder."""

import ast
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

import hubconf

ROOT = Path(__file__).parents[1]
LOAD = f'torch.hub.load({str(ROOT)!r}, "in_context_segmenter", source="local", device="cpu"'


@pytest.fixture
def run(tmp_path):
    """Run a program in a temporary folder; returns its two outputs."""

    def run(code: str) -> tuple[str, str]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        program = "import sys, torch\nsys.dont_write_bytecode = True\n" + textwrap.dedent(code)
        command = [sys.executable, "-c", program]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr

    return run


def test_another_program_segments_with_what_is_shipped_and_keeps_its_own_modules(run, tmp_path):
    (tmp_path / "common.py").write_text("mine = 1")
    (tmp_path / "page.py").write_text("mine = 1")
    for package in ("data", "model"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("mine = 1")
    output, error = run(f"""
        import common, data
        segmenter = {LOAD})
        import model, page
        assert common.mine == data.mine == model.mine == page.mine == 1
        import numpy as np
        picture = np.zeros((40, 60, 3), np.uint8)
        mask = np.zeros((40, 60), bool)
        picture[10:30, 20:40] = mask[10:30, 20:40] = 255
        concept = segmenter.learn(picture, mask)
        print(segmenter.segment(picture, concept).mask.shape)
        again = {LOAD}, checkpoint={str(hubconf._TINY)!r})
        assert type(again) is type(segmenter)
        assert type(segmenter).__name__ == "InContextSegmenter"
    """)
    assert output == "(40, 60)\n"
    assert error.count("knows drawn shapes only") == 1


def test_another_copy_of_the_repository_is_refused_by_name(monkeypatch):
    other = types.ModuleType("dc_sam_hub")
    other.__path__ = ["/elsewhere/dc-sam"]
    monkeypatch.setitem(sys.modules, "dc_sam_hub", other)
    with pytest.raises(ImportError, match=r"dc_sam_hub is in the way: .*from /elsewhere/dc-sam"):
        hubconf.in_context_segmenter(hubconf._TINY)


def test_another_method_than_the_checkpoints_is_refused():
    with pytest.raises(ValueError, match=r"method='vrp_sam', but .*tiny.* holds dc_sam"):
        hubconf.in_context_segmenter(hubconf._TINY, "vrp_sam", "cpu")


def imported_modules(*rooms: str) -> tuple[set[str], set[str]]:
    """What the modules of some rooms import with `import`, and with `from`: top-level names."""
    whole, parts = set(), set()
    for path in (path for room in rooms for path in (ROOT / room).glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                whole |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parts.add(node.module.partition(".")[0])
    return whole, parts


def test_every_import_is_a_dependency_or_can_be_rewritten():
    whole, parts = imported_modules("common", "model")
    assert not whole & hubconf._ROOMS
    assert (whole | parts) - sys.stdlib_module_names - hubconf._ROOMS <= set(hubconf.dependencies)
