"""A server in the place of the publishers of official files, and caches that hold nothing."""

import hashlib
import io
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from model.official import OFFICIAL
from model.official_file import HubFile, OfficialFile
from tests.file_server import FileServer

STATE = {"weight": torch.arange(20_000.0)}


def saved(state: object) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


WEIGHTS = saved(STATE)
TENSORS = save(STATE)
MD5, SHA256 = hashlib.md5(WEIGHTS).hexdigest(), hashlib.sha256(WEIGHTS).hexdigest()
COMMIT = "0" * 40
HUB = "/timm/vit/resolve"


def offer_official_files(
    server: FileServer, patch: pytest.MonkeyPatch, folder: Path
) -> dict[str, OfficialFile]:
    """Let the server be the only source of official files, and empty folders the caches.

    Args:
        folder: gets `weights`, which is where files belong, `torch` and `hub`, the caches.

    Returns:
        What there is instead of `OFFICIAL`'s rows.
    """
    patch.setattr("time.sleep", lambda _: None)  # between attempts
    patch.setenv("DCSAM_WEIGHTS", str(folder / "weights"))
    patch.setenv("TORCH_HOME", str(folder / "torch"))
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    patch.setenv("HF_TOKEN", "of a person")
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    def row(file: str, **facts: object) -> OfficialFile:
        address = f"{server.address}/{file}"
        return OfficialFile(file, "MIT", "tests", "a page", **{"address": address, **facts})

    hub = HubFile("timm/vit", "model.safetensors", "vit.safetensors")
    rows = {
        "by_sha256": row(f"vgg-{SHA256[:8]}.pth"),
        "by_md5": row(f"sam_{MD5[:6]}.pth"),
        "plain": row("large.pt", about=len(WEIGHTS)),
        "exact": row("exact.pt", size=len(WEIGHTS)),
        "changed": row("swin-00000000.pth"),
        "on_hub": row(
            "vit.safetensors", address=None, hubs=(hub,), other_names=(f"meta-{SHA256[:8]}.pth",)
        ),
        "by_hand": row("adapter.pth", address=None),
    }
    for name in list(OFFICIAL):
        patch.delitem(OFFICIAL, name)
    for name, official in rows.items():
        patch.setitem(OFFICIAL, name, official)
        server.files[f"/{official.file}"] = WEIGHTS
    digest = hashlib.sha256(TENSORS).hexdigest()
    for revision in ("main", COMMIT):
        path = f"{HUB}/{revision}/model.safetensors"
        server.files[path] = TENSORS
        server.headers[path] = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT}
    return rows


def put_in_hub_cache(folder: Path, content: bytes = TENSORS) -> Path:
    """Lay `on_hub`'s file where huggingface_hub keeps what it fetched."""
    repository = folder / "hub" / "models--timm--vit"
    path = repository / "snapshots" / COMMIT / "model.safetensors"
    path.parent.mkdir(parents=True)
    blob = repository / "blobs" / "a"
    blob.parent.mkdir()
    blob.write_bytes(content)
    path.symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return path


def put_in_torch_cache(folder: Path, name: str, content: bytes = WEIGHTS) -> Path:
    """Lay a file where torch.hub keeps what it fetched."""
    path = folder / "torch" / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
