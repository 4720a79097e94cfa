"""The results of an evaluation on videos: means over its items, a table and a contact sheet."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.images import read_image
from common.visualize import SheetRow, contact_sheet
from data.video_items import ItemSource
from evaluation.item_log import Record
from evaluation.item_results import SHEET_FRAMES, ResultFolder
from evaluation.jf import PRESENT, Summary, mean_summary
from evaluation.significance import ORIGINAL, VideoScores, interval


def summarise(
    records: Mapping[str, Record], items: ItemSource, folder: ResultFolder
) -> dict[str, Any]:
    """What `results.json` says of all items, in percent."""
    known = {name: records[name] for name in items.names if name in records}
    good = [record for record in known.values() if "error" not in record]
    errors = {name: record["error"] for name, record in known.items() if "error" in record}
    names = ("jf", "j", "f", PRESENT, *folder.sizes)
    return {
        **dict.fromkeys(("jf", "j", "f")),
        **_mean(good, names),
        "intervals": _intervals(good, folder),
        "items": len(good),
        "failed": {**items.problems, **errors},
        "per_class": _groups(good, "class", names),
        "per_source": _groups(good, "source", names),
        **_by_training(good, names),
    }


def _intervals(records: Sequence[Record], folder: ResultFolder) -> dict[str, Any]:
    """Between what J&F at each size lies if other videos are drawn; {} where nothing is scored."""
    if not any(row["jf"] is not None for one in records for row in _rows(one)):
        return {}
    return {size: interval([VideoScores.read(records, size)]).to_json() for size in folder.sizes}


def _by_training(records: Sequence[Record], names: Sequence[str]) -> dict[str, Any]:
    """The means over objects of categories that were seen in training, and over the others.

    YouTube-VOS's measure G is the mean of J and F of both; None where one of them has no score.
    """
    objects = [row for record in records for row in record.get("objects", {}).values()]
    groups = {
        name: [row for row in objects if row.get("seen") is seen]
        for name, seen in (("seen", True), ("unseen", False))
    }
    if not any(groups.values()):
        return {}
    means = {
        name: {
            "objects": len(rows),
            **dict.fromkeys(("jf", "j", "f")),
            **mean_summary([{name: row[name] for name in names} for row in rows]),
        }
        for name, rows in groups.items()
    }
    parts = [means[name][score] for name in means for score in ("j", "f")]
    return {"g": None if None in parts else sum(parts) / len(parts), **means}


def _groups(records: Sequence[Record], by: str, names: Sequence[str]) -> dict[str, Summary]:
    """The means over the items of each class or source."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if by in record:
            groups.setdefault(record[by], []).append(record)
    return {key: {"items": len(groups[key]), **_mean(groups[key], names)} for key in sorted(groups)}


def _mean(records: Sequence[Record], names: Sequence[str]) -> Summary:
    """The means over all objects of some items."""
    rows = [row for record in records for row in _rows(record)]
    return mean_summary([{name: row[name] for name in names} for row in rows])


def _rows(record: Record) -> list[Summary]:
    """The scores of an item's objects, or of its class."""
    return [*record.get("objects", {"": record}).values()]


def score_table(results: Mapping[str, Any], folder: ResultFolder) -> str:
    """J&F, J and F at each size for a person to read."""
    lines = [f"{results['items']} items {'J&F':>20}{'J':>7}{'F':>7}"]
    sizes = {ORIGINAL: "original size"}
    if folder.squashed:
        sizes = {folder.squashed: f"{folder.geometry.side} x {folder.geometry.side}", **sizes}
    for size, title in sizes.items():
        of_size = results.get(size, {})
        rows = {"all frames": of_size, "frames with the object": of_size.get(PRESENT)}
        for frames, scores in rows.items():
            if scores:
                lines.append(f"  {title + ', ' + frames:<40}{_shown(scores)}")
    for name in ("seen", "unseen"):
        if name in results:
            lines.append(f"  {name + ' categories':<40}{_shown(results[name])}")
    if results.get("g") is not None:
        lines.append(f"  G, the mean of their J and F: {results['g']:.1f}")
    return "\n".join(lines)


def _shown(scores: Mapping[str, Any]) -> str:
    numbers = (scores["jf"], scores["j"], scores["f"])
    return "".join("   none" if number is None else f"{number:7.1f}" for number in numbers)


def video_sheet(
    records: Mapping[str, Record], shown: Sequence[str], folder: ResultFolder, title: str
) -> np.ndarray | None:
    """Lay out the tiles that were kept: for each item a line of truth and one of prediction.

    Returns:
        The sheet, H x W x 3 uint8; None where no item has tiles.
    """
    rows = []
    for name in shown:
        record = records.get(name, {})
        if folder.tiles(name).is_file() and "jf" in record:
            truth, predicted = np.split(read_image(folder.tiles(name)), 2)
            score = "no score" if record["jf"] is None else f"J&F {record['jf']:.1f}"
            label = record.get("class", record["video"])
            rows += [
                SheetRow(np.split(truth, SHEET_FRAMES, axis=1), label, "ground truth"),
                SheetRow(np.split(predicted, SHEET_FRAMES, axis=1), "prediction", score),
            ]
    header = ["first frame", *[""] * (SHEET_FRAMES - 2), "last frame"]
    return contact_sheet(header, rows, title) if rows else None
