"""Checkpoints and states of trainings on a disk that takes no more, and files of other kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from common.checkpoint import read_training_state, save_checkpoint, save_training_state
from common.errors import UsageError
from common.files import parse_json
from tests.helpers import no_file_grows_beyond

LARGE = {"weight": torch.ones(200_000)}


@pytest.fixture
def full_disk() -> Iterator[None]:
    with no_file_grows_beyond(100_000):
        yield


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("kind", ["checkpoint", "state"])
def test_a_full_disk_gives_one_line_and_leaves_the_old_file(tmp_path: Path, kind: str):
    path = tmp_path / ("last.safetensors" if kind == "checkpoint" else "state.pt")

    def save(weights):
        if kind == "checkpoint":
            save_checkpoint(path, weights, {})
        else:
            save_training_state(path, weights)

    save({"weight": torch.ones(1)})
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"^cannot write {path}: ") as refused:
        save(LARGE)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "state",
    [[1], {}, {"weights": {}}, {"weights": 1, "optimizer": {}}, torch.zeros(1)],
    ids=str,
)
def test_a_state_of_another_kind_is_refused(tmp_path: Path, state):
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(UsageError, match="it is no state of a training"):
        read_training_state(tmp_path / "state.pt")


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02.", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_state_at_all_is_refused_in_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be resumed from") as refused:
        read_training_state(tmp_path / "state.pt")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "nothing", "1" * 10_000])
def test_what_is_no_json_is_always_a_value_error(text: str):
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)
