"""Files of rules for tokens of CLIP's kind."""

import gzip
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
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


def save_real_tokenizer(path: Path) -> None:
    """CLIP's own rules, by the list of merges that the package `open_clip` ships."""
    listed = Path(find_spec("open_clip").origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(listed.read_bytes()).decode().splitlines()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(byte) for byte in printable]
    symbols += [chr(256 + n) for n in range(256 - len(printable))]
    count = LAST - 1 - 2 * len(symbols)
    merges = [tuple(line.split()) for line in lines[1 : 1 + count]]
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *map("".join, merges)]
    numbers = {token: number for number, token in enumerate([*tokens, BEGIN, END])}
    save_tokenizer(path, numbers, merges)
