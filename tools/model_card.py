"""The model card of a release: what a model is, how it was trained, what it reached, licences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_SAM = {
    1: "Segment Anything (Meta AI): Apache License 2.0.",
    2: "SAM 2 (Meta AI): Apache License 2.0.",
}
_PATHS = ("backbone_weights", "sam_weights", "datapath", "ckpt")
"""Options that only mean something on the machine where the model was trained."""
_OWN = "{}: trained within this project, no weights of others."
_DINO = "DINOv2 (Meta AI): Apache License 2.0."
_TORCHVISION = (
    "{}: torchvision's weights, BSD 3-Clause License, trained on ImageNet, which has terms of its "
    "own; a file from elsewhere, such as a ResNet with a deep stem, has those of its origin."
)
_DATA = {
    "pascal": "PASCAL VOC 2012 and SBD: their own terms; the photos are of Flickr's users.",
    "coco": "COCO 2014: annotations under CC BY 4.0; the photos are under Flickr's terms of use.",
    "generated": "Generated images of this project, under no terms of others.",
}


@dataclass(frozen=True)
class Part:
    """A checkpoint of a release."""

    name: str
    """Of its file."""
    facts: dict[str, Any]
    """Of its header."""
    results: Sequence[dict[str, Any]]
    """What `results.json` of each of its evaluations says."""

    @property
    def benchmark(self) -> str:
        """What it was trained on; "" where the header does not say."""
        trained = self.facts.get("data") or self.facts.get("stage") or {}
        return str(trained.get("benchmark", ""))

    @property
    def fold(self) -> int | None:
        """The fold it was trained on, where the benchmark has folds."""
        has_folds = self.benchmark in ("pascal", "coco", "coco2pascal")
        return self.facts["data"]["fold"] if has_folds else None


def write_card(
    parts: Sequence[Part],
    title: str,
    row: str,
    about: str,
    generated: bool,
    half: bool = False,
) -> str:
    """The card as Markdown.

    Args:
        parts: all of one configuration; the folds of a row.
        row: which row of which table it is, or "".
        about: what it can do and what not, or "".
        generated: it was trained on generated images.
        half: weights are stored in half precision.
    """
    note = "\n\nWeights are stored in half precision; they were evaluated before." if half else ""
    model = parts[0].facts["model"]
    sections = [
        f"# {title}",
        "A model of DC-SAM: one labelled image says what to segment. `model/` of this project runs "
        f"it, for example `python predict.py --ckpt {parts[0].name}`; its configuration is in the "
        "file's header.",
        f"It is the row *{row}* of the paper's tables." if row else "",
        f"## What it can and cannot do\n{about}" if about else "",
        "## Results\n" + _results(parts, generated),
        "## Files\n" + "\n".join(_files(parts, generated)) + note,
        "## Configuration\n" + _configuration(parts),
        "## Licences of what it builds on\n" + "\n".join(_licences(model, parts, generated)),
        "## Check\n`sha256sum -c SHA256SUMS`, or `python -m tools.publish --verify FOLDER`.",
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _results(parts: Sequence[Part], generated: bool) -> str:
    """A table of image metrics, one of video metrics, each with means over files."""
    images = [(p, r) for p in parts for r in p.results if "miou" in r]
    videos = [(p, r) for p in parts for r in p.results if "jf" in r]
    tables = []
    if images:
        lines = ["| file | benchmark | fold | shots | episodes | mIoU | FB-IoU | episodes' hash |"]
        lines.append("|---" * 8 + "|")
        for part, r in images:
            lines.append(
                f"| {part.name} | {_data(r['benchmark'], generated)} | {r['fold']} | {r['shots']} "
                f"| {r['episodes']} (seed {r['seed']}) | {r['miou']:.1f} | {r['fb_iou']:.1f} | "
                f"`{r['episode_hash'][:16]}` |"
            )
        for shots in sorted({r["shots"] for _, r in images}):
            rows = [r for _, r in images if r["shots"] == shots]
            if len({r["fold"] for r in rows}) == len(rows) > 1:
                miou, fb_iou = (sum(r[k] for r in rows) / len(rows) for k in ("miou", "fb_iou"))
                lines.append(f"| mean | | | {shots} | | **{miou:.1f}** | **{fb_iou:.1f}** | |")
        tables.append("\n".join(lines))
    if videos:
        lines = ["| file | benchmark | first frame | items | J&F | J | F |", "|---" * 7 + "|"]
        for part, r in videos:
            scores = ("none" if r[k] is None else f"{r[k]:.1f}" for k in ("jf", "j", "f"))
            lines.append(
                f"| {part.name} | {_data(r['benchmark'], generated)} | {r['first_frame']} | "
                f"{r['items']} | {' | '.join(scores)} |"
            )
        tables.append("\n".join(lines))
    return "\n\n".join(tables) or "Not evaluated."


def _files(parts: Sequence[Part], generated: bool) -> Iterator[str]:
    for part in parts:
        facts = part.facts
        fold = "" if part.fold is None else f", fold {part.fold}"
        trained = part.benchmark and _data(part.benchmark, generated) + fold
        details = [f"trained on {trained}"] if trained else []
        if "imported_from" in facts:
            details.append(f"imported from {facts['imported_from']}")
        if "training_episodes" in facts:
            details.append(f"hash of its training episodes `{facts['training_episodes'][:16]}`")
        if facts.get("frozen"):
            details.append(f"fingerprint of the frozen weights `{facts['frozen']}`")
        held_out = facts.get("metrics", {}).get("held_out_miou")
        if held_out is not None:
            details.append(
                f"after {facts['metrics']['update']} updates {held_out:.1f} mIoU on held-out "
                "images of its training classes"
            )
        details.append(f"written by version {facts['version']}")
        yield f"- `{part.name}`: {'; '.join(details)}."


def _data(benchmark: str, generated: bool) -> str:
    """What images are called that only have a benchmark's layout and classes' numbers."""
    return f"generated ({benchmark} layout)" if generated else benchmark


def _configuration(parts: Sequence[Part]) -> str:
    facts = parts[0].facts
    lines = ["| | |", "|---|---|"]
    for group in ("model", "stage", "training"):
        for name, value in facts.get(group, {}).items():
            if value is not None and name not in _PATHS:
                lines.append(f"| {group} {name} | {value} |")
    return "\n".join(lines)


def _licences(model: dict[str, Any], parts: Sequence[Part], generated: bool) -> Iterator[str]:
    yield f"- {_SAM[model['sam_version']]}"
    if model["sam_model"] == "tiny":
        yield f"- {_OWN.format('Weights of the tiny SAM' + ' 2' * (model['sam_version'] == 2))}"
    backbone = model["backbone"]
    if backbone == "tiny":
        yield f"- {_OWN.format('Weights of the tiny backbone')}"
    else:
        yield f"- {_DINO if backbone.startswith('dinov2') else _TORCHVISION.format(backbone)}"
    benchmarks = {"generated"} if generated else {part.benchmark for part in parts}
    keys = {key for key in _DATA for benchmark in benchmarks if benchmark.startswith(key)}
    for key in sorted(keys):
        yield f"- {_DATA[key]}"
    if not keys:
        yield "- The data sets it was trained on: their own terms."
