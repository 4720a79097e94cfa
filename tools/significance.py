"""Is one method better than another? A paired bootstrap of finished evaluations.

    python -m tools.significance runs/eval_insid3_coco_fold0 runs/eval_persam_coco_fold0
    python -m tools.significance runs/reproduction/evaluate/persam/icvos-1shot-carried OTHER

Each is a folder of results of `eval_image.py` or `eval_video.py`, or one that holds such folders
(folds, seeds), which then have the same names in both: the measure is their mean, and its standard
deviation over seeds is told. Episodes, or videos with all their objects, are drawn anew, the same
for both; of images the measure is mIoU, of videos J&F. Of one folder alone only that is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from common.cli import checked_options, option, run_script, script_parser
from common.errors import UsageError
from common.files import parse_json
from evaluation.item_log import ITEMS, read_items
from evaluation.protocol import tested_as
from evaluation.significance import (
    LEVEL,
    ORIGINAL,
    PROTOCOL,
    RESAMPLES,
    SQUARE,
    EpisodeAreas,
    Interval,
    Scores,
    VideoScores,
    interval,
    paired_interval,
)

SIZES = (ORIGINAL, PROTOCOL, SQUARE)
MEASURES = ("jf", "j", "f")


@dataclass(frozen=True)
class SignificanceOptions:
    """What is compared, and how."""

    size: str = option(
        ORIGINAL,
        "size at which masks of images were compared: the pictures' own, the protocol's, or the "
        "network's square, which may be another one for each method; of videos always their own",
        SIZES,
    )
    measure: str = option("jf", "measure of videos", MEASURES)
    resamples: int = option(RESAMPLES, "number of resamples")
    seed: int = option(0, "seed with which they are drawn")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = self.resamples < 1 or self.seed < 0
        return ["--resamples must be at least 1, --seed at least 0"] if wrong else []


def main() -> int:
    parser = script_parser(__doc__, (SignificanceOptions,))
    parser.prog = "python -m tools.significance"
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="FOLDER", help="one or two folders of results"
    )
    namespace = parser.parse_args()
    [options] = checked_options((SignificanceOptions,), namespace)
    folders = [parts_of(folder) for folder in namespace.runs]
    if len(folders) > 2:
        raise UsageError(f"two folders can be compared, not {len(folders)}")
    names = [
        [part.relative_to(folder) for part in parts]
        for folder, parts in zip(namespace.runs, folders, strict=True)
    ]
    if names[0] != names[-1]:
        first, other = (", ".join(map(str, some)) for some in names)
        raise UsageError(f"the folders hold other parts: {first}; and {other}")
    protocols = [protocols_of(parts) for parts in folders]
    sizes = {size for followed in protocols for size in followed.values()}
    if options.size == PROTOCOL and len(sizes) > 1:
        raise UsageError(f"masks were compared at several sizes: {', '.join(sorted(sizes))}")
    scores = [[read_scores(part, options) for part in parts] for parts in folders]
    drawn = {"resamples": options.resamples, "seed": options.seed}
    for folder, runs, followed in zip(namespace.runs, scores, protocols, strict=True):
        spread = _over_seeds(names[0], runs)
        about = f" ({'; '.join(followed)})" if followed else ""
        print(f"{_shown(interval(runs, **drawn))}{spread}  {folder}{about}")
    if len(scores) > 1:
        found = paired_interval(*scores, **drawn)
        verdict = "more than chance" if found.differs else "no more than chance may be"
        print(f"{_shown(found, '+')}  difference: {verdict}")
    units = sum(map(len, scores[0]))
    print(f"{LEVEL} % intervals of {options.resamples:,} resamples of {units} episodes or videos")
    return 0


def _over_seeds(names: Sequence[Path], runs: Sequence[Scores]) -> str:
    """The standard deviation (of a sample) over seeds of the mean of their folds, if there are."""
    values: dict[str, list[float]] = {}
    for name, run in zip(names, runs, strict=True):
        if name.name.startswith("seed"):
            values.setdefault(name.name, []).append(interval([run], resamples=1).value)
    if len(values) < 2:
        return ""
    return f" ± {stdev(map(fmean, values.values())):.2f} over {len(values)} seeds"


def protocols_of(parts: Sequence[Path]) -> dict[str, str]:
    """Under which protocols these folders of results were measured -> at which size, as far as
    they say so."""
    files = (part / "results.json" for part in parts)
    results = [parse_json(file.read_text()) for file in files if file.is_file()]
    return {
        f"protocol {tested_as(one)}, {one['exposure']}": one["protocol_size"]
        for one in results
        if "protocol" in one
    }


def parts_of(folder: Path) -> list[Path]:
    """The folder of results that this is, or those below it.

    Raises:
        UsageError: there is none.
    """
    found = sorted(path.parent for path in folder.rglob(ITEMS))
    if not found:
        raise UsageError(f"{folder} holds no {ITEMS}, which eval_image.py and eval_video.py write")
    return found


def read_scores(folder: Path, options: SignificanceOptions) -> Scores:
    """What an evaluation scored.

    Raises:
        UsageError: it was of another kind, or nothing was scored.
    """
    records = read_items(folder / ITEMS)
    try:
        if any("video" in record for record in records):
            return VideoScores.read(records, measure=options.measure)
        return EpisodeAreas.read(records, options.size)
    except (KeyError, IndexError, TypeError):
        raise UsageError(f"{folder} holds no results of eval_image.py or eval_video.py") from None


def _shown(found: Interval, sign: str = "") -> str:
    numbers: Sequence[float] = (found.value, found.low, found.high)
    value, low, high = (f"{number:{sign}.2f}" for number in numbers)
    return f"{value:>7} [{low:>7}, {high:>7}]"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
