"""Files of rules for tokens of CLIP's kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import CLIPTokenizer

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
LAST = 49407
"""CLIP's number of the end of a text."""


def save_tokenizer(
    path: Path, numbers: Mapping[str, int], merges: Sequence[tuple[str, str]]
) -> None:
    """Write rules as the official file has them.

    Args:
        numbers: token -> number.
        merges: pairs of tokens that become one, the most frequent first.
    """
    CLIPTokenizer(vocab=dict(numbers), merges=list(merges)).backend_tokenizer.save(str(path))


def save_small_tokenizer(path: Path) -> None:
    """Rules by which every letter is a token."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    numbers = {token: number for number, token in enumerate(tokens)}
    save_tokenizer(path, numbers | {BEGIN: LAST - 1, END: LAST}, [])
