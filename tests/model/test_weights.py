import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from common.errors import UsageError
from model.official_paths import how_to_get, official_path
from model.weights import load_strictly, read_weights

STATE = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
WRAPPED = (STATE, {"model": STATE}, {"state_dict": STATE, "epoch": 3})
META = "https://dl.fbaipublicfiles.com"


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_reads_what_torch_or_safetensors_wrote(tmp_path: Path):
    for ending in ("pth", "pt"):
        for wrapped in WRAPPED:
            torch.save(wrapped, tmp_path / f"weights.{ending}")
            assert_same(read_weights(tmp_path / f"weights.{ending}"), STATE)
    save_file(STATE, tmp_path / "weights.safetensors")
    assert_same(read_weights(tmp_path / "weights.safetensors"), STATE)


@pytest.mark.parametrize(
    ("file", "model", "words"),
    [
        (
            "mine.pth",
            "vit_b",
            "mine.pth; `python -m tools.weights fetch vit_b --weights /w` gets "
            "sam_vit_b_01ec64.pth (375 MB, licence: Apache-2.0) from "
            f"{META}/segment_anything/sam_vit_b_01ec64.pth, into /w",
        ),
        # known by its own name
        (
            "sam2.1_hiera_tiny.pt",
            None,
            "`python -m tools.weights fetch sam2.1_hiera_t --weights /w` gets "
            "sam2.1_hiera_tiny.pt (about 156 MB, licence: Apache-2.0) from "
            f"{META}/segment_anything_2/092824/sam2.1_hiera_tiny.pt, into /w",
        ),
        ("other.pth", None, "other.pth"),
    ],
)
def test_a_missing_file_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, model: str | None, words: str
):
    monkeypatch.setenv("DCSAM_WEIGHTS", "/w")
    with pytest.raises(UsageError, match=f"^no such weights file: .*{re.escape(words)}$"):
        read_weights(tmp_path / file, model)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut short"])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(f"{path} cannot be read as weights")):
        read_weights(path)


def test_a_file_cut_short_is_named(tmp_path: Path):
    path = tmp_path / "weights.pth"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="cannot be read as weights"):
        read_weights(path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path):
    torch.save(nn.Linear(2, 1), tmp_path / "module.pth")
    with pytest.raises(UsageError, match="more than tensors"):
        read_weights(tmp_path / "module.pth")


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, torch.zeros(2)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "numbers.pth")
    with pytest.raises(UsageError, match="holds no state dict"):
        read_weights(tmp_path / "numbers.pth")


def test_what_fits_is_copied():
    module = nn.Linear(2, 1)
    load_strictly(module, {name: value.half() for name, value in STATE.items()}, "file")
    assert_same(module.state_dict(), STATE)
    load_strictly(module, {"bias": torch.tensor([5.0])}, "file", ["bias"])
    assert_same(module.state_dict(), {**STATE, "bias": torch.tensor([5.0])})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"weight": torch.zeros(1, 3), "extra": torch.zeros(1)},
            "a.pth does not fit Linear; missing: bias; unknown: extra; "
            "of another shape: weight (1, 3) instead of (1, 2)",
        ),
        (
            STATE | {f"layer{number}": torch.zeros(1) for number in range(7)},
            "layer3, layer4 and 2 more",
        ),
        (
            STATE | {"weight": torch.tensor([[1.0, torch.nan]])},
            "a.pth holds numbers that are not finite in: weight",
        ),
    ],
)
def test_everything_that_does_not_fit_is_named_and_nothing_copied(state: dict, message: str):
    module = nn.Linear(2, 1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(UsageError, match=re.escape(message)):
        load_strictly(module, state, "a.pth")
    assert_same(module.state_dict(), before)


def test_the_count_of_batches_may_be_missing():
    module = nn.BatchNorm1d(1)
    state = module.state_dict() | {"weight": torch.tensor([5.0])}
    del state["num_batches_tracked"]
    load_strictly(module, state, "file")
    assert module.weight.item() == 5


def test_official_files_belong_in_the_folder_of_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("DCSAM_WEIGHTS", raising=False)
    path = official_path("sam2_hiera_b+")
    assert (path.parent.name, path.name) == ("weights", "sam2_hiera_base_plus.pt")
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    assert official_path("sam2_hiera_b+") == tmp_path / path.name


def test_a_file_of_another_name_counts_where_the_first_is_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    assert official_path("dinov3_l").name == "vit_large_patch16_dinov3_qkvb.lvd1689m.safetensors"
    (tmp_path / "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth").touch()
    assert official_path("dinov3_l").name == "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth"


def test_a_file_that_only_a_person_can_get_is_named_with_page_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DCSAM_WEIGHTS", raising=False)
    with pytest.raises(UsageError) as caught:
        read_weights(tmp_path / "resnet50_v2.pth", "resnet50")
    words = r"; get resnet50_v2.pth \(.*\) by hand from .* Drive folder .* put it into .*/weights$"
    assert re.search(words, str(caught.value))


def test_the_folder_of_the_checkout_needs_no_flag(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DCSAM_WEIGHTS", raising=False)
    assert "`python -m tools.weights fetch vit_b` gets " in how_to_get(["vit_b"])
