import hashlib

import pytest

from model.file_check import fault, verdict
from model.official_file import OfficialFile
from tests.official_files import MD5, SHA256, TENSORS, WEIGHTS


def official(file, **facts):
    return OfficialFile(file, "", "", "", **facts)


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("file", "facts", "text"),
    [
        (f"vgg-{SHA256[:8]}.pth", {}, f"SHA-256 as published: {SHA256[:8]}"),
        (f"sam_{MD5[:6]}.pth", {}, f"MD5 as published: {MD5[:6]}"),
        ("any.pt", {"sha256": SHA256}, f"SHA-256 as published: {SHA256}"),
        ("any.pt", {"size": len(WEIGHTS)}, "size as published, no hash is"),
        ("any.pt", {"about": len(WEIGHTS) + 99}, "whole by its format, no hash is published"),
    ],
)
def test_a_good_file_says_what_it_was_judged_by(tmp_path, file, facts, text):
    assert verdict(official(file, **facts), write(tmp_path / file, WEIGHTS)) == (True, text)


@pytest.mark.parametrize(
    ("file", "facts", "text"),
    [
        ("vgg-00000000.pth", {}, "has another SHA-256 than the published 00000000"),
        ("sam_000000.pth", {}, "has another MD5 than the published 000000"),
        ("any.pt", {"size": 7}, f"has {len(WEIGHTS)} bytes where 7 are published"),
        ("any.pt", {"about": 2_000_000}, "instead of about 2 MB"),
    ],
)
def test_another_file_is_told(tmp_path, file, facts, text):
    good, found = verdict(official(file, **facts), write(tmp_path / file, WEIGHTS))
    assert not good
    assert found.endswith(text)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.pt", WEIGHTS, None),
        ("a.pth", b"\x80\x02 of an old torch.save", None),
        ("a.safetensors", TENSORS, None),
        ("a.pt", WEIGHTS[:-1000], "is cut short"),
        ("a.pt", b"", "is no file of torch.save"),
        ("a.pt", b"<!DOCTYPE html>", "is no file of torch.save"),
        ("a.safetensors", TENSORS[:-1], "is no safetensors file, or is cut short"),
        ("a.safetensors", WEIGHTS, "is no safetensors file, or is cut short"),
        ("a.json", b'{"model": {}}', None),
        ("a.json", b'{"model": {', "is no JSON, or is cut short"),
    ],
)
def test_the_format_tells_what_is_cut_short_or_something_else(tmp_path, name, content, expected):
    assert fault(official(name), write(tmp_path / name, content)) == expected


def test_a_file_may_lie_under_another_name(tmp_path):
    file = official("a.safetensors", size=len(TENSORS), other_names=("b.pth",))
    part = write(tmp_path / "a.safetensors.part", TENSORS)
    assert fault(file, part, "a.safetensors") is None
    assert fault(file, write(tmp_path / "b.pth", WEIGHTS)) is None  # the size is another file's


def test_the_hash_is_of_all_bytes(tmp_path):
    changed = bytearray(WEIGHTS)
    changed[len(changed) // 2] ^= 1
    file = official(f"vgg-{hashlib.sha256(WEIGHTS).hexdigest()[:8]}.pth")
    assert not verdict(file, write(tmp_path / file.file, bytes(changed)))[0]
