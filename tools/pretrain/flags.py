"""The flags of every pre-training."""

import argparse
from pathlib import Path


def pretraining_parser(description: str, steps: int, lr: float) -> argparse.ArgumentParser:
    """A parser with the flags of every pre-training, and with these defaults."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    add = parser.add_argument
    add("--output", type=Path, required=True, help="safetensors file to write")
    add("--start", type=Path, help="weights to go on from (default: random weights)")
    add("--steps", type=int, default=steps, help="optimiser steps (default: %(default)s)")
    add("--lr", type=float, default=lr, help="peak learning rate of AdamW (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of weights and scenes (default: %(default)s)")
    add("--workers", type=int, default=1, help="processes that draw scenes (default: %(default)s)")
    add("--threads", type=int, default=1, help="threads of the network (default: %(default)s)")
    add("--bf16", action="store_true", help="bfloat16 autocast, on processors that have it")
    return parser
