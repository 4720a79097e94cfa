"""Whether an official file is whole, as far as its publisher or its format lets one tell."""

import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from common.download import has_digest
from common.files import parse_json
from model.official_file import OfficialFile, readable_size

_ZIP, _OLD_TORCH = b"PK\x03\x04", b"\x80\x02"
"""How files of torch.save begin since version 1.6, and how they began before."""
_LARGEST_ERROR = 0.05
"""By how much a size that was computed from the count of parameters may be wrong."""


def fault(official: OfficialFile, path: Path, name: str | None = None) -> str | None:
    """What a quick look finds wrong with a file; None: nothing. It is not read to its end.

    Args:
        name: under which of the official file's names it goes (default: its own).
    """
    name = name or path.name
    if (problem := _format_fault(path, name)) is not None:
        return problem
    size, own = path.stat().st_size, name == official.file
    if own and official.size not in (None, size):
        return f"has {size} bytes where {official.size} are published"
    if own and official.about and abs(size / official.about - 1) > _LARGEST_ERROR:
        return f"has {readable_size(size)} instead of about {readable_size(official.about)}"
    return None


def verdict(official: OfficialFile, path: Path) -> tuple[bool, str]:
    """Whether a file is as published, by its whole content, and what that was judged by."""
    problem = fault(official, path)
    if problem is not None:
        return False, problem
    digest = official.hash_of(path.name)
    if digest is not None:
        kind = "SHA-256" if digest[0] == "sha256" else "MD5"
        if not has_digest(path, digest):
            return False, f"has another {kind} than the published {digest[1]}"
        return True, f"{kind} as published: {digest[1]}"
    if path.name == official.file and official.size is not None:
        return True, "size as published, no hash is"
    return True, "whole by its format, no hash is published"


def _format_fault(path: Path, name: str) -> str | None:
    """Whether a file begins and ends as its format says."""
    if name.endswith(".safetensors"):
        try:
            with safe_open(path, framework="pt"):
                return None
        except (SafetensorError, OSError):
            return "is no safetensors file, or is cut short"
    if name.endswith(".json"):
        try:
            parse_json(path.read_bytes())
        except ValueError:
            return "is no JSON, or is cut short"
        return None
    with path.open("rb") as file:
        start = file.read(4)
    if start == _ZIP:
        return None if zipfile.is_zipfile(path) else "is cut short"
    return None if start.startswith(_OLD_TORCH) else "is no file of torch.save"
