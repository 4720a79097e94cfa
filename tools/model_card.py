"""The model card of a release: what a model is, how it was trained, what it reached, licences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from evaluation.exposure import TrainingData

_SAM = {
    1: "Segment Anything (Meta AI): Apache License 2.0.",
    2: "SAM 2 (Meta AI): Apache License 2.0.",
}
_PATHS = ("backbone_weights", "sam_weights", "datapath", "ckpt")
"""Options that only mean something on the machine where the model was trained."""
_OWN = "Weights of the tiny {}: trained within this project, no weights of others."
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
_COLUMNS = {
    "miou": "file benchmark protocol fold exposure shots episodes seed miou fb_iou episode_hash",
    "jf": "file benchmark protocol first_frame exposure items jf j f",
}
"""Of the tables of images and of videos, each under the name of its main metric."""
_TITLES = {"miou": "mIoU", "fb_iou": "FB-IoU", "jf": "J&F", "j": "J", "f": "F"}


@dataclass(frozen=True)
class Part:
    """A checkpoint of a release."""

    name: str
    """Of its file."""
    facts: Mapping[str, Any]
    """Of its header."""
    results: Sequence[Mapping[str, Any]]
    """What `results.json` of each of its evaluations says."""


def file_name(facts: Mapping[str, Any]) -> str:
    """What a checkpoint's file is called: after what it was trained on."""
    trained = TrainingData.of(facts)
    return f"{str(trained or 'model').replace(' fold ', '_fold')}.safetensors"


def write_card(
    parts: Sequence[Part], *, title: str | None, row: str, about: str, generated: bool, half: bool
) -> str:
    """The card as Markdown.

    Args:
        parts: all of one configuration; the folds of a row.
        title: its heading; None: the configuration.
        row: which row of which table it is, or "".
        about: what it can do and what not, or "".
        generated: it was trained on generated images.
        half: weights are stored in half precision.
    """
    model = parts[0].facts["model"]
    note = "\n\nWeights are stored in half precision; they were evaluated before." if half else ""
    sections = [
        f"# {title or 'DC-SAM: {backbone}, SAM {sam_version}'.format(**model)}",
        "A model of DC-SAM: one labelled image says what to segment. `model/` of this project runs "
        f"it, for example `python predict.py --ckpt {parts[0].name}`; its configuration is in the "
        "file's header.",
        f"It is the row *{row}* of the paper's tables." if row else "",
        f"## What it can and cannot do\n{about}" if about else "",
        "## Results\n" + _results(parts, generated),
        "## Files\n" + "\n".join(_file(part, generated) for part in parts) + note,
        "## Configuration\n" + _configuration(parts[0].facts),
        "## Licences of what it builds on\n"
        + "\n".join(f"- {line}" for line in _licences(model, parts, generated)),
        "## Check\n`sha256sum -c SHA256SUMS`, or `python -m tools.publish --verify FOLDER`.",
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _results(parts: Sequence[Part], generated: bool) -> str:
    """A table of image metrics with means over folds, and one of video metrics."""
    found = [
        {**r, "file": part.name, "benchmark": _data(r["benchmark"], generated)}
        for part in parts
        for r in part.results
    ]
    images = [r for r in found if "miou" in r]
    for exposure, shots in sorted({(r.get("exposure", ""), r["shots"]) for r in images}):
        same = [r for r in images if (r.get("exposure", ""), r["shots"]) == (exposure, shots)]
        if len({r["fold"] for r in same}) == len(same) > 1:
            means = {name: fmean(r[name] for r in same) for name in ("miou", "fb_iou")}
            found.append({"file": "mean", "exposure": exposure, "shots": shots, **means})
    tables = [
        _table(columns.split(), [r for r in found if main in r])
        for main, columns in _COLUMNS.items()
    ]
    return "\n\n".join(filter(None, tables)) or "Not evaluated."


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """The values of rows under the columns' titles; "" without rows."""
    lines = [
        [_TITLES.get(name, name.replace("_", " ")) for name in columns],
        ["---"] * len(columns),
    ]
    lines += [[_cell(row.get(name, "")) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _cell(value: object) -> str:
    """A number with one decimal place, or any other value."""
    if isinstance(value, float):
        return f"{value:.1f}"
    return "none" if value is None else f"{value}"


def _file(part: Part, generated: bool) -> str:
    facts = part.facts
    details = []
    if trained := TrainingData.of(facts):
        fold = str(trained).removeprefix(trained.benchmark).replace(" fold", ", fold")
        details.append(f"trained on {_data(trained.benchmark, generated)}{fold}")
    if sources := facts.get("data", {}).get("sources"):
        details.append(f"pairs drawn from {sources} ({facts['data']['exclusion']})")
    if "imported_from" in facts:
        details.append(f"imported from {facts['imported_from']}")
    if "training_episodes" in facts:
        details.append(f"hash of its training episodes `{facts['training_episodes'][:16]}`")
    if facts.get("frozen"):
        details.append(f"fingerprint of the frozen weights `{facts['frozen']}`")
    metrics = facts.get("metrics", {})
    if metrics.get("held_out_miou") is not None:
        details.append(
            f"after {metrics['update']} updates {metrics['held_out_miou']:.1f} mIoU on held-out "
            "images of its training classes"
        )
    scale = facts.get("presence", {})
    for classes in ("unseen", "seen"):
        if f"{classes}_classes_auc" in scale:
            auc = scale[f"{classes}_classes_auc"]
            details.append(f"presence score calibrated: ROC AUC {auc:.3f} on {classes} classes")
    details.append(f"written by version {facts['version']}")
    return f"- `{part.name}`: {'; '.join(details)}."


def _data(benchmark: str, generated: bool) -> str:
    """What images are called that only have a benchmark's layout and classes' numbers."""
    return f"generated ({benchmark} layout)" if generated else benchmark


def _configuration(facts: Mapping[str, Any]) -> str:
    return "| | |\n|---|---|\n" + "\n".join(
        f"| {group} {name} | {value} |"
        for group in ("model", "stage", "training")
        for name, value in facts.get(group, {}).items()
        if value is not None and name not in _PATHS
    )


def _licences(model: Mapping[str, Any], parts: Sequence[Part], generated: bool) -> Iterator[str]:
    version, backbone = model["sam_version"], model["backbone"]
    yield _SAM[version]
    if model["sam_model"] == "tiny":
        yield _OWN.format("SAM 2" if version == 2 else "SAM")
    if backbone == "tiny":
        yield _OWN.format("backbone")
    else:
        yield _DINO if backbone.startswith("dinov2") else _TORCHVISION.format(backbone)
    trained = [t.benchmark for part in parts if (t := TrainingData.of(part.facts))]
    data = ["generated"] if generated else trained
    found = [text for start, text in _DATA.items() if any(d.startswith(start) for d in data)]
    yield from found or ["The data sets it was trained on: their own terms."]
