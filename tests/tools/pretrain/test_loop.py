from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from tools.pretrain.flags import pretraining_parser
from tools.pretrain.loop import train


def test_the_last_weights_are_written_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "new" / "weights.safetensors"
    monkeypatch.setattr("sys.argv", ["x", "--output", str(path), "--steps", "60", "--seed", "7"])
    options = pretraining_parser("Learn.", steps=3, lr=0.5).parse_args()
    learner = nn.ModuleDict({"kept": nn.Linear(1, 1), "head": nn.Linear(1, 1)})

    def losses(batch: torch.Tensor, step: int):
        assert batch.item() == step
        off = learner["head"](learner["kept"](torch.ones(1))) - 3
        return off.square().sum(), {"hits": (off.abs() < 0.1).float().mean()}

    train(learner, learner["kept"], torch.arange(60), losses, options)

    with safe_open(path, "pt") as file:
        assert file.metadata() == {"step": "60", "seed": "7"}
        assert set(file.keys()) == {"weight", "bias"}  # heads are thrown away
        assert torch.equal(file.get_tensor("weight"), learner["kept"].weight.detach().half())
    assert losses(torch.tensor(0), 0)[0] < 0.1
    assert "60 steps in" in capsys.readouterr().out
