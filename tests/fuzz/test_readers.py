"""Every reader of files, given broken ones: it reads them, or says in one line what is wrong.

The files are valid ones that were cut, overwritten or stretched at drawn places. The suite runs
under a limit of memory of its own. A few draws are made by default, many among the slow tests.
"""

import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from common.checkpoint import read_facts, read_training_state, read_weights, save_checkpoint
from common.errors import UsageError
from common.images import image_size, read_image, read_mask
from common.video_io import FrameReader, VideoWriter
from data.episode_lists import read_list
from data.reader import Description
from evaluation.item_log import read_items
from labelling.marks import Mark
from model.reference import read_references
from model.weights import read_weights as read_foreign_weights

ROOM = 6 * 2**30
"""Bytes beyond what the process has when the suite begins: decoders may not ask for more."""
LONGEST_LINE = 1500


def read_video(path: Path) -> None:
    with FrameReader(path) as reader:
        for _ in reader:
            pass


def read_checkpoint(path: Path) -> None:
    read_facts(path)
    read_weights(path)


READERS: dict[str, Callable[[Path], object]] = {
    **{f"picture.{kind}": read_image for kind in ("png", "jpg", "webp", "gif", "tiff", "bmp")},
    **{f"picture.{kind}": read_image for kind in ("avif", "jp2", "dds", "tga", "ppm")},
    "size.png": image_size,
    "mask.png": read_mask,
    "video.mp4": read_video,
    "last.safetensors": read_checkpoint,
    "concept.safetensors": read_references,
    "weights.pth": read_foreign_weights,
    "state.pt": read_training_state,
    "items.jsonl": read_items,
    "episodes.jsonl": read_list,
    "description.json": lambda path: Description.read(path.parent),
}


def make(path: Path) -> None:
    """Write a valid file of its kind."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    name = path.name
    if name.startswith(("picture", "size")):
        Image.fromarray(pixels).save(path)
    elif name == "mask.png":
        Image.fromarray(pixels[:, :, 0] // 64).save(path)
    elif name == "video.mp4":
        with VideoWriter(path) as writer:
            for shade in range(6):
                writer.write(np.full((32, 32, 3), shade * 40, np.uint8))
    elif name == "last.safetensors":
        save_checkpoint(path, {"weight": torch.ones(8)}, {"model": {}, "data": {"fold": 1}})
    elif name == "concept.safetensors":
        picture = path.with_suffix(".png")
        Image.fromarray(pixels).save(picture)
        packed = torch.frombuffer(bytearray(picture.read_bytes()), dtype=torch.uint8)
        tensors = {"picture0": packed, "mark0": packed.clone()}
        save_checkpoint(path, tensors, {"concept": "cat", "kinds": ["mask"]})
    elif name in ("weights.pth", "state.pt"):
        torch.save({"model": {"weight": torch.ones(8)}}, path)
    elif name == "items.jsonl":
        path.write_text(
            json.dumps({"item": "a", "jf": 0.5}) + "\n" + json.dumps({"item": "b"}) + "\n"
        )
    elif name == "episodes.jsonl":
        header = {"benchmark": "pascal", "fold": 0, "shots": 1, "seed": 0, "episodes": 1}
        path.write_text(json.dumps(header) + "\n" + json.dumps([1, "a", ["b"]]) + "\n")
    else:
        path.write_text(json.dumps({"class_names": {"1": "cat"}, "min_pixels": 3}))


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """What happens to a file: it is cut, some bytes change, or some come in between."""
    cut = draw(st.one_of(st.none(), st.floats(0, 1)))
    changes = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8))
    inserted = draw(st.one_of(st.none(), st.tuples(st.floats(0, 1), st.binary(max_size=64))))

    def damage(content: bytes) -> bytes:
        found = bytearray(content)
        for place, value in changes:
            found[int(place * (len(found) - 1))] = value
        if inserted:
            at = int(inserted[0] * len(found))
            found[at:at] = inserted[1]
        return bytes(found if cut is None else found[: int(cut * len(found))])

    return damage


@pytest.fixture(scope="module", autouse=True)
def little_memory() -> Iterator[None]:
    """The suite's own limit: who asks for more gets a MemoryError, and is noticed."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def refuses_in_one_line(reader: Callable[[Any], object], path: Any) -> None:
    try:
        reader(path)
    except UsageError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said
    assert len(said) < LONGEST_LINE


def fuzz(name: str, folder: Path, draws: int) -> None:
    path = folder / name
    make(path)
    content = path.read_bytes()

    @settings(
        max_examples=draws,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(damages())
    def broken(damage: Callable[[bytes], bytes]) -> None:
        path.write_bytes(damage(content))
        refuses_in_one_line(READERS[name], path)

    broken()


@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path):
    fuzz(name, tmp_path, draws=15)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_broken_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path):
    fuzz(name, tmp_path, draws=1000)


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_kind_is_read_or_refused_in_one_line(name: str, tmp_path: Path):
    for content in (b"", b"\0" * 1000, b"[" * 200_000, b'{"a":' * 50_000, b"\xff\xfe text"):
        (tmp_path / name).write_bytes(content)
        refuses_in_one_line(READERS[name], tmp_path / name)


def test_a_pipe_is_no_picture(tmp_path: Path):
    os.mkfifo(tmp_path / "picture.png")
    with pytest.raises(UsageError, match="it is no file"):
        read_image(tmp_path / "picture.png")
    with pytest.raises(UsageError):
        FrameReader(tmp_path / "picture.png")


def test_a_name_that_no_disk_takes_is_refused(tmp_path: Path):
    with pytest.raises(UsageError):
        read_image(tmp_path / ("x" * 5000 + ".png"))


def test_pickles_that_run_programs_are_not_opened(tmp_path: Path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "entered"),)

    for name, reader in (("w.pth", read_foreign_weights), ("state.pt", read_training_state)):
        torch.save({"weight": Hostile()}, tmp_path / name)
        with pytest.raises(UsageError):
            reader(tmp_path / name)
    assert not (tmp_path / "entered").exists()


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None, database=None, derandomize=True)
def test_any_mark_is_understood_or_refused(text: str):
    for word in ("", "box:", "points:", "scribble:"):
        refuses_in_one_line(Mark.parse, word + text)


def test_a_concept_with_names_of_other_tensors_is_refused(tmp_path: Path):
    save_file({"weight": torch.ones(1)}, tmp_path / "c.safetensors", metadata={"format": "x"})
    with pytest.raises(UsageError):
        read_references(tmp_path / "c.safetensors")
