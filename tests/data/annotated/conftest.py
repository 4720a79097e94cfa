from pathlib import Path

import pytest

from data.synthetic.ade20k_sets import write_ade20k, write_objects365
from data.synthetic.coco_sets import write_coco2017, write_lvis


@pytest.fixture(scope="session")
def annotated(tmp_path_factory) -> Path:
    """A folder with generated COCO2017, LVIS, ADEChallengeData2016 and Objects365."""
    root = tmp_path_factory.mktemp("annotated")
    write_coco2017(root / "COCO2017", {"train": 24, "val": 4}, seed=1, workers=0)
    write_lvis(root / "LVIS")
    write_ade20k(root / "ADEChallengeData2016", {"train": 24, "val": 4}, seed=1, workers=0)
    write_objects365(root / "Objects365", {"train": 6}, seed=1, workers=0)
    return root
