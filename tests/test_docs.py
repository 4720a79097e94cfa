import re
from pathlib import Path

import pytest

from common.files import ROOT

PAGES = [ROOT / "README.md", *ROOT.glob("*/README.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_exist(page: Path):
    text = page.read_text()
    files = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text))
    modules = set(re.findall(r"python -m ((?:tools|data)\.[\w.]*\w)", text))
    for name in modules:
        path = ROOT / name.replace(".", "/")
        files.add(str(path / "__main__.py" if path.is_dir() else path.with_suffix(".py")))
    assert [name for name in sorted(files) if not (ROOT / name).is_file()] == []


def test_the_pretraining_pairs_are_where_the_page_says():
    text = (ROOT / "segment-anything" / "README.md").read_text()
    (path,) = re.findall(r"\(`PRETRAINING_PAIRS` in\s+`([\w/.]+)`\)", text)
    assert re.search(r"^PRETRAINING_PAIRS = ", (ROOT / path).read_text(), re.MULTILINE)
