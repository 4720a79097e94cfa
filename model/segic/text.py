"""What is said of an entity in words, and the vectors of sentences.

The released decoder knows vectors of CLIP ViT-L/14: the hidden state at the end of the text, after
the last norm and without CLIP's projection to pictures.
Shapes: N sentences, L places of a text, T width of a vector.
"""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from common.checkpoint import write_tensors
from common.errors import UsageError
from model.official_paths import how_to_get
from model.segic.config import CLIP_FILES
from model.weights import load_strictly, read_weights

NO_TEXT = ""
INSTANCE = "please segment the instances"
"""Said of single objects: of all masks of one picture, and in videos."""
WIDTH = 768
"""T of CLIP ViT-L/14."""
PLACES = 77
"""L of CLIP: the longest text, its begin and its end included."""
_NOBODYS_NAME = re.compile(r"object|class_\d+")
"""What this program calls a concept that nobody named."""
_TEXT_TOWER = "text_model."


def sentence_about(name: str | None, text: str = "name") -> str:
    """What is said of a concept.

    Args:
        name: what it is called; None: not known.
        text: one of `TEXTS`.
    """
    if text == "instance":
        return INSTANCE
    if text == "none" or name is None or _NOBODYS_NAME.fullmatch(name):
        return NO_TEXT
    return f"a photo of a {name}"


class Sentences(nn.Module):
    """Vectors of sentences; each is computed once. Frozen.

    Subclasses define `compute`.
    """

    width: int = WIDTH
    """T."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("where", torch.zeros(0), persistent=False)
        """Tells the device."""
        self._known: dict[str, Tensor] = {}

    def forward(self, sentences: Sequence[str]) -> Tensor:
        """N x T.

        Raises:
            UsageError: a sentence is too long, or its vector is not known.
        """
        new = [one for one in dict.fromkeys(sentences) if one not in self._known]
        if new:
            with torch.no_grad(), torch.autocast(self.where.device.type, enabled=False):
                vectors = self.compute(new).float().cpu()
            self._known |= dict(zip(new, vectors, strict=True))
        return torch.stack([self._known[one] for one in sentences]).to(self.where.device)

    def compute(self, sentences: Sequence[str]) -> Tensor:
        """Vectors of sentences that were not asked for before, N x T."""
        raise NotImplementedError


class ClipSentences(Sentences):
    """CLIP's text tower."""

    def __init__(self, tower: nn.Module, tokenizer: "Tokenizer") -> None:
        """Take a tower and what makes its tokens.

        Args:
            tower: a `transformers.CLIPTextModel`.
        """
        super().__init__()
        self.tower, self.tokenizer = tower.requires_grad_(False).eval(), tokenizer

    @classmethod
    def load(cls, weights: Path, tokenizer: Path) -> "ClipSentences":
        """From official files.

        Raises:
            UsageError: a file is missing, broken or of another network.
        """
        found = Tokenizer(tokenizer)
        state = {
            name.removeprefix(_TEXT_TOWER): value.float()
            for name, value in read_weights(weights, CLIP_FILES[0]).items()
            # the file has CLIP's other half too, and numbers of places that are no weights
            if name.startswith(_TEXT_TOWER) and not name.endswith("position_ids")
        }
        tower = clip_text_tower()
        load_strictly(tower, state, weights)
        return cls(tower, found)

    def train(self, mode: bool = True) -> "ClipSentences":
        """Stay in evaluation mode."""
        return super().train(False)

    def compute(self, sentences: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(sentences).to(self.where.device)
        return self.tower(input_ids=tokens).pooler_output


class Tokenizer:
    """CLIP's tokens, by the rules and the table of its own file."""

    END = 49407
    """Ends a text, and fills the places after it."""

    def __init__(self, path: Path) -> None:
        """Read a file of the package `tokenizers`.

        Raises:
            UsageError: it is missing or something else.
        """
        from tokenizers import Tokenizer as Rules

        if not path.is_file():
            raise UsageError(f"no such file: {path}; {how_to_get(CLIP_FILES[1:])}")
        try:
            self.rules = Rules.from_file(str(path))
        except Exception as error:  # the package raises this class itself
            raise UsageError(f"{path} holds no rules for tokens: {error}") from None
        self.rules.no_truncation()
        self.rules.no_padding()

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """Tokens of sentences with their begin and end, N x L int64.

        Raises:
            UsageError: a sentence is too long for CLIP.
        """
        found = torch.full((len(sentences), PLACES), self.END)
        for row, sentence in enumerate(sentences):
            tokens = self.rules.encode(sentence).ids
            if len(tokens) > PLACES:
                raise UsageError(
                    f"CLIP reads at most {PLACES} tokens, and this text has {len(tokens)}: "
                    f'"{sentence[:60]}..."; give the class a shorter name'
                )
            found[row, : len(tokens)] = torch.tensor(tokens)
        return found


class StoredSentences(Sentences):
    """Vectors out of a small file, for who has no CLIP and needs no names."""

    def __init__(self, vectors: dict[str, Tensor]) -> None:
        super().__init__()
        self._known = {sentence: vector.float() for sentence, vector in vectors.items()}

    def compute(self, sentences: Sequence[str]) -> Tensor:
        raise UsageError(
            f'no vector of "{sentences[0]}" is stored: {how_to_get(CLIP_FILES)}, or leave names '
            "out with --text none"
        )


class HashedSentences(Sentences):
    """Vectors by words without any weights, for tiny and untrained networks.

    A sentence is the sum of its words, and a word is drawn by its letters.
    """

    def compute(self, sentences: Sequence[str]) -> Tensor:
        return torch.stack([self._sum(sentence.split()) for sentence in sentences])

    def _sum(self, words: Sequence[str]) -> Tensor:
        total = torch.zeros(self.width)
        for word in words:
            generator = torch.Generator().manual_seed(zlib.crc32(word.lower().encode()))
            total = total + torch.randn(self.width, generator=generator)
        return total / max(1, len(words)) ** 0.5


def clip_text_tower(layers: int = 12) -> nn.Module:
    """The text tower of CLIP ViT-L/14 with random weights."""
    from transformers import CLIPTextConfig, CLIPTextModel  # takes seconds

    config = CLIPTextConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=12,
        max_position_embeddings=PLACES,
        hidden_act="quick_gelu",
        bos_token_id=Tokenizer.END - 1,
        eos_token_id=Tokenizer.END,
    )
    return CLIPTextModel(config)


def save_sentences(sentences: Sentences, path: Path) -> None:
    """Write the vectors of the two sentences that need no name."""
    vectors = sentences([NO_TEXT, INSTANCE])
    write_tensors(path, {"none": vectors[0], "instance": vectors[1]}, {})


def read_sentences(path: Path) -> StoredSentences:
    """Read what `save_sentences` wrote.

    Raises:
        UsageError: the file is missing, broken or holds something else.
    """
    vectors = read_weights(path)
    if {name: tuple(v.shape) for name, v in vectors.items()} != {
        "none": (WIDTH,),
        "instance": (WIDTH,),
    }:
        raise UsageError(f"{path} does not hold the vectors of the two sentences")
    return StoredSentences({NO_TEXT: vectors["none"], INSTANCE: vectors["instance"]})
