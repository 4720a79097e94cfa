"""Low-rank adapters on SAM 2 (LoRA): table 10's way to tune its decoder and memory attention.

The adapters are peft's; their dropout is drawn here, so that it depends on the episode alone.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from model.layers import DrawnByEpisode

RANK, ALPHA, DROPOUT = 8, 16, 0.05
TARGETS = r"(sam_mask_decoder|memory_attention)\..*\.(q_proj|v_proj)|sam_mask_decoder\.conv_s[01]"
"""Which layers of SAM 2 are adapted; the adapters have 111,360 weights in SAM 2.1 large."""
_ADAPTER = "default"
_MARKS = (".lora_A.", ".lora_B.")


class AdapterDropout(DrawnByEpisode):
    """Drops single numbers, each episode's by its own generator.

    A batch has one row for each episode, or several such blocks of rows. Nothing is dropped where
    no gradients are computed (supports are encoded so).
    """

    def __init__(self) -> None:
        super().__init__()
        self._seeds: list[int] = []
        self._generators: list[torch.Generator] = []

    def begin(self, seeds: Sequence[Sequence[int]], shots: int) -> None:
        self._seeds = [int(np.random.SeedSequence(seed).generate_state(1)[0]) for seed in seeds]
        self._generators = []

    def end(self) -> None:
        self._seeds, self._generators = [], []

    def forward(self, rows: Tensor) -> Tensor:
        count = len(self._seeds)
        if not count or not torch.is_grad_enabled():
            return rows
        shape, device = rows.shape[1:], rows.device
        if not self._generators:
            self._generators = [torch.Generator(device).manual_seed(seed) for seed in self._seeds]
        drawn = [
            torch.rand(shape, generator=self._generators[row % count], device=device)
            for row in range(len(rows))
        ]
        return rows * (torch.stack(drawn) >= DROPOUT) / (1 - DROPOUT)


def add_adapters(network: nn.Module) -> None:
    """Adapt SAM 2's network in place; it computes what it did until the adapters have learned.

    Weights of an adapted layer go on as `base_layer.*`. Everything is left frozen.
    """
    # not at the top: this takes seconds, and most runs have no adapters
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    settings = LoraConfig(
        r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=TARGETS, bias="none"
    )
    inject_adapter_in_model(settings, network, _ADAPTER)
    dropout = AdapterDropout()
    for module in network.modules():
        if isinstance(module, LoraLayer):
            module.lora_dropout[_ADAPTER] = dropout
    network.requires_grad_(False).eval()


def adapter_names(names: Iterable[str]) -> set[str]:
    """Which weights belong to adapters."""
    return {name for name in names if any(mark in name for mark in _MARKS)}


def unadapted_name(name: str) -> str:
    """What a weight is called before its layer is adapted."""
    return name.replace(".base_layer.", ".")


def unfreeze_adapters(network: nn.Module) -> None:
    """Let the adapters, and nothing else of the network, learn."""
    parameters = dict(network.named_parameters())
    for name in adapter_names(parameters):
        parameters[name].requires_grad_(True)
