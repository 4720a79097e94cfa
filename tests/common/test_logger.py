import json

import torch

from common.distributed import Processes
from common.logger import RunLogger


def test_a_run_that_goes_on_forgets_what_came_after_its_state(tmp_path):
    lines = [json.dumps({"epoch": n, "update": 4 * n}) + "\n" for n in (1, 2, 3)]
    for cut_off in ("", '{"epoch": 4, "upd'):
        (tmp_path / "log.jsonl").write_text("".join(lines) + cut_off)
        log = RunLogger(tmp_path, Processes(0, 1, torch.device("cpu")), update=9)
        assert (tmp_path / "log.jsonl").read_text() == "".join(lines[:2])
        log.line({"epoch": 3, "update": 12})
        log.close()
        assert (tmp_path / "log.jsonl").read_text() == "".join(lines)


def test_only_the_main_process_forgets(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"update": 4}\n')
    RunLogger(tmp_path, Processes(1, 2, torch.device("cpu")), update=0).close()
    assert (tmp_path / "log.jsonl").read_text() == '{"update": 4}\n'
