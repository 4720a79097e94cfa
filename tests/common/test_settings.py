import pytest
import torch

from common.distributed import Processes
from common.errors import UsageError
from common.settings import claim_folder, claim_run

ALONE = Processes(0, 1, torch.device("cpu"))


def test_results_of_other_settings_are_refused_by_name(tmp_path):
    claim_folder(tmp_path, {"fold": 0, "shots": 1})
    claim_folder(tmp_path, {"fold": 0, "shots": 1})
    with pytest.raises(UsageError, match=r"other settings \(shots\)"):
        claim_folder(tmp_path, {"fold": 0, "shots": 5})


def test_results_without_settings_are_nobodys(tmp_path):
    (tmp_path / "items.jsonl").write_text('{"item": "a"}\n')
    with pytest.raises(UsageError, match="nobody knows what"):
        claim_folder(tmp_path, {"fold": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["items.jsonl"]


def test_a_run_that_did_not_come_to_its_first_epoch_binds_nobody(tmp_path):
    claim_run(tmp_path, {"lr": 1.0, "fold": 0}, False, ALONE)
    claim_run(tmp_path, {"lr": 2.0, "fold": 0}, False, ALONE)
    claim_run(tmp_path, {"lr": 2.0, "fold": 0}, True, ALONE)
    with pytest.raises(UsageError, match=r"other settings \(lr\)"):
        claim_run(tmp_path, {"lr": 1.0, "fold": 0}, True, ALONE)
