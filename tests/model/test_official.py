import re

import pytest

from common.files import ROOT
from model.checkpoint import options_of
from model.official import OFFICIAL
from model.official_file import OfficialFile
from model.registry import METHODS

FILES = OFFICIAL.values()


def test_every_address_is_https_and_ends_in_the_file():
    for official in FILES:
        if official.address is not None:
            assert official.address.startswith("https://")
            assert official.address.endswith(f"/{official.file}")


def test_what_is_fetched_from_the_hub_gets_the_name_that_is_looked_for_first():
    for official in FILES:
        if official.hubs and official.address is None:
            assert official.hubs[0].saved_as == official.file == official.names[0]
            assert official.source == official.hubs[0].page


def test_no_two_models_share_a_file():
    names = [name for official in FILES for name in official.names]
    assert len(names) == len(set(names))


def test_everything_says_its_licence_its_purpose_and_its_page():
    for official in FILES:
        assert official.licence
        assert official.purpose
        assert "https://" in official.page


def test_the_start_of_a_hash_stands_in_the_name():
    sam = OFFICIAL["vit_b"]
    assert sam.hash_of(sam.file) == ("md5", "01ec64")
    (name,) = OFFICIAL["dinov3_s"].other_names
    assert OFFICIAL["dinov3_s"].hash_of(name) == ("sha256", "08c60483")
    assert OFFICIAL["vgg16"].hash_of("vgg16_bn-6c64b313.pth") == ("sha256", "6c64b313")
    assert OFFICIAL["dinov2_b"].hash_of(OFFICIAL["dinov2_b"].file) is None


def test_a_whole_hash_counts_for_the_file_itself_alone():
    official = OfficialFile(
        "a-123456.pth", "", "", "", sha256="f" * 64, other_names=("b_654321.pth",)
    )
    assert official.hash_of("a-123456.pth") == ("sha256", "f" * 64)
    assert official.hash_of("b_654321.pth") == ("md5", "654321")


def test_files_that_only_people_can_get_are_told_apart():
    by_hand = {name for name, official in OFFICIAL.items() if official.by_hand}
    released = {n for n in OFFICIAL if n.startswith("sansa_")} | {"sine"}
    assert by_hand == {"resnet50", "resnet101"} | released
    assert len(by_hand) == 2 + 4 + 10 + 3 + 1


def test_the_pages_on_sam_name_the_same_files_and_sizes():
    rows = {}
    for page in ("segment-anything", "segment-anything-2"):
        text = (ROOT / page / "README.md").read_text()
        for line in re.findall(r"^\| `.*\(https.*$", text, re.MULTILINE):
            size = line.rstrip(" |").rpartition("|")[2].strip()
            cells = re.findall(r"`([\w.+]+)`.*?\[([\w.]+)\]\((https\S+)\)", line)
            rows |= {name: (file, address, size) for name, file, address in cells}
    sams = {n: f for n, f in OFFICIAL.items() if n.startswith(("vit_", "sam2"))}
    assert rows == {
        name: (f.file, f.address, f.size_text.removeprefix("about ")) for name, f in sams.items()
    }


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reads_files_that_are_known(name: str):
    options = METHODS[name].options()
    assert set(options.files()) <= OFFICIAL.keys()
    assert options_of({"method": name, "model": options.to_json()}, "a header") == options
