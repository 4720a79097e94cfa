"""Write the weights of a tiny foundation model: half precision, so that they stay small."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


def save_weights(module: nn.Module, path: Path, facts: dict[str, object]) -> None:
    """Write a module's state dict as float16 safetensors with facts about its training."""
    tensors = {
        name: value.detach()
        .to(torch.float16 if value.is_floating_point() else value.dtype)
        .contiguous()
        for name, value in module.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {name: str(value) for name, value in facts.items()})
