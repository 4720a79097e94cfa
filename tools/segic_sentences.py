"""Write the vectors of the two sentences that SegIC says where it reads no names.

    python -m tools.segic_sentences

It needs CLIP once (`python -m tools.weights fetch clip_l clip_l_tokenizer`). With the file, which
is 6 KB and belongs into the folder of weights, `--text none` and `--text instance` need no CLIP.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, option, run_script, script_parser


@dataclass(frozen=True)
class SentenceOptions:
    """Where the vectors go."""

    output: Path | None = option(
        None, "file to write (default: where it is looked for, in the folder of weights)"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = self.output is not None and self.output.suffix != ".safetensors"
        return [f"--output must end in .safetensors, not {self.output}"] if wrong else []


def parse_options() -> SentenceOptions:
    groups = (SentenceOptions,)
    (options,) = checked_options(groups, script_parser(__doc__, groups).parse_args())
    return options


answer_early(__name__, parse_options)

from common.logger import quiet_libraries
from model.official_paths import official_path
from model.segic.config import CLIP_FILES, stored_path
from model.segic.text import ClipSentences, save_sentences


def main() -> int:
    options = parse_options()
    quiet_libraries()
    sentences = ClipSentences.load(*map(official_path, CLIP_FILES))
    path = options.output or stored_path()
    save_sentences(sentences, path)
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
