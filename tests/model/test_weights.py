import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from common.errors import UsageError
from model.weights import OFFICIAL, load_strictly, official_path, read_weights

STATE = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}


def assert_same(state: dict, expected: dict) -> None:
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


class TestReadWeights:
    @pytest.mark.parametrize(
        "wrapped", [STATE, {"model": STATE}, {"state_dict": STATE, "epoch": 3}]
    )
    @pytest.mark.parametrize("ending", ["pth", "pt"])
    def test_reads_what_torch_wrote(self, tmp_path, wrapped, ending):
        path = tmp_path / f"weights.{ending}"
        torch.save(wrapped, path)
        assert_same(read_weights(path), STATE)

    def test_reads_safetensors(self, tmp_path):
        path = tmp_path / "weights.safetensors"
        save_file(STATE, path)
        assert_same(read_weights(path), STATE)

    def test_a_missing_file_of_a_known_model_says_where_it_comes_from(self, tmp_path):
        path = tmp_path / "mine.pth"
        address = "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
        with pytest.raises(UsageError, match=re.escape(f"from {address} and save it as {path}")):
            read_weights(path, "vit_b")

    def test_a_missing_file_is_known_by_its_own_name(self, tmp_path):
        address = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt"
        with pytest.raises(UsageError, match=re.escape(address)):
            read_weights(tmp_path / "sam2.1_hiera_tiny.pt")

    def test_any_other_missing_file_is_named(self, tmp_path):
        with pytest.raises(UsageError, match=r"no such weights file: .*other\.pth$"):
            read_weights(tmp_path / "other.pth")

    @pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
    @pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut short"])
    def test_a_broken_file_is_named(self, tmp_path, name, content):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UsageError, match=re.escape(f"{path} cannot be read as weights")):
            read_weights(path)

    def test_a_file_cut_short_is_named(self, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save(STATE, path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(UsageError, match="cannot be read as weights"):
            read_weights(path)

    def test_a_file_that_would_run_code_is_refused(self, tmp_path):
        path = tmp_path / "module.pth"
        torch.save(nn.Linear(2, 1), path)
        with pytest.raises(UsageError, match="more than tensors"):
            read_weights(path)

    @pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, torch.zeros(2)])
    def test_a_file_without_a_state_dict_is_refused(self, tmp_path, content):
        path = tmp_path / "numbers.pth"
        torch.save(content, path)
        with pytest.raises(UsageError, match="holds no state dict"):
            read_weights(path)


class TestLoadStrictly:
    def test_copies_what_fits(self):
        module = nn.Linear(2, 1)
        load_strictly(module, {name: value.half() for name, value in STATE.items()}, "file")
        assert_same(module.state_dict(), STATE)

    def test_names_everything_that_does_not_fit_and_copies_nothing(self):
        module = nn.Linear(2, 1)
        before = module.weight.clone()
        state = {"weight": torch.zeros(1, 3), "extra": torch.zeros(1)}
        message = (
            "a.pth does not fit Linear; missing: bias; unknown: extra; "
            "of another shape: weight (1, 3) instead of (1, 2)"
        )
        with pytest.raises(UsageError, match=re.escape(message)):
            load_strictly(module, state, "a.pth")
        assert torch.equal(module.weight, before)

    def test_a_long_list_is_cut(self):
        state = STATE | {f"layer{number}": torch.zeros(1) for number in range(7)}
        with pytest.raises(UsageError, match="layer3, layer4 and 2 more"):
            load_strictly(nn.Linear(2, 1), state, "file")

    def test_the_count_of_batches_may_be_missing(self):
        module = nn.BatchNorm1d(1)
        state = module.state_dict()
        del state["num_batches_tracked"]
        load_strictly(module, state | {"weight": torch.tensor([5.0])}, "file")
        assert module.weight.item() == 5


class TestOfficial:
    def test_default_places(self):
        path = official_path("sam2_hiera_b+")
        assert (path.parent.name, path.name) == ("weights", "sam2_hiera_base_plus.pt")

    def test_every_address_ends_in_the_file_unless_a_person_has_to_look_for_it(self):
        for name, (file, address) in OFFICIAL.items():
            assert address.endswith(f"/{file}") or name in ("resnet50", "resnet101"), name
