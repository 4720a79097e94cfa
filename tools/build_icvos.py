"""Build IC-VOS (section 3.2) from DAVIS, MOSE and LVOS v2, as far as they are there.

    python -m tools.build_icvos --mapping objects.csv --davis Datasets/DAVIS --mose Datasets/MOSE \\
        --lvos Datasets/LVOS --output Datasets/IC-VOS

The first call checks the videos, writes a GIF of every class and the table of decisions. Write
`accept` or `reject` there and call again: what is accepted is built. The exit code is 0, 1 when
something failed, 2 for wrong use. Every call goes on where an interrupted one stopped.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common.cli import checked_options, option, run_script, script_parser
from common.errors import UsageError
from common.logger import write_json
from data.classes import COCO_CLASSES
from data.icvos import SOURCES as SOURCES_FILE
from data.icvos import read_sources
from data.parallel import parallel_map
from tools.icvos import statistics as icvos_statistics
from tools.icvos.figure import write_figure
from tools.icvos.lists import (
    ACCEPT,
    REJECT,
    SOURCES,
    UNDECIDED,
    Decisions,
    SourceVideo,
    add_undecided,
    read_decisions,
    read_mapping,
)
from tools.icvos.tubes import (
    build_video,
    check_rules,
    clear_leftovers,
    find_video,
    gif_path,
    read_record,
    record_of,
    remove_video,
    write_gif,
)

DECISIONS_FILE = "decisions.csv"
BUILT, REMOVED = "built", "removed"


@dataclass(frozen=True)
class BuildOptions:
    """What IC-VOS is built from."""

    mapping: Path | None = option(
        None,
        "table with the columns source,video,object,class; what public lists give of it is "
        "tools/icvos/public/mapping.csv",
    )
    davis: Path | None = option(None, "folder of DAVIS 2017, if its videos are used")
    mose: Path | None = option(None, "folder of MOSE, if its videos are used")
    lvos: Path | None = option(None, "folder of LVOS v2, if its videos are used")
    output: Path = option(Path("Datasets/IC-VOS"), "folder of IC-VOS that is written")
    review: Path | None = option(
        None, "folder that gets GIFs and statistics (default: OUTPUT-review)"
    )
    decisions: Path | None = option(
        None, f"table of decisions that is read and added to (default: REVIEW/{DECISIONS_FILE})"
    )
    statistics: bool = option(False, "only count what --output holds, and build nothing")
    gif_frames: int = option(40, "greatest number of frames in a GIF")
    copy: bool = option(False, "copy frames instead of making hard links")
    workers: int | None = option(
        None, "number of processes that check and build videos (default: one per processor)"
    )

    @property
    def roots(self) -> dict[str, Path]:
        """Source -> its folder, of those that are given."""
        return {name: getattr(self, name) for name in SOURCES if getattr(self, name)}

    @property
    def review_folder(self) -> Path:
        return self.review or self.output.with_name(f"{self.output.name}-review")

    @property
    def decisions_file(self) -> Path:
        return self.decisions or self.review_folder / DECISIONS_FILE

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not self.statistics:
            if self.mapping is None:
                found.append("--mapping is required: a table of source,video,object,class")
            if not self.roots:
                found.append("give the folder of a source: --davis, --mose or --lvos")
        for name, root in self.roots.items():
            if not root.is_dir():
                found.append(f"--{name}: no such folder: {root}")
            elif root.resolve() == self.output.resolve():
                found.append(f"--output: {self.output} is the folder of {name}; choose another")
        if self.review_folder.resolve().is_relative_to(self.output.resolve()):
            found.append(f"--review: {self.review_folder} lies in --output; choose another folder")
        if self.gif_frames < 1 or (self.workers is not None and self.workers < 1):
            found.append("--gif_frames and --workers must be at least 1")
        return found


@dataclass
class Outcome:
    """What came out of a video."""

    waiting: list[int] = field(default_factory=list)
    """Ids of undecided classes that keep the rules."""
    ineligible: dict[int, str] = field(default_factory=dict)
    """Id of an undecided class -> which rule it breaks."""
    change: str = ""
    """What became of its folder: built, removed or nothing."""
    problems: list[str] = field(default_factory=list)


def parse_options() -> BuildOptions:
    groups = (BuildOptions,)
    (options,) = checked_options(groups, script_parser(__doc__, groups).parse_args())
    return options


def main() -> int:
    options = parse_options()
    problems = [] if options.statistics else build(options)
    problems += report(options)
    for problem in problems:
        print(f"failed: {problem}", file=sys.stderr)
    return 1 if problems else 0


def build(options: BuildOptions) -> list[str]:
    """Review what is undecided and build what is accepted; returns what failed."""
    listed = read_mapping(options.mapping)
    table = options.decisions_file
    decisions = read_decisions(table, listed) if table.exists() else {}
    videos = [video for video in listed.values() if video.source in options.roots]
    for source in sorted({video.source for video in listed.values()} - options.roots.keys()):
        names = sum(video.source == source for video in listed.values())
        print(f"left out: {names} videos of {source}, as --{source} is not given")
    if not videos:
        raise UsageError(f"{options.mapping} names no video of {', '.join(options.roots)}")
    clear_leftovers(options.output)
    step = partial(process_video, decisions=decisions, options=options)
    workers = 0 if len(videos) < 4 else options.workers  # processes take seconds to start
    done = parallel_map(step, videos, workers=workers, description="checking and building")
    outcomes = {video.name: outcome for video, outcome in zip(videos, done, strict=True)}

    for name, outcome in outcomes.items():
        for class_id, reason in outcome.ineligible.items():
            print(f"not eligible: {COCO_CLASSES[class_id]} in {name}: {reason}")
    waiting = [(name, c) for name, outcome in outcomes.items() for c in outcome.waiting]
    add_undecided(table, [item for item in waiting if item not in decisions])
    if waiting:
        print(
            f"{len(waiting)} undecided: watch the GIFs in {options.review_folder}, write "
            f"{ACCEPT} or {REJECT} in {table}, and run this again"
        )
    if options.output.is_dir():
        write_sources(options.output)
    changes = [outcome.change for outcome in outcomes.values()]
    print(", ".join(f"{changes.count(change)} videos {change}" for change in (BUILT, REMOVED)))
    return [problem for outcome in outcomes.values() for problem in outcome.problems]


def process_video(video: SourceVideo, decisions: Decisions, options: BuildOptions) -> Outcome:
    """Draw the undecided classes of a video and let its folder hold the accepted ones."""
    outcome = Outcome()
    for decision, step in ((UNDECIDED, review), (ACCEPT, update_folder)):
        try:
            step(chosen(video, decisions, decision), options, outcome)
        except UsageError as error:
            outcome.problems.append(str(error))
    outcome.problems = list(dict.fromkeys(outcome.problems))
    return outcome


def chosen(video: SourceVideo, decisions: Decisions, decision: str) -> SourceVideo:
    """The video with only those classes on which it was decided so; the others' objects stay."""
    classes = {
        class_id: objects
        for class_id, objects in video.classes.items()
        if decisions.get((video.name, class_id), UNDECIDED) == decision
    }
    rest = sorted(video.objects - {number for objects in classes.values() for number in objects})
    return SourceVideo(video.source, video.name, classes, rest)


