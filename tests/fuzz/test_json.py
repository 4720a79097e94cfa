"""Every reader of JSON, given files that are JSON and yet not what they should be.

In a valid file one value is replaced by something that nobody expects there, or left out.
"""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.distributed import Processes
from common.files import BROKEN
from common.logger import RunLogger
from common.settings import claim_folder
from data.annotated.instances import open_instances
from data.annotated.panoptic import open_panoptic
from data.episode_files import EpisodeHeader, read_header
from data.episode_lists import read_list
from data.few_shot_instances import read_coco_file
from data.icvos import read_sources
from data.parts import read_parts
from data.reader import Description
from evaluation.item_log import read_items
from labelling.records import Record, Source, read_records, record_path, write_record
from tests.fuzz.test_readers import refuses_in_one_line
from tools.preparation.convert import draw_class_mask, read_instances

ALONE = Processes(0, 1, torch.device("cpu"))
HOSTILE = [
    *(None, True, -1, 0, 10**9, 10**400, 1e308, float("nan"), float("inf"), "", "a\0b"),
    *("x" * 10_000, "../../../../etc/passwd", "/etc/passwd"),
    *([], {}, [[]], [None], {"a": None}, "\ud800"),
]
MISSING = object()

COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 6}],
    "categories": [{"id": 1, "name": "person:arm"}, {"id": 2, "name": "bicycle"}],
    "annotations": [
        {
            **{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 2, 2]},
            "segmentation": [[0, 0, 3, 0, 3, 3]],
        },
        {
            **{"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1, "bbox": [0, 0, 2, 2]},
            "segmentation": {"size": [4, 6], "counts": [4, 10, 10]},
        },
    ],
}
PANOPTIC = {
    **{"images": COCO["images"], "categories": COCO["categories"]},
    "annotations": [
        {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 7, "category_id": 1}]}
    ],
}


def draw_all(path: Path) -> None:
    for image in read_instances(path):
        with suppress(*BROKEN):  # which `tools.prepare` tells with the picture's name
            draw_class_mask(image)


def open_anew(opened: Callable[[Path], object]) -> Callable[[Path], object]:
    """Without the arrays that were made of the file before."""

    def read(path: Path) -> None:
        index = path.with_name(f"{path.name}.index")
        for file in index.glob("*"):
            file.unlink()
        opened(path)

    return read


CASES: dict[str, tuple[Any, Callable[[Path], object]]] = {
    "instances.json": (COCO, open_anew(open_instances)),
    "panoptic.json": (PANOPTIC, open_anew(open_panoptic)),
    "classes.json": (COCO, draw_all),
    "few_shot.json": (COCO, read_coco_file),
    "parts.json": (COCO, read_parts),
    "sources.json": ({"walk": "DAVIS"}, lambda path: read_sources(path.parent)),
    "description.json": (
        {"class_names": {"1": "cat"}, "min_pixels": 3, "generated": True},
        lambda path: Description.read(path.parent),
    ),
    "settings.json": ({"seed": 1}, lambda path: claim_folder(path.parent, {"seed": 1})),
    "log.jsonl": ({"update": 1, "loss": 0.5}, lambda path: RunLogger(path.parent, ALONE).close()),
    "items.jsonl": ({"item": "a", "jf": 0.5}, read_items),
    "header.jsonl": (
        vars(EpisodeHeader("pascal", 0, 1, 0, 1, "0" * 64, "class")),
        read_header,
    ),
    "list.json": ([{"query": "a", "support": ["b"], "class": "cat"}], read_list),
}


def places(content: Any, above: tuple = ()) -> Iterator[tuple]:
    """The way to every value."""
    yield above
    if isinstance(content, dict | list):
        inner = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in inner:
            yield from places(value, (*above, key))


def replaced(content: Any, way: tuple, value: Any) -> Any:
    if not way:
        return None if value is MISSING else value
    changed = copy.deepcopy(content)
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return changed


def fuzz(name: str, folder: Path, draws: int) -> None:
    content, reader = CASES[name]
    path = folder / name
    ways = list(places(content))

    @settings(
        max_examples=draws,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(ways), st.sampled_from([MISSING, *HOSTILE]))
    def strange(way: tuple, value: Any) -> None:
        path.write_text(json.dumps(replaced(content, way, value)) + "\n")
        refuses_in_one_line(reader, path)

    strange()


@pytest.mark.parametrize("name", CASES)
def test_strange_values_are_read_or_refused_in_one_line(name: str, tmp_path: Path):
    fuzz(name, tmp_path, draws=10 if name == "log.jsonl" else 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_all_strange_values_are_read_or_refused_in_one_line(name: str, tmp_path: Path):
    fuzz(name, tmp_path, draws=2000)


@given(st.sampled_from(HOSTILE), st.integers(0, 20))
@settings(max_examples=40, deadline=None, database=None, derandomize=True)
def test_strange_records_are_none(tmp_path_factory, value: Any, which: int):
    folder = tmp_path_factory.mktemp("records")
    photo = folder / "a.jpg"
    photo.write_bytes(b"picture")
    write_record(folder, Record("a", Source.of(photo), [{"image": {}}], False, True))
    path = record_path(folder, "a")
    content = json.loads(path.read_text())
    ways = list(places(content))
    changed = replaced(content, ways[which % len(ways)], value)
    path.write_text(json.dumps(changed))
    [(name, record)] = read_records(folder)
    assert name == "a"
    assert (record is None) == (changed != content)
