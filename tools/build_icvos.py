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


@dataclass(frozen=True)
class BuildOptions:
    """What IC-VOS is built from."""

    mapping: Path | None = option(None, "table with the columns source,video,object,class")
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

    passed: list[int] = field(default_factory=list)
    """Ids of classes that keep the rules."""
    broken: dict[int, str] = field(default_factory=dict)
    """Class id -> which rule it breaks."""
    change: str = ""
    """What became of its folder: built or removed."""
    error: str = ""


def main() -> int:
    [options] = checked_options(
        (BuildOptions,), script_parser(__doc__, (BuildOptions,)).parse_args()
    )
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
    return review_videos(videos, decisions, options) + build_videos(videos, decisions, options)


def review_videos(
    videos: list[SourceVideo], decisions: Decisions, options: BuildOptions
) -> list[str]:
    """Check what nobody decided on, and prepare the manual look; returns what failed."""
    undecided = [chosen(video, decisions, UNDECIDED) for video in videos]
    outcomes = run_all(review, undecided, options, "checking and drawing")
    problems = [outcome.error for outcome in outcomes.values() if outcome.error]
    for name, outcome in outcomes.items():
        for class_id, reason in outcome.broken.items():
            print(f"not eligible: {COCO_CLASSES[class_id]} in {name}: {reason}")
    waiting = [(name, c) for name, outcome in outcomes.items() for c in outcome.passed]
    new = [item for item in waiting if item not in decisions]
    if new:
        add_undecided(options.decisions_file, new)
    if waiting:
        print(
            f"{len(waiting)} undecided: look at the GIFs in {options.review_folder}, write "
            f"{ACCEPT} or {REJECT} in {options.decisions_file}, and run this again"
        )
    return problems


def build_videos(
    videos: list[SourceVideo], decisions: Decisions, options: BuildOptions
) -> list[str]:
    """Let the folder hold what is accepted of these videos; returns what failed."""
    accepted = [chosen(video, decisions, ACCEPT) for video in videos]
    problems, changes = [], []
    for video in accepted:
        if not video.classes and remove_video(options.output, video.name):
            changes.append("removed")
    outcomes = run_all(keep_built, accepted, options, "building")
    for name, outcome in outcomes.items():
        changes.append(outcome.change)
        problems += [outcome.error] * bool(outcome.error)
        problems += [
            f"{COCO_CLASSES[class_id]} in {name} is accepted, but {reason}"
            for class_id, reason in outcome.broken.items()
        ]
    if options.output.is_dir():
        write_sources(options.output)
    counts = {change: changes.count(change) for change in ("built", "removed")}
    print(", ".join(f"{number} videos {change}" for change, number in counts.items()))
    return problems


def chosen(video: SourceVideo, decisions: Decisions, decision: str) -> SourceVideo:
    """The video with only those classes on which it was decided so; the others' objects stay."""
    kept = {
        class_id: objects
        for class_id, objects in video.classes.items()
        if decisions.get((video.name, class_id), UNDECIDED) == decision
    }
    rest = sorted(video.objects - {number for objects in kept.values() for number in objects})
    return SourceVideo(video.source, video.name, kept, rest)


def run_all(
    step: "partial[Outcome]", videos: list[SourceVideo], options: BuildOptions, title: str
) -> dict[str, Outcome]:
    """Do a step for each video that has a class left; video -> what came out."""
    some = [video for video in videos if video.classes]
    if not some:
        return {}
    workers = 0 if len(some) < 4 else options.workers  # processes take seconds to start
    done = parallel_map(partial(step, options=options), some, workers=workers, description=title)
    return dict(zip((video.name for video in some), done, strict=True))


def review(listed: SourceVideo, options: BuildOptions) -> Outcome:
    """Check a video's classes and draw those that keep the rules, unless they are drawn."""
    outcome = Outcome()
    paths = {
        class_id: gif_path(options.review_folder, listed.name, class_id, objects)
        for class_id, objects in listed.classes.items()
    }
    try:
        if not all(path.is_file() for path in paths.values()):
            video = find_video(options.roots[listed.source], listed.name)
            outcome.broken = check_rules(video, listed)
        outcome.passed = [class_id for class_id in paths if class_id not in outcome.broken]
        for class_id in outcome.passed:
            if not paths[class_id].is_file():
                write_gif(paths[class_id], video, listed.classes[class_id], options.gif_frames)
    except UsageError as error:
        outcome = Outcome(error=str(error))
    return outcome


def keep_built(listed: SourceVideo, options: BuildOptions) -> Outcome:
    """Build a video with its accepted classes that keep the rules, unless it is as it should be."""
    outcome, folder = Outcome(), options.output / listed.name
    try:
        if read_record(folder) == record_of(listed.source, listed.classes):
            return outcome
        video = find_video(options.roots[listed.source], listed.name)
        outcome.broken = check_rules(video, listed)
        kept = {c: o for c, o in listed.classes.items() if c not in outcome.broken}
        if not kept:
            outcome.change = "removed" if remove_video(options.output, listed.name) else ""
        elif read_record(folder) != record_of(listed.source, kept):
            build_video(options.output, video, listed.source, kept, options.copy)
            outcome.change = "built"
    except UsageError as error:
        outcome.error = str(error)
    return outcome


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
    icvos_statistics.write_chart(options.review_folder / "figure2.png", statistics)
    print(f"\n{icvos_statistics.describe(statistics)}")
    print(f"\nwritten to {options.review_folder}: statistics.json, figure2.png")
    return list(problems.values())


if __name__ == "__main__":
    raise SystemExit(run_script(main))