def review(undecided: SourceVideo, options: BuildOptions, outcome: Outcome) -> None:
    """Check a video's classes and draw those that keep the rules, unless they are drawn."""
    paths = {
        class_id: gif_path(options.review_folder, undecided.name, class_id, objects)
        for class_id, objects in undecided.classes.items()
    }
    if all(path.is_file() for path in paths.values()):
        outcome.waiting = list(paths)
        return
    video = find_video(options.roots[undecided.source], undecided.name)
    outcome.ineligible = check_rules(video, undecided)
    for class_id in paths.keys() - outcome.ineligible.keys():
        if not paths[class_id].is_file():
            write_gif(paths[class_id], video, undecided.classes[class_id], options.gif_frames)
    outcome.waiting = [class_id for class_id in paths if class_id not in outcome.ineligible]


def update_folder(accepted: SourceVideo, options: BuildOptions, outcome: Outcome) -> None:
    """Build a video with its accepted classes that keep the rules, unless it is as it should be."""
    record = read_record(options.output / accepted.name)
    classes = accepted.classes
    if classes and record != record_of(accepted.source, classes):
        video = find_video(options.roots[accepted.source], accepted.name)
        broken = check_rules(video, accepted)
        outcome.problems += [
            f"{COCO_CLASSES[class_id]} in {accepted.name} is accepted, but {reason}"
            for class_id, reason in broken.items()
        ]
        classes = {c: objects for c, objects in classes.items() if c not in broken}
        if classes and record != record_of(accepted.source, classes):
            build_video(options.output, video, accepted.source, classes, options.copy)
            outcome.change = BUILT
    if not classes and remove_video(options.output, accepted.name):
        outcome.change = REMOVED


def write_sources(root: Path) -> None:
    """Write down which source each video is from; what is known of others' videos stays."""
    known: Mapping[str, str] = read_sources(root)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
    records = {folder.name: read_record(folder) for folder in folders}
    found = {
        name: record["source"] if record else known.get(name) for name, record in records.items()
    }
    write_json(root / SOURCES_FILE, {name: source for name, source in found.items() if source})


def report(options: BuildOptions) -> list[str]:
    """Print and write the statistics of what is there; returns what is wrong with it."""
    root = options.output
    if not options.statistics and not (root.is_dir() and any(root.glob("[!.]*/"))):
        print(f"{root} holds no video yet")
        return []
    statistics, problems = icvos_statistics.count(root)
    write_json(options.review_folder / "statistics.json", statistics)
    write_figure(options.review_folder / "figure2.png", statistics)
    print(f"\n{icvos_statistics.describe(statistics)}")
    print(f"\nwritten to {options.review_folder}: statistics.json, figure2.png")
    return list(problems.values())


if __name__ == "__main__":
    raise SystemExit(run_script(main))
